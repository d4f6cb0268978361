//! Owns the JSON Schema of a configuration (draft 2020-12), printed from the table of keys, for editors and for programs that
//! write configurations.
//!
//! What the readers take, it takes; it takes more in places, where a text has rules of its own that only `evenkeel check` knows.
//! Scalars are as YAML 1.2 reads them: `off` is a text.

use serde_json::{Map, Value, json};

use crate::edits::SETTINGS;
use crate::keys::{Absent, BACKEND, Key, Keys, RULE, SERVICE, Shape, TOP, WHEN};
use crate::limits;

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut schema = map(&TOP);
    if let Value::Object(schema) = &mut schema {
        // Files of one directory are one configuration: none of them needs it all.
        schema.remove("required");
        schema.insert(
            "$schema".into(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        schema.insert("title".into(), "Evenkeel".into());
        schema.insert("$defs".into(), definitions());
    }
    schema
}

/// What programs send of a configuration beside its texts, as [`crate::Edits`] takes it: names of schemas with what they are. References
/// among them begin with `at`, as `#/components/schemas/`.
#[must_use]
pub fn entries(at: &str) -> Vec<(String, Value)> {
    let policy = SERVICE.key("policy").map(|key| shape(&key.shape));
    let named = [
        ("BackendEntry", known_already(map(&BACKEND), "id")),
        ("BackendChanges", changes(map(&BACKEND))),
        ("ServiceChanges", service_changes()),
        ("PolicyEntry", policy.unwrap_or_default()),
        ("RuleEntry", known_already(map(&RULE), "name")),
    ];
    let mut all: Vec<_> = named.map(|(name, value)| (name.to_owned(), value)).into();
    if let Value::Object(definitions) = definitions() {
        let definitions = definitions.into_iter();
        all.extend(definitions.map(|(name, value)| (defined(&name), value)));
    }
    for (_, value) in &mut all {
        refer(value, at);
    }
    all
}

/// How a definition is called among the schemas of others.
fn defined(name: &str) -> String {
    format!("configuration.{name}")
}

/// Has references lead to definitions that stand among others.
fn refer(value: &mut Value, at: &str) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix(DEFINITIONS) {
                            *text = format!("{at}{}", defined(name));
                        }
                    }
                    value => refer(value, at),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, at)),
        _ => {}
    }
}

/// The entry of what the request itself names.
fn known_already(mut entry: Value, by: &str) -> Value {
    if let Some(properties) = entry["properties"].as_object_mut() {
        properties.remove(by);
    }
    entry
}

/// Some keys of an entry; nothing takes one away.
fn changes(entry: Value) -> Value {
    let mut entry = known_already(entry, "id");
    // What must stand there stands in the entry that is changed.
    for whole in ["oneOf", "required"] {
        entry.as_object_mut().map(|keywords| keywords.remove(whole));
    }
    for property in entry["properties"].as_object_mut().into_iter().flatten() {
        let value = property.1.take();
        *property.1 = json!({ "anyOf": [value, { "type": "null" }] });
    }
    entry
}

