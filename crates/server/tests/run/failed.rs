//! Requests that failed, as programs find them afterwards: by curl, beside what clients were answered.

use serde_json::{Value, json};

use crate::process::{Evenkeel, Folder, Server};

fn instance(folder: &Folder, server: &Server, more: &str) -> Evenkeel {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 2
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  dead: {{ policy: round_robin, retry: {{ attempts: 2 }}, backends: [{{ id: one, address: \"127.0.0.1:1\" }}, {{ id: two, address: \"127.0.0.1:2\" }}] }}
  api: {{ backends: [{{ id: three, address: \"{}\" }}] }}
rules:
  - {{ name: dead, priority: 1, when: {{ path: {{ prefix: /dead }} }}, forward: dead }}
  - {{ name: api, priority: 2, when: {{ path: {{ prefix: /api }} }}, forward: api }}
{more}",
        server.address
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

fn page(keel: &Evenkeel, path: &str) -> Value {
    let out = keel.page(&format!("/v1/requests{path}"));
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{path}: {out}"))
}

fn nginx(folder: &Folder) -> Server {
    folder.write("api/good", "good\n");
    Server::nginx(folder, "location = /api/bad { return 500; }")
}

#[test]
fn what_failed_is_remembered_with_its_attempts() {
    let (folder, files) = (Folder::new("failed"), Folder::new("failed-files"));
    let server = nginx(&files);
    let keel = instance(&folder, &server, "");
    let status = |path: &str| keel.curl(&["-o", "/dev/null", "-w", "%{http_code}"], path);
    assert_eq!(status("/dead/a?token=hunter2"), "502");
    assert_eq!(status("/api/bad"), "500");
    // What is well, or the client's fault, is not.
    for (path, expect) in [("/api/good", "200"), ("/api/none", "404"), ("/x", "404")] {
        assert_eq!(status(path), expect, "{path}");
    }
    let all = page(&keel, "?failed=true");
    assert_eq!((&all["failed"], &all["most"]), (&2.into(), &256.into()));
    let [dead, bad] = [0, 1].map(|at| &all["items"][at]);
    assert_eq!(
        json!([
            dead["rule"],
            dead["service"],
            dead["status"],
            dead["reason"],
            dead["blame"],
            dead["attempts"]
        ]),
        // The first reached nobody, and does not count among the two that may be made.
        json!(["dead", "dead", 502, "connect_failed", "backend", 3])
    );
    assert_eq!(
        json!([
            dead["method"],
            dead["path"],
            dead["query"],
            dead["protocol"],
            dead["client"]
        ]),
        json!(["GET", "/dead/a", null, "HTTP/1.1", "127.0.0.1"])
    );
    // Each is asked before one is asked again, and nobody twice in a row.
    let tries = dead["tries"].as_array().unwrap();
    let tried = |key: &str| tries.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    let order = tried("backend");
    assert!(
        order == ["one", "two", "one"] || order == ["two", "one", "two"],
        "{order:?}"
    );
    assert_eq!(tried("reason"), ["connect_failed"; 3]);
    assert_eq!(tried("status"), [Value::Null, Value::Null, Value::Null]);
    let after: Vec<_> = tries.iter().map(|one| one["after_ms"].as_f64()).collect();
    assert!(
        after.is_sorted() && after[2] <= dead["total_ms"].as_f64(),
        "{dead}"
    );
    assert!(!all.to_string().contains("hunter"), "{all}");
    assert_eq!(
        json!([
            bad["reason"],
            bad["status"],
            bad["tries"][0]["backend"],
            bad["tries"][0]["status"]
        ]),
        json!(["served", 500, "three", 500])
    );
    assert!(bad["head_ms"].as_f64().unwrap() <= bad["total_ms"].as_f64().unwrap());
    // One of them, by each of its names; those that are sought; one that there is not.
    for key in ["id", "request_id"] {
        let one = page(&keel, &format!("/{}", bad[key].as_str().unwrap()));
        assert_eq!(one, *bad, "{key}");
    }
    for (query, expect) in [
        ("?service=api", bad),
        ("?reason=connect_failed", dead),
        ("?limit=1", bad),
    ] {
        assert_eq!(page(&keel, query)["items"], json!([expect]), "{query}");
    }
    assert_eq!(page(&keel, "/0-99")["reason"], "unknown_request");
    let metrics = keel.page("/metrics");
    assert!(
        metrics.contains("evenkeel_requests_failed_total 2\n"),
        "{metrics}"
    );
}

/// What the access log shows of a query is shown here, and what it veils is veiled.
#[test]
fn queries_are_shown_as_the_access_log_has_them() {
    let (folder, files) = (
        Folder::new("failed-query"),
        Folder::new("failed-query-files"),
    );
    let server = nginx(&files);
    let log = folder.path().join("access.log");
    let more = format!(
        "access_log: {{ to: \"{}\", query: redacted, client: truncated }}\n",
        log.display()
    );
    let keel = instance(&folder, &server, &more);
    keel.curl(&[], "/api/bad?token=hunter2&a=1");
    let all = page(&keel, "");
    assert_eq!(all["items"][0]["query"], "token=***&a=1");
    assert_eq!(all["items"][0]["client"], "127.0.0.0");
}
