//! Every input that was worth keeping, checked by the property it was found for.

use std::fs;
use std::path::Path;

/// Calls `check` with every file of a corpus, and with parts of pairs of them put together.
fn all(corpus: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(corpus);
    let entries = fs::read_dir(&folder).expect("a corpus");
    let mut inputs: Vec<_> = entries
        .map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 20, "{}", inputs.len());
    for input in &inputs {
        check(input);
    }
    for one in &inputs {
        for other in &inputs {
            check(&crossed(one, other));
        }
    }
}

/// The first lines of one, and the last of the other.
fn crossed(one: &[u8], other: &[u8]) -> Vec<u8> {
    let lines = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let (one, other) = (lines(one), lines(other));
    let mixed: Vec<_> = one
        .iter()
        .take(4)
        .chain(other.iter().skip(4))
        .cloned()
        .collect();
    mixed.join(&b'\n')
}

#[test]
fn what_is_allowed_is_exactly_what_would_be_dialled() {
    all("destination", runner_fuzz::destination::check);
}

#[test]
fn no_other_reader_sees_another_request() {
    all("requests", runner_fuzz::requests::check);
}
