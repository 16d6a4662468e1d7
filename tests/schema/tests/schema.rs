//! The manifest's JSON schema says what the reader says, as far as a schema can.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use runner_manifest::{Manifest, Variables};
use serde_json::{Value, json};

/// Every table and key that there is.
const EVERYTHING: &str = include_str!("../../../crates/manifest/src/schema/everything.toml");

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    tests.and_then(Path::parent).expect("in the repository")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn committed() -> Value {
    serde_json::from_str(&read("docs/schema/spin-like.schema.json")).expect("it is JSON")
}

fn validator() -> Validator {
    jsonschema::draft7::new(&committed()).expect("it is a schema")
}

fn as_json(toml: &str) -> Value {
    let table: toml::Table = toml
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{toml}"));
    serde_json::to_value(table).expect("TOML fits into JSON")
}

/// What the schema has against a manifest.
fn mistakes(validator: &Validator, manifest: &Value) -> Vec<String> {
    validator
        .iter_errors(manifest)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::draft7::meta::is_valid(&committed()));
}

#[test]
fn every_manifest_in_the_tree_fits_the_schema() {
    let validator = validator();
    for name in [
        "spin-like.toml",
        "demo/upstream/spin-like.toml",
        "templates/http-rust/spin-like.toml",
        "crates/manifest/src/schema/everything.toml",
    ] {
        assert_eq!(
            mistakes(&validator, &as_json(&read(name))),
            [""; 0],
            "{name}"
        );
    }
    let page = read("docs/manifest.md");
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() >= 5);
    for block in blocks {
        let mut manifest = as_json(block);
        let whole =
            as_json("spin_manifest_version = 2\n[application]\nname = \"doc\"\n[trigger]\n");
        for (key, value) in whole.as_object().expect("a table") {
            let missing = json!(null);
            if manifest.get(key).unwrap_or(&missing).is_null() {
                manifest[key] = value.clone();
            }
        }
        if let Some(application) = manifest["application"].as_object_mut() {
            application.entry("name").or_insert("doc".into());
        }
        assert_eq!(mistakes(&validator, &manifest), [""; 0], "{block}");
    }
}

#[test]
fn rules_as_tables_and_expectations_are_in_the_schema() {
    let manifest = |allow: &str, expect: &str| {
        as_json(&format!(
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n[trigger]\n\
             [component.a]\nsource = \"a.wasm\"\nallowed_outbound_hosts = [{allow}]\n[[expect]]\n{expect}\n"
        ))
    };
    let expect = "component = \"a\"\nallow = [\"https://a.test\"]\ndeny = [\"https://b.test\"]";
    let table: [(&str, &str, bool); 7] = [
        (
            "{ url = \"https://a.test/v1/\", methods = [\"GET\"], inject = { header = \"x\", value = \"y\" } }",
            expect,
            true,
        ),
        (
            "\"https://a.test\", { url = \"https://b.test\" }",
            expect,
            true,
        ),
        ("{ methods = [\"GET\"] }", expect, false),
        (
            "{ url = \"https://a.test\", method = \"GET\" }",
            expect,
            false,
        ),
        (
            "{ url = \"https://a.test\", inject = { header = \"x\" } }",
            expect,
            false,
        ),
        ("", "allow = []", false),
        ("", "component = \"a\"\ndenied = []", false),
    ];
    let validator = validator();
    for (allow, expect, fits) in table {
        let found = mistakes(&validator, &manifest(allow, expect));
        assert_eq!(found.is_empty(), fits, "{allow} {expect}: {found:?}");
    }
}

/// The manifest with one thing changed, everywhere where there is such a thing.
fn changed(value: &Value, change: &dyn Fn(&Value) -> Option<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = change(value).into_iter().collect();
    let inner: Vec<(Value, Vec<Value>)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (json!(key), changed(value, change)))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (json!(at), changed(value, change)))
            .collect(),
        _ => Vec::new(),
    };
    for (at, values) in inner {
        for new in values {
            let mut whole = value.clone();
            match (&at, &mut whole) {
                (Value::String(key), Value::Object(fields)) => {
                    drop(fields.insert(key.clone(), new))
                }
                (at, Value::Array(items)) => items[at.as_u64().expect("counted") as usize] = new,
                _ => {}
            }
            all.push(whole);
        }
    }
    all
}

#[test]
fn a_key_or_a_type_that_the_reader_refuses_the_schema_refuses_and_no_other() {
    let validator = validator();
    let whole = as_json(EVERYTHING);
    let unknown = |value: &Value| {
        let mut fields = value.as_object()?.clone();
        // Where a component is wanted this is one.
        fields.insert("unheard_of".into(), "shop".into());
        Some(Value::Object(fields))
    };
    let fraction = |value: &Value| (!value.is_object()).then(|| json!(1.5));
    let (mut same, mut differ) = (0, Vec::new());
    for manifest in [changed(&whole, &unknown), changed(&whole, &fraction)].concat() {
        let text = toml::to_string(&manifest).expect("JSON fits into TOML");
        let read = Manifest::parse(&text, Path::new("spin-like.toml"), &Variables::default());
        let found = mistakes(&validator, &manifest);
        if read.is_ok() == found.is_empty() {
            same += 1;
        } else {
            differ.push(format!("{:?} {found:?}", read.err()));
        }
    }
    assert_eq!(differ, [""; 0]);
    assert!(same > 100, "{same}");
}
