//! Rules that stop the start: patterns that are none, and variables that would widen one.

use runner_tests::{App, Server, Stopped};
use serde_json::Value;

use crate::scene::manifest;

/// Starts an app that must not start; its one event.
async fn refused(manifest: &str, args: &[&str]) -> String {
    let Err(Stopped { code, log }) = Server::try_start(&App::new(manifest), args).await else {
        panic!("it started: {manifest}");
    };
    let events: Vec<&Value> = log.iter().collect();
    assert_eq!((code, events.len()), (2, 1), "{log:#?}");
    assert_eq!(
        (&events[0]["event"], &events[0]["exit"]),
        (&"error".into(), &2.into())
    );
    events[0]["text"].as_str().expect("in the event").to_owned()
}

#[tokio::test]
async fn c36_a_variable_that_would_widen_a_rule_stops_the_start() {
    let rule = "https://{{ host }}";
    let text = manifest("probe", &[rule], "[variables]\nhost = { required = true }");
    for (value, what) in [
        ("*", "`*`"),
        ("*.com", "`*`"),
        ("evil.com/", "`/`"),
        ("a.com,https://b.com", "`,`"),
        ("a.com:*", "`:`"),
        ("self", "the application itself"),
        ("10.0.0.0/8", "`/`"),
        ("allowed.com@evil.com", "`@`"),
        ("localhost", "this machine"),
        ("127.0.0.1", "an address that is not public"),
    ] {
        let error = refused(&text, &["--variable", &format!("host={value}")]).await;
        let head = format!(
            "error: `{rule}` would get {what} from variable `host`; it can fill a host's labels or the port\n  --> spin-like.toml:9:"
        );
        assert!(
            error.starts_with(&head) && error.contains("\nhelp: "),
            "{value}: {error}"
        );
    }
}

#[tokio::test]
async fn c36_an_empty_variable_leaves_the_rule_out_with_a_warning() {
    let text = manifest(
        "probe",
        &["https://{{ host }}"],
        "[variables]\nhost = { default = \"\" }",
    );
    let app = App::new(&text);
    let server = Server::start(&app, &[]).await;
    let warning = server.logged(|line| line["event"] == "warning").await;
    let head =
        "warning: a rule is left out because the variable `host` is empty\n  --> spin-like.toml:9:";
    let said = warning["text"].as_str().expect("in the event");
    assert!(said.starts_with(head), "{said}");
    let listening = server.logged(|line| line["event"] == "listening").await;
    assert_eq!(
        listening["components"][0]["grants"]["net"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn c37_a_pattern_that_is_none_stops_the_start() {
    for (rule, error, help) in [
        (
            "allowed.com",
            "`allowed.com` has no scheme",
            "write `https://allowed.com`",
        ),
        (
            "*",
            "`*` is not a rule",
            "to allow every public server write `*://*:*`",
        ),
        (
            "https://allowed.com/path",
            "`https://allowed.com/path` has a path; a rule is for a whole server",
            "write `https://allowed.com`; for this path alone, write { url = \"https://allowed.com/path\" }",
        ),
        (
            "https://*.*.com",
            "`https://*.*.com` has a `*` within the host; it can only stand alone, or first as in `*.example.com`",
            "a host is a name, `*.` and a name, `*`, an address, or a range of addresses",
        ),
        (
            "https://a*.com",
            "`https://a*.com` has a `*` within the host; it can only stand alone, or first as in `*.example.com`",
            "a host is a name, `*.` and a name, `*`, an address, or a range of addresses",
        ),
        (
            "http://[::1",
            "`http://[::1` is not a host: what stands in brackets is not an IPv6 address",
            "a host is a name, `*.` and a name, `*`, an address, or a range of addresses",
        ),
        (
            "https://allowed.com:443:80",
            "`https://allowed.com:443:80` has a port that is no port: `443:80`",
            "a port is a number from 1 to 65535, `*`, or a range such as `8000..8010`",
        ),
        (
            "HTTPS://x",
            "`HTTPS://x` has a scheme that is no scheme: `HTTPS`",
            "did you mean `https://x`?",
        ),
        (
            "https://x:99999",
            "`https://x:99999` has a port that is no port: `99999`",
            "a port is a number from 1 to 65535, `*`, or a range such as `8000..8010`",
        ),
        (
            "insecure:allow-all",
            "`insecure:allow-all` is not a rule",
            "to allow every public server write `*://*:*`",
        ),
        (
            "https://user@x",
            "`https://***@x` has a user name or a password",
            "write the host alone; a component sends its credentials in a header",
        ),
    ] {
        // Among others that are fine.
        let said = refused(&manifest("probe", &["https://fine.com", rule], ""), &[]).await;
        assert!(
            said.starts_with(&format!("error: {error}\n --> spin-like.toml:9:47\n")),
            "{rule}: {said}"
        );
        assert!(said.ends_with(&format!("\nhelp: {help}")), "{rule}: {said}");
    }
}
