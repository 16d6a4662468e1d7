//! Answers that are wrong, and what is too large for a call.

use toolbox::{Query, json};
use wasip3::http::types::{Fields, Request, Response};
use wasip3::wit_stream::StreamPayload;
use wasip3::{spawn_local, wit_future, wit_stream};

pub fn answer(media_type: &str, text: &str) -> Response {
    let fields = Fields::new();
    fields
        .append("content-type", media_type.as_bytes())
        .expect("a plain field");
    let (mut stream, contents) = wit_stream::new();
    let (end, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields, Some(contents), trailers);
    let bytes = text.as_bytes().to_vec();
    spawn_local(async move {
        stream.write_all(bytes).await;
        drop(stream);
        let _ = end.write(Ok(None)).await;
    });
    response
}

pub fn json(json: &str) -> Response {
    answer("application/json", json)
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
pub async fn read(request: Request, query: &Query) -> Response {
    let mut left: usize = query.number("bytes", 0);
    let (_, read) = wit_future::new(|| Ok(()));
    let (mut stream, _trailers) = Request::consume_body(request, read);
    while left > 0 {
        let (_, bytes) = stream.read(Vec::with_capacity(left)).await;
        if bytes.is_empty() {
            break;
        }
        left -= bytes.len();
    }
    answer("text/plain", "answered\n")
}

/// `/huge-read?bytes=`: says that so much fits into its buffer, which is in memory where that is below 64 MiB.
pub fn huge_read(request: Request, query: &Query) -> Response {
    let bytes: usize = query.number("bytes", (1 << 28) - 1);
    let (_, read) = wit_future::new(|| Ok(()));
    let (stream, _trailers) = Request::consume_body(request, read);
    let mut buffer = vec![0; if bytes < 64 << 20 { bytes } else { 1 }];
    // SAFETY: there is none: the host has to see that the buffer lies outside of the memory.
    let read = unsafe {
        (<u8 as StreamPayload>::VTABLE.start_read)(stream.handle(), buffer.as_mut_ptr(), bytes)
    };
    std::mem::forget(buffer);
    json(&json::object([("read", read.to_string())]))
}
