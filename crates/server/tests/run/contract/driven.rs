//! The OpenAPI document as a program reads it that knows nothing else: schemathesis (PyPI) makes requests of it, good ones and bad ones, and
//! holds the answers to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::page;
use crate::process::{Evenkeel, Folder};

/// What a parameter is seven times in ten: else nothing that is made up would be there to be asked about.
const KNOWN: [(&str, &str); 12] = [
    ("path.service", "\"api\""),
    ("path.backend", "\"one\", \"two\""),
    ("path.listener", "\"web\""),
    ("path.rule", "\"first\", \"rest\""),
    ("path.reason", "\"query\""),
    ("path.revision", "1, 2"),
    ("path.request", "\"{failed}\""),
    ("path.alert", "{alert}"),
    ("path.silence", "{silence}"),
    ("path.letter", "{letter}"),
    ("query.service", "\"api\""),
    ("header.If-Match", "\"*\""),
];

/// Cases of each operation that are made up: those of its examples and of the bounds of its schemas come beside.
const EXAMPLES: &str = "8";

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Writes what schemathesis is told beside the document.
fn configure(folder: &Folder, failed: &str, [alert, silence, letter]: [u64; 3]) {
    let mut text = "hooks = \"hooks.py\"\n".to_owned();
    for (at, (_, values)) in KNOWN.iter().enumerate() {
        let values = (values.replace("{failed}", failed))
            .replace("{alert}", &alert.to_string())
            .replace("{silence}", &silence.to_string())
            .replace("{letter}", &letter.to_string());
        text += &format!("[dictionaries.d{at}]\nvalues = [{values}]\n");
    }
    text += "[parameters]\n";
    for (at, (name, _)) in KNOWN.iter().enumerate() {
        text += &format!("\"{name}\" = {{ dictionary = \"d{at}\", probability = 0.7 }}\n");
    }
    folder.write("schemathesis.toml", &text);
    folder.write("hooks.py", include_str!("hooks.py"));
}

fn run(folder: &Folder) -> Evenkeel {
    let text = "admin: { bind: \"127.0.0.1:0\", records: { share: 100% } }
workers: 1
access_log: { to: ./rows.log }
alerts: { webhooks: [{ name: none, to: \"http://127.0.0.1:1\", attempts: 1 }] }
listeners: { web: { bind: \"127.0.0.1:0\" } }
services:
  api: { adjust: on, affinity: { source: true }, health: { tcp: {}, interval: 1h }, backends: [{ id: one, address: \"127.0.0.1:1\" }, { id: two, address: \"127.0.0.1:1\" }] }
rules: [{ name: first, priority: 1, when: { path: /first }, deny: true }, { name: rest, priority: 2, forward: api }]
";
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// Of each operation the statuses of its answers, by the report of all requests.
fn answers(report: &str) -> BTreeMap<String, Vec<u64>> {
    let mut answers = BTreeMap::<String, Vec<u64>>::new();
    for line in report.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let recorder = &line["ScenarioFinished"]["recorder"];
        let interactions = recorder["interactions"].as_object();
        for one in interactions.into_iter().flat_map(|all| all.values()) {
            let label = recorder["label"].as_str().unwrap().to_owned();
            let status = one["response"]["status_code"].as_u64().unwrap();
            answers.entry(label).or_default().push(status);
        }
    }
    answers
}

/// An alert, once what is wrong has lasted, a silence, and what could not be told of the alert.
fn noted(keel: &Evenkeel) -> [u64; 3] {
    let alert = || page(keel, "/v1/alerts?state=open")["items"][0]["number"].as_u64();
    let alert = (0..10_000)
        .find_map(|_| alert())
        .expect("a backend is down");
    let wish = "{\"kind\": \"burn_fast\", \"for_seconds\": 600, \"why\": \"a test\"}";
    let asks = ["-H", "X-Evenkeel: 1", "-H", "If-Match: *", "-d", wish];
    let silence: Value = serde_json::from_str(&keel.asked(&asks, "/v1/silences")).unwrap();
    let letter = || page(keel, "/v1/webhooks")["dead"][0]["number"].as_u64();
    let letter = (0..10_000)
        .find_map(|_| letter())
        .expect("nobody takes what is told");
    [alert, silence["number"].as_u64().unwrap(), letter]
}

#[test]
fn who_knows_the_document_alone_is_answered_as_it_says() {
    let folder = Folder::new("contract-driven");
    let keel = run(&folder);
    assert!(keel.curl(&[], "/x").contains("502"));
    let failed = page(&keel, "/v1/requests?failed=true");
    // By this it is known as one that was recorded, too.
    let known = failed["items"][0]["request_id"].as_str().unwrap();
    configure(&folder, known, noted(&keel));
    // By its URL the page of the document itself would not be asked.
    let document = page(&keel, "/v1/openapi.json");
    folder.write("openapi.json", &document.to_string());
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    let address = format!("http://{}", keel.admin);
    let output = Command::new(&python)
        .current_dir(folder.path())
        .env("KEEL", &address)
        .args(["-m", "schemathesis.cli", "--no-color", "run"])
        .args(["openapi.json", "--url", &address])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
        .args(["--seed", "9", "--generation-database", "none"])
        .args(["--workers", "1", "--request-timeout", "30"])
        .args(["--continue-on-failure", "--no-shrink"])
        .args(["--suppress-health-check", "all"])
        .args(["--report-ndjson-path", "report.ndjson"])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "`cargo xtask setup`? {said}");
    let report = std::fs::read_to_string(folder.path().join("report.ndjson")).unwrap();
    let answers = answers(&report);
    let paths = document["paths"].as_object().unwrap().iter();
    let told: BTreeSet<_> = paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert_eq!(answers.keys().cloned().collect::<BTreeSet<_>>(), told);
    assert_eq!(told.len(), 68);
    // Each was asked for what it does, too, and not refused alone.
    for (operation, statuses) in &answers {
        let done = statuses.iter().any(|status| (200..300).contains(status));
        assert!(done, "{operation}: {statuses:?}");
    }
    let requests: usize = answers.values().map(Vec::len).sum();
    assert!(requests > 1_000, "{requests}");
    println!("{requests} requests to {} operations", answers.len());
}
