//! Handles without end.

use std::mem::forget;
use std::task::{Context, Waker};

use toolbox::{Query, json};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip3::http::types::{ErrorCode, Fields, Method, Request, RequestOptions};
use wasip3::{wit_future, wit_stream};

#[link(wasm_import_module = "$root")]
unsafe extern "C" {
    #[link_name = "[waitable-set-new]"]
    fn waitable_set_new() -> u32;
}

/// `/leak?what=fields|options|streams|futures|sets|tasks|fat|copies&n=`: takes so many and lets none go.
pub fn leak(query: &Query) -> String {
    let count: u64 = query.number("n", 1_000_000);
    let original = fat();
    for _ in 0..count {
        match query.text("what") {
            Some("options") => forget(RequestOptions::new()),
            Some("fat") => forget(fat()),
            Some("copies") => {
                let copy = original.clone();
                let _ = copy.append("x-one", b"more");
                forget(copy);
            }
            Some("streams") => forget(wit_stream::new::<u8>()),
            Some("futures") => forget(wit_future::new::<Result<(), ErrorCode>>(|| Ok(()))),
            Some("sets") => {
                // SAFETY: a number that nobody uses.
                let _ = unsafe { waitable_set_new() };
            }
            Some("tasks") => begin(),
            _ => forget(Fields::new()),
        }
    }
    json::object([("got", count.to_string())])
}

/// `/hoard?what=errors|methods&n=`: has the host keep so many texts of 900 KB, and lets none go. `errors` are why bodies were
/// not read to their end; between two `methods` it opens a file, or tries to.
pub async fn hoard(query: &Query) -> String {
    let count: u64 = query.number("n", 1_000_000);
    let text = "X".repeat(900_000);
    let folder = get_directories().into_iter().next();
    if query.text("what") == Some("methods") {
        // As many open files as there may be.
        (0..300).for_each(|_| forget(get_directories()));
    }
    for _ in 0..count {
        let (end, trailers) = wit_future::new(|| Ok(None));
        let (request, sent) = Request::new(Fields::new(), None, trailers, None);
        match (query.text("what"), &folder) {
            (Some("methods"), Some((folder, _))) => {
                let _ = request.set_method(&Method::Other(text.clone()));
                let flags = (PathFlags::empty(), OpenFlags::empty(), DescriptorFlags::READ);
                let _ = folder.open_at(flags.0, "a.txt".into(), flags.1, flags.2).await;
                forget((end, request, sent));
            }
            _ => {
                let (told, outcome) = wit_future::new(|| Ok(()));
                let (body, rest) = Request::consume_body(request, outcome);
                let error = ErrorCode::InternalError(Some(text.clone()));
                let _ = told.write(Err(error)).await;
                forget((end, sent, body, rest));
            }
        }
    }
    json::object([("got", count.to_string())])
}

/// Fields of 100 KB.
fn fat() -> Fields {
    let fields = Fields::new();
    let _ = fields.append("x-fat", &[b'x'; 100_000]);
    fields
}

/// A call that never ends, under way and out of hand.
fn begin() {
    let mut waiting = Box::pin(wait_for(u64::MAX));
    let _ = waiting
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    forget(waiting);
}
