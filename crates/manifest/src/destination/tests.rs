use super::*;

fn canonical(url: &str) -> String {
    match Destination::from_url(url) {
        Ok(to) => to.to_string(),
        Err(bad) => bad.reason().into(),
    }
}

#[test]
fn a_url_has_one_form() {
    let rows = [
        ("c07", "http://a.b.ok.test:8080/", "http://a.b.ok.test:8080"),
        ("c08", "https://allowed.com./", "https://allowed.com"),
        ("c10", "HTTPS://ALLOWED.COM/", "https://allowed.com"),
        ("c10", "https://allowed.com:443", "https://allowed.com"),
        ("c15", "http://127.0.0.1:9002/", "http://127.0.0.1:9002"),
        ("c12", "http://[0:0::0:1]:80/x", "http://[::1]"),
        (
            "c13",
            "http://[64:ff9b::808:808]/",
            "http://[64:ff9b::808:808]",
        ),
        (
            "c16",
            "http://169.254.169.254/latest/meta-data/",
            "http://169.254.169.254",
        ),
        (
            "c38",
            "http://xn--allowed-q1a.com",
            "http://xn--allowed-q1a.com",
        ),
        ("c48", "https://allowed.com:/", "https://allowed.com"),
        ("c48", "https://allowed.com:00443/", "https://allowed.com"),
        ("c48", "http://allowed.com:443", "http://allowed.com:443"),
        ("c50", "http://_srv.localhost", "http://_srv.localhost"),
        (
            "c56",
            "http://127.0.0.1:9002?@allowed.com/",
            "http://127.0.0.1:9002",
        ),
        (
            "c56",
            "http://127.0.0.1:9002#@allowed.com/",
            "http://127.0.0.1:9002",
        ),
        (
            "c56",
            "http://127.0.0.1:9002\\@allowed.com/",
            "http://127.0.0.1:9002",
        ),
        ("own", "/path", "http://self"),
        ("own", "https://self/path", "http://self"),
        ("own", "http://SELF.alt:80/", "http://self"),
        (
            "component",
            "http://B.spin.internal/x",
            "http://b.spin.internal",
        ),
        (
            "component",
            "https://b.spin.internal:443",
            "http://b.spin.internal",
        ),
    ];
    for (row, url, expected) in rows {
        assert_eq!(canonical(url), expected, "{row} {url}");
    }
}

