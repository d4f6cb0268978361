//! What rules do: read into a plan, or told where it is wrong; shown and compared.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use evenkeel_config::effective::{differences, effective};
use evenkeel_config::limits::{EDITS, SPLIT_SERVICES, TEMPLATE_BYTES};
use evenkeel_config::plan::{Action, FallbackPlan, PathRewrite, SplitAffinity};
use evenkeel_config::{Loaded, Plan, Source, load, render};

fn read(text: &str) -> (Loaded, [Source; 1]) {
    let sources = [Source {
        name: "f.yaml".into(),
        text: text.into(),
    }];
    (load(&sources, &BTreeMap::new()), sources)
}

/// Two listeners' worth of nothing, three services, and one rule that stands at 4:5.
fn with(rule: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ api: {{ backends: [10.0.0.1:1] }}, next: {{ backends: [10.0.0.2:1] }} }}\nrules:\n  - {{ {rule} }}\n"
    )
}

#[track_caller]
fn plan(text: &str) -> Plan {
    let (loaded, sources) = read(text);
    loaded
        .plan
        .unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)))
}

/// All errors of one rule, as `line:column word`.
#[track_caller]
fn check(rule: &str, expect: &[&str]) {
    let (loaded, sources) = read(&with(rule));
    let got: Vec<_> = loaded
        .problems
        .iter()
        .filter(|problem| problem.word != "unused_service")
        .map(|problem| format!("{}:{} {}", problem.at.line, problem.at.column, problem.word))
        .collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
}

#[test]
fn everything_becomes_a_plan() {
    let plan = plan(include_str!("files/actions.yaml"));
    let rule = |name: &str| {
        let found = plan.rules.iter().find(|rule| &*rule.name == name);
        found.unwrap_or_else(|| panic!("{name}"))
    };
    let Action::Redirect(to) = &rule("to-https").action else {
        panic!("a redirect");
    };
    // What is as the request has it is as if it were absent.
    assert!(to.host.is_none() && to.path.is_none() && to.query.is_none());
    let Action::Split(split) = &rule("split").action else {
        panic!("a split");
    };
    let sides: Vec<_> = split
        .sides
        .iter()
        .map(|side| (side.service, side.weight))
        .collect();
    assert_eq!(sides, [(0, 90), (1, 10), (2, 0)]);
    assert_eq!(
        rule("split").beside.fallback.as_deref(),
        Some(&FallbackPlan::Forward(3))
    );
    let Action::Split(kept) = &rule("kept").action else {
        panic!("a split");
    };
    let cookie = SplitAffinity::Cookie("side".into(), Duration::from_secs(7200));
    assert_eq!(kept.affinity, Some(cookie));
    assert_eq!(rule("denied").action, Action::Deny(403));
    assert_eq!(rule("legal").action, Action::Deny(451));
    let beside = &rule("rewritten").beside;
    assert_eq!(beside.per_try, Some(Duration::from_secs(2)));
    assert_eq!(beside.connect, Some(Duration::from_secs(1)));
    let path = beside.rewrite.as_ref().and_then(|one| one.path.as_ref());
    let prefix = PathRewrite::Prefix {
        from: "/v1".into(),
        to: "".into(),
    };
    assert_eq!(path, Some(&prefix));
}

