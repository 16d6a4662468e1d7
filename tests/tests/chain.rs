//! Components call one another inside their app, and never through a socket.

use runner_tests::{App, Server, without_id};
use serde_json::Value;

/// `front` on every path, `back` without a public route; `front` may call what `rules` say.
fn app(front: &str, rules: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"front\"\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"back\"\n\
         [component.front]\nsource = \"guest:{front}\"\nallowed_outbound_hosts = [{rules}]\n\
         [component.back]\nsource = \"guest:probe\"\n"
    ))
}

/// Both versions of `wasi:http`, each with the name of its way out.
const BOTH: [(&str, &str); 2] = [
    ("probe", "wasi:http/outgoing-handler.handle"),
    ("probe3", "wasi:http/client.send"),
];

async fn fetch(server: &Server, query: &str) -> Value {
    server.get(&format!("/fetch?{query}")).await.json()
}

fn header<'a>(seen: &'a Value, name: &str) -> Option<&'a str> {
    let headers = seen["headers"].as_array().expect("an array of pairs");
    headers.iter().find(|pair| pair[0] == name)?[1].as_str()
}

/// What the callee was told, from the report of its caller.
fn inner(report: &Value) -> Value {
    let body = report["body"]
        .as_str()
        .unwrap_or_else(|| panic!("no body: {report}"));
    serde_json::from_str(body).expect("JSON")
}

/// What its caller read of an error of the runtime.
fn told(report: &Value) -> String {
    without_id(report["body"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_component_reaches_its_own_app_by_a_relative_url_and_as_self() {
    for (guest, _) in BOTH {
        let app = app(guest, "\"http://self\"");
        let server = Server::start(&app, &[]).await;
        for url in [
            "/hello",
            "http://self/hello",
            "http://SELF/hello",
            "https://self/hello",
        ] {
            let report = fetch(&server, &format!("url={url}")).await;
            assert_eq!(
                (&report["status"], &report["body"]),
                (&200.into(), &format!("hello from {guest}\n").into()),
                "{guest} {url}: {report}"
            );
        }
    }
}

#[tokio::test]
async fn a_private_component_is_reached_by_its_name() {
    for (guest, _) in BOTH {
        let app = app(guest, "\"http://back.spin.internal\"");
        let server = Server::start(&app, &[]).await;
        for url in [
            "http://back.spin.internal/hello",
            "http://BACK.spin.internal/hello",
            "https://back.spin.internal/hello",
        ] {
            let report = fetch(&server, &format!("url={url}")).await;
            assert_eq!(
                (&report["status"], &report["body"]),
                (&200.into(), &"hello from probe\n".into()),
                "{guest} {url}: {report}"
            );
        }
        let line = server
            .logged(|line| line["event"] == "request" && line["component"] == "back")
            .await;
        assert_eq!(
            [&line["client"], &line["route"]],
            [&Value::Null, &Value::Null]
        );
        assert_eq!(line["path"], "/hello");
    }
}

#[tokio::test]
async fn a_name_with_a_star_grants_every_component() {
    let app = app("probe", "\"http://*.spin.internal\"");
    let server = Server::start(&app, &[]).await;
    for component in ["front", "back"] {
        let report = fetch(
            &server,
            &format!("url=http://{component}.spin.internal/hello"),
        )
        .await;
        assert_eq!(report["status"], 200, "{component}: {report}");
    }
    let report = fetch(&server, "url=http://nobody.spin.internal/hello").await;
    assert_ne!(report["status"], 200, "{report}");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_also_inside_the_app() {
    for (guest, call) in BOTH {
        let rows = [
            ("", "/hello", "http://self"),
            ("", "http://self/hello", "http://self"),
            (
                "",
                "http://back.spin.internal/hello",
                "http://back.spin.internal",
            ),
            (
                "\"http://self\"",
                "http://back.spin.internal/hello",
                "http://back.spin.internal",
            ),
            ("\"http://back.spin.internal\"", "/hello", "http://self"),
            (
                "\"http://front.spin.internal\"",
                "http://back.spin.internal/hello",
                "http://back.spin.internal",
            ),
            (
                "\"https://*:*\"",
                "http://back.spin.internal/hello",
                "http://back.spin.internal",
            ),
        ];
        for (rules, url, destination) in rows {
            let app = app(guest, rules);
            let server = Server::start(&app, &[]).await;

            let report = fetch(&server, &format!("url={url}")).await;

            assert_eq!(
                report["error"], "HTTP-request-denied",
                "{guest} {rules} {url}: {report}"
            );
            let line = server.logged(|line| line["event"] == "denied").await;
            assert_eq!(
                line["message"],
                format!("front may not connect to {destination}"),
                "{rules} {url}"
            );
            assert_eq!(
                [&line["component"], &line["destination"], &line["call"]],
                ["front", destination, call]
            );
            assert_eq!(line["fix"], format!("runner allow front {destination}"));
            let ran = |line: &Value| line["event"] == "request" && line["client"] == Value::Null;
            assert!(
                !server.log().iter().any(ran),
                "nobody was called: {:#?}",
                server.log()
            );
        }
    }
}

#[tokio::test]
async fn self_knows_public_routes_only() {
    let app = App::new(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/fetch\"\ncomponent = \"front\"\n\
         [[trigger.http]]\nroute = { private = true }\ncomponent = \"back\"\n\
         [component.front]\nsource = \"guest:probe\"\nallowed_outbound_hosts = [\"http://self\"]\n\
         [component.back]\nsource = \"guest:probe\"\n",
    );
    let server = Server::start(&app, &[]).await;
    for path in ["/back", "/hello", "/back/hello"] {
        for url in [path.to_owned(), format!("http://self{path}")] {
            let report = fetch(&server, &format!("url={url}")).await;
            assert_eq!(
                (&report["status"], told(&report)),
                (&404.into(), "Not Found".to_owned()),
                "{url}"
            );
        }
    }
    let back = |line: &Value| line["event"] == "request" && line["component"] == "back";
    assert!(!server.stop().await.log.iter().any(back));
}

#[tokio::test]
async fn a_host_header_of_a_client_never_reaches_a_component_by_its_name() {
    let app = app("probe", "");
    let server = Server::start(&app, &[]).await;
    for host in [
        "back.spin.internal",
        "BACK.Spin.Internal",
        "back.spin.internal:80",
        "back.spin.internal.",
        "front.spin.internal",
    ] {
        let request = http::Request::get("/hello").header("host", host);
        let request = request.body(Default::default()).expect("a request");
        let reply = server.connect().await.send(request).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.reason()),
            (404, "Not Found"),
            "{host}"
        );
    }
    let log = server.stop().await.log;
    let ran: Vec<_> = log
        .iter()
        .filter(|line| line["event"] == "request" && line["component"] != Value::Null)
        .collect();
    assert!(ran.is_empty(), "{ran:#?}");
}

#[tokio::test]
async fn a_callee_is_told_that_the_call_came_from_inside() {
    for (guest, _) in BOTH {
        let app = app(guest, "\"http://self\", \"http://back.spin.internal\"");
        let server = Server::start(&app, &[]).await;
        for (url, full) in [
            (
                "http://back.spin.internal/headers?a=1",
                "http://back.spin.internal/headers?a=1",
            ),
            ("http://self/headers", "http://self/headers"),
            ("/headers", "http://self/headers"),
        ] {
            let seen = inner(&fetch(&server, &format!("url={url}&header=x-mine:1")).await);

            for (name, value) in [
                ("spin-client-addr", Some("0.0.0.0:0")),
                ("spin-full-url", Some(full)),
                ("spin-path-info", Some("/headers")),
                ("spin-matched-route", Some("/...")),
                ("x-mine", Some("1")),
                ("host", None),
            ] {
                assert_eq!(header(&seen, name), value, "{guest} {url} {name}: {seen}");
            }
        }
    }
}

#[tokio::test]
async fn what_only_the_host_may_say_is_taken_from_a_caller_too() {
    for (guest, _) in BOTH {
        let app = app(guest, "\"http://back.spin.internal\"");
        let server = Server::start(&app, &[]).await;
        let claims = [
            "x-forwarded-for",
            "x-forwarded-host",
            "forwarded",
            "x-real-ip",
            "spin-client-addr",
            "spin_client_addr",
            "spin-full-url",
            "spin-path-match-id",
        ];
        let headers: String = claims
            .iter()
            .map(|name| format!("&header={name}:6.6.6.6"))
            .collect();

        let seen = inner(
            &fetch(
                &server,
                &format!("url=http://back.spin.internal/headers{headers}"),
            )
            .await,
        );

        assert!(!seen.to_string().contains("6.6.6.6"), "{guest}: {seen}");
    }
}

#[tokio::test]
async fn a_body_goes_through_a_chain_both_ways() {
    for (guest, _) in BOTH {
        let app = app(guest, "\"http://back.spin.internal\"");
        let server = Server::start(&app, &[]).await;
        let report = fetch(
            &server,
            "url=http://back.spin.internal/echo&method=POST&body-bytes=4096",
        )
        .await;
        assert_eq!(report["status"], 200, "{guest}");
        assert_eq!(report["body"].as_str().map(str::len), Some(4096), "{guest}");
        let reply = server
            .get("/proxy?url=http://back.spin.internal/big%3Fbytes=3000000")
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.len()),
            (200, 3_000_000),
            "{guest}"
        );
    }
}

