//! The probe as a component of wasi:http 0.3: the same paths and queries, as far as 0.3 has them.

mod fetch;
mod granted;
mod mischief;
mod reply;

use toolbox::{Query, json};
use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Method, Request, Response, Scheme};
use wasip3::{spawn_local, wit_future};

use reply::{Body, json, text};

struct Probe;

wasip3::http::service::export!(Probe);

impl Guest for Probe {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = Query::of(&target);
        match path {
            "/hello" => Ok(text(200, "hello from probe3\n")),
            "/echo" => Ok(echo(request, &query)),
            "/headers" => Ok(json(&describe(&request))),
            "/fetch" => Ok(fetch::fetch(&query).await),
            "/proxy" => fetch::proxy(&query).await,
            "/status" => Ok(reply::status(&query)),
            "/big" => Ok(reply::big(&query)),
            "/env" => Ok(json(&granted::environment())),
            "/clock" => Ok(json(&granted::clock())),
            "/files" => Ok(json(&granted::open(&query).await)),
            "/error" => Err(reply::error(&query)),
            _ => Ok(mischief::handle(path, &query).await),
        }
    }
}

/// The request's body and trailers, as they come; with `handle` the very stream, untouched.
fn echo(request: Request, query: &Query) -> Response {
    let mut headers = vec![(
        "x-method".to_owned(),
        method(&request.get_method()).into_bytes(),
    )];
    for name in query.all("header") {
        let values = request.get_headers().get(name);
        headers.extend(values.into_iter().map(|value| (format!("x-{name}"), value)));
    }
    let (_, read) = wit_future::new(|| Ok(()));
    let (stream, trailers) = Request::consume_body(request, read);
    if query.flag("handle") {
        return reply::response(200, &headers, Some(stream), trailers);
    }
    let (response, body) = Body::start(200, &headers);
    spawn_local(body.pass_on(stream, trailers));
    response
}

/// Everything that a request's head says.
fn describe(request: &Request) -> String {
    let optional = |text: Option<String>| text.map_or("null".into(), |text| json::string(&text));
    json::object([
        ("method", json::string(&method(&request.get_method()))),
        ("scheme", optional(request.get_scheme().map(scheme))),
        ("authority", optional(request.get_authority())),
        ("path", optional(request.get_path_with_query())),
        ("headers", json::pairs(request.get_headers().copy_all())),
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
