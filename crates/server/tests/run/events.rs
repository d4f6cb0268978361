//! What happens to a running instance, as programs hear of it: in pages, and along, by curl.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::process::{Evenkeel, Folder, hold};
use crate::upgrade::Line;

fn instance(folder: &Folder, more: &str) -> Evenkeel {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api: {{ backends: [{{ id: one, address: \"127.0.0.1:1\" }}, {{ id: two, address: \"127.0.0.1:2\" }}] }}
  other: {{ backends: [\"127.0.0.1:3\"] }}
rules: [{{ forward: api }}]
{more}"
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

fn page(keel: &Evenkeel, query: &str) -> Value {
    let out = keel.page(&format!("/v1/events{query}"));
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{query}: {out}"))
}

/// The kinds of a page, each with its backend.
fn kinds(page: &Value) -> Vec<String> {
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let items = page["items"].as_array().unwrap().iter();
    let kinds = items.map(|event| word(event, "kind") + " " + &word(event, "backend"));
    kinds.map(|kind| kind.trim_end().to_owned()).collect()
}

fn post(keel: &Evenkeel, path: &str) {
    let out = write(keel, "POST", path, "");
    assert_eq!(out["changed"], true, "{path}: {out}");
}

/// A write by who has seen what runs.
fn write(keel: &Evenkeel, method: &str, path: &str, body: &str) -> Value {
    let version: Value = serde_json::from_str(&keel.page("/v1/version")).unwrap();
    let revision = version["configuration"]["revision"].as_str().unwrap();
    let seen = format!("If-Match: \"{revision}\"");
    let asks = ["-X", method, "-H", "X-Evenkeel: 1", "-H", &seen, "-d", body];
    let out = keel.asked(&asks, path);
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{path}: {out}"))
}

/// curl, as it reads along.
pub(crate) struct Along(Child, BufReader<ChildStdout>);

impl Along {
    pub(crate) fn new(keel: &Evenkeel, fields: &[&str], query: &str) -> Self {
        let mut curl = Command::new("curl");
        curl.args(["-sN", "--max-time", "60", "--noproxy", "*"]);
        for field in ["Accept: text/event-stream"].iter().chain(fields) {
            curl.args(["-H", field]);
        }
        let mut child = curl
            .arg(format!("http://{}/v1/events{query}", keel.admin))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut along = Self(child, out);
        assert_eq!(along.next().unwrap(), ["retry: 2000"]);
        along
    }

    /// The lines of what comes next, but for those that say nothing. None: it has ended.
    pub(crate) fn next(&mut self) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.1.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end() {
                "" if !lines.is_empty() => return Some(lines),
                "" => {}
                line if line.starts_with(':') => {}
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// The next event: its id, its type, and itself.
    pub(crate) fn event(&mut self) -> (u64, String, Value) {
        loop {
            let lines = self.next().expect("it goes on");
            let of = |key: &str| lines.iter().find_map(|line| line.strip_prefix(key));
            // The id of one that was not asked for comes by itself.
            if let Some(data) = of("data: ") {
                let id = of("id: ").unwrap().parse().unwrap();
                let data = serde_json::from_str(data).unwrap();
                return (id, of("event: ").unwrap_or_default().to_owned(), data);
            }
        }
    }
}

impl Drop for Along {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_happens_is_told_by_number() {
    let folder = Folder::new("events");
    let mut keel = instance(&folder, "");
    let all = page(&keel, "");
    let seen = kinds(&all);
    assert_eq!(seen[0], "service_started", "{seen:?}");
    assert_eq!(seen.last().unwrap(), "started");
    let next = all["next"].as_u64().unwrap();
    let mut along = Along::new(&keel, &[], "?service=api");
    post(&keel, "/v1/services/other/drain");
    post(&keel, "/v1/services/api/backends/one/drain");
    // Only what was asked for, as it happens; the page has the same, with what was not.
    let mut told = Vec::new();
    while told
        .last()
        .is_none_or(|(_, event): &(u64, Value)| event["kind"] != "commanded")
    {
        let (id, kind, event) = along.event();
        assert_eq!((id, &*kind), (event["number"].as_u64().unwrap(), ""));
        assert_eq!(event["service"], "api");
        told.push((id, event));
    }
    let of = |kind: &str| {
        &told
            .iter()
            .find(|(_, event)| event["kind"] == kind)
            .unwrap()
            .1
    };
    let standing = of("standing_changed");
    assert_eq!(
        [
            &standing["backend"],
            &standing["from"],
            &standing["to"],
            &standing["level"]
        ],
        ["one", "serving", "draining", "info"]
    );
    assert_eq!(of("commanded")["to"], "draining");
    let items = page(&keel, &format!("?after={next}&service=api"));
    let events: Vec<_> = told.iter().map(|(_, event)| event.clone()).collect();
    // One is drained at the next look.
    let items_of = items["items"].as_array().unwrap();
    assert_eq!(items_of[..events.len()], events);
    assert!(items["gap"].is_null(), "{items}");
    let commanded = page(
        &keel,
        &format!("?after={next}&kind=commanded,drained&limit=1"),
    );
    assert_eq!(commanded["items"][0]["service"], "other");
    // Who breaks off and comes back hears what happened meanwhile, once.
    let (last, _) = told.last().unwrap();
    drop(along);
    post(&keel, "/v1/services/api/backends/one/enable");
    let back = format!("Last-Event-ID: {last}");
    let mut along = Along::new(&keel, &[&back], "?after=1&kind=commanded");
    let (_, _, event) = along.event();
    assert_eq!([&event["kind"], &event["to"]], ["commanded", "enabled"]);
    // A reload, and one that is refused.
    keel.signal("-HUP");
    keel.until_any("reloaded");
    let reloaded = page(&keel, "?kind=reloaded");
    assert_eq!(reloaded["items"].as_array().unwrap().len(), 1);
    assert_eq!(reloaded["items"][0]["detail"], "nothing changes");
    folder.write("keel.yaml", "listeners: {");
    keel.signal("-HUP");
    keel.until_any("not reloaded");
    let refused = page(&keel, "?kind=reload_refused");
    assert_eq!(refused["items"][0]["level"], "error");
    assert_eq!(
        refused["items"][0]["detail"],
        "the configuration has errors"
    );
}

/// Each command tells of itself once, and what changed nothing of nothing.
#[test]
fn what_operators_do_is_told() {
    let folder = Folder::new("events-commands");
    let text = "admin: { bind: \"127.0.0.1:0\" }
listeners: { web: { bind: \"127.0.0.1:0\" } }
services:
  api: { backends: [{ id: one, address: \"127.0.0.1:1\" }], health: { tcp: {}, interval: 1h }, affinity: { source: true } }
rules: [{ forward: api }]
";
    let file = folder.write("keel.yaml", text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let next = page(&keel, "")["next"].as_u64().unwrap();
    let first: Value = serde_json::from_str(&keel.page("/v1/revisions")).unwrap();
    let first = first["items"][0]["number"].as_u64().unwrap();
    let policy = "/v1/services/api/policy";
    let back = format!("/v1/revisions/{first}/rollback");
    let verdict = "/v1/services/api/backends/one/verdict";
    for (method, path, body, failed) in [
        ("POST", verdict, "{\"verdict\": \"down\"}", None),
        ("POST", verdict, "{\"verdict\": \"up\"}", None),
        ("POST", verdict, "{\"verdict\": \"withdrawn\"}", None),
        ("POST", "/v1/services/api/check", "", None),
        ("POST", "/v1/services/api/affinity/clear", "", None),
        ("POST", "/v1/access-log/rotate", "", None),
        ("PUT", policy, "\"random\"", None),
        ("PUT", policy, "\"random\"", None),
        ("PUT", policy, "\"randon\"", Some("configuration")),
        (
            "POST",
            "/v1/services/apj/check",
            "",
            Some("unknown_service"),
        ),
        ("POST", &back, "", None),
        ("POST", "/v1/listeners/web/drain", "", None),
        ("POST", "/v1/listeners/web/enable", "", None),
    ] {
        let out = write(&keel, method, path, body);
        assert_eq!(out["reason"].as_str(), failed, "{path} {body}: {out}");
    }
    folder.write(
        "keel.yaml",
        &text.replace("api: {", "api: { policy: random,"),
    );
    write(&keel, "POST", "/v1/reload", "");
    folder.write("keel.yaml", "listeners: {");
    let refused = write(&keel, "POST", "/v1/reload", "");
    assert_eq!(refused["reason"], "configuration", "{refused}");
    let kinds = "commanded,configuration_changed,reloaded,reload_refused";
    let told = page(&keel, &format!("?after={next}&kind={kinds}"));
    let told = told["items"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|event| {
            ["kind", "service", "backend", "listener", "to", "detail"]
                .map(|key| event[key].as_str().unwrap_or(""))
        })
        .collect();
    let changed = "service api changes";
    let undone = "as in revision 1; service api changes";
    assert_eq!(
        told,
        [
            ["commanded", "api", "one", "", "down", ""],
            ["commanded", "api", "one", "", "up", ""],
            ["commanded", "api", "one", "", "withdrawn", ""],
            ["commanded", "api", "", "", "checked", ""],
            ["commanded", "api", "", "", "clients_forgotten", ""],
            ["commanded", "", "", "", "log_reopened", ""],
            ["configuration_changed", "", "", "", "", changed],
            ["configuration_changed", "", "", "", "", undone],
            ["commanded", "", "", "web", "draining", ""],
            ["commanded", "", "", "web", "enabled", ""],
            ["reloaded", "", "", "", "", changed],
            [
                "reload_refused",
                "",
                "",
                "",
                "",
                "the configuration has errors"
            ],
        ]
    );
}

#[test]
fn who_asks_for_what_is_forgotten_is_told_so() {
    let folder = Folder::new("events-gap");
    let keel = instance(&folder, "");
    // Numbers of a process before this one are below all of its own.
    for (after, fields) in [
        ("?after=5", vec![]),
        ("", vec!["Last-Event-ID: 5"]),
        ("", vec!["Last-Event-ID: x"]),
    ] {
        let (id, kind, gap) = Along::new(&keel, &fields, after).event();
        assert_eq!((&*kind, id + 1), ("gap", gap["first"].as_u64().unwrap()));
        assert!(gap["events"].is_null(), "{gap}");
    }
    let page = page(&keel, "?after=5&limit=1");
    assert_eq!(page["gap"]["first"], page["items"][0]["number"]);
    let mut along = Along::new(&keel, &["Last-Event-ID: 5"], "");
    assert_eq!(along.event().1, "gap");
    let (_, kind, first) = along.event();
    assert_eq!(
        (&*kind, &first["number"]),
        ("", &page["items"][0]["number"])
    );
}

#[test]
fn so_many_read_along_and_the_next_is_refused() {
    let folder = Folder::new("events-readers");
    let keel = instance(&folder, "");
    let mut all: Vec<_> = (0..16).map(|_| Along::new(&keel, &[], "")).collect();
    let refused = || {
        keel.asked(
            &[
                "-H",
                "Accept: text/event-stream",
                "-w",
                "%{http_code}",
                "--max-time",
                "1",
            ],
            "/v1/events",
        )
    };
    let out = refused();
    assert!(
        out.contains("\"reason\":\"too_many_readers\"") && out.ends_with("503"),
        "{out}"
    );
    // Pages are for everybody, and one place that is free is given again.
    assert_eq!(kinds(&page(&keel, "")).last().unwrap(), "started");
    let metrics = keel.page("/metrics");
    assert!(metrics.contains("evenkeel_event_readers 16\n"), "{metrics}");
    assert!(
        metrics.contains("evenkeel_event_readers_refused_total 1\n"),
        "{metrics}"
    );
    all.pop();
    while !keel
        .page("/metrics")
        .contains("evenkeel_event_readers 15\n")
    {}
    all.push(Along::new(&keel, &[], ""));
    // All are told, whoever reads.
    post(&keel, "/v1/services/api/drain");
    for along in &mut all {
        assert_eq!(along.event().2["service"], "api");
    }
}

/// Who takes over tells what happens from then on: those who read along come back there, and hear what they have missed.
#[test]
fn an_upgrade_ends_what_is_read_along() {
    let folder = Folder::new("events-upgrade");
    let mut keel = instance(&folder, "");
    let before = page(&keel, "")["next"].as_u64().unwrap();
    let mut along = Along::new(&keel, &[], "");
    // It drains for as long as somebody asks something.
    let half = hold(keel.address, "GET /who HTTP/1.1\r\n");
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    let (mut last, mut kinds) = (0, Vec::new());
    while let Some(lines) = along.next() {
        let of = |key: &str| lines.iter().find_map(|line| line.strip_prefix(key));
        last = of("id: ").unwrap().parse().unwrap();
        let event: Value = serde_json::from_str(of("data: ").unwrap()).unwrap();
        kinds.push(event["kind"].as_str().unwrap().to_owned());
    }
    assert!(
        kinds.starts_with(&["upgrade_begun".into(), "upgraded".into()]),
        "{kinds:?}"
    );
    assert!(last > before);
    drop(half);
    let back = format!("Last-Event-ID: {last}");
    let (id, kind, gap) = Along::new(&keel, &[&back], "").event();
    assert_eq!((&*kind, gap["after"].as_u64()), ("gap", Some(last)));
    assert!(id > last, "numbers go on");
}
