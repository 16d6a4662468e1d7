//! What a rule may ask for beyond the server: a path and methods.

use http::Method;

use super::error::Why;
use crate::nearest::nearest;
use crate::quote::{escape, shorten};
use crate::{Call, NormalPath, is_never_sent};

/// What a mistyped method is compared with.
const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
/// Registered methods that are near to a usual one, and meant.
const REGISTERED: [&str; 5] = ["LINK", "PRI", "QUERY", "UNLINK", "SEARCH"];
/// Longer lists are a `*`.
const MAX_METHODS: usize = 16;
/// What decodes to something else for longer than this is made to deceive.
const MAX_DECODED: usize = 4;
/// What a label shows of a guest's path.
const MAX_SHOWN: usize = 80;

/// What a rule asks for beyond the server; empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Narrow {
    path: Option<Below>,
    pub(super) methods: Vec<Method>,
}

/// A path, or with a `/` at its end all that begins with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Below(Box<str>);

/// How a call fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NarrowFit {
    Fits,
    Method,
    Path,
    /// The path may mean another one to whoever reads it next.
    Ambiguous,
}

impl Narrow {
    /// Reads a path as it stands in a rule, if there is one.
    pub(super) fn new(path: Option<&str>) -> Result<Narrow, Why> {
        let path = path.map(Below::parse).transpose()?;
        let methods = Vec::new();
        Ok(Narrow { path, methods })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.path.is_none() && self.methods.is_empty()
    }

    pub(super) fn path(&self) -> Option<&str> {
        self.path.as_ref().map(|path| &*path.0)
    }

    pub(super) fn fit(&self, call: &Call<'_>) -> NarrowFit {
        if !self.methods.is_empty() && !self.methods.contains(call.method) {
            return NarrowFit::Method;
        }
        match &self.path {
            None => NarrowFit::Fits,
            Some(_) if !is_plain(call.path) => NarrowFit::Ambiguous,
            Some(path) if path.covers(call.path) => NarrowFit::Fits,
            Some(_) => NarrowFit::Path,
        }
    }

    /// What differs, in words.
    pub(super) fn label(&self, fit: NarrowFit, call: &Call<'_>) -> Option<String> {
        let path = || escape(&shorten(call.path, MAX_SHOWN));
        match fit {
            NarrowFit::Fits => None,
            NarrowFit::Method => Some(format!(
                "the method is {}, this rule allows {}",
                escape(&shorten(call.method.as_str(), MAX_SHOWN)),
                self.method_names()
            )),
            NarrowFit::Path => Some(format!(
                "the path is `{}`, this rule allows {}",
                path(),
                self.path.as_ref().map(Below::words).unwrap_or_default()
            )),
            NarrowFit::Ambiguous => Some(format!(
                "the path `{}` can be read in more than one way, this rule is for a path",
                path()
            )),
        }
    }

    /// `GET, HEAD`
    pub(super) fn method_names(&self) -> String {
        let names: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        names.join(", ")
    }
}

impl Below {
    fn parse(path: &str) -> Result<Below, Why> {
        // As other tools write what is here a `/` at the end.
        let folder = path.strip_suffix("*").or(path.strip_suffix("..."));
        if let Some(folder) = folder.filter(|folder| folder.ends_with('/')) {
            return Err(Why::NotPlain(folder.into()));
        }
        match NormalPath::parse(path) {
            Ok(normal) if normal.as_str() == path && is_plain(path) => Ok(Below(path.into())),
            Ok(normal) if is_plain(normal.as_str()) => Err(Why::NotPlain(normal.as_str().into())),
            _ => Err(Why::BadPath),
        }
    }

    fn covers(&self, path: &str) -> bool {
        if self.0.ends_with('/') {
            path.starts_with(&*self.0)
        } else {
            path == &*self.0
        }
    }

    fn words(&self) -> String {
        if self.0.ends_with('/') {
            return format!("what is below `{}`", self.0);
        }
        format!("`{}` alone", self.0)
    }
}

/// The usual method that was probably meant by one that is not.
pub(crate) fn probably_meant(name: &str) -> Option<&'static str> {
    if USUAL.contains(&name) || REGISTERED.contains(&name) {
        return None;
    }
    nearest(name, USUAL)
}

