//! `{{ name }}` in a text: split once, filled without ever being read again.

/// A text with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template<'a> {
    pieces: Vec<Piece<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece<'a> {
    Literal(&'a str),
    Variable(&'a str),
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTemplate {
    #[error("`{{{{` has no `}}}}` after it")]
    Open,
    #[error("`{}` is not the name of a variable: those have lower-case letters, digits and `_`", crate::quote::escape(.0))]
    Name(String),
}

impl<'a> Template<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Template<'a>, BadTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(BadTemplate::Open)?;
            let name = name.trim();
            if !is_variable_name(name) {
                return Err(BadTemplate::Name(crate::quote::shorten(name, 64)));
            }
            pieces.extend([Piece::Literal(literal), Piece::Variable(name)]);
            rest = after;
        }
        pieces.push(Piece::Literal(rest));
        Ok(Template { pieces })
    }

    /// The variables it needs, in order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &'a str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(*name),
            Piece::Literal(_) => None,
        })
    }

    /// The text, with each variable's value put in.
    pub(crate) fn fill<E>(
        &self,
        mut value: impl FnMut(&'a str) -> Result<&'a str, E>,
    ) -> Result<String, E> {
        let mut out = String::new();
        for piece in &self.pieces {
            out.push_str(match piece {
                Piece::Literal(text) => text,
                Piece::Variable(name) => value(name)?,
            });
        }
        Ok(out)
    }
}

/// `lower_snake_case`, and beginning with a letter.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    plain
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('_').all(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_has_a_name() {
        let name = |name: &str| Err(BadTemplate::Name(name.into()));
        let rows = [
            ("plain", Ok("plain".to_string())),
            ("", Ok(String::new())),
            ("{{ a }}", Ok("<a>".into())),
            ("x{{a}}y{{  b_2 }}z", Ok("x<a>y<b_2>z".into())),
            ("{ a } }}", Ok("{ a } }}".into())),
            ("{{ a", Err(BadTemplate::Open)),
            ("{{}}", name("")),
            ("{{ A }}", name("A")),
            ("{{ a-b }}", name("a-b")),
            ("{{ 2a }}", name("2a")),
            ("{{ {{ a }} }}", name("{{ a")),
        ];
        let values = [("a", "<a>"), ("b_2", "<b_2>")];
        for (text, expected) in rows {
            let filled = Template::parse(text).map(|template| {
                template
                    .fill(|name| {
                        values
                            .iter()
                            .find(|(own, _)| *own == name)
                            .map(|(_, v)| *v)
                            .ok_or(())
                    })
                    .expect("known")
            });
            assert_eq!(filled, expected, "{text}");
        }
    }
}
