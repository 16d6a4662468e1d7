//! Text from elsewhere, made fit for a terminal.

use std::ops::Range;

/// Around a mark, in bytes: no URL with a password in it is longer.
const NEAR: usize = 64 * 1024;

/// What stands for the part of a line that is not shown.
const CUT: &str = "…";

/// Writes control characters and what changes the direction or look of text as `\u{…}`.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut out, c);
    }
    out
}

/// [`escape`] for a line of which a part is marked: the line, cut to about `width` around the mark, and the mark in it.
/// What is `hidden` of the line is stars.
pub(crate) fn escape_line(
    line: &str,
    mark: Range<usize>,
    hidden: &[Range<usize>],
    width: usize,
) -> (String, Range<usize>) {
    let (before_it, line) = near(line, &mark);
    let mark = mark.start - before_it.len()..mark.end - before_it.len();
    let line = &without(line, before_it.len(), hidden);
    let line = &without_secrets(&without_credentials(line));
    let fits = mark.end <= after(line, 0, width);
    let start = if fits && before_it.is_empty() {
        0
    } else {
        before(line, mark.start, width / 3)
    };
    let end = after(line, start, width);
    let is_cut = start > 0 || !before_it.is_empty();
    let mut out = String::from(if is_cut { CUT } else { "" });
    let mut seen = Range {
        start: out.len(),
        end: out.len(),
    };
    for (at, c) in line[start..end].char_indices() {
        if start + at == mark.start {
            seen.start = out.len();
        }
        push(&mut out, c);
        if start + at < mark.end {
            seen.end = out.len();
        }
    }
    if mark.start >= end {
        seen.start = out.len();
    }
    if end < line.len() {
        out.push_str(CUT);
    }
    let seen = seen.start..seen.end.max(seen.start);
    (out, seen)
}

/// What stands before the neighbourhood of a mark, and from there on: nobody reads a megabyte to show a hundred characters.
fn near<'a>(line: &'a str, mark: &Range<usize>) -> (&'a str, &'a str) {
    let start = line.floor_char_boundary(mark.start.saturating_sub(NEAR));
    let end = line.ceil_char_boundary(mark.start.saturating_add(NEAR));
    (&line[..start], &line[start..end])
}

/// A part of a line that begins at `start`, with a star for each byte of what is hidden of the line.
fn without(part: &str, start: usize, hidden: &[Range<usize>]) -> String {
    let mut out = part.to_owned();
    let within = |at: usize| at.saturating_sub(start).min(part.len());
    for span in hidden {
        let (from, to) = (within(span.start), within(span.end));
        out.replace_range(from..to, &"*".repeat(to - from));
    }
    out
}

/// A line with a star for each byte of what stands before the `@` of a URL: a name, and perhaps a password.
fn without_credentials(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, url)) = rest.split_once("://") {
        let end = url.find(['"', '\'']).unwrap_or(url.len());
        let secret = url[..end].rfind('@').unwrap_or(0);
        out.push_str(before);
        out.push_str("://");
        out.extend(std::iter::repeat_n('*', secret));
        rest = &url[secret..];
    }
    out.push_str(rest);
    out
}

/// A line with stars for a value that is a secret written out: what a rule injects, and the default of a secret variable.
fn without_secrets(line: &str) -> String {
    let secret_default = line.contains("secret");
    let keys = [("value", true), ("default", secret_default)];
    let mut out = line.to_owned();
    for (key, _) in keys.into_iter().filter(|(_, is_secret)| *is_secret) {
        let mut from = 0;
        while let Some(span) = written(&out, key, from) {
            from = span.end;
            // A template shows no more than a variable's name.
            if !out[span.clone()].contains("{{") {
                let stars = "*".repeat(span.len());
                out.replace_range(span, &stars);
            }
        }
    }
    out
}

/// Where the next text stands that is given to a key, without its quotes.
fn written(line: &str, key: &str, from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        let start = at + line.get(at..)?.find(key)?;
        at = start + key.len();
        let begins =
            !line[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        let rest = line[at..].trim_start();
        let text = rest
            .strip_prefix('=')
            .map(str::trim_start)
            .filter(|_| begins);
        let Some(quote) = text.and_then(|text| text.chars().next()) else {
            continue;
        };
        if quote != '"' && quote != '\'' {
            continue;
        }
        let open = line.len() - text.unwrap_or_default().len() + 1;
        let close = line[open..]
            .find(quote)
            .map_or(line.len(), |end| open + end);
        return Some(open..close);
    }
}

/// Cuts a text that goes into a message to `length` characters.
pub(crate) fn shorten(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}{CUT}", &text[..end]),
        None => text.into(),
    }
}

/// The boundary that is `count` characters before `at`, or the line's start.
fn before(line: &str, at: usize, count: usize) -> usize {
    let back = line[..at].char_indices().rev().take(count).last();
    back.map_or(at, |(start, _)| start)
}

fn after(line: &str, at: usize, count: usize) -> usize {
    line[at..]
        .char_indices()
        .nth(count)
        .map_or(line.len(), |(end, _)| at + end)
}

fn push(out: &mut String, c: char) {
    match c {
        '\t' => out.push_str("    "),
        '\n' | '\r' => out.extend(c.escape_default()),
        c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
        c => out.push(c),
    }
}

/// Characters that reorder, join or hide what is around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(line: &str, expected: &str) {
        assert_eq!(without_credentials(line), expected);
    }

    #[test]
    fn a_secret_that_is_written_out_is_stars() {
        for (line, expected) in [
            (
                r#"x = { url = "https://a.com", inject = { header = "a", value = "PW99" } }"#,
                r#"x = { url = "https://a.com", inject = { header = "a", value = "****" } }"#,
            ),
            ("value='PW'", "value='**'"),
            (
                r#"value = "Bearer {{ token }}""#,
                r#"value = "Bearer {{ token }}""#,
            ),
            (
                r#"token = { default = "PW", secret = true }"#,
                r#"token = { default = "**", secret = true }"#,
            ),
            (
                r#"lang = { default = "en" }"#,
                r#"lang = { default = "en" }"#,
            ),
            (r#"value = "PW"#, r#"value = "**"#),
            ("value = 1, my_value = 'x'", "value = 1, my_value = 'x'"),
        ] {
            assert_eq!(without_secrets(line), expected);
        }
    }

    #[test]
    fn credentials_in_a_quoted_line_are_stars() {
        shows(
            r#"a = ["https://x.com", "b@c"]"#,
            r#"a = ["https://x.com", "b@c"]"#,
        );
        shows(
            r#"a = ["https://u:p@x.com"]"#,
            r#"a = ["https://***@x.com"]"#,
        );
        shows(
            r#"a = ["https://u@p/@x", 'http://ü@y']"#,
            r#"a = ["https://****@x", 'http://**@y']"#,
        );
        shows("https://u@x https://v@y", "https://*************@y");
    }
}