/// Reads the methods of a rule.
pub(super) fn methods(names: &[&str]) -> Result<Vec<Method>, Why> {
    let mut methods = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let plain = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
        let method = Method::from_bytes(name.as_bytes()).ok().filter(|_| plain);
        match method {
            Some(method) if is_never_sent(&method) => {
                return Err(Why::NoSuchMethod((*name).into()));
            }
            Some(method) if *name == upper => methods.push(method),
            _ => return Err(Why::Method(escape(&shorten(name, MAX_SHOWN)))),
        }
    }
    if methods.is_empty() || methods.len() > MAX_METHODS {
        return Err(Why::Methods);
    }
    Ok(methods)
}

/// Whether a path means the same to everybody: it is in the one form that [`NormalPath`] gives, and no segment becomes a
/// dot segment for whoever decodes it again, takes `\` for `/`, or cuts it at a `;`.
fn is_plain(path: &str) -> bool {
    NormalPath::parse(path).is_ok_and(|normal| normal.as_str() == path)
        && decoded(path).is_some_and(|text| !has_dot_segment(&text))
}

/// Whether a reader who cuts at any of these, trims, or takes one character for another finds a dot segment.
fn has_dot_segment(path: &str) -> bool {
    let cuts = ['/', '\\', ';', '?', '#', '\u{2215}', '\u{ff0f}', '\u{ff3c}'];
    let dot = |c: char| matches!(c, '.' | '\u{2024}' | '\u{ff0e}');
    let blank = |c: char| c.is_whitespace() || c.is_control();
    path.split(cuts).any(|segment| {
        let segment = segment.trim_matches(blank);
        segment == "\u{2025}"
            || (1..=2).contains(&segment.chars().count()) && segment.chars().all(dot)
    })
}

