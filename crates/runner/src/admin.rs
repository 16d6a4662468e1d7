//! The admin listener of `runner up`, for operators: `/healthz`, `/readyz` and `/metrics`, and nothing else.
//!
//! It is a listener of its own, off by default, so that none of this exists on the public port. It has its own limits
//! and shares nothing with the public port's: a server that is full still says so here. Nothing can be changed through it.

mod address;
mod answer;
mod listener;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runner_trigger_http::Handle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) use self::address::AdminAddress;
use self::answer::Hosts;
use self::listener::Listener;
use crate::exit::{Exit, Failure};
use crate::metrics::Metrics;
use crate::telemetry::Notice;

/// A scraper or two, a health check, and a person with curl. Who comes then waits in the system's queue.
const CONNECTIONS: usize = 64;
/// From the accept to the end of the request's head.
const HEAD: Duration = Duration::from_secs(10);
/// From the accept to the end of the answer.
const WHOLE: Duration = Duration::from_secs(30);
/// hyper's least. No scraper sends as much.
const MAX_HEAD: usize = 8 * 1024;
/// After an accept that failed, as it does while there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers for as long as it lives; then a Unix socket is removed.
pub(crate) struct Admin {
    state: Arc<State>,
    answering: JoinHandle<()>,
    socket: Option<PathBuf>,
}

/// What is asked about.
struct State {
    phase: Mutex<Phase>,
    metrics: Metrics,
    /// One scrape at a time: more would cost as much again for the same numbers.
    scraping: tokio::sync::Mutex<()>,
    hosts: Hosts,
}

/// How far the server is.
enum Phase {
    /// Components are being loaded.
    Starting,
    Ready(Handle),
    /// No new clients, please: those that come are still served, for a while.
    Draining(Handle),
    /// The app is over.
    Ended,
}

impl Admin {
    /// Opens the listener, and says where. Must be called within a runtime.
    pub(crate) async fn open(
        address: &AdminAddress,
        metrics: Metrics,
    ) -> Result<(Admin, Vec<Notice>), Failure> {
        let listener = Listener::bind(address)
            .await
            .map_err(|error| not_listening(address, &error))?;
        let notices = listener.notices();
        let state = Arc::new(State {
            phase: Mutex::new(Phase::Starting),
            metrics,
            scraping: Default::default(),
            hosts: listener.hosts(),
        });
        let socket = listener.path();
        let answering = tokio::spawn(accept(listener, state.clone()));
        let admin = Admin {
            state,
            answering,
            socket,
        };
        Ok((admin, notices))
    }

    /// The public port is open.
    pub(crate) fn ready(&self, handle: &Handle) {
        self.state.enter(Phase::Ready(handle.clone()));
    }

    /// The public port is about to be closed.
    pub(crate) fn draining(&self, handle: &Handle) {
        self.state.enter(Phase::Draining(handle.clone()));
    }

    /// Stops answering, and lets go of the app.
    pub(crate) async fn close(mut self) {
        self.answering.abort();
        let _ = (&mut self.answering).await;
        self.state.enter(Phase::Ended);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.answering.abort();
        if let Some(socket) = &self.socket {
            let _ = fs::remove_file(socket);
        }
    }
}

impl State {
    fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Whether new clients are welcome, and how that is said.
    fn readiness(&self) -> Result<&'static str, &'static str> {
        match *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Starting => Err("starting\n"),
            Phase::Ready(_) => Ok("ready\n"),
            Phase::Draining(_) | Phase::Ended => Err("draining\n"),
        }
    }

    /// Asks the server, if there is one.
    fn ask<T>(&self, question: impl FnOnce(&Handle) -> T) -> Option<T> {
        match &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Ready(handle) | Phase::Draining(handle) => Some(question(handle)),
            Phase::Starting | Phase::Ended => None,
        }
    }
}

async fn accept(listener: Listener, state: Arc<State>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let state = state.clone();
        match &listener {
            Listener::Tcp(listener) => match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(attend(stream, state, slot))),
                Err(_) => sleep(PAUSE).await,
            },
            Listener::Unix(listener, _) => match listener.accept().await {
                // Its mode keeps others out; this is for the moment before it had it.
                Ok((stream, _)) if !crate::socket::is_same_user(&stream) => {}
                Ok((stream, _)) => drop(tokio::spawn(attend(stream, state, slot))),
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
}

/// One connection, which is one request.
async fn attend<S>(stream: S, state: Arc<State>, _slot: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, std::convert::Infallible>(answer::answer(request, &state).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .half_close(true)
        .keep_alive(false);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection ended early"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

fn not_listening(address: &AdminAddress, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Environment,
        format!("cannot listen on `{address}` for `--admin`: {error}"),
        "free it, or choose another with `--admin`; port 0 takes a free one",
    )
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;
    use runner_host::{Engine, EngineOptions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    fn state() -> Arc<State> {
        let engine = Engine::new(EngineOptions::default()).expect("an engine");
        Arc::new(State {
            phase: Mutex::new(Phase::Starting),
            metrics: Metrics::new(engine, Vec::new()),
            scraping: Default::default(),
            hosts: Hosts::Loopback,
        })
    }

    async fn told(state: &Arc<State>, path: &str) -> String {
        let request = Request::get(path).header("host", "localhost");
        let request = request.body(()).expect("a request");
        let answer = answer::answer(request, state).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("it is there");
        format!("{status} {}", String::from_utf8_lossy(&body.to_bytes()))
    }

    #[tokio::test]
    async fn until_the_port_is_open_it_is_alive_and_not_ready() {
        let state = state();
        assert_eq!(told(&state, "/healthz").await, "200 ok\n");
        assert_eq!(told(&state, "/readyz").await, "503 starting\n");
        let page = told(&state, "/metrics").await;
        assert!(page.contains("\nhttp_server_active_requests 0\n"), "{page}");
        state.enter(Phase::Ended);
        assert_eq!(told(&state, "/readyz").await, "503 draining\n");
    }

    /// What a client gets that sends this and waits, and after how long.
    async fn waited(sent: &[u8]) -> (Vec<u8>, Duration) {
        let (mut client, server): (DuplexStream, DuplexStream) = duplex(64);
        let slots = Arc::new(Semaphore::new(1));
        let slot = slots.try_acquire_owned().expect("one");
        let started = Instant::now();
        tokio::spawn(attend(server, state(), slot));
        client.write_all(sent).await.expect("it reads");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("a pipe");
        (answer, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_or_half_a_head_is_closed_after_ten_seconds() {
        for sent in [&b""[..], b"G", b"GET /healthz HTTP/1.1\r\nhost: local"] {
            let (_, time) = waited(sent).await;
            assert_eq!(time.as_secs(), HEAD.as_secs(), "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_after_thirty_seconds() {
        let (mut client, server) = duplex(64);
        let slots = Arc::new(Semaphore::new(1));
        let slot = slots.clone().try_acquire_owned().expect("one");
        let started = Instant::now();
        tokio::spawn(attend(server, state(), slot));
        let head = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.write_all(head).await.expect("it reads");
        let _free = slots.acquire_owned().await.expect("never closed");
        assert_eq!(started.elapsed().as_secs(), WHOLE.as_secs());
    }
}
