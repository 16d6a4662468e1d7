//! Where something stands in a file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A piece of a file, cheap to clone: the file's text is shared.
#[derive(Clone)]
pub struct Place {
    file: Arc<File>,
    span: Range<usize>,
}

/// A file that was read, with the offset at which each of its lines begins.
pub(crate) struct File {
    path: PathBuf,
    text: String,
    lines: Vec<usize>,
    hidden: OnceLock<Vec<Hidden>>,
}

/// A part of a file that messages do not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) span: Range<usize>,
    /// Not even where the message is about it.
    pub(crate) is_secret: bool,
}

impl File {
    pub(crate) fn new(path: &Path, text: &str) -> Arc<File> {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Arc::new(File {
            path: path.into(),
            text: text.into(),
            lines,
            hidden: OnceLock::new(),
        })
    }

    /// Says once what messages do not show, in the order of the file.
    pub(crate) fn hide(&self, hidden: Vec<Hidden>) {
        let _ = self.hidden.set(hidden);
    }

    /// The place of a span; one that is not within the text, or cuts a character, is moved to where it fits.
    pub(crate) fn place(self: &Arc<File>, span: Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end).max(start);
        Place {
            file: self.clone(),
            span: start..end,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at)
    }

    fn line_start(&self, at: usize) -> usize {
        self.lines[self.line(at) - 1]
    }

    fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count() + 1
    }
}

impl Place {
    /// The place of what is written in no file but made in code. No message shows it.
    pub fn nowhere() -> Place {
        File::new(Path::new(""), "").place(0..0)
    }

    /// Whether it is in no file.
    pub fn is_nowhere(&self) -> bool {
        self.path().as_os_str().is_empty()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The line on which it begins, counted from 1.
    pub fn line(&self) -> usize {
        self.file.line(self.span.start)
    }

    /// The column at which it begins, in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.file.column(self.span.start)
    }

    /// The line on which it ends, counted from 1.
    pub fn end_line(&self) -> usize {
        self.file.line(self.span.end)
    }

    /// The column after its last character, counted from 1.
    pub fn end_column(&self) -> usize {
        self.file.column(self.span.end)
    }

    /// What stands there.
    pub fn text(&self) -> &str {
        &self.file.text[self.span.clone()]
    }

    /// The whole line on which it begins, without the line's end.
    pub fn line_text(&self) -> &str {
        let rest = &self.file.text[self.line_start()..];
        let line = rest.split_once('\n').map_or(rest, |(line, _)| line);
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// The bytes of the file that it covers.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The part of [`Place::line_text`] that it covers.
    pub(crate) fn within_line(&self) -> Range<usize> {
        let (start, line) = (self.line_start(), self.line_text().len());
        let cut = |at: usize| at.saturating_sub(start).min(line);
        cut(self.span.start)..cut(self.span.end)
    }

    /// The parts of [`Place::line_text`] that are not shown. What a message is about is, unless it is a secret.
    pub(crate) fn hidden_within_line(&self) -> Vec<Range<usize>> {
        let (start, line) = (self.line_start(), self.line_text().len());
        let all = self.file.hidden.get().map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|hidden| hidden.span.end <= start);
        let here = all[first..]
            .iter()
            .take_while(|hidden| hidden.span.start < start + line);
        let is_marked = |hidden: &Hidden| {
            // Its quotes are marked too.
            self.span == (hidden.span.start - 1..hidden.span.end + 1)
        };
        let not_shown = here.filter(|hidden| hidden.is_secret || !is_marked(hidden));
        let cut = |at: usize| at.saturating_sub(start).min(line);
        not_shown
            .map(|hidden| cut(hidden.span.start)..cut(hidden.span.end))
            .collect()
    }

    fn line_start(&self) -> usize {
        self.file.line_start(self.span.start)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.path().display(),
            self.line(),
            self.column()
        )
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        self.span == other.span && self.path() == other.path()
    }
}

impl Eq for Place {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_where_it_ends() {
        let file = File::new(Path::new("a.toml"), "zw\u{f6}lf = [\n  1,\n]\n");
        let rows = [
            (0..6, (1, 6)),
            (9..17, (3, 2)),
            (9..9, (1, 9)),
            (0..99, (4, 1)),
        ];
        for (span, end) in rows {
            let place = file.place(span.clone());
            assert_eq!((place.end_line(), place.end_column()), end, "{span:?}");
        }
    }

    #[test]
    fn a_place_knows_its_line_and_column() {
        let file = File::new(Path::new("a.toml"), "one\r\nzw\u{f6}lf = 1\n");
        let rows = [
            (0..3, (1, 1, "one", "one")),
            (
                5..10,
                (
                    2,
                    1,
                    "zw\u{f6}lf"[..].get(..5).unwrap_or(""),
                    "zw\u{f6}lf = 1",
                ),
            ),
            (11..12, (2, 6, " ", "zw\u{f6}lf = 1")),
            (16..16, (3, 1, "", "")),
            (7..8, (2, 3, "\u{f6}", "zw\u{f6}lf = 1")),
            (900..950, (3, 1, "", "")),
        ];
        for (span, (line, column, text, line_text)) in rows {
            let place = file.place(span.clone());
            let seen = (
                place.line(),
                place.column(),
                place.text(),
                place.line_text(),
            );
            assert_eq!(seen, (line, column, text, line_text), "{span:?}");
        }
    }
}
