//! What is changed beside the texts: laid over them, checked with them, gone when they say something else.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::BTreeMap;

use evenkeel_config::edits::{BODY, Change, Composed, Edit, Edits, Ground, Place, compose};
use evenkeel_config::{Plan, Source, render};

const TEXT: &str = "listeners: { web: { bind: \"127.0.0.1:0\" } }
services:
  api:
    policy: round_robin
    backends:
      - 10.0.0.1:80
      - id: two
        address: 10.0.0.2:${PORT}
        weight: 3
  next: { backends: [10.0.0.9:80] }
rules:
  - { name: first, priority: 5, when: { host: a.test }, forward: next }
  - { when: { host: b.test }, forward: next }
  - { name: rest, when: { host: c.test }, forward: api }
";

/// A rule that leaves the others something.
const NEW: &str = "{\"priority\": 6, \"when\": {\"host\": \"e.test\"}, \"deny\": true}";

fn environment() -> BTreeMap<String, String> {
    [("PORT".to_owned(), "81".to_owned())].into()
}

fn composed(text: &str, edits: &Edits, change: Option<&Change>) -> Composed {
    let source = Source {
        name: "f.yaml".into(),
        text: text.into(),
    };
    let secret = |_: &std::path::Path| Ok(b"secret".to_vec());
    compose(
        &Ground::new([source].into()),
        edits,
        change,
        &environment(),
        secret,
    )
}

/// Backends and policy of `api`, and rules, each in a few words.
fn words(plan: &Plan) -> String {
    let api = plan
        .services
        .iter()
        .find(|one| &*one.name == "api")
        .unwrap();
    let backends = api.backends.iter().map(|one| {
        let weight = one.spec.weight.get();
        format!("{}={weight}", one.spec.id.as_str())
    });
    let rules = plan.rules.iter().map(|one| one.name.to_string());
    let join = |all: Vec<String>| all.join(" ");
    format!(
        "{}; {}; {}",
        api.settings.policy.name(),
        join(backends.collect()),
        join(rules.collect())
    )
}

/// What changes come to, one after another, and the edits that hold then.
#[track_caller]
fn after(text: &str, changes: &[Change]) -> (String, Edits) {
    let mut edits = Edits::default();
    for change in changes {
        let composed = composed(text, &edits, Some(change));
        if composed.loaded.plan.is_none() {
            panic!(
                "{change:?}: {}",
                render(&composed.loaded.problems, &composed.sources())
            );
        }
        edits = composed.edits;
    }
    // What is kept of them comes to the same at a start.
    let again = composed(text, &edits, None);
    assert_eq!(again.edits, edits);
    assert!(again.dropped.is_empty(), "{:?}", again.dropped);
    (words(&again.loaded.plan.unwrap()), edits)
}

fn put(id: &str, text: &str) -> Change {
    Change::PutBackend {
        service: "api".into(),
        id: id.into(),
        text: text.into(),
    }
}

fn patch(id: &str, text: &str) -> Change {
    Change::PatchBackend {
        service: "api".into(),
        id: id.into(),
        text: text.into(),
    }
}

fn remove(id: &str) -> Change {
    Change::RemoveBackend {
        service: "api".into(),
        id: id.into(),
    }
}

fn policy(text: Option<&str>) -> Change {
    Change::Policy {
        service: "api".into(),
        text: text.map(str::to_owned),
    }
}

fn rule(name: &str, text: &str) -> Change {
    Change::PutRule {
        name: name.into(),
        text: text.into(),
    }
}

fn no_rule(name: &str) -> Change {
    Change::RemoveRule { name: name.into() }
}

fn order(names: &[&str]) -> Change {
    Change::OrderRules {
        names: names.iter().map(|one| (*one).to_owned()).collect(),
    }
}

#[track_caller]
fn check(changes: &[Change], expect: &str, kept: usize) {
    let (got, edits) = after(TEXT, changes);
    assert_eq!(got, expect, "{changes:?}");
    assert_eq!(edits.len(), kept, "{edits:?}");
}

