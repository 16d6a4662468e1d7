//! Makes text of strangers safe to show: a terminal obeys what it is sent.

use std::borrow::Cow;

/// Long enough for a stack trace, short enough that no guest fills the queue with one line.
pub(crate) const MAX_LINE: usize = 8 * 1024;

/// The text with everything that a terminal would obey, or that would reorder it, written out as `\u{…}`.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\t' && is_unsafe(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => safe.push(c),
            c if is_unsafe(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Like [`line()`], but line ends stay, each further line indented so that it cannot pass for one of ours.
pub(crate) fn block(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(line).collect();
    lines.join("\n    ")
}

/// At most `max` bytes of the text, and how much was cut.
pub(crate) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let kept = &text[..text.floor_char_boundary(max)];
    Cow::Owned(format!("{kept}… ({} bytes cut)", text.len() - kept.len()))
}

/// Whether showing this character does something else than show it.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control() // C0 with ESC and CR, DEL, C1
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let table = [
            ("plain text", "plain text"),
            ("tab\tstays", "tab\tstays"),
            ("naïve 日本 🦀", "naïve 日本 🦀"),
            ("\x1b[31mred\x1b[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("over\rwritten", "over\\u{d}written"),
            ("two\nlines", "two\\u{a}lines"),
            ("nul\0", "nul\\u{0}"),
            ("del\x7f", "del\\u{7f}"),
            ("c1 csi \u{9b}2J", "c1 csi \\u{9b}2J"),
            ("rtl \u{202e}gpj.exe", "rtl \\u{202e}gpj.exe"),
            ("isolate \u{2066}x\u{2069}", "isolate \\u{2066}x\\u{2069}"),
            ("arabic mark \u{061c}", "arabic mark \\u{61c}"),
            ("line separator \u{2028}", "line separator \\u{2028}"),
            ("zero width \u{200b}", "zero width \\u{200b}"),
            ("tag \u{e0041}", "tag \\u{e0041}"),
        ];
        for (text, safe) in table {
            assert_eq!(line(text), safe);
        }
    }

    #[test]
    fn a_block_keeps_its_lines_apart_from_ours() {
        assert_eq!(
            block("trap\n200  GET /fake\n\x1b[2J"),
            "trap\n    200  GET /fake\n    \\u{1b}[2J"
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let table = [
            ("short", 8, "short"),
            ("exactly8", 8, "exactly8"),
            ("nine char", 8, "nine cha… (1 bytes cut)"),
            ("日本", 4, "日… (3 bytes cut)"),
            ("日", 1, "… (3 bytes cut)"),
        ];
        for (text, max, kept) in table {
            assert_eq!(cut(text, max), kept);
        }
    }
}
