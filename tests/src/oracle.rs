//! What must be true of a server around every attack of a guest: it lives, it answers for another app, the client
//! sees what it should, the log says why in one line, a counter counts one, and all that was taken comes back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::frames::{Frame, Frames};
use crate::{App, Reply, Server, Wire, get, without_id};

/// How long after an attack a server may still hold what it took for it. A thread that did blocking work is kept for a
/// second after it.
const SETTLED: Duration = Duration::from_secs(60);

/// Memory that a server may keep after its first busy moment: arenas of the allocator, and warm slots of the pool.
const KEPT: u64 = 48 << 20;

/// Connections of who asks for metrics: they may not be closed yet.
const ASKING: usize = 2;

/// The admin listener, on a free port.
const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// Ends the stream.
const END_STREAM: u8 = 1;
/// Ends the stream, and its headers.
const WHOLE: u8 = 5;

/// A server with two apps: one whose component `guest` attacks, on every path, and a neighbour under a host of its own.
pub struct Oracle {
    server: Server,
    admin: String,
    before: Held,
    app: App,
    _neighbour: App,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory: u64,
    descriptors: usize,
    threads: usize,
}

/// Which protocol an attack is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 with prior knowledge
    Http2,
}

impl Protocol {
    /// Both.
    pub const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
}

/// What a client has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The status.
    pub status: u16,
    /// The body, as far as it came; of an error of the runtime without the request's id.
    pub body: String,
    /// Whether it ended as it should.
    pub end: End,
    /// The client's own address, as the log has it.
    client: String,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With all that was announced.
    Clean,
    /// In the middle: closed before its length or last chunk, or RST_STREAM.
    Cut,
}

/// What is told of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name in the log and in `runner_guest_faults_total`.
    pub reason: &'static str,
    /// What the log says, whole.
    pub message: &'static str,
}

impl Oracle {
    /// An app whose component `guest` is this `source`, with these lines in its table.
    pub fn app(source: &str, lines: &str) -> App {
        App::new(&manifest(source, lines))
    }

    /// Serves such an app.
    pub async fn start(source: &str, lines: &str) -> Oracle {
        Oracle::serve(Oracle::app(source, lines)).await
    }

    /// The same, of a component as text.
    pub async fn start_text(text: &str, lines: &str) -> Oracle {
        let app = Oracle::app("guest.wasm", lines);
        let bytes = wat::parse_str(text).unwrap_or_else(|e| panic!("{e}"));
        fs::write(app.path().join("guest.wasm"), bytes).expect("writable");
        Oracle::serve(app).await
    }

    /// Serves an app that [`Oracle::app`] made. Its temporary files lie in `tmp` beside the manifest.
    pub async fn serve(app: App) -> Oracle {
        Oracle::serve_with(app, &[]).await
    }

    /// The same, with more arguments.
    pub async fn serve_with(app: App, args: &[&str]) -> Oracle {
        let tmp = app.path().join("tmp");
        fs::create_dir_all(&tmp).expect("writable");
        let environment = [("TMPDIR", tmp.to_str().expect("text"))];
        let neighbour = App::new(NEIGHBOUR);
        let apps = [&app, &neighbour].map(|app| app.path().to_str().expect("text"));
        let args = [&apps, &ADMIN, args].concat();
        let server = Server::try_start_with(&app, &args, &environment).await;
        let server = server.unwrap_or_else(|log| panic!("runner did not start: {log:#?}"));
        let admin = server.admin().await;
        let mut oracle = Oracle {
            before: held(&server),
            server,
            admin,
            app,
            _neighbour: neighbour,
        };
        // The first instance of a component leaves the image of its memory.
        oracle.attack(Protocol::Http1, "/first").await;
        oracle.is_normal().await;
        oracle
    }

    /// What it holds now is what it should hold in the end.
    pub async fn is_normal(&mut self) {
        self.is_left().await;
        self.before = held(&self.server);
    }

    /// The app's folder.
    pub fn folder(&self) -> &Path {
        self.app.path()
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Asks the other app.
    pub async fn ask_neighbour(&self) -> Reply {
        let request = http::Request::get("/hello").header("host", "neighbour.test");
        let request = request.body(Default::default()).expect("a request");
        self.server.connect().await.send(request).await
    }

    /// The other app answers.
    pub async fn neighbour(&self) {
        let reply = self.ask_neighbour().await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (200, "hello from probe\n"),
            "the neighbour"
        );
    }

