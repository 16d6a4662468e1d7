//! Every input that was worth keeping, checked by the property it was found for.

use std::fs;
use std::path::Path;

/// Calls `check` with every file of a corpus, and with the first lines of each before the last of each other one.
fn all(corpus: &str, first: usize, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(corpus);
    let inputs = files(&folder);
    assert!(inputs.len() >= 20, "{}", inputs.len());
    for input in &inputs {
        check(input);
    }
    for one in &inputs {
        for other in &inputs {
            check(&crossed(one, other, first));
        }
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| fs::read(path).expect("a file"))
        .collect();
    files.sort();
    files
}

/// The first lines of one, and the last of the other.
fn crossed(one: &[u8], other: &[u8], first: usize) -> Vec<u8> {
    let lines = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let (one, other) = (lines(one), lines(other));
    let mixed: Vec<_> = one
        .iter()
        .take(first)
        .chain(other.iter().skip(first))
        .cloned()
        .collect();
    mixed.join(&b'\n')
}

#[test]
fn what_is_allowed_is_exactly_what_would_be_dialled() {
    all("destination", 4, runner_fuzz::destination::check);
}

#[test]
fn a_path_has_one_form_which_is_routed_and_shown() {
    all("routing", 2, runner_fuzz::routing::check);
}

#[test]
fn any_file_is_a_manifest_or_an_error_in_its_place() {
    all("manifest", 2, runner_fuzz::manifest::check);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diagnostics");
    for input in files(&folder) {
        runner_fuzz::manifest::check(&input);
    }
}

#[test]
fn a_template_is_filled_once_and_no_error_shows_with_what() {
    all("template", 3, runner_fuzz::template::check);
}

#[test]
fn no_other_reader_sees_another_request() {
    all("requests", 4, runner_fuzz::requests::check);
}
