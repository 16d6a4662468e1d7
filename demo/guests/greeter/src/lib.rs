//! Greets: `/greet` says hello to the world, `/greet/ada` to Ada.
//!
//! The host says in `spin-path-info` which part of the path the route's trailing wildcard matched,
//! and in `spin-path-match-name` what `:name` matched; without either the path itself is read.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Greeter;

wasip2::http::proxy::export!(Greeter);

impl Guest for Greeter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let name = name(&request).filter(|name| !name.is_empty());
        let name = name.as_deref().map_or("world".into(), percent_decode);
        reply(out, &format!("Hello, {name}!\n"));
    }
}

/// Who is to be greeted, still percent-encoded.
fn name(request: &IncomingRequest) -> Option<String> {
    if let Some(name) = header(request, "spin-path-match-name") {
        return Some(name);
    }
    let target = request.path_with_query()?;
    let path = header(request, "spin-path-info").unwrap_or_else(|| path(&target).into());
    // The route `/greet/...` leaves the name, `/...` the whole path.
    let rest = path.strip_prefix("/greet").unwrap_or(&path);
    Some(rest.trim_start_matches('/').to_owned())
}

fn header(request: &IncomingRequest, name: &str) -> Option<String> {
    let value = request.headers().get(name).into_iter().next()?;
    String::from_utf8(value).ok()
}

fn path(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| {
            bytes
                .get(at)
                .and_then(|&byte| char::from(byte).to_digit(16))
        };
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn reply(out: ResponseOutparam, text: &str) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]);
    let response = OutgoingResponse::new(headers);
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
