//! What `explain` says of a request, for people and for programs, and of what is none.

use serde_json::{Value, json};

use crate::evenkeel;
use crate::process::Folder;

/// The configuration of `docs/explain.md`.
fn documented() -> &'static str {
    block("```yaml\n")
}

/// The first block of `docs/explain.md` that begins so, without its fences.
pub(crate) fn block(begin: &str) -> &'static str {
    let (_, rest) = include_str!("../../../../docs/explain.md")
        .split_once(begin)
        .unwrap();
    rest.split_once("```").unwrap().0
}

const PLAIN: &str = "
trusted_proxies: 10.0.0.0/8
listeners:
  web: { bind: \"127.0.0.1:8080\" }
  inner: { bind: [\"127.0.0.1:8081\", \"127.0.0.1:8082\"], limits: { body: 10B } }
services:
  api: { overprovision: 2, backends: [\"10.0.0.1:1\", { address: \"10.0.0.2:1\", state: disabled }, { address: \"10.0.0.3:1\", weight: 0 }, { address: \"10.0.0.4:1\", tier: 1 }] }
  user: { policy: { hash: { key: { header: X-User } } }, backends: [a:1, b:1, c:1, d:1] }
  gone: { backends: [{ address: a:1, state: draining }] }
rules:
- { name: ping, priority: 1, when: { path: /ping }, respond: { status: 203, body: \"pong\\e[2J\" } }
- { name: old, priority: 2, when: { path: { prefix: /old } }, redirect: { scheme: https, status: 301 } }
- { name: user, priority: 3, listeners: inner, when: { host: \"*.user.test\", method: [GET, PUT] }, forward: user }
- { name: gone, priority: 4, when: { host: gone.test }, forward: gone }
- { name: api, priority: 5, when: { host: [api.test, \"[::1]\"], path: { regex: \"^/v[0-9]+/\" } }, forward: api }
";

/// What it says, its exit code and errors.
fn told(yaml: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new("explain");
    let file = folder.write("keel.yaml", yaml);
    let arguments = [&["explain", "-c", file.to_str().unwrap()], arguments].concat();
    evenkeel(&arguments)
}

fn rows(yaml: &str, arguments: &[&str]) -> Vec<Value> {
    let (code, out, said) = told(yaml, &[arguments, &["--json"]].concat());
    assert_eq!((code, &*said), (Some(0), ""), "{arguments:?}");
    let all: Value = serde_json::from_str(&out).unwrap();
    all["explanations"].as_array().unwrap().clone()
}

/// The one explanation, and some of its fields by JSON pointer.
#[track_caller]
fn check(arguments: &[&str], expect: &[(&str, Value)]) {
    let rows = rows(PLAIN, arguments);
    let [row] = &rows[..] else {
        panic!("{arguments:?}: {rows:#?}");
    };
    for (pointer, value) in expect {
        let got = row.pointer(pointer);
        assert_eq!(got, Some(value), "{arguments:?}: {pointer} in {row:#}");
    }
}

#[test]
fn the_document_is_what_it_prints() {
    let command = block("```sh\n");
    let words: Vec<_> = command.trim().split(' ').collect();
    let ["evenkeel", "explain", "-c", "keel.yaml", rest @ ..] = &words[..] else {
        panic!("{command}");
    };
    let (code, out, said) = told(documented(), rest);
    assert_eq!((code, &*said), (Some(0), ""));
    assert_eq!(out, block("```text\n"));
}

#[test]
fn what_is_done() {
    check(
        &["GET", "http://a:8080/ping"],
        &[
            ("/action", json!("respond")),
            ("/status", json!(203)),
            ("/body", json!("pong\u{1b}[2J")),
            ("/reason", json!("rule")),
            (
                "/rule",
                json!({ "name": "ping", "priority": 1, "place": 1 }),
            ),
            ("/passed", json!([])),
        ],
    );
    check(
        &["GET", "http://A.test.:8080/./old//x%41?q=%20"],
        &[
            ("/action", json!("redirect")),
            ("/status", json!(301)),
            ("/location", json!("https://a.test/old/xA?q=%20")),
            ("/request/host", json!("a.test")),
            ("/request/path", json!("/old/xA")),
            ("/passed/0/condition", json!("path")),
            ("/passed/0/wants", json!(["/ping"])),
            ("/passed/0/has", json!("/old/xA")),
        ],
    );
    check(
        &["GET", "http://[0:0::1]:8080/v10/x"],
        &[
            ("/action", json!("forward")),
            ("/request/host", json!("[::1]")),
            (
                "/forwarded",
                json!({
                    "path": "/v10/x", "query": null, "host": null,
                    "fields": { "set": [], "add": [], "remove": [] },
                }),
            ),
            ("/services/0/service", json!("api")),
            ("/services/0/policy", json!("adaptive")),
            ("/services/0/backend", json!("10.0.0.1:1")),
            ("/services/0/candidates/0/score", json!(1.0)),
            ("/services/0/candidates/1/excluded", json!("disabled")),
            ("/services/0/candidates/2/excluded", json!("zero_weight")),
            ("/services/0/tier", json!(0)),
            ("/services/0/candidates/3/excluded", json!("standby")),
            ("/services/0/candidates/3/tier", json!(1)),
        ],
    );
    check(
        &["GET", "http://gone.test:8080/"],
        &[
            ("/services/0/backend", Value::Null),
            ("/services/0/refusal", json!("all_down")),
        ],
    );
    check(
        &["PUT", "http://api.test:8080/"],
        &[
            ("/rule", Value::Null),
            ("/action", json!("refuse")),
            ("/status", json!(404)),
            ("/reason", json!("no_rule")),
            ("/passed_all", json!(5)),
            ("/passed/4/wants", json!(["regex: ^/v[0-9]+/"])),
        ],
    );
}

#[test]
fn who_asks_and_where() {
    let forwarded = "X-Forwarded-For: 1.2.3.4";
    let url = "http://a.user.test:8082/";
    check(
        &["GET", url, "-H", forwarded, "--from", "10.1.1.1"],
        &[("/client", json!("1.2.3.4")), ("/rule/name", json!("user"))],
    );
    check(
        &["GET", url, "-H", forwarded, "--from", "::ffff:11.1.1.1"],
        &[("/client", json!("11.1.1.1"))],
    );
    check(
        &["GET", url, "--listener", "web"],
        &[
            ("/passed/2/condition", json!("listeners")),
            ("/passed/2/wants", json!(["inner"])),
            ("/passed/2/has", json!("web")),
        ],
    );
    // No listener has the port: each is told.
    let both = rows(PLAIN, &["GET", "http://a.user.test/"]);
    let names: Vec<_> = both
        .iter()
        .map(|row| (&row["listener"], &row["rule"]["name"]))
        .collect();
    assert_eq!(
        names,
        [
            (&json!("web"), &Value::Null),
            (&json!("inner"), &json!("user"))
        ]
    );
    // A hash policy's choice follows its key.
    let of = |user: &str| {
        let field = format!("X-User: {user}");
        let rows = rows(PLAIN, &["GET", url, "-H", &field]);
        (
            rows[0]["services"][0]["key"].clone(),
            rows[0]["services"][0]["backend"].clone(),
        )
    };
    let users = ["1", "2", "3", "4", "5", "6", "7", "8"].map(of);
    assert_eq!(users[0], of("1"));
    assert!(
        users.iter().any(|(_, backend)| *backend != users[0].1),
        "{users:?}"
    );
}

#[test]
fn malformed_requests_have_the_reason_that_the_proxy_gives() {
    let long = format!("/{}", "a".repeat(40_000));
    let field = format!("X: {}", "b".repeat(40_000));
    let many: Vec<String> = (0..200).map(|at| format!("X-{at}: 1")).collect();
    let many: Vec<&str> = many.iter().flat_map(|field| ["-H", field]).collect();
    let host = ["-H", "Host: a"];
    for (status, reason, arguments) in [
        (400, "start_line", &["GET", "http://a/x y"][..]),
        (400, "method", &["G(T", "http://a/"]),
        (400, "target", &["GET", "http://a/\\"]),
        (400, "target", &["GET", "*", "-H", "Host: a"]),
        (400, "host", &["GET", "http://a..b/"]),
        (400, "host", &["GET", "http:///x"]),
        (400, "host", &["GET", "http://[::1/x"]),
        (400, "host_missing", &["GET", "/"]),
        (
            400,
            "host_repeated",
            &["GET", "/", "-H", "Host: a", "-H", "host: a"],
        ),
        (400, "path", &["GET", "http://a/../x"]),
        (400, "path", &["GET", "http://a/%00"]),
        (400, "field_name", &["GET", "http://a/", "-H", "A : b"]),
        (400, "field_name", &["GET", "http://a/", "-H", "Ü: b"]),
        (400, "fold", &["GET", "http://a/", "-H", " A: b"]),
        (400, "field_value", &["GET", "http://a/", "-H", "A: \u{1}"]),
        (
            400,
            "content_length",
            &["GET", "http://a/", "-H", "Content-Length: x"],
        ),
        (417, "expectation", &["GET", "http://a/", "-H", "Expect: x"]),
        (501, "connect_refused", &["CONNECT", "a:443"]),
        (414, "target_too_long", &["GET", &long, host[0], host[1]]),
        (431, "head_too_large", &["GET", "http://a/", "-H", &field]),
        (
            431,
            "too_many_fields",
            &[&["GET", "http://a/"], &many[..]].concat(),
        ),
        (
            413,
            "body_too_large",
            &[
                "PUT",
                "http://a.user.test:8082/",
                "-H",
                "Content-Length: 11",
            ],
        ),
    ] {
        let arguments = [arguments, &["--listener", "inner"]].concat();
        check(
            &arguments,
            &[
                ("/action", json!("refuse")),
                ("/status", json!(status)),
                ("/reason", json!(reason)),
            ],
        );
    }
    check(
        &["OPTIONS", "*", "-H", "Host: api.test", "--listener", "web"],
        &[("/request/path", json!("*")), ("/reason", json!("no_rule"))],
    );
}

/// Every kind of action that forwards, and what goes with it.
const CANARY: &str = "
trusted_proxies: 127.0.0.1
listeners: { web: { bind: \"127.0.0.1:8080\" } }
services:
  api: { policy: round_robin, backends: [\"10.0.0.1:1\"] }
  next: { policy: round_robin, backends: [\"10.0.0.2:1\"] }
  gone: { policy: round_robin, backends: [{ address: \"10.0.0.3:1\", state: draining }] }
rules:
- name: canary
  priority: 1
  when: { host: api.test }
  forward: { to: { api: 90, next: 10, gone: 0 }, affinity: { cookie: { name: side } } }
  fallback: { forward: api }
  rewrite:
    regex: { match: '^/v1/(.*)$', to: '/$1?v=1' }
    host: inner.test
    request_headers: { set: { x-tier: gold }, add: { x-seen: \"#{client}\" }, remove: [x-debug] }
    response_headers: { set: { x-rule: canary }, remove: [server] }
- { name: by-source, priority: 2, when: { path: /source }, forward: { to: { api: 1, next: 1 }, affinity: { source: true } } }
- { name: moved, priority: 3, when: { path: /moved }, forward: gone, fallback: { redirect: { host: sorry.test } } }
- { name: sorry, priority: 4, when: { path: /sorry }, forward: gone, fallback: { respond: { status: 503, body: soon } } }
- { name: other, priority: 5, when: { path: /other }, forward: gone, fallback: { forward: next } }
- { name: asks, priority: 6, when: { header: { X-A: [\"1\", { exact: B }] }, cookie: { a: \"b*\" }, query: { q: [x, y] }, source: { client: 10.0.0.0/8 }, not: { method: PUT, host: x.test } }, deny: true }
";

#[test]
fn the_way_of_a_canary_is_told() {
    let (code, out, _) = told(CANARY, &["GET", "http://api.test:8080/v1/x?q"]);
    assert_eq!(code, Some(0));
    let expect = "GET /v1/x?q of host api.test, from 127.0.0.1, at listener web
rule canary holds: priority 1, number 1 of 6
the backend gets /x?v=1
as host inner.test
request field set: x-tier: (shown by --values)
request field added: x-seen: (shown by --values)
request field removed: x-debug
drawn by weight; the answer sets the cookie side, which keeps the client there
forwarded to service api, 90.0 % of such requests, by round_robin
     backend     standing  score  share  excluded
  >  10.0.0.1:1  serving          1
picked: 10.0.0.1:1, the only one that may be picked
forwarded to service next, 10.0 % of such requests, by round_robin
     backend     standing  score  share  excluded
  >  10.0.0.2:1  serving          1
picked: 10.0.0.2:1, the only one that may be picked
when a service refuses: forwarded to service api, by round_robin
     backend     standing  score  share  excluded
  >  10.0.0.1:1  serving          1
picked: 10.0.0.1:1, the only one that may be picked
every backend is taken as it is at the start: nothing is in flight, nothing was learned, no check was made
answer field set: x-rule: canary
answer field removed: server
";
    assert_eq!(out, expect);
    let (_, out, _) = told(CANARY, &["GET", "http://api.test:8080/", "--values"]);
    assert!(
        out.contains("request field added: x-seen: 127.0.0.1\n"),
        "{out}"
    );
    for (path, lines) in [
        ("source", "kept on its service by the client's address\n"),
        (
            "moved",
            "nobody is picked, all_down: the fallback follows\nwhen a service refuses: redirected with 302 to http://sorry.test/moved\n",
        ),
        ("sorry", "when a service refuses: answered with 503\n"),
        (
            "other",
            "when a service refuses: forwarded to service next, by",
        ),
    ] {
        let url = format!("http://a/{path}");
        let (_, out, _) = told(CANARY, &["GET", &url]);
        assert!(out.contains(lines), "{out}");
    }
}

#[test]
fn a_fallback_for_programs() {
    for (path, expect) in [
        (
            "moved",
            json!({ "action": "redirect", "status": 302, "location": "http://sorry.test/moved" }),
        ),
        ("sorry", json!({ "action": "respond", "status": 503 })),
    ] {
        let row = &rows(CANARY, &["GET", &format!("http://a/{path}")])[0];
        assert_eq!(row["fallback"], expect);
        assert_eq!(row["services"][0]["falls_back"], true);
        assert_eq!(row["services"][0]["refusal"], "all_down");
    }
    let other = &rows(CANARY, &["GET", "http://a/other"])[0];
    assert_eq!(other["fallback"]["service"]["service"], "next");
    assert_eq!(other["fallback"]["service"]["backend"], "10.0.0.2:1");
    let canary = &rows(CANARY, &["GET", "http://api.test/"])[0];
    // Who refused is not asked again.
    assert_eq!(canary["services"][0]["falls_back"], false);
    assert_eq!(canary["services"][1]["falls_back"], true);
    let affinity = json!({ "by": "cookie", "name": "side", "kept": false });
    assert_eq!(canary["affinity"], affinity);
    let veiled = json!([{ "name": "x-tier", "value": null }]);
    assert_eq!(canary["forwarded"]["fields"]["set"], veiled);
}

/// Each row: a request, and what the last rule wants that the request does not have.
#[test]
fn what_each_condition_wants_and_what_a_request_has() {
    let all = ["-H", "X-A: 1", "-H", "Cookie: a=bc", "--from", "127.0.0.1"];
    let forwarded = ["-H", "X-Forwarded-For: 10.1.1.1"];
    let url = "http://a/?q=x";
    for (arguments, condition, wants, has) in [
        (
            &["GET", url][..],
            "header.x-a",
            json!(["1", "exact: B"]),
            "none",
        ),
        (
            &["GET", url, "-H", "X-A: b", "-H", "x-a: 2"],
            "header.x-a",
            json!(["1", "exact: B"]),
            "b, 2",
        ),
        (
            &["GET", url, "-H", "X-A: B", "-H", "Cookie: a=c; b=b"],
            "cookie.a",
            json!(["b*"]),
            "c",
        ),
        (
            &[&["GET", "http://a/?q=z&x"], &all[..]].concat(),
            "query",
            json!(["q: x or y"]),
            "q=z&x",
        ),
        (
            &[&["GET", url], &all[..]].concat(),
            "source.client",
            json!(["10.0.0.0/8"]),
            "127.0.0.1",
        ),
        (
            &[&["PUT", "http://x.test/?q=x"], &all[..], &forwarded].concat(),
            "not",
            json!(["none of host x.test, method PUT"]),
            "host x.test, method PUT",
        ),
    ] {
        // In which order they are asked is not promised: all others hold.
        let mut arguments = arguments.to_vec();
        if condition != "source.client" && condition != "not" {
            arguments.extend(forwarded);
        }
        let rows = rows(CANARY, &arguments);
        let unmet = rows[0]["passed"].as_array().unwrap().last().unwrap();
        let told = (&unmet["condition"], &unmet["wants"], &unmet["has"]);
        assert_eq!(
            told,
            (&json!(condition), &wants, &json!(has)),
            "{arguments:?}"
        );
    }
    let (_, out, _) = told(CANARY, &[&["GET", url], &all[..], &forwarded].concat());
    assert!(out.ends_with("answered with 403, denied\n"), "{out}");
}

#[test]
fn cases_of_a_canary() {
    let folder = Folder::new("canary");
    let keel = folder.write("keel.yaml", CANARY);
    let run = |cases: &str| {
        let file = folder.write("cases.yaml", cases);
        evenkeel(&[
            "check",
            "--expect",
            file.to_str().unwrap(),
            keel.to_str().unwrap(),
        ])
    };
    let (code, out, said) = run("
- { request: GET http://api.test/v1/x, service: [next, api], share: { api: 90%, next: 10% }, fallback: api, path: /x, query: v=1, host: inner.test }
- { request: GET http://api.test/x?a, query: a }
- { request: GET http://a:81/source, service: api, query: \"\", host: a:81 }
- { request: GET http://a/moved, service: gone, status: 302, location: http://sorry.test/moved, reason: all_down }
- { request: GET http://a/sorry, service: gone, status: 503, reason: all_down }
- { request: GET http://a/other, service: gone, fallback: next, backend: 10.0.0.2:1 }
");
    assert_eq!(code, Some(0), "{said}");
    assert!(out.ends_with("6 of 6 cases hold\n"), "{out}");
    for (case, expect) in [
        (
            "api.test/, service: api",
            "expected `api`, got service api, next [service]",
        ),
        (
            "api.test/, service: [api, next, gone]",
            "expected `api, next, gone`, got service api, next [service]",
        ),
        (
            "api.test/, share: { api: 95%, next: 5% }",
            "expected `api: 95.0%, next: 5.0%`, got `api: 90.0%, next: 10.0%` [share]",
        ),
        (
            "api.test/, share: { api: 90% }",
            "expected `api: 90.0%`, got `api: 90.0%, next: 10.0%` [share]",
        ),
        (
            "api.test/, fallback: next",
            "expected `next`, got `api` [fallback]",
        ),
        (
            "a/source, fallback: next",
            "expected `next`, got none [fallback]",
        ),
        (
            "a/moved, fallback: next",
            "expected `next`, got a redirect of 302 [fallback]",
        ),
        (
            "api.test/v1/, query: v=2",
            "expected `v=2`, got `v=1` [query]",
        ),
        (
            "api.test/, host: api.test",
            "expected `api.test`, got `inner.test` [host]",
        ),
        (
            "a/none, host: a",
            "expected `a`, got an answer of 404, no_rule [host]",
        ),
        (
            "a/moved, status: 200",
            "expected 200, got service gone, which refuses: a redirect of 302 to `http://sorry.test/moved` [status]",
        ),
        (
            "a/other, status: 200",
            "expected 200, got service gone [status]",
        ),
    ] {
        let (code, _, said) = run(&format!("- {{ request: GET http://{case} }}\n"));
        let first = said.lines().next().unwrap_or("");
        let told = first.split_once(": error: ").map(|(_, told)| told);
        assert_eq!((code, told), (Some(1), Some(expect)), "{case}: {said}");
    }
}

#[test]
fn what_is_not_one_request_is_wrong_usage() {
    for (says, arguments) in [
        (
            "the URL holds a line break",
            &["GET", "http://a/ HTTP/1.1\r\nX: y"][..],
        ),
        ("the URL holds a line break", &["GET", "http://a\n/"]),
        ("the method holds a line break", &["GET\r\n", "/"]),
        (
            "a field holds a line break",
            &["GET", "/", "-H", "A: b\r\nHost: c"],
        ),
        ("a field holds a line break", &["GET", "/", "-H", "A\n: b"]),
        ("the name of a field is missing", &["GET", "/", "-H", ": b"]),
        ("a field is written `Name: value`", &["GET", "/", "-H", "A"]),
        (
            "a URL begins with `http://` or `https://`, a path with a slash",
            &["GET", "api.test/x"],
        ),
        (
            "a URL begins with `http://` or `https://`, a path with a slash",
            &["GET", "ftp://a/"],
        ),
        ("leave it out", &["GET", "http://me:secret@a/"]),
        (
            "no listener is called `\\u{1b}[2J`; there are web, inner",
            &["GET", "/", "--listener", "\u{1b}[2J"],
        ),
        ("invalid value", &["GET", "/", "--from", "nobody"]),
        ("Usage", &["GET"]),
    ] {
        let (code, out, said) = told(PLAIN, arguments);
        assert_eq!((code, &*out), (Some(2), ""), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let (code, out, said) = told("listeners: { web: { bnd: 1 } }", &["GET", "/"]);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(said.contains("did you mean `bind`?"), "{said}");
    let (code, out, said) = told("listeners: { web: { bnd: 1 } }", &["GET", "/", "--json"]);
    assert_eq!((code, &*said), (Some(1), ""));
    assert!(out.contains("\"unknown_key\""), "{out}");
    let none = ["explain", "-c", "/nowhere.yaml", "GET", "/"];
    assert_eq!(evenkeel(&none).0, Some(1));
}

/// What a file or a client wrote steers no terminal, and a fragment is not taken for part of the path.
#[test]
fn people_are_told_plainly() {
    let yaml = "
listeners: { web: { bind: \"127.0.0.1:8080\" } }
services: { api: { backends: [{ address: a:1, id: \"\\e[2Jid\" }] } }
rules: [{ name: \"\\e[2Jfirst\", priority: 1, when: { host: b }, forward: api }, { name: \"\\e[2Jsecond\", forward: api }]
";
    let (code, out, said) = told(yaml, &["GET", "http://a/x#\u{1b}[2J"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        said,
        "evenkeel: `#\\u{1b}[2J` is not sent: clients keep it\n"
    );
    assert!(!out.contains('\u{1b}'), "{out}");
    assert!(
        out.contains("rule \\u{1b}[2Jsecond holds: priority 50000, number 2 of 2\n"),
        "{out}"
    );
    assert!(out.contains("picked: \\u{1b}[2Jid, the only one"), "{out}");
}

#[test]
fn a_thousand_rules_are_told_by_the_nearest() {
    let mut yaml = String::from(
        "listeners: { web: { bind: \"127.0.0.1:8080\" } }\nservices: { api: { backends: [a:1] } }\nrules:\n",
    );
    for at in 0..1000 {
        let host = if at < 3 { "a" } else { "b" };
        yaml.push_str(&format!(
            "- {{ name: r{at}, priority: {}, when: {{ host: {host}, path: /{at} }}, forward: api }}\n",
            at + 1
        ));
    }
    let (code, out, said) = told(&yaml, &["GET", "http://a/x"]);
    assert_eq!((code, &*said), (Some(0), ""));
    let has = |out: &str, rule: &str| {
        out.lines()
            .any(|line| line.split_whitespace().next() == Some(rule))
    };
    // The host of the first three holds: they are nearer than those that come after.
    assert!(
        ["r0", "r1", "r2", "r999", "r983"]
            .iter()
            .all(|rule| has(&out, rule)),
        "{out}"
    );
    assert!(!has(&out, "r982") && !has(&out, "r3"), "{out}");
    assert!(out.contains("  and 980 more, "), "{out}");
    assert!(out.lines().count() < 30, "{out}");
    let (_, out, _) = told(&yaml, &["GET", "http://a/x", "--all"]);
    assert!(has(&out, "r500") && !out.contains(" more, "), "{out}");
}

/// Exit code and what is said of cases, against the configuration of this file.
fn cases(text: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new("cases");
    let keel = folder.write("keel.yaml", PLAIN);
    let cases = folder.write("cases.yaml", text);
    let (keel, cases) = (keel.to_str().unwrap(), cases.to_str().unwrap());
    let arguments = [&["check", "--expect", cases, keel], flags].concat();
    let (code, out, said) = evenkeel(&arguments);
    let place = folder.path().display().to_string() + "/";
    (code, out.replace(&place, ""), said.replace(&place, ""))
}

#[test]
fn the_cases_of_the_document_are_what_they_print() {
    let folder = Folder::new("documented");
    let keel = folder.write("keel.yaml", documented());
    let cases = folder.write("cases.yaml", block("```yaml\n# cases.yaml\n"));
    let (keel, cases) = (keel.to_str().unwrap(), cases.to_str().unwrap());
    let (code, out, said) = evenkeel(&["check", "--expect", cases, keel]);
    let place = folder.path().display().to_string() + "/";
    let (_, printed) = include_str!("../../../../docs/explain.md")
        .split_once("keel.yaml` prints\n\n```text\n")
        .unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(
        said.replace(&place, "") + &out,
        printed.split_once("```").unwrap().0
    );
}

#[test]
fn cases_that_hold() {
    let text = "
- { request: \"GET http://a/ping\", rule: ping, status: 203, reason: rule }
- { request: \"GET http://a/old/x?y\", rule: old, status: 301, location: \"https://a/old/x?y\" }
- { request: \"GET http://a.user.test/b\", listener: inner, headers: { x-user: 1 }, rule: user, service: user, path: /b, backend: \"b:1\" }
- { request: \"GET http://api.test/v1/%41\", service: api, path: /v1/A, backend: \"10.0.0.1:1\" }
- { request: \"GET http://a/%00\", status: 400, reason: path }
- { request: \"PUT http://a.user.test:8081/\", headers: { Content-Length: 11 }, rule: user, reason: body_too_large }
- { request: \"OPTIONS *\", headers: { Host: a }, reason: no_rule }
- { request: GET /, headers: { Host: [a, b] }, reason: host_repeated }
";
    let fine = "fine: 2 listeners, 5 rules, 3 services, 0 warnings\n8 of 8 cases hold\n";
    assert_eq!(cases(text, &[]), (Some(0), fine.into(), String::new()));
    let (code, out, _) = cases(text, &["--json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(out["cases"], json!({ "all": 8, "hold": 8, "problems": [] }));
}

/// Each row: a case, and what is said of it.
#[test]
fn cases_that_do_not_hold() {
    let at = "GET http://a.user.test/";
    for (case, expect) in [
        (
            "request: GET http://a/ping, rule: old",
            "expected `old`, got `ping`; its `path` does not hold: it wants prefix: /old, the request has /ping [rule]",
        ),
        (
            "request: GET http://api.test/ping, rule: nobody",
            "expected `nobody`, got `ping`; no rule is called so [rule]",
        ),
        (
            "request: GET http://gone.test/old, rule: gone",
            "expected `gone`, got `old`; it holds too, but comes later [rule]",
        ),
        (
            "request: GET http://a/, rule: ping",
            "expected `ping`, got an answer of 404, no_rule; its `path` does not hold: it wants /ping, the request has / [rule]",
        ),
        (
            "request: GET http://a/%00, rule: ping",
            "expected `ping`, got an answer of 400, path [rule]",
        ),
        (
            "request: GET http://a/ping, service: api",
            "expected `api`, got an answer of 203 by the rule [service]",
        ),
        (
            "request: GET http://gone.test/, service: api",
            "expected `api`, got service gone, which refuses: an answer of 503, all_down [service]",
        ),
        (
            "request: GET http://gone.test/, backend: x",
            "expected `x`, got all_down [backend]",
        ),
        (
            "request: GET http://api.test/v1/, backend: x",
            "expected `x`, got `10.0.0.1:1` [backend]",
        ),
        (
            "request: GET http://gone.test/, status: 200",
            "expected 200, got service gone, which refuses: an answer of 503, all_down [status]",
        ),
        (
            "request: GET http://a/old, status: 302",
            "expected 302, got a redirect of 301 to `https://a/old` [status]",
        ),
        (
            "request: GET http://a/old, location: x",
            "expected `x`, got a redirect of 301 to `https://a/old` [location]",
        ),
        (
            "request: GET http://gone.test/a/./b, path: /a/./b",
            "expected `/a/./b`, got `/a/b` [path]",
        ),
        (
            "request: GET http://a/, reason: rule",
            "expected `rule`, got an answer of 404, no_rule [reason]",
        ),
        (
            &format!("request: {at}, listener: web, rule: user"),
            "expected `user`, got an answer of 404, no_rule; its `listeners` does not hold: it wants inner, the request has web [rule]",
        ),
        (
            &format!("request: {at}, listener: wbe, rule: user"),
            "no listener is called `wbe`; there are web, inner [unknown_listener]",
        ),
        (
            "request: GET ftp://a/, rule: user",
            "a URL begins with `http://` or `https://`, a path with a slash [request]",
        ),
        (
            "request: \"GET /\\r\\nX: y\", rule: user",
            "the URL holds a line break; a client cannot send it [request]",
        ),
        (
            "request: GET /, headers: { A: \"b\\nc\" }, rule: user",
            "a field holds a line break; a client cannot send it [request]",
        ),
    ] {
        let listener = if case.contains("listener: ") {
            ""
        } else {
            "listener: inner, "
        };
        let (code, out, said) = cases(&format!("- {{ {listener}{case} }}\n"), &[]);
        assert_eq!(code, Some(1), "{case}");
        assert!(out.ends_with("\n0 of 1 cases hold\n"), "{case}: {out}");
        let first = said.lines().next().unwrap_or("");
        let told = first.split_once(": error: ").map(|(_, told)| told);
        assert_eq!(told, Some(expect), "{case}: {said}");
        assert!(first.starts_with("cases.yaml:1:"), "{case}: {said}");
    }
    // Without a listener, it is to hold at each.
    let (_, _, said) = cases(&format!("[{{ request: {at}, rule: user }}]"), &[]);
    assert!(
        said.contains("at listener `web`, expected `user`, got"),
        "{said}"
    );
    let (_, _, said) = cases(
        "[{ request: GET http://a.user.test:8081/, backend: b:1 }, { request: GET http://[::1]/v1/, rule: \"\\e[2J\" }]",
        &[],
    );
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_choice_that_is_drawn_is_nobody_in_particular() {
    let folder = Folder::new("drawn");
    let keel = folder.write("keel.yaml", "listeners: { web: { bind: \"127.0.0.1:80\" } }\nservices: { api: { backends: [a:1, b:1] } }\n");
    let file = folder.write("cases.yaml", "- { request: GET http://a/, backend: a:1 }\n");
    let (code, _, said) = evenkeel(&[
        "check",
        "--expect",
        file.to_str().unwrap(),
        keel.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(
            "expected `a:1`, got any of 2: adaptive chooses anew for each request [backend]\n"
        ),
        "{said}"
    );
}

#[test]
fn files_of_cases_that_are_none() {
    let (code, out, said) = cases("- { request: GET /, rul: x }\n", &[]);
    assert_eq!(code, Some(1));
    assert!(
        out.ends_with("\n0 of 0 cases hold, and those of a file with errors were not tried\n"),
        "{out}"
    );
    assert!(
        said.contains(
            "cases.yaml:1:21: error: `rul` is not a key here; did you mean `rule`? [unknown_key]\n"
        ),
        "{said}"
    );
    let (code, out, _) = cases("- { request: GET /, rul: x }\n", &["--json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(out["cases"]["problems"][0]["code"], "missing");
    assert_eq!(out["cases"]["problems"][1]["line"], 1);
    let (code, _, said) = cases(
        "[]",
        &["--expect", "/nowhere.yaml", "--expect", "/dev/zero"],
    );
    assert_eq!(code, Some(1));
    assert!(
        said.contains("/nowhere.yaml: No such file") && said.contains("/dev/zero: not a file"),
        "{said}"
    );
    // A configuration with errors meets nothing.
    let folder = Folder::new("meets-nothing");
    let bad = folder.write("bad.yaml", "listeners: { web: { bnd: 1 } }\n");
    let (code, out, _) = evenkeel(&["check", bad.to_str().unwrap(), "--expect", "/nowhere.yaml"]);
    assert_eq!((code, &*out), (Some(1), "3 errors, 0 warnings\n"));
}

/// What is answered when nobody is picked depends on the rule's fallback, and the explanation does not say otherwise.
#[test]
fn a_fallback_is_what_follows_a_refusal() {
    let config = |fallback: &str| {
        format!(
            "listeners: {{ web: {{ bind: \"127.0.0.1:8080\" }} }}\nservices: {{ gone: {{ backends: [{{ address: \"a:1\", state: disabled }}] }}, other: {{ backends: [\"b:1\"] }} }}\nrules:\n- {{ forward: gone{fallback} }}\n- {{ priority: 2, when: {{ path: /x }}, forward: other }}\n"
        )
    };
    for (fallback, expect) in [
        ("", "nobody is picked: answered with 503, all_down\n"),
        (
            ", fallback: { forward: other }",
            "nobody is picked, all_down: the fallback follows\nwhen a service refuses: forwarded to service other, by adaptive\n",
        ),
    ] {
        let (_, out, said) = told(&config(fallback), &["GET", "http://a/"]);
        assert!(out.contains(expect), "{out}{said}");
    }
}
