//! A request that a test wants a probe to send, exactly as the test spells it.

use crate::Query;

/// What to send, and what to do with the answer.
pub struct Fetch {
    pub method: String,
    pub scheme: Option<Scheme>,
    pub authority: Option<String>,
    pub path: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Let go of the body without ending it.
    pub unfinished: bool,
    /// In nanoseconds, as all of the timeouts.
    pub connect_timeout: Option<u64>,
    pub first_byte_timeout: Option<u64>,
    pub between_bytes_timeout: Option<u64>,
    /// How many at the same time.
    pub count: usize,
    /// How often, one round after the other; a tally is made of them.
    pub times: Option<usize>,
    /// What to print once all of a round are under way.
    pub say: Option<String>,
    /// How long to keep an answer before its body is read, or a call before it is let go of.
    pub hold: Option<u64>,
    /// Pass the answer on as it comes.
    pub stream: bool,
    /// Start the request and let go of it.
    pub abandon: bool,
}

/// A scheme as the bindings know them; `Other` even when it spells `http`.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    Http,
    Https,
    Other(String),
}

impl Fetch {
    /// `url=` is taken apart without judging it; `scheme=`, `authority=` and `path=` replace its parts.
    pub fn of(query: &Query) -> Fetch {
        let (scheme, authority, path) = query.text("url").map_or((None, None, None), parts);
        let own = |key: &str, part: Option<&str>| query.text(key).or(part).map(str::to_owned);
        Fetch {
            method: query.text("method").unwrap_or("GET").into(),
            scheme: query.text("scheme").or(scheme).map(Scheme::of),
            authority: own("authority", authority),
            path: own("path", path),
            headers: query.headers("header"),
            body: body(query),
            trailers: query.headers("trailer"),
            unfinished: query.flag("unfinished"),
            connect_timeout: query.nanoseconds("connect"),
            first_byte_timeout: query.nanoseconds("first-byte"),
            between_bytes_timeout: query.nanoseconds("between-bytes"),
            count: query.number("n", 1),
            times: query.text("times").and_then(|times| times.parse().ok()),
            say: query.text("say").map(str::to_owned),
            hold: query.nanoseconds("hold"),
            stream: query.flag("stream"),
            abandon: query.flag("abandon"),
        }
    }
}

impl Scheme {
    /// `other:http` is the way to say `Other("http")`.
    fn of(text: &str) -> Scheme {
        match text {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.strip_prefix("other:").unwrap_or(other).into()),
        }
    }
}

/// Scheme, authority, path. What has no `://` is a path: a relative request.
fn parts(url: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return (None, None, Some(url));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    (
        Some(scheme),
        Some(authority),
        Some(path).filter(|path| !path.is_empty()),
    )
}

/// `body=TEXT`, or `body-bytes=N` for N times `x`.
fn body(query: &Query) -> Vec<u8> {
    match query.text("body") {
        Some(text) => text.into(),
        None => vec![b'x'; query.number("body-bytes", 0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_without_judging_it() {
        for (url, scheme, authority, path) in [
            (
                "http://a.test/b?c",
                Some("http"),
                Some("a.test"),
                Some("/b?c"),
            ),
            ("http://a.test", Some("http"), Some("a.test"), None),
            (
                "http://a.test\\@b.test/",
                Some("http"),
                Some("a.test"),
                Some("\\@b.test/"),
            ),
            ("/own", None, None, Some("/own")),
            ("://x/", Some(""), Some("x"), Some("/")),
        ] {
            assert_eq!(parts(url), (scheme, authority, path), "{url}");
        }
    }
}
