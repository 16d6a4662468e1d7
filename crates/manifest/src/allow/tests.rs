mod errors;
mod index;
mod narrow;

use super::*;
use crate::{Destination, WrittenCall};

fn list(rules: &str) -> AllowList {
    AllowList::parse(rules.split_whitespace()).unwrap_or_else(|error| panic!("{error}"))
}

/// What the list says, in a word or two.
fn verdict(rules: &str, url: &str) -> String {
    says(&list(rules), url)
}

fn says(list: &AllowList, call: &str) -> String {
    let Ok(call) = WrittenCall::parse(call) else {
        return "not a destination".into();
    };
    match list.check(&call.as_call()) {
        Verdict::Allow { rule } => format!("by {rule}"),
        Verdict::Deny { nearest: None } => "no".into(),
        Verdict::Deny {
            nearest: Some(miss),
        } => format!("{:?}: {miss}", miss.part),
    }
}

#[test]
fn a_rule_covers_what_it_says_and_nothing_else() {
    let base = "https://allowed.com http://*.ok.test:8080 http://127.0.0.1:9001";
    let bad = "not a destination";
    let rows = [
        ("c01", base, "https://allowed.com@evil.com/", bad),
        (
            "c04",
            base,
            "https://allowed.com.evil.com/",
            "Host: the host is `allowed.com.evil.com`, this rule allows `allowed.com`",
        ),
        (
            "c05",
            base,
            "https://evilallowed.com/",
            "Host: the host is `evilallowed.com`, this rule allows `allowed.com`",
        ),
        (
            "c05",
            base,
            "http://evilok.test:8080/",
            "Host: the host is `evilok.test`, this rule allows `*.ok.test`",
        ),
        (
            "c06",
            base,
            "http://ok.test:8080/",
            "Host: this rule allows what is below `ok.test`, not `ok.test` itself",
        ),
        (
            "c07",
            base,
            "http://a.ok.test:8080/",
            "by http://*.ok.test:8080",
        ),
        (
            "c07",
            base,
            "http://a.b.ok.test:8080/",
            "by http://*.ok.test:8080",
        ),
        (
            "c08",
            base,
            "https://allowed.com./",
            "by https://allowed.com",
        ),
        (
            "c10",
            base,
            "HTTPS://ALLOWED.COM/",
            "by https://allowed.com",
        ),
        ("c11", base, "http://127.1:9001/", bad),
        ("c12", base, "http://[::ffff:127.0.0.1]:9001/", bad),
        (
            "c16",
            "*://*:*",
            "http://169.254.169.254/",
            "PrivateAddress: 169.254.169.254 is not a public address, a rule must write it out",
        ),
        (
            "c16",
            "*://*:*",
            "http://[fd00:ec2::254]/",
            "PrivateAddress: fd00:ec2::254 is not a public address, a rule must write it out",
        ),
        (
            "c16",
            "*://*:*",
            "http://100.100.100.200/",
            "PrivateAddress: 100.100.100.200 is not a public address, a rule must write it out",
        ),
        (
            "c16",
            "*://*:* http://169.254.169.254",
            "http://169.254.169.254/",
            "by http://169.254.169.254",
        ),
        ("c16", "*://*:*", "http://8.8.8.8/", "by *://*:*"),
        ("c16", "*://*:*", "https://example.com:444/", "by *://*:*"),
        (
            "c20",
            base,
            "http://127.0.0.1:9001/",
            "by http://127.0.0.1:9001",
        ),
        (
            "c20",
            base,
            "http://127.0.0.1:9002/",
            "Port: the port is 9002, this rule allows 9001",
        ),
        (
            "demo",
            "http://127.0.0.1:9100",
            "http://127.0.0.1:9101",
            "Port: the port is 9101, this rule allows 9100",
        ),
        (
            "c38",
            "https://*",
            "http://anything:80",
            "Scheme: the scheme is http, this rule allows https",
        ),
        (
            "c38",
            "https://*",
            "http://anything:443",
            "Scheme: the scheme is http, this rule allows https",
        ),
        ("c38", base, "https://allowed.com:65536", bad),
        (
            "c50",
            "*://*:*",
            "http://localhost",
            "PrivateAddress: `localhost` is this machine, a rule must write it out",
        ),
        (
            "c50",
            "*://*:*",
            "http://x.localhost",
            "PrivateAddress: `x.localhost` is this machine, a rule must write it out",
        ),
        (
            "c50",
            "*://*:*",
            "http://localhost.localdomain",
            "PrivateAddress: `localhost.localdomain` is this machine, a rule must write it out",
        ),
        (
            "c50",
            "http://localhost:*",
            "http://localhost:8080",
            "by http://localhost:*",
        ),
        (
            "c50",
            "http://*.localhost",
            "http://x.localhost",
            "by http://*.localhost",
        ),
        (
            "c50",
            "http://localhost",
            "http://127.0.0.1",
            "Host: the host is `127.0.0.1`, this rule allows `localhost`",
        ),
        (
            "range",
            "http://a.com:8000..8010",
            "http://a.com:8000",
            "by http://a.com:8000..8010",
        ),
        (
            "range",
            "http://a.com:8000..8010",
            "http://a.com:8009",
            "by http://a.com:8000..8010",
        ),
        (
            "range",
            "http://a.com:8000..8010",
            "http://a.com:8010",
            "Port: the port is 8010, this rule allows 8000..8010 (8010 not included)",
        ),
        (
            "cidr",
            "http://10.0.0.0/8:8080",
            "http://10.1.2.3:8080",
            "by http://10.0.0.0/8:8080",
        ),
        (
            "cidr",
            "http://10.9.9.9/8",
            "http://10.1.2.3",
            "by http://10.9.9.9/8",
        ),
        (
            "cidr",
            "http://10.0.0.0/8",
            "http://11.0.0.1",
            "Host: the host is `11.0.0.1`, this rule allows `10.0.0.0/8`",
        ),
        (
            "cidr",
            "http://10.0.0.0/8",
            "http://a.com",
            "Host: the host is a name, this rule allows addresses",
        ),
        (
            "cidr",
            "http://fd00::/8:443",
            "http://[fd00::1]:443",
            "by http://fd00::/8:443",
        ),
        (
            "cidr",
            "http://[fd00::]/8/",
            "http://[fd00::1]",
            "by http://[fd00::]/8/",
        ),
        (
            "ip",
            "http://*.10.com",
            "http://10.0.0.1",
            "Host: the host is an address, this rule allows names",
        ),
        (
            "ip",
            "http://[::1]:80",
            "http://[0:0::1]",
            "by http://[::1]:80",
        ),
        (
            "other",
            "redis://a.com",
            "http://a.com",
            "Scheme: the scheme is http, this rule allows redis",
        ),
        ("other", "redis://b.com:1", "http://a.com", "no"),
        (
            "case",
            "https://Allowed.COM.",
            "https://allowed.com",
            "by https://Allowed.COM.",
        ),
        (
            "slash",
            "https://allowed.com/",
            "https://allowed.com",
            "by https://allowed.com/",
        ),
        ("c21", "http://self", "/x", "by http://self"),
        (
            "c21",
            "https://self.alt",
            "http://self",
            "by https://self.alt",
        ),
        ("c21", "*://self:*", "http://self", "by *://self:*"),
        (
            "c21",
            "*://*:*",
            "/x",
            "PrivateAddress: `*` covers servers elsewhere, not what is inside the application",
        ),
        ("c21", "https://a.com", "/x", "no"),
        (
            "c21",
            "http://b.spin.internal",
            "/x",
            "Host: the host is `self`, this rule allows `b.spin.internal`",
        ),
        ("c21", "http://SELF", "/x", "by http://SELF"),
        (
            "chain",
            "http://*.Spin.internal",
            "http://b.spin.internal",
            "by http://*.Spin.internal",
        ),
        (
            "chain",
            "http://b.spin.internal",
            "http://b.spin.internal",
            "by http://b.spin.internal",
        ),
        (
            "chain",
            "http://*.spin.internal",
            "http://b.spin.internal",
            "by http://*.spin.internal",
        ),
        (
            "chain",
            "http://b.spin.internal",
            "http://c.spin.internal",
            "Host: the host is `c.spin.internal`, this rule allows `b.spin.internal`",
        ),
        (
            "chain",
            "*://*:*",
            "http://b.spin.internal",
            "PrivateAddress: `*` covers servers elsewhere, not what is inside the application",
        ),
        ("chain", "http://*.internal", "http://b.spin.internal", "no"),
        ("empty", "", "http://a.com", "no"),
        (
            "two",
            "https://a.com:8443",
            "http://a.com:8080",
            "Scheme: the scheme is http, this rule allows https; the port is 8080, this rule allows 8443",
        ),
        (
            "nearest",
            "https://x.org https://a.com:1 redis://a.com",
            "https://a.com",
            "Port: the port is 443, this rule allows 1",
        ),
    ];
    for (row, rules, url, expected) in rows {
        assert_eq!(verdict(rules, url), expected, "{row} {rules} {url}");
    }
}

