//! What is told to a person: a message, the place in the file, and what to do.

use std::fmt::{self, Write as _};

use annotate_snippets as snippets;
use snippets::{Annotation, AnnotationKind, Renderer, Snippet};

use crate::quote::{escape, escape_line, shorten};
use crate::{Code, Place};

/// What a terminal shows of one line beside the line number.
const QUOTED_WIDTH: usize = 100;
/// Of any message, note or help; the file's own words may be in it.
const MAX_TEXT: usize = 500;
/// Beyond this many, a list of errors helps nobody.
const MAX_SHOWN: usize = 50;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The manifest cannot be used.
    Error,
    /// It can be used, and probably not as it was meant.
    Warning,
    /// A component asked for what it was not granted.
    Denied,
}

/// One message, with its place in the manifest; `Display` is the whole block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of message it is. Not printed: it is for programs.
    pub code: Code,
    /// How bad it is.
    pub level: Level,
    /// What happened, in one line.
    pub message: String,
    /// What it is about, in the file.
    pub place: Option<Place>,
    /// The words beside the marked place.
    pub label: String,
    /// What else has to do with it, in the file.
    pub also: Vec<Mark>,
    /// Facts, each printed after `= `.
    pub notes: Vec<String>,
    /// What to do, each printed after `help: `.
    pub help: Vec<String>,
}

/// A further place, and the words beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where it is.
    pub place: Place,
    /// The words.
    pub label: String,
}

/// Everything that is wrong with a manifest, in the order of the file; at least one.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error {
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Level::Error, code, message)
    }

    /// A warning without a place.
    pub fn warning(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Level::Warning, code, message)
    }

    /// A denial without a place.
    pub fn denied(message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Level::Denied, Code::Denied, message)
    }

    /// Marks a place, with the words beside it; what is in no file cannot be marked.
    pub fn at(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        if place.is_nowhere() {
            return self;
        }
        self.place = Some(place);
        self.label = label.into();
        self
    }

    /// Marks the other end: a further place, with the words beside it.
    pub fn also(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        let label = label.into();
        self.also.push(Mark { place, label });
        self
    }

    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    fn new(level: Level, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            level,
            message: shorten(&message.into(), MAX_TEXT),
            place: None,
            label: String::new(),
            also: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Error {
        Error {
            diagnostics: vec![diagnostic],
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Denied => "denied",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        let gutter = self.gutter();
        if self.place.is_some() && !(self.notes.is_empty() && self.help.is_empty()) {
            write!(f, "\n{gutter} |")?;
        }
        for note in &self.notes {
            write!(f, "\n{gutter} = {}", shown(note))?;
        }
        for help in &self.help {
            let mut lines = help.lines();
            write!(f, "\nhelp: {}", shown(lines.next().unwrap_or_default()))?;
            for line in lines {
                write!(f, "\n      {}", shown(line))?;
            }
        }
        Ok(())
    }
}

/// A quoted line, and what is marked in it.
struct Block<'a> {
    place: &'a Place,
    line: String,
    marks: Vec<Annotation<'a>>,
}

impl Diagnostic {
    /// The title, and each marked line when there is one.
    fn head(&self) -> String {
        let blocks = self.blocks();
        if blocks.is_empty() {
            return format!("{}: {}", self.level, shown(&self.message));
        }
        let name = self.level.to_string();
        let title = snippets::Level::ERROR
            .with_name(name.as_str())
            .primary_title(shown(&self.message));
        let arrows: Vec<String> = blocks.iter().map(|block| at(block.place)).collect();
        // With a path each gets an arrow.
        let snippets = blocks.into_iter().map(|block| {
            Snippet::source(block.line)
                .path("")
                .line_start(block.place.line())
                .annotations(block.marks)
        });
        let printed = Renderer::plain()
            .term_width(QUOTED_WIDTH * 4)
            .render(&[title.elements(snippets)]);
        with_arrows(&printed, &self.gutter(), arrows)
    }

    /// The marked places, the main one first; what stands on one line is marked in one.
    fn blocks(&self) -> Vec<Block<'_>> {
        let Some(place) = &self.place else {
            return Vec::new();
        };
        let mut blocks = Vec::new();
        mark(&mut blocks, AnnotationKind::Primary, place, &self.label);
        for Mark { place, label } in &self.also {
            mark(&mut blocks, AnnotationKind::Context, place, label);
        }
        blocks
    }

    /// As wide as the longest line number.
    fn gutter(&self) -> String {
        let also = self.also.iter().map(|mark| &mark.place);
        let lines = self.place.iter().chain(also).map(Place::line);
        " ".repeat(lines.max().unwrap_or(1).to_string().len())
    }
}

