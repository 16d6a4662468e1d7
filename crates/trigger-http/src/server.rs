//! A port with apps behind it, and the handle that swaps an app and ends the server.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use runner_host::{App, Apps};
use tokio::net::TcpListener;

use crate::accept::{self, BACKLOG, Door};
use crate::answer::answer;
use crate::connection::Connections;
use crate::drain::{Drain, Requests};
use crate::limits::Limits;
use crate::proxies::Proxies;
use crate::received::Asked;
use crate::stats::Stats;
use crate::tls::Acceptor;
use crate::{Error, Options};

/// A server whose port is open; [`Server::serve`] answers.
pub struct Server {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    drain_timeout: Duration,
    limits: Limits,
    proxies: Arc<Proxies>,
    handle: Handle,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many requests were in progress when the drain timeout, or a second call to drain, cut them.
    pub cut: usize,
}

impl Server {
    /// Reads the certificate, if any, and opens the port.
    pub async fn bind(options: Options, apps: Apps) -> Result<Server, Error> {
        let bind = |source| Error::Bind {
            address: options.listen,
            source,
        };
        let tls = options.tls.clone().map(Acceptor::new).transpose()?;
        let listener = TcpListener::bind(options.listen).await.map_err(bind)?;
        // Once more, with a longer queue than tokio gives it.
        rustix::net::listen(&listener, BACKLOG as i32).map_err(|error| bind(error.into()))?;
        let address = listener.local_addr().map_err(bind)?;
        Ok(Server::new(options, tls, listener, address, apps))
    }

    /// Reads the certificate, if any, and listens on a socket that somebody else has opened. `options.listen` does not
    /// matter then.
    pub fn on(
        listener: std::net::TcpListener,
        options: Options,
        apps: Apps,
    ) -> Result<Server, Error> {
        let tls = options.tls.clone().map(Acceptor::new).transpose()?;
        listener.set_nonblocking(true).map_err(Error::Inherited)?;
        let listener = TcpListener::from_std(listener).map_err(Error::Inherited)?;
        let address = listener.local_addr().map_err(Error::Inherited)?;
        Ok(Server::new(options, tls, listener, address, apps))
    }

    fn new(
        options: Options,
        tls: Option<Acceptor>,
        listener: TcpListener,
        address: SocketAddr,
        apps: Apps,
    ) -> Server {
        let listener = Arc::new(listener);
        let handle = Handle {
            apps: Arc::new(ArcSwap::from_pointee(apps)),
            swapping: Arc::default(),
            drain: Drain::new(),
            requests: Requests::default(),
            stats: Stats::default(),
            listener: Arc::downgrade(&listener),
            address,
            handed_over: Arc::default(),
            tls,
        };
        Server {
            listener,
            address,
            drain_timeout: options.drain_timeout,
            limits: options.limits,
            proxies: Arc::new(options.proxies),
            handle,
        }
    }

    /// The address it listens on, with the port that was free when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What controls this server while it serves.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::drain`] was called and what was in progress has finished or was cut.
    pub async fn serve(self) -> Drained {
        let Handle {
            apps,
            drain,
            requests,
            stats,
            handed_over,
            tls,
            ..
        } = self.handle;
        let proxies = self.proxies.clone();
        let connections = Connections {
            answer: {
                let stats = stats.clone();
                move |asked: Asked, peer| {
                    let peer = match &asked {
                        Ok(request) => proxies.believe(peer, request.headers()),
                        Err(_) => peer,
                    };
                    answer(apps.load_full(), asked, peer, stats.clone())
                }
            },
            tls,
            drain,
            requests,
            limits: self.limits,
            stats,
            proxies: self.proxies,
        };
        let door = Door {
            listener: self.listener,
            handed_over,
        };
        accept::run(door, connections, self.drain_timeout).await
    }
}

/// Controls a server from elsewhere.
#[derive(Clone)]
pub struct Handle {
    apps: Arc<ArcSwap<Apps>>,
    /// Held by who swaps: each sees what the other has done.
    swapping: Arc<Mutex<()>>,
    drain: Drain,
    requests: Requests,
    stats: Stats,
    /// Not its owner: the port is closed once nobody accepts any more.
    listener: Weak<TcpListener>,
    address: SocketAddr,
    handed_over: Arc<AtomicBool>,
    tls: Option<Acceptor>,
}

impl Handle {
    /// Answers every request that begins from now on with this app in the place of the one at `at`; those in progress
    /// finish on that one, and no other app notices.
    ///
    /// # Errors
    /// It is for the same requests as another app, or has its name. Nothing is changed then.
    pub fn swap(&self, at: usize, app: Arc<App>) -> Result<(), runner_manifest::Error> {
        let _only = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let apps = self.apps.load().with(at, app)?;
        self.apps.store(Arc::new(apps));
        Ok(())
    }

    /// The apps that answer now.
    pub fn apps(&self) -> Arc<Apps> {
        self.apps.load_full()
    }

    /// What is counted of connections and refusals since it started.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many requests have not been answered to the end.
    pub fn in_flight(&self) -> usize {
        self.requests.count()
    }

