//! An app is served: routes, guests of both versions, streams, failures.

use http::Request;
use http_body_util::Full;
use runner_tests::{App, Reply, Server, Wire};
use serde_json::Value;

/// Names with their values.
type Headers = &'static [(&'static str, &'static str)];

/// Both versions of `wasi:http`.
const BOTH: [&str; 2] = ["probe", "probe3"];

/// A guest on every path, with these lines in its table.
fn app(guest: &str, lines: &str) -> App {
    App::new(&format!(
        "{}[[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n\
         [component.guest]\nsource = \"guest:{guest}\"\n{lines}\n",
        head()
    ))
}

fn head() -> &'static str {
    "spin_manifest_version = 2\n[application]\nname = \"story\"\n"
}

/// One request on a connection of its own, to a host of this name.
async fn get(server: &Server, host: &str, path: &str) -> Reply {
    let request = Request::get(path).header("host", host);
    let request = request.body(Full::default()).expect("a request");
    server.connect().await.send(request).await
}

/// The answer to `GET target`, to its last byte, without the date.
async fn bytes(server: &Server, target: &str) -> String {
    let mut wire = Wire::open(server.address()).await;
    let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    wire.send(request.as_bytes()).await;
    let answer = wire.rest().await;
    let kept = answer
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("date: "));
    kept.collect()
}

/// The line of a request with this path.
async fn record(server: &Server, path: &str) -> Value {
    server
        .logged(|line| line["event"] == "request" && line["path"] == path)
        .await
}

#[tokio::test]
async fn a_component_answers_and_the_request_is_in_the_log() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;

    let reply = server.get("/hello").await;

    assert_eq!(
        (reply.status.as_u16(), &*reply.body),
        (200, "hello from probe\n")
    );
    let line = record(&server, "/hello").await;
    assert_eq!(line["component"], "probe");
    assert_eq!(line["route"], "/...");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes"], 17);
    assert_eq!(line["outcome"], "complete");
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn guests_of_both_versions_answer() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;

        let reply = server.get("/hello").await;

        assert_eq!(
            (reply.status.as_u16(), reply.body),
            (200, format!("hello from {guest}\n"))
        );
    }
}

#[tokio::test]
async fn a_guest_is_told_by_which_route_and_by_whom_it_was_asked() {
    let rows: [(&str, &str, Headers); 4] = [
        (
            "exact.test",
            "/headers",
            &[("spin-component-route", "/headers"), ("spin-path-info", "")],
        ),
        (
            "name.test",
            "/:what",
            &[
                ("spin-component-route", "/:what"),
                ("spin-path-info", ""),
                ("spin-path-match-what", "headers"),
            ],
        ),
        (
            "below.test",
            "/headers/...",
            &[("spin-component-route", "/headers"), ("spin-path-info", "")],
        ),
        (
            "all.test",
            "/...",
            &[
                ("spin-component-route", "/"),
                ("spin-path-info", "/headers"),
            ],
        ),
    ];
    for guest in BOTH {
        let mut manifest = format!("{}[component.guest]\nsource = \"guest:{guest}\"\n", head());
        for (host, route, _) in rows {
            manifest += &format!(
                "[[trigger.http]]\nroute = \"{route}\"\nhost = \"{host}\"\ncomponent = \"guest\"\n"
            );
        }
        let app = App::new(&manifest);
        let server = Server::start(&app, &[]).await;
        for (host, route, differs) in rows {
            let reply = get(&server, host, "/headers?q=1").await.json();

            let line = server
                .logged(|line| line["event"] == "request" && line["route"] == route)
                .await;
            let (url, client) = (
                format!("http://{host}/headers?q=1"),
                line["client"].as_str().expect("over a socket"),
            );
            let mut expected = vec![
                ("spin-base-path", "/"),
                ("spin-client-addr", client),
                ("spin-full-url", &url),
                ("spin-matched-route", route),
                ("spin-raw-component-route", route),
            ];
            expected.extend(differs);
            expected.sort_unstable();
            assert_eq!(spin_headers(&reply), expected, "{guest} {route}");
            assert_eq!(
                [
                    &reply["method"],
                    &reply["scheme"],
                    &reply["authority"],
                    &reply["path"]
                ],
                ["GET", "http", host, "/headers?q=1"]
            );
        }
    }
}

/// The `spin-*` headers that a guest has seen, sorted.
fn spin_headers(seen: &Value) -> Vec<(&str, &str)> {
    let headers = seen["headers"].as_array().expect("an array of pairs");
    let pairs = headers.iter().map(|pair| {
        (
            pair[0].as_str().expect("text"),
            pair[1].as_str().expect("text"),
        )
    });
    let mut pairs: Vec<_> = pairs
        .filter(|(name, _)| name.starts_with("spin-"))
        .collect();
    pairs.sort_unstable();
    pairs
}

