//! HTTP/1.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

use crate::connection::{BoxError, Connections, Peer};
use crate::drain::Progress;
use crate::http2::{log_end, service};
use crate::received::Asked;
use crate::stats::{Closed, Seat};
use crate::transport::Transport;

impl<F, A, B> Connections<F>
where
    F: Fn(Asked, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) async fn http1<S>(self, prefix: Bytes, stream: S, peer: Peer, seat: Arc<Seat>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        seat.ends(Closed::Client);
        let progress = Progress::new(self.requests.clone());
        let transport = Transport::new(prefix, stream, progress.clone());
        let mut builder = http1::Builder::new();
        builder
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(self.limits.head_bytes);
        let service = service(
            self.answer,
            peer,
            progress.clone(),
            Some(self.drain.clone()),
        );
        let mut connection = builder.serve_connection(TokioIo::new(transport), service);
        tokio::select! {
            biased;
            () = run(&mut connection, &progress) => return,
            () = self.drain.begun() => {}
        }
        let End::Idle = run_until_idle(&mut connection, &progress, self.limits.idle_window).await
        else {
            return;
        };
        // Nothing is being answered or left to send. What hyper may still hold is the beginning of a request.
        let parts = connection.into_parts();
        let mut transport = parts.io.into_inner();
        if parts
            .read_buf
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n'))
        {
            let _ = transport.shutdown().await;
            return;
        }
        let transport = TokioIo::new(transport.rewind(parts.read_buf));
        run(
            &mut builder.serve_connection(transport, parts.service),
            &progress,
        )
        .await;
    }
}

/// How an HTTP/1 connection came to rest.
enum End {
    Closed,
    Idle,
}

/// Runs an HTTP/1 connection to its end.
async fn run<C>(connection: &mut C, progress: &Progress)
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    poll_fn(|cx| poll(connection, progress, cx)).await;
}

/// All of a connection's requests are polled from here, so what this call did not change has not changed.
fn poll<C>(connection: &mut C, progress: &Progress, cx: &mut Context<'_>) -> Poll<()>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    match Pin::new(connection).poll(cx) {
        Poll::Ready(ended) => {
            log_end(ended);
            Poll::Ready(())
        }
        Poll::Pending if progress.was_cut_short() => Poll::Ready(()),
        Poll::Pending => Poll::Pending,
    }
}

/// Runs until the connection has owed nothing to its client for as long as `window`.
async fn run_until_idle<C>(connection: &mut C, progress: &Progress, window: Duration) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut closing = None;
    poll_fn(|cx| {
        if poll(connection, progress, cx).is_ready() {
            return Poll::Ready(End::Closed);
        }
        if progress.is_busy() {
            closing = None;
            return Poll::Pending;
        }
        let closing = closing.get_or_insert_with(|| Box::pin(sleep(window)));
        closing.as_mut().poll(cx).map(|()| End::Idle)
    })
    .await
}
