//! Responses: whole ones, streamed ones, and odd ones.

use toolbox::Query;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers,
};
use wasip2::io::streams::{OutputStream, StreamError};

/// One `blocking-write-and-flush` takes no more.
const PIECE: usize = 4096;

/// A response's body, while its head is on the way. Dropped without `finish`, it is cut off.
pub struct Body {
    // Before `body`: a child resource is dropped first.
    stream: OutputStream,
    body: OutgoingBody,
}

impl Body {
    pub fn start(out: ResponseOutparam, status: u16, headers: &[(String, Vec<u8>)]) -> Body {
        let fields = Fields::new();
        for (name, value) in headers {
            fields
                .append(name, value)
                .expect("a header that a test made up can be sent");
        }
        let response = OutgoingResponse::new(fields);
        response
            .set_status_code(status)
            .expect("a status that a test made up can be sent");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        Body {
            stream: body.write().expect("the stream is taken once"),
            body,
        }
    }

    pub fn write(&self, bytes: &[u8]) -> Result<(), StreamError> {
        bytes
            .chunks(PIECE)
            .try_for_each(|piece| self.stream.blocking_write_and_flush(piece))
    }

    pub fn finish(self, trailers: Option<Trailers>) {
        drop(self.stream);
        let _ = OutgoingBody::finish(self.body, trailers);
    }

    /// Sends `body` on, chunk by chunk, and its trailers; when it breaks, so does this one.
    pub fn pass_on(self, body: IncomingBody) {
        let stream = body.stream().expect("the stream is taken once");
        loop {
            match stream.blocking_read(65_536) {
                Ok(chunk) if self.write(&chunk).is_ok() => {}
                Err(StreamError::Closed) => break,
                Ok(_) | Err(StreamError::LastOperationFailed(_)) => return,
            }
        }
        drop(stream);
        let trailers = IncomingBody::finish(body);
        trailers.subscribe().block();
        match trailers.get() {
            Some(Ok(Ok(trailers))) => self.finish(trailers),
            _ => drop(self),
        }
    }
}

/// A whole response in plain text.
pub fn text(out: ResponseOutparam, status: u16, text: &str) {
    whole(out, status, "text/plain; charset=utf-8", text);
}

/// A whole response in JSON.
pub fn json(out: ResponseOutparam, json: &str) {
    whole(out, 200, "application/json", json);
}

fn whole(out: ResponseOutparam, status: u16, media_type: &str, text: &str) {
    let body = Body::start(out, status, &[("content-type".into(), media_type.into())]);
    if body.write(text.as_bytes()).is_ok() {
        body.finish(None);
    }
}

/// `/status?code=&header=name:value&body=`
pub fn status(out: ResponseOutparam, query: &Query) {
    let headers: Vec<_> = query
        .headers("header")
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect();
    let body = Body::start(out, query.number("code", 200), &headers);
    if body
        .write(query.text("body").unwrap_or_default().as_bytes())
        .is_ok()
    {
        body.finish(None);
    }
}

/// `/big?bytes=&chunk=`: that many `x`, written in chunks of that size.
pub fn big(out: ResponseOutparam, query: &Query) {
    let body = Body::start(out, 200, &[]);
    let chunk = vec![b'x'; query.number("chunk", 65_536).max(1)];
    let mut left: u64 = query.number("bytes", 1 << 20);
    while left > 0 {
        let size = left.min(chunk.len() as u64);
        if body.write(&chunk[..size as usize]).is_err() {
            return;
        }
        left -= size;
    }
    body.finish(None);
}

/// `/error?name=`: the guest's own error, instead of a response.
pub fn error(out: ResponseOutparam, query: &Query) {
    let error = match query.text("name").unwrap_or_default() {
        "connection-refused" => ErrorCode::ConnectionRefused,
        "connection-timeout" => ErrorCode::ConnectionTimeout,
        "HTTP-request-denied" => ErrorCode::HttpRequestDenied,
        "HTTP-response-timeout" => ErrorCode::HttpResponseTimeout,
        "loop-detected" => ErrorCode::LoopDetected,
        other => ErrorCode::InternalError(Some(other.into())),
    };
    ResponseOutparam::set(out, Err(error));
}