/// All escapes decoded, and those that come out of that; none when that does not end, or is not text on the way.
fn decoded(path: &str) -> Option<String> {
    let mut text = path.to_owned();
    for _ in 0..MAX_DECODED {
        let next = decode(&text)?;
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

/// One round; none where bytes come out that are no text, which are read in as many ways as there are readers.
///
/// A `%` that begins no escape stays: in the next round it may begin one.
fn decode(text: &str) -> Option<String> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let escape = match (byte, after) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &after[2..];
            }
            None => out.push(*byte),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Destination;

    fn fits(rule: &str, methods: &[Method], method: &str, path: &str) -> NarrowFit {
        let below = Some(rule).filter(|rule| *rule != "/");
        let narrow = Narrow {
            methods: methods.to_vec(),
            ..Narrow::new(below).expect(rule)
        };
        let method = method.parse().expect("a method");
        narrow.fit(&Call::new(&Destination::Own, &method, path))
    }

    #[test]
    fn a_path_covers_itself_or_what_is_below_it() {
        use NarrowFit::{Ambiguous, Fits, Path};
        let rows = [
            ("/", "/anything/../at/all", Fits),
            ("/v1/", "/v1/", Fits),
            ("/v1/", "/v1/items/7", Fits),
            ("/v1/", "/v1//x", Fits),
            ("/v1/", "/v1", Path),
            ("/v1/", "/v10/x", Path),
            ("/v1/", "/V1/x", Path),
            ("/v1/", "//v1/x", Path),
            ("/v1/", "/x/v1/", Path),
            ("/v1/", "", Path),
            ("/v1", "/v1", Fits),
            ("/v1", "/v1/", Path),
            ("/v1", "/v1x", Path),
            ("/v1/", "/v1/../admin", Ambiguous),
            ("/v1/", "/v1/./x", Ambiguous),
            ("/v1/", "/v1/..", Ambiguous),
            ("/v1/", "/v1/%2e%2e/admin", Ambiguous),
            ("/v1/", "/v1/.%2E/admin", Ambiguous),
            ("/v1/", "/v1/..%2fadmin", Ambiguous),
            ("/v1/", "/v1/%2f..%2fadmin", Ambiguous),
            ("/v1/", "/v1/..%5cadmin", Ambiguous),
            ("/v1/", "/v1/%252e%252e/admin", Ambiguous),
            ("/v1/", "/v1/%25252e%25252e/admin", Ambiguous),
            ("/v1/", "/v1/%2525252525252e/admin", Ambiguous),
            // Nobody's dot segment, for the `%` stays; and a `%` that stays may begin one.
            ("/v1/", "/v1/%252e%252Gx", Fits),
            ("/v1/", "/v1/%25%2532e%25%2532e/admin", Ambiguous),
            ("/v1/", "/v1/%25%2533e/admin", Fits),
            ("/v1/", "/v1/%c3%25a9", Ambiguous),
            ("/v1/", "/v1/..;/admin", Ambiguous),
            ("/v1/", "/v1/..;x=1/admin", Ambiguous),
            ("/v1/", "/v1/..%3b/admin", Ambiguous),
            ("/v1/", "/v1/..%3fa", Ambiguous),
            ("/v1/", "/v1/..%23/a", Ambiguous),
            ("/v1/", "/v1/..%20/a", Ambiguous),
            ("/v1/", "/v1/%20../a", Ambiguous),
            ("/v1/", "/v1/..%0a/a", Ambiguous),
            ("/v1/", "/v1/%c0%ae%c0%ae/a", Ambiguous),
            ("/v1/", "/v1/%ef%bc%8e%ef%bc%8e/a", Ambiguous),
            ("/v1/", "/v1/%e2%80%a5/a", Ambiguous),
            ("/v1/", "/v1/..%ef%bc%8fa", Ambiguous),
            ("/v1/", "/v1/%c3%a9", Fits),
            ("/v1/", "/v1/a\\b", Ambiguous),
            ("/v1/", "/v1/%00", Ambiguous),
            ("/v1/", "/v1/%zz", Ambiguous),
            ("/v1/", "/v1/\u{e9}", Ambiguous),
            ("/v1/", "/%76%31/x", Ambiguous),
            ("/v1/", "/v1/a%20b", Fits),
            ("/v1/", "/v1/a%2fb", Fits),
            ("/v1/", "/v1/50%25", Fits),
            ("/v1/", "/v1/...", Fits),
            ("/v1/", "/v1/a;b=c/d", Fits),
        ];
        for (rule, path, expected) in rows {
            assert_eq!(fits(rule, &[], "GET", path), expected, "{rule} {path}");
        }
    }

    #[test]
    fn a_method_is_one_that_is_listed() {
        let both = [Method::GET, Method::HEAD];
        for (method, expected) in [
            ("GET", NarrowFit::Fits),
            ("HEAD", NarrowFit::Fits),
            ("POST", NarrowFit::Method),
            ("get", NarrowFit::Method),
            ("PROPFIND", NarrowFit::Method),
        ] {
            assert_eq!(fits("/", &both, method, "/"), expected, "{method}");
        }
    }

    #[test]
    fn a_rules_own_path_is_plain() {
        for (path, expected) in [
            ("/v1/", Ok(())),
            ("/v1/%7Ejoe", Err(Why::NotPlain("/v1/~joe".into()))),
            ("/v1/../x", Err(Why::NotPlain("/x".into()))),
            ("/v1/*", Err(Why::NotPlain("/v1/".into()))),
            ("/v1/...", Err(Why::NotPlain("/v1/".into()))),
            ("/v1/..%2fx", Err(Why::BadPath)),
            ("/v1/ x", Err(Why::BadPath)),
            ("v1", Err(Why::BadPath)),
        ] {
            assert_eq!(Narrow::new(Some(path)).map(drop), expected, "{path}");
        }
    }

    #[test]
    fn methods_are_upper_case_and_never_a_tunnel() {
        assert_eq!(
            methods(&["GET", "PURGE"]),
            Ok(vec![Method::GET, "PURGE".parse().expect("a method")])
        );
        for (names, why) in [
            (&["get"][..], Why::Method("get".into())),
            (&["GET", "Post"], Why::Method("Post".into())),
            (&["*"], Why::Method("*".into())),
            (&[""], Why::Method(String::new())),
            (&["CONNECT"], Why::NoSuchMethod("CONNECT".into())),
            (&[], Why::Methods),
        ] {
            assert_eq!(methods(names), Err(why), "{names:?}");
        }
    }
}