#[tokio::test]
async fn a_failure_of_a_callee_is_a_response_to_its_caller() {
    let app = app("probe", "\"http://back.spin.internal\"");
    let server = Server::start(&app, &[]).await;
    let report = fetch(&server, "url=http://back.spin.internal/trap").await;
    assert_eq!(
        (&report["status"], told(&report)),
        (&500.into(), "Internal Server Error".to_owned())
    );
    let report = fetch(&server, "url=http://back.spin.internal/trap-after-head").await;
    assert_eq!(
        (&report["status"], &report["body"]),
        (&200.into(), &"xxxxxx".into())
    );
    assert_eq!(report["at"], "body", "it breaks off: {report}");
}

#[tokio::test]
async fn a_component_that_calls_itself_is_stopped_at_the_eighth_call() {
    for (guest, _) in BOTH {
        let app = app(guest, "\"http://self\"");
        let server = Server::start(&app, &[]).await;
        for (calls, status, body) in [
            (8, 200, format!("hello from {guest}\n")),
            (9, 508, "Loop Detected".into()),
            (20, 508, "Loop Detected".into()),
        ] {
            let path = format!("{}/hello", "/proxy?url=".repeat(calls));
            let reply = server.get(&path).await;
            assert_eq!(
                (reply.status.as_u16(), reply.reason()),
                (status, body),
                "{guest}: {calls} calls"
            );
        }
        assert_eq!(server.get("/hello").await.status, 200);
    }
}
