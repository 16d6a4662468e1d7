//! The index against a look at every rule.

use super::*;

/// The next number of a small generator: the same in every run.
fn next(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn the_index_finds_what_looking_at_every_rule_finds() {
    let schemes = ["http", "https", "*"];
    let hosts = [
        "a.com",
        "*.a.com",
        "*.b.a.com",
        "b.a.com",
        "*",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "[fd00::]/8",
        "[fd00::1]",
        "localhost",
        "self",
        "*.spin.internal",
        "x.spin.internal",
        "0.0.0.0/0",
        "com",
        "*.com",
    ];
    let ports = ["", ":*", ":80", ":443", ":81", ":80..90"];
    let urls = [
        "a.com",
        "b.a.com",
        "c.b.a.com",
        "xa.com",
        "10.1.2.3",
        "10.2.0.1",
        "11.0.0.1",
        "[fd00::1]",
        "[fd00::2]",
        "localhost",
        "self",
        "x.spin.internal",
        "y.spin.internal",
        "127.0.0.1",
        "8.8.8.8",
        "com",
        "d.com",
    ];
    let mut state = 7;
    let mut pick = |of: &[&'static str]| of[next(&mut state) % of.len()];
    let (mut allowed, mut denied) = (0, 0);
    for _ in 0..300 {
        let texts: Vec<_> = (0..12)
            .map(|_| format!("{}://{}{}", pick(&schemes), pick(&hosts), pick(&ports)))
            .collect();
        // Some of them are none: what has no usual port, or a port inside the app.
        let rules: Vec<_> = texts
            .iter()
            .filter_map(|text| AllowedHost::parse(text).ok())
            .collect();
        let list = AllowList::from(rules.clone());
        for _ in 0..40 {
            let url = format!(
                "{}://{}{}",
                pick(&["http", "https"]),
                pick(&urls),
                pick(&["", ":80", ":443", ":81", ":85"])
            );
            let Ok(to) = Destination::from_url(&url) else {
                continue;
            };
            let call = Call::get(&to);
            let expected = rules.iter().position(|rule| rule.fit(&call).is_whole());
            assert_eq!(list.covering(&call), expected, "{url} {rules:?}");
            match expected {
                Some(_) => allowed += 1,
                None => denied += 1,
            }
            if let (Some(rule), Destination::Remote(origin)) = (expected, &to) {
                for ip in ["10.1.2.3", "127.0.0.1", "fd00::1", "::1", "192.168.0.1"] {
                    let ip: IpAddr = ip.parse().expect("an address");
                    let writes_out = |rule: &AllowedHost| {
                        rule.fits_scheme(origin)
                            && rule.fits_port(origin)
                            && rule.writes_out().iter().any(|net| net.contains(&ip))
                    };
                    assert_eq!(
                        list.may_dial(rule, origin, ip),
                        rules.iter().any(writes_out),
                        "{url} {ip} {rules:?}"
                    );
                }
            }
        }
    }
    assert!(allowed > 1000 && denied > 1000, "{allowed} {denied}");
}