#[test]
fn a_url_that_two_parsers_could_read_differently_is_refused() {
    const USER: &str = "it has a user name or a password; send them in a header";
    const NUMBER: &str = "the host looks like a number but is not an address of four decimal parts, such as `192.0.2.1`";
    const EMPTY_LABEL: &str = "the host has an empty label between dots";
    const NOT_IPV6: &str = "what stands in brackets is not an IPv6 address";
    const ZONE: &str = "an address may not have a zone (`%…`)";
    const PERCENT: &str = "the host has a `%`; hosts are not percent-encoded";
    const PORT: &str = "the port is not a number from 1 to 65535";
    const SCHEME: &str = "its scheme is not `http` or `https`";
    const NO_SCHEME: &str = "it has no scheme; write `http://` or `https://` in front";
    const INTERNAL: &str = "below `spin.internal` stands the name of one component";
    const INTERNAL_PORT: &str = "what is inside the application has no port";
    let long_label = format!("http://{}.com", "a".repeat(64));
    let long_name = format!("http://{}com", "a.".repeat(126));
    let rows = [
        ("c01", "https://allowed.com@evil.com/", USER),
        ("c02", "https://allowed.com:443@evil.com/", USER),
        ("c03", "https://user@evil.com:80@allowed.com/", USER),
        ("c09", "https://allowed.com../", EMPTY_LABEL),
        ("c09", "https://a..ok.test/", EMPTY_LABEL),
        ("c09", "https://.allowed.com/", EMPTY_LABEL),
        ("c09", "https://./", "it has no host"),
        ("c11", "http://127.1:9002/", NUMBER),
        ("c11", "http://2130706433/", NUMBER),
        ("c11", "http://0x7f000001/", NUMBER),
        ("c11", "http://0X7F000001/", NUMBER),
        ("c11", "http://0x7f.1/", NUMBER),
        ("c11", "http://0177.0.0.1/", NUMBER),
        ("c11", "http://017700000001/", NUMBER),
        ("c11", "http://127.0.0.1./", NUMBER),
        ("c11", "http://0/", NUMBER),
        ("c11", "http://127.0.0.01", NUMBER),
        ("c11", "http://256.0.0.1", NUMBER),
        ("c11", "http://a.0x1", NUMBER),
        (
            "c12",
            "http://[::ffff:127.0.0.1]:9002/",
            "it is an IPv4 address in an IPv6 one; write `127.0.0.1`",
        ),
        (
            "c12",
            "http://[::ffff:7f00:1]/",
            "it is an IPv4 address in an IPv6 one; write `127.0.0.1`",
        ),
        (
            "c12",
            "http://[::ffff:8.8.8.8]/",
            "it is an IPv4 address in an IPv6 one; write `8.8.8.8`",
        ),
        (
            "c12",
            "http://[::127.0.0.1]/",
            "`::7f00:1` carries an IPv4 address that is not public",
        ),
        (
            "c13",
            "http://[64:ff9b::7f00:1]/",
            "`64:ff9b::7f00:1` carries an IPv4 address that is not public",
        ),
        (
            "c13",
            "http://[64:ff9b:1::808:808]/",
            "`64:ff9b:1::808:808` carries an IPv4 address that is not public",
        ),
        (
            "c13",
            "http://[2002:7f00:1::]/",
            "`2002:7f00:1::` carries an IPv4 address that is not public",
        ),
        (
            "c13",
            "http://[2001:0:1::80ff:fffe]/",
            "`2001:0:1::80ff:fffe` carries an IPv4 address that is not public",
        ),
        ("c14", "http://[fe80::1%25eth0]/", ZONE),
        ("c14", "http://[fe80::1%eth0]/", ZONE),
        ("c14", "http://[v1.fe80]/", NOT_IPV6),
        ("c14", "http://[::1", NOT_IPV6),
        ("c14", "http://[::1]x:80", NOT_IPV6),
        ("c14", "http://[127.0.0.1]", NOT_IPV6),
        ("c14", "http://::1", "it has no host"),
        ("c15", "http://[::]/", "`::` is not the address of one host"),
        (
            "c15",
            "http://0.0.0.0:9002/",
            "`0.0.0.0` is not the address of one host",
        ),
        (
            "c15",
            "http://255.255.255.255/",
            "`255.255.255.255` is not the address of one host",
        ),
        (
            "c15",
            "http://224.0.0.1/",
            "`224.0.0.1` is not the address of one host",
        ),
        (
            "c15",
            "http://[ff02::1]/",
            "`ff02::1` is not the address of one host",
        ),
        (
            "c38",
            "http://xn--a.evil.com:8080",
            "`xn--a` is not a valid encoded name",
        ),
        (
            "c46",
            "https://xn--.com",
            "a part of the host begins or ends with `-`",
        ),
        (
            "c46",
            "https://xn--99999999.com",
            "`xn--99999999` is not a valid encoded name",
        ),
        (
            "c46",
            "https://\u{430}llowed.com",
            "the host has `\u{430}`, which is not ASCII; write the name as it is in DNS, `xn--…`",
        ),
        (
            "c46",
            "https://allowed\u{3002}com",
            "the host has `\u{3002}`, which is not ASCII; write the name as it is in DNS, `xn--…`",
        ),
        (
            "c46",
            "https://\u{24d0}llowed.com",
            "the host has `\u{24d0}`, which is not ASCII; write the name as it is in DNS, `xn--…`",
        ),
        ("c47", "https://allowed%2ecom", PERCENT),
        ("c47", "https://allowed.com%2eevil.com", PERCENT),
        ("c47", "https://%61llowed.com", PERCENT),
        ("c48", "https://allowed.com:0", PORT),
        ("c48", "https://allowed.com:+443", PORT),
        ("c48", "https://allowed.com: 443", PORT),
        ("c48", "https://allowed.com:443:80", PORT),
        ("c48", "https://allowed.com:65536", PORT),
        ("c48", "https://allowed.com:\u{ff19}", PORT),
        ("c48", "http://[::1]:80:80", PORT),
        ("c49", "allowed.com", NO_SCHEME),
        ("c49", "://allowed.com", NO_SCHEME),
        ("c49", "//allowed.com", NO_SCHEME),
        ("c49", "ws://allowed.com", SCHEME),
        ("c49", "ftp://allowed.com", SCHEME),
        ("c49", "unix://allowed.com", SCHEME),
        ("c49", "file:///etc/passwd", SCHEME),
        ("c49", "http+unix://%2Fvar%2Frun%2Fdocker.sock", SCHEME),
        ("c49", "https ://allowed.com", SCHEME),
        ("c50", "http://", "it has no host"),
        (
            "name",
            "http://a b.com",
            "the host has ` `, which no name has",
        ),
        (
            "name",
            "http://*.com",
            "the host has `*`, which no name has",
        ),
        (
            "name",
            "http://-a.com",
            "a part of the host begins or ends with `-`",
        ),
        (
            "name",
            &long_label,
            "a part of the host is longer than 63 characters",
        ),
        ("name", &long_name, "the host is longer than 253 characters"),
        ("own", "http://self:8080", INTERNAL_PORT),
        ("component", "http://b.spin.internal:8080", INTERNAL_PORT),
        ("component", "http://spin.internal", INTERNAL),
        ("component", "http://a.b.spin.internal", INTERNAL),
        ("component", "http://a_b.spin.internal", INTERNAL),
    ];
    for (row, url, expected) in rows {
        assert_eq!(canonical(url), expected, "{row} {url}");
    }
}

