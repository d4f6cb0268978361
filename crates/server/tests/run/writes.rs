//! What is changed of a running configuration: by curl, beside its file, over restarts, beside traffic.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::process::{Evenkeel, Folder, Server, curl};

/// Status, fields of the answer (in lower case) and body.
fn asked(
    keel: &Evenkeel,
    method: &str,
    path: &str,
    fields: &[&str],
    body: &str,
) -> (u16, String, Value) {
    let mut arguments = vec!["-i", "-X", method, "-H", "X-Evenkeel: 1"];
    for field in fields {
        arguments.extend(["-H", field]);
    }
    if !body.is_empty() {
        arguments.extend([
            "-H",
            "Content-Type: application/json",
            "--data-binary",
            body,
        ]);
    }
    let out = keel.asked(&arguments, path);
    let (head, body) = out
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{out}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    (status, head.to_ascii_lowercase(), body)
}

fn page(keel: &Evenkeel, path: &str) -> Value {
    let (status, _, body) = asked(keel, "GET", path, &[], "");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// The revision that runs, as `If-Match` takes it.
fn seen(keel: &Evenkeel) -> String {
    let version = page(keel, "/v1/version");
    let revision = version["configuration"]["revision"].as_str().unwrap();
    format!("If-Match: \"{revision}\"")
}

/// A write by who has seen what runs.
fn write(keel: &Evenkeel, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, head, answer) = asked(keel, method, path, &[&seen(keel)], body);
    if status < 300 {
        let now = seen(keel).replace("If-Match", "etag");
        assert!(head.contains(&now), "{now}: {head}");
    }
    (status, answer)
}

#[track_caller]
fn done(keel: &Evenkeel, method: &str, path: &str, body: &str) -> Value {
    let (status, answer) = write(keel, method, path, body);
    assert!(
        matches!(status, 200 | 201),
        "{method} {path}: {status} {answer}"
    );
    answer
}

/// How often is looked for what must come: a look is a program's start, so that this is a minute or more.
const LOOKS: usize = 10_000;

/// Waits for what must come.
#[track_caller]
fn until(what: &str, is: impl Fn() -> bool) {
    assert!((0..LOOKS).any(|_| is()), "{what}");
}

struct Site {
    folder: Folder,
    servers: Vec<Server>,
    _folders: Vec<Folder>,
}

impl Site {
    fn new(name: &str) -> Self {
        let names = ["one", "two", "three"];
        let folders: Vec<_> = names
            .map(|one| Folder::new(&format!("{name}-{one}")))
            .into();
        let servers = names.iter().zip(&folders).map(|(name, folder)| {
            folder.write("who", &format!("{name}\n"));
            Server::nginx(folder, "keepalive_requests 1000000;")
        });
        Self {
            folder: Folder::new(name),
            servers: servers.collect(),
            _folders: folders,
        }
    }

    fn address(&self, at: usize) -> String {
        self.servers[at].address.to_string()
    }

