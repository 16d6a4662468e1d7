//! Handles without end.

use std::mem::forget;
use std::task::{Context, Waker};

use toolbox::{Query, json};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, RequestOptions};
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
