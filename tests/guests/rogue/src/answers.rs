//! Answers that are wrong, and what is too large for a call.

use toolbox::{Query, json};
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::OutputStream;

/// A response whose head is on the way.
struct Begun {
    stream: OutputStream,
    body: OutgoingBody,
}

fn begin(out: ResponseOutparam, fields: Fields) -> Begun {
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    Begun {
        stream: body.write().expect("the stream is taken once"),
        body,
    }
}

pub fn answer(out: ResponseOutparam, media_type: &str, text: &str) {
    let fields = Fields::new();
    fields
        .append("content-type", media_type.as_bytes())
        .expect("a plain field");
    let begun = begin(out, fields);
    for piece in text.as_bytes().chunks(4096) {
        if begun.stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
    drop(begun.stream);
    let _ = OutgoingBody::finish(begun.body, None);
}

pub fn json(out: ResponseOutparam, json: &str) {
    answer(out, "application/json", json);
}

/// The same handle a second time.
pub fn set_twice(out: ResponseOutparam) {
    // SAFETY: there is none: the host has to see that this handle is gone.
    let again = unsafe { ResponseOutparam::from_handle(out.handle()) };
    answer(out, "text/plain", "first\n");
    answer(again, "text/plain", "second\n");
}

/// A whole answer, and then a trap.
pub fn set_and_trap(out: ResponseOutparam) {
    answer(out, "text/plain", "first\n");
    core::arch::wasm32::unreachable()
}

/// Ends the body while it still has the stream, and writes on.
pub fn finish_and_write(out: ResponseOutparam) {
    let begun = begin(out, Fields::new());
    let _ = begun.stream.blocking_write_and_flush(b"xxxxxx");
    let _ = OutgoingBody::finish(begun.body, None);
    let _ = begun.stream.blocking_write_and_flush(b"late");
}

/// `/overwrite?bytes=`: asks once how much may be written, and writes that much more, in pieces of 64 KiB.
pub fn overwrite(out: ResponseOutparam, query: &Query) {
    let begun = begin(out, Fields::new());
    begun.stream.subscribe().block();
    let _ = begun.stream.check_write();
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..query.number("bytes", 1u64 << 30) / piece.len() as u64 {
        let _ = begun.stream.write(&piece);
    }
    drop(begun.stream);
    let _ = OutgoingBody::finish(begun.body, None);
}

/// `/fields?n=&bytes=`: so many fields, each of a value so long, until one is not taken.
pub fn fields(query: &Query) -> String {
    let fields = Fields::new();
    let value = vec![b'x'; query.number("bytes", 1)];
    let count: u64 = query.number("n", 1_000_000);
    for n in 0..count {
        if let Err(error) = fields.append(&format!("x-{n}"), &value) {
            return json::object([
                ("taken", n.to_string()),
                ("error", json::string(&format!("{error:?}"))),
            ]);
        }
    }
    json::object([("taken", count.to_string())])
}

/// All of a memory and more, from its first byte.
fn forged(bytes: usize) -> &'static [u8] {
    // SAFETY: there is none: the host has to see that this lies outside of the memory.
    unsafe { core::slice::from_raw_parts(core::ptr::dangling(), bytes) }
}

/// A name of 4 GiB.
pub fn huge_name() -> String {
    // SAFETY: as above.
    let name = unsafe { core::str::from_utf8_unchecked(forged(u32::MAX as usize)) };
    json::string(&format!("{:?}", Fields::new().append(name, b"")))
}

/// `/huge-value?bytes=`: a value so long, in memory where that is below 64 MiB.
pub fn huge_value(query: &Query) -> String {
    let bytes = query.number("bytes", usize::MAX);
    let fields = Fields::new();
    let taken = match bytes < 64 << 20 {
        true => fields.append("x-huge", &vec![b'x'; bytes]),
        false => fields.append("x-huge", forged(bytes)),
    };
    json::string(&format!("{taken:?}"))
}

/// `/read?bytes=`: reads so much of the request, and answers while it still has the rest.
pub fn read(request: IncomingRequest, out: ResponseOutparam, query: &Query) {
    let mut left: u64 = query.number("bytes", 0);
    let body = request.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    while left > 0 {
        match stream.blocking_read(left) {
            Ok(bytes) => left -= bytes.len() as u64,
            Err(_) => break,
        }
    }
    answer(out, "text/plain", "answered\n");
}
