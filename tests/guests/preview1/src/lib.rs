//! A core module for wasip1 (a reactor), built from 0.2 bindings: a host has to make a component of it, with the
//! preview 1 adapter. Says hello, and prints a line through wasip1.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        println!("a line through preview 1");
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(b"hello from preview1\n");
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
