//! One guest for most stories: the path says what to do, the query says how. `tests/guests/README.md` lists it all.

mod fetch;
mod files;
mod mischief;
mod reply;
mod system;

use toolbox::{Query, json};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam, Scheme};

use reply::{Body, json, text};

struct Probe;

wasip2::http::proxy::export!(Probe);

impl Guest for Probe {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = Query::of(&target);
        match path {
            "/hello" => text(out, 200, "hello from probe\n"),
            "/echo" => echo(request, out, &query),
            "/headers" => json(out, &describe(&request)),
            "/fetch" => fetch::fetch(out, &query),
            "/proxy" => fetch::proxy(out, &query),
            "/status" => reply::status(out, &query),
            "/big" => reply::big(out, &query),
            "/error" => reply::error(out, &query),
            "/env" => json(out, &system::environment()),
            "/args" => json(out, &system::arguments()),
            "/clock" => json(out, &system::clock()),
            "/random" => json(out, &system::random(&query)),
            "/sockets" => json(out, &system::sockets(&query)),
            "/stdout" => system::stdout(out, &query),
            "/stderr" => system::stderr(out, &query),
            "/files" => json(out, &files::read(&query)),
            "/write" => json(out, &files::write(&query)),
            "/remove" => json(out, &files::remove(&query)),
            "/rename" => json(out, &files::rename(&query)),
            "/link" => json(out, &files::link(&query)),
            _ => mischief::handle(path, out, &query),
        }
    }
}

/// The request's body and trailers, as they come; its method, and the headers that `header=` names, as `x-…`.
fn echo(request: IncomingRequest, out: ResponseOutparam, query: &Query) {
    let mut headers = vec![(
        "x-method".to_owned(),
        method(&request.method()).into_bytes(),
    )];
    for name in query.all("header") {
        let values = request.headers().get(name);
        headers.extend(values.into_iter().map(|value| (format!("x-{name}"), value)));
    }
    let body = request.consume().expect("the body is taken once");
    Body::start(out, 200, &headers).pass_on(body);
}

/// Everything that a request's head says.
fn describe(request: &IncomingRequest) -> String {
    let optional = |text: Option<String>| text.map_or("null".into(), |text| json::string(&text));
    json::object([
        ("method", json::string(&method(&request.method()))),
        ("scheme", optional(request.scheme().map(scheme))),
        ("authority", optional(request.authority())),
        ("path", optional(request.path_with_query())),
        ("headers", json::pairs(request.headers().entries())),
    ])
}

fn method(method: &Method) -> String {
    match method {
        Method::Other(other) => other.clone(),
        known => format!("{known:?}")
            .trim_start_matches("Method::")
            .to_ascii_uppercase(),
    }
}

fn scheme(scheme: Scheme) -> String {
    match scheme {
        Scheme::Http => "http".into(),
        Scheme::Https => "https".into(),
        Scheme::Other(other) => other,
    }
}
