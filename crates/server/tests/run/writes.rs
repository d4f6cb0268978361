//! What is changed of a running configuration: by curl, beside its file, over restarts, beside traffic.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::process::{Evenkeel, Folder, PATIENCE, Server, curl, nobodys};

/// Status, fields of the answer (in lower case) and body.
pub(crate) fn asked(
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

pub(crate) fn page(keel: &Evenkeel, path: &str) -> Value {
    let (status, _, body) = asked(keel, "GET", path, &[], "");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// The revision that runs, as `If-Match` takes it.
pub(crate) fn seen(keel: &Evenkeel) -> String {
    let version = page(keel, "/v1/version");
    let revision = version["configuration"]["revision"].as_str().unwrap();
    format!("If-Match: \"{revision}\"")
}

/// A write by who has seen what runs.
pub(crate) fn write(keel: &Evenkeel, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, head, answer) = asked(keel, method, path, &[&seen(keel)], body);
    if status < 300 {
        let now = seen(keel).replace("If-Match", "etag");
        assert!(head.contains(&now), "{now}: {head}");
    }
    (status, answer)
}

#[track_caller]
pub(crate) fn done(keel: &Evenkeel, method: &str, path: &str, body: &str) -> Value {
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
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    assert!((0..LOOKS).any(|_| is()), "{what}");
}

pub(crate) struct Site {
    pub(crate) folder: Folder,
    servers: Vec<Server>,
    _folders: Vec<Folder>,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
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

    pub(crate) fn address(&self, at: usize) -> String {
        self.servers[at].address.to_string()
    }

    fn text(&self, more: &str) -> String {
        format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices:\n  api: {{ policy: round_robin, slow_start: 0, backends: [{{ id: one, address: \"{}\" }}, {{ id: two, address: \"{}\", weight: 2 }}] }}\nrules:\n  - {{ name: rest, forward: api }}\n{more}",
            self.address(0),
            self.address(1)
        )
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Evenkeel {
        let file = self.folder.write("keel.yaml", &self.text(""));
        Evenkeel::run(&[&["-c", file.to_str().unwrap()], arguments].concat())
    }
}

/// The names of those who answer thirty requests, each once: workers take turns for themselves.
pub(crate) fn answering(keel: &Evenkeel) -> String {
    let mut names: Vec<_> = (0..30).map(|_| keel.curl(&[], "/who")).collect();
    names.sort_unstable();
    names.dedup();
    names.concat().replace('\n', " ").trim().to_owned()
}

pub(crate) const ONE: &str = "/v1/services/api/backends/one";

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
    // What changes nothing is no revision.
    let once = seen(&keel);
    let answer = done(&keel, "PATCH", ONE, "{\"weight\": 7}");
    assert_eq!((seen(&keel), &answer["changes"]), (once, &json!([])));
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
    assert_eq!(
        of("rules[key].when.header.X-Api-Key[0]")["value"],
        Value::Null
    );
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
        page(&keel, "/v1/version");
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

/// A service goes from the file while a rule of the API forwards to it: the next start does without that rule, says so, and keeps what it said.
#[test]
fn what_does_not_fit_any_more_is_set_aside() {
    let site = Site::new("writes-aside");
    let state = site.folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let flags = ["--state-dir", state.to_str().unwrap()];
    let other = format!(
        "services: {{ other: {{ backends: [\"{}\"] }} }}\n",
        site.address(2)
    );
    let both = site.folder.path().join("both");
    std::fs::create_dir_all(&both).unwrap();
    std::fs::write(both.join("keel.yaml"), site.text("")).unwrap();
    std::fs::write(both.join("other.yaml"), &other).unwrap();
    let start = || Evenkeel::run(&[&["-c", both.to_str().unwrap()][..], &flags].concat());
    let keel = start();
    let rule = json!({ "when": { "path": "/who" }, "priority": 1, "forward": "other" });
    done(&keel, "PUT", "/v1/rules/late", &rule.to_string());
    done(&keel, "PATCH", ONE, "{\"weight\": 7}");
    assert_eq!(answering(&keel), "three");
    until("it is kept", || {
        page(&keel, "/v1/version");
        let kept = std::fs::read_to_string(state.join("overlay.json"));
        kept.is_ok_and(|kept| kept.contains("late") && kept.contains("weight"))
    });
    drop(keel);
    std::fs::remove_file(both.join("other.yaml")).unwrap();
    let check = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        let output = command
            .arg("check")
            .arg(&both)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    assert_eq!(check(&[]).0, Some(0));
    let (code, said) = check(&flags);
    assert!(
        code == Some(1) && said.contains("changed: rules[late]"),
        "{said}"
    );
    let keel = start();
    let said = "rules[late] was changed beside the configuration and is in error with it now";
    assert!(keel.said.contains(said), "{}", keel.said);
    assert_eq!(answering(&keel), "one two");
    assert_eq!(page(&keel, ONE)["weight"], 7);
    let aside = std::fs::read_to_string(state.join("set-aside.1.json")).unwrap();
    assert!(
        aside.contains("\"late\"") && !aside.contains("weight"),
        "{aside}"
    );
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

/// One connection to the API, by which writes come faster than by programs that begin anew each time.
struct Writer {
    stream: std::io::BufReader<std::net::TcpStream>,
    seen: String,
}

impl Writer {
    fn new(keel: &Evenkeel) -> Self {
        let stream = std::net::TcpStream::connect(keel.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let stream = std::io::BufReader::new(stream);
        let seen = seen(keel);
        Self { stream, seen }
    }

    /// The status of a write by who has seen what the one before came to.
    fn status(&mut self, method: &str, path: &str, body: &str) -> u16 {
        use std::io::{BufRead, Read, Write};
        let (seen, length) = (&self.seen, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{seen}\r\n");
        let fields = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        let request = [&*head, &*fields, body].concat();
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let at = head.len();
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "{head}");
            let line = head[at..].to_ascii_lowercase();
            if let Some(tag) = line.strip_prefix("etag: ") {
                self.seen = format!("If-Match: {}", tag.trim_end());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim_end().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// Has the traffic end with its test, however that ends.
struct Ends<'s>(&'s AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Some hundred writes of all kinds, one after the other, while h2load asks and a client looks who answers: none of them sees one.
#[test]
fn writes_beside_traffic_lose_no_request() {
    const TURNS: usize = 30;
    let site = Site::new("writes-traffic");
    let keel = site.run(&[]);
    let web = keel.address;
    let load = |requests: &str| {
        let url = format!("http://{web}/who");
        let how = ["--h1", "-n", requests, "-c", "8", "-t", "1", &url];
        let out = std::process::Command::new("h2load").args(how).output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    let (stop, rounds, looks) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let ends = Ends(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let said = load("2000");
                let all = "2000 succeeded, 0 failed, 0 errored, 0 timeout\nstatus codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx";
                let right = said.contains(all);
                // Before it fails, so that nobody waits for more of it.
                rounds.fetch_add(1, Ordering::Relaxed);
                assert!(right, "{said}");
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let name = curl(web, &["-f"], "/who");
                looks.fetch_add(1, Ordering::Relaxed);
                assert!(matches!(&*name, "one\n" | "two\n" | "three\n"), "{name:?}");
            }
        });
        until("there is traffic", || {
            page(&keel, "/v1/version");
            rounds.load(Ordering::Relaxed) > 0 && looks.load(Ordering::Relaxed) > 0
        });
        let mut writer = Writer::new(&keel);
        let three = "/v1/services/api/backends/three";
        let third = json!({ "address": site.address(2) }).to_string();
        let rule = json!({ "priority": 5, "when": { "path": { "exact": "/ping" } }, "deny": true })
            .to_string();
        let mut write = |method: &str, path: &str, body: &str, expect: u16| {
            let got = writer.status(method, path, body);
            assert_eq!(got, expect, "{method} {path} {body}");
        };
        write("PUT", "/v1/rules/ping", &rule, 201);
        let rule = rule.replace('5', "6").replace("/ping", "/pong");
        write("PUT", "/v1/rules/pong", &rule, 201);
        for at in 0..TURNS {
            write(
                "PATCH",
                ONE,
                &format!("{{\"weight\": {}}}", at % 9 + 2),
                200,
            );
            write("PUT", three, &third, 201);
            write("POST", &format!("{ONE}/drain"), "", 200);
            let names = ["ping", "pong"];
            let order = json!({ "rules": [names[at % 2], names[1 - at % 2], "rest"] });
            write("PUT", "/v1/rule-order", &order.to_string(), 200);
            write("POST", &format!("{ONE}/enable"), "", 200);
            let policy = ["\"random\"", "\"least_connections\""][at % 2];
            write("PUT", "/v1/services/api/policy", policy, 200);
            write("DELETE", three, "", 200);
        }
        drop(ends);
    });
    let all = page(&keel, "/v1/revisions?limit=1");
    let newest = all["items"][0]["number"].as_u64();
    // The start, two rules, and seven in each turn: each is one.
    assert_eq!(newest, Some(3 + 7 * TURNS as u64), "{all}");
    assert_eq!(answering(&keel), "one two");
}

/// Of who has seen the same, one is first; and who has not seen a reload is told.
#[test]
fn two_writers_do_not_overwrite_each_other() {
    let site = Site::new("writes-two");
    let mut keel = site.run(&[]);
    for round in 0..5 {
        let writers: Vec<_> = (0..4).map(|_| Writer::new(&keel)).collect();
        let took = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .zip(writers)
                .map(|(at, mut writer)| {
                    let body = format!("{{\"weight\": {}}}", 10 * (round + 1) + at);
                    scope.spawn(move || writer.status("PATCH", ONE, &body))
                })
                .collect();
            let mut took: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
            took.sort_unstable();
            took
        });
        assert_eq!(took, [200, 412, 412, 412]);
    }
    let before = seen(&keel);
    keel.signal("-HUP");
    keel.until_any("reloaded: ");
    let (status, _, problem) = asked(&keel, "PATCH", ONE, &[&before], "{\"weight\": 3}");
    assert_eq!((status, &problem["reason"]), (412, &"stale".into()));
}

/// Bodies and names as an attacker sends them: refused in words, and nothing is another than before.
#[test]
fn hostile_writes_change_nothing() {
    let site = Site::new("writes-hostile");
    let keel = site.run(&[]);
    let before = seen(&keel);
    let of = |id: &str| format!("/v1/services/api/backends/{id}");
    let deep = |open: &str, close: &str, times: usize| {
        [open.repeat(times), "1".to_owned(), close.repeat(times)].concat()
    };
    let bombs = {
        let mut text = "{\"a\": &a [1, 1, 1, 1, 1, 1, 1, 1]".to_owned();
        for at in b'b'..=b'j' {
            let (this, last) = (at as char, (at - 1) as char);
            let all = vec![format!("*{last}"); 8].join(", ");
            text.push_str(&format!(", \"{this}\": &{this} [{all}]"));
        }
        text + "}"
    };
    let key = "Idempotency-Key: k";
    for (path, body, fields, status) in [
        (of("three"), "x".repeat(1 << 20), None, 413),
        (of("three"), "x".repeat(1 << 20), Some(key), 413),
        (format!("{ONE}/drain"), "x".repeat(1 << 20), Some(key), 413),
        (of("three"), deep("[", "]", 100_000), None, 422),
        (of("three"), deep("{\"a\": ", "}", 30_000), None, 422),
        (of("three"), deep("- ", "", 1000), None, 422),
        ("/v1/rule-order".into(), deep("[", "]", 100_000), None, 400),
        (
            "/v1/rules/deep".into(),
            deep("{\"not\": ", "}", 20_000),
            None,
            422,
        ),
        (of("three"), bombs, None, 422),
        (of("a%0Ab"), "\"127.0.0.1:1\"".into(), None, 422),
        (of("%E2%80%AE"), "\"127.0.0.1:1\"".into(), None, 422),
        (of("%00"), "\"127.0.0.1:1\"".into(), None, 422),
        (of("%FF"), "\"127.0.0.1:1\"".into(), None, 400),
        (of(&"x".repeat(5000)), "\"127.0.0.1:1\"".into(), None, 422),
    ] {
        let file = site.folder.write("body", &body);
        let fields: Vec<_> = [Some(&*before), fields].into_iter().flatten().collect();
        let method = if path.ends_with("/drain") {
            "POST"
        } else {
            "PUT"
        };
        let from = format!("@{}", file.display());
        let (got, _, problem) = asked(&keel, method, &path, &fields, &from);
        let begin: String = body.chars().take(40).collect();
        assert_eq!(got, status, "{path} {begin}: {problem}");
    }
    assert_eq!((seen(&keel), answering(&keel)), (before, "one two".into()));
    // Odd, and no harm: it is found by the name that it has.
    let odd = of("a%2Fb%20%22c%22%3F%7B%7D%25");
    let body = json!({ "address": site.address(2) }).to_string();
    let (status, head, _) = asked(&keel, "PUT", &odd, &[&seen(&keel)], &body);
    assert_eq!(status, 201);
    let location = head
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    assert_eq!(page(&keel, location.unwrap())["id"], "a/b \"c\"?{}%");
    assert_eq!(answering(&keel), "one three two");
    done(&keel, "DELETE", &odd, "");
}

/// Back to where a listener was that somebody else has meanwhile: nothing is another than before, what is drained neither.
#[test]
fn a_rollback_that_cannot_be_bound_changes_nothing() {
    let site = Site::new("writes-bound");
    let [address, side] = [nobodys(), nobodys()];
    let also = format!("listeners: {{ side: {{ bind: \"{side}\" }}, ");
    let text = site.text("").replace("listeners: { ", &also);
    let with = text.replace(
        "listeners: { ",
        &format!("listeners: {{ zoo: {{ bind: \"{address}\" }}, "),
    );
    let file = site.folder.write("keel.yaml", &with);
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    keel.address = keel.addresses_of("web");
    site.folder.write("keel.yaml", &text);
    done(&keel, "POST", "/v1/reload", "");
    keel.until_any("operator: configuration");
    done(&keel, "POST", &format!("{ONE}/drain"), "");
    done(&keel, "POST", "/v1/listeners/side/drain", "");
    // Workers close what has left in a moment of their own.
    let taken = std::cell::OnceCell::new();
    until("the address is free", || {
        page(&keel, "/v1/version");
        let bound = std::net::TcpListener::bind(address);
        bound.is_ok_and(|bound| taken.set(bound).is_ok())
    });
    let before = seen(&keel);
    let (status, problem) = write(&keel, "POST", "/v1/revisions/1/rollback", "");
    assert_eq!(
        (status, &problem["reason"]),
        (409, &"not_taken".into()),
        "{problem}"
    );
    assert_eq!(seen(&keel), before);
    assert_eq!(page(&keel, ONE)["wanted"], "draining");
    assert_eq!(answering(&keel), "two");
    let side = std::net::TcpStream::connect(side);
    assert!(side.is_err(), "clients are steered away from it");
}

/// Who is told that something is done hears too when no disk has it.
#[test]
fn a_write_that_no_disk_has_says_so() {
    let site = Site::new("writes-disk");
    let state = site.folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let mut keel = site.run(&["--state-dir", state.to_str().unwrap()]);
    let heavier = |weight: u32| format!("{{\"weight\": {weight}}}");
    assert_eq!(done(&keel, "PATCH", ONE, &heavier(2))["kept"], "disk");
    let kept = state.join("overlay.json");
    // A look at the disk alone would be over before it has turned.
    until("it is kept", || {
        page(&keel, "/v1/version");
        kept.is_file()
    });
    // A folder stands where the file would.
    std::fs::remove_file(&kept).unwrap();
    std::fs::create_dir_all(kept.join("within")).unwrap();
    done(&keel, "PATCH", ONE, &heavier(3));
    keel.until_any("is lost by a restart");
    let told = |keel: &Evenkeel, kept: &str, kind: &str| {
        until(kind, || {
            let (status, events) = (page(keel, "/v1/status"), page(keel, "/v1/events"));
            let mut all = events["items"].as_array().unwrap().iter();
            status["kept"] == kept && all.any(|one| one["kind"] == kind)
        });
        let metrics = keel.page("/metrics");
        for one in ["disk", "memory", "failing"] {
            let row = format!(
                "\nevenkeel_overlay_kept{{kept=\"{one}\"}} {}\n",
                u8::from(one == kept)
            );
            assert!(metrics.contains(&row), "{row}: {metrics}");
        }
    };
    told(&keel, "failing", "overlay_failing");
    let answer = done(&keel, "PATCH", ONE, &heavier(4));
    assert_eq!(
        (&answer["kept"], &page(&keel, ONE)["weight"]),
        (&"failing".into(), &4.into())
    );
    let drain = format!("{ONE}/drain");
    assert_eq!(done(&keel, "POST", &drain, "")["kept"], "failing");
    std::fs::remove_dir_all(&kept).unwrap();
    keel.until_any("again");
    assert_eq!(done(&keel, "PATCH", ONE, &heavier(5))["kept"], "disk");
    told(&keel, "disk", "overlay_kept");
    let keel = site.run(&[]);
    assert_eq!(done(&keel, "PATCH", ONE, &heavier(2))["kept"], "memory");
}
