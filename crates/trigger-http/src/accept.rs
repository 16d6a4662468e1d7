//! The accept loop: one task for each connection, and the end of them all.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::connection::{Connections, Peer};
use crate::received::Asked;
use crate::server::Drained;

/// The first pause after a failed accept: out of file descriptors, a few requests later there may be some.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause: a client that retries once does not notice more than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// tokio's own backlog: no more than this can have been waiting when draining began.
const BACKLOG: usize = 1024;

/// Serves until draining has begun and everything in progress is finished or cut.
pub(crate) async fn run<F, A, B>(
    listener: TcpListener,
    connections: Connections<F>,
    drain_timeout: Duration,
) -> Drained
where
    F: Fn(Asked, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut tasks = JoinSet::new();
    let mut start = |(stream, address): (TcpStream, SocketAddr)| {
        let _ = stream.set_nodelay(true);
        connections.clone().serve(stream, address)
    };
    accept(
        &listener,
        &mut tasks,
        &mut start,
        pin!(connections.drain.begun()),
    )
    .await;
    accept_waiting(&listener, &mut tasks, &mut start);
    drop(listener);
    let cut = tokio::select! {
        biased;
        () = finish(&mut tasks) => 0,
        () = connections.drain.stopped() => connections.requests.count(),
        () = sleep(drain_timeout) => connections.requests.count(),
    };
    tasks.shutdown().await;
    Drained { cut }
}

async fn accept<T>(
    listener: &TcpListener,
    tasks: &mut JoinSet<()>,
    start: &mut impl FnMut((TcpStream, SocketAddr)) -> T,
    mut draining: Pin<&mut impl Future<Output = ()>>,
) where
    T: Future<Output = ()> + Send + 'static,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.as_mut() => return,
            Some(ended) = tasks.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(client) => {
                pause = FIRST_PAUSE;
                tasks.spawn(start(client));
            }
            Err(error) if concerns_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, ?pause, "cannot accept connections; trying again");
                tokio::select! {
                    () = draining.as_mut() => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Clients whose connection the system has completed already would otherwise be reset.
fn accept_waiting<T>(
    listener: &TcpListener,
    tasks: &mut JoinSet<()>,
    start: &mut impl FnMut((TcpStream, SocketAddr)) -> T,
) where
    T: Future<Output = ()> + Send + 'static,
{
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..BACKLOG {
        match listener.poll_accept(&mut context) {
            Poll::Ready(Ok(client)) => {
                tasks.spawn(start(client));
            }
            Poll::Ready(Err(_)) | Poll::Pending => return,
        }
    }
}

/// The client went away between its SYN and our accept. The next one has nothing to do with it.
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn finish(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task panicked; the others go on");
    }
}

#[cfg(test)]
pub(crate) mod tests;
