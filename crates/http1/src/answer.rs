//! Writing the head and the framing of a response.

use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, CONNECTION, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode};

/// What the connection decides, and no answer says for it.
const OF_THE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// How a response's body is told from what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// There is no body, whatever the head says: the answer to `HEAD`, a 204, a 304.
    None,
    /// As many bytes as its `content-length` says.
    Declared(u64),
    /// So many bytes; its head does not say so yet.
    Length(u64),
    /// Chunks, for a client of HTTP/1.1.
    Chunked,
    /// All until the connection is closed, for a client of HTTP/1.0.
    UntilClose,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// It is kept, as HTTP/1.1 does unless told otherwise.
    Keep,
    /// It is kept, which a client of HTTP/1.0 has to be told.
    KeepAndSay,
    /// It is closed.
    Close,
}

/// Writes a head. Fields that concern the connection are not taken from `headers`, but decided by `fit` and `persist`.
pub fn encode_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    headers: &HeaderMap,
    fit: Fit,
    persist: Persist,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        let frames =
            *name == header::CONTENT_LENGTH && !matches!(fit, Fit::Declared(_) | Fit::None);
        if !frames && !OF_THE_CONNECTION.contains(name) {
            field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    match persist {
        Persist::Keep => {}
        Persist::KeepAndSay => field(out, b"connection", b"keep-alive"),
        Persist::Close => field(out, b"connection", b"close"),
    }
    match fit {
        Fit::None | Fit::Declared(_) | Fit::UntilClose => {}
        Fit::Length(length) => {
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Fit::Chunked => field(out, b"transfer-encoding", b"chunked"),
    }
    if !headers.contains_key(header::DATE) {
        date(out);
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

thread_local! {
    /// The second it is, and its text (RFC 9110, 5.6.7).
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

fn date(out: &mut Vec<u8>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now || text.is_empty() {
            let time = UNIX_EPOCH + Duration::from_secs(now.min(LAST_DATE));
            (*second, *text) = (now, httpdate::fmt_http_date(time));
        }
        field(out, b"date", text.as_bytes());
    });
}

/// The end of the year 9999, after which there are no dates in HTTP.
const LAST_DATE: u64 = 253_402_300_799;

/// Frames the body of a response.
#[derive(Debug)]
pub struct Encoder {
    kind: Kind,
    /// Whether the client has said that it reads trailers.
    trailers: bool,
}

#[derive(Debug)]
enum Kind {
    Left(u64),
    Chunked,
    UntilClose,
}

/// A body that does not fit its head: what was announced must not be taken for whole, nor the rest for another answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not as long as its head says")]
pub struct Misfit;

impl Encoder {
    /// For a body that is framed so. `trailers`: whether the request said `te: trailers` (RFC 9110, 6.5.1).
    pub fn new(fit: Fit, trailers: bool) -> Encoder {
        let kind = match fit {
            Fit::None => Kind::Left(0),
            Fit::Declared(length) | Fit::Length(length) => Kind::Left(length),
            Fit::Chunked => Kind::Chunked,
            Fit::UntilClose => Kind::UntilClose,
        };
        Encoder { kind, trailers }
    }

    /// Whether nothing more may come: a length was announced, and it is all there.
    pub fn is_full(&self) -> bool {
        matches!(self.kind, Kind::Left(0))
    }

    /// What stands before and behind a piece of the body, which is cut to what was announced.
    ///
    /// # Errors
    /// More came than was announced. `data` holds what still belongs there.
    pub fn data(
        &mut self,
        data: &mut Bytes,
        before: &mut Vec<u8>,
    ) -> Result<&'static [u8], Misfit> {
        match &mut self.kind {
            Kind::Left(left) if (data.len() as u64) <= *left => {
                *left -= data.len() as u64;
                Ok(b"")
            }
            Kind::Left(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = 0;
                Err(Misfit)
            }
            // A chunk of no bytes would be the last.
            Kind::Chunked if data.is_empty() => Ok(b""),
            Kind::Chunked => {
                let _ = write!(before, "{:X}\r\n", data.len());
                Ok(b"\r\n")
            }
            Kind::UntilClose => Ok(b""),
        }
    }

    /// What stands behind the body.
    ///
    /// # Errors
    /// Less came than was announced.
    pub fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        match self.kind {
            Kind::Left(0) | Kind::UntilClose => Ok(()),
            Kind::Left(_) => Err(Misfit),
            Kind::Chunked => {
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.filter(|_| self.trailers).into_iter().flatten() {
                    if may_trail(name) {
                        field(out, name.as_str().as_bytes(), value.as_bytes());
                    }
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

/// RFC 9110, 6.5.1: nothing that frames, routes, authenticates or describes the message.
fn may_trail(name: &HeaderName) -> bool {
    !OF_THE_CONNECTION.contains(name)
        && ![
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_RANGE,
            header::HOST,
            header::TRAILER,
            header::TE,
            header::SET_COOKIE,
            header::CACHE_CONTROL,
            header::LOCATION,
            header::DATE,
        ]
        .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, fields: &[(&str, &str)], fit: Fit, persist: Persist) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let mut out = Vec::new();
        let status = StatusCode::from_u16(status).unwrap();
        encode_head(&mut out, status, &headers, fit, persist);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_says_what_the_connection_decided_and_nothing_else_of_it() {
        let date = ("date", "Thu, 01 Jan 1970 00:00:00 GMT");
        let told = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        for (status, fields, fit, persist, expected) in [
            (
                200,
                vec![date],
                Fit::Length(5),
                Persist::Keep,
                format!("HTTP/1.1 200 OK\r\n{told}content-length: 5\r\n\r\n"),
            ),
            (
                200,
                vec![date],
                Fit::Chunked,
                Persist::Keep,
                format!("HTTP/1.1 200 OK\r\n{told}transfer-encoding: chunked\r\n\r\n"),
            ),
            (
                200,
                vec![date, ("content-length", "5")],
                Fit::Declared(5),
                Persist::KeepAndSay,
                format!(
                    "HTTP/1.1 200 OK\r\n{told}content-length: 5\r\nconnection: keep-alive\r\n\r\n"
                ),
            ),
            (
                200,
                vec![
                    date,
                    ("connection", "upgrade"),
                    ("upgrade", "websocket"),
                    ("transfer-encoding", "gzip"),
                    ("keep-alive", "timeout=5"),
                    ("proxy-connection", "close"),
                ],
                Fit::UntilClose,
                Persist::Close,
                format!("HTTP/1.1 200 OK\r\n{told}connection: close\r\n\r\n"),
            ),
            (
                299,
                vec![date, ("a", "1"), ("a", "2")],
                Fit::None,
                Persist::Keep,
                format!("HTTP/1.1 299 \r\n{told}a: 1\r\na: 2\r\n\r\n"),
            ),
        ] {
            assert_eq!(head(status, &fields, fit, persist), expected);
        }
    }

    #[test]
    fn every_head_has_one_date() {
        let head = head(204, &[], Fit::None, Persist::Keep);
        let date = head
            .strip_prefix("HTTP/1.1 204 No Content\r\ndate: ")
            .unwrap();
        let date = date.strip_suffix("\r\n\r\n").unwrap();
        httpdate::parse_http_date(date).unwrap();
    }

    /// What goes over the wire, and whether it fitted.
    fn sent(
        fit: Fit,
        pieces: &[&'static str],
        trailers: &[(&str, &str)],
        te: bool,
    ) -> (String, bool) {
        let mut encoder = Encoder::new(fit, te);
        let (mut out, mut fitted) = (Vec::new(), true);
        for piece in pieces {
            let mut data = Bytes::from(*piece);
            let after = encoder.data(&mut data, &mut out);
            out.extend_from_slice(&data);
            fitted &= after.is_ok();
            out.extend_from_slice(after.unwrap_or_default());
        }
        let mut fields = HeaderMap::new();
        for (name, value) in trailers {
            fields.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        fitted &= encoder.end(Some(&fields), &mut out).is_ok();
        (String::from_utf8(out).unwrap(), fitted)
    }

    #[test]
    fn d67_d68_a_body_is_exactly_as_long_as_its_head_says() {
        for (fit, pieces, wire, fits) in [
            (Fit::Declared(5), &["he", "llo"][..], "hello", true),
            (Fit::Declared(5), &["he"], "he", false),
            (Fit::Declared(1), &["abc"], "a", false),
            (Fit::Length(2), &["ab", "c"], "ab", false),
            (Fit::None, &[], "", true),
            (Fit::None, &["x"], "", false),
            (Fit::UntilClose, &["a", "b"], "ab", true),
            (
                Fit::Chunked,
                &["hello", "", "x"],
                "5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n",
                true,
            ),
            (Fit::Chunked, &[], "0\r\n\r\n", true),
        ] {
            assert_eq!(
                sent(fit, pieces, &[], true),
                (wire.to_owned(), fits),
                "{fit:?} {pieces:?}"
            );
        }
    }

    #[test]
    fn trailers_are_sent_to_who_asked_and_never_frame_anything() {
        let trailers = [("content-length", "3"), ("x-sum", "1"), ("set-cookie", "a")];
        let with = "1\r\na\r\n0\r\nx-sum: 1\r\n\r\n".to_owned();
        let without = "1\r\na\r\n0\r\n\r\n".to_owned();
        assert_eq!(sent(Fit::Chunked, &["a"], &trailers, true), (with, true));
        assert_eq!(
            sent(Fit::Chunked, &["a"], &trailers, false),
            (without, true)
        );
        assert_eq!(
            sent(Fit::Length(1), &["a"], &trailers, true),
            ("a".to_owned(), true)
        );
    }
}
