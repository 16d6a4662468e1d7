//! `runner schema`: the manifest's description as a JSON schema, draft-07, which editors for TOML read.

use std::collections::BTreeMap;

use runner_manifest::schema::{Key, Keys, MANIFEST, Shape};
use serde_json::{Map, Value, json};

/// The schema, as it is committed too.
pub(crate) fn text() -> String {
    format!("{:#}", of(&MANIFEST))
}

fn of(root: &'static Keys) -> Value {
    let mut definitions = BTreeMap::new();
    let mut schema = table(root, &mut definitions);
    schema.insert(
        "$schema".into(),
        "http://json-schema.org/draft-07/schema#".into(),
    );
    schema.insert("title".into(), "spin-like.toml".into());
    let definitions: Map<String, Value> = definitions
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::Object(value)))
        .collect();
    schema.insert("definitions".into(), Value::Object(definitions));
    Value::Object(schema)
}

type Definitions = BTreeMap<&'static str, Map<String, Value>>;

fn table(table: &'static Keys, definitions: &mut Definitions) -> Map<String, Value> {
    let properties: Map<String, Value> = table
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key, definitions)))
        .collect();
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let others = match &table.others {
        Some(others) => shape(others, definitions),
        None => false.into(),
    };
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("description".into(), table.text.into());
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("additionalProperties".into(), others);
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

fn property(key: &'static Key, definitions: &mut Definitions) -> Value {
    let mut schema = match shape(&key.shape, definitions) {
        Value::Object(schema) => schema,
        // What may be anything, or a reference, beside which nothing else would be read.
        _ => Map::new(),
    };
    if schema.contains_key("$ref") {
        schema = Map::from_iter([("allOf".to_owned(), json!([schema]))]);
    }
    schema.insert("description".into(), key.text.into());
    Value::Object(schema)
}

fn shape(shape_of: &'static Shape, definitions: &mut Definitions) -> Value {
    match shape_of {
        Shape::Text => json!({ "type": "string" }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Integer { least, most } => {
            let mut schema = json!({ "type": "integer", "minimum": least });
            if let Some(most) = most {
                schema["maximum"] = (*most).into();
            }
            schema
        }
        Shape::List(inner) => json!({ "type": "array", "items": shape(inner, definitions) }),
        Shape::Map(inner) => {
            json!({ "type": "object", "additionalProperties": shape(inner, definitions) })
        }
        Shape::Either(shapes) => {
            let shapes: Vec<_> = shapes.iter().map(|one| shape(one, definitions)).collect();
            json!({ "anyOf": shapes })
        }
        Shape::Anything => true.into(),
        Shape::Table(keys) => {
            define(keys, definitions);
            json!({ "$ref": format!("#/definitions/{}", keys.name) })
        }
    }
}

fn define(keys: &'static Keys, definitions: &mut Definitions) {
    if definitions.contains_key(keys.name) {
        return;
    }
    // Known before it is described: a table may lead to itself.
    definitions.insert(keys.name, Map::new());
    let schema = table(keys, definitions);
    definitions.insert(keys.name, schema);
}
