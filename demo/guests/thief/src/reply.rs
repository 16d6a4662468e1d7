//! One whole response at a time.

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// What a body is.
pub enum Content {
    Html,
    Json,
    Text,
}

impl Content {
    fn media_type(&self) -> &'static str {
        match self {
            Content::Html => "text/html; charset=utf-8",
            Content::Json => "application/json",
            Content::Text => "text/plain; charset=utf-8",
        }
    }
}

/// Answers with `text`.
pub fn reply(out: ResponseOutparam, status: u16, content: Content, text: &str) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[content.media_type().into()]);
    let _ = headers.set("cache-control", &[b"no-store".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));

    // A client that has gone is no reason to trap.
    if let Ok(stream) = body.write() {
        // One call takes at most 4096 bytes.
        for part in text.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(part).is_err() {
                break;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}
