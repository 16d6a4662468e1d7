use std::os::unix::ffi::OsStringExt;

use super::*;

fn variables(set: &[(&str, &str)]) -> Variables {
    let set = set.iter();
    set.map(|(name, value)| ((*name).to_owned(), value.into()))
        .collect()
}

fn of(set: &[(&str, &str)]) -> Config {
    Config::of(&variables(set))
}

/// Where traces and metrics go.
fn goes(config: &Config) -> [Option<String>; 2] {
    let show = |endpoint: &Endpoint| format!("{}{}", endpoint.origin, endpoint.path);
    let traces = config.traces.as_ref();
    let metrics = config.metrics.as_ref();
    [
        traces.map(|(_, endpoint)| show(endpoint)),
        metrics.map(|(_, endpoint)| show(endpoint)),
    ]
}

#[test]
fn nothing_is_collected_unless_a_variable_asks_for_it() {
    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    let collector = (BASE, "http://c:4318");
    for (set, traces, metrics) in [
        (vec![], None, None),
        (vec![("OTEL_SERVICE_NAME", "shop")], None, None),
        (vec![(BASE, "")], None, None),
        (
            vec![collector],
            Some("http://c:4318/v1/traces"),
            Some("http://c:4318/v1/metrics"),
        ),
        (
            vec![(BASE, "https://c/otlp/")],
            Some("https://c/otlp/v1/traces"),
            Some("https://c/otlp/v1/metrics"),
        ),
        (
            vec![collector, (TRACES, "http://t/as?it=is")],
            Some("http://t/as?it=is"),
            Some("http://c:4318/v1/metrics"),
        ),
        (vec![(METRICS, "http://m")], None, Some("http://m/")),
        (
            vec![("OTEL_TRACES_EXPORTER", "otlp")],
            Some("http://localhost:4318/v1/traces"),
            None,
        ),
        (
            vec![collector, ("OTEL_METRICS_EXPORTER", "None")],
            Some("http://c:4318/v1/traces"),
            None,
        ),
        (vec![collector, ("OTEL_SDK_DISABLED", "TRUE")], None, None),
    ] {
        let config = of(&set);
        let expected = [traces, metrics].map(|place| place.map(str::to_owned));
        assert_eq!(goes(&config), expected, "{set:?}");
        assert_eq!(config.warnings, [""; 0], "{set:?}");
    }
}

