//! The guest of the demo: polite on `/`, and on `/steal` it tries four things it was never granted.
//!
//! `GET /steal[?port=N]` calls an upstream on the loopback, asks for the cloud's metadata, reads a
//! file and a variable, and reports what became of each: as JSON, or as a page when the client
//! prefers HTML.

mod attempt;
mod page;
mod reply;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use reply::{Content, reply};

/// Where the demo's upstream listens.
const UPSTREAM_PORT: u16 = 9100;

struct Thief;

wasip2::http::proxy::export!(Thief);

impl Guest for Thief {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let html = prefers_html(&request);
        match (request.method(), path) {
            (Method::Get | Method::Head, "/") if html => {
                reply(out, 200, Content::Html, &page::hello())
            }
            (Method::Get | Method::Head, "/") => {
                reply(out, 200, Content::Text, "hello from thief\n")
            }
            (Method::Get | Method::Head, "/steal") => steal(out, query, html),
            (Method::Get | Method::Head, _) => {
                reply(out, 404, Content::Text, "only / and /steal are here\n")
            }
            _ => reply(out, 405, Content::Text, "only GET is answered here\n"),
        }
    }
}

fn steal(out: ResponseOutparam, query: &str, html: bool) {
    let Some(port) = port(query) else {
        return reply(
            out,
            400,
            Content::Text,
            "`port` is a number from 1 to 65535\n",
        );
    };
    let attempts = attempt::all(port);
    match html {
        true => reply(out, 200, Content::Html, &page::report(&attempts)),
        false => reply(out, 200, Content::Json, &attempt::to_json(&attempts)),
    }
}

fn port(query: &str) -> Option<u16> {
    let Some(port) = query.split('&').find_map(|pair| pair.strip_prefix("port=")) else {
        return Some(UPSTREAM_PORT);
    };
    port.parse().ok().filter(|&port| port != 0)
}

/// A browser names `text/html` itself; curl's `*/*` does not.
fn prefers_html(request: &IncomingRequest) -> bool {
    let accept = request.headers().get("accept").concat();
    let accept = String::from_utf8_lossy(&accept).to_ascii_lowercase();
    let place = |media: &str| {
        accept
            .split(',')
            .position(|item| item.split(';').next().unwrap_or_default().trim() == media)
    };
    match (place("text/html"), place("application/json")) {
        (Some(html), Some(json)) => html < json,
        (html, _) => html.is_some(),
    }
}
