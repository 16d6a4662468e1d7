//! A path has one form, and that form decides who answers and what is shown.
//!
//! The input is text: a host, a path, and on each further line a route, as `PATH` or `HOST PATH`. The form of a path is
//! compared with a second, slow reading of it, and the route that is found with the best of all that fit.

use std::fmt::Write as _;
use std::path::Path;

use http::uri::PathAndQuery;
use runner_manifest::{Host, Manifest, Match, NormalPath, Route, RouteTable, Variables};

use crate::toml::quoted;

/// Longer inputs say nothing new.
const MAX_INPUT: usize = 4096;
/// More routes only slow the search down.
const MAX_ROUTES: usize = 12;

/// Checks the property for one input.
///
/// # Panics
/// Where it does not hold.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > MAX_INPUT {
        return;
    }
    let mut lines = text.split('\n');
    let [host, path] = [(); 2].map(|()| lines.next().unwrap_or_default());
    let normal = NormalPath::parse(path);
    assert_eq!(
        normal.as_ref().ok().map(NormalPath::as_str),
        slow(path).as_deref(),
        "{path:?}"
    );
    let Ok(normal) = normal else { return };
    is_a_form(&normal);
    is_what_a_guest_can_be_shown(path, &normal);
    let table = table(&lines.take(MAX_ROUTES).collect::<Vec<_>>());
    for host in [None, Some(host)] {
        let found = table.find(host, &normal);
        assert_eq!(
            found.as_ref().map(|found| found.raw_component_route),
            best(&table, host, &normal),
            "{text:?}"
        );
        if let Some(found) = &found {
            tells_the_path(found, &normal);
        }
        for other in spellings(&normal) {
            let again = NormalPath::parse(&other).expect("another spelling of the same");
            assert_eq!(again, normal, "{other:?}");
        }
    }
}

/// What nobody reads in another way.
fn is_a_form(normal: &NormalPath) {
    let text = normal.as_str();
    assert_eq!(NormalPath::parse(text).as_ref(), Ok(normal));
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\?#".contains(&byte);
    assert!(text.starts_with('/') && text.bytes().all(plain), "{text:?}");
    assert!(!text.contains("%00"), "{text:?}");
    assert!(
        !text
            .split('/')
            .any(|segment| [".", ".."].contains(&segment)),
        "{text:?}"
    );
}

/// A target that the server could read stays one, and its path is what was routed.
fn is_what_a_guest_can_be_shown(path: &str, normal: &NormalPath) {
    let came: Option<PathAndQuery> = path.parse().ok();
    if came.is_some_and(|came| came.path() == path) {
        let shown: PathAndQuery = normal.as_str().parse().expect("it was one before");
        assert_eq!(shown.path(), normal.as_str());
    }
}

/// The route, what its names took and what its wildcard took are the path again.
fn tells_the_path(found: &Match<'_>, normal: &NormalPath) {
    let mut params = found.params.iter();
    let mut told = String::new();
    for segment in found.component_route.split('/').skip(1) {
        let text = match segment.strip_prefix(':') {
            None => segment,
            Some(name) => {
                let (own, value) = params.next().expect("a value for each name");
                assert_eq!(*own, name);
                assert!(!value.is_empty() && !value.contains('/'), "{normal}");
                value
            }
        };
        let _ = write!(told, "/{text}");
    }
    assert_eq!(params.next(), None);
    let told = format!("{}{}", told.trim_end_matches('/'), found.path_info);
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    let is_wild = found.matched_route != found.component_route
        && found
            .route
            .pattern
            .as_ref()
            .is_some_and(|p| p.has_wildcard());
    match is_wild {
        true => assert_eq!(told, normal.as_str()),
        false => assert_eq!(bare(&told), bare(normal.as_str())),
    }
}

/// The same path in other words.
fn spellings(normal: &NormalPath) -> [String; 4] {
    let text = normal.as_str();
    let escaped = |form: fn(u8) -> String| -> String {
        let mut out = String::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                // An escape that stays is escaped already.
                b'%' => out.extend(
                    ["%"].into_iter().map(str::to_owned).chain(
                        bytes
                            .by_ref()
                            .take(2)
                            .map(|digit| char::from(digit).to_string()),
                    ),
                ),
                byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    out.push_str(&form(byte));
                }
                byte => out.push(byte.into()),
            }
        }
        out
    };
    [
        escaped(|byte| format!("%{byte:02x}")),
        escaped(|byte| format!("%{byte:02X}")),
        format!("/x/..{text}"),
        text.replacen('/', "/%2E/", 1),
    ]
}