/// Marks a place: in the block that shows the same of the same line, or in one of its own.
fn mark<'a>(blocks: &mut Vec<Block<'a>>, kind: AnnotationKind, place: &'a Place, label: &str) {
    let (line, hidden) = (place.line_text(), place.hidden_within_line());
    let (line, span) = escape_line(line, place.within_line(), &hidden, QUOTED_WIDTH);
    let label = Some(shown(label)).filter(|label| !label.is_empty());
    let annotation = kind.span(span).label(label);
    let same = |block: &&mut Block<'_>| {
        let is_line = block.place.line() == place.line() && block.place.path() == place.path();
        is_line && block.line == line
    };
    match blocks.iter_mut().find(same) {
        Some(block) => block.marks.push(annotation),
        None => blocks.push(Block {
            place,
            line,
            marks: vec![annotation],
        }),
    }
}

/// A block with our own arrows: its quoted lines may be cut and escaped, so the printer cannot know the columns.
fn with_arrows(block: &str, gutter: &str, arrows: Vec<String>) -> String {
    let mut arrows = arrows.into_iter();
    let mut lines = Vec::new();
    for line in block.lines() {
        let rest = line.strip_prefix(gutter).unwrap_or_default();
        let arrow = ["--> ", "::: "].into_iter().find(|&a| rest.starts_with(a));
        lines.push(
            match arrow.and_then(|arrow| Some((arrow, arrows.next()?))) {
                Some((arrow, place)) => format!("{gutter}{arrow}{place}"),
                None => line.to_owned(),
            },
        );
    }
    lines.join("\n")
}

fn at(place: &Place) -> String {
    let path = escape(&place.path().display().to_string());
    format!("{path}:{}:{}", place.line(), place.column())
}

