//! What is counted, and that it is bounded.

use std::time::Instant;

use http::Method;
use runner_host::{EngineOptions, Error, Limit, RequestId, Trace, Tracing};

use super::*;

fn empty() -> Metrics {
    let engine = Engine::new(EngineOptions::default()).expect("an engine");
    Metrics::new(engine, Vec::new())
}

/// Of the only app.
fn metrics() -> (Metrics, Counts) {
    let metrics = empty();
    let counts = metrics.of_app(None);
    (metrics, counts)
}

fn record(component: Option<&str>, method: &str, status: u16) -> Record {
    Record {
        request_id: RequestId::next(),
        component: component.map(|id| id.parse().expect("an id")),
        route: None,
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        path: "/".into(),
        status: StatusCode::from_u16(status).expect("a status"),
        bytes: 0,
        duration: Duration::from_millis(3),
        denials: 0,
        outcome: Outcome::Complete,
        client: Some(([127, 0, 0, 1], 5000).into()),
        server: None,
        started: Instant::now(),
        trace: Trace::root(Tracing::Off),
        execution: None,
    }
}

/// The lines of the page that begin so, without the buckets.
fn lines(metrics: &Metrics, begin: &str) -> Vec<String> {
    let page = metrics.render(&Gauges::default());
    let lines = page.lines().filter(|line| line.starts_with(begin));
    let lines = lines.filter(|line| !line.contains("_bucket"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_request_is_counted_by_component_method_and_class() {
    let (metrics, counts) = metrics();
    let known = [("shop".parse().expect("an id"), Component::default())];
    counts.0.components.store(Arc::new(known.into()));
    let inside = Record {
        client: None,
        outcome: Outcome::ClientGone,
        ..record(Some("shop"), "GET", 200)
    };
    for record in [
        record(Some("shop"), "GET", 200),
        record(Some("shop"), "GET", 204),
        record(Some("shop"), "BREW", 418),
        record(Some("gone"), "POST", 502),
        record(None, "GET", 404),
        inside,
    ] {
        counts.listening(Arc::new(|_| {}))(Event::Request(&record));
    }
    let name = "http_server_request_duration_seconds";
    let series = |component: &str, method: &str, class: &str, sum: &str, count: u8| {
        let labels = format!(
            "{{component=\"{component}\",http_request_method=\"{method}\",status_class=\"{class}\"}}"
        );
        [
            format!("{name}_sum{labels} {sum}"),
            format!("{name}_count{labels} {count}"),
        ]
    };
    let expected = [
        series("shop", "GET", "2xx", "0.006", 2),
        series("shop", OTHER, "4xx", "0.003", 1),
        series("", "GET", "4xx", "0.003", 1),
        series(OTHER, "POST", "5xx", "0.003", 1),
    ];
    assert_eq!(lines(&metrics, name), expected.concat());
    let inside = "runner_inside_requests_total{component=\"shop\",status_class=\"2xx\"} 1";
    assert_eq!(lines(&metrics, "runner_inside"), [inside]);
    let gone = "runner_client_gone_total{component=\"shop\"} 1";
    assert_eq!(lines(&metrics, "runner_client_gone"), [gone]);
}

#[test]
fn a_failure_is_counted_by_its_reason() {
    let (metrics, counts) = metrics();
    let shop: ComponentId = "shop".parse().expect("an id");
    let known = [(shop.clone(), Component::default())];
    counts.0.components.store(Arc::new(known.into()));
    let gone: ComponentId = "gone".parse().expect("an id");
    for (component, error) in [
        (&shop, Error::Cpu(Duration::from_secs(1))),
        (&shop, Error::NoResponse),
        (&shop, Error::Cpu(Duration::from_secs(2))),
        (&gone, Error::StackOverflow),
    ] {
        counts.listening(Arc::new(|_| {}))(Event::Failed {
            component,
            request_id: RequestId::next(),
            error: &error,
        });
    }
    let name = "runner_guest_faults_total";
    let series = |component: &str, reason: &str, count: u8| {
        format!("{name}{{component=\"{component}\",reason=\"{reason}\"}} {count}")
    };
    let expected = [
        series("shop", "cpu", 2),
        series("shop", "no_response", 1),
        series(OTHER, "stack_overflow", 1),
    ];
    assert_eq!(lines(&metrics, name), expected);
}

#[test]
fn a_call_out_is_counted_by_how_it_ended() {
    let (metrics, counts) = metrics();
    let shop: ComponentId = "shop".parse().expect("an id");
    let known = [(shop.clone(), Component::default())];
    counts.0.components.store(Arc::new(known.into()));
    for ended in [
        CallOutcome::Status(204),
        CallOutcome::Error("connection-refused"),
        CallOutcome::Denied,
        CallOutcome::Status(204),
    ] {
        counts.called(&shop, ended, Duration::from_millis(3));
    }
    let gone = "gone".parse().expect("an id");
    counts.called(&gone, CallOutcome::Denied, Duration::from_millis(3));
    let name = "http_client_request_duration_seconds";
    let series = |component: &str, outcome: &str, count: u8| {
        format!("{name}_count{{component=\"{component}\",outcome=\"{outcome}\"}} {count}")
    };
    let expected = [
        series("shop", "2xx", 2),
        series("shop", "connection-refused", 1),
        series("shop", "denied", 1),
        series(OTHER, "denied", 1),
    ];
    assert_eq!(lines(&metrics, &format!("{name}_count")), expected);
}

#[test]
fn a_limit_that_was_hit_is_counted_whether_it_is_told_or_not() {
    let (metrics, counts) = metrics();
    let shop: ComponentId = "shop".parse().expect("an id");
    let known = [(shop.clone(), Component::default())];
    counts.0.components.store(Arc::new(known.into()));
    let gone = "gone".parse().expect("an id");
    let (request_id, error) = (RequestId::next(), Error::RequestBody(7));
    let hit = |component, folded| Event::Limit {
        component,
        request_id,
        limit: Limit::OutboundRate,
        folded,
    };
    let dropped = |bytes| Event::LogDropped {
        component: &shop,
        bytes,
        limit: Limit::LogRate,
        untold: Some(9),
    };
    let failed = Event::Failed {
        component: &shop,
        request_id,
        error: &error,
    };
    for event in [
        hit(&shop, Some(0)),
        hit(&shop, None),
        hit(&gone, None),
        dropped(3),
        dropped(0),
        dropped(4),
        failed,
    ] {
        counts.take(&event);
    }
    let name = "runner_limit_hits_total";
    let series = |component: &str, limit: &str, count: u8| {
        format!("{name}{{component=\"{component}\",limit=\"{limit}\"}} {count}")
    };
    let expected = [
        series("shop", "request_body", 1),
        series("shop", "log_rate", 2),
        series("shop", "outbound_rate", 2),
        series(OTHER, "outbound_rate", 1),
    ];
    assert_eq!(lines(&metrics, name), expected);
    let bytes = "runner_log_dropped_bytes_total{component=\"shop\"} 7";
    assert_eq!(lines(&metrics, "runner_log_dropped"), [bytes]);
}

#[test]
fn made_up_methods_and_components_make_no_series() {
    let (metrics, counts) = metrics();
    for n in 0..10_000 {
        counts.request(&record(Some(&format!("c{n}")), &format!("M{n}"), 200));
    }
    let counts = lines(&metrics, "http_server_request_duration_seconds_count");
    let expected = "http_server_request_duration_seconds_count\
        {component=\"_OTHER\",http_request_method=\"_OTHER\",status_class=\"2xx\"} 10000";
    assert_eq!(counts, [expected]);
}

#[test]
fn every_family_has_its_help_and_type_once_and_every_sample_its_family() {
    let (metrics, counts) = metrics();
    counts.request(&record(None, "GET", 404));
    let page = metrics.render(&Gauges::default());
    let mut families = std::collections::BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap_or_default();
            assert!(families.insert(name), "{name} twice");
            assert!(page.contains(&format!("# HELP {name} ")), "{name}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let of = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let is_known = families.contains(name) || of.is_some_and(|of| families.contains(of));
            assert!(is_known, "{line}");
        }
    }
}

#[test]
fn of_several_apps_each_has_its_own_counts_whatever_their_components_are_called() {
    let metrics = empty();
    let (shop, blog, nobody) = (
        metrics.of_app(Some("shop")),
        metrics.of_app(Some("blog")),
        metrics.of_app(Some("")),
    );
    for (counts, times) in [(&shop, 2), (&blog, 1)] {
        let known = [("web".parse().expect("an id"), Component::default())];
        counts.0.components.store(Arc::new(known.into()));
        for _ in 0..times {
            counts.request(&record(Some("web"), "GET", 200));
        }
    }
    nobody.request(&record(None, "GET", 404));
    shop.reloaded(Reload::Failed);
    let name = "http_server_request_duration_seconds_count";
    let series = |app: &str, component: &str, class: &str, count: u8| {
        format!(
            "{name}{{app=\"{app}\",component=\"{component}\",http_request_method=\"GET\",status_class=\"{class}\"}} {count}"
        )
    };
    let expected = [
        series("shop", "web", "2xx", 2),
        series("blog", "web", "2xx", 1),
        series("", "", "4xx", 1),
    ];
    assert_eq!(lines(&metrics, name), expected);
    let reloads = [
        ("shop", "done", 0),
        ("shop", "failed", 1),
        ("blog", "done", 0),
        ("blog", "failed", 0),
    ];
    let reloads = reloads.map(|(app, result, count)| {
        format!("runner_reloads_total{{app=\"{app}\",result=\"{result}\"}} {count}")
    });
    assert_eq!(lines(&metrics, "runner_reloads_total"), reloads);
}
