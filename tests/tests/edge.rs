//! Who may connect, on whose behalf, and how one process takes the place of another: rows of the catalogue of inbound
//! HTTP, through real processes.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use runner_tests::{App, Server, Wire, get, raw};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

const GET: &[u8] = b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST_GET: &[u8] = b"GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const HELLO: &str = "hello from probe\n";

#[expect(clippy::disallowed_methods, reason = "the stories' own client")]
async fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

/// Connects from another address of this machine.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the stories' own client"
)]
async fn dial_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind(format!("{from}:0").parse().expect("an address"))
        .expect("loopback is wide");
    socket.connect(to).await.expect("it listens")
}

/// All that comes until the server closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    // A reset is a way to close.
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends one request and reads all of its answer.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("it reads");
    rest(stream).await
}

/// A request on a kept connection.
async fn is_answered(wire: &mut Wire) -> bool {
    wire.send(GET).await;
    wire.until(&format!("{HELLO}\r\n0\r\n\r\n"))
        .await
        .starts_with("HTTP/1.1 200 OK\r\n")
}

fn warnings(server: &Server, message: &str) -> u64 {
    let lines = server.log();
    let told = lines.iter().filter(|line| line["message"] == message);
    told.map(|line| {
        line["fields"]["count"]
            .as_str()
            .expect("a count")
            .parse::<u64>()
            .expect("a number")
    })
    .sum()
}

const FULL: &str = "no room for more connections; see `--max-connections`";

#[tokio::test]
async fn d22_at_the_limit_the_oldest_that_has_sent_nothing_makes_room_and_then_nobody() {
    let app = App::probe("");
    let server = Server::start(&app, &["--max-connections", "3"]).await;
    let mut kept = Wire::open(server.address()).await;
    assert!(is_answered(&mut kept).await);
    let mut silent = [
        Wire::open(server.address()).await,
        Wire::open(server.address()).await,
    ];

    let mut second = Wire::open(server.address()).await;
    assert!(is_answered(&mut second).await);
    assert_eq!(silent[0].rest().await, "", "the oldest made room");
    let mut third = Wire::open(server.address()).await;
    assert!(is_answered(&mut third).await);
    assert_eq!(silent[1].rest().await, "", "and then the next");

    assert_eq!(
        raw(server.address(), GET).await,
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: 19\r\n\r\nService Unavailable"
    );
    for wire in [&mut kept, &mut second, &mut third] {
        assert!(is_answered(wire).await, "who was there stays");
    }
    server.logged(|line| line["message"] == FULL).await;
    assert_eq!(warnings(&server, FULL), 1);

    drop(kept);
    // When it has seen that one is gone, there is room.
    while !raw(server.address(), LAST_GET)
        .await
        .starts_with("HTTP/1.1 200 OK\r\n")
    {}
    let stopped = server.stop().await;
    let mut lines = stopped.log.iter().filter(|line| line["event"] == "request");
    assert!(
        lines.all(|line| line["status"] == 200),
        "nobody was asked for the others"
    );
}

#[tokio::test]
async fn d22_ten_times_more_silent_connections_than_places_keep_nobody_out() {
    let app = App::probe("");
    let server = Server::start(&app, &["--max-connections", "100"]).await;
    let mut silent = Vec::new();
    for round in 0..1000 {
        silent.push(dial(server.address()).await);
        if round % 50 == 0 {
            assert!(
                raw(server.address(), LAST_GET)
                    .await
                    .ends_with("\r\n0\r\n\r\n")
            );
        }
    }
    for stream in &mut silent[..900] {
        assert_eq!(rest(stream).await, "");
    }
    assert_eq!(
        warnings(&server, FULL),
        0,
        "there was always room for one that speaks"
    );
}

