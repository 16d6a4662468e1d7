//! Outbound requests, reported down to the call that refused.

use toolbox::{Fetch, Query, json, wit_name};
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme};
use wasip3::wit_bindgen::StreamReader;
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::reply::{self, Body};

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
    fn members(&self) -> Vec<(&'static str, String)> {
        let (name, detail) = match &self.error {
            None => ("refused".into(), String::new()),
            Some(error) => (wit_name(&format!("{error:?}")), format!("{error:?}")),
        };
        vec![
            ("error", json::string(&name)),
            ("at", json::string(self.at)),
            ("detail", json::string(&detail)),
        ]
    }
}

/// `/fetch`: a report in JSON for one, an array of them for `n`; with `stream` the answer itself.
pub async fn fetch(query: &Query) -> Response {
    let fetch = Fetch::of(query);
    if fetch.stream {
        return match send(&fetch).await {
            Ok(response) => pass_on(response),
            Err(failure) => reply::json(&json::object(failure.members())),
        };
    }
    if fetch.count == 1 {
        return reply::json(&report(send(&fetch).await).await);
    }
    let started: Vec<_> = (0..fetch.count)
        .map(|_| spawn_local(one_of_many(Fetch::of(query))))
        .collect();
    let mut reports = Vec::new();
    for report in started {
        reports.extend(report.await);
    }
    reply::json(&json::array(reports))
}

async fn one_of_many(fetch: Fetch) -> String {
    report(send(&fetch).await).await
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
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(
        headers,
        upload(&fetch.body),
        trailers,
        Some(options(fetch)?),
    );
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

fn upload(bytes: &[u8]) -> Option<StreamReader<u8>> {
    if bytes.is_empty() {
        return None;
    }
    let (mut stream, contents) = wit_stream::new();
    let bytes = bytes.to_vec();
    spawn_local(async move {
        stream.write_all(bytes).await;
    });
    Some(contents)
}

async fn report(answer: Result<Response, Failure>) -> String {
    let response = match answer {
        Ok(response) => response,
        Err(failure) => return json::object(failure.members()),
    };
    let mut members = vec![
        ("status", response.get_status_code().to_string()),
        ("headers", json::pairs(response.get_headers().copy_all())),
    ];
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