#[test]
fn what_is_changed_lies_over_the_text() {
    let rules = "first rule-2 rest";
    check(
        &[],
        &format!("round_robin; 10.0.0.1:80=1 two=3; {rules}"),
        0,
    );
    let three = "{ \"address\": \"10.0.0.3:80\", \"weight\": 7 }";
    check(
        &[put("three", three)],
        &format!("round_robin; 10.0.0.1:80=1 two=3 three=7; {rules}"),
        1,
    );
    check(
        &[
            put("three", "\"10.0.0.3:80\""),
            patch("three", "{\"weight\": 2}"),
        ],
        &format!("round_robin; 10.0.0.1:80=1 two=3 three=2; {rules}"),
        2,
    );
    // One that an edit brought leaves nothing behind.
    check(
        &[
            put("three", three),
            patch("three", "{\"weight\": 2}"),
            remove("three"),
        ],
        &format!("round_robin; 10.0.0.1:80=1 two=3; {rules}"),
        0,
    );
    check(
        &[remove("two")],
        &format!("round_robin; 10.0.0.1:80=1; {rules}"),
        1,
    );
    // In the place where it stands, by its address too; other keys stay, and the environment is read in them.
    check(
        &[
            patch("10.0.0.1:80", "{\"weight\": 9}"),
            patch("two", "{\"weight\": null}"),
        ],
        &format!("round_robin; 10.0.0.1:80=9 two=1; {rules}"),
        2,
    );
    check(
        &[policy(Some("\"least_connections\""))],
        &format!("least_connections; 10.0.0.1:80=1 two=3; {rules}"),
        1,
    );
    check(
        &[policy(Some("\"random\"")), policy(None)],
        &format!("round_robin; 10.0.0.1:80=1 two=3; {rules}"),
        0,
    );
    let all = "round_robin; 10.0.0.1:80=1 two=3";
    check(
        &[rule("new", NEW)],
        &format!("{all}; first new rule-2 rest"),
        1,
    );
    check(
        &[rule(
            "rest",
            "{\"priority\": 1, \"when\": {\"host\": \"d.test\"}, \"forward\": \"api\"}",
        )],
        &format!("{all}; rest first rule-2"),
        1,
    );
    // One without a name keeps the one that it went by.
    check(&[no_rule("first")], &format!("{all}; rule-2 rest"), 1);
    check(
        &[order(&["rest", "rule-2", "first"])],
        &format!("{all}; rest rule-2 first"),
        3,
    );
}

#[test]
fn a_first_rule_does_not_take_the_implied_one_away() {
    let text = "listeners: { web: { bind: \"127.0.0.1:0\" } }\nservices: { api: { backends: [10.0.0.1:80] } }\n";
    let ping = "{\"when\": {\"path\": {\"exact\": \"/ping\"}}, \"priority\": 1, \"respond\": {\"status\": 200}}";
    let (words, _) = after(text, &[rule("ping", ping)]);
    assert!(words.ends_with("; ping default"), "{words}");
}

fn service(text: &str) -> Change {
    Change::PatchService {
        service: "api".into(),
        text: text.into(),
    }
}

/// Deadline, share of retries and check of `api`.
fn settings(plan: &Plan) -> (u128, u32, Option<u128>) {
    let api = plan.services.iter().find(|one| &*one.name == "api");
    let api = api.unwrap();
    (
        api.limits.per_try.as_millis(),
        api.settings.retry.budget.ratio_permille,
        api.health
            .as_ref()
            .map(|health| health.interval.as_millis()),
    )
}

