//! Responses: whole ones, streamed ones, and odd ones.

use toolbox::Query;
use wasip3::http::types::{ErrorCode, Fields, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

/// What a body ends with.
pub type End = Result<Option<Trailers>, ErrorCode>;

/// A response's body, while its head is on the way. Dropped without `finish`, it is cut off.
pub struct Body {
    stream: StreamWriter<u8>,
    end: FutureWriter<End>,
}

impl Body {
    pub fn start(status: u16, headers: &[(String, Vec<u8>)]) -> (Response, Body) {
        let (stream, contents) = wit_stream::new();
        let (end, trailers) = wit_future::new(|| {
            Err(ErrorCode::InternalError(Some(
                "the body was cut off".into(),
            )))
        });
        (
            response(status, headers, Some(contents), trailers),
            Body { stream, end },
        )
    }

    /// `false` when nobody reads any more.
    pub async fn write(&mut self, bytes: Vec<u8>) -> bool {
        self.stream.write_all(bytes).await.is_empty()
    }

    pub async fn finish(self, end: End) {
        drop(self.stream);
        let _ = self.end.write(end).await;
    }

    /// Sends `contents` on, chunk by chunk, and what it ends with.
    pub async fn pass_on(mut self, mut contents: StreamReader<u8>, end: FutureReader<End>) {
        loop {
            let (result, chunk) = contents.read(Vec::with_capacity(65_536)).await;
            if !chunk.is_empty() && !self.write(chunk).await {
                return;
            }
            if !matches!(result, StreamResult::Complete(_)) {
                break;
            }
        }
        self.finish(end.await).await;
    }
}

pub fn response(
    status: u16,
    headers: &[(String, Vec<u8>)],
    contents: Option<StreamReader<u8>>,
    trailers: FutureReader<End>,
) -> Response {
    let fields = Fields::new();
    for (name, value) in headers {
        fields
            .append(name, value)
            .expect("a header that a test made up can be sent");
    }
    let (response, _sent) = Response::new(fields, contents, trailers);
    response
        .set_status_code(status)
        .expect("a status that a test made up can be sent");
    response
}

/// A whole response in plain text.
pub fn text(status: u16, text: &str) -> Response {
    whole(
        status,
        &[("content-type".into(), b"text/plain; charset=utf-8".to_vec())],
        text.into(),
    )
}

/// A whole response in JSON.
pub fn json(json: &str) -> Response {
    whole(
        200,
        &[("content-type".into(), b"application/json".to_vec())],
        json.into(),
    )
}

fn whole(status: u16, headers: &[(String, Vec<u8>)], bytes: Vec<u8>) -> Response {
    let (response, mut body) = Body::start(status, headers);
    spawn_local(async move {
        if body.write(bytes).await {
            body.finish(Ok(None)).await;
        }
    });
    response
}

/// `/status?code=&header=name:value&body=`
pub fn status(query: &Query) -> Response {
    let headers: Vec<_> = query
        .headers("header")
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect();
    whole(
        query.number("code", 200),
        &headers,
        query.text("body").unwrap_or_default().into(),
    )
}

/// `/big?bytes=&chunk=`: that many `x`, written in chunks of that size.
pub fn big(query: &Query) -> Response {
    let chunk: u64 = query.number("chunk", 65_536).max(1);
    let mut left: u64 = query.number("bytes", 1 << 20);
    let (response, mut body) = Body::start(200, &[]);
    spawn_local(async move {
        while left > 0 {
            let size = left.min(chunk);
            if !body.write(vec![b'x'; size as usize]).await {
                return;
            }
            left -= size;
        }
        body.finish(Ok(None)).await;
    });
    response
}

/// `/error?name=`: the guest's own error, instead of a response.
pub fn error(query: &Query) -> ErrorCode {
    match query.text("name").unwrap_or_default() {
        "connection-refused" => ErrorCode::ConnectionRefused,
        "connection-timeout" => ErrorCode::ConnectionTimeout,
        "HTTP-request-denied" => ErrorCode::HttpRequestDenied,
        "HTTP-response-timeout" => ErrorCode::HttpResponseTimeout,
        "loop-detected" => ErrorCode::LoopDetected,
        other => ErrorCode::InternalError(Some(other.into())),
    }
}
