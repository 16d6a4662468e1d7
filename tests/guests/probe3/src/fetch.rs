//! Outbound requests, reported down to the call that refused.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use toolbox::{Fetch, Query, Tally, json, wit_name};
use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
use wasip3::wit_bindgen::{FutureWriter, StreamReader};
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::reply::{self, Body, End};

/// What went wrong, and in which call.
struct Failure {
    at: &'static str,
    error: Option<ErrorCode>,
}

impl Failure {
    fn at(at: &'static str) -> Failure {
        Failure { at, error: None }
    }

    /// A setter only says no: its error is `refused`.
    fn name(&self) -> String {
        let error = self.error.as_ref();
        error.map_or("refused".into(), |error| wit_name(&format!("{error:?}")))
    }

    fn members(&self) -> Vec<(&'static str, String)> {
        let error = self.error.as_ref();
        let detail = error.map_or(String::new(), |error| format!("{error:?}"));
        vec![
            ("error", json::string(&self.name())),
            ("at", json::string(self.at)),
            ("detail", json::string(&detail)),
        ]
    }
}

/// `/fetch`: a report in JSON for one, an array of them for `n`, a tally for `times`; with `stream` the answer itself.
pub async fn fetch(query: &Query) -> Response {
    let fetch = Fetch::of(query);
    if fetch.stream {
        return match send(&fetch).await {
            Ok(response) => pass_on(response),
            Err(failure) => reply::json(&json::object(failure.members())),
        };
    }
    if let Some(times) = fetch.times {
        return reply::json(&tally(query, times).await.json());
    }
    if fetch.count == 1 {
        return reply::json(&report(&fetch).await);
    }
    let reports = round(query, |fetch| async move { report(&fetch).await }).await;
    reply::json(&json::array(reports))
}

/// `n` at the same time. Tasks begin in the order in which they were made, the last one says so.
async fn round<F>(query: &Query, each: impl Fn(Fetch) -> F) -> Vec<String>
where
    F: Future<Output = String> + 'static,
{
    let Fetch { count, say, .. } = Fetch::of(query);
    let started: Vec<_> = (0..count)
        .map(|_| spawn_local(each(Fetch::of(query))))
        .collect();
    if let Some(text) = say {
        spawn_local(async move { println!("{text}") });
    }
    let mut outcomes = Vec::new();
    for outcome in started {
        outcomes.extend(outcome.await);
    }
    outcomes
}

async fn tally(query: &Query, times: usize) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..times {
        for outcome in round(query, outcome).await {
            tally.count(outcome);
        }
    }
    tally
}

async fn outcome(fetch: Fetch) -> String {
    if fetch.abandon {
        abandon(&fetch).await;
        return "abandoned".into();
    }
    match send(&fetch).await {
        Ok(response) => response.get_status_code().to_string(),
        Err(failure) => failure.name(),
    }
}