    fn text(&self, more: &str) -> String {
        format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices:\n  api: {{ policy: round_robin, slow_start: 0, backends: [{{ id: one, address: \"{}\" }}, {{ id: two, address: \"{}\", weight: 2 }}] }}\nrules:\n  - {{ name: rest, forward: api }}\n{more}",
            self.address(0),
            self.address(1)
        )
    }

    fn run(&self, arguments: &[&str]) -> Evenkeel {
        let file = self.folder.write("keel.yaml", &self.text(""));
        Evenkeel::run(&[&["-c", file.to_str().unwrap()], arguments].concat())
    }
}

/// The names of those who answer ten requests, each once.
fn answering(keel: &Evenkeel) -> String {
    let mut names: Vec<_> = (0..10).map(|_| keel.curl(&[], "/who")).collect();
    names.sort_unstable();
    names.dedup();
    names.concat().replace('\n', " ").trim().to_owned()
}

const ONE: &str = "/v1/services/api/backends/one";

#[test]
fn a_write_says_what_it_has_seen_and_answers_what_runs() {
    let site = Site::new("writes-seen");
    let keel = site.run(&[]);
    let first = seen(&keel);
    let drain = format!("{ONE}/drain");
    let (status, head, problem) = asked(&keel, "POST", &drain, &[], "");
    assert_eq!((status, &problem["reason"]), (428, &"no_revision".into()));
    let runs = problem["revision"].as_str().unwrap();
    assert!(
        first.contains(runs) && head.contains(&format!("etag: \"{runs}\"")),
        "{head}"
    );
    let (status, _, problem) = asked(&keel, "POST", &drain, &["If-Match: one"], "");
    assert_eq!((status, &problem["reason"]), (400, &"if_match".into()));
    // Nothing of this has changed anything.
    assert_eq!(seen(&keel), first);
    let answer = done(&keel, "POST", &drain, "");
    assert_eq!(answer["state"], "draining");
    let second = seen(&keel);
    assert_ne!(first, second);
    assert_eq!(answering(&keel), "two");
    let (status, head, problem) = asked(&keel, "POST", &format!("{ONE}/enable"), &[&first], "");
    assert_eq!((status, &problem["reason"]), (412, &"stale".into()));
    let runs = problem["revision"].as_str().unwrap();
    assert!(
        second.contains(runs) && head.contains(runs),
        "{second} {head}"
    );
    // One of several is enough, and what changes nothing is no revision.
    let both = format!("{first}, {}", second.replace("If-Match: ", ""));
    let (status, ..) = asked(&keel, "POST", &drain, &[&both], "");
    assert_eq!((status, seen(&keel)), (200, second.clone()));
    // Who does not care says so, but not of what it replaces.
    let (status, ..) = asked(
        &keel,
        "POST",
        &format!("{ONE}/enable"),
        &["If-Match: *"],
        "",
    );
    assert_eq!(status, 200);
    let (status, _, problem) = asked(&keel, "DELETE", ONE, &["If-Match: *"], "");
    assert_eq!((status, &problem["reason"]), (428, &"no_revision".into()));
    assert_eq!(answering(&keel), "one two");
}

#[test]
fn backends_come_change_and_go() {
    let site = Site::new("writes-backends");
    let keel = site.run(&[]);
    let three = "/v1/services/api/backends/three";
    let body = json!({ "address": site.address(2), "weight": 5 }).to_string();
    let (status, head, answer) = asked(&keel, "PUT", three, &[&seen(&keel)], &body);
    assert_eq!(status, 201, "{answer}");
    assert!(head.contains(&format!("location: {three}")), "{head}");
    assert_eq!(
        answer["changes"],
        json!(["service api: backend three is added"])
    );
    assert_eq!(answering(&keel), "one three two");
    let (status, _) = write(&keel, "PUT", three, &body);
    assert_eq!(status, 200);
    // A drain outlasts a change of the entry: both are wanted.
    done(&keel, "POST", &format!("{ONE}/drain"), "");
    done(&keel, "PATCH", ONE, "{\"weight\": 7}");
    let one = page(&keel, ONE);
    assert_eq!(
        (&one["weight"], &one["wanted"]),
        (&7.into(), &"draining".into())
    );
    assert_eq!(answering(&keel), "three two");
    done(&keel, "DELETE", three, "");
    assert_eq!(answering(&keel), "two");
    // What is wrong is told where it stands, and changes nothing.
    let before = seen(&keel);
    let wrong = "{\n  \"address\": \"127.0.0.1:1\",\n  \"wieght\": 3\n}";
    let (status, problem) = write(&keel, "PUT", three, wrong);
    assert_eq!((status, &problem["reason"]), (422, &"configuration".into()));
    let first = &problem["problems"][0];
    assert_eq!(
        (
            &first["text"],
            &first["line"],
            &first["column"],
            &first["severity"]
        ),
        (&"body".into(), &3.into(), &3.into(), &"error".into())
    );
    for (method, path, body, status, reason) in [
        (
            "PATCH",
            "/v1/services/api/backends/onee",
            "{\"weight\": 1}",
            404,
            "unknown_backend",
        ),
        (
            "DELETE",
            "/v1/services/apy/backends/one",
            "",
            404,
            "unknown_service",
        ),
        ("PATCH", ONE, "{\"weight\": \"much\"}", 422, "configuration"),
        ("PATCH", ONE, "{\"id\": \"four\"}", 422, "configuration"),
        ("PUT", three, "{\"address\": ", 422, "configuration"),
        ("PUT", three, "", 422, "configuration"),
    ] {
        let (got, problem) = write(&keel, method, path, body);
        assert_eq!(
            (got, &problem["reason"]),
            (status, &reason.into()),
            "{method} {path}: {problem}"
        );
    }
    assert_eq!(seen(&keel), before);
    let large = format!("{{\"address\": \"{}\"}}", "x".repeat(300_000));
    let file = site.folder.write("large.json", &large);
    let (status, _, problem) = asked(
        &keel,
        "PUT",
        three,
        &[&before],
        &format!("@{}", file.display()),
    );
    assert_eq!(
        (status, &problem["reason"]),
        (413, &"body_too_large".into())
    );
}

#[test]
fn policies_and_rules_change() {
    let site = Site::new("writes-rules");
    let keel = site.run(&[]);
    done(
        &keel,
        "PUT",
        "/v1/services/api/policy",
        "\"least_connections\"",
    );
    assert_eq!(
        page(&keel, "/v1/services/api")["policy"],
        "least_connections"
    );
    done(&keel, "DELETE", "/v1/services/api/policy", "");
    assert_eq!(page(&keel, "/v1/services/api")["policy"], "round_robin");
    let ping = json!({ "priority": 10, "when": { "path": { "exact": "/ping" } }, "respond": { "status": 200, "body": "pong" } });
    let (status, _) = write(&keel, "PUT", "/v1/rules/ping", &ping.to_string());
    assert_eq!(status, 201);
    assert_eq!(keel.curl(&[], "/ping"), "pong");
    let held = json!({ "priority": 20, "when": { "header": { "X-Stop": "1" } }, "deny": true });
    done(&keel, "PUT", "/v1/rules/stop", &held.to_string());
    let stopped = |path: &str| {
        let status = ["-o", "/dev/null", "-w", "%{http_code}", "-H", "X-Stop: 1"];
        keel.curl(&status, path) == "403"
    };
    assert_eq!((stopped("/who"), stopped("/ping")), (true, false));
    let order = |names: &str| format!("{{\"rules\": [{names}]}}");
    let turned = order("\"stop\", \"ping\", \"rest\"");
    done(&keel, "PUT", "/v1/rule-order", &turned);
    assert_eq!((stopped("/who"), stopped("/ping")), (true, true));
    assert_eq!(keel.curl(&[], "/ping"), "pong");
    // One that leaves a rule nothing is told of it, as a file would be.
    let before = seen(&keel);
    let hiding = order("\"rest\", \"stop\", \"ping\"");
    let (status, problem) = write(&keel, "PUT", "/v1/rule-order", &hiding);
    assert_eq!((status, &problem["reason"]), (422, &"configuration".into()));
    assert!(problem.to_string().contains("never reached"), "{problem}");
    assert_eq!(seen(&keel), before);
    let (status, problem) = write(&keel, "PUT", "/v1/rule-order", "{\"rules\": [\"rest\"]}");
    assert_eq!((status, &problem["reason"]), (409, &"not_of_these".into()));
    done(&keel, "DELETE", "/v1/rules/stop", "");
    let (status, problem) = write(&keel, "DELETE", "/v1/rules/stop", "");
    assert_eq!((status, &problem["reason"]), (404, &"unknown_rule".into()));
    // A rule that names a file would show it to whoever may write rules.
    let file = json!({ "host_map": { "file": "/etc/passwd" } });
    let (status, problem) = write(&keel, "PUT", "/v1/rules/file", &file.to_string());
    assert_eq!(status, 422);
    assert!(problem.to_string().contains("names no file"), "{problem}");
}

#[test]
fn revisions_are_told_compared_and_gone_back_to() {
    let site = Site::new("writes-revisions");
    let mut keel = site.run(&[]);
    done(&keel, "PATCH", ONE, "{\"weight\": 4}");
    done(&keel, "POST", "/v1/services/api/backends/two/drain", "");
    let deny =
        json!({ "priority": 1, "when": { "header": { "X-Api-Key": "hunter2" } }, "deny": true });
    done(&keel, "PUT", "/v1/rules/key", &deny.to_string());
    let all = page(&keel, "/v1/revisions");
    let by: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["by"].as_str().unwrap())
        .collect();
    assert_eq!(by, ["loopback", "loopback", "loopback", "start"]);
    assert_eq!(
        (&all["items"][0]["number"], &all["items"][0]["runs"]),
        (&4.into(), &true.into())
    );
    assert_eq!(
        all["items"][1]["changes"],
        json!(["service api: backend two is draining"])
    );
    let diff = page(&keel, "/v1/revisions/3/diff?from=1");
    let row = |path: &str, from: &str, to: &str| json!({ "path": path, "effect": "changed", "from": from, "to": to });
    let rows = diff["differences"].as_array().unwrap();
    assert!(
        rows.contains(&row("services.api.backends[one].weight", "1", "4")),
        "{diff}"
    );
    assert!(
        rows.contains(&row(
            "services.api.backends[two].state",
            "enabled",
            "draining"
        )),
        "{diff}"
    );
    let settings = keel.asked(&[], "/v1/configuration?limit=1000");
    assert!(!settings.contains("hunter2"), "{settings}");
    let settings: Value = serde_json::from_str(&settings).unwrap();
    let of = |path: &str| {
        let all = settings["items"].as_array().unwrap();
        all.iter()
            .find(|one| one["path"] == path)
            .unwrap_or_else(|| panic!("{path}: {settings}"))
            .clone()
    };
    let weight = of("services.api.backends[one].weight");
    assert_eq!(
        (&weight["value"], &weight["from"]),
        (&"4".into(), &"operator".into())
    );
    assert_eq!(of("services.api.backends[two].state")["from"], "operator");
    assert_eq!(of("services.api.backends[two].weight")["from"], "file");
    assert_eq!(of("rules[key].when.header.X-Api-Key")["value"], Value::Null);
    let secret = page(&keel, "/v1/revisions/4/diff").to_string();
    assert!(
        secret.contains("X-Api-Key") && !secret.contains("hunter2"),
        "{secret}"
    );
    let answer = done(&keel, "POST", "/v1/revisions/1/rollback", "");
    assert_eq!(answer["until_reload"], false);
    assert_eq!(answering(&keel), "one two");
    assert_eq!(
        (
            &page(&keel, ONE)["weight"],
            page(&keel, "/v1/rules")["total"].as_u64()
        ),
        (&1.into(), Some(1))
    );
    let (status, problem) = write(&keel, "POST", "/v1/revisions/99/rollback", "");
    assert_eq!(
        (status, &problem["reason"]),
        (404, &"unknown_revision".into())
    );
    // Back to a text that is the file's no more, until that is read again.
    site.folder.write(
        "keel.yaml",
        &site.text("").replace("weight: 2", "weight: 8"),
    );
    let answer = done(&keel, "POST", "/v1/reload", "");
    assert_eq!(
        answer["changes"],
        json!(["service api: backend two changes"])
    );
    keel.until_any("operator: configuration");
    let answer = done(&keel, "POST", "/v1/revisions/2/rollback", "");
    assert_eq!(answer["until_reload"], true);
    let two = "/v1/services/api/backends/two";
    assert_eq!(
        (&page(&keel, two)["weight"], &page(&keel, ONE)["weight"]),
        (&2.into(), &4.into())
    );
    // What is wrong with the file is told with its place, and changes nothing.
    site.folder.write(
        "keel.yaml",
        &site.text("").replace("weight: 2", "wieght: 2"),
    );
    let before = seen(&keel);
    let (status, problem) = write(&keel, "POST", "/v1/reload", "");
    assert_eq!((status, &problem["reason"]), (422, &"configuration".into()));
    assert_eq!(problem["problems"][0]["line"], 5);
    assert_eq!(seen(&keel), before);
}

#[test]
fn what_is_changed_outlives_the_process_until_the_file_says_otherwise() {
    let site = Site::new("writes-kept");
    let state = site.folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let flags = ["--state-dir", state.to_str().unwrap()];
    let keel = site.run(&flags);
    let body = json!({ "address": site.address(2) }).to_string();
    done(&keel, "PUT", "/v1/services/api/backends/three", &body);
    done(
        &keel,
        "PATCH",
        "/v1/services/api/backends/two",
        "{\"weight\": 5}",
    );
    // Killed, not ended: the disk has it soon after the answer.
    until("it is kept", || {
        let kept = std::fs::read_to_string(state.join("overlay.json"));
        kept.is_ok_and(|kept| kept.contains("three") && kept.contains("weight"))
    });
    drop(keel);
    let file = site.folder.path().join("keel.yaml");
    let mut keel = Evenkeel::run(&[&["-c", file.to_str().unwrap()][..], &flags].concat());
    assert_eq!(answering(&keel), "one three two");
    assert_eq!(page(&keel, "/v1/services/api/backends/two")["weight"], 5);
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["config", "show"])
        .args(flags)
        .arg(&file)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("id: three"), "{shown}");
    // An entry that is written anew wins; what it does not speak of stays.
    site.folder.write(
        "keel.yaml",
        &site.text("").replace("weight: 2", "weight: 8"),
    );
    keel.signal("-HUP");
    keel.until_any("services.api.backends[two].weight was changed beside the configuration");
    keel.until_any("reloaded: ");
    assert_eq!(page(&keel, "/v1/services/api/backends/two")["weight"], 8);
    assert_eq!(answering(&keel), "one three two");
}

#[test]
fn a_key_is_done_once() {
    let site = Site::new("writes-once");
    let keel = site.run(&[]);
    let (first, key) = (seen(&keel), "Idempotency-Key: k-1");
    let body = "{\"weight\": 4}";
    let (status, head, answer) = asked(&keel, "PATCH", ONE, &[&first, key], body);
    assert_eq!(status, 200);
    assert!(!head.contains("idempotency-replayed"), "{head}");
    // What it has seen is stale by now, by its own doing.
    let (status, head, again) = asked(&keel, "PATCH", ONE, &[&first, key], body);
    assert_eq!((status, &again), (200, &answer));
    assert!(
        head.contains("idempotency-replayed: true") && head.contains("etag: "),
        "{head}"
    );
    assert_eq!(page(&keel, "/v1/revisions")["total"], 2);
    let (status, _, problem) = asked(&keel, "PATCH", ONE, &[&seen(&keel), key], "{\"weight\": 5}");
    assert_eq!((status, &problem["reason"]), (422, &"key_reused".into()));
    // What was refused is not remembered: it changed nothing.
    let other = "Idempotency-Key: k-2";
    let (status, ..) = asked(&keel, "PATCH", ONE, &[&first, other], body);
    assert_eq!(status, 412);
    let (status, ..) = asked(
        &keel,
        "PATCH",
        ONE,
        &[&seen(&keel), other],
        "{\"weight\": 6}",
    );
    assert_eq!(status, 200);
    let long = format!("Idempotency-Key: {}", "x".repeat(129));
    let (status, _, problem) = asked(&keel, "PATCH", ONE, &[&seen(&keel), &long], body);
    assert_eq!(
        (status, &problem["reason"]),
        (400, &"idempotency_key".into())
    );
}

#[test]
fn verdicts_checks_clients_and_the_log_are_no_revisions() {
    let site = Site::new("writes-acts");
    let text = site.text("access_log: { to: \"LOG\" }\n");
    let log = site.folder.path().join("access.log");
    let text = text.replace("LOG", log.to_str().unwrap());
    let text = text.replace(
        "policy: round_robin",
        "policy: round_robin, health: { tcp: {}, interval: 1h }, affinity: { source: true }",
    );
    let file = site.folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    until("checks have passed", || {
        page(&keel, "/v1/services/api")["backends"]["serving"] == 2
    });
    let before = seen(&keel);
    let checks = || page(&keel, ONE)["checks"]["results"]["passed"].as_u64();
    let passed = checks();
    let api = "/v1/services/api";
    assert_eq!(done(&keel, "POST", &format!("{api}/check"), "")["count"], 2);
    until("it is checked", || checks() > passed);
    done(
        &keel,
        "POST",
        &format!("{ONE}/verdict"),
        "{\"verdict\": \"down\", \"for_seconds\": 600}",
    );
    assert_eq!(page(&keel, ONE)["standing"], "down");
    assert_eq!(answering(&keel), "two");
    done(
        &keel,
        "POST",
        &format!("{ONE}/verdict"),
        "{\"verdict\": \"withdrawn\"}",
    );
    assert_eq!(page(&keel, ONE)["standing"], "serving");
    for wrong in [
        "",
        "{}",
        "{\"verdict\": \"maybe\"}",
        "{\"verdict\": \"up\", \"for_seconds\": 0}",
        "{\"verdict\": \"up\", \"for_seconds\": 1e12}",
    ] {
        let (status, problem) = write(&keel, "POST", &format!("{ONE}/verdict"), wrong);
        assert_eq!(
            (status, &problem["reason"]),
            (400, &"body".into()),
            "{wrong}"
        );
    }
    assert_eq!(
        done(&keel, "POST", &format!("{api}/affinity/clear"), "")["count"],
        1
    );
    std::fs::rename(&log, site.folder.path().join("old.log")).unwrap();
    assert_eq!(done(&keel, "POST", "/v1/access-log/rotate", "")["count"], 1);
    until("the log is there anew", || log.exists());
    assert_eq!(seen(&keel), before);
}

/// A write after the other while clients ask: none of them sees one.
#[test]
fn writes_beside_traffic_lose_no_request() {
    let site = Site::new("writes-traffic");
    let keel = site.run(&[]);
    let (stop, asked_so_far) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = keel.address;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let out = curl(address, &["-w", "%{http_code}"], "/who");
                    assert!(out.ends_with("200"), "{out}");
                    asked_so_far.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let third = json!({ "address": site.address(2) }).to_string();
        for at in 0..40 {
            done(
                &keel,
                "PATCH",
                ONE,
                &format!("{{\"weight\": {}}}", at % 9 + 1),
            );
            match at % 2 {
                0 => done(&keel, "PUT", "/v1/services/api/backends/three", &third),
                _ => done(&keel, "DELETE", "/v1/services/api/backends/three", ""),
            };
        }
        until("requests are made", || {
            asked_so_far.load(Ordering::Relaxed) > 20
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert!(
        page(&keel, "/v1/revisions?limit=1000")["total"]
            .as_u64()
            .unwrap()
            > 80
    );
}
