//! The account of decisions: the audit log, what to grant, and what a manifest expects of its own rules.

use std::fs;
use std::process::Stdio;

use runner_tests::{App, Canary, Server, get, run};
use serde_json::Value;

/// The guest `probe` with one rule.
fn app(rule: &str) -> App {
    App::probe(&format!("allowed_outbound_hosts = [\"{rule}\"]"))
}

async fn fetch(server: &Server, url: &str) -> Value {
    let encoded = url
        .replace('%', "%25")
        .replace(':', "%3a")
        .replace('/', "%2f");
    server.get(&format!("/fetch?url={encoded}")).await.json()
}

fn lines(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    text.lines().map(line).collect()
}

#[tokio::test]
async fn every_decision_is_a_line_of_the_audit_log() {
    let canary = Canary::start().await;
    let app = app(&canary.url());
    let audit = app.path().join("audit.jsonl");
    fs::write(&audit, "{\"before\":true}\n").expect("writable");
    let server = Server::start(&app, &["--audit-log", &audit.display().to_string()]).await;
    let denied = format!("http://127.0.0.1:{}", canary.port() ^ 1);
    for _ in 0..3 {
        assert_eq!(
            fetch(&server, &format!("{}/a?secret=1", canary.url())).await["status"],
            200
        );
        assert_eq!(
            fetch(&server, &format!("{denied}/b")).await["error"],
            "HTTP-request-denied"
        );
    }
    let digest =
        server.logged(|line| line["event"] == "listening").await["components"][0]["digest"].clone();
    assert_eq!(server.stop().await.code, 0);
    let text = fs::read_to_string(&audit).expect("written");
    assert!(!text.contains("secret=1"), "{text}");
    let mut found = lines(&text);
    assert_eq!(found.remove(0)["before"], true, "what was there is kept");
    assert_eq!(found.len(), 6, "none is folded");
    for (n, line) in found.iter().enumerate() {
        let (verdict, to, path) = match n % 2 {
            0 => ("allow", canary.url(), "/a"),
            _ => ("deny", denied.clone(), "/b"),
        };
        assert_eq!(line["event"], "decision");
        assert_eq!(
            (&line["component"], &line["digest"]),
            (&"probe".into(), &digest)
        );
        assert_eq!(
            (&line["verdict"], &line["method"]),
            (&verdict.into(), &"GET".into())
        );
        assert_eq!(
            (&line["destination"], &line["path"]),
            (&to.into(), &path.into())
        );
        let rule = (&line["rule"], &line["line"], &line["generation"]);
        assert_eq!(rule, (&canary.url().into(), &9.into(), &1.into()));
        assert!(
            line["file"]
                .as_str()
                .is_some_and(|file| file.ends_with("spin-like.toml"))
        );
        assert!(
            line["request"].is_string() && line["time"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_holds_up_no_request_and_what_is_lost_is_counted() {
    let canary = Canary::start().await;
    let app = app(&canary.url());
    let server = Server::start(&app, &["--audit-log", "/dev/full"]).await;
    for _ in 0..20 {
        assert_eq!(fetch(&server, &canary.url()).await["status"], 200);
    }
    let warning = server
        .logged(|line| line["event"] == "warning" && line["lost"].is_u64())
        .await;
    let message = warning["message"].as_str().expect("in the event");
    assert!(
        message.contains("were not written to the audit log `/dev/full`"),
        "{message}"
    );
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_no_request() {
    let canary = Canary::start().await;
    let app = app(&canary.url());
    let pipe = app.path().join("audit.pipe");
    let made = tokio::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .await;
    assert!(made.expect("mkfifo is there").success());
    let pipe = pipe.display().to_string();
    // Nobody has it open: that is said at once, and nothing waits.
    let refused = run(
        app.path(),
        &["up", "--listen", "127.0.0.1:0", "--audit-log", &pipe],
    )
    .await;
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("the audit log"), "{refused:?}");
    // Somebody has it open, and does not read.
    let mut idle = tokio::process::Command::new("sh");
    let idle = idle.args(["-c", &format!("exec 3<'{pipe}'; echo open; exec sleep 600")]);
    let mut idle = idle
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh is there");
    let write = tokio::fs::OpenOptions::new()
        .write(true)
        .open(&pipe)
        .await
        .expect("it is opened");
    let server = Server::start(&app, &["--audit-log", &pipe]).await;
    // More than a pipe takes.
    for _ in 0..600 {
        assert_eq!(fetch(&server, &canary.url()).await["status"], 200);
    }
    server
        .logged(|line| line["event"] == "warning" && line["lost"].is_u64())
        .await;
    assert_eq!(server.stop().await.code, 0);
    drop(write);
    idle.kill().await.expect("it runs");
}

#[tokio::test]
async fn what_was_denied_is_observed_and_becomes_a_patch() {
    let canary = Canary::start().await;
    let app = app("http://127.0.0.1:1");
    let before = app.text();
    let patch = app.path().join("grants.patch");
    let server = Server::start(&app, &["--observe", &patch.display().to_string()]).await;
    for url in [
        &canary.url(),
        &canary.url(),
        "http://[::1]:9",
        "http://user@a.com",
    ] {
        assert_eq!(
            fetch(&server, url).await["error"],
            "HTTP-request-denied",
            "{url}"
        );
    }
    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
    let told = stopped.log.iter().find(|line| line["event"] == "observed");
    assert!(told.is_some(), "{:?}", stopped.log);
    assert_eq!(app.text(), before, "never applied by itself");
    let written = fs::read_to_string(&patch).expect("written");
    let added: Vec<&str> = written
        .lines()
        .filter(|line| line.starts_with('+'))
        .collect();
    assert_eq!(added.len(), 2, "{written}");
    assert_eq!(
        added[1],
        format!(
            "+allowed_outbound_hosts = [\"http://127.0.0.1:1\", \"{}\", \"http://[::1]:9\"]",
            canary.url()
        )
    );
    assert!(
        written.contains("# probe: no rule can allow http://***@a.com\n"),
        "{written}"
    );
    let applied = tokio::process::Command::new("git")
        .args(["apply", "-p1", "grants.patch"])
        .current_dir(app.path())
        .status()
        .await;
    assert!(applied.expect("git is there").success());
    let server = Server::start(&app, &["--observe", &patch.display().to_string()]).await;
    assert_eq!(fetch(&server, &canary.url()).await["status"], 200);
    assert_eq!(server.stop().await.code, 0);
    let written = fs::read_to_string(&patch).expect("written");
    assert_eq!(
        written,
        "# No grant is missing: nothing was denied that a rule would allow.\n"
    );
}

#[tokio::test]
async fn the_patch_of_one_grant_shows_no_value_beside_it() {
    let app = App::probe("environment = { TOKEN = \"hunter2\" }");
    let patch = app.path().join("grants.patch");
    let server = Server::start(&app, &["--observe", &patch.display().to_string()]).await;
    assert_eq!(
        fetch(&server, "http://127.0.0.1:1").await["error"],
        "HTTP-request-denied"
    );
    assert_eq!(server.stop().await.code, 0);
    assert_eq!(
        fs::read_to_string(&patch).expect("written"),
        "\
# 1 grant that would have allowed what was denied. Nothing has been changed.
# Read each line: a grant is for ever, and for everything this component does.
# To apply all of it, in the folder of the manifest: patch -p1 < this file
--- a/spin-like.toml
+++ b/spin-like.toml
@@ -9,0 +10 @@
+allowed_outbound_hosts = [\"http://127.0.0.1:1\"]
"
    );
    let applied = tokio::process::Command::new("patch")
        .args(["-p1", "-i", "grants.patch"])
        .current_dir(app.path())
        .stdout(Stdio::null())
        .status()
        .await;
    assert!(applied.expect("patch is there").success());
    assert_eq!(
        run(app.path(), &["explain", "probe", "http://127.0.0.1:1"])
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn a_server_that_observes_is_asked_while_it_runs() {
    let canary = Canary::start().await;
    let app = app("http://127.0.0.1:1");
    let nobody = run(app.path(), &["suggest"]).await;
    assert_eq!(nobody.code, 3, "{nobody:?}");
    let server = Server::start(&app, &[]).await;
    let silent = run(app.path(), &["suggest"]).await;
    assert_eq!(
        (silent.code, silent.stderr.as_str()),
        (
            1,
            "error: the running server does not observe\n\
             help: start it with `runner up --observe FILE`, and use the app\n"
        )
    );
    assert_eq!(server.stop().await.code, 0);
    let patch = app.path().join("grants.patch");
    let server = Server::start(&app, &["--observe", &patch.display().to_string()]).await;
    assert_eq!(
        fetch(&server, &canary.url()).await["error"],
        "HTTP-request-denied"
    );
    let said = run(app.path(), &["suggest"]).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let added = format!(
        "\n+allowed_outbound_hosts = [\"http://127.0.0.1:1\", \"{}\"]\n",
        canary.url()
    );
    assert!(said.stdout.contains(&added), "{}", said.stdout);
    let json = run(app.path(), &["suggest", "--format", "json"]).await;
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(
        (&json["schema"], &json["servers"][0]["grants"]),
        (&1.into(), &1.into())
    );
    assert!(!patch.exists(), "at the end only");
    assert_eq!(server.stop().await.code, 0);
    assert_eq!(
        fs::read_to_string(&patch).expect("written").trim(),
        said.stdout.trim()
    );
}

#[tokio::test]
async fn a_manifest_expects_what_its_own_rules_decide() {
    let rules = "allowed_outbound_hosts = [\"https://*.a.com\", { url = \"https://b.com/v1/\", methods = [\"GET\"] }]\n\
        [[expect]]\ncomponent = \"probe\"\n";
    let fine = "allow = [\"https://x.a.com/any\", \"https://b.com/v1/items\"]\n\
        deny = [\"https://a.com\", \"POST https://b.com/v1/items\", \"http://169.254.169.254/\", \"http://u@x.a.com\"]\n";
    let said = run(App::probe(&format!("{rules}{fine}")).path(), &["check"]).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let wrong = "allow = [\"https://a.com\"]\ndeny = [\"https://x.a.com\"]\n";
    let said = run(App::probe(&format!("{rules}{wrong}")).path(), &["check"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    let expected = "\
error: component `probe` may not make a call that is expected to be allowed
  --> spin-like.toml:12:10
   |
12 | allow = [\"https://a.com\"]
   |          ^^^^^^^^^^^^^^^ denied
   |
  ::: spin-like.toml:9:27
   |
 9 | allowed_outbound_hosts = [\"https://*.a.com\", { url = \"https://b.com/v1/\", methods = [\"GET\"] }]
   |                           ----------------- this rule allows what is below `a.com`, not `a.com` itself
   |
help: add a rule to `probe` that covers it, or leave it out here

error: component `probe` may make a call that is expected to be denied
  --> spin-like.toml:13:9
   |
13 | deny = [\"https://x.a.com\"]
   |         ^^^^^^^^^^^^^^^^^ allowed
   |
  ::: spin-like.toml:9:27
   |
 9 | allowed_outbound_hosts = [\"https://*.a.com\", { url = \"https://b.com/v1/\", methods = [\"GET\"] }]
   |                           ----------------- this rule allows it
   |
help: make the rule narrower, or leave the call out here
";
    assert_eq!(said.stderr, expected);
}

#[tokio::test]
async fn a_planted_secret_is_in_no_log_no_error_and_no_account() {
    const SECRET: &str = "hunter2-planted";
    let canary = Canary::start().await;
    let url = canary.url();
    let app = App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [variables]\ntoken = {{ required = true, secret = true }}\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"guest:probe\"\nallowed_outbound_hosts = [\n\
         \"https://{{{{ token }}}}.example.com\",\n\
         {{ url = \"{url}/v1/\", methods = [\"GET\"], inject = {{ header = \"x-key\", value = \"{{{{ token }}}}\" }} }},\n]\n\
         [component.probe.variables]\nown = \"{{{{ token }}}}\"\n\
         [[expect]]\ncomponent = \"probe\"\ndeny = [\"{url}/v1/x\"]\n"
    ));
    let file = |name: &str| app.path().join(name).display().to_string();
    let (audit, observed) = (file("audit.jsonl"), file("grants.patch"));
    let variable = format!("token={SECRET}");
    let flags = [
        "--variable",
        &variable,
        "--audit-log",
        &audit,
        "--observe",
        &observed,
        "--admin",
        "127.0.0.1:0",
    ];
    let server = Server::try_start_with(&app, &flags, &[("RUNNER_LOG", "trace")]).await;
    let server = server.unwrap_or_else(|stopped| panic!("{stopped:?}"));
    let sent = fetch(&server, &format!("{url}/v1/x")).await;
    assert_eq!(sent["status"], 200, "{sent}");
    for denied in [
        &format!("{url}/v2"),
        "https://other.example.com",
        "https://a@b.com",
    ] {
        assert_eq!(fetch(&server, denied).await["error"], "HTTP-request-denied");
    }
    server.get("/trap").await;
    assert!(canary.heads()[0].contains(SECRET), "it was sent");
    let metrics = get(&format!("{}/metrics", server.admin().await)).await;
    assert_eq!(metrics.status, 200);
    let stopped = server.stop().await;
    let mut said = vec![format!("{:?}", stopped.log), metrics.body];
    said.extend([&audit, &observed].map(|file| fs::read_to_string(file).expect("written")));
    for args in [
        &["check", "--format", "json"][..],
        &["check"],
        &["explain", "probe", &format!("{url}/v1/x")],
        &[
            "explain",
            "probe",
            "https://x.example.com",
            "--format",
            "json",
        ],
        &[
            "up",
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            "/missing",
            "--tls-key",
            "/missing",
        ],
    ] {
        let args: Vec<&str> = args
            .iter()
            .copied()
            .chain(["--variable", &variable])
            .collect();
        let finished = run(app.path(), &args).await;
        assert!(!(finished.stdout.is_empty() && finished.stderr.is_empty()));
        said.push(format!("{args:?} {finished:?}").replace(&format!("\"{variable}\""), ""));
    }
    for text in said {
        assert!(!text.contains(SECRET), "{text}");
    }
}
