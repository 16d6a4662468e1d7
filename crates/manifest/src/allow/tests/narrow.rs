//! Rules that are tables: for some paths and methods, and with a header to add.

use super::*;

/// A list with tables: the URL, the methods, and the value of an injected `authorization`.
fn narrow_list(rules: &[(&str, &[&str], Option<&str>)]) -> AllowList {
    let read = |(url, methods, inject): &(&str, &[&str], Option<&str>)| {
        let rule = AllowedHost::parse_url(url, methods).unwrap_or_else(|error| panic!("{error}"));
        match inject {
            Some(value) => rule.injecting("authorization", value).expect("a header"),
            None => rule,
        }
    };
    AllowList::from(rules.iter().map(read).collect::<Vec<_>>())
}

#[test]
fn a_method_that_is_nearly_a_usual_one_was_probably_meant_so() {
    for (name, near) in [
        ("GE", Some("GET")),
        ("PSOT", Some("POST")),
        ("DELET", Some("DELETE")),
        ("GET", None),
        ("PATCH", None),
        ("QUERY", None),
        ("PROPFIND", None),
        ("PURGE", None),
        ("X-MINE", None),
    ] {
        assert_eq!(probably_meant(name), near, "{name}");
    }
}

#[test]
fn a_table_covers_some_paths_and_methods() {
    let list = narrow_list(&[
        ("https://a.com/v1/", &["GET", "HEAD"], None),
        ("https://a.com/hook", &["POST"], None),
        ("http://10.0.0.0/8:8080/status", &[], None),
        ("http://10.0.0.5/x", &[], None),
        ("http://self/api/", &[], None),
        ("https://*.b.com", &["GET"], None),
    ]);
    let v1 = "this rule allows what is below `/v1/`";
    let rows = [
        ("https://a.com/v1/items", "by https://a.com/v1/ (GET, HEAD)".to_owned()),
        ("HEAD https://a.com/v1/", "by https://a.com/v1/ (GET, HEAD)".into()),
        ("POST https://a.com/hook", "by https://a.com/hook (POST)".into()),
        ("POST https://a.com/hook?x=1", "by https://a.com/hook (POST)".into()),
        (
            "DELETE https://a.com/v1/items",
            "Method: the method is DELETE, this rule allows GET, HEAD".into(),
        ),
        ("https://a.com/v2/x", format!("Path: the path is `/v2/x`, {v1}")),
        ("https://a.com", format!("Path: the path is `/`, {v1}")),
        (
            "https://a.com/v1/../admin",
            "Path: the path `/v1/../admin` can be read in more than one way, this rule is for a path".into(),
        ),
        (
            "http://a.com/v1/",
            "Scheme: the scheme is http, this rule allows https".into(),
        ),
        (
            "https://a.com:8443/v1/",
            "Port: the port is 8443, this rule allows 443".into(),
        ),
        ("http://10.1.2.3:8080/status", "by http://10.0.0.0/8:8080/status".into()),
        (
            "http://10.1.2.3:8080/",
            "Path: the path is `/`, this rule allows `/status` alone".into(),
        ),
        ("http://10.0.0.5/x", "by http://10.0.0.5/x".into()),
        ("/api/x", "by http://self/api/".into()),
        (
            "/admin",
            "Path: the path is `/admin`, this rule allows what is below `/api/`".into(),
        ),
        ("https://x.b.com/any/../thing", "by https://*.b.com (GET)".into()),
    ];
    for (call, expected) in rows {
        assert_eq!(says(&list, call), expected, "{call}");
    }
}

#[test]
fn a_table_that_is_none_says_why() {
    let rows: [(&str, &[&str], &str); 8] = [
        ("https://a.com/v1?x", &[], "has a path that is no path"),
        (
            "https://a.com/v1/..",
            &[],
            "has a path that is not written plainly",
        ),
        (
            "https://a.com?x/",
            &[],
            "has a path; a rule is for a whole server",
        ),
        ("https://a.com/%zz", &[], "has a path that is no path"),
        (
            "redis://a.com/0",
            &[],
            "has paths or methods, which are HTTP's",
        ),
        (
            "redis://a.com",
            &["GET"],
            "has paths or methods, which are HTTP's",
        ),
        (
            "https://a.com",
            &["get"],
            "has a method that is no method: `get`",
        ),
        (
            "https://a.com",
            &["TRACE"],
            "has the method `TRACE`, which no component may use",
        ),
    ];
    for (url, methods, why) in rows {
        let error = AllowedHost::parse_url(url, methods).expect_err(url);
        assert_eq!(error.to_string(), format!("`{url}` {why}"));
        assert!(!error.help().is_empty());
    }
}

#[test]
fn the_rule_that_injects_goes_first() {
    let list = narrow_list(&[
        ("https://a.com", &[], None),
        ("https://a.com/v1/", &[], Some("Bearer hunter2")),
        ("https://a.com/v1/x", &[], Some("Bearer other")),
    ]);
    let rows = [
        ("https://a.com/v1/x", "by https://a.com/v1/ + authorization"),
        ("https://a.com/v2", "by https://a.com"),
    ];
    for (call, expected) in rows {
        assert_eq!(says(&list, call), expected, "{call}");
    }
    assert!(!format!("{list:?}").contains("hunter2"));
}

#[test]
fn a_header_is_injected_only_on_the_way_to_a_server_that_is_named() {
    let inject = |rule: &str| {
        let rule = AllowedHost::parse(rule).expect(rule);
        rule.injecting("authorization", "x").map(drop)
    };
    for (rule, expected) in [
        ("https://a.com", Ok(())),
        ("https://*.a.com", Ok(())),
        ("http://10.0.0.0/8", Ok(())),
        ("https://*", Err(Why::InjectAnywhere)),
        ("*://*:*", Err(Why::InjectAnywhere)),
        ("http://self", Err(Why::InjectInside)),
        ("http://*.spin.internal", Err(Why::InjectInside)),
        ("redis://a.com", Err(Why::InjectInside)),
    ] {
        assert_eq!(inject(rule), expected, "{rule}");
    }
}

#[test]
fn a_rule_for_a_path_opens_no_address_for_another_rule() {
    let list = narrow_list(&[
        ("http://a.com", &[], None),
        ("http://10.0.0.0/8/status", &[], None),
        ("http://localhost/status", &[], None),
    ]);
    for (url, ip, expected) in [
        ("http://a.com", "10.0.0.5", false),
        ("http://a.com", "127.0.0.1", false),
        ("http://10.0.0.5/status", "10.0.0.5", true),
        ("http://localhost/status", "127.0.0.1", true),
    ] {
        let call = WrittenCall::parse(url).expect(url);
        let rule = list.covering(&call.as_call()).expect("it is allowed");
        let Destination::Remote(origin) = call.as_call().to else {
            panic!("{url} is outside")
        };
        assert_eq!(
            list.may_dial(rule, origin, ip.parse().expect("an address")),
            expected,
            "{url} {ip}"
        );
    }
}
