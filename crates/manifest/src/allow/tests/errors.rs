//! Rules that are none, and what is said of them.

use super::*;

#[test]
fn c37_a_typo_is_an_error_with_a_fix() {
    let hosts = "a host is a name, `*.` and a name, `*`, an address, or a range of addresses";
    let ports = "a port is a number from 1 to 65535, `*`, or a range such as `8000..8010`";
    let all = "to allow every public server write `*://*:*`";
    let range = "a range of addresses looks like `10.0.0.0/8` or `[fd00::]/8`";
    let inside = "write `http://self`, `http://NAME.spin.internal` or `http://*.spin.internal`";
    let star = "has a `*` within the host; it can only stand alone, or first as in `*.example.com`";
    let rows = [
        (
            "allowed.com",
            "has no scheme",
            "write `https://allowed.com`",
        ),
        (
            "allowed.com:443",
            "has no scheme",
            "write `https://allowed.com:443`",
        ),
        ("*", "is not a rule", all),
        ("", "is not a rule", all),
        (":", "is not a rule", all),
        ("?", "is not a rule", all),
        ("insecure:allow-all", "is not a rule", all),
        (
            "https://allowed.com/path",
            "has a path; a rule is for a whole server",
            "write `https://allowed.com`; for this path alone, write { url = \"https://allowed.com/path\" }",
        ),
        (
            "https://allowed.com?x",
            "has a path; a rule is for a whole server",
            "write `https://allowed.com`; for this path alone, write { url = \"https://allowed.com?x\" }",
        ),
        (
            "https://allowed.com//",
            "has a path; a rule is for a whole server",
            "write `https://allowed.com`; for this path alone, write { url = \"https://allowed.com//\" }",
        ),
        ("https://*.*.com", star, hosts),
        ("https://a*.com", star, hosts),
        ("https://a.*.com", star, hosts),
        ("https://*.10.0.0.1", star, hosts),
        (
            "http://[::1",
            "is not a host: what stands in brackets is not an IPv6 address",
            hosts,
        ),
        (
            "http://::1",
            "is not a host: an IPv6 address stands in brackets: `[::1]`",
            hosts,
        ),
        (
            "https://allowed.com:443:80",
            "has a port that is no port: `443:80`",
            ports,
        ),
        (
            "HTTPS://x",
            "has a scheme that is no scheme: `HTTPS`",
            "did you mean `https://x`?",
        ),
        (
            "htps://x",
            "has a scheme that is no scheme: `htps`",
            "did you mean `https://x`?",
        ),
        (
            "htps://x:443",
            "has a scheme that is no scheme: `htps`",
            "did you mean `https://x:443`?",
        ),
        (
            "f tp://x:1",
            "has white space in it",
            "write each rule as its own string",
        ),
        (
            "1a://x:1",
            "has a scheme that is no scheme: `1a`",
            "a scheme is `*`, `http`, `https`, or another in lower case",
        ),
        ("://x", "has no scheme", "write `https://x`"),
        (
            "tcp://x",
            "has no port, and `tcp` has no usual one",
            "write the port, or `tcp://x:*` for every port",
        ),
        (
            "*://x",
            "has no port, and `*` has no usual one",
            "write the port, or `*://x:*` for every port",
        ),
        (
            "https://x:99999",
            "has a port that is no port: `99999`",
            ports,
        ),
        ("https://x:0", "has a port that is no port: `0`", ports),
        ("https://x:", "has a port that is no port: ``", ports),
        (
            "https://x:80..80",
            "has an empty range of ports; its end is not part of it",
            "`8000..8010` is the ports 8000 to 8009",
        ),
        ("https://x:80..", "has a port that is no port: ``", ports),
        (
            "https://{a,b}.com",
            "has a list in `{ }`",
            "write one rule for each",
        ),
        (
            "{http,https}://a.com",
            "has a list in `{ }`",
            "write one rule for each",
        ),
        (
            "https://a.com:{80,443}",
            "has a list in `{ }`",
            "write one rule for each",
        ),
        (
            "https://a.com, https://b.com",
            "has white space in it",
            "write each rule as its own string",
        ),
        ("https://10.0.0.0/33", "is not a range of addresses", range),
        ("https://10.0.0.0/+8", "is not a range of addresses", range),
        ("https://10.0.0.0/08", "is not a range of addresses", range),
        (
            "https://[::ffff:10.0.0.0]/104",
            "is not a range of addresses",
            range,
        ),
        (
            "https://[::ffff:10.0.0.1]",
            "is not a host: it is an IPv4 address in an IPv6 one; write `10.0.0.1`",
            "write `10.0.0.1`",
        ),
        (
            "http://0.0.0.0:80",
            "is not a host: `0.0.0.0` is not the address of one host",
            hosts,
        ),
        (
            "https://xn--a.com",
            "is not a host: `xn--a` is not a valid encoded name",
            hosts,
        ),
        (
            "https://self:8080",
            "has a port or a scheme that the application itself does not have",
            inside,
        ),
        (
            "redis://self",
            "has a port or a scheme that the application itself does not have",
            inside,
        ),
        ("https://*.b.spin.internal", star, hosts),
        (
            "http://a_b.spin.internal",
            "names no component: a component's name has lower-case letters, digits and dashes, not `_`",
            "write `http://NAME.spin.internal` or `http://*.spin.internal`",
        ),
    ];
    for (rule, why, help) in rows {
        let error = AllowedHost::parse(rule).expect_err(rule);
        assert_eq!(
            (error.to_string(), error.help()),
            (format!("`{rule}` {why}"), help),
            "{rule}"
        );
    }
    let secret = AllowedHost::parse("https://user:secret@x").expect_err("userinfo");
    assert_eq!(
        secret.to_string(),
        "`https://***@x` has a user name or a password"
    );
    assert!(!format!("{secret:?}").contains("secret"));
    assert!(AllowedHost::parse(&format!("https://{}", "a.".repeat(100_000))).is_err());
}

