//! What an operator's collector is sent: whole trees of spans, and numbers. And what it can do to the server: nothing.

mod collector;

use http::Request;
use runner_tests::{App, Canary, Reply, Server};
use serde_json::Value;

use collector::{Answer, Collector, Span, attributes, inner, number};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Two components: `probe` in front, which may call the canary and `back`.
fn app(canary: &Canary) -> App {
    App::probe(&format!(
        "allowed_outbound_hosts = [\n  \"{}\",\n  \"http://back.spin.internal\",\n]\n\
         [component.back]\nsource = \"guest:probe3\"\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"back\"",
        canary.url()
    ))
}

async fn start(app: &App, environment: &[(&str, &str)]) -> Server {
    let started = Server::try_start_with(app, &[], environment).await;
    started.unwrap_or_else(|log| panic!("runner did not start: {log:#?}"))
}

/// `GET path` with these headers.
async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get(path).header("host", server.address().to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Default::default()).expect("a request");
    server.connect().await.send(request).await
}

/// The spans below `parent`, each on a line: kind, name, attributes. What differs from run to run is left out.
fn tree(spans: &[Span], parent: &str, depth: usize) -> String {
    let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent == parent).collect();
    children.sort_by_key(|span| span.start);
    let mut text = String::new();
    for span in children {
        assert!(span.start <= span.end, "{span:?}");
        let failed = if span.failed { " failed" } else { "" };
        text += &format!("{:1$}{2} {3}{failed}:", "", 2 * depth, span.kind, span.name);
        for (key, value) in &span.attributes {
            let value = match key.as_str() {
                "runner.request_id" | "client.port" | "server.port" => continue,
                "runner.rule" => value.rsplit('/').next().expect("at least one part"),
                _ => value,
            };
            text += &format!(" {key}={value}");
        }
        text += &format!("\n{}", tree(spans, &span.id, depth + 1));
    }
    text
}

const SERVED: &str = "http.request.method=GET http.response.status_code=200";

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn a_request_is_a_tree_of_spans_with_each_call_and_its_decision() {
    let (canary, collector) = (Canary::start().await, Collector::start().await);
    let app = app(&canary);
    let environment = [
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &*format!("{}/v1/traces", collector.url()),
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=let%20me%20in"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=stage",
        ),
    ];
    let server = start(&app, &environment).await;
    let caller = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", caller.as_str()), ("tracestate", "vendor=1")];
    for url in [
        format!("{}/collect?token=secret", canary.url()),
        "http://127.0.0.1:1/denied?token=secret".to_owned(),
        "http://back.spin.internal/headers".to_owned(),
    ] {
        let reply = get(&server, &format!("/fetch?url={url}"), &headers).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(server.stop().await.code, 0);

    let spans = collector.spans();
    let served = |path| {
        format!(
            "server GET /...: client.address=127.0.0.1 {SERVED} http.route=/... runner.component=probe \
             server.address=127.0.0.1 url.path={path} url.scheme=http"
        )
    };
    let executed = "  internal execute probe: runner.component=probe";
    let client = "    client GET: http.request.method=GET http.response.status_code=200 runner.component=probe";
    let expected = [
        served("/fetch"),
        executed.to_owned(),
        format!(
            "{client} runner.decision=allowed runner.rule=spin-like.toml:10 server.address=127.0.0.1 url.scheme=http"
        ),
        served("/fetch"),
        executed.to_owned(),
        "    client GET failed: error.type=denied http.request.method=GET runner.component=probe \
         runner.decision=denied server.address=127.0.0.1 url.scheme=http"
            .to_owned(),
        served("/fetch"),
        executed.to_owned(),
        "    client GET: http.request.method=GET http.response.status_code=200 runner.component=probe \
         runner.decision=allowed runner.inside=true runner.rule=spin-like.toml:11 \
         server.address=back.spin.internal"
            .to_owned(),
        format!(
            "      server GET: {SERVED} runner.component=back server.address=back.spin.internal \
             url.path=/headers url.scheme=http"
        ),
        "        internal execute back: runner.component=back".to_owned(),
    ];
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(tree(&spans, CALLER, 0), lines(&expected));
    assert_eq!(spans.len(), 11);
    for span in &spans {
        let from_outside = span.parent == CALLER;
        let flags = if from_outside { 0x301 } else { 0x101 };
        let found = (span.trace.as_str(), span.state.as_str(), span.flags);
        assert_eq!(found, (TRACE, "vendor=1", flags), "{span:?}");
    }
    assert!(!format!("{spans:?}").contains("secret"));

    let called = spans
        .iter()
        .find(|span| span.kind == "client")
        .expect("one");
    let head = canary.heads().remove(0).to_lowercase();
    let told = format!("traceparent: 00-{TRACE}-{}-01\r\n", called.id);
    assert!(
        head.contains(&told) && head.contains("tracestate: vendor=1\r\n"),
        "{head}"
    );

    let post = collector.posts().remove(0);
    let header = |name: &str| post.headers[name].to_str().expect("text").to_owned();
    let found = ["content-type", "api-key"].map(header);
    assert_eq!(found, ["application/x-protobuf", "let me in"]);
    let resource = inner(&post.body, &[1, 1]).next().expect("a resource");
    let mut resource = attributes(resource, 1);
    resource.remove("telemetry.sdk.version").expect("there");
    let resource: Vec<_> = resource.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let expected = [
        "deployment.environment.name=stage",
        "service.name=story",
        "telemetry.sdk.language=rust",
        "telemetry.sdk.name=runner",
    ];
    assert_eq!(resource, expected);
}