#[test]
fn c56_a_guests_authority_is_only_an_authority() {
    for authority in ["127.0.0.1:9002?", "a.com/", "a.com#", "a.com\\"] {
        let bad = Destination::from_guest("http", authority).expect_err(authority);
        let last = &authority[authority.len() - 1..];
        let last = last.escape_default();
        assert_eq!(
            bad.reason(),
            format!("`{last}` ends the host, and what follows is not part of it")
        );
    }
}

#[test]
fn an_error_never_shows_a_password() {
    let rows = [
        ("https://user:secret@evil.com/", "https://***@evil.com"),
        ("https://secret@b@c", "https://***@c"),
        ("user:secret@evil.com", "***@evil.com"),
        (
            "ftp://secret@evil.com\u{1b}[31m",
            "ftp://***@evil.com\\u{1b}[31m",
        ),
    ];
    for (url, shown) in rows {
        let bad = Destination::from_url(url).expect_err(url);
        assert_eq!(bad.url(), shown);
        assert!(!format!("{bad} {bad:?}").contains("secret"));
    }
    let long = Destination::from_guest("http", &"%".repeat(100_000)).expect_err("percent");
    assert_eq!(long.url().chars().count(), MAX_SHOWN + 1);
}

#[test]
fn the_host_header_is_the_origins() {
    let rows = [
        ("https://a.com:443", "a.com"),
        ("http://a.com:443", "a.com:443"),
        ("http://[::1]", "[::1]"),
        ("http://[::1]:8080", "[::1]:8080"),
    ];
    for (url, expected) in rows {
        let Ok(Destination::Remote(origin)) = Destination::from_url(url) else {
            panic!("{url}")
        };
        assert_eq!(origin.authority(), expected);
    }
}
