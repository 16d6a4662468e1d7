//! A request's body that may have so many bytes: what is longer ends in an error, never cleanly.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use crate::event::RequestId;
use crate::limit::{Hits, Limit};

/// Lets `most` bytes of a request's body through.
pub(crate) fn request(
    body: WasiBody,
    most: u64,
    hits: &Arc<Hits>,
    request_id: RequestId,
) -> WasiBody {
    Capped {
        body,
        most,
        left: Some(most),
        hits: hits.clone(),
        request_id,
    }
    .boxed_unsync()
}

/// Whether a request's head, or what is known of its body, says already that it is longer.
pub(crate) fn is_longer(headers: &HeaderMap, body: &WasiBody, most: u64) -> bool {
    let announced = announced(headers).unwrap_or_default();
    announced.max(body.size_hint().lower()) > most
}

/// Whether a response's head says that its body is longer. That of a 304 is that of another response.
pub(crate) fn will_be_longer(status: StatusCode, headers: &HeaderMap, most: u64) -> bool {
    status != StatusCode::NOT_MODIFIED && announced(headers).is_some_and(|bytes| bytes > most)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

struct Capped {
    body: WasiBody,
    most: u64,
    /// Bytes that may still come; none once it was too long.
    left: Option<u64>,
    hits: Arc<Hits>,
    request_id: RequestId,
}

impl Capped {
    fn too_long(&mut self) -> HttpError {
        self.left = None;
        self.hits.hit(Limit::RequestBody, self.request_id);
        HttpError::HttpRequestBodySize(Some(self.most))
    }
}

impl Body for Capped {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let Some(left) = self.left else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let data = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        let bytes = data.map_or(0, |data| data.len() as u64);
        match left.checked_sub(bytes) {
            Some(left) => {
                self.left = Some(left);
                Poll::Ready(frame)
            }
            None => Poll::Ready(Some(Err(self.too_long()))),
        }
    }

    /// One that was too long has no clean end.
    fn is_end_stream(&self) -> bool {
        self.left.is_some() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::event::Event;

    /// A body of these pieces.
    struct Pieces(std::vec::IntoIter<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            let piece = self.0.next();
            Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
        }
    }

    /// What comes of a body of these pieces, and the limits that were hit.
    async fn read(pieces: &[&'static str], most: u64) -> (String, Vec<Limit>) {
        let told = Arc::<Mutex<Vec<Limit>>>::default();
        let telling = told.clone();
        let hits = Hits::new(
            Arc::new(move |event| {
                if let Event::Limit { limit, .. } = event {
                    telling.lock().unwrap().push(limit);
                }
            }),
            "a".parse().unwrap(),
        );
        let pieces = pieces.to_vec();
        let body = Pieces(pieces.into_iter()).boxed_unsync();
        let mut body = request(body, most, &Arc::new(hits), RequestId::next());
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap(),
                Err(error) => text += &format!(" {}", crate::error::code(&error)),
            }
        }
        let told = told.lock().unwrap().clone();
        (text, told)
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_it_may_be_or_ends_in_an_error() {
        for (pieces, most, expected, hits) in [
            (&["abc", "de"][..], 5, "abcde", 0),
            (&["abc", "de"], 4, "abc HTTP-request-body-size", 1),
            (&["abc", "", "de", "f"], 2, " HTTP-request-body-size", 1),
            (&[], 0, "", 0),
        ] {
            let hits = vec![Limit::RequestBody; hits];
            assert_eq!(read(pieces, most).await, (expected.to_owned(), hits));
        }
    }
}