#[tokio::test]
async fn the_route_that_says_most_of_a_path_answers_it() {
    let routes = [
        ("", "/"),
        ("", "/users/me"),
        ("", "/users/:id"),
        ("", "/users/:id/orders"),
        ("", "/users/..."),
        ("", "/users/me/private/..."),
        ("admin.test", "/users/..."),
    ];
    let mut manifest = head().to_owned();
    for (host, route) in routes {
        let host_line = if host.is_empty() {
            String::new()
        } else {
            format!("host = \"{host}\"\n")
        };
        manifest += &format!(
            "[[trigger.http]]\nroute = \"{route}\"\n{host_line}static_response = {{ body = \"{host}{route}\" }}\n"
        );
    }
    let app = App::new(&manifest);
    let server = Server::start(&app, &[]).await;
    for (host, path, expected) in [
        ("a.test", "/", "/"),
        ("a.test", "/users/me", "/users/me"),
        ("a.test", "/users/you", "/users/:id"),
        ("a.test", "/users/you/orders", "/users/:id/orders"),
        ("a.test", "/users/me/orders", "/users/:id/orders"),
        ("a.test", "/users/me/private", "/users/me/private/..."),
        ("a.test", "/users/me/private/x/y", "/users/me/private/..."),
        ("a.test", "/users/you/other", "/users/..."),
        ("a.test", "/users", "/users/..."),
        ("a.test", "/Users/me", "Not Found"),
        ("a.test", "/other", "Not Found"),
        ("admin.test", "/users/me", "admin.test/users/..."),
        ("ADMIN.test:80", "/users/me", "admin.test/users/..."),
        ("admin.test", "/", "/"),
        ("x.admin.test", "/users/me", "/users/me"),
    ] {
        let reply = get(&server, host, path).await;
        let status = if expected == "Not Found" { 404 } else { 200 };
        assert_eq!(
            (reply.status.as_u16(), &*reply.reason()),
            (status, expected),
            "{host}{path}"
        );
    }
}

#[tokio::test]
async fn a_static_response_is_as_it_is_written() {
    let app = App::new(&format!(
        "{}[[trigger.http]]\nroute = \"/robots.txt\"\n\
         static_response = {{ status_code = 203, headers = {{ content-type = \"text/plain\" }}, body = \"User-agent: *\\n\" }}\n",
        head()
    ));
    let server = Server::start(&app, &[]).await;

    assert_eq!(
        bytes(&server, "/robots.txt").await,
        "HTTP/1.1 203 Non Authoritative Information\r\ncontent-type: text/plain\r\nconnection: close\r\n\
         content-length: 14\r\n\r\nUser-agent: *\n"
    );
}

#[tokio::test]
async fn a_response_has_the_guests_headers_the_date_and_the_framing() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;

        assert_eq!(
            bytes(
                &server,
                "/status?code=201&header=x-mine:1&header=x-mine:2&body=hi"
            )
            .await,
            "HTTP/1.1 201 Created\r\nx-mine: 1\r\nx-mine: 2\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "{guest}"
        );
        assert_eq!(
            bytes(&server, "/status?header=content-length:2&body=hi").await,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
            "{guest}"
        );
    }
}

#[tokio::test]
async fn a_private_route_is_not_there_for_the_outside() {
    let app = App::new(&format!(
        "{}[[trigger.http]]\nroute = \"/hello\"\ncomponent = \"shop\"\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"hidden\"\n\
         [component.shop]\nsource = \"guest:probe\"\n[component.hidden]\nsource = \"guest:probe\"\n",
        head()
    ));
    let server = Server::start(&app, &[]).await;
    let hosts = [
        "a",
        "self",
        "hidden",
        "hidden.spin.internal",
        "HIDDEN.SPIN.INTERNAL",
        "hidden.spin.internal:80",
        "hidden.spin.internal.",
        "shop.spin.internal",
    ];
    for host in hosts {
        for path in ["/", "/hidden", "/echo", "/hidden/hello"] {
            let reply = get(&server, host, path).await;
            assert_eq!(
                (reply.status.as_u16(), &*reply.reason()),
                (404, "Not Found"),
                "{host}{path}"
            );
        }
    }
    for host in [
        "hidden.spin.internal",
        "shop.spin.internal",
        "Hidden.Spin.Internal:80",
        "hidden.spin.internal.",
    ] {
        assert_eq!(get(&server, host, "/hello").await.status, 404, "{host}");
    }
    assert_eq!(get(&server, "a", "/hello").await.status, 200);

    let log = server.stop().await.log;
    let asked: Vec<_> = log
        .iter()
        .filter(|line| line["component"] != Value::Null)
        .collect();
    assert_eq!(
        asked.len(),
        1,
        "only `/hello` was answered by a guest: {asked:#?}"
    );
    assert_eq!(asked[0]["component"], "shop");
}