#[tokio::test]
async fn a_guest_is_told_of_its_own_span_and_callers_decide_what_is_collected() {
    let (canary, collector) = (Canary::start().await, Collector::start().await);
    let app = app(&canary);
    let url = collector.url();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    let server = start(&app, &environment).await;
    let seen = async |headers: &[(&str, &str)]| {
        let reply = get(&server, "/headers", headers).await.json();
        let pairs = reply["headers"].as_array().expect("pairs").clone();
        let about = pairs.into_iter().filter(|pair| {
            let name = pair[0].as_str().unwrap_or_default();
            name.starts_with("trace")
        });
        about
            .map(|pair| pair[1].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    let (yes, no) = (
        format!("00-{TRACE}-{CALLER}-01"),
        format!("00-{TRACE}-{CALLER}-00"),
    );
    let collected = seen(&[("traceparent", &yes), ("tracestate", "a=1")]).await;
    let left_out = seen(&[("traceparent", &no)]).await;
    let begun = seen(&[("traceparent", "mine"), ("tracestate", "a=1")]).await;
    assert_eq!(server.stop().await.code, 0);

    let spans = collector.spans();
    let told = |span: &Span| format!("00-{}-{}-01", span.trace, span.id);
    let executions = spans.iter().filter(|span| span.kind == "internal");
    let of_caller = |span: &&Span| span.trace == TRACE;
    let (first, last): (Vec<&Span>, Vec<&Span>) = executions.partition(of_caller);
    assert_eq!((first.len(), last.len()), (1, 1), "{spans:#?}");
    assert_eq!(collected, [told(first[0]), "a=1".to_owned()]);
    assert_eq!(begun, [told(last[0])]);
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    let same_trace = left_out[0].starts_with(&format!("00-{TRACE}-"));
    assert!(same_trace && left_out[0].ends_with("-00"), "{left_out:?}");
    assert_eq!(spans.len(), 4, "{spans:#?}");
}

#[tokio::test]
async fn where_nobody_collects_headers_stay_as_they_were_written() {
    let canary = Canary::start().await;
    let app = app(&canary);
    let server = start(&app, &[]).await;
    let written = "00-not-one-at-all";
    let headers = [("traceparent", written), ("tracestate", "a=1")];
    let reply = get(&server, "/headers", &headers).await.json();
    for (name, value) in headers {
        let pair = serde_json::json!([name, value]);
        let pairs = reply["headers"].as_array().expect("pairs");
        assert!(pairs.contains(&pair), "{reply}");
    }
    get(&server, &format!("/fetch?url={}/", canary.url()), &headers).await;
    let head = canary.heads().remove(0).to_lowercase();
    assert!(!head.contains("trace"), "{head}");
}

#[tokio::test]
async fn numbers_are_sent_at_the_end_at_the_latest() {
    let (canary, collector) = (Canary::start().await, Collector::start().await);
    let app = app(&canary);
    let url = collector.url();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_TRACES_EXPORTER", "none"),
    ];
    let server = start(&app, &environment).await;
    let paths = [
        format!("/fetch?url={}/", canary.url()),
        "/fetch?url=http://127.0.0.1:1/".to_owned(),
        "/hello".to_owned(),
    ];
    for path in paths {
        get(&server, &path, &[]).await;
    }
    assert_eq!(server.stop().await.code, 0);
    let posts = collector.posts();
    let paths: Vec<&str> = posts.iter().map(|post| post.path.as_str()).collect();
    assert_eq!(paths, ["/v1/metrics"]);
    let mut found = Vec::new();
    for metric in inner(&posts[0].body, &[1, 2, 2]) {
        let name = inner(metric, &[1]).next().expect("a name");
        let name = String::from_utf8_lossy(name).into_owned();
        for point in inner(metric, &[7, 1]) {
            let attributes = attributes(point, 7);
            found.push(format!("{name} {attributes:?} {}", number(point, 6)));
        }
        for point in inner(metric, &[9, 1]) {
            let (attributes, count) = (attributes(point, 9), number(point, 4));
            let buckets = inner(point, &[6]).next().expect("counts");
            let sum: u64 = buckets
                .chunks(8)
                .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight")))
                .sum();
            assert_eq!((sum, number(metric, 2)), (count, 0));
            found.push(format!("{name} {attributes:?} {count}"));
        }
    }
    let expected = [
        "http.server.request.duration {\"http.request.method\": \"GET\", \"http.response.status_code\": \"200\", \
         \"http.route\": \"/...\", \"runner.component\": \"probe\", \"url.scheme\": \"http\"} 3",
        "http.server.active_requests {} 0",
        "http.client.request.duration {\"http.request.method\": \"GET\", \"http.response.status_code\": \"200\", \
         \"runner.component\": \"probe\"} 1",
        "runner.denials {\"runner.component\": \"probe\"} 1",
    ];
    assert_eq!(found, expected);
}

/// What was told as lost, all together, and the other warnings.
fn losses(log: &[Value]) -> (u64, Vec<&str>) {
    let warnings = log.iter().filter(|line| line["event"] == "warning");
    let (lost, others): (Vec<&Value>, Vec<&Value>) =
        warnings.partition(|line| line["lost"].is_u64());
    let count = lost.iter().filter_map(|line| line["lost"].as_u64()).sum();
    let texts = others.iter().filter_map(|line| line["message"].as_str());
    (count, texts.collect())
}

/// Serves 100 requests while spans go to `url`, in vain, and ends: each was answered, and all was told.
async fn in_vain(url: &str, why: &str) {
    let canary = Canary::start().await;
    let app = app(&canary);
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    let server = start(&app, &environment).await;
    let mut connection = server.connect().await;
    for _ in 0..100 {
        assert_eq!(connection.get("/hello").await.status, 200);
    }
    drop(connection);
    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
    let (lost, warnings) = losses(&stopped.log);
    let told = format!(
        "traces cannot be sent to `{url}/v1/traces`: {why}; serving goes on, and they are lost meanwhile"
    );
    assert_eq!(warnings, [told]);
    assert_eq!(lost, 200, "two spans a request");
}

#[tokio::test]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let collector = Collector::answering(|_| Answer::Silence).await;
    in_vain(&collector.url(), "no answer within 200ms").await;
    assert!(!collector.posts().is_empty());
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    in_vain(&url, "connect: Connection refused (os error 111)").await;
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_and_may_answer_what_it_likes() {
    let canary = Canary::start().await;
    let collector = Collector::answering(|n| match n {
        0 => Answer::Status(503, "busy"),
        _ => Answer::Status(200, "<html>garbage"),
    })
    .await;
    let app = app(&canary);
    let url = collector.url();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    let server = start(&app, &environment).await;
    get(&server, "/hello", &[]).await;
    collector.has_posts(2).await;
    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
    assert_eq!(losses(&stopped.log), (0, Vec::new()));
    assert_eq!(collector.spans().len(), 2);
    let posts = collector.posts();
    assert_eq!(posts[0].body, posts[1].body);
}

#[tokio::test]
async fn a_variable_that_cannot_be_meant_is_one_warning_and_the_app_is_served() {
    let canary = Canary::start().await;
    let app = app(&canary);
    let environment = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let server = start(&app, &environment).await;
    assert_eq!(server.get("/hello").await.status, 200);
    let stopped = server.stop().await;
    let told = "`OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`; only `http/protobuf` is spoken, so no traces are sent";
    assert_eq!(losses(&stopped.log), (0, vec![told]));
}