#[tokio::test]
async fn d22_it_lives_through_a_time_without_descriptors() {
    let app = App::probe("");
    for bytes in [&b""[..], b"GET /hello HTTP/1.1\r\n"] {
        let line = "ulimit -n 80";
        let args = ["--listen", "127.0.0.1:0", "--max-connections", "1000"];
        let server = Server::try_start_after(&app, line, &args)
            .await
            .expect("it starts");
        let mut clients = Vec::new();
        for _ in 0..300 {
            let mut client = dial(server.address()).await;
            // It may be closed already.
            let _ = client.write_all(bytes).await;
            clients.push(client);
        }
        server
            .logged(|line| line["message"] == "cannot accept connections; trying again")
            .await;
        drop(clients);
        while !raw(server.address(), LAST_GET).await.contains(HELLO) {}
        assert_eq!(server.stop().await.code, 0);
    }
}

#[tokio::test]
async fn d23_one_client_has_so_many_connections_and_the_others_are_served() {
    let app = App::probe("");
    let server = Server::start(&app, &["--max-connections-per-ip", "3"]).await;
    let kept = [
        dial(server.address()).await,
        dial(server.address()).await,
        dial(server.address()).await,
    ];
    for _ in 0..500 {
        assert_eq!(rest(&mut dial(server.address()).await).await, "");
    }
    let mut other = dial_from("127.0.0.2", server.address()).await;
    assert!(exchange(&mut other, LAST_GET).await.contains(HELLO));
    drop(kept);
    while !raw(server.address(), LAST_GET).await.contains(HELLO) {}
    let told =
        "a client has as many connections as one client may have; see `--max-connections-per-ip`";
    server.logged(|line| line["message"] == told).await;
    assert!(warnings(&server, told) <= 501);
}

/// Slow clients that come at a time, until a component serves no more.
const SLOW_CLIENTS: usize = 100;

/// What a slow client does once it has its place.
#[derive(Clone, Copy)]
enum Then {
    /// Nothing.
    Stops,
    /// It sends a byte now and then, so that it never stops for as long as makes a client slow.
    Trickles,
}

/// Between two bytes of one that trickles: a fifth of what makes a client slow.
const TRICKLE: Duration = Duration::from_millis(100);

/// Sends a byte on each, for as long as it is polled.
async fn trickle(slow: &mut [Wire]) {
    let mut turns = tokio::time::interval(TRICKLE);
    loop {
        turns.tick().await;
        for wire in &mut *slow {
            wire.try_send(b"x").await;
        }
    }
}

#[tokio::test]
async fn clients_that_are_slow_make_room_for_others() {
    for (request, then) in [
        (
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf",
            Then::Stops,
        ),
        (
            "GET /big?bytes=100000000 HTTP/1.1\r\nhost: a\r\n\r\n",
            Then::Stops,
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nhalf",
            Then::Trickles,
        ),
    ] {
        let server = Server::start(&App::probe(""), &["--admin", "127.0.0.1:0"]).await;
        let metrics = format!("{}/metrics", server.admin().await);
        let mut slow = Vec::new();
        while !get(&metrics)
            .await
            .body
            .contains("\nrunner_instances 256\n")
        {
            // One that came while the machine was busy may have been told to come back.
            for _ in 0..SLOW_CLIENTS {
                let mut wire = Wire::open(server.address()).await;
                wire.send(request.as_bytes()).await;
                slow.push(wire);
            }
        }
        let others = async {
            // Until they have been slow for long enough.
            while server.get("/hello").await.status != 200 {}
            for _ in 0..10 {
                assert_eq!(server.get("/hello").await.status, 200);
            }
        };
        match then {
            Then::Stops => others.await,
            Then::Trickles => tokio::select! {
                () = others => {}
                () = trickle(&mut slow) => {}
            },
        }
        drop(slow);
        let made_room =
            "gave up its place: its client was slow while all 256 instances were in use";
        let failed = server.logged(|line| line["message"] == made_room).await;
        let of_it =
            |line: &Value| line["event"] == "request" && line["request"] == failed["request"];
        let line = server.logged(of_it).await;
        assert_eq!(line["outcome"], "guest-failed", "{request}");
    }
}

