//! The OpenAPI document as a program reads it that knows nothing else: schemathesis (PyPI) makes requests of it, good ones and bad ones, and
//! holds the answers to it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::page;
use crate::process::{Evenkeel, Folder};

/// What it says of a parameter's value seven times in ten: else nothing that it makes up would be there to be asked about.
const KNOWN: [(&str, &str); 8] = [
    ("path.service", "\"api\""),
    ("path.backend", "\"one\", \"two\""),
    ("path.listener", "\"web\""),
    ("path.rule", "\"first\", \"rest\""),
    ("path.reason", "\"query\""),
    ("path.revision", "1, 2"),
    ("query.service", "\"api\""),
    ("header.If-Match", "\"*\""),
];

/// Of each operation, per phase.
const EXAMPLES: &str = "12";

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

fn configured(folder: &Folder) -> String {
    let mut text = String::new();
    for (at, (_, values)) in KNOWN.iter().enumerate() {
        text += &format!("[dictionaries.d{at}]\nvalues = [{values}]\n");
    }
    text += "[parameters]\n";
    for (at, (name, _)) in KNOWN.iter().enumerate() {
        text += &format!("\"{name}\" = {{ dictionary = \"d{at}\", probability = 0.7 }}\n");
    }
    let file = folder.write("schemathesis.toml", &text);
    file.to_str().unwrap().to_owned()
}

fn run(folder: &Folder) -> Evenkeel {
    let text = "admin: { bind: \"127.0.0.1:0\" }
workers: 1
access_log: { to: ./rows.log }
listeners: { web: { bind: \"127.0.0.1:0\" } }
services:
  api: { affinity: { source: true }, backends: [{ id: one, address: \"127.0.0.1:1\" }, { id: two, address: \"127.0.0.1:1\" }] }
rules: [{ name: first, priority: 1, when: { path: /first }, deny: true }, { name: rest, priority: 2, forward: api }]
";
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// Method and path of each operation that was asked, and how many requests were made, by the report of them all.
fn asked(report: &str) -> (BTreeSet<String>, usize) {
    let (mut operations, mut requests) = (BTreeSet::new(), 0);
    for line in report.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(end) = line.get("ScenarioFinished") else {
            continue;
        };
        let recorder = &end["recorder"];
        let made = recorder["interactions"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        if made > 0 {
            operations.insert(recorder["label"].as_str().unwrap().to_owned());
        }
        requests += made;
    }
    (operations, requests)
}

#[test]
fn who_knows_the_document_alone_is_answered_as_it_says() {
    let folder = Folder::new("contract-driven");
    let keel = run(&folder);
    let document = page(&keel, "/v1/openapi.json");
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/schemathesis");
    let report = folder.path().join("report.ndjson");
    let address = format!("http://{}", keel.admin);
    let output = Command::new(&python)
        .current_dir(folder.path())
        .args(["--no-color", "--config-file", &configured(&folder), "run"])
        .args([&format!("{address}/v1/openapi.json"), "--url", &address])
        .args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
        .args([
            "--seed",
            "9",
            "--max-examples",
            EXAMPLES,
            "--generation-database",
            "none",
        ])
        .args([
            "--workers",
            "1",
            "--request-timeout",
            "30",
            "--continue-on-failure",
        ])
        .args([
            "--no-shrink",
            "--suppress-health-check",
            "all",
            "--report-ndjson-path",
        ])
        .arg(&report)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}: `cargo xtask setup` brings it",
                python.display()
            )
        });
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let (operations, requests) = asked(&std::fs::read_to_string(report).unwrap());
    let paths = document["paths"].as_object().unwrap();
    let told: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert_eq!(operations, told);
    assert_eq!(operations.len(), 48);
    assert!(requests > 1_000, "{requests}");
    println!("{requests} requests to {} operations", operations.len());
    // It is as well as before.
    assert_eq!(page(&keel, "/v1/version")["process"], keel.id());
}