#[test]
fn a_list_opens_the_addresses_that_it_writes_out_for_this_scheme_and_port() {
    let rules = "http://a.com:* http://10.0.0.0/8 http://[fd00::1]:81 https://172.16.0.1 http://localhost *://192.168.0.0/16:*";
    let rows = [
        ("http://a.com", "10.1.2.3", true),
        ("http://a.com", "127.0.0.1", true),
        ("http://a.com", "::1", true),
        ("http://a.com", "192.168.7.7", true),
        ("http://a.com", "8.8.8.8", true),
        ("http://a.com", "fd00::1", false),
        ("http://a.com", "172.16.0.1", false),
        ("http://a.com", "127.0.0.2", false),
        ("http://a.com:81", "fd00::1", true),
        ("http://a.com:81", "192.168.7.7", true),
        ("http://a.com:81", "10.1.2.3", false),
        ("http://10.0.0.1", "10.0.0.1", true),
    ];
    for (url, ip, expected) in rows {
        assert_eq!(dials(&list(rules), url, ip), expected, "{url} {ip}");
    }
}

/// Whether the list allows a URL and then an address.
fn dials(list: &AllowList, url: &str, ip: &str) -> bool {
    let to = Destination::from_url(url).expect(url);
    let rule = list.covering(&Call::get(&to)).expect("it is allowed");
    let Destination::Remote(origin) = &to else {
        panic!("{url} is outside")
    };
    list.may_dial(rule, origin, ip.parse().expect("an address"))
}