/// A certificate for `localhost`, beside the manifest.
fn certificate(app: &App) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    app.file("key.pem", &made.signing_key.serialize_pem());
    app.file("cert.pem", &made.cert.pem());
    read_certificate(app.path())
}

fn read_certificate(folder: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join("cert.pem")).expect("written before")
}

const TLS: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];

/// One request over TLS, or why there is no TLS.
async fn over_tls(stream: TcpStream, trusted: &CertificateDer<'static>) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    Ok(exchange(&mut stream, LAST_GET).await)
}

#[tokio::test]
async fn d24_a_thousand_half_handshakes_hold_nobody_up() {
    let app = App::probe("");
    let trusted = certificate(&app);
    let server = Server::start(&app, &TLS).await;
    let mut half = Vec::new();
    for round in 0..1000 {
        let mut stream = dial(server.address()).await;
        if round % 2 == 0 {
            stream.write_all(&[0x16]).await.expect("it reads");
        }
        half.push(stream);
        if round % 100 == 99 {
            let answer = over_tls(dial(server.address()).await, &trusted).await;
            assert!(answer.expect("TLS").contains(HELLO), "{round}");
        }
    }
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn d24_at_the_limit_a_handshake_that_is_not_done_makes_room() {
    let app = App::probe("");
    let trusted = certificate(&app);
    let args = [&TLS[..], &["--max-connections", "1"]].concat();
    let server = Server::start(&app, &args).await;
    let mut half = dial(server.address()).await;
    half.write_all(&[0x16]).await.expect("it reads");
    // While its byte waits to be read it is not silent, and keeps its place.
    let answer = loop {
        if let Ok(answer) = over_tls(dial(server.address()).await, &trusted).await {
            break answer;
        }
    };
    assert!(answer.contains(HELLO));
    assert_eq!(rest(&mut half).await, "");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_after_sighup_and_a_broken_one_is_not() {
    let app = App::probe("");
    let old = certificate(&app);
    let server = Server::start(&app, &TLS).await;
    let ask = async |trusted| over_tls(dial(server.address()).await, trusted).await;
    assert!(ask(&old).await.is_ok());

    app.file("cert.pem", "nothing");
    server.signal(Signal::HUP);
    let told = server.logged(|line| line["event"] == "warning").await;
    assert_eq!(
        told["message"],
        "`cert.pem` holds no certificate; it must be PEM, the server's own certificate first; the old certificate \
         goes on serving"
    );
    assert!(ask(&old).await.is_ok());

    let new = certificate(&app);
    server.signal(Signal::HUP);
    server
        .logged(|line| line["event"] == "reloaded" && line["generation"] == 3)
        .await;
    assert!(ask(&old).await.is_err());
    assert!(ask(&new).await.expect("TLS").contains(HELLO));
}

#[tokio::test]
async fn a_renewed_certificate_is_seen_by_watch() {
    let app = App::probe("");
    certificate(&app);
    let server = Server::start(&app, &[&TLS[..], &["--watch"]].concat()).await;
    let new = certificate(&app);
    loop {
        server.logged(|line| line["event"] == "reloaded").await;
        // Both files change, and between the two they may not fit.
        if over_tls(dial(server.address()).await, &new).await.is_ok() {
            break;
        }
    }
}

/// What the guest is told of a request that begins with these bytes: its headers, and the client in the log.
async fn told(
    server: &Server,
    mut stream: TcpStream,
    begin: &[u8],
    headers: &str,
) -> (Value, Value) {
    let head = format!("GET /headers HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    let lines = server.log().len();
    let answer = exchange(&mut stream, &[begin, head.as_bytes()].concat()).await;
    let json = &answer[answer.find('{').expect("JSON")..=answer.rfind('}').expect("JSON")];
    let is_next = |line: &Value| line["event"] == "request";
    loop {
        let log = server.log();
        if let Some(line) = log[lines..].iter().find(|line| is_next(line)) {
            let seen: Value = serde_json::from_str(json).expect("JSON");
            return (seen["headers"].clone(), line["client"].clone());
        }
        tokio::task::yield_now().await;
    }
}

fn header<'a>(headers: &'a Value, name: &str) -> &'a str {
    let mut pairs = headers.as_array().expect("pairs").iter();
    let pair = pairs.find(|pair| pair[0] == name);
    pair.map_or("none", |pair| pair[1].as_str().expect("text"))
}

const FROM_PROXY: &str = "x-forwarded-for: 6.6.6.6, 192.0.2.1\r\nx-forwarded-proto: https\r\n\
     x-forwarded-host: shop.test\r\nx-real-ip: 192.0.2.1\r\nx_forwarded_for: 6.6.6.6\r\n";

#[tokio::test]
async fn d34_a_trusted_proxy_is_believed_and_nobody_else() {
    let app = App::probe("");
    let server = Server::start(&app, &["--trusted-proxies", "127.0.0.2,10.0.0.0/8"]).await;

    let proxy = dial_from("127.0.0.2", server.address()).await;
    let (headers, client) = told(&server, proxy, b"", FROM_PROXY).await;
    assert_eq!(client, "192.0.2.1:0");
    for (name, value) in [
        ("spin-client-addr", "192.0.2.1:0"),
        ("spin-full-url", "https://a/headers"),
        ("x-forwarded-for", "6.6.6.6, 192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.test"),
        ("x-real-ip", "192.0.2.1"),
        ("x_forwarded_for", "none"),
    ] {
        assert_eq!(header(&headers, name), value, "{name}");
    }

    let stranger = dial(server.address()).await;
    let own = stranger.local_addr().expect("connected").to_string();
    let (headers, client) = told(&server, stranger, b"", FROM_PROXY).await;
    assert_eq!(client, *own);
    for (name, value) in [
        ("spin-client-addr", &*own),
        ("spin-full-url", "http://a/headers"),
        ("x-forwarded-for", "none"),
        ("x-forwarded-proto", "none"),
        ("x-forwarded-host", "none"),
        ("x-real-ip", "none"),
    ] {
        assert_eq!(header(&headers, name), value, "{name}");
    }
}

#[tokio::test]
async fn d34_the_proxy_protocol_is_required_from_all_and_allowed_to_proxies() {
    let app = App::probe("");
    let args = ["--proxy-protocol", "--trusted-proxies", "127.0.0.1"];
    let server = Server::start(&app, &args).await;
    let dial = async || dial(server.address()).await;
    let proxy = dial().await;
    let own = proxy.local_addr().expect("connected").to_string();
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x12\x67\0\x50";
    for (stream, begin, client) in [
        (
            dial().await,
            &b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n"[..],
            "192.0.2.1:4711",
        ),
        (dial().await, version_2, "192.0.2.1:4711"),
        (proxy, b"PROXY UNKNOWN\r\n", &own),
    ] {
        let (headers, logged) = told(&server, stream, begin, FROM_PROXY).await;
        assert_eq!(logged, client);
        assert_eq!(header(&headers, "spin-client-addr"), client);
        assert_eq!(
            header(&headers, "x-forwarded-for"),
            "none",
            "the client's own word"
        );
    }
    // The client that is announced is itself a trusted proxy.
    let begin = b"PROXY TCP4 127.0.0.1 10.0.0.1 4711 80\r\n";
    let (headers, _) = told(&server, dial().await, begin, FROM_PROXY).await;
    assert_eq!(header(&headers, "spin-client-addr"), "192.0.2.1:0");

    assert_eq!(
        exchange(&mut dial().await, LAST_GET).await,
        "",
        "not announced"
    );
    let mut stranger = dial_from("127.0.0.2", server.address()).await;
    assert_eq!(rest(&mut stranger).await, "", "no trusted proxy");
}

#[tokio::test]
async fn d34_the_proxy_protocol_comes_before_tls() {
    let app = App::probe("");
    let trusted = certificate(&app);
    let args = [
        &TLS[..],
        &["--proxy-protocol", "--trusted-proxies", "127.0.0.1"],
    ]
    .concat();
    let server = Server::start(&app, &args).await;
    let mut stream = dial(server.address()).await;
    stream
        .write_all(b"PROXY TCP6 2001:db8::1 ::1 7 443\r\n")
        .await
        .expect("it reads");
    assert!(
        over_tls(stream, &trusted)
            .await
            .expect("TLS")
            .contains(HELLO)
    );
    let line = server.logged(|line| line["event"] == "request").await;
    assert_eq!(line["client"], "[2001:db8::1]:7");
}

/// Clients that ask all the time, each on a new connection or on one that is kept for as long as the server keeps it.
struct Load {
    clients: JoinSet<Result<(), String>>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn on(address: SocketAddr) -> Load {
        let mut load = Load {
            clients: JoinSet::new(),
            answered: Arc::default(),
            stop: Arc::default(),
        };
        for client in 0..8 {
            let (answered, stop) = (load.answered.clone(), load.stop.clone());
            let per_connection = if client % 2 == 0 { 1 } else { 1000 };
            load.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    talk(address, per_connection, &answered, &stop).await?;
                }
                Ok(())
            });
        }
        load
    }

    async fn answered(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        while self.answered.load(Ordering::Relaxed) < goal {
            tokio::task::yield_now().await;
        }
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            assert_eq!(client.expect("no panic"), Ok(()));
        }
    }
}