#[tokio::test]
async fn the_health_path_is_answered_unless_a_route_takes_it() {
    let path = "/.well-known/spin/health";
    let app = App::new(&format!(
        "{}[[trigger.http]]\nroute = \"/hello\"\ncomponent = \"shop\"\n[component.shop]\nsource = \"guest:probe\"\n",
        head()
    ));
    let server = Server::start(&app, &[]).await;
    let reply = server.get(path).await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (200, "OK"));

    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let reply = server.get(path).await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.body),
        (404, "the probe does not know this path\n")
    );
}

#[tokio::test]
async fn a_large_body_goes_through_and_comes_back_whole() {
    let body: String = (0..500_000u32).map(|n| format!("{n:010}")).collect();
    for (guest, path) in [
        ("probe", "/echo"),
        ("probe3", "/echo"),
        ("probe3", "/echo?handle=1"),
    ] {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;

        let reply = server.connect().await.post(path, body.clone()).await;

        assert_eq!(
            (reply.status.as_u16(), reply.body.len()),
            (200, 5_000_000),
            "{guest} {path}"
        );
        assert!(reply.body == body, "{guest} {path}: other bytes came back");
    }
}

#[tokio::test]
async fn what_a_client_has_sent_comes_back_before_it_sends_the_rest() {
    for (guest, path) in [
        ("probe", "/echo"),
        ("probe3", "/echo"),
        ("probe3", "/echo?handle=1"),
    ] {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        let mut wire = Wire::open(server.address()).await;

        wire.send(
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").as_bytes(),
        )
        .await;
        assert!(
            wire.head().await.starts_with("HTTP/1.1 200 OK\r\n"),
            "{guest} {path}"
        );
        assert!(wire.until("abc").await.ends_with("abc"), "{guest} {path}");
        wire.send(b"def").await;

        assert!(wire.until("def").await.ends_with("def"), "{guest} {path}");
    }
}

#[tokio::test]
async fn a_streamed_response_arrives_whole() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        for query in [
            "bytes=5000000&chunk=65536",
            "bytes=5000000&chunk=1000000",
            "bytes=3000&chunk=1",
            "bytes=0",
        ] {
            let reply = server.get(&format!("/big?{query}")).await;

            let expected = query["bytes=".len()..].split('&').next().expect("a number");
            assert_eq!(reply.body.len().to_string(), expected, "{guest} {query}");
            assert!(
                reply.body.bytes().all(|byte| byte == b'x'),
                "{guest} {query}"
            );
        }
    }
}

#[tokio::test]
async fn a_guest_that_fails_is_a_500_that_says_nothing_and_a_line_that_says_why() {
    let trapped = "trapped: wasm trap: wasm `unreachable` instruction executed";
    let rows: [(&str, &str, &str); 7] = [
        ("probe", "/trap", trapped),
        ("probe", "/panic", trapped),
        (
            "probe",
            "/recurse",
            "trapped: wasm trap: out of bounds memory access",
        ),
        ("probe", "/no-response", "returned without a response"),
        ("probe", "/exit?code=0", "exited with code 0"),
        (
            "probe",
            "/resources?n=100000",
            "held 10000 resources, and asked for one more",
        ),
        ("probe3", "/trap", trapped),
    ];
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        for (_, path, message) in rows.iter().filter(|row| row.0 == guest) {
            let reply = server.get(path).await;

            assert_eq!(
                (reply.status.as_u16(), &*reply.reason()),
                (500, "Internal Server Error"),
                "{guest} {path}"
            );
            let failed = failure(&server, path).await;
            assert_eq!(
                (&failed["component"], &failed["message"]),
                (&"guest".into(), &(*message).into()),
                "{path}"
            );
            assert_eq!(server.get("/hello").await.status, 200, "after {path}");
        }
        assert_eq!(server.stop().await.code, 0);
    }
}

/// What the log says of the failure of the request with this path.
async fn failure(server: &Server, path: &str) -> Value {
    let path = path.split('?').next().expect("a path");
    let record = record(server, path).await;
    let is_it = |line: &Value| line["event"] == "failed" && line["request"] == record["request"];
    server.logged(is_it).await
}

#[tokio::test]
async fn a_component_that_traps_as_soon_as_it_is_called_is_a_500() {
    let app = App::new(&format!(
        "{}[[trigger.http]]\nroute = \"/...\"\ncomponent = \"traps\"\n[component.traps]\nsource = '{}'\n",
        head(),
        runner_tests::guests().join("broken/traps.wasm").display()
    ));
    let server = Server::start(&app, &[]).await;
    let reply = server.get("/").await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.reason()),
        (500, "Internal Server Error")
    );
}