#[test]
fn keys_of_a_service_are_changed_one_by_one() {
    let text = TEXT.replace(
        "    backends:\n",
        "    timeouts: { per_try: 3s, exchange: 40s }\n    retry: on\n    health: { tcp: {}, interval: 7s }\n    backends:\n",
    );
    let after_all = |changes: &[Change]| {
        let (_, edits) = after(&text, changes);
        let composed = composed(&text, &edits, None);
        let plan = composed.loaded.plan.unwrap();
        (settings(&plan), words(&plan), edits)
    };
    let one = service(
        "{\"timeouts\": {\"per_try\": \"900ms\"}, \"retry\": {\"budget\": {\"ratio\": \"35%\"}}, \"backends\": {\"two\": {\"weight\": 8}, \"10.0.0.1:80\": {\"weight\": 2}}}",
    );
    let (seen, said, edits) = after_all(std::slice::from_ref(&one));
    assert_eq!(seen, (900, 350, Some(7_000)));
    assert!(said.contains("10.0.0.1:80=2 two=8"), "{said}");
    let places: Vec<_> = edits.iter().map(|(place, _)| place.to_string()).collect();
    assert_eq!(
        places,
        [
            "services.api.backends[10.0.0.1:80].weight",
            "services.api.backends[two].weight",
            "services.api.retry.budget.ratio",
            "services.api.timeouts.per_try",
        ]
    );
    // What is within is changed alone, what stands whole is another whole, and nothing takes away.
    let more = service(
        "{\"health\": {\"interval\": \"2s\"}, \"timeouts\": {\"per_try\": null}, \"retry\": \"off\", \"policy\": \"random\"}",
    );
    let (seen, said, edits) = after_all(&[one.clone(), more]);
    assert_eq!((seen.0, seen.2), (10_000, Some(2_000)));
    assert!(said.starts_with("random; "), "{said}");
    assert!(
        edits
            .iter()
            .all(|(place, _)| !place.to_string().contains("ratio"))
    );
    let (seen, _, _) = after_all(&[one.clone(), service("{\"health\": null}")]);
    assert_eq!(seen, (900, 350, None));
    // A key of the text that says something else has the word again; others stay changed.
    let (_, edits) = after(&text, &[one]);
    let composed = composed(&text.replace("per_try: 3s", "per_try: 4s"), &edits, None);
    assert_eq!(composed.dropped.len(), 1);
    assert_eq!(
        composed.dropped[0].to_string(),
        "services.api.timeouts.per_try"
    );
    let plan = composed.loaded.plan.unwrap();
    assert_eq!(settings(&plan), (4_000, 350, Some(7_000)));
}

#[test]
fn what_is_wrong_with_a_service_is_told_where_it_stands() {
    for (text, expect) in [
        ("[]", "body:1:1: error: what is changed is a map"),
        (
            "{\"upstream\": {}}",
            "body:1:2: error: `upstream` is not of what may be changed of a service",
        ),
        (
            "{\"backends\": {\"tow\": {\"weight\": 2}}}",
            "body:1:15: error: there is no backend `tow`",
        ),
        (
            "{\"backends\": {\"two\": {\"id\": \"x\"}}}",
            "body:1:23: error: a backend's identity",
        ),
        (
            "{\"timeouts\": {\"per_tyr\": \"1s\"}}",
            "body:1:15: error: ",
        ),
        (
            "{\"health\": {\"interval\": \"soon\"}}",
            "body:1:25: error: ",
        ),
    ] {
        wrong(&service(text), expect);
    }
}

/// Position and words of the first problem of a change.
#[track_caller]
fn wrong(change: &Change, expect: &str) {
    let composed = composed(TEXT, &Edits::default(), Some(change));
    assert!(composed.loaded.plan.is_none(), "{change:?}");
    let shown = render(&composed.loaded.problems, &composed.sources());
    let line = shown.lines().next().unwrap();
    assert!(line.contains(expect), "{change:?}: {shown}");
}

#[test]
fn what_is_wrong_with_a_change_has_its_place_in_it() {
    assert_eq!(BODY, "body");
    wrong(
        &put(
            "three",
            "{\n  \"address\": \"10.0.0.3:80\",\n  \"wieght\": 7\n}",
        ),
        "body:3:3: error: ",
    );
    wrong(
        &put("three", "{\"weight\": 7}"),
        "body:1:1: error: a backend needs its `address`",
    );
    wrong(
        &put("three", "{\"address\": \"x:80\", \"id\": \"four\"}"),
        "body:1:27: error: the address of this entry says `three`",
    );
    wrong(&put("three", "{\"address\": \"a:80\""), "body:");
    wrong(&put("three", ""), "body:1:1: error: there is nothing in it");
    wrong(
        &put("three", "[]"),
        "body:1:1: error: an entry is a map of keys, not a list",
    );
    wrong(
        &patch("two", "{\"id\": \"x\"}"),
        "body:1:2: error: a backend's identity does not change",
    );
    wrong(
        &patch("two", "[1]"),
        "body:1:1: error: what is changed is a map",
    );
    wrong(
        &patch("two", "{\"weight\": \"many\"}"),
        "body:1:12: error: ",
    );
    wrong(&policy(Some("\"rond_robin\"")), "body:1:1: error: ");
    wrong(&rule("new", "{\"forward\": \"apy\"}"), "body:1:13: error: ");
    for (id, expect) in [
        ("", "a name has one character"),
        ("a\nb", "`a\\u{a}b` has characters"),
        ("\u{202e}a", "`\\u{202e}a` has characters"),
        (&"x".repeat(301), "a name has at most 300 bytes"),
    ] {
        wrong(
            &put(id, "\"10.0.0.3:80\""),
            &format!("body:1:1: error: {expect}"),
        );
    }
    wrong(&rule("a\u{7f}", "{\"deny\": true}"), "body:1:1: error: ");
    // What the whole has wrong.
    wrong(
        &rule("new", "{\"name\": \"other\", \"forward\": \"api\"}"),
        "body:1:10: error: ",
    );
    // Neither the environment nor the files of this machine are told to who may change a rule.
    wrong(
        &rule("new", "priority: ${PORT}\ndeny: true\n"),
        "body:1:11: error: this is no JSON",
    );
    let file = "{\"host_map\": {\"file\": \"/etc/passwd\"}, \"priority\": 1}";
    let composed = composed(TEXT, &Edits::default(), Some(&rule("new", file)));
    let shown = render(&composed.loaded.problems, &composed.sources());
    assert!(shown.contains("names no file"), "{shown}");
}

