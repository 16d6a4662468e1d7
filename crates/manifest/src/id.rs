//! The name of a component: it becomes a host name, a path and a metric label, so it is plain.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id: one label of a host name.
const MAX_ID: usize = 63;

/// The name of a component: lower-case letters, digits and single dashes, at most 63.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(Arc<str>);

/// Why a text is not a [`ComponentId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadComponentId {
    /// Nothing was written.
    #[error("a component's name may not be empty")]
    Empty,
    /// Longer than one label of a host name.
    #[error("a component's name has at most {MAX_ID} characters, this one has {0}")]
    TooLong(usize),
    /// A character that has no place in a name.
    #[error("a component's name has lower-case letters, digits and dashes, not `{}`", .0.escape_default())]
    Character(char),
    /// A dash at an end, or two in a row.
    #[error("a dash in a component's name stands alone between letters or digits")]
    Dash,
    /// A name that the host has given a meaning.
    #[error("`self` means the application itself")]
    Reserved,
}

impl ComponentId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ComponentId {
    type Err = BadComponentId;

    fn from_str(text: &str) -> Result<ComponentId, BadComponentId> {
        if text.is_empty() {
            return Err(BadComponentId::Empty);
        }
        if let Some(strange) = text
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
        {
            return Err(BadComponentId::Character(strange));
        }
        if text.len() > MAX_ID {
            return Err(BadComponentId::TooLong(text.len()));
        }
        if text.split('-').any(str::is_empty) {
            return Err(BadComponentId::Dash);
        }
        if text == "self" {
            return Err(BadComponentId::Reserved);
        }
        Ok(ComponentId(text.into()))
    }
}

impl AsRef<str> for ComponentId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ComponentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e53_ids_are_plain() {
        use BadComponentId::*;
        let rows: &[(&str, Result<(), BadComponentId>)] = &[
            ("a", Ok(())),
            ("api-v2", Ok(())),
            ("7", Ok(())),
            (&"a".repeat(63), Ok(())),
            (&"a".repeat(64), Err(TooLong(64))),
            ("", Err(Empty)),
            ("a/b", Err(Character('/'))),
            ("..", Err(Character('.'))),
            ("a\0", Err(Character('\0'))),
            ("Api", Err(Character('A'))),
            ("a_b", Err(Character('_'))),
            ("аpi", Err(Character('а'))),
            ("-a", Err(Dash)),
            ("a-", Err(Dash)),
            ("a--b", Err(Dash)),
            ("self", Err(Reserved)),
        ];
        for (text, expected) in rows {
            assert_eq!(
                &text.parse::<ComponentId>().map(|_| ()),
                expected,
                "{text:?}"
            );
        }
    }
}