/// The routes that are some, and are not there before.
fn table(lines: &[&str]) -> RouteTable {
    let mut manifest = "spin_manifest_version = 2\n[application]\nname = \"a\"\n".to_owned();
    let mut table = RouteTable::default();
    for line in lines {
        let (host, route) = match line.split_once(' ') {
            Some((host, route)) => (Some(host), route),
            None => (None, *line),
        };
        let mut with = format!("{manifest}[[trigger.http]]\nroute = {}\n", quoted(route));
        if let Some(host) = host {
            let _ = writeln!(with, "host = {}", quoted(host));
        }
        with.push_str("static_response = {}\n");
        if let Ok(read) = Manifest::parse(&with, Path::new("a.toml"), &Variables::default()) {
            (manifest, table) = (with, read.routes);
        }
    }
    table
}

/// The best of all routes that fit, each looked at by itself.
fn best<'a>(table: &'a RouteTable, host: Option<&str>, path: &NormalPath) -> Option<&'a str> {
    let host = host.and_then(named);
    let of_host = |own: Option<&str>| {
        let fits = table
            .routes()
            .iter()
            .filter(move |route| route.host.as_deref() == own);
        let ranked = fits.filter_map(|route| Some((rank(route, path)?, route)));
        ranked.min_by(|one, other| one.0.cmp(&other.0))
    };
    let found = host
        .and_then(|host| of_host(Some(&host)))
        .or_else(|| of_host(None));
    found.and_then(|(_, route)| route.pattern.as_ref().map(|pattern| pattern.as_str()))
}

/// A host as routes have it.
fn named(host: &str) -> Option<String> {
    // What stands behind it is no port, perhaps: the server has refused such a host before it asks for a route.
    let from = host
        .find(']')
        .filter(|_| host.starts_with('['))
        .unwrap_or(0);
    let end = host[from..].find(':').map_or(host.len(), |at| from + at);
    Some(host[..end].parse::<Host>().ok()?.to_string())
}

/// How a route fits, segment by segment: the lower, the better.
fn rank(route: &Route, path: &NormalPath) -> Option<Vec<u8>> {
    let pattern = route.pattern.as_ref()?;
    let own = pattern.without_wildcard();
    let own: Vec<&str> = match (own, pattern.has_wildcard()) {
        ("/", _) => Vec::new(),
        (own, true) => own.split('/').skip(1).collect(),
        (own, false) => own.trim_end_matches('/').split('/').skip(1).collect(),
    };
    let asked: Vec<&str> = path.as_str().split('/').skip(1).collect();
    let mut ranks = Vec::new();
    for (at, segment) in own.iter().enumerate() {
        let asked = asked.get(at).filter(|asked| !asked.is_empty())?;
        match segment.starts_with(':') {
            true => ranks.push(1),
            false if segment == asked => ranks.push(0),
            false => return None,
        }
    }
    match (pattern.has_wildcard(), &asked[own.len()..]) {
        (true, _) => ranks.push(2),
        (false, [] | [""]) => ranks.push(0),
        (false, _) => return None,
    }
    Some(ranks)
}

/// The form of a path, read the slowest way: cut first, decoded after.
fn slow(path: &str) -> Option<String> {
    let mut form: Vec<String> = Vec::new();
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    for (at, segment) in segments.iter().enumerate() {
        let segment = decoded(segment)?;
        let is_dots = [".", ".."].contains(&segment.as_str());
        if segment == ".." {
            form.pop()?;
        }
        if !is_dots {
            form.push(segment);
        } else if at + 1 == segments.len() {
            form.push(String::new());
        }
    }
    Some(format!("/{}", form.join("/")))
}

/// A segment without the escapes that nothing needs.
fn decoded(segment: &str) -> Option<String> {
    let is_bare = |c: char| c.is_ascii_graphic() && !"\\?#%".contains(c);
    let mut parts = segment.split('%');
    let mut out = parts.next()?.to_owned();
    if !out.chars().all(is_bare) {
        return None;
    }
    for part in parts {
        let digits = part.get(..2)?;
        if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) || !part.chars().all(is_bare) {
            return None;
        }
        match u8::from_str_radix(digits, 16).ok()? {
            0 | b'\\' => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(byte.into());
                out.push_str(&part[2..]);
            }
            _ => out.extend(["%", part]),
        }
    }
    Some(out)
}