#[test]
fn an_address_is_dialled_when_global_or_written_out() {
    let rows = [
        ("8.8.8.8", "", true),
        ("127.0.0.1", "", false),
        ("127.0.0.1", "http://127.0.0.1/32", true),
        ("127.0.0.2", "http://127.0.0.1/32", false),
        ("10.1.2.3", "http://10.0.0.0/8", true),
        ("169.254.169.254", "http://0.0.0.0/0", true), // c16: the range was written out
        ("0.0.0.0", "http://0.0.0.0/0", false),        // c15
        ("255.255.255.255", "http://0.0.0.0/0", false),
        ("224.0.0.1", "http://0.0.0.0/0", false),
        ("::", "http://[::]/0", false),
        ("::1", "http://[::]/0", true),
        ("::ffff:127.0.0.1", "http://[::]/0", false), // c12
        ("::ffff:127.0.0.1", "http://127.0.0.0/8", false),
        ("64:ff9b::7f00:1", "http://[::]/0", false), // c13
        ("64:ff9b:1::1", "http://[::]/0", false),
        ("fd00::1", "http://[fd00::]/8", true),
    ];
    for (ip, rule, expected) in rows {
        let list = list(&format!("http://a.com {rule}"));
        assert_eq!(dials(&list, "http://a.com", ip), expected, "{ip} {rule}");
    }
}
