//! What an operator sees: the admin listener of a running server, and that nobody else sees any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use runner_tests::{App, Canary, Server, Wire, get, raw, run};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// How long a scrape may have to wait for what must happen. Only a story that fails ever waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The samples of a page, each under its name and labels.
struct Page(BTreeMap<String, f64>);

impl Page {
    async fn of(admin: &str) -> Page {
        let reply = get(&format!("{admin}/metrics")).await;
        assert_eq!(reply.status, 200);
        let samples = reply.body.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Page(samples.collect())
    }

    /// One as it is once `is_it` holds.
    async fn once(admin: &str, is_it: impl Fn(&Page) -> bool) -> Page {
        let started = Instant::now();
        loop {
            let page = Page::of(admin).await;
            if is_it(&page) {
                return page;
            }
            let late = started.elapsed() > PATIENCE;
            assert!(!late, "{:#?}", page.all("runner_"));
        }
    }

    fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Those that begin so, with their numbers.
    fn all(&self, begin: &str) -> Vec<(&str, f64)> {
        let all = self.0.range(begin.to_owned()..);
        let all = all.take_while(|(name, _)| name.starts_with(begin));
        all.map(|(name, value)| (&name[begin.len()..], *value))
            .collect()
    }
}

/// Sends one request on a connection of its own, and waits until it is over for the server too.
async fn send(server: &Server, head: &str) -> String {
    let mut wire = Wire::open(server.address()).await;
    let me = wire.local_addr().to_string();
    wire.send(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes())
        .await;
    let answer = wire.rest().await;
    server
        .logged(|line| line["event"] == "request" && line["client"] == *me)
        .await;
    answer
}

async fn ask(server: &Server, method: &str, path: &str) -> String {
    send(server, &format!("{method} {path} HTTP/1.1\r\nhost: a")).await
}

#[tokio::test]
async fn health_readiness_and_metrics_are_answered_and_nothing_else() {
    let app = App::probe("");
    let server = Server::start(&app, &ADMIN).await;
    let admin = server.admin().await;
    let address = admin.strip_prefix("http://").expect("a URL");
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let head = |status: &str, length: usize| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let said = |status: &str, text: &str| format!("{}{text}", head(status, text.len()));
    let not_allowed = said("405 Method Not Allowed", "Method Not Allowed\n");
    let not_allowed = not_allowed.replace("connection:", "allow: GET, HEAD\r\nconnection:");
    for (request, expected) in [
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost",
            said("200 OK", "ok\n"),
        ),
        (
            "HEAD /healthz HTTP/1.1\r\nhost: localhost",
            head("200 OK", 3),
        ),
        (
            "GET /readyz HTTP/1.1\r\nhost: [::1]:1",
            said("200 OK", "ready\n"),
        ),
        (
            "GET / HTTP/1.1\r\nhost: 127.0.0.1",
            said("404 Not Found", "Not Found\n"),
        ),
        (
            "GET /debug HTTP/1.1\r\nhost: 127.0.0.1",
            said("404 Not Found", "Not Found\n"),
        ),
        ("POST /metrics HTTP/1.1\r\nhost: localhost", not_allowed),
        (
            "GET /metrics HTTP/1.1\r\nhost: evil.test",
            said("403 Forbidden", "Forbidden\n"),
        ),
        (
            "GET /metrics HTTP/1.1\r\nx: y",
            said("400 Bad Request", "Bad Request\n"),
        ),
    ] {
        let answer = raw(address, format!("{request}\r\n\r\n").as_bytes()).await;
        let lines = answer.split_inclusive("\r\n");
        let answer: String = lines.filter(|line| !line.starts_with("date: ")).collect();
        assert_eq!(answer, expected, "{request}");
    }
    let reply = get(&format!("{admin}/metrics")).await;
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(reply.headers["content-type"], media_type);
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn d60_nothing_of_it_is_on_the_public_port_unless_the_app_routes_it() {
    let paths = [
        "/metrics",
        "/healthz",
        "/readyz",
        "/debug",
        "/debug/pprof/",
        "/.well-known/spin/info",
    ];
    let unrouted = App::new(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/hello\"\nstatic_response = { body = \"hello\" }\n",
    );
    let routed = App::probe("");
    for args in [&ADMIN[..], &[]] {
        let server = Server::start(&unrouted, args).await;
        for path in paths {
            let reply = server.get(path).await;
            assert_eq!(
                (reply.status.as_u16(), &*reply.reason()),
                (404, "Not Found"),
                "{path}"
            );
        }
        let server = Server::start(&routed, args).await;
        for path in paths {
            let reply = server.get(path).await;
            assert_eq!(reply.body, "the probe does not know this path\n", "{path}");
        }
    }
}

