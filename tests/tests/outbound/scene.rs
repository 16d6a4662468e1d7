//! One manifest, served with a guest of each version, and the three witnesses of a decision: what the guest got, what
//! the log said, and what `runner explain` says.

use runner_tests::{App, Canary, Dns, Reply, Server, run};
use serde_json::Value;

/// The guests, and what they call the call that sends.
const GUESTS: [(&str, &str); 2] = [("probe", "future"), ("probe3", "send")];

/// What a guest gets of a call that does not leave.
#[derive(Clone, Copy)]
pub(crate) enum No {
    /// `HTTP-request-denied`, and the log says so.
    Denied,
    /// The host did not even take this part of the request; where it is the authority, the log says so.
    Refused(&'static str),
}

/// Both guests, served.
pub(crate) struct Scene {
    pub(crate) app: App,
    pub(crate) dns: Dns,
    servers: Vec<Server>,
}

/// What was logged by both servers, from start to end.
pub(crate) struct Log(Vec<Value>);

impl Scene {
    /// The usual one: component `probe` with these rules.
    pub(crate) async fn start(rules: &[&str], dns: Dns) -> Scene {
        Scene::with(rules, "", dns, &[]).await
    }

    /// The same with more lines in the component's table, and more arguments.
    pub(crate) async fn with(rules: &[&str], lines: &str, dns: Dns, args: &[&str]) -> Scene {
        let apps = GUESTS.map(|(guest, _)| App::new(&manifest(guest, rules, lines)));
        let address = dns.address();
        let args: Vec<&str> = ["--dns", &address, "-vv"]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let mut servers = Vec::new();
        for app in &apps {
            servers.push(Server::start(app, &args).await);
        }
        let [app, _] = apps;
        Scene { app, dns, servers }
    }

    /// The servers: the guest of 0.2, then that of 0.3.
    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// `/fetch` of both guests with these parameters.
    pub(crate) async fn fetch(&self, parameters: &[(&str, &str)]) -> Vec<Value> {
        let mut reports = Vec::new();
        for server in &self.servers {
            reports.push(fetch(server, parameters).await);
        }
        reports
    }

    /// `runner explain probe URL` in the same folder, with the same name server: its exit code and its stdout.
    pub(crate) async fn explain(&self, url: &str) -> (i32, String) {
        let dns = self.dns.address();
        let said = run(self.app.path(), &["explain", "probe", url, "--dns", &dns]).await;
        assert_eq!(said.stderr, "", "{url}");
        (said.code, said.stdout)
    }

    /// All three witnesses say no, for both guests; gives `explain`'s block.
    pub(crate) async fn denies(&self, parts: (&str, &str, &str), says: [No; 2]) -> String {
        let (scheme, authority, path) = parts;
        let url = format!("{scheme}://{authority}{path}");
        let (code, block) = self.explain(&url).await;
        assert!(
            code == 1 && block.starts_with("denied: probe may not connect to "),
            "{url}: {block}"
        );
        let parts = [("scheme", scheme), ("authority", authority), ("path", path)];
        for (n, report) in self.fetch(&parts).await.into_iter().enumerate() {
            let (guest, sends) = GUESTS[n];
            let (error, at) = match says[n] {
                No::Denied => ("HTTP-request-denied", sends),
                No::Refused(at) => ("refused", at),
            };
            let got = (report["error"].as_str(), report["at"].as_str());
            assert_eq!(got, (Some(error), Some(at)), "{guest}: {url}: {report}");
            // A part that is not the destination's is the guest's own mistake.
            if !matches!(says[n], No::Refused("path")) {
                self.servers[n].logged(|line| is_denial(line, &block)).await;
            }
        }
        block
    }

    /// All three witnesses say yes, and each guest gets the answer of a [`Canary`].
    pub(crate) async fn allows(&self, parts: (&str, &str, &str)) {
        let (scheme, authority, path) = parts;
        let url = format!("{scheme}://{authority}{path}");
        let (code, block) = self.explain(&url).await;
        assert!(
            code == 0 && block.starts_with("allowed: probe may connect to "),
            "{url}: {block}"
        );
        let parts = [("scheme", scheme), ("authority", authority), ("path", path)];
        for report in self.fetch(&parts).await {
            assert_eq!(
                (&report["status"], &report["body"]),
                (&200.into(), &"collected".into()),
                "{url}: {report}"
            );
        }
    }

    /// Stops both, and gives what they logged.
    pub(crate) async fn end(self) -> Log {
        let mut log = Vec::new();
        for server in self.servers {
            let stopped = server.stop().await;
            assert_eq!(stopped.code, 0);
            log.extend(stopped.log);
        }
        Log(log)
    }
}

impl Log {
    /// The addresses that the door dialled.
    pub(crate) fn dialled(&self) -> Vec<&str> {
        let dials = self
            .0
            .iter()
            .filter(|line| line["target"] == "runner::dial");
        dials
            .filter_map(|line| line["fields"]["address"].as_str())
            .collect()
    }

    /// The requests that came from inside the app.
    pub(crate) fn inside(&self) -> Vec<&Value> {
        let requests = self.0.iter().filter(|line| line["event"] == "request");
        requests.filter(|line| line["client"].is_null()).collect()
    }

    /// The sum of a number in the events of this name.
    pub(crate) fn sum(&self, event: &str, field: &str) -> u64 {
        let events = self.0.iter().filter(|line| line["event"] == event);
        events.filter_map(|line| line[field].as_u64()).sum()
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }

    /// How many events of this name.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.0.iter().filter(|line| line["event"] == event).count()
    }
}

/// A manifest whose component `probe` is this guest.
pub(crate) fn manifest(guest: &str, rules: &[&str], lines: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"guest:{guest}\"\nallowed_outbound_hosts = {rules:?}\n{lines}\n"
    )
}

/// `/fetch` with these parameters, and its report.
pub(crate) async fn fetch(server: &Server, parameters: &[(&str, &str)]) -> Value {
    ask(server, parameters).await.json()
}

/// `/fetch` with these parameters.
pub(crate) async fn ask(server: &Server, parameters: &[(&str, &str)]) -> Reply {
    server.get(&target(parameters)).await
}

/// The target of `/fetch` with these parameters, each byte of a value encoded that could mean anything. A `url` without
/// a path gets one: in 0.3 nothing is not a path.
pub(crate) fn target(parameters: &[(&str, &str)]) -> String {
    let encode = |value: &str| -> String {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        };
        value.bytes().map(byte).collect()
    };
    let bare = |key: &str, value: &str| key == "url" && value.matches('/').count() == 2;
    let pairs = parameters.iter().map(|(key, value)| {
        let slash = if bare(key, value) { "/" } else { "" };
        format!("{key}={}{slash}", encode(value))
    });
    format!("/fetch?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// Two canaries on one port, on both loopbacks; only the first where the machine has no IPv6, and that is said.
#[expect(clippy::print_stderr, reason = "cargo test shows it")]
pub(crate) async fn canaries() -> Vec<Canary> {
    let first = Canary::start().await;
    let port = first.port();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("IPv6 is off: nobody listens on [::1]:{port}");
        return vec![first];
    }
    vec![Canary::at(&format!("[::1]:{port}")).await, first]
}

/// Nobody came.
pub(crate) fn untouched(canaries: &[Canary]) {
    for canary in canaries {
        assert_eq!(canary.connections(), 0, "{}", canary.url());
    }
}

/// Whether this is the event of that block; `explain` ends it with a line's end.
fn is_denial(line: &Value, block: &str) -> bool {
    line["event"] == "denied" && line["text"].as_str() == block.strip_suffix('\n')
}
