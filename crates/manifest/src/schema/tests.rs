//! What is described here is what the readers ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::manifest::asked;

/// A manifest with every table there is.
const EVERYTHING: &str = include_str!("everything.toml");

/// The tables that may stand at a path of names: those of a list stand where the list does.
fn at(shape: &Shape, path: &[&str]) -> Vec<&'static Keys> {
    match (shape, path) {
        (Shape::List(inner), _) => at(inner, path),
        (Shape::Either(shapes), _) => shapes.iter().flat_map(|shape| at(shape, path)).collect(),
        (Shape::Map(inner), [_, rest @ ..]) => at(inner, rest),
        (Shape::Table(table), []) => vec![table],
        (Shape::Table(table), [name, rest @ ..]) => {
            let known = table.keys.iter().find(|key| key.name == *name);
            let shape = known.map(|key| &key.shape).or(table.others.as_ref());
            shape.map(|shape| at(shape, rest)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Every table that a shape leads to, by its name.
fn collect(shape: &Shape, found: &mut BTreeMap<&'static str, &'static Keys>) {
    match shape {
        Shape::List(inner) | Shape::Map(inner) => collect(inner, found),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| collect(shape, found)),
        Shape::Table(table) => {
            if found.insert(table.name, table).is_none() {
                let keys = table.keys.iter().map(|key| &key.shape);
                keys.chain(&table.others)
                    .for_each(|shape| collect(shape, found));
            }
        }
        Shape::Text | Shape::Word(_) | Shape::Flag | Shape::Integer { .. } | Shape::Anything => {}
    }
}

/// `table.key` for each key of a table.
fn dotted<'a>(
    table: &'a str,
    keys: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = String> {
    keys.into_iter().map(move |key| format!("{table}.{key}"))
}

#[test]
fn the_readers_ask_for_the_keys_that_are_described_and_for_no_others() {
    let whole = Shape::Table(&MANIFEST);
    let mut read = BTreeSet::new();
    for (name, keys) in asked(EVERYTHING) {
        let path = name.trim_matches(['[', ']']);
        let path: Vec<&str> = match path {
            "the manifest" => Vec::new(),
            path => path.split('.').collect(),
        };
        let tables = at(&whole, &path);
        assert_eq!(tables.len(), 1, "{name}");
        read.extend(dotted(tables[0].name, keys));
    }
    let mut tables = BTreeMap::new();
    collect(&whole, &mut tables);
    let closed = tables.values().filter(|table| table.others.is_none());
    let described: BTreeSet<String> = closed
        .flat_map(|table| dotted(table.name, table.keys.iter().map(|key| key.name)))
        .collect();
    let undescribed: Vec<_> = read.difference(&described).collect();
    assert_eq!(undescribed, [&""; 0]);
    let unread: Vec<_> = described.difference(&read).collect();
    assert_eq!(unread, [&""; 0]);
}

#[test]
fn every_key_says_what_it_is_for_in_a_sentence() {
    let mut tables = BTreeMap::new();
    collect(&Shape::Table(&MANIFEST), &mut tables);
    for table in tables.values() {
        assert!(table.text.ends_with('.'), "{}", table.name);
        for key in table.keys {
            let name = format!("{}.{}", table.name, key.name);
            assert!(key.text.ends_with('.') && key.text.len() < 150, "{name}");
        }
    }
}
