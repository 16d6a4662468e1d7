//! `docs/specification.md`: every row of the catalogue that it must hold is on it, and every test that it names runs.

mod binaries;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sources::Tests;

/// Rows of the catalogue of destinations that wait for what they are about: raw sockets for a component that was granted
/// some, and drivers that take a URL.
const LATER: [u32; 2] = [40, 51];

/// The last row.
const LAST: u32 = 56;

/// The last row of the catalogue of clients, and those of it that are about CGI and FastCGI.
const LAST_INBOUND: u32 = 69;
const OF_CGI: std::ops::RangeInclusive<u32> = 35..=38;

/// The last row of the catalogue of guests, and those of it that are about CGI, stores, signatures and registries, which there
/// are not.
const LAST_OF_GUESTS: u32 = 55;
const OF_WHAT_IS_NOT_THERE: [u32; 5] = [27, 31, 48, 49, 50];

/// Sources of test binaries: fewer would mean that something was not looked at.
const FEWEST: usize = 15;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("in the workspace")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/specification.md")).expect("it is there")
}

/// The rows of the table under a heading: the cells of each.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1);
    let section = section.unwrap_or_else(|| panic!("no section `{heading}`"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    rows.map(|row| {
        row.split(" | ")
            .map(|cell| cell.trim_end_matches(" |").to_owned())
            .collect()
    })
    .collect()
}

#[test]
fn every_row_of_the_catalogue_is_on_the_page_once_and_names_a_test() {
    let mut found: BTreeMap<u32, usize> = BTreeMap::new();
    for row in table(&page(), "Outbound") {
        let numbers = row[0].split(", ").filter_map(|cell| cell.strip_prefix('C'));
        for number in numbers {
            let number = number.parse().expect("a number behind the C");
            *found.entry(number).or_default() += 1;
            let tests = row.last().expect("cells");
            assert!(tests.starts_with("`test: "), "C{number}: {tests}");
            // A story has the number in its name.
            let named = named(tests).any(|name| {
                let numbers = name.split('_').filter_map(|word| word.strip_prefix('c'));
                numbers
                    .filter_map(|word| word.parse().ok())
                    .any(|n: u32| n == number)
            });
            assert!(named || number == 39, "C{number}: {tests}");
        }
    }
    let expected = (1..=LAST).filter(|number| !LATER.contains(number));
    assert_eq!(found, expected.map(|number| (number, 1)).collect());
}

#[test]
fn every_row_of_the_catalogue_of_clients_is_on_the_page_and_names_a_test() {
    let mut found = BTreeSet::new();
    for row in table(&page(), "Inbound") {
        let numbers = row[0].split(", ").filter_map(|cell| cell.strip_prefix('D'));
        for number in numbers {
            let number: u32 = number.parse().expect("a number behind the D");
            found.insert(number);
            let tests = row.last().expect("cells");
            assert!(tests.starts_with("`test: "), "D{number}: {tests}");
        }
    }
    let expected = (1..=LAST_INBOUND).filter(|number| !OF_CGI.contains(number));
    assert_eq!(found, expected.collect());
}

#[test]
fn every_row_of_the_catalogue_of_guests_is_on_the_page_and_names_a_test() {
    let page = page();
    let mut found = BTreeSet::new();
    // Some stand where what they are about is told, in a cell of their own.
    for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
        let (promise, tests) = row.rsplit_once(" | ").expect("cells");
        let numbers: BTreeSet<u32> = promise.split(" | ").filter_map(guests).flatten().collect();
        let named = tests.starts_with("`test: ");
        assert!(named || numbers.is_empty(), "E{numbers:?}: {tests}");
        found.extend(numbers);
    }
    let not_there = |number: &u32| OF_WHAT_IS_NOT_THERE.contains(number);
    let expected = (1..=LAST_OF_GUESTS).filter(|number| !not_there(number));
    assert_eq!(found, expected.collect());
}

/// The rows of the catalogue of guests that a cell consists of.
fn guests(cell: &str) -> Option<Vec<u32>> {
    let numbers = cell
        .split(", ")
        .map(|number| number.strip_prefix('E')?.parse().ok());
    numbers.collect()
}

#[test]
fn every_test_that_is_named_runs() {
    let targets = sources::targets(root());
    assert!(targets.len() >= FEWEST, "{targets:?}");
    let tests: Vec<Tests> = targets.iter().map(|target| Tests::of(target)).collect();
    let runs: BTreeSet<&str> = tests.iter().flat_map(Tests::names).collect();
    let page = page();
    let missing: Vec<_> = named(&page).filter(|name| !runs.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(named(&page).count() > 100);

    let ignored: Vec<_> = tests.iter().flat_map(|tests| &tests.ignored).collect();
    assert_eq!(ignored, [""; 0], "a test that is ignored holds nothing");
}

#[test]
fn every_step_that_is_named_is_taken_and_every_one_is_named() {
    let page = page();
    let steps: BTreeSet<_> = coded(&page, "step: ").collect();
    assert_eq!(steps, xtask::faults::names().collect());
}

/// What was read from the sources is what each binary says of itself. A binary that is older than its sources says
/// nothing; this one is never older.
#[test]
fn the_binaries_say_the_same() {
    let mut compared = Vec::new();
    for target in sources::targets(root()) {
        for (binary, said) in binaries::of(&target, root()) {
            let read = Tests::of(&target);
            assert_eq!(said.runs, read.runs, "{}", binary.display());
            assert_eq!(said.ignored, read.ignored, "{}", binary.display());
            compared.push(target.clone());
        }
    }
    let this = root().join("tests/tests/specification/main.rs");
    assert!(compared.contains(&this), "{compared:?}");
}

/// The tests that a text names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    coded(text, "test: ")
}

/// What is written as code and begins like this.
fn coded<'a>(text: &'a str, begins: &'static str) -> impl Iterator<Item = &'a str> {
    let code = text.split('`').skip(1).step_by(2);
    code.filter_map(move |code| code.strip_prefix(begins))
}