    /// `GET path` of the attacking component, while the other app is asked.
    pub async fn attack(&self, protocol: Protocol, path: &str) -> Seen {
        let attack = async {
            match protocol {
                Protocol::Http1 => http1(&self.server, path).await,
                Protocol::Http2 => http2(&self.server, path).await,
            }
        };
        tokio::join!(attack, self.neighbour()).0
    }

    /// The attack ends with this for its client; one line of the log says why, and one counter has counted it.
    pub async fn fails(&self, protocol: Protocol, path: &str, status: u16, end: End, fault: Fault) {
        let before = self.faults().await;
        let seen = self.attack(protocol, path).await;
        // A reset may overtake the head.
        let overtaken = seen.status == 0 && protocol == Protocol::Http2 && end == End::Cut;
        let status = if overtaken { 0 } else { status };
        assert_eq!((seen.status, seen.end), (status, end), "{path}: {seen:?}");
        self.told(&seen, fault, before).await;
        self.neighbour().await;
    }

    /// The attack is answered with this, and nothing is told of it.
    pub async fn answers(&self, protocol: Protocol, path: &str, body: &str) {
        let before = self.faults().await;
        let seen = self.attack(protocol, path).await;
        assert_eq!(
            (seen.status, &*seen.body, seen.end),
            (200, body, End::Clean),
            "{path}"
        );
        let record = self.record(&seen).await;
        assert_eq!(self.failures(&record), [""; 0], "{path}");
        assert_eq!(self.faults().await, before, "{path}");
        self.neighbour().await;
    }

    async fn told(&self, seen: &Seen, fault: Fault, before: BTreeMap<String, f64>) {
        let record = self.record(seen).await;
        let expected = format!("{}: {}", fault.reason, fault.message);
        assert_eq!(self.failures(&record), [expected]);
        let mut expected = before;
        let name = format!(
            "{{app=\"story\",component=\"guest\",reason=\"{}\"}}",
            fault.reason
        );
        *expected.entry(name).or_default() += 1.0;
        assert_eq!(self.faults().await, expected);
    }

    /// The line of a request.
    async fn record(&self, seen: &Seen) -> Value {
        let is_it = |line: &Value| line["event"] == "request" && line["client"] == *seen.client;
        self.server.logged(is_it).await
    }

    /// Why a request failed, by the log: it is told before the request's own line.
    fn failures(&self, record: &Value) -> Vec<String> {
        let log = self.server.log();
        let lines = log
            .iter()
            .filter(|line| line["event"] == "failed" && line["request"] == record["request"]);
        lines
            .map(|line| {
                let text = |field: &str| line[field].as_str().expect("text");
                format!("{}: {}", text("reason"), text("message"))
            })
            .collect()
    }

    /// The counter of faults, by its labels.
    async fn faults(&self) -> BTreeMap<String, f64> {
        let name = "runner_guest_faults_total";
        let samples = self.samples().await;
        let faults = samples
            .range(name.to_owned()..)
            .take_while(|(sample, _)| sample.starts_with(name));
        let faults = faults.filter(|(_, count)| **count > 0.0);
        faults
            .map(|(sample, count)| (sample[name.len()..].to_owned(), *count))
            .collect()
    }

    /// All metrics, by their names and labels.
    pub async fn samples(&self) -> BTreeMap<String, f64> {
        let reply: Reply = get(&format!("{}/metrics", self.admin)).await;
        let samples = reply.body.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        samples.collect()
    }

    /// Waits until a metric has this value.
    pub async fn reaches(&self, metric: &str, value: f64) {
        let started = Instant::now();
        loop {
            let now = self.samples().await.get(metric).copied();
            if now == Some(value) {
                return;
            }
            assert!(started.elapsed() < SETTLED, "{metric} is {now:?}");
        }
    }

    /// Waits until nobody is connected but who asks.
    async fn is_left(&self) {
        let started = Instant::now();
        loop {
            let samples = self.samples().await;
            let connections = samples
                .iter()
                .filter(|(name, _)| name.starts_with("runner_connections{"));
            let open: f64 = connections.map(|(_, count)| count).sum();
            if open == 0.0 {
                return;
            }
            assert!(started.elapsed() < SETTLED, "{open} are connected");
        }
    }

    /// Waits until no instance runs.
    pub async fn is_idle(&self) {
        self.reaches("runner_instances", 0.0).await;
    }