/// Starts the request and lets go of it.
async fn abandon(fetch: &Fetch) {
    let mut sending = pin!(send(fetch));
    poll_fn(|cx| {
        let _ = sending.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    wait(fetch).await;
}

async fn wait(fetch: &Fetch) {
    if let Some(hold) = fetch.hold {
        monotonic_clock::wait_for(hold).await;
    }
}

/// `/proxy`: the answer as it comes, or the error as this guest's own.
pub async fn proxy(query: &Query) -> Result<Response, ErrorCode> {
    match send(&Fetch::of(query)).await {
        Ok(response) => Ok(pass_on(response)),
        Err(failure) => Err(failure
            .error
            .unwrap_or(ErrorCode::InternalError(Some(failure.at.into())))),
    }
}

async fn send(fetch: &Fetch) -> Result<Response, Failure> {
    let headers = Fields::new();
    for (name, value) in &fetch.headers {
        headers
            .append(name, value.as_bytes())
            .map_err(|_| Failure::at("header"))?;
    }
    let (end, trailers) = wit_future::new(|| Ok(None));
    let contents = upload(fetch, trailers_of(fetch)?, end);
    let (request, _sent) = Request::new(headers, contents, trailers, Some(options(fetch)?));
    request
        .set_method(&method(&fetch.method))
        .map_err(|()| Failure::at("method"))?;
    request
        .set_scheme(fetch.scheme.as_ref().map(scheme).as_ref())
        .map_err(|()| Failure::at("scheme"))?;
    request
        .set_authority(fetch.authority.as_deref())
        .map_err(|()| Failure::at("authority"))?;
    request
        .set_path_with_query(fetch.path.as_deref())
        .map_err(|()| Failure::at("path"))?;
    client::send(request).await.map_err(|error| Failure {
        at: "send",
        error: Some(error),
    })
}

fn options(fetch: &Fetch) -> Result<RequestOptions, Failure> {
    let options = RequestOptions::new();
    options
        .set_connect_timeout(fetch.connect_timeout)
        .map_err(|_| Failure::at("connect-timeout"))?;
    options
        .set_first_byte_timeout(fetch.first_byte_timeout)
        .map_err(|_| Failure::at("first-byte-timeout"))?;
    options
        .set_between_bytes_timeout(fetch.between_bytes_timeout)
        .map_err(|_| Failure::at("between-bytes-timeout"))?;
    Ok(options)
}

fn trailers_of(fetch: &Fetch) -> Result<Option<Trailers>, Failure> {
    if fetch.trailers.is_empty() {
        return Ok(None);
    }
    let trailers = Fields::new();
    for (name, value) in &fetch.trailers {
        trailers
            .append(name, value.as_bytes())
            .map_err(|_| Failure::at("trailer"))?;
    }
    Ok(Some(trailers))
}

fn upload(
    fetch: &Fetch,
    trailers: Option<Trailers>,
    end: FutureWriter<End>,
) -> Option<StreamReader<u8>> {
    let end_of_it = match fetch.unfinished {
        true => Err(ErrorCode::InternalError(Some(
            "the body was cut off".into(),
        ))),
        false => Ok(trailers),
    };
    if fetch.body.is_empty() && matches!(end_of_it, Ok(None)) {
        return None;
    }
    let (mut stream, contents) = wit_stream::new();
    let bytes = fetch.body.clone();
    spawn_local(async move {
        stream.write_all(bytes).await;
        drop(stream);
        let _ = end.write(end_of_it).await;
    });
    Some(contents)
}

async fn report(fetch: &Fetch) -> String {
    if fetch.abandon {
        abandon(fetch).await;
        return json::object([("abandoned", "true".into())]);
    }
    let response = match send(fetch).await {
        Ok(response) => response,
        Err(failure) => return json::object(failure.members()),
    };
    let mut members = vec![
        ("status", response.get_status_code().to_string()),
        ("headers", json::pairs(response.get_headers().copy_all())),
    ];
    wait(fetch).await;
    let (_, read) = wit_future::new(|| Ok(()));
    let (contents, end) = Response::consume_body(response, read);
    let bytes = contents.collect().await;
    members.push(("body", json::string(&String::from_utf8_lossy(&bytes))));
    if let Err(error) = end.await {
        members.extend(
            Failure {
                at: "body",
                error: Some(error),
            }
            .members(),
        );
    }
    json::object(members)
}

fn pass_on(response: Response) -> Response {
    let status = response.get_status_code();
    let headers = response.get_headers().copy_all();
    let (_, read) = wit_future::new(|| Ok(()));
    let (contents, end) = Response::consume_body(response, read);
    let (response, body) = Body::start(status, &headers);
    spawn_local(body.pass_on(contents, end));
    response
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.into()),
    }
}

fn scheme(scheme: &toolbox::Scheme) -> Scheme {
    match scheme {
        toolbox::Scheme::Http => Scheme::Http,
        toolbox::Scheme::Https => Scheme::Https,
        toolbox::Scheme::Other(other) => Scheme::Other(other.clone()),
    }
}
