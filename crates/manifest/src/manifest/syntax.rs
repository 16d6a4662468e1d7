//! What is said of a file that is not TOML.

use std::sync::Arc;

use toml::de::{DeTable, Error as Mistake};

use crate::place::File;
use crate::quote::shorten;
use crate::raw::in_order;
use crate::{Code, Diagnostic, Error, Place};

/// Up to here every mistake in the TOML is looked for, beyond it the first: each may be a copy of the line.
const MAX_RECOVERED: usize = 64 * 1024;

/// What follows the first mistakes follows from them.
const MAX_MISTAKES: usize = 3;

/// The words of the reader for a key or table that is there twice.
const DUPLICATE: &str = "duplicate key";

/// The first mistakes of a file.
pub(crate) fn not_toml(file: &Arc<File>, first: Mistake) -> Error {
    let mut mistakes = vec![first];
    if file.text().len() <= MAX_RECOVERED {
        mistakes = DeTable::parse_recoverable(file.text()).1;
    }
    let mut diagnostics = Vec::new();
    for mistake in mistakes.iter().take(MAX_MISTAKES) {
        let place = file.place(mistake.span().unwrap_or(0..0));
        if mistake.message() != DUPLICATE {
            diagnostics.push(unreadable(place, mistake.message()));
            continue;
        }
        let is_table = Line::of(&place).header.is_some();
        diagnostics.push(twice(file, place));
        if is_table {
            // What its table holds is there twice too.
            break;
        }
    }
    // The reader tells what is there twice after all else.
    Error {
        diagnostics: in_order(diagnostics),
    }
}

fn unreadable(place: Place, why: &str) -> Diagnostic {
    Diagnostic::error(Code::NotToml, "this is not TOML")
        .at(place, shorten(why, 200))
        .help("correct this first: the rest of the file was not looked at")
}

fn twice(file: &Arc<File>, place: Place) -> Diagnostic {
    let line = Line::of(&place);
    let first = first(file, &place, line);
    let (place, help) = match line.header {
        Some(header) => {
            let start = place.span().start - place.within_line().start;
            let start = start + place.line_text().find(header).unwrap_or_default();
            let whole = file.place(start..start + header.len());
            (whole, "remove one, or give it another name")
        }
        None => (place.clone(), "remove one"),
    };
    let message = format!("`{}` is there twice", shorten(place.text(), 80));
    let mut error = Diagnostic::error(Code::DuplicateKey, message).at(place, "the second");
    if let Some(first) = first {
        error = error.also(first, "the first");
    }
    error.help(help)
}

/// A line of TOML, as far as it takes to find another like it.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// `[component.cart]`, when it is one.
    header: Option<&'a str>,
    /// What stands before its `=`.
    key: &'a str,
}

impl<'a> Line<'a> {
    fn of(place: &'a Place) -> Line<'a> {
        Line::parse(place.line_text())
    }

    fn parse(line: &'a str) -> Line<'a> {
        let line = line.trim();
        let header = line.starts_with('[').then(|| line.find(']')).flatten();
        Line {
            header: header.map(|end| &line[..=end]),
            key: line.split('=').next().unwrap_or_default().trim_end(),
        }
    }
}

/// What stands there first: a header like it anywhere above, or a key like it in the same table.
fn first(file: &Arc<File>, second: &Place, wanted: Line<'_>) -> Option<Place> {
    let above = &file.text()[..second.span().start];
    let mut end = above.rfind('\n').unwrap_or(0);
    while end > 0 {
        let start = above[..end].rfind('\n').map_or(0, |at| at + 1);
        let line = Line::parse(&above[start..end]);
        let words = match (wanted.header, line.header) {
            (Some(wanted), Some(header)) if wanted == header => Some(header),
            (None, None) if line.key == second.text() => Some(line.key),
            (None, Some(_)) => return None,
            _ => None,
        };
        if let Some(words) = words {
            let start = start + above[start..end].find(words)?;
            return Some(file.place(start..start + words.len()));
        }
        end = start.saturating_sub(1);
    }
    None
}