    /// The attacks are over: the process is the same and lives, the other app is answered, and memory, files and
    /// threads are as they were.
    pub async fn over(self) {
        let pid = self.server.pid();
        let allowed = self.before.with_room();
        let started = Instant::now();
        loop {
            self.neighbour().await;
            self.is_left().await;
            let now = held(&self.server);
            if now.fits(&allowed) {
                break;
            }
            assert!(
                started.elapsed() < SETTLED,
                "{now:?}, and {:?} before",
                self.before
            );
            // Whoever asks for the page of metrics keeps threads from ending: they do when nobody asks for a while.
            tokio::time::sleep(UNASKED).await;
        }
        self.is_idle().await;
        assert_eq!(self.server.pid(), pid);
        let stopped = self.server.stop().await;
        assert_eq!(stopped.code, 0);
        let panics = stopped.log.iter().filter(|line| line.is_string());
        assert_eq!(panics.count(), 0, "{:#?}", stopped.log);
    }
}

/// The app that is asked all the time.
const NEIGHBOUR: &str = "\
spin_manifest_version = 2
[application]
name = \"neighbour\"
[application.trigger.http]
host = \"neighbour.test\"
[[trigger.http]]
route = \"/...\"
component = \"neighbour\"
[component.neighbour]
source = \"guest:probe\"
";

/// The manifest of an attack.
fn manifest(source: &str, lines: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n\
         [component.guest]\nsource = \"{source}\"\n{lines}\n"
    )
}

fn held(server: &Server) -> Held {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid()));
    Held {
        memory: server.memory(),
        descriptors: server.descriptors(),
        threads: threads.expect("it runs, and is ours").count(),
    }
}

/// Threads that the runtime keeps for a while for work that blocks: to read files, and to make the page of metrics. That is
/// asked for again and again here, of any of them, so each stays.
const BLOCKING: usize = 8;

/// After this the runtime has ended the threads that had nothing to do.
const UNASKED: Duration = Duration::from_secs(2);

impl Held {
    /// Five of a hundred more; of memory what a server keeps once it was busy.
    fn with_room(self) -> Held {
        Held {
            memory: self.memory + (self.memory / 20).max(KEPT),
            descriptors: self.descriptors + (self.descriptors / 20).max(ASKING),
            threads: self.threads + (self.threads / 20).max(BLOCKING),
        }
    }

    fn fits(&self, most: &Held) -> bool {
        self.memory <= most.memory
            && self.descriptors <= most.descriptors
            && self.threads <= most.threads
    }
}

async fn http1(server: &Server, path: &str) -> Seen {
    let mut wire = Wire::open(server.address()).await;
    let client = wire.local_addr().to_string();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    wire.send(request.as_bytes()).await;
    let answer = wire.rest().await;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let (body, end) = framed(head, body);
    Seen {
        status: status.unwrap_or_else(|| panic!("no status: {head}")),
        body: without_id(&body),
        end,
        client,
    }
}

/// A body by its head, and whether it is whole.
fn framed(head: &str, mut body: &str) -> (String, End) {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.parse::<usize>().expect("a number"))
    });
    let end = |is_whole| if is_whole { End::Clean } else { End::Cut };
    if let Some(length) = length {
        return (body.to_owned(), end(body.len() == length));
    }
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size == 0 {
            return (whole, end(rest == "\r\n"));
        }
        whole += &rest[..size.min(rest.len())];
        body = rest.get(size + 2..).unwrap_or_default();
    }
    (whole, End::Cut)
}

async fn http2(server: &Server, path: &str) -> Seen {
    let mut frames = Frames::open(server.address()).await;
    let client = frames.me();
    // Room for a megabyte and more, of the stream and of the connection.
    let window = (1u32 << 30).to_be_bytes();
    frames
        .send(&Frame::bytes(4, 0, 0, &[&[0, 4][..], &window].concat()))
        .await;
    frames.send(&Frame::bytes(8, 0, 0, &window)).await;
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", path),
    ];
    frames.send(&Frame::headers(WHOLE, 1, &fields)).await;
    let (mut status, mut body) = (0, Vec::new());
    let end = loop {
        let Some(frame) = frames.next().await else {
            break End::Cut;
        };
        match frame.kind {
            HEADERS if status == 0 => status = frame.status(),
            DATA => body.extend(&frame.payload),
            RST_STREAM => break End::Cut,
            _ => {}
        }
        if frame.flags & END_STREAM != 0 && [DATA, HEADERS].contains(&frame.kind) {
            break End::Clean;
        }
    };
    Seen {
        status,
        body: without_id(&String::from_utf8_lossy(&body)),
        end,
        client,
    }
}