    /// How many requests have begun since it started, those that were refused too.
    pub fn started(&self) -> u64 {
        self.requests.started()
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The listening socket once more, for another process to accept on; an error once this one has stopped accepting.
    pub fn listener(&self) -> io::Result<OwnedFd> {
        let listener = self.listener.upgrade();
        let listener = listener.ok_or(io::ErrorKind::NotConnected)?;
        listener.as_fd().try_clone_to_owned()
    }

    /// Reads the certificate and its key again, where there is one. What cannot be used changes nothing.
    pub fn reload_certificate(&self) -> Result<(), Error> {
        self.tls.as_ref().map_or(Ok(()), Acceptor::reload)
    }

    /// Stops accepting, leaves those that wait to be accepted to another process, and lets what is in progress finish.
    /// Called again, it changes nothing.
    pub fn hand_over(&self) {
        if !self.handed_over.swap(true, Ordering::Relaxed) && !self.drain.has_begun() {
            self.drain.advance();
        }
    }

    /// Stops accepting and lets what is in progress finish. The second call stops at once.
    pub fn drain(&self) {
        self.drain.advance();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;
    use std::sync::Mutex;

    use runner_host::{Engine, EngineOptions, Event, Services, Tenant};
    use runner_manifest::{Manifest, Variables};
    use runner_outbound::Outbound;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use crate::accept::tests::without_id;
    use crate::refuse;

    /// What the access log would say.
    type Log = Arc<Mutex<Vec<String>>>;

    /// An app that answers without a component.
    async fn app(engine: &Engine, log: &Log, body: &str) -> Arc<App> {
        let manifest = format!(
            "spin_manifest_version = 2\n[application]\nname = \"test\"\n[[trigger.http]]\nroute = \"/hello\"\n\
             static_response = {{ status_code = 200, body = \"{body}\" }}\n"
        );
        let manifest = Manifest::parse(
            &manifest,
            Path::new("spin-like.toml"),
            &Variables::default(),
        )
        .unwrap();
        let log = log.clone();
        let services = Services {
            tenant: Tenant::new("test"),
            outbound: Outbound::new(Default::default()).unwrap(),
            events: Arc::new(move |event: Event<'_>| {
                if let Event::Request(record) = event {
                    let line = format!(
                        "{} {} {}",
                        record.method,
                        record.path,
                        record.status.as_u16()
                    );
                    log.lock().unwrap().push(line);
                }
            }),
            refuse: Arc::new(refuse),
            tracing: Default::default(),
        };
        Arc::new(App::load(engine, manifest, 0, services).await.unwrap())
    }

    async fn serve(app: Arc<App>) -> (SocketAddr, Handle) {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = Options {
            listen,
            tls: None,
            drain_timeout: Duration::ZERO,
            limits: Limits::default(),
            proxies: Proxies::default(),
        };
        let server = Server::bind(options, Apps::one(app)).await.unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        tokio::spawn(server.serve());
        (address, handle)
    }

    /// All that comes back for a request after which nobody sends any more, without the dates.
    #[expect(clippy::disallowed_methods, reason = "a test is a client")]
    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let lines = response.split_inclusive("\r\n");
        let text: String = lines.filter(|line| !line.starts_with("date: ")).collect();
        without_id(&text)
    }

    #[tokio::test]
    async fn every_request_is_answered_and_recorded_once() {
        let (engine, log) = (
            Engine::new(EngineOptions::default()).unwrap(),
            Log::default(),
        );
        let (address, handle) = serve(app(&engine, &log, "hello").await).await;
        let refused = |status: &str, text: &str| {
            format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}\nrequest id: ID\n",
                text.len() + 30
            )
        };
        for (request, response, record) in [
            (
                "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
                "GET /hello 200",
            ),
            (
                "HEAD /hello HTTP/1.1\r\nhost: a\r\n\r\nGET http://a/hello HTTP/1.1\r\nhost: a\r\n\r\n",
                "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
                    .to_owned(),
                "HEAD /hello 200, GET /hello 200",
            ),
            (
                "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
                "GET /hello 200",
            ),
            (
                "GET /none HTTP/1.1\r\nhost: a\r\n\r\n",
                "HTTP/1.1 404 Not Found\r\ncontent-length: 39\r\n\r\nNot Found\nrequest id: ID\n"
                    .to_owned(),
                "GET /none 404",
            ),
            (
                "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
                "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                "OPTIONS * 204",
            ),
            (
                "GET /hello HTTP/1.1\r\n\r\n",
                refused("400 Bad Request", "Bad Request"),
                "GET /hello 400",
            ),
            (
                "GET http://b/hello HTTP/1.1\r\nhost: a\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\n\r\n",
                refused("400 Bad Request", "Bad Request"),
                "GET /hello 400",
            ),
            (
                "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
                refused("501 Not Implemented", "Not Implemented"),
                "CONNECT  501",
            ),
        ] {
            assert_eq!(exchange(address, request).await, response, "{request}");
            assert_eq!(
                std::mem::take(&mut *log.lock().unwrap()).join(", "),
                record,
                "{request}"
            );
        }
        assert_eq!(handle.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_swapped_app_answers_what_comes_next() {
        let (engine, log) = (
            Engine::new(EngineOptions::default()).unwrap(),
            Log::default(),
        );
        let (address, handle) = serve(app(&engine, &log, "old").await).await;
        let get = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";
        let old = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold";
        assert_eq!(exchange(address, get).await, old);
        handle.swap(0, app(&engine, &log, "new").await).unwrap();
        assert_eq!(exchange(address, get).await, old.replace("old", "new"));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let (engine, log) = (
            Engine::new(EngineOptions::default()).unwrap(),
            Log::default(),
        );
        let app = app(&engine, &log, "hello").await;
        let (address, _handle) = serve(app.clone()).await;
        let options = Options {
            listen: address,
            tls: None,
            drain_timeout: Duration::ZERO,
            limits: Limits::default(),
            proxies: Proxies::default(),
        };
        let error = Server::bind(options, Apps::one(app)).await.err().unwrap();
        let Error::Bind { source, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
        assert_eq!(
            error.to_string(),
            format!("cannot listen on `{address}`: {source}")
        );
    }
}
