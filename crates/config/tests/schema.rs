//! The schema says what the readers take: the same keys everywhere, and every configuration that is fine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_config::effective::effective;
use evenkeel_config::{Problem, Source, entries, load, schema};
use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value, json};

fn sources(text: &str) -> [Source; 1] {
    [Source {
        name: "f.yaml".into(),
        text: text.into(),
    }]
}

fn problems(text: &str) -> Vec<Problem> {
    load(&sources(text), &BTreeMap::new()).problems
}

/// Every map of the schema: the configuration around it, with `@` in its place, and its keys.
fn maps(schema: &Value, around: &str, found: &mut Vec<(String, BTreeSet<String>)>) {
    let inside = |text: &str| around.replacen('@', text, 1);
    let Value::Object(all) = schema else { return };
    for (keyword, value) in all {
        match (&**keyword, value) {
            ("properties", Value::Object(properties)) => {
                found.push((around.to_owned(), properties.keys().cloned().collect()));
                for (key, value) in properties {
                    maps(value, &inside(&format!("{{ {key}: @ }}")), found);
                }
            }
            ("anyOf", Value::Array(each)) => {
                each.iter().for_each(|one| maps(one, around, found));
            }
            ("items", value) => maps(value, &inside("[@]"), found),
            ("additionalProperties", value) => maps(value, &inside("{ a: @ }"), found),
            _ => {}
        }
    }
}

/// In a list or alone, a map is the same map.
fn each_map() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = Vec::new();
    maps(&schema(), "@", &mut found);
    found.into_iter().collect()
}

/// A reader that meets a key that is none says which there are.
#[test]
fn the_readers_and_the_schema_know_the_same_keys() {
    let mut seen = 0;
    for (around, keys) in each_map() {
        // Where a map of services would do as well, only `to` says that it is none.
        let around = around.replace("{ forward: { affinity", "{ forward: { to: {}, affinity");
        let rest = match around.contains("{ forward: @ }") {
            true => ", to: {}",
            false => "",
        };
        let text = around.replace('@', &format!("{{ qqqqqqqqqqqqqqqq: 1{rest} }}"));
        let all = problems(&text);
        let message = all.iter().find(|one| one.word == "unknown_key");
        let message = message.unwrap_or_else(|| panic!("{text}: {all:?}"));
        let (_, known) = message.message.split_once("known here: ").unwrap();
        let known: BTreeSet<&str> = known.split(", ").filter(|key| !key.is_empty()).collect();
        let later: BTreeSet<&str> = known
            .iter()
            .copied()
            .filter(|key| {
                let text = around.replace('@', &format!("{{ {key}: 1 }}"));
                let this = |one: &Problem| {
                    one.word == "not_yet"
                        && one.message.starts_with(&format!("`{key}` is not built"))
                };
                problems(&text).iter().any(this)
            })
            .collect();
        let today: BTreeSet<String> = known.difference(&later).map(ToString::to_string).collect();
        assert_eq!(today, keys, "{around}");
        for key in &keys {
            let text = around.replace('@', &format!("{{ {key}: 1 }}"));
            let unknown = |one: &Problem| one.message.starts_with(&format!("`{key}` is not"));
            assert!(!problems(&text).iter().any(unknown), "{text}");
            seen += 1;
        }
    }
    // Maps that stand in lists and alone are seen twice.
    assert!(seen > 130, "{seen}");
}

const NEAR: &str = "zone: ${ZONE:-eu}\nregions: { eu: [10.0.0.0/8, \"2001:db8::/32\"], us: 11.0.0.0/8 }\nlisteners: { web: { bind: 127.0.0.1:1 } }\nrules: { forward: api }\nservices:\n  api: { overprovision: 1.25, zones: { prefer: client, min_backends: 2 }, backends: { address: a:1, zone: eu } }\n  two: { overprovision: \"2\", zones: local, backends: { address: a:1, zone: eu } }\n  three: { zones: off, backends: a:1 }\n";

fn fine() -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let readme = readme.split("```yaml\n").nth(1).unwrap();
    let readme = readme.split("```").next().unwrap();
    let today = include_str!("files/today.yaml");
    let mut all = vec![
        today.to_owned(),
        readme.to_owned(),
        include_str!("files/actions.yaml").to_owned(),
        "listeners: { web: { bind: 127.0.0.1:1, real_ip: \"true\", limits: { fields: \"3\" }, timeouts: { head: 1m } } }\nservices: { api: { slow_start: 0, policy: { hash: { key: path } }, breaker: off, backends: { address: a:1, id: 1.10, weight: 0, labels: { a: true } }, health: { tcp: } } }\nrules: { forward: { api: 100 }, when: { method: GET } }\nworkers: auto\ndrain: ${D:-1s}\n".into(),
        NEAR.to_owned(),
    ];
    // And all of it written out.
    for text in [today, readme, include_str!("files/actions.yaml"), NEAR] {
        let sources = sources(text);
        let loaded = load(&sources, &BTreeMap::new());
        let entry = effective(&loaded, &sources, &BTreeMap::new()).unwrap();
        all.push(entry.text(&sources));
    }
    all
}