fn fill(rule: &str, value: &str) -> String {
    let filled = AllowedHost::fill(rule, Form::Text, |name| match name {
        "v" => Ok(value),
        other => Err(Why::Undeclared(other.into())),
    });
    match filled {
        Ok(Filled::Skipped { variable }) => format!("skipped: {variable}"),
        Ok(Filled::Rule(rule)) => format!("{rule} is {:?} {}", rule.host(), rule.written().2),
        Err(error) => error.to_string(),
    }
}

#[test]
fn c36_a_variable_fills_labels_or_the_port_and_nothing_else() {
    let wrong = |rule: &str, what: &str| {
        format!(
            "`{rule}` would get {what} from variable `v`; it can fill a host's labels or the port"
        )
    };
    let host = "https://{{v}}";
    let place = |rule: &str| {
        format!(
            "`{rule}` has a variable where it would be a rule of its own; it can fill a host's labels or the port"
        )
    };
    let rows = [
        (
            host,
            "a.com",
            "https://{{v}} is Name(\"a.com\") 443".to_string(),
        ),
        (
            "https://{{ v }}.a.com:8443",
            "x.y",
            "https://{{ v }}.a.com:8443 is Name(\"x.y.a.com\") 8443".into(),
        ),
        (
            "https://a.com:{{ v }}",
            "8443",
            "https://a.com:{{ v }} is Name(\"a.com\") {{ v }}".into(),
        ),
        (
            "http://{{v}}.spin.internal",
            "b",
            "http://{{v}}.spin.internal is Component(\"b\") 80".into(),
        ),
        (
            host,
            "8.8.8.8",
            "https://{{v}} is Net(8.8.8.8/32) 443".into(),
        ),
        (host, "", "skipped: v".into()),
        ("{{ v }}", "", "skipped: v".into()),
        ("{{ v }}", "https://a.com", place("{{ v }}")),
        ("{{ v }}://a.com", "https", place("{{ v }}://a.com")),
        (
            "https://10.0.0.0/{{v}}",
            "0",
            place("https://10.0.0.0/{{v}}"),
        ),
        (
            "https://a.com/{{v}}",
            "x",
            "`https://a.com/{{v}}` has a path; a rule is for a whole server".into(),
        ),
        (host, "*", wrong(host, "`*`")),
        (host, "*.com", wrong(host, "`*`")),
        (host, "evil.com/", wrong(host, "`/`")),
        (host, "a.com,https://b.com", wrong(host, "`,`")),
        (host, "a.com:*", wrong(host, "`:`")),
        (host, "self", wrong(host, "the application itself")),
        (host, "self.alt", wrong(host, "the application itself")),
        (host, "b.spin.internal", wrong(host, "another component")),
        (host, "10.0.0.0/8", wrong(host, "`/`")),
        (host, "allowed.com@evil.com", wrong(host, "`@`")),
        (host, "a..b", wrong(host, "a `.` without a label")),
        (host, ".com", wrong(host, "a `.` without a label")),
        (host, "a b", wrong(host, "` `")),
        (host, "a\nb", wrong(host, "`\\n`")),
        (host, "{{ v }}", wrong(host, "`{`")),
        (host, "[::1]", wrong(host, "`[`")),
        (host, "a.com?", wrong(host, "`?`")),
        (
            host,
            "127.0.0.1",
            wrong(host, "an address that is not public"),
        ),
        (
            host,
            "169.254.169.254",
            wrong(host, "an address that is not public"),
        ),
        (host, "localhost", wrong(host, "this machine")),
        (
            "https://10.0.0.{{v}}",
            "1",
            wrong("https://10.0.0.{{v}}", "an address that is not public"),
        ),
        (
            "https://a.com:{{v}}",
            "*",
            wrong("https://a.com:{{v}}", "`*`"),
        ),
        (
            "https://a.com:{{v}}",
            "1..2",
            wrong("https://a.com:{{v}}", "`.`"),
        ),
        (
            "https://a.com:{{v}}",
            "0",
            wrong("https://a.com:{{v}}", "no port"),
        ),
        (host, "xn--99999999.com", wrong(host, "no host")),
        (host, "0177.0.0.1", wrong(host, "no host")),
        (
            "http://{{v}}.spin.internal",
            "a_b",
            wrong("http://{{v}}.spin.internal", "no host"),
        ),
        (
            "https://{{w}}",
            "",
            "`https://{{w}}` uses the variable `w`, which is not declared".into(),
        ),
        (
            "https://{{v",
            "a",
            "`https://{{v` is not a template: `{{` has no `}}` after it".into(),
        ),
    ];
    for (rule, value, expected) in rows {
        assert_eq!(fill(rule, value), expected, "{rule} {value}");
    }
    assert!(
        fill(host, &"a".repeat(1_000_000)).starts_with("`https://{{v}}` would get too long a name")
    );
}