#[test]
fn splits() {
    check("forward: { api: 90, next: 10 }", &[]);
    check("forward: { to: { api: 90, next: 10 } }", &[]);
    check("forward: { api: 0, next: 999 }", &[]);
    check("forward: { api: 90, next: 1000 }", &["4:33 range"]);
    check("forward: { api: 90, next: -1 }", &["4:33 number"]);
    check("forward: { api: 0, next: 0 }", &["4:16 weights"]);
    check("forward: { api: 0 }", &["4:16 weights"]);
    check("forward: {}", &["4:16 weights"]);
    check("forward: { api: 1, nxt: 1 }", &["4:26 unknown_service"]);
    check(
        "forward: { to: { api: 1 }, afinity: 1 }",
        &["4:34 unknown_key"],
    );
    let kept =
        |affinity: &str| format!("forward: {{ to: {{ api: 1, next: 1 }}, affinity: {affinity} }}");
    check(&kept("{ source: true }"), &[]);
    check(&kept("{ cookie: {} }"), &[]);
    check(&kept("{ cookie: { name: a, ttl: 7d } }"), &[]);
    check(&kept("{ cookie: { ttl: 8d } }"), &["4:70 range"]);
    check(&kept("{ cookie: { ttl: 1500ms } }"), &["4:70 range"]);
    check(&kept("{ cookie: { ttl: 999ms } }"), &["4:70 range"]);
    check(&kept("{ cookie: { name: \"a=b\" } }"), &["4:71 name"]);
    check(&kept("{ source: false }"), &["4:63 affinity"]);
    check(&kept("{}"), &["4:53 affinity"]);
    check(&kept("{ cookie: {}, source: true }"), &["4:53 affinity"]);
}

#[test]
fn redirects() {
    check("redirect: { path: \"/new/#{path}\" }", &[]);
    check(
        "redirect: { host: \"www.#{host}\", port: \"#{port}\" }",
        &[],
    );
    check("redirect: { port: 8080 }", &[]);
    for same in [
        "scheme: \"#{protocol}\"",
        "host: \"#{host}\"",
        "port: \"#{port}\"",
        "path: \"/#{path}\"",
        "query: a=b",
        "host: \"#{host}\", port: \"#{port}\", path: \"/#{path}\", query: \"#{query}\", status: 301",
    ] {
        check(&format!("redirect: {{ {same} }}"), &["4:17 redirect_loop"]);
    }
    check("redirect: { path: \"new\" }", &["4:25 path"]);
    check("redirect: { path: \"#{path}\" }", &["4:25 path"]);
    check("redirect: { path: \"/#{pth}\" }", &["4:25 path"]);
    check("redirect: { path: \"/#{path\" }", &["4:25 path"]);
    check("redirect: { path: \"/#{path}?a\" }", &["4:25 path"]);
    check("redirect: { path: \"/#{path}%2\" }", &["4:25 path"]);
    check("redirect: { path: \"/a#b\" }", &["4:25 path"]);
    check("redirect: { path: /a/../b }", &["4:25 path"]);
    check("redirect: { host: \"*.a\" }", &["4:25 host"]);
    check("redirect: { host: \"#{host}/a\" }", &["4:25 host"]);
    check("redirect: { port: 0 }", &["4:25 range"]);
    check("redirect: { port: \"#{prt}\" }", &["4:25 number"]);
    // A dollar is a capture of the rule's path, where that is an expression.
    let by = |path: &str, to: &str| format!("when: {{ path: {path} }}, redirect: {{ path: {to} }}");
    check(&by("{ regex: \"^/(a)\" }", "/x/$1$0$$"), &[]);
    check(&by("{ regex: \"^/(a)\" }", "/x/$2"), &["4:61 path"]);
    check(
        &by("[{ regex: \"^/(a)\" }, { regex: \"^/b\" }]", "/$1"),
        &["4:81 path"],
    );
    check(&by("/a", "/x/$1"), &["4:45 path"]);
    check("redirect: { path: /x/$1 }", &["4:25 path"]);
    check("redirect: { path: /x$ }", &["4:25 path"]);
    check("redirect: { path: /x$a }", &["4:25 path"]);
    // One problem each: what could not be read is not said to be missing.
    check(&by("{ regex: \"(\" }", "/$1"), &["4:30 regex"]);
}

