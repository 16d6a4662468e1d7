//! Whether what a guest answered is HTTP, before a byte of it is sent.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};

use crate::Error;

/// What is not HTTP is the guest's fault and an error, never repaired: each repair is a response that its client, or a
/// proxy on the way, could read as another (RFC 9110, 15; RFC 9112, 6).
pub(crate) fn check<B>(response: Response<B>) -> Result<Response<B>, Error> {
    match fault(response.status(), response.headers()) {
        None => Ok(response),
        Some(fault) => Err(Error::NotHttp(fault)),
    }
}

fn fault(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    // 1xx are not final, and 101 would hand the connection over to the guest.
    if !(200..=599).contains(&status.as_u16()) {
        return Some(format!("the status {}", status.as_u16()));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Some("a `transfer-encoding`, which is the server's to choose".to_owned());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next()?.as_bytes();
    if lengths.next().is_some() {
        return Some("two `content-length`".to_owned());
    }
    let is_number = (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
    (!is_number).then(|| "a `content-length` that is no number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d62_to_d65_what_is_not_http_is_not_sent() {
        for (status, fields, expected) in [
            (200, &[][..], None),
            (599, &[("content-length", "5")], None),
            (204, &[("content-length", "0")], None),
            (100, &[], Some("the status 100")),
            (101, &[], Some("the status 101")),
            (199, &[], Some("the status 199")),
            (600, &[], Some("the status 600")),
            (999, &[], Some("the status 999")),
            (
                200,
                &[("content-length", "5"), ("content-length", "5")],
                Some("two `content-length`"),
            ),
            (
                200,
                &[("content-length", "+5")],
                Some("a `content-length` that is no number"),
            ),
            (
                200,
                &[("content-length", "")],
                Some("a `content-length` that is no number"),
            ),
            (
                200,
                &[("content-length", "1234567890123456789")],
                Some("a `content-length` that is no number"),
            ),
            (
                200,
                &[("transfer-encoding", "gzip")],
                Some("a `transfer-encoding`, which is the server's to choose"),
            ),
            (
                200,
                &[("content-length", "5"), ("transfer-encoding", "chunked")],
                Some("a `transfer-encoding`, which is the server's to choose"),
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            let got = fault(status, &headers);
            assert_eq!(got.as_deref(), expected, "{status} {fields:?}");
        }
    }
}