#[test]
fn what_cannot_be_meant_is_told_once_and_passed_over() {
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    let both = [true, true];
    let grpc = "`OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`; only `http/protobuf` is spoken, so no";
    for (set, warnings, goes_on) in [
        (
            vec![collector, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            vec![
                format!("{grpc} traces are sent"),
                format!("{grpc} metrics are sent"),
            ],
            [false, false],
        ),
        (
            vec![collector, ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")],
            vec![
                "`OTEL_EXPORTER_OTLP_TIMEOUT` is `10s`, not a number above 0; 10000 is taken"
                    .to_owned(),
            ],
            both,
        ),
        (
            vec![collector, ("OTEL_METRICS_EXPORTER", "prometheus")],
            vec![
                "`OTEL_METRICS_EXPORTER` is `prometheus`, not one of `otlp`, `none`".to_owned(),
            ],
            [true, false],
        ),
        (
            vec![collector, ("OTEL_TRACES_SAMPLER", "some\u{1b}[2J")],
            vec![
                "`OTEL_TRACES_SAMPLER` is `some\\u{1b}[2J`, not one of `always_on`, `always_off`, \
                 `traceidratio`, `parentbased_always_on`, `parentbased_always_off`, \
                 `parentbased_traceidratio`"
                    .to_owned(),
            ],
            both,
        ),
        (
            vec![
                collector,
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ],
            vec![
                "`OTEL_TRACES_SAMPLER_ARG` is `2`, not a number from 0 to 1; 1 is taken".to_owned(),
            ],
            both,
        ),
        (
            vec![collector, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")],
            vec!["`OTEL_EXPORTER_OTLP_COMPRESSION`: nothing is compressed".to_owned()],
            both,
        ),
        (
            vec![collector, ("OTEL_EXPORTER_OTLP_HEADERS", "a secret")],
            vec![
                "`OTEL_EXPORTER_OTLP_HEADERS` is not `key=value,key=value`; a part of it is left out"
                    .to_owned(),
            ],
            both,
        ),
        (
            vec![collector, ("OTEL_EXPORTER_OTLP_HEADERS", "a=%0asecret")],
            vec!["`OTEL_EXPORTER_OTLP_HEADERS` has what is no header; it is left out".to_owned()],
            both,
        ),
        (
            vec![(collector.0, "http://user:secret@c:4318")],
            vec![
                "`OTEL_EXPORTER_OTLP_ENDPOINT` is not a URL such as `http://localhost:4318`, so no \
                 traces are sent"
                    .to_owned(),
                "`OTEL_EXPORTER_OTLP_ENDPOINT` is not a URL such as `http://localhost:4318`, so no \
                 metrics are sent"
                    .to_owned(),
            ],
            [false, false],
        ),
        (
            vec![collector, ("OTEL_BSP_MAX_QUEUE_SIZE", "0")],
            vec![
                "`OTEL_BSP_MAX_QUEUE_SIZE` is `0`, not a number above 0; 2048 is taken".to_owned(),
            ],
            both,
        ),
        (
            vec![collector, ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b,c=%zz")],
            vec![
                "`OTEL_RESOURCE_ATTRIBUTES` is not `key=value,key=value`; a part of it is left out"
                    .to_owned(),
            ],
            both,
        ),
    ] {
        let config = of(&set);
        assert_eq!(config.warnings, warnings, "{set:?}");
        assert_eq!(goes(&config).map(|place| place.is_some()), goes_on, "{set:?}");
    }
    let mut set = variables(&[collector]);
    let bytes = OsString::from_vec(b"\xff".to_vec());
    set.insert("OTEL_SERVICE_NAME".to_owned(), bytes);
    let warnings = Config::of(&set).warnings;
    assert_eq!(warnings, ["`OTEL_SERVICE_NAME` is not UTF-8"]);
}

#[test]
fn everything_that_is_said_is_heard() {
    let config = of(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-more=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=other"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,team=a%2Cb"),
        ("OTEL_SERVICE_NAME", "shop"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ]);
    assert_eq!(config.warnings, [""; 0]);
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let resource = [("team", "a,b"), ("service.name", "shop")].map(pair);
    assert_eq!(config.resource, resource);
    let (traces, for_traces) = config.traces.unwrap();
    let (interval, for_metrics) = config.metrics.unwrap();
    let header = |endpoint: &Endpoint, name| endpoint.headers.get(name).cloned();
    assert_eq!(header(&for_traces, "api-key").unwrap(), "a b");
    assert_eq!(header(&for_traces, "x-more").unwrap(), "1");
    assert_eq!(header(&for_metrics, "api-key").unwrap(), "other");
    assert_eq!(header(&for_metrics, "x-more"), None);
    let seconds = Duration::from_secs;
    let timeouts = (for_traces.timeout, for_metrics.timeout);
    assert_eq!(timeouts, (seconds(2), seconds(3)));
    let ca_file = Some(PathBuf::from("/ca.pem"));
    assert_eq!(
        (for_traces.ca_file, for_metrics.ca_file),
        (ca_file.clone(), ca_file)
    );
    assert_eq!(
        (traces.queue, traces.batch),
        (100, 100),
        "a batch fits the queue"
    );
    let milliseconds = (traces.delay.as_millis(), interval.as_millis());
    assert_eq!(milliseconds, (10, 20));
    let sampler = Sampler {
        root: Share::Part(0.25),
        parent_decides: true,
    };
    assert_eq!(traces.sampler, sampler);
}