#[test]
fn rewrites() {
    let forward = |rewrite: &str| format!("forward: api, rewrite: {{ {rewrite} }}");
    check(&forward("prefix: { from: /v1, to: / }"), &[]);
    check(&forward("prefix: { from: /v1 }"), &["4:40 missing"]);
    check(&forward("prefix: { from: v1, to: / }"), &["4:48 path"]);
    check(
        &forward("prefix: { from: /v1, to: /a/../b }"),
        &["4:57 path"],
    );
    check(&forward("regex: { match: \"(\", to: / }"), &["4:48 regex"]);
    check(
        &forward("regex: { match: \"(a)\", to: /$2 }"),
        &["4:59 path"],
    );
    check(
        &forward("regex: { match: \"(a)\", to: \"/?$2\" }"),
        &["4:59 path"],
    );
    check(
        &forward("regex: { match: \"(a)\", to: \"/%$1\" }"),
        &["4:59 path"],
    );
    check(&forward("regex: { to: / }"), &["4:39 missing"]);
    check(
        &forward("prefix: { from: /a, to: /b }, regex: { match: a, to: /b }"),
        &["4:62 two_rewrites"],
    );
    for host in [
        "a.b",
        "a:80",
        "\"[::1]\"",
        "\"[::1]:8\"",
        "\"#{host}.internal\"",
    ] {
        check(&forward(&format!("host: {host}")), &[]);
    }
    for host in ["a:0", "a:99999", "a/b", "\"*.a\"", "a:b", "$1.b"] {
        check(&forward(&format!("host: {host}")), &["4:38 host"]);
    }
    check(&forward("host: { match: \"^(a)\", to: $1.b }"), &[]);
    check(
        &forward("host: { match: \"^(a)\", to: $2.b }"),
        &["4:59 host"],
    );
    check(
        "deny: true, rewrite: { prefix: { from: /a, to: /b } }",
        &["4:30 no_effect"],
    );
    check(
        "respond: {}, rewrite: { request_headers: { set: { a: b } } }",
        &["4:31 no_effect"],
    );
    check(
        "respond: {}, rewrite: { response_headers: { set: { a: b } } }",
        &[],
    );
}

#[test]
fn fields() {
    let forward = |edits: &str| format!("forward: api, rewrite: {{ {edits} }}");
    check(
        &forward(
            "request_headers: { set: { x-a: b, X-B: \"#{client} $1\" }, add: { cookie: a=b }, remove: [authorization, x-c] }",
        ),
        &[],
    );
    for name in [
        "host",
        "Content-Length",
        "transfer_encoding",
        "connection",
        "keep-alive",
        "te",
        "upgrade",
        "expect",
        "X-Forwarded-For",
        "x_forwarded_for",
        "forwarded",
        "x-request-id",
        "traceparent",
        "X-Evenkeel-Explain",
        "x_evenkeel_explain",
        "\"a b\"",
        "\"\"",
    ] {
        let key = forward(&format!("request_headers: {{ set: {{ {name}: b }} }}"));
        check(&key, &["4:58 field"]);
        let item = forward(&format!("request_headers: {{ remove: [{name}] }}"));
        check(&item, &["4:60 field"]);
    }
    check(
        &forward("response_headers: { set: { x-request-id: a } }"),
        &[],
    );
    check(
        &forward("response_headers: { set: { content-length: 1 } }"),
        &["4:59 field"],
    );
    check(
        &forward("response_headers: { set: { a: \"ü\" } }"),
        &["4:62 value"],
    );
    check(
        &forward("response_headers: { set: { a: \" b\" } }"),
        &["4:62 value"],
    );
    check(
        &forward("response_headers: { set: { a: \"#{x}\" } }"),
        &["4:62 value"],
    );
    check(
        &forward("response_headers: { set: { a: 1, A: 2 } }"),
        &["4:65 edited_twice"],
    );
    check(
        &forward("response_headers: { set: { a: 1 }, remove: A }"),
        &["4:50 edited_twice"],
    );
}

#[test]
fn denials_fallbacks_and_deadlines() {
    check("deny: true", &[]);
    check("deny: { status: 451 }", &[]);
    check("deny: false", &["4:13 deny"]);
    check("deny: maybe", &["4:13 type"]);
    check("deny: { status: 200 }", &["4:23 range"]);
    check("deny: true, forward: api", &["4:19 two_actions"]);
    check("forward: api, fallback: { forward: next }", &[]);
    check("forward: api, fallback: { respond: { body: a } }", &[]);
    check(
        "forward: api, fallback: { forward: api }",
        &["4:42 fallback"],
    );
    check(
        "forward: api, fallback: { forward: nxt }",
        &["4:42 unknown_service"],
    );
    check(
        "forward: { api: 1, next: 1 }, fallback: { forward: api }",
        &[],
    );
    check("forward: api, fallback: {}", &["4:31 fallback"]);
    check(
        "forward: api, fallback: { forward: next, respond: {} }",
        &["4:31 fallback"],
    );
    check("deny: true, fallback: { forward: api }", &["4:19 fallback"]);
    check(
        "forward: api, timeouts: { per_try: 6s, exchange: 5s }",
        &["4:31 deadlines"],
    );
    check("forward: api, timeouts: { connect: 0 }", &["4:42 range"]);
}