/// All that comes back over a Unix socket.
#[expect(clippy::disallowed_methods, reason = "the stories' own client")]
async fn over(socket: &Path, head: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("it listens");
    let head = format!("{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_is_removed_at_the_end_and_replaced_when_left_behind() {
    let app = App::probe("");
    let socket = app.path().join("admin.sock");
    let address = format!("unix:{}", socket.display());
    let args = ["--admin", &*address];
    // As a process leaves it that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a short path"));
    let server = Server::start(&app, &args).await;
    assert_eq!(server.admin().await, address);
    let mode = std::fs::metadata(&socket).expect("there").mode();
    assert_eq!(mode & 0o777, 0o600);
    // No browser comes this way, so the host is anybody's.
    let answer = over(&socket, "GET /readyz HTTP/1.1\r\nhost: any.test").await;
    assert!(answer.ends_with("\r\n\r\nready\n"), "{answer}");

    let second = Server::try_start(&app, &args).await;
    let second = second.err().expect("the first still listens");
    let text = second.log.last().expect("an error")["text"].clone();
    let expected = format!(
        "error: cannot listen on `{address}` for `--admin`: Address already in use (os error 98)\n\
         help: free it, or choose another with `--admin`; port 0 takes a free one"
    );
    assert_eq!((second.code, text), (3, expected.into()));

    assert_eq!(server.stop().await.code, 0);
    assert!(!socket.exists());
    app.file("admin.sock", "mine");
    let third = Server::try_start(&app, &args).await;
    assert_eq!(third.err().map(|stopped| stopped.code), Some(3));
    assert_eq!(std::fs::read_to_string(&socket).expect("there"), "mine");
}

#[tokio::test]
async fn an_address_that_is_none_is_a_wrong_command_line() {
    let app = App::probe("");
    for address in ["9090", "localhost:9090", "unix:"] {
        let finished = run(app.path(), &["up", "--admin", address]).await;
        assert_eq!(finished.code, 2, "{address}: {}", finished.stderr);
    }
}

/// A request that is in progress until its body ends.
async fn held(server: &Server) -> Wire {
    let mut wire = Wire::open(server.address()).await;
    wire.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab")
        .await;
    wire.until("ab").await;
    wire
}

#[tokio::test]
async fn readiness_flips_first_and_the_port_accepts_until_the_delay_is_over() {
    let app = App::probe("");
    let args = [&ADMIN[..], &["--drain-delay", "60m"]].concat();
    let server = Server::start(&app, &args).await;
    let admin = server.admin().await;
    assert_eq!(get(&format!("{admin}/readyz")).await.body, "ready\n");
    server.signal(Signal::TERM);
    let line = server.logged(|line| line["event"] == "draining").await;
    assert_eq!(line["delay_ms"], 3_600_000);
    let reply = get(&format!("{admin}/readyz")).await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (503, "draining\n"));
    assert_eq!(get(&format!("{admin}/healthz")).await.status, 200);
    let reply = server.get("/hello").await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.body),
        (200, "hello from probe\n")
    );
    assert_eq!(reply.headers.get("connection"), None, "it may come again");
    // The second signal does not wait.
    assert_eq!(server.stop().await.code, 143);
}

