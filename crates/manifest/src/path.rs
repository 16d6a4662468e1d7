//! The path of a request, brought to one form before anything looks at it.
//!
//! Escapes of characters that need none are decoded, once; every other escape stays as it is, so `%2f` never
//! splits a segment. Dot segments are resolved. Empty segments stay: `//a` is not `/a`. Letters keep their case.

use std::fmt;

/// A path that has been normalised: it is what is routed and what the guest sees.
///
/// ```
/// use runner_manifest::NormalPath;
/// assert_eq!(NormalPath::parse("/a/./%7Eb/../c%2fd").unwrap().as_str(), "/a/c%2fd");
/// assert!(NormalPath::parse("/a%00").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NormalPath(String);

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPath {
    /// It does not begin with `/`.
    #[error("a path begins with `/`")]
    NotAbsolute,
    /// A backslash, which some take for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character, also an escaped zero.
    #[error("the path has a control character")]
    Control,
    /// A character that has to be escaped.
    #[error("the path has a character that must be escaped")]
    Unescaped,
    /// `%` without two hexadecimal digits.
    #[error("the path has a `%` without two hexadecimal digits")]
    Escape,
    /// More `..` than there is above.
    #[error("the path climbs above `/`")]
    AboveRoot,
}

impl NormalPath {
    /// Reads the path of a request, without its query.
    pub fn parse(path: &str) -> Result<NormalPath, BadPath> {
        let decoded = decode(path)?;
        let rest = decoded.strip_prefix('/').ok_or(BadPath::NotAbsolute)?;
        let mut segments = Vec::new();
        let mut pieces = rest.split('/').peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            match piece {
                ".." => segments.pop().map(drop).ok_or(BadPath::AboveRoot)?,
                "." => {}
                piece => {
                    segments.push(piece);
                    continue;
                }
            }
            // `/a/.` and `/a/b/..` are the folder `/a/`.
            if last {
                segments.push("");
            }
        }
        Ok(NormalPath(format!("/{}", segments.join("/"))))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Decodes the escapes of letters, digits, `-`, `.`, `_` and `~`, and refuses what no path may have.
fn decode(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            out.push(plain(*byte)?);
            continue;
        }
        let [high, low, after @ ..] = after else {
            return Err(BadPath::Escape);
        };
        rest = after;
        match (hex(*high)? << 4) | hex(*low)? {
            0 => return Err(BadPath::Control),
            b'\\' => return Err(BadPath::Backslash),
            decoded @ (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~') => {
                out.push(decoded.into())
            }
            _ => out.extend(['%', char::from(*high), char::from(*low)]),
        }
    }
    Ok(out)
}

fn plain(byte: u8) -> Result<char, BadPath> {
    match byte {
        b'\\' => Err(BadPath::Backslash),
        0..0x20 | 0x7f => Err(BadPath::Control),
        b' ' | b'?' | b'#' | 0x80.. => Err(BadPath::Unescaped),
        byte => Ok(byte.into()),
    }
}

fn hex(digit: u8) -> Result<u8, BadPath> {
    let value = char::from(digit).to_digit(16).ok_or(BadPath::Escape)?;
    Ok(u8::try_from(value).expect("a hexadecimal digit is below 16"))
}

impl AsRef<str> for NormalPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        use BadPath::*;
        let rows = [
            ("d29", "/a/../secret", Ok("/secret")),
            ("d29", "/a/%2e%2e/secret", Ok("/secret")),
            ("d29", "/a/.%2E/secret", Ok("/secret")),
            ("d29", "/a/./b", Ok("/a/b")),
            ("d29", "/a/..%2fsecret", Ok("/a/..%2fsecret")),
            ("d29", "/a/..;/secret", Ok("/a/..;/secret")),
            ("d29", "/a/.../secret", Ok("/a/.../secret")),
            ("d29", "/a/.", Ok("/a/")),
            ("d29", "/a/b/..", Ok("/a/")),
            ("d29", "/a/..", Ok("/")),
            ("d29", "/..", Err(AboveRoot)),
            ("d29", "/../secret", Err(AboveRoot)),
            ("d29", "/a/../../secret", Err(AboveRoot)),
            ("d30", "//secret", Ok("//secret")),
            ("d30", "/secret//", Ok("/secret//")),
            ("d30", "///a//b", Ok("///a//b")),
            ("d30", "/SECRET", Ok("/SECRET")),
            ("d31", "/a%2fb", Ok("/a%2fb")),
            ("d31", "/a%2Fb", Ok("/a%2Fb")),
            ("d31", "/a%5cb", Err(Backslash)),
            ("d31", "/a\\b", Err(Backslash)),
            ("d31", "/a%00", Err(Control)),
            ("d31", "/a\0", Err(Control)),
            ("d31", "/a\n", Err(Control)),
            ("d31", "/%zz", Err(Escape)),
            ("d31", "/%2", Err(Escape)),
            ("d31", "/%", Err(Escape)),
            ("d31", "/%+1", Err(Escape)),
            ("d31", "/\u{f6}", Err(Unescaped)),
            ("d31", "/%c3%b6", Ok("/%c3%b6")),
            ("d31", "/%c0%ae%c0%ae/secret", Ok("/%c0%ae%c0%ae/secret")),
            ("d31", "/%252e%252e/secret", Ok("/%252e%252e/secret")),
            ("d31", "/%41%7e%2d%5F", Ok("/A~-_")),
            ("query", "/a?b", Err(Unescaped)),
            ("query", "/a#b", Err(Unescaped)),
            ("root", "/", Ok("/")),
            ("root", "", Err(NotAbsolute)),
            ("root", "a", Err(NotAbsolute)),
            ("root", "*", Err(NotAbsolute)),
            ("root", "%2f", Err(NotAbsolute)),
        ];
        for (row, path, expected) in rows {
            let expected = expected.map(|path| NormalPath(path.into()));
            assert_eq!(NormalPath::parse(path), expected, "{row} {path}");
        }
    }

    #[test]
    fn a_form_is_its_own_form() {
        for path in [
            "/",
            "//",
            "/a/",
            "/%2f",
            "/a//..//b",
            "/%25%32%65",
            "/./..a/%2E./b",
        ] {
            let once = NormalPath::parse(path).expect(path);
            assert_eq!(NormalPath::parse(once.as_str()), Ok(once.clone()), "{path}");
        }
    }
}
