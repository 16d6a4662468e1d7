//! The accept loop: one task for each connection, and the end of them all.
//!
//! Nothing here waits for a client. Who may come in is decided in `gate`, in the order in which they come.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet, unconstrained, yield_now};
use tokio::time::{interval, sleep};

use crate::connection::{Connections, Peer};
use crate::received::Asked;
use crate::server::Drained;
use crate::tally;

use self::gate::{Gate, Reserve};

mod gate;

/// The first pause after a failed accept: out of file descriptors, a few requests later there may be some.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause: a client that retries once does not notice more than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections that may wait to be accepted; the system has a limit of its own, mostly this one too. A burst that finds
/// the queue full waits for a second before it tries again.
pub(crate) const BACKLOG: usize = 4096;

/// Bytes that wait in the system beyond what is on its way to the client (`TCP_NOTSENT_LOWAT`). What is on its way is not
/// limited by this, so a fast client far away is as fast as before.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT: u32 = 128 * 1024;

/// Where connections come from.
pub(crate) struct Door {
    pub(crate) listener: Arc<TcpListener>,
    /// Another process accepts on the same socket: who waits there is not ours.
    pub(crate) handed_over: Arc<AtomicBool>,
}

/// Serves until draining has begun and everything in progress is finished or cut.
pub(crate) async fn run<F, A, B>(
    door: Door,
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
    let gate = Gate::new(&connections);
    let mut start = |tasks: &mut JoinSet<()>, stream: TcpStream, address: SocketAddr| {
        let _ = stream.set_nodelay(true);
        send_little_ahead(&stream);
        if let Some(arrival) = gate.admit(tasks, stream, address) {
            tasks.spawn(connections.clone().serve(arrival));
        }
    };
    let draining = pin!(connections.drain.begun());
    // Where the runtime is busy this task has its turn seldom. In that turn it accepts all who wait, or their queue in the
    // system would overflow, and they would wait for a second.
    unconstrained(accept(
        &door.listener,
        &gate,
        &mut tasks,
        &mut start,
        draining,
    ))
    .await;
    if !door.handed_over.load(Ordering::Relaxed) {
        accept_waiting(&door.listener, &mut tasks, &mut start);
    }
    drop(door);
    let cut = tokio::select! {
        biased;
        () = finish(&mut tasks) => 0,
        () = connections.drain.stopped() => connections.requests.count(),
        () = sleep(drain_timeout) => connections.requests.count(),
    };
    tasks.shutdown().await;
    Drained { cut }
}

/// Makes the system take no more of a response than the client will soon have. Left to itself it takes megabytes for a
/// client that reads nothing: memory that nobody counts, and work that others wait for.
fn send_little_ahead(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
}

async fn accept(
    listener: &TcpListener,
    gate: &Gate,
    tasks: &mut JoinSet<()>,
    start: &mut impl FnMut(&mut JoinSet<()>, TcpStream, SocketAddr),
    mut draining: Pin<&mut impl Future<Output = ()>>,
) {
    let (mut pause, mut reserve) = (FIRST_PAUSE, Reserve::default());
    let mut telling = interval(tally::EVERY);
    for turn in 1_usize.. {
        if turn % BACKLOG == 0 {
            yield_now().await;
        }
        let accepted = tokio::select! {
            biased;
            () = draining.as_mut() => return,
            Some(ended) = tasks.join_next() => {
                log_panic(ended);
                continue;
            }
            _ = telling.tick() => {
                gate.tell();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = FIRST_PAUSE;
                reserve.fill();
                start(tasks, stream, address);
            }
            Err(error) if concerns_one_client(&error) => {}
            Err(error) => {
                let made_room = is_exhaustion(&error) && gate.make_room();
                if made_room {
                    // Who was asked to leave needs a moment for it.
                    pause = FIRST_PAUSE;
                } else if is_exhaustion(&error) {
                    gate.shed(&mut reserve, listener);
                }
                gate.cannot_accept(&error);
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
fn accept_waiting(
    listener: &TcpListener,
    tasks: &mut JoinSet<()>,
    start: &mut impl FnMut(&mut JoinSet<()>, TcpStream, SocketAddr),
) {
    for _ in 0..BACKLOG {
        let Some((stream, address)) = accept_at_once(listener) else {
            return;
        };
        start(tasks, stream, address);
    }
}

/// Accepts one that is waiting.
fn accept_at_once(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.poll_accept(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(accepted) => accepted.ok(),
        Poll::Pending => None,
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

/// The process, or the machine, has no file descriptor left.
fn is_exhaustion(error: &io::Error) -> bool {
    let number = Errno::from_io_error(error);
    matches!(number, Some(Errno::MFILE | Errno::NFILE))
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
