//! Rules for less than a whole server, and headers that are added at the door.

use runner_tests::{App, Canary, Server, run};

use crate::scene::fetch;

/// Component `probe`, one of the two guests, with this list; a variable `token` that must be given.
fn app(guest: &str, list: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [variables]\ntoken = {{ required = true, secret = true }}\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"guest:{guest}\"\nallowed_outbound_hosts = [{list}]\n"
    ))
}

/// The app with a guest of each version, served; the secret is `hunter2`.
async fn served(list: &str) -> Vec<(App, Server)> {
    let mut both = Vec::new();
    for guest in ["probe", "probe3"] {
        let app = app(guest, list);
        let server = Server::start(&app, &["--variable", "token=hunter2"]).await;
        both.push((app, server));
    }
    both
}

#[tokio::test]
async fn a_rule_for_a_path_and_a_method_allows_those_and_nothing_else() {
    let canary = Canary::start().await;
    let url = canary.url();
    let list = format!("{{ url = \"{url}/v1/\", methods = [\"GET\", \"HEAD\"] }}");
    let rows = [
        ("GET", "/v1/items?x=1", true),
        ("HEAD", "/v1/", true),
        ("POST", "/v1/items", false),
        ("GET", "/v2/items", false),
        ("GET", "/", false),
        ("GET", "/v1", false),
        ("GET", "/v1/../v2", false),
        ("GET", "/v1/%2e%2e/v2", false),
        ("GET", "/v1/..%2fv2", false),
        ("GET", "/v1/%252e%252e/v2", false),
        ("GET", "/v1/..;/v2", false),
        ("GET", "//v1/items", false),
    ];
    for (app, server) in served(&list).await {
        for (method, path, allowed) in rows {
            let before = canary.connections();
            let to = format!("{url}{path}");
            let report = fetch(&server, &[("url", &to), ("method", method)]).await;
            let args = [
                "explain",
                "probe",
                &to,
                "--method",
                method,
                "--variable",
                "token=x",
            ];
            let said = run(app.path(), &args).await;
            let sent = canary.connections() - before;
            if allowed {
                assert_eq!(
                    (&report["status"], said.code, sent),
                    (&200.into(), 0, 1),
                    "{method} {path}: {report}"
                );
                continue;
            }
            let error = &report["error"];
            assert_eq!(
                (error, said.code, sent),
                (&"HTTP-request-denied".into(), 1, 0),
                "{method} {path}: {report}"
            );
            let block = said.stdout.trim_end().to_owned();
            let plain = path.split('?').next().unwrap_or_default();
            assert!(
                block.starts_with(&format!("denied: probe may not {method} {url}{plain}\n")),
                "{block}"
            );
            server
                .logged(|line| line["event"] == "denied" && line["text"] == block.as_str())
                .await;
        }
    }
}

#[tokio::test]
async fn the_suggested_command_allows_that_method_and_path_alone() {
    let canary = Canary::start().await;
    let url = canary.url();
    let app = app(
        "probe",
        &format!("{{ url = \"{url}/v1/\", methods = [\"GET\"] }}"),
    );
    let server = Server::start(&app, &["--variable", "token=x", "--watch"]).await;
    let call = [("url", &*format!("{url}/v1/items")), ("method", "POST")];
    assert_eq!(fetch(&server, &call).await["error"], "HTTP-request-denied");
    let denied = server.logged(|line| line["event"] == "denied").await;
    let fix = denied["fix"].as_str().expect("in the event");
    let words: Vec<&str> = fix
        .split(' ')
        .skip(1)
        .chain(["--variable", "token=x"])
        .collect();
    let said = run(app.path(), &words).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{fix}");
    server.logged(|line| line["event"] == "reloaded").await;
    assert_eq!(fetch(&server, &call).await["status"], 200);
    let other = [("url", &*format!("{url}/v1/others")), ("method", "POST")];
    assert_eq!(fetch(&server, &other).await["error"], "HTTP-request-denied");
}

#[tokio::test]
async fn a_header_is_injected_at_the_door_and_the_guest_never_has_it() {
    let canary = Canary::start().await;
    let url = canary.url();
    let list = format!(
        "{{ url = \"{url}/key/\", inject = {{ header = \"x-api-key\", value = \"{{{{ token }}}}\" }} }}, \
         {{ url = \"{url}/v1/\", inject = {{ header = \"Authorization\", value = \"Bearer {{{{ token }}}}\" }} }}, \
         \"{url}\""
    );
    for (_, server) in served(&list).await {
        let before = canary.heads().len();
        for (path, header) in [
            ("/v1/x", "x-own:1"),
            ("/v1/x", "authorization:mine"),
            ("/v2", "x-own:1"),
        ] {
            let report = fetch(
                &server,
                &[("url", &format!("{url}{path}")), ("header", header)],
            )
            .await;
            assert_eq!(report["status"], 200, "{report}");
        }
        let heads = canary.heads()[before..].to_vec();
        let tokens: Vec<Vec<&str>> = heads
            .iter()
            .map(|head| {
                head.lines()
                    .filter(|line| line.starts_with("authorization"))
                    .collect()
            })
            .collect();
        let ours = vec!["authorization: Bearer hunter2"];
        assert_eq!(tokens, [ours.clone(), ours, vec![]], "{heads:?}");
        let key = [
            ("url", &*format!("{url}/key/")),
            ("header", "x_api_key:mine"),
            ("trailer", "x-api-key:mine"),
            ("method", "POST"),
            ("body", "x"),
        ];
        assert_eq!(fetch(&server, &key).await["status"], 200);
        let head = canary.heads().pop().expect("it came");
        assert!(
            head.contains("\r\nx-api-key: hunter2\r\n") && !head.contains("mine"),
            "{head}"
        );
        let system = server.get("/headers").await;
        assert!(!system.body.contains("hunter2"), "{}", system.body);
        let stopped = server.stop().await;
        let log = format!("{:?}", stopped.log);
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[tokio::test]
async fn a_secret_is_in_no_message_about_the_rule_that_has_it() {
    for (value, message) in [
        (
            "Bearer {{ token }}\\n",
            "would inject a value that no header can have",
        ),
        ("{{ tokn }}", "the variable `tokn` is not declared"),
    ] {
        let list = format!(
            "{{ url = \"https://a.com\", inject = {{ header = \"authorization\", value = \"{value}\" }} }}"
        );
        let app = app("probe", &list);
        for command in ["check", "up"] {
            let said = run(app.path(), &[command, "--variable", "token=hunter2"]).await;
            assert_eq!(said.code, 2, "{said:?}");
            assert!(said.stderr.contains(message), "{said:?}");
            assert!(!said.stderr.contains("hunter2"), "{said:?}");
        }
    }
}