fn shown(text: &str) -> String {
    escape(&shorten(text, MAX_TEXT))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.diagnostics.iter().take(MAX_SHOWN).enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        let more = self.diagnostics.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            write!(f, "\n\n… and {more} more")?;
        }
        f.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::place::File;

    fn place(text: &str, marked: &str) -> Place {
        let start = text.find(marked).expect("the row marks what is there");
        File::new(Path::new("spin-like.toml"), text).place(start..start + marked.len())
    }

    #[test]
    fn a_denial_is_the_block_of_the_demo() {
        let text = format!(
            "{}[component.thief]\nsource = \"thief.wasm\"\n",
            "#\n".repeat(10)
        );
        let denial = Diagnostic::denied("thief may not connect to http://127.0.0.1:9100")
            .at(
                place(&text, "[component.thief]"),
                "no `allowed_outbound_hosts` here covers it",
            )
            .help("to allow exactly this, run\nrunner allow thief http://127.0.0.1:9100");
        let bare = "\
denied: thief may not connect to http://127.0.0.1:9100
  --> spin-like.toml:11:1
   |
11 | [component.thief]
   | ^^^^^^^^^^^^^^^^^ no `allowed_outbound_hosts` here covers it
   |
help: to allow exactly this, run
      runner allow thief http://127.0.0.1:9100";
        assert_eq!(denial.to_string(), bare);
        let logged = denial
            .note("call: wasi:http/outgoing-handler.handle  GET /collect  (request 01J\u{2026})")
            .note("the guest received: HTTP-request-denied");
        let block = "\
denied: thief may not connect to http://127.0.0.1:9100
  --> spin-like.toml:11:1
   |
11 | [component.thief]
   | ^^^^^^^^^^^^^^^^^ no `allowed_outbound_hosts` here covers it
   |
   = call: wasi:http/outgoing-handler.handle  GET /collect  (request 01J…)
   = the guest received: HTTP-request-denied
help: to allow exactly this, run
      runner allow thief http://127.0.0.1:9100";
        assert_eq!(logged.to_string(), block);
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let text = format!(
            "a = [{}\"MARK\", {}]",
            "\"xxxx\", ".repeat(400),
            "\"yyyy\", ".repeat(400)
        );
        let error =
            Diagnostic::error(Code::NotToml, "it is long").at(place(&text, "\"MARK\""), "here");
        assert_eq!(
            error.to_string(),
            "error: it is long
 --> spin-like.toml:1:3206
  |
1 | … \"xxxx\", \"xxxx\", \"xxxx\", \"xxxx\", \"MARK\", \"yyyy\", \"yyyy\", \"yyyy\", \"yyyy\", \"yyyy\", \"yyyy\", \"yyyy\", \"yy…
  |                                   ^^^^^^ here"
        );
    }

    #[test]
    fn escapes_in_a_file_do_not_reach_the_terminal() {
        let text = "\u{1b}[31mred\u{1b}[0m\t= \u{202e}\"x\u{7}\"";
        let error = Diagnostic::error(Code::NotToml, "a \u{1b}c message\nof two lines")
            .at(place(text, "\"x\u{7}\""), "\u{9b}label");
        assert_eq!(
            error.to_string(),
            "error: a \\u{1b}c message\\nof two lines
 --> spin-like.toml:1:17
  |
1 | \\u{1b}[31mred\\u{1b}[0m    = \\u{202e}\"x\\u{7}\"
  |                                     ^^^^^^^^ \\u{9b}label"
        );
    }

    #[test]
    fn nothing_breaks_the_printer() {
        let texts = [
            "",
            "\n",
            "\r\n\r\n",
            "a\u{300}\u{301}",
            "\u{1f469}\u{200d}\u{1f469}",
            "日本語 = 1\nx",
            "\0",
        ];
        for text in texts {
            for start in 0..=text.len() + 1 {
                for end in 0..=text.len() + 1 {
                    let place = File::new(Path::new("\u{1b}"), text).place(start..end);
                    let _ = Diagnostic::error(Code::NotToml, "\r")
                        .at(place, "")
                        .note("\0")
                        .help("\n\n")
                        .to_string();
                }
            }
        }
    }

    #[test]
    fn both_ends_are_marked_with_one_gutter() {
        let text = format!("one = 1\n{}one = 2\n", "#\n".repeat(9));
        let error = Diagnostic::error(Code::DuplicateKey, "`one` is there twice")
            .at(place(&text, "one = 2"), "the second")
            .also(place(&text, "one = 1"), "the first \u{1b}")
            .help("remove one");
        assert_eq!(
            error.to_string(),
            "\
error: `one` is there twice
  --> spin-like.toml:11:1
   |
11 | one = 2
   | ^^^^^^^ the second
   |
  ::: spin-like.toml:1:1
   |
 1 | one = 1
   | ------- the first \\u{1b}
   |
help: remove one"
        );
    }

    #[test]
    fn both_ends_on_one_line_are_marked_in_one() {
        let text = "routes = [\"/a\", '/a']\n";
        let error = Diagnostic::error(Code::DuplicateRoute, "twice")
            .at(place(text, "'/a'"), "the second")
            .also(place(text, "\"/a\""), "the first");
        assert_eq!(
            error.to_string(),
            "\
error: twice
 --> spin-like.toml:1:17
  |
1 | routes = [\"/a\", '/a']
  |           ----  ^^^^ the second
  |           |
  |           the first"
        );
    }

    #[test]
    fn a_hostile_line_is_cut_and_escaped_at_both_ends() {
        let long = "x".repeat(1_000_000);
        let text = format!("a = \"MARK\u{1b}[2J{long}\"\n::: b.toml:1:1\n{long}\"--> c\"\n");
        let error = Diagnostic::error(Code::NotToml, "it is long")
            .at(place(&text, "\"--> c\""), "here")
            .also(place(&text, "MARK\u{1b}"), "and here")
            .also(place(&text, "::: b"), "");
        assert_eq!(
            error.to_string(),
            format!(
                "\
error: it is long
 --> spin-like.toml:3:1000001
  |
3 | …{}\"--> c\"
  | {}^^^^^^^ here
  |
 ::: spin-like.toml:1:6
  |
1 | a = \"MARK\\u{{1b}}[2J{}…
  |      ---------- and here
  |
 ::: spin-like.toml:2:1
  |
2 | ::: b.toml:1:1
  | -----",
                "x".repeat(33),
                " ".repeat(34),
                "x".repeat(87),
            )
        );
    }

    #[test]
    fn an_error_lists_what_is_wrong() {
        let one = Diagnostic::error(Code::NotToml, "one").help("do this");
        let error = Error {
            diagnostics: vec![one.clone(), Diagnostic::error(Code::NotToml, "two")],
        };
        assert_eq!(
            error.to_string(),
            "error: one\nhelp: do this\n\nerror: two\n"
        );
        let many = Error {
            diagnostics: vec![one; 60],
        };
        assert!(
            many.to_string()
                .ends_with("help: do this\n\n… and 10 more\n")
        );
    }
}