#[test]
fn what_is_fine_is_fine_by_the_schema() {
    let schema = schema();
    for text in fine() {
        let plan = load(&sources(&text), &BTreeMap::new()).plan;
        assert!(plan.is_some(), "{text}");
        assert_eq!(holds(&schema, &schema, &json(&text), "$"), Ok(()), "{text}");
    }
}

#[test]
fn what_is_wrong_is_wrong_by_the_schema() {
    let schema = schema();
    for text in [
        "listener: {}",
        "user_: 1",
        "access_log: { format: xml }",
        "drain: 5",
        "drain: 5 s",
        "workers: 0",
        "workers: many",
        "max_listeners: 10001",
        "listeners: { web: {} }",
        "listeners: { a b: { bind: x } }",
        "listeners: { web: { bind: x, protocol: udp } }",
        "listeners: { web: { bind: x, limits: { head: 16 } } }",
        "listeners: { web: { bind: x, tls: {} } }",
        "rules: [{ name: a }]",
        "rules: [{ forward: a, respond: {} }]",
        "rules: [{ forward: { a: 1000, b: 2 } }]",
        "rules: [{ forward: { to: { a: 1 }, afinity: {} } }]",
        "rules: [{ forward: {} }]",
        "rules: [{ deny: false }]",
        "rules: [{ deny: { status: 200 } }]",
        "rules: [{ forward: a, fallback: {} }]",
        "rules: [{ forward: a, rewrite: { prefix: { from: /a } } }]",
        "rules: [{ forward: a, when: { path: {} } }]",
        "services: { api: { policy: fastest } }",
        "services: { api: { min_healthy: 2 } }",
        "services: { api: { min_healthy: { count: 0 } } }",
        "services: { api: { min_healthy: { share: 0.5 } } }",
        "services: { api: { overprovision: 0.9 } }",
        "services: { api: { overprovision: 1001 } }",
        "services: { api: { zones: near } }",
        "services: { api: { zones: { prefer: all } } }",
        "services: { api: { zones: { min_backends: 0 } } }",
        "regions: [10.0.0.0/8]",
        "services: { api: { backends: [{ weight: 1 }] } }",
        "services: { api: { backends: [{ dns: a:1, srv: b }] } }",
        "services: { api: { backends: [{ dns: a:1, refresh: 10 }] } }",
        "resolver: { attempts: 0 }",
        "services: { api: { backends: [a], health: {} } }",
        "services: { api: { backends: [a], breaker: { cap: 0.5 } } }",
    ] {
        assert!(holds(&schema, &schema, &json(text), "$").is_err(), "{text}");
        let errors = problems(text);
        assert!(!errors.is_empty(), "{text}");
    }
}

/// Programs send parts of a configuration: each of those that are fine is fine, and changes may have any of its keys.
#[test]
fn what_programs_send_is_fine_by_the_same_keys() {
    let root = json!({ "entries": entries("#/entries/").into_iter().collect::<Map<_, _>>() });
    let by = |name: &str, entry: &Value| holds(&root, &root["entries"][name], entry, name);
    let (mut backends, mut rules, mut policies) = (0, 0, 0);
    for text in fine() {
        let whole = json(&text);
        let services = whole["services"].as_object().unwrap();
        for service in services.values() {
            if let Some(policy) = service.get("policy") {
                assert_eq!(by("PolicyEntry", policy), Ok(()));
                policies += 1;
            }
            let all = service["backends"].as_array();
            for backend in all.into_iter().flatten().filter(|one| one.is_object()) {
                let mut entry = backend.clone();
                entry.as_object_mut().unwrap().remove("id");
                assert_eq!(by("BackendEntry", &entry), Ok(()));
                for (key, value) in entry.as_object().unwrap() {
                    assert_eq!(by("BackendChanges", &json!({ key: value })), Ok(()));
                    assert_eq!(by("BackendChanges", &json!({ key: null })), Ok(()));
                }
                backends += 1;
            }
        }
        for rule in whole["rules"].as_array().into_iter().flatten() {
            let mut entry = rule.clone();
            entry.as_object_mut().unwrap().remove("name");
            assert_eq!(by("RuleEntry", &entry), Ok(()));
            rules += 1;
        }
    }
    assert!(
        backends > 20 && rules > 20 && policies > 5,
        "{backends} {rules} {policies}"
    );
    for (name, wrong) in [
        ("BackendEntry", "{ weight: 1 }"),
        ("BackendEntry", "{ address: a:1, id: a }"),
        ("BackendEntry", "{ address: a:1, weight: null }"),
        ("BackendChanges", "{ wieght: 1 }"),
        ("BackendChanges", "{ weight: -1 }"),
        ("PolicyEntry", "{ hsh: {} }"),
        ("RuleEntry", "{ name: a, forward: a }"),
        ("RuleEntry", "{ priority: 1 }"),
        ("RuleEntry", "{ forward: a, when: { pth: /a } }"),
    ] {
        assert!(by(name, &json(wrong)).is_err(), "{name} {wrong}");
    }
}

