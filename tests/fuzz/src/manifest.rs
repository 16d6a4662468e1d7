//! Any file is a manifest or an error, and what is said of it is short, in its place, and fit for a terminal.
//!
//! The input is a file, and once more what follows a good beginning of one. How long it takes is the fuzzer's to watch:
//! it ends an input that takes seconds.

use std::path::Path;

use runner_manifest::{Diagnostic, Error, Manifest, Place, Variables};

use crate::shown::is_fit_for_a_terminal;

/// Longer inputs say nothing new.
const MAX_INPUT: usize = 16 * 1024;

/// More is kept of no file: this many errors, and as many warnings.
const MOST: usize = 200;
/// In a block: the title, a few lines of the file with their marks, notes and help.
const MOST_LINES: usize = 64;
/// 500 characters, each written out as at most ten, and what stands around them.
const WIDEST: usize = 6000;

/// Nobody writes this by chance.
const SECRET: &str = "kx9vq2-canary-of-the-operator";

/// The beginning of a manifest, so that the input is about a component.
const BEGINNING: &str = "spin_manifest_version = 2\n[application]\nname = \"a\"\n\
    [variables]\ntoken = { required = true, secret = true }\nlang = { default = \"en\" }\n\
    [[trigger.http]]\nroute = \"/...\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\"\n";

/// Checks the property for one input.
///
/// # Panics
/// Where it does not hold.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > MAX_INPUT || text.to_lowercase().contains(SECRET) {
        return;
    }
    one(text);
    one(&format!("{BEGINNING}{text}"));
}

fn one(text: &str) {
    let provided: Variables = [("token", SECRET), ("not_declared", SECRET)]
        .into_iter()
        .collect();
    match Manifest::parse(text, Path::new("app/spin-like.toml"), &provided) {
        Ok(manifest) => {
            assert!(manifest.warnings.len() <= MOST);
            let failed = manifest.failed_expectations();
            manifest
                .warnings
                .iter()
                .chain(&failed)
                .for_each(|said| is_sound(said, text));
        }
        Err(error) => is_sound_whole(&error, text),
    }
}

fn is_sound_whole(error: &Error, text: &str) {
    assert!((1..=MOST).contains(&error.diagnostics.len()), "{text:?}");
    error
        .diagnostics
        .iter()
        .for_each(|said| is_sound(said, text));
    let starts: Vec<_> = error
        .diagnostics
        .iter()
        .filter_map(|said| said.place.as_ref())
        .collect();
    assert!(
        starts.is_sorted_by_key(|place| place.span().start),
        "{text:?}"
    );
    is_fit_for_a_terminal(&error.to_string());
}

fn is_sound(said: &Diagnostic, text: &str) {
    let also = said.also.iter().map(|mark| &mark.place);
    for place in said.place.iter().chain(also) {
        is_inside(place, text);
    }
    let shown = said.to_string();
    is_fit_for_a_terminal(&shown);
    assert!(shown.lines().count() <= MOST_LINES, "{shown}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= WIDEST),
        "{shown}"
    );
    assert!(!shown.to_lowercase().contains(SECRET), "{shown}");
    assert!(shown.starts_with(&format!("{}: ", said.level)), "{shown}");
}

fn is_inside(place: &Place, text: &str) {
    let span = place.span();
    assert_eq!(
        Some(place.text()),
        text.get(span.clone()),
        "{span:?} {text:?}"
    );
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&place.line()), "{text:?}");
    assert!(
        (place.line()..=lines).contains(&place.end_line()),
        "{text:?}"
    );
    let begins = (place.line(), place.column());
    assert!(begins <= (place.end_line(), place.end_column()), "{text:?}");
}