#[tokio::test]
async fn while_a_request_is_finished_it_is_alive_and_not_ready() {
    for delay in ["0s", "1ms"] {
        let app = App::probe("");
        let args = [&ADMIN[..], &["--drain-delay", delay]].concat();
        let server = Server::start(&app, &args).await;
        let admin = server.admin().await;
        let mut held = held(&server).await;
        server.signal(Signal::TERM);
        server.logged(|line| line["event"] == "draining").await;
        let reply = get(&format!("{admin}/readyz")).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (503, "draining\n"));
        assert_eq!(get(&format!("{admin}/healthz")).await.status, 200);
        let page = Page::of(&admin).await;
        assert_eq!(page.value("http_server_active_requests"), 1.0);
        held.send(b"cd").await;
        let rest = held.rest().await;
        assert!(rest.contains("cd"), "{rest}");
        assert_eq!(server.ended().await.code, 0, "{delay}");
    }
}

#[tokio::test]
async fn counters_are_what_clients_saw() {
    let canary = Canary::start().await;
    let url = canary.url();
    let app = App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [[trigger.http]]\nroute = \"/static\"\nstatic_response = {{ body = \"static\" }}\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"back\"\n\
         [component.probe]\nsource = \"guest:probe\"\n\
         allowed_outbound_hosts = [\"{url}\", \"http://back.spin.internal\"]\n\
         [component.back]\nsource = \"guest:probe\"\n"
    ));
    let server = Server::start(&app, &ADMIN).await;
    let admin = server.admin().await;
    let allowed = format!("/fetch?url={url}/");
    let denied = format!("/fetch?url=https://{}/", canary.address());
    for (times, method, path, status) in [
        (3, "GET", "/hello", "200"),
        (2, "POST", "/echo", "200"),
        (1, "GET", "/status?code=404", "404"),
        (1, "GET", "/trap", "500"),
        (4, "PROPFIND", "/hello", "200"),
        (2, "GET", "/static", "200"),
        (2, "GET", &*allowed, "200"),
        (3, "GET", &*denied, "200"),
        (1, "GET", "/fetch?url=http://user@a.test/", "200"),
        (
            2,
            "GET",
            "/fetch?url=http://back.spin.internal/hello",
            "200",
        ),
    ] {
        for _ in 0..times {
            let answer = ask(&server, method, path).await;
            assert_eq!(answer.split(' ').nth(1), Some(status), "{path}: {answer}");
        }
    }
    send(&server, "GET /hello HTTP/1.1\r\nx: no host").await;

    // A call inside the app may end a moment after the request that made it.
    let inside = "runner_inside_requests_total{component=\"back\",status_class=\"2xx\"}";
    let page = Page::once(&admin, |page| page.value(inside) == 2.0).await;
    let name = "http_server_request_duration_seconds";
    let series = |component: &str, method: &str, class: &str| {
        format!(
            "{{component=\"{component}\",http_request_method=\"{method}\",status_class=\"{class}\"}}"
        )
    };
    let expected = [
        (series("", "GET", "2xx"), 2.0),
        (series("", "GET", "4xx"), 1.0),
        (series("probe", "GET", "2xx"), 11.0),
        (series("probe", "GET", "4xx"), 1.0),
        (series("probe", "GET", "5xx"), 1.0),
        (series("probe", "POST", "2xx"), 2.0),
        (series("probe", "_OTHER", "2xx"), 4.0),
    ];
    let found = page.all(&format!("{name}_count"));
    let found: Vec<_> = found.into_iter().map(|(s, n)| (s.to_owned(), n)).collect();
    assert_eq!(found, expected);
    for (labels, count) in &expected {
        let labels = labels.trim_end_matches('}');
        let all = page.value(&format!("{name}_bucket{labels},le=\"+Inf\"}}"));
        assert_eq!(all, *count, "{labels}");
        assert!(
            page.value(&format!("{name}_sum{labels}}}")) > 0.0,
            "{labels}"
        );
    }
    for (begin, expected) in [
        (
            "runner_inside_requests_total",
            vec![("{component=\"back\",status_class=\"2xx\"}".to_owned(), 2.0)],
        ),
        (
            "runner_outbound_allowed_total",
            vec![("{component=\"probe\"}".to_owned(), 4.0)],
        ),
        (
            "runner_denials_total",
            vec![
                ("{component=\"probe\",rule=\"\"}".to_owned(), 1.0),
                (format!("{{component=\"probe\",rule=\"{url}\"}}"), 3.0),
            ],
        ),
    ] {
        let found = page.all(begin);
        let found: Vec<_> = found.into_iter().map(|(s, n)| (s.to_owned(), n)).collect();
        assert_eq!(found, expected, "{begin}");
    }
    assert_eq!(page.value("runner_refusals_total{reason=\"no_host\"}"), 1.0);
    let refused: f64 = page
        .all("runner_refusals_total")
        .iter()
        .map(|row| row.1)
        .sum();
    assert_eq!(refused, 1.0);
    assert_eq!(page.value("http_server_active_requests"), 0.0);
    assert_eq!(
        page.value("runner_log_lines_dropped_total{log=\"log\"}"),
        0.0
    );
}