/// Up to `requests` on one connection; fails where a connect or a request does.
#[expect(clippy::disallowed_methods, reason = "the stories' own client")]
async fn talk(
    address: SocketAddr,
    requests: usize,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Result<(), String> {
    let stream = TcpStream::connect(address).await;
    let mut stream = stream.map_err(|error| format!("connect: {error}"))?;
    for _ in 0..requests {
        stream
            .write_all(GET)
            .await
            .map_err(|error| format!("write: {error}"))?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            let count = stream.read_buf(&mut answer).await;
            let count = count.map_err(|error| format!("read: {error}"))?;
            if count == 0 {
                return Err(format!("cut after {:?}", String::from_utf8_lossy(&answer)));
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
        let answer = String::from_utf8_lossy(&answer);
        if !answer.starts_with("HTTP/1.1 200 OK\r\n") {
            return Err(answer.into_owned());
        }
        if stop.load(Ordering::Relaxed) || answer.contains("connection: close\r\n") {
            return Ok(());
        }
    }
    Ok(())
}

#[tokio::test]
async fn one_process_takes_over_from_another_and_no_client_sees_it() {
    let app = App::probe("");
    let mut server = Server::start(&app, &[]).await;
    let load = Load::on(server.address());
    for _ in 0..3 {
        load.answered(100).await;
        let new = Server::start(&app, &["--take-over"]).await;
        assert_eq!(new.address(), server.address());
        let told = new.logged(|line| line["event"] == "taking-over").await;
        assert_eq!(told["from"], server.pid());
        load.answered(100).await;
        let old = std::mem::replace(&mut server, new).ended().await;
        assert_eq!(old.code, 0);
        let cut: Vec<_> = old
            .log
            .iter()
            .filter_map(|line| line["cut"].as_u64())
            .collect();
        assert_eq!(cut, [0]);
    }
    load.answered(100).await;
    load.end().await;
    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
}

#[tokio::test]
async fn one_that_cannot_load_takes_nothing_over() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let load = Load::on(server.address());
    let good = app.text();
    app.write(&good.replace("source", "sauce"));
    let failed = Server::try_start(&app, &["--take-over"])
        .await
        .err()
        .expect("no app");
    assert_eq!(failed.code, 2);
    load.answered(100).await;
    load.end().await;
    assert!(!server.log().iter().any(|line| line["event"] == "draining"));
}

#[tokio::test]
async fn where_nobody_serves_there_is_nothing_to_take_over_and_it_says_so() {
    let app = App::probe("");
    let server = Server::start(&app, &["--take-over"]).await;
    let told = server
        .logged(|line| line["event"] == "nothing-to-take-over")
        .await;
    assert_eq!(
        told["message"],
        "no running server to take over from; starting as usual"
    );
    assert_eq!(server.get("/hello").await.status, 200);
}

#[tokio::test]
async fn another_app_is_taken_over_from_where_it_listens_and_not_by_chance() {
    let (old, new) = (App::probe(""), App::probe(""));
    let server = Server::start(&old, &[]).await;
    let by_chance = Server::start(&new, &["--take-over"]).await;
    assert_ne!(by_chance.address(), server.address());
    let address = server.address().to_string();
    let args = ["--listen", &address, "--take-over"];
    let taken = Server::try_start_after(&new, "true", &args)
        .await
        .expect("it starts");
    assert_eq!(taken.address(), server.address());
    assert_eq!(server.ended().await.code, 0);
    assert_eq!(taken.get("/hello").await.status, 200);
}

/// Hands this socket over as a service manager does: as the first descriptor after the usual three.
fn handing(socket: &impl AsRawFd) -> String {
    format!(
        "exec 3<&{}; export LISTEN_FDS=1 LISTEN_PID=$$",
        socket.as_raw_fd()
    )
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served() {
    let app = App::probe("");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    fcntl_setfd(&socket, FdFlags::empty()).expect("a socket");
    let address = socket.local_addr().expect("bound");
    // It waits in the queue until somebody serves.
    let mut early = dial(address).await;
    let named = address.to_string();
    for args in [&[][..], &["--listen", &named]] {
        let server = Server::try_start_after(&app, &handing(&socket), args)
            .await
            .expect("it starts");
        assert_eq!(server.address(), address);
        if args.is_empty() {
            assert!(exchange(&mut early, LAST_GET).await.contains(HELLO));
        }
        assert_eq!(server.get("/hello").await.status, 200);
        assert_eq!(server.stop().await.code, 0);
    }
    let args = ["--listen", "127.0.0.1:9"];
    let refused = Server::try_start_after(&app, &handing(&socket), &args)
        .await
        .err();
    let refused = refused.expect("another address");
    assert_eq!(refused.code, 3);
    assert_eq!(
        refused.log[0]["text"],
        format!(
            "error: the socket that `LISTEN_FDS` hands over listens on `{address}`, not on `127.0.0.1:9`\n\
             help: leave `--listen` out, or let it name the same address"
        )
    );
}

#[tokio::test]
async fn what_is_handed_over_must_be_one_listening_socket() {
    let app = App::probe("");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let connected = dial(socket.local_addr().expect("bound")).await;
    let file = fs::File::open(app.manifest()).expect("written before");
    fcntl_setfd(&connected, FdFlags::empty()).expect("a socket");
    fcntl_setfd(&file, FdFlags::empty()).expect("a file");
    let help = "help: hand over a listening TCP socket as file descriptor 3, or unset `LISTEN_FDS`";
    for (line, text) in [
        (
            handing(&connected),
            format!("error: the socket that `LISTEN_FDS` hands over does not listen\n{help}"),
        ),
        (
            handing(&file),
            format!(
                "error: what `LISTEN_FDS` hands over cannot be used: fd 3 is not a socket\n{help}"
            ),
        ),
        (
            "export LISTEN_FDS=2 LISTEN_PID=$$".to_owned(),
            "error: `LISTEN_FDS` hands over 2 sockets\n\
             help: hand over one: one listening TCP socket is served"
                .to_owned(),
        ),
    ] {
        let refused = Server::try_start_after(&app, &line, &[])
            .await
            .err()
            .expect(&line);
        assert_eq!(
            (refused.code, &refused.log[0]["text"]),
            (3, &text.into()),
            "{line}"
        );
    }
    // Meant for another process.
    let line = "export LISTEN_FDS=1 LISTEN_PID=1";
    let server = Server::try_start_after(&app, line, &["--listen", "127.0.0.1:0"]).await;
    assert_eq!(server.expect("it starts").get("/hello").await.status, 200);
}
