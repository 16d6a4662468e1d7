//! HTTP/2: hyper and h2 read and write the frames.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{BoxError, Connections, Peer};
use crate::drain::{InProgress, Requests};
use crate::received::{Asked, Received};
use crate::stats::{Closed, Seat, State};
use crate::streams::Streams;
use crate::transport::Transport;

impl<F, A, B> Connections<F>
where
    F: Fn(Asked, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) async fn http2<S>(self, prefix: Bytes, stream: S, peer: Peer, seat: Arc<Seat>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        seat.enter(State::Active);
        let transport = Transport::new(prefix, stream);
        let streams = Streams::default();
        let mut builder = http2::Builder::new(streams.spawner());
        builder.max_concurrent_streams(self.limits.streams);
        let service = service(self.answer, peer, self.requests);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(transport), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = self.drain.begun() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        seat.ends(if ended.is_ok() {
            Closed::Client
        } else {
            Closed::Http2
        });
        log_end(ended);
    }
}

/// Answers, and counts what is in progress.
fn service<F, A, B>(
    answer: F,
    peer: Peer,
    requests: Requests,
) -> impl HttpService<Incoming, ResBody = Tracked<B>, Error = Infallible, Future: Send + 'static>
where
    F: Fn(Asked, Peer) -> A,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    service_fn(move |request| {
        let in_progress = requests.begin();
        let reply = answer(Ok(request.map(Received::hyper)), peer);
        async move {
            Ok(reply.await.map(|body| Tracked {
                body,
                _in_progress: in_progress,
            }))
        }
    })
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a connection ended early"
        );
    }
}

/// A response's body; as long as it lives, its request is in progress.
struct Tracked<B> {
    body: B,
    _in_progress: InProgress,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
