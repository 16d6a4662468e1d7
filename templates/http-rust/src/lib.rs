//! Says hello.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        reply(out, 200, "hello\n");
    }
}

fn reply(out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    headers
        .set("content-type", &[b"text/plain; charset=utf-8".to_vec()])
        .expect("the header is a valid one");
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(status)
        .expect("the status is a valid one");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));

    // One call takes at most 4096 bytes. A client that has gone is no reason to trap.
    let stream = body.write().expect("the stream is taken once");
    for part in text.as_bytes().chunks(4096) {
        if stream.blocking_write_and_flush(part).is_err() {
            return;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