/// A service that only a split or a fallback names is used.
#[test]
fn services_are_used_by_whoever_names_them() {
    for rule in [
        "forward: { api: 1, next: 1 }",
        "forward: { api: 1, next: 0 }",
        "forward: { to: { api: 1, next: 1 } }",
        "forward: api, fallback: { forward: next }",
    ] {
        let (loaded, _) = read(&with(rule));
        assert_eq!(loaded.problems, [], "{rule}");
    }
}

#[test]
fn limits() {
    let many = |count: usize, one: &dyn Fn(usize) -> String| {
        (0..count).fold(String::new(), |mut text, number| {
            let _ = write!(text, "{}, ", one(number));
            text
        })
    };
    let errors = |rule: &str| -> Vec<String> {
        let (loaded, _) = read(&with(rule));
        let too_many = loaded.problems.iter().filter(|one| one.word == "too_many");
        too_many.map(|one| one.message.clone()).collect()
    };
    let split = |count| format!("forward: {{ {} }}", many(count, &|at| format!("s{at}: 1")));
    assert_eq!(errors(&split(SPLIT_SERVICES)), [""; 0]);
    let message = format!("more than {SPLIT_SERVICES} services of one split");
    assert_eq!(errors(&split(SPLIT_SERVICES + 1)), [message]);
    let set = |count| {
        let fields = many(count, &|at| format!("x-{at}: 1"));
        format!("forward: api, rewrite: {{ request_headers: {{ set: {{ {fields} }} }} }}")
    };
    assert_eq!(errors(&set(EDITS)), [""; 0]);
    let message = format!("more than {EDITS} fields that one rule changes");
    assert_eq!(errors(&set(EDITS + 1)), [message]);
    let long = |length| format!("redirect: {{ path: \"/{}\" }}", "a".repeat(length - 1));
    check(&long(TEMPLATE_BYTES), &[]);
    check(&long(TEMPLATE_BYTES + 1), &["4:25 path"]);
}

#[test]
fn what_is_shown_of_splits_and_what_differs() {
    let show = |rule: &str| {
        let text = with(rule);
        let (loaded, sources) = read(&text);
        let entry = effective(&loaded, &sources, &BTreeMap::new());
        let entry = entry.unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)));
        let text = entry.text(&sources);
        (entry, text)
    };
    let before = "name: a, forward: { api: 90, next: 10 }, rewrite: { request_headers: { set: { authorization: secret } } }";
    let after = "name: a, forward: { to: { api: 80, next: 20 }, affinity: { cookie: {} } }";
    let (before, text) = show(before);
    assert!(text.contains("    forward:\n      api: 90"), "{text}");
    assert!(
        !text.contains("secret") && text.contains("authorization: \"(veiled)\""),
        "{text}"
    );
    let (after, text) = show(after);
    for row in ["name: keel-split", "ttl: 1d", "api: 80"] {
        assert!(text.contains(row), "{row} in {text}");
    }
    let paths: Vec<_> = differences(&before, &after)
        .into_iter()
        .map(|one| one.path)
        .collect();
    assert!(
        paths.contains(&"rules[a].forward.api".to_owned()),
        "{paths:?}"
    );
    let (one, _) = show("name: a, forward: { api: 90, next: 10 }");
    let (other, _) = show("name: a, forward: { api: 91, next: 10 }");
    let all = differences(&one, &other);
    let [only] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        (&*only.path, only.from.as_deref(), only.to.as_deref()),
        ("rules[a].forward.api", Some("90"), Some("91"))
    );
}
