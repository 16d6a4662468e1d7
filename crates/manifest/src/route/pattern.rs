//! A route's path: literal segments, `:name` segments, and perhaps a wildcard at the end.

use std::fmt;
use std::str::FromStr;

use crate::{BadPath, NormalPath};

/// Far deeper than any API; it bounds how deep a search goes.
const MAX_SEGMENTS: usize = 64;
/// As long as paths that clients send without thinking.
const MAX_PATTERN: usize = 2048;

/// A route's path: literal segments, `:name` segments, and perhaps `/...` or `/*` at the end.
///
/// One `/` at the end does not count: `/a/` is the route `/a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    text: String,
    prefix: usize,
    pub(super) segments: Vec<Segment>,
    pub(super) wildcard: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    Parameter(String),
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRoute {
    /// It is not a path, with what makes it none.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// A path that is written in another way than the one that is matched.
    #[error("a route is written in the form that paths are brought to, `{0}`")]
    NotNormal(String),
    /// `/a//b`
    #[error("a route has no empty segment")]
    EmptySegment,
    /// A wildcard that is not at the end.
    #[error("a wildcard stands at the end of a route")]
    Wildcard,
    /// `:` without a name, or with one that no header can carry.
    #[error("the name of a `:parameter` has letters, digits, `-` and `_`")]
    Parameter,
    /// Two parameters with one name.
    #[error("the parameter `:{0}` is there twice")]
    Twice(String),
    /// More than the longest.
    #[error("a route has at most {MAX_SEGMENTS} segments and {MAX_PATTERN} characters")]
    TooLong,
}

impl RoutePattern {
    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern without its wildcard: `/a` for `/a/...`, and `/` for `/...`.
    pub fn without_wildcard(&self) -> &str {
        let prefix = &self.text[..self.prefix];
        if prefix.is_empty() { "/" } else { prefix }
    }

    /// Whether it ends in a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.wildcard
    }
}

impl FromStr for RoutePattern {
    type Err = BadRoute;

    fn from_str(text: &str) -> Result<RoutePattern, BadRoute> {
        if text.len() > MAX_PATTERN {
            return Err(BadRoute::TooLong);
        }
        let normal = NormalPath::parse(text)?;
        if normal.as_str() != text {
            return Err(BadRoute::NotNormal(normal.as_str().into()));
        }
        let stem = text
            .strip_suffix("/...")
            .or_else(|| text.strip_suffix("/*"));
        let prefix = stem.unwrap_or_else(|| text.strip_suffix('/').unwrap_or(text));
        let segments: Vec<Segment> = prefix
            .split('/')
            .skip(1)
            .map(Segment::parse)
            .collect::<Result<_, _>>()?;
        if segments.len() > MAX_SEGMENTS {
            return Err(BadRoute::TooLong);
        }
        unique(&segments)?;
        Ok(RoutePattern {
            text: text.into(),
            prefix: prefix.len(),
            segments,
            wildcard: stem.is_some(),
        })
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Segment, BadRoute> {
        let name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        match text.strip_prefix(':') {
            _ if text.is_empty() => Err(BadRoute::EmptySegment),
            _ if text == "..." || text.contains('*') => Err(BadRoute::Wildcard),
            None => Ok(Segment::Literal(text.into())),
            Some(parameter) if !parameter.is_empty() && parameter.bytes().all(name) => {
                Ok(Segment::Parameter(parameter.into()))
            }
            Some(_) => Err(BadRoute::Parameter),
        }
    }
}

/// Header names have no case, so neither have the names that become part of one.
fn unique(segments: &[Segment]) -> Result<(), BadRoute> {
    let mut seen = std::collections::BTreeSet::new();
    for segment in segments {
        if let Segment::Parameter(name) = segment
            && !seen.insert(name.to_ascii_lowercase())
        {
            return Err(BadRoute::Twice(name.clone()));
        }
    }
    Ok(())
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_path_with_holes() {
        use BadRoute::*;
        let rows = [
            ("/", Ok(("/", false))),
            ("/...", Ok(("/", true))),
            ("/*", Ok(("/", true))),
            ("/a/...", Ok(("/a", true))),
            ("/a/*", Ok(("/a", true))),
            ("/a/", Ok(("/a", false))),
            ("/a/:id/b", Ok(("/a/:id/b", false))),
            ("/a%2fb", Ok(("/a%2fb", false))),
            ("", Err(Path(BadPath::NotAbsolute))),
            ("a", Err(Path(BadPath::NotAbsolute))),
            ("/a b", Err(Path(BadPath::Unescaped))),
            ("/a//b", Err(EmptySegment)),
            ("//", Err(EmptySegment)),
            ("//...", Err(EmptySegment)),
            ("/a/../b", Err(NotNormal("/b".into()))),
            ("/%61", Err(NotNormal("/a".into()))),
            ("/.../a", Err(Wildcard)),
            ("/a*", Err(Wildcard)),
            ("/*/a", Err(Wildcard)),
            ("/:", Err(Parameter)),
            ("/:a.b", Err(Parameter)),
            ("/:id/:ID", Err(Twice("ID".into()))),
            (&"/a".repeat(65), Err(TooLong)),
            (&"/a".repeat(5000), Err(TooLong)),
        ];
        for (text, expected) in rows {
            let seen = text.parse::<RoutePattern>();
            let seen = seen
                .as_ref()
                .map(|pattern| (pattern.without_wildcard(), pattern.has_wildcard()))
                .map_err(Clone::clone);
            assert_eq!(seen, expected, "{text}");
        }
    }
}
