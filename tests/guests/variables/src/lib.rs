//! `/variables?key=`: what each interface says of one variable, and all that `wasi:config` has, as JSON.

use std::fmt::Debug;

use toolbox::{Query, json, wit_name};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "asks", generate_all });
}

use bindings::fermyon::spin::variables as spin_2;
use bindings::spin::variables::variables as spin_3;
use bindings::wasi::config::store as config;

struct Variables;

wasip2::http::proxy::export!(Variables);

impl Guest for Variables {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (_, query) = Query::of(&target);
        let key = query.text("key").unwrap_or_default();
        reply(
            out,
            &json::object([
                ("spin-2", answer(spin_2::get(key).map(Some))),
                ("spin-3", answer(spin_3::get(key).map(Some))),
                ("config", answer(config::get(key))),
                ("all", all()),
            ]),
        );
    }
}

/// `{"value":…}`, with `null` where there is none, or `{"error":…}`.
fn answer<E: Debug>(answer: Result<Option<String>, E>) -> String {
    match answer {
        Ok(value) => json::object([(
            "value",
            value.map_or("null".into(), |value| json::string(&value)),
        )]),
        Err(error) => refusal(error),
    }
}

fn all() -> String {
    match config::get_all() {
        Ok(pairs) => json::object(
            pairs
                .into_iter()
                .map(|(key, value)| (key, json::string(&value))),
        ),
        Err(error) => refusal(error),
    }
}

fn refusal(error: impl Debug) -> String {
    let text = format!("{error:?}");
    let name = wit_name(text.trim_start_matches("Error::"));
    json::object([
        ("error", json::string(&name)),
        ("detail", json::string(&text)),
    ])
}

fn reply(out: ResponseOutparam, text: &str) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[b"application/json".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    for piece in text.as_bytes().chunks(4096) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