#[test]
fn an_edit_goes_when_the_text_says_something_else_there() {
    let (_, edits) = after(
        TEXT,
        &[
            patch("two", "{\"weight\": 9}"),
            put("three", "\"10.0.0.3:80\""),
            policy(Some("\"random\"")),
            rule("new", NEW),
            order(&["rest", "new", "rule-2", "first"]),
        ],
    );
    let dropped = |text: &str| {
        let composed = composed(text, &edits, None);
        let all: Vec<_> = composed.dropped.iter().map(ToString::to_string).collect();
        let shown = render(&composed.loaded.problems, &composed.sources());
        (
            all.join(" "),
            composed.loaded.plan.unwrap_or_else(|| panic!("{shown}")),
        )
    };
    assert_eq!(dropped(TEXT).0, "");
    // Other parts may change, and places.
    let other = TEXT
        .replace("10.0.0.9:80", "10.0.0.8:80")
        .replace("      - 10.0.0.1:80\n", "");
    assert_eq!(dropped(&other).0, "");
    let (gone, plan) = dropped(&TEXT.replace("weight: 3", "weight: 4"));
    assert_eq!(gone, "services.api.backends[two].weight");
    assert!(words(&plan).contains(" two=4 "), "{}", words(&plan));
    let (gone, _) = dropped(&TEXT.replace("policy: round_robin", "policy: adaptive"));
    assert_eq!(gone, "services.api.policy");
    let more = "      - { id: three, address: 10.0.0.7:80 }\n  next:";
    let (gone, plan) = dropped(&TEXT.replace("  next:", more));
    assert_eq!(gone, "services.api.backends[three]");
    assert!(words(&plan).contains("three=1"), "{}", words(&plan));
    let (gone, _) = dropped(&TEXT.replace("name: rest", "name: last"));
    assert_eq!(gone, "rules[rest].priority");
}

#[test]
fn what_was_kept_is_of_known_places() {
    let place = |parts: &[&str]| Place::of(parts.iter().map(|one| (*one).to_owned()).collect());
    for known in [
        &["services", "a", "backends", "b"][..],
        &["services", "a", "backends", "b", "weight"],
        &["services", "a", "policy"],
        &["services", "a", "health"],
        &["services", "a", "retry", "budget", "ratio"],
        &["rules", "a"],
        &["rules", "a", "priority"],
    ] {
        assert!(place(known).is_some(), "{known:?}");
    }
    for strange in [
        &[][..],
        &["admin"],
        &["services", "a"],
        &["services", "a", "upstream"],
        &["services", "a", "upstream", "tls"],
        &["services", "a", "retry", "budget", "ratio", "more", "yet"],
        &["rules", "a", "forward"],
        &["services", "a", "backends", "b", "c", "d"],
    ] {
        assert!(place(strange).is_none(), "{strange:?}");
    }
    // A service that has gone takes what was changed of it along.
    let edit = Edit::new(Some("1".into()), None);
    let edits = [(Place::policy("gone"), edit)].into_iter().collect();
    let composed = composed(TEXT, &edits, None);
    assert!(composed.edits.is_empty() && composed.dropped.len() == 1);
}