/// Some keys of a service; what is within a map may be told alone, and nothing takes a key away.
fn service_changes() -> Value {
    let mut properties = Map::new();
    let backend = changes(map(&BACKEND));
    let by_id = json!({ "type": "object", "additionalProperties": backend });
    properties.insert("backends".into(), by_id);
    for name in SETTINGS.iter().chain(&["policy"]) {
        let key = SERVICE.keys.iter().find(|key| key.name == *name);
        if let Some(key) = key {
            let value = json!({ "anyOf": [value_of(key), { "type": "null" }] });
            properties.insert((*name).into(), value);
        }
    }
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// Where definitions stand in the schema of a whole configuration.
const DEFINITIONS: &str = "#/$defs/";

/// What stands in several places. Scalars may be a variable of the environment instead.
fn definitions() -> Value {
    let units = "([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?";
    json!({
        "text": { "type": ["string", "number", "boolean"] },
        "variable": { "type": "string", "pattern": "\\$\\{" },
        "number": written("\\+?[0-9]+"),
        "boolean": { "anyOf": [{ "type": "boolean" }, written("true|false")] },
        "duration": { "anyOf": [{ "const": 0 }, written(&format!("0|{units}"))] },
        "size": written("[0-9]+(B|kB|KiB|MB|MiB|GB|GiB)"),
        "share": written("[0-9.]+%"),
        "rate": written("[0-9]+/s"),
        "allowance": written("[0-9]+/(s|min|h)"),
        "when": map(&WHEN),
    })
}

/// A text of this form, or a variable of the environment.
fn written(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^({pattern})$|\\$\\{{") })
}

fn map(keys: &Keys) -> Value {
    let mut properties = Map::new();
    for key in keys.keys {
        properties.insert(key.name.into(), value_of(key));
    }
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("additionalProperties".into(), false.into());
    schema.insert("properties".into(), Value::Object(properties));
    let required: Vec<_> = keys
        .keys
        .iter()
        .filter(|key| matches!(key.absent, Absent::Never))
        .map(|key| key.name)
        .collect();
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if !keys.one_of.is_empty() {
        let each = keys.one_of.iter().map(|key| json!({ "required": [key] }));
        schema.insert("oneOf".into(), each.collect());
    }
    Value::Object(schema)
}

fn value_of(key: &Key) -> Value {
    let mut schema = shape(&key.shape);
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".into(), key.about.into());
        if let Absent::These(texts) = key.absent {
            schema.insert("default".into(), json!(texts));
        }
        if let Absent::Is(text) = key.absent {
            let text = text();
            let default = match key.shape {
                Shape::Number(..) => text.parse::<u64>().map_or(text.into(), Value::from),
                Shape::Boolean => (text == "true").into(),
                Shape::Times(..) => text.parse::<f64>().map_or(text.into(), Value::from),
                _ => text.into(),
            };
            schema.insert("default".into(), default);
        }
    }
    schema
}

fn shape(of: &Shape) -> Value {
    let scalar = |name: &str| json!({ "$ref": format!("{DEFINITIONS}{name}") });
    let words = |words: &[&str]| json!({ "enum": words });
    let either = |all: &[&str], other: &str, keys| json!({ "anyOf": [words(all), scalar(other), map(keys)] });
    match of {
        Shape::Text | Shape::Veiled => scalar("text"),
        Shape::Duration | Shape::Wait => scalar("duration"),
        Shape::Size => scalar("size"),
        Shape::Share => scalar("share"),
        Shape::Rate => scalar("rate"),
        Shape::Allowance => scalar("allowance"),
        Shape::Factor(all) => {
            let number = json!({ "type": "number", "minimum": 1.05, "maximum": 100 });
            json!({ "anyOf": [words(all), number, written("[0-9.]+")] })
        }
        Shape::Times(least, most) => times(*least, *most),
        Shape::Boolean => scalar("boolean"),
        Shape::Number(least, most) => {
            json!({ "anyOf": [number(*least, *most), scalar("number")] })
        }
        Shape::NumberOr(word, least, most) => {
            json!({ "anyOf": [number(*least, *most), scalar("number"), words(&[word])] })
        }
        Shape::Words(all) => json!({ "anyOf": [words(all), scalar("variable")] }),
        Shape::List(item) => {
            let item = shape(item);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Shape::Map(keys) => map(keys),
        Shape::Bare(keys) => json!({ "anyOf": [{ "type": "null" }, map(keys)] }),
        Shape::Named(keys) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9._-]{1,64}$" },
            "additionalProperties": map(keys),
        }),
        Shape::Free(item) => json!({ "type": "object", "additionalProperties": shape(item) }),
        Shape::ShortList(_, item, keys) => {
            let item = shape(item);
            json!({ "anyOf": [item, { "type": "array", "items": item }, map(keys)] })
        }
        Shape::ShortFree(item) => json!({ "anyOf": [
            scalar("text"),
            { "type": "object", "additionalProperties": shape(item) },
        ] }),
        Shape::Again(name, _) => scalar(name),
        Shape::Short(key, keys) => {
            let same = key.and_then(|key| keys.key(key));
            let alone = same.map_or_else(|| scalar("text"), |key| shape(&key.shape));
            json!({ "anyOf": [alone, map(keys)] })
        }
        Shape::WordOr(all, _, keys) => either(all, "variable", keys),
        Shape::NameOr(all, _, keys) => either(all, "text", keys),
        Shape::Switch(keys) => json!({ "anyOf": [scalar("boolean"), map(keys)] }),
        Shape::TrueOr(keys) => {
            json!({ "anyOf": [{ "const": true }, written("true"), map(keys)] })
        }
        Shape::Forward(keys) => {
            let [services, ..] = keys.keys else {
                return map(keys);
            };
            // Weights of names, unless `to` says otherwise.
            let mut weights = shape(&services.shape);
            weights["minProperties"] = 1.into();
            weights["maxProperties"] = limits::SPLIT_SERVICES.into();
            json!({ "anyOf": [scalar("text"), weights, map(keys)] })
        }
    }
}

fn times(least: u32, most: u32) -> Value {
    let number = json!({ "type": "number", "minimum": least, "maximum": most });
    json!({ "anyOf": [number, written("[0-9.]+")] })
}

fn number(least: u64, most: u64) -> Value {
    let mut schema = json!({ "type": "integer", "minimum": least });
    // Beyond what many programs can hold exactly, a limit says nothing.
    if most < 1 << 53 {
        schema["maximum"] = most.into();
    }
    schema
}