/// Whether an instance is valid; only the keywords that our schema has.
fn holds(root: &Value, schema: &Value, instance: &Value, at: &str) -> Result<(), String> {
    let Value::Object(all) = schema else {
        return if schema == &json!(false) {
            Err(format!("{at}: not allowed"))
        } else {
            Ok(())
        };
    };
    let wrong = |what: &str| Err(format!("{at}: {what} {instance}"));
    let fits = |schema: &Value| holds(root, schema, instance, at);
    for (keyword, value) in all {
        let number = instance.as_f64();
        match (&**keyword, instance) {
            ("$schema" | "$defs" | "title" | "description" | "default", _) => {}
            ("$ref", _) => {
                let at = value.as_str().unwrap().strip_prefix('#').unwrap();
                fits(root.pointer(at).unwrap())?;
            }
            ("type", _) => {
                let kinds = value
                    .as_array()
                    .map_or(std::slice::from_ref(value), |all| all);
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "object" => instance.is_object(),
                    "array" => instance.is_array(),
                    "string" => instance.is_string(),
                    "number" => instance.is_number(),
                    "integer" => instance.is_u64() || instance.is_i64(),
                    "boolean" => instance.is_boolean(),
                    "null" => instance.is_null(),
                    other => panic!("{other}"),
                };
                if !kinds.iter().any(is) {
                    return wrong("type");
                }
            }
            ("anyOf", _) => {
                let each: Vec<_> = value.as_array().unwrap().iter().map(fits).collect();
                if each.iter().all(Result::is_err) {
                    return Err(format!("{at}: {each:?}"));
                }
            }
            ("oneOf", _) => {
                if value
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|one| fits(one).is_ok())
                    .count()
                    != 1
                {
                    return wrong("oneOf");
                }
            }
            ("enum", _) if !value.as_array().unwrap().contains(instance) => return wrong("enum"),
            ("const", _) if value != instance => return wrong("const"),
            ("pattern", Value::String(text)) => {
                if !regex::Regex::new(value.as_str().unwrap())
                    .unwrap()
                    .is_match(text)
                {
                    return wrong("pattern");
                }
            }
            ("minimum", _) if number < value.as_f64() => return wrong("minimum"),
            ("maximum", _) if number > value.as_f64() => return wrong("maximum"),
            ("required", Value::Object(object)) => {
                let has = |key: &Value| object.contains_key(key.as_str().unwrap());
                if !value.as_array().unwrap().iter().all(has) {
                    return wrong("required");
                }
            }
            ("minProperties", Value::Object(object)) if object.is_empty() => return wrong("few"),
            ("maxProperties", Value::Object(object))
                if object.len() as u64 > value.as_u64().unwrap() =>
            {
                return wrong("many");
            }
            ("properties", Value::Object(object)) => {
                for (key, one) in object {
                    if let Some(schema) = value.get(key) {
                        holds(root, schema, one, &format!("{at}.{key}"))?;
                    }
                }
            }
            ("additionalProperties", Value::Object(object)) => {
                let known = all.get("properties");
                for (key, one) in object {
                    if known.is_none_or(|known| known.get(key).is_none()) {
                        holds(root, value, one, &format!("{at}.{key}"))?;
                    }
                }
            }
            ("propertyNames", Value::Object(object)) => {
                for key in object.keys() {
                    holds(root, value, &json!(key), at)?;
                }
            }
            ("items", Value::Array(items)) => {
                for (number, one) in items.iter().enumerate() {
                    holds(root, value, one, &format!("{at}[{number}]"))?;
                }
            }
            (
                "enum"
                | "const"
                | "pattern"
                | "minimum"
                | "maximum"
                | "required"
                | "properties"
                | "additionalProperties"
                | "propertyNames"
                | "items"
                | "minProperties"
                | "maxProperties",
                _,
            ) => {}
            (other, _) => panic!("the schema has a keyword that is not judged here: {other}"),
        }
    }
    Ok(())
}

/// A YAML text as programs see it: plain scalars typed by the core schema of YAML 1.2.
fn json(text: &str) -> Value {
    let mut open: Vec<(Value, Option<String>)> = vec![(json!([]), None)];
    for step in Parser::new_from_str(text) {
        let done = match step.unwrap().0 {
            Event::Scalar(text, ScalarStyle::Plain, ..) => core(&text),
            Event::Scalar(text, ..) => json!(text.as_ref()),
            Event::SequenceStart(..) => {
                open.push((json!([]), None));
                continue;
            }
            Event::MappingStart(..) => {
                open.push((Value::Object(Map::new()), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().unwrap().0,
            _ => continue,
        };
        let (parent, key) = open.last_mut().unwrap();
        match (parent, key.take()) {
            (Value::Array(items), _) => items.push(done),
            (Value::Object(object), Some(key)) => {
                object.insert(key, done);
            }
            (_, None) => *key = Some(done.as_str().map_or_else(|| done.to_string(), Into::into)),
            (other, _) => panic!("{other}"),
        }
    }
    open[0].0[0].clone()
}

fn core(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => json!(true),
        "false" => json!(false),
        _ => text
            .parse::<u64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .unwrap_or_else(|_| json!(text)),
    }
}