#[tokio::test]
async fn what_is_going_on_is_shown_while_it_goes_on() {
    let app = App::probe("");
    let server = Server::start(&app, &ADMIN).await;
    let admin = server.admin().await;
    let mut silent = Wire::open(server.address()).await;
    let mut wire = Wire::open(server.address()).await;
    wire.send(b"GET /sleep-after-head?ms=600000 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    wire.until("xxxxxx").await;
    let open = |page: &Page| -> f64 {
        let states = page.all("runner_connections{");
        states.iter().map(|row| row.1).sum()
    };
    let page = Page::once(&admin, |page| open(page) == 2.0).await;
    assert_eq!(page.value("http_server_active_requests"), 1.0);
    assert_eq!(page.value("runner_instances"), 1.0);
    assert!(page.value("process_open_fds") > 5.0);
    assert!(page.value("process_max_fds") >= page.value("process_open_fds"));
    assert!(page.value("process_resident_memory_bytes") > 1e6);
    let build = page.all("runner_build_info");
    assert_eq!(build.len(), 1);
    assert!(build[0].0.contains("wasmtime=\"48."), "{build:?}");

    wire.reset();
    silent
        .send(b"GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    silent.rest().await;
    let page = Page::once(&admin, |page| {
        open(page) == 0.0 && page.value("runner_instances") == 0.0
    })
    .await;
    assert_eq!(page.value("http_server_active_requests"), 0.0);
    assert_eq!(
        page.value("runner_client_gone_total{component=\"probe\"}"),
        1.0
    );
    let closed = page.all("runner_connections_closed_total");
    assert_eq!(
        closed.iter().map(|row| row.1).sum::<f64>(),
        2.0,
        "{closed:?}"
    );
}

#[tokio::test]
async fn made_up_methods_paths_and_hosts_make_no_series() {
    let app = App::probe("");
    let server = Server::start(&app, &ADMIN).await;
    let admin = server.admin().await;
    let made_up =
        |n: usize| format!("M{n}X /p{n}x?q{n}x HTTP/1.1\r\nhost: h{n}x.test\r\nuser-agent: u{n}x");
    send(&server, &made_up(0)).await;
    let names = |page: Page| page.0.into_keys().collect::<Vec<_>>();
    let few = names(Page::of(&admin).await);
    for n in 1..200 {
        send(&server, &made_up(n)).await;
    }
    let many = Page::of(&admin).await;
    let count = "http_server_request_duration_seconds_count\
        {component=\"probe\",http_request_method=\"_OTHER\",status_class=\"4xx\"}";
    assert_eq!(many.value(count), 200.0);
    assert_eq!(names(many), few);
}

#[tokio::test]
async fn a_reload_takes_the_series_of_components_that_are_gone() {
    let manifest = |component: &str| {
        format!(
            "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"{component}\"\n\
             [component.{component}]\nsource = \"guest:probe\"\n\
             [[trigger.http]]\nroute = \"/kept\"\ncomponent = \"kept\"\n\
             [component.kept]\nsource = \"guest:probe\"\n"
        )
    };
    let app = App::new(&manifest("first"));
    let server = Server::start(&app, &ADMIN).await;
    let admin = server.admin().await;
    let components = |page: &Page| {
        let counts = page.all("http_server_request_duration_seconds_count{component=\"");
        let counts = counts.iter().map(|(labels, count)| {
            (
                labels.split('"').next().unwrap_or_default().to_owned(),
                *count,
            )
        });
        counts.collect::<Vec<_>>()
    };
    let mut held = held(&server).await;
    ask(&server, "GET", "/hello").await;
    ask(&server, "GET", "/kept").await;
    let of = |name: &str, count: f64| (name.to_owned(), count);
    let page = Page::of(&admin).await;
    assert_eq!(components(&page), [of("first", 1.0), of("kept", 1.0)]);

    app.write(&manifest("second"));
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reloaded").await;
    ask(&server, "GET", "/hello").await;
    ask(&server, "GET", "/kept").await;
    held.send(b"cd").await;
    held.until("cd").await;
    server
        .logged(|line| line["event"] == "request" && line["method"] == "POST")
        .await;
    let page = Page::of(&admin).await;
    let expected = [of("_OTHER", 1.0), of("kept", 2.0), of("second", 1.0)];
    assert_eq!(components(&page), expected);

    app.write("this is no manifest");
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reload-failed").await;
    let page = Page::of(&admin).await;
    let reloads = page.all("runner_reloads_total");
    let expected = [("{result=\"done\"}", 1.0), ("{result=\"failed\"}", 1.0)];
    assert_eq!(reloads, expected);
    assert_eq!(components(&page).len(), 3);
}

#[tokio::test]
async fn who_holds_the_admin_listener_holds_up_nobody_else() {
    let app = App::probe("");
    let server = Server::start(&app, &ADMIN).await;
    let admin = server.admin().await;
    let address = admin.strip_prefix("http://").expect("a URL");
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let before = server.descriptors();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(Wire::open(address).await);
    }
    assert_eq!(server.get("/hello").await.status, 200);
    let most = before + 64 + 8;
    assert!(server.descriptors() <= most, "{}", server.descriptors());
    drop(silent);
    assert_eq!(get(&format!("{admin}/healthz")).await.status, 200);
}

#[tokio::test]
async fn every_metric_is_on_the_page_about_operations_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("../docs/operations.md")).expect("it is there");
    let section = text.split("\n## Metrics\n").nth(1).expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let codes: Vec<_> = section.split('`').skip(1).step_by(2).collect();
    let is_metric = |code: &&str| {
        let begins = ["http_", "runner_", "process_"];
        begins.iter().any(|begin| code.starts_with(begin)) && *code != "http_request_method"
    };
    let told: BTreeSet<&str> = codes.iter().copied().filter(is_metric).collect();

    let app = App::probe("");
    let server = Server::start(&app, &[&ADMIN[..], &["--audit-log", "audit"]].concat()).await;
    let reply = get(&format!("{}/metrics", server.admin().await)).await;
    let families = reply.body.lines();
    let families = families.filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(families.collect::<BTreeSet<_>>(), told);
    let values = reply
        .body
        .lines()
        .filter(|line| !line.starts_with(['#', 'h']));
    let values = values.filter(|line| !line.starts_with("runner_build_info"));
    for value in values.filter_map(|line| line.split('"').nth(1)) {
        assert!(codes.contains(&value), "`{value}` is not on the page");
    }
}