#[tokio::test]
async fn an_error_that_a_guest_answers_with_has_its_status() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        for (name, status, text) in [
            ("connection-refused", 502, "Bad Gateway"),
            ("connection-timeout", 502, "Bad Gateway"),
            ("HTTP-response-timeout", 502, "Bad Gateway"),
            ("HTTP-request-denied", 500, "Internal Server Error"),
            ("loop-detected", 508, "Loop Detected"),
            (
                "a%20secret%20of%20the%20guest",
                500,
                "Internal Server Error",
            ),
        ] {
            let reply = server.get(&format!("/error?name={name}")).await;
            assert_eq!(
                (reply.status.as_u16(), &*reply.reason()),
                (status, text),
                "{guest} {name}"
            );
        }
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_cut_and_never_ends_cleanly() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        for path in ["/trap-after-head", "/unfinished"] {
            let mut wire = Wire::open(server.address()).await;
            wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
                .await;

            let answer = wire.rest().await;

            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n"),
                "{guest} {path}: {answer:?}"
            );
            assert!(
                answer.ends_with("6\r\nxxxxxx\r\n"),
                "{guest} {path}: {answer:?}"
            );
            assert_eq!(
                record(&server, path).await["outcome"],
                "guest-failed",
                "{guest} {path}"
            );
        }
        assert_eq!(server.get("/hello").await.status, 200);
    }
}

#[tokio::test]
async fn a_guest_in_a_loop_keeps_nobody_from_being_answered() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        let mut looping = Vec::new();
        for _ in 0..8 {
            let mut wire = Wire::open(server.address()).await;
            wire.send(b"GET /loop-after-head HTTP/1.1\r\nhost: a\r\n\r\n")
                .await;
            assert!(wire.until("xxxxxx").await.ends_with("xxxxxx"));
            looping.push(wire);
        }

        let reply = server.get("/hello").await;

        assert_eq!(reply.status, 200, "{guest}");
    }
}

#[tokio::test]
async fn a_guest_that_does_not_answer_in_time_is_a_504() {
    for guest in BOTH {
        let limits = "[component.guest.limits]\nrequest_timeout = \"200 ms\"";
        let app = app(guest, limits);
        let server = Server::start(&app, &[]).await;
        for path in ["/loop", "/sleep?ms=600000"] {
            let reply = server.get(path).await;

            assert_eq!(
                (reply.status.as_u16(), &*reply.reason()),
                (504, "Gateway Timeout"),
                "{guest} {path}"
            );
            assert_eq!(
                failure(&server, path).await["message"],
                "no response within 200ms"
            );
            assert_eq!(server.get("/hello").await.status, 200);
        }
        // The limit is for the head: a body may take its time.
        let reply = server.get("/big?bytes=1000").await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 1000));
    }
}

#[tokio::test]
async fn a_guest_that_computes_on_after_its_head_is_stopped_and_its_response_cut() {
    for guest in BOTH {
        let app = app(guest, "limits = { cpu = \"200 ms\" }");
        let server = Server::start(&app, &[]).await;

        let answer = runner_tests::raw(
            server.address(),
            b"GET /loop-after-head HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .await;

        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n"),
            "{guest}: {answer}"
        );
        assert!(!answer.ends_with("0\r\n\r\n"), "{guest}: {answer}");
        assert_eq!(
            failure(&server, "/loop-after-head").await["message"],
            "computed for 200ms"
        );
    }
}

#[tokio::test]
async fn memory_grows_up_to_its_limit_and_no_further() {
    for (lines, fits, too_much) in [
        ("", 32 << 20, 256 << 20),
        (
            "[component.guest.limits]\nmemory = \"4 MiB\"",
            1 << 20,
            8 << 20,
        ),
    ] {
        let app = app("probe", lines);
        let server = Server::start(&app, &[]).await;
        let got = server.get(&format!("/memory?bytes={fits}")).await;
        assert_eq!(got.body, format!("{{\"got\":{fits}}}"));
        let refused = server.get(&format!("/memory?bytes={too_much}")).await;
        assert_eq!(refused.body, format!("{{\"refused\":{too_much}}}"));
        let warned = server.log().iter().any(|line| line["event"] == "warning");
        assert!(
            !warned,
            "a limit that is enforced needs no warning: {:#?}",
            server.log()
        );
    }
}

#[tokio::test]
async fn every_request_has_an_instance_of_its_own() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        let mut connection = server.connect().await;
        for _ in 0..3 {
            assert_eq!(connection.get("/counter").await.body, "1", "{guest}");
        }
    }
}
