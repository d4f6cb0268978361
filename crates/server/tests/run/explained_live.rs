//! What a running instance explains: by curl, beside what it does.

use serde_json::{Value, json};

use crate::process::{Evenkeel, Folder, Server};

fn explain(keel: &Evenkeel, body: &Value) -> Value {
    let body = body.to_string();
    let out = keel.asked(&["-d", &body], "/v1/explain");
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{body}: {out}"))
}

#[test]
fn a_running_instance_explains_by_what_it_is_now() {
    let (folder, files) = (
        Folder::new("explain-live"),
        Folder::new("explain-live-files"),
    );
    files.write("who", "one\n");
    let server = Server::nginx(&files, "");
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api: {{ policy: round_robin, backends: [{{ id: one, address: \"{0}\" }}, {{ id: two, address: \"{0}\" }}] }}
rules:
  - {{ name: key, priority: 1, when: {{ header: {{ X-Api-Key: hunter2 }} }}, respond: {{ body: pong }} }}
  - {{ name: rest, priority: 2, rewrite: {{ request_headers: {{ set: {{ x-token: hunter3 }} }} }}, forward: api }}
",
        server.address
    );
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let ask = json!({ "url": "http://a.test/who", "headers": [{ "name": "X-Api-Key", "value": "other" }] });
    let told = explain(&keel, &ask);
    let one = &told["explanations"][0];
    assert_eq!(
        json!([one["listener"], one["rule"]["name"], one["action"]]),
        json!(["web", "rest", "forward"])
    );
    assert_eq!(
        json!([
            one["passed"][0]["name"],
            one["passed"][0]["wants"],
            one["passed"][0]["has"]
        ]),
        json!(["key", null, "other"])
    );
    let text = told.to_string();
    assert!(!text.contains("hunter"), "{text}");
    // As it is now, not as it began: nothing was picked by asking.
    for backend in ["one", "two"] {
        let candidate = one["services"][0]["candidates"].as_array().unwrap();
        assert!(
            candidate
                .iter()
                .any(|row| row["backend"] == backend && row["excluded"].is_null())
        );
    }
    keel.asked(
        &["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"],
        "/v1/services/api/backends/one/drain",
    );
    let one = &explain(&keel, &ask)["explanations"][0]["services"][0];
    assert_eq!(
        json!([one["backend"], one["candidates"][0]["excluded"]]),
        json!(["two", "draining"])
    );
    let service: Value = serde_json::from_str(&keel.page("/v1/services/api")).unwrap();
    assert_eq!(service["attempts"], 0);
    // What is no request is refused in words.
    for (body, says) in [
        ("", "EOF"),
        ("{}", "`url`"),
        ("{\"url\":\"/x\",\"ulr\":1}", "`ulr`"),
        ("{\"url\":\"ftp://a/x\"}", "http"),
        (
            "{\"url\":\"http://a/\",\"listener\":\"wep\"}",
            "no listener is called `wep`",
        ),
        ("{\"url\":\"http://a/\",\"from\":\"x\"}", "IP"),
    ] {
        let out = keel.asked(&["-d", body], "/v1/explain");
        let problem: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(problem["reason"], "body", "{body}: {out}");
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{body}: {out}"
        );
    }
    let large = format!("{{\"url\":\"http://a/{}\"}}", "x".repeat(70_000));
    let out = keel.asked(&["-d", &large], "/v1/explain");
    assert!(out.contains("\"reason\":\"body_too_large\""), "{out}");
}
