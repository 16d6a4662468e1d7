//! Outbound requests, reported down to the call that refused.

use toolbox::{Fetch, Query, Tally, json, wit_name};
use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::http_error_code;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, RequestOptions, ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

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

    fn of(at: &'static str, error: ErrorCode) -> Failure {
        Failure {
            at,
            error: Some(error),
        }
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
pub fn fetch(out: ResponseOutparam, query: &Query) {
    let fetch = Fetch::of(query);
    if fetch.stream {
        return match send(&fetch).and_then(answer) {
            Ok(response) => pass_on(out, response),
            Err(failure) => reply::json(out, &json::object(failure.members())),
        };
    }
    if let Some(times) = fetch.times {
        return reply::json(out, &tally(&fetch, times).json());
    }
    let started = start(&fetch);
    let mut reports = started.into_iter().map(|started| report(&fetch, started));
    if fetch.count == 1 {
        return reply::json(out, &reports.next().expect("one"));
    }
    reply::json(out, &json::array(reports));
}

/// One round: all at the same time.
fn start(fetch: &Fetch) -> Vec<Result<FutureIncomingResponse, Failure>> {
    let started = (0..fetch.count).map(|_| send(fetch)).collect();
    if let Some(text) = &fetch.say {
        println!("{text}");
    }
    started
}

fn tally(fetch: &Fetch, times: usize) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..times {
        for started in start(fetch) {
            tally.count(outcome(fetch, started));
        }
    }
    tally
}

fn outcome(fetch: &Fetch, started: Result<FutureIncomingResponse, Failure>) -> String {
    if fetch.abandon && started.is_ok() {
        wait(fetch);
        return "abandoned".into();
    }
    match started.and_then(answer) {
        Ok(response) => response.status().to_string(),
        Err(failure) => failure.name(),
    }
}

/// `/proxy`: the answer as it comes, or the error as this guest's own.
pub fn proxy(out: ResponseOutparam, query: &Query) {
    match send(&Fetch::of(query)).and_then(answer) {
        Ok(response) => pass_on(out, response),
        Err(failure) => {
            let error = failure
                .error
                .unwrap_or(ErrorCode::InternalError(Some(failure.at.into())));
            ResponseOutparam::set(out, Err(error));
        }
    }
}

fn send(fetch: &Fetch) -> Result<FutureIncomingResponse, Failure> {
    let headers = Fields::new();
    for (name, value) in &fetch.headers {
        headers
            .append(name, value.as_bytes())
            .map_err(|_| Failure::at("header"))?;
    }
    let request = OutgoingRequest::new(headers);
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

    let trailers = trailers(fetch)?;
    // A `content-length` that is none.
    let body = request.body().map_err(|()| Failure::at("body"))?;
    let answer = outgoing_handler::handle(request, Some(options(fetch)?))
        .map_err(|error| Failure::of("handle", error))?;
    upload(body, fetch, trailers)?;
    Ok(answer)
}

fn trailers(fetch: &Fetch) -> Result<Option<Fields>, Failure> {
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

fn options(fetch: &Fetch) -> Result<RequestOptions, Failure> {
    let options = RequestOptions::new();
    options
        .set_connect_timeout(fetch.connect_timeout)
        .map_err(|()| Failure::at("connect-timeout"))?;
    options
        .set_first_byte_timeout(fetch.first_byte_timeout)
        .map_err(|()| Failure::at("first-byte-timeout"))?;
    options
        .set_between_bytes_timeout(fetch.between_bytes_timeout)
        .map_err(|()| Failure::at("between-bytes-timeout"))?;
    Ok(options)
}

fn upload(body: OutgoingBody, fetch: &Fetch, trailers: Option<Fields>) -> Result<(), Failure> {
    let stream = body.write().expect("the stream is taken once");
    let sent = fetch
        .body
        .chunks(4096)
        .try_for_each(|piece| stream.blocking_write_and_flush(piece));
    drop(stream);
    match sent {
        Ok(()) if fetch.unfinished => Ok(()),
        Ok(()) => {
            OutgoingBody::finish(body, trailers).map_err(|error| Failure::of("finish", error))
        }
        // A request that was refused does not read its body: the answer says why, not the write.
        Err(StreamError::Closed) => Ok(()),
        Err(StreamError::LastOperationFailed(error)) => match http_error_code(&error) {
            Some(code) => Err(Failure::of("write", code)),
            None => Ok(()),
        },
    }
}

fn answer(answer: FutureIncomingResponse) -> Result<IncomingResponse, Failure> {
    answer.subscribe().block();
    let response = answer
        .get()
        .expect("it is ready")
        .expect("it is taken once");
    response.map_err(|error| Failure::of("future", error))
}

fn report(fetch: &Fetch, started: Result<FutureIncomingResponse, Failure>) -> String {
    if fetch.abandon {
        wait(fetch);
        return json::object([("abandoned", started.is_ok().to_string())]);
    }
    let response = match started.and_then(answer) {
        Ok(response) => response,
        Err(failure) => return json::object(failure.members()),
    };
    let mut members = vec![
        ("status", response.status().to_string()),
        ("headers", json::pairs(response.headers().entries())),
    ];
    wait(fetch);
    let (bytes, failure) = read(response);
    members.push(("body", json::string(&String::from_utf8_lossy(&bytes))));
    members.extend(failure.iter().flat_map(Failure::members));
    json::object(members)
}

fn wait(fetch: &Fetch) {
    if let Some(hold) = fetch.hold {
        monotonic_clock::subscribe_duration(hold).block();
    }
}

/// The whole body, or what of it came before it broke.
fn read(response: IncomingResponse) -> (Vec<u8>, Option<Failure>) {
    let body = response.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut bytes = Vec::new();
    let failure = loop {
        match stream.blocking_read(65_536) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => break None,
            Err(StreamError::LastOperationFailed(error)) => {
                break Some(Failure {
                    at: "body",
                    error: http_error_code(&error),
                });
            }
        }
    };
    drop(stream);
    drop(IncomingBody::finish(body));
    (bytes, failure)
}

fn pass_on(out: ResponseOutparam, response: IncomingResponse) {
    let headers = response.headers().entries();
    let body = response.consume().expect("the body is taken once");
    Body::start(out, response.status(), &headers).pass_on(body);
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
