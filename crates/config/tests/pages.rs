//! Configured error pages: what they become, and what is said of those that become nothing.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use evenkeel_config::plan::ErrorPage;
use evenkeel_config::{Files, Loaded, Plan, Source, files, load_with, render};

fn sources(rest: &str) -> Vec<Source> {
    let text = format!(
        "services: {{ api: {{ backends: [10.0.0.1:1] }} }}\nlisteners: {{ web: {{ bind: 127.0.0.1:1 }} }}\n{rest}"
    );
    vec![Source {
        name: "etc/keel.yaml".into(),
        text,
    }]
}

/// What stands on the disk of these tests.
fn disk() -> Files {
    let file = |name: &str, content: &[u8]| (PathBuf::from(name), Ok(content.to_vec()));
    Files::from([
        file("etc/pages/502.html", b"<p>{reason}</p>"),
        file(
            "/abs/503.json",
            b"{\"why\":\"{reason}\",\"again\":\"{reason}\"}",
        ),
        file("etc/largest", &[b'x'; 64 * 1024]),
        file("etc/too_large", &[b'x'; 64 * 1024 + 1]),
        (PathBuf::from("etc/locked"), Err("Permission denied".into())),
    ])
}

fn read(sources: &[Source]) -> Loaded {
    let environment = BTreeMap::from([("PAGES".to_owned(), "pages".to_owned())]);
    let (wanted, disk) = (files(sources, &environment), disk());
    let given = wanted.into_iter().filter_map(|path| {
        let content = disk.get(&path)?.clone();
        Some((path, content))
    });
    load_with(sources, &environment, given.collect())
}

#[track_caller]
fn plan(rest: &str) -> Plan {
    let sources = sources(rest);
    let loaded = read(&sources);
    loaded
        .plan
        .unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)))
}

fn said(page: &ErrorPage) -> String {
    String::from_utf8_lossy(&page.body.join(&b"WORD"[..])).into_owned()
}

#[test]
fn pages_stand_in_the_text_or_in_files() {
    let plan = plan(
        "error_pages:\n  400: no\n  408: { body: \"<b>{reason}</b>\", content_type: text/html }\n  502:\n    file: ${PAGES}/502.html\n  503: { file: /abs/503.json }\n  504: { file: largest }\n",
    );
    let got: Vec<_> = plan.listeners[0]
        .error_pages
        .iter()
        .map(|(status, page)| (*status, &*page.content_type, said(page)))
        .filter(|(status, ..)| *status != 504)
        .collect();
    let plain = "text/plain; charset=utf-8";
    let html = "text/html; charset=utf-8";
    assert_eq!(
        got,
        [
            (400, plain, "no".to_owned()),
            (408, "text/html", "<b>WORD</b>".to_owned()),
            (502, html, "<p>WORD</p>".to_owned()),
            (
                503,
                "application/json",
                "{\"why\":\"WORD\",\"again\":\"WORD\"}".to_owned()
            ),
        ]
    );
    assert_eq!(said(&plan.listeners[0].error_pages[&504]).len(), 64 * 1024);
}

#[test]
fn a_listeners_own_page_comes_before_that_of_all() {
    let text = Source {
        name: "keel.yaml".into(),
        text: "error_pages: { 502: all, 503: all }\nservices: { api: { backends: [10.0.0.1:1] } }\nlisteners:\n  web: { bind: 127.0.0.1:1, error_pages: { 503: own, 504: own } }\n  other: { bind: 127.0.0.1:2 }\n".into(),
    };
    let plan = read(&[text]).plan.unwrap_or_else(|| panic!("no plan"));
    let of = |listener: usize| -> Vec<_> {
        plan.listeners[listener]
            .error_pages
            .iter()
            .map(|(status, page)| (*status, said(page)))
            .collect()
    };
    let row = |status, word: &str| (status, word.to_owned());
    assert_eq!(of(0), [row(502, "all"), row(503, "own"), row(504, "own")]);
    assert_eq!(of(1), [row(502, "all"), row(503, "all")]);
}

/// All problems of `error_pages:` with this value, as `column word`.
#[track_caller]
fn check(pages: &str, expect: &[&str]) {
    let sources = sources(&format!("error_pages: {pages}\n"));
    let loaded = read(&sources);
    let got: Vec<_> = loaded
        .problems
        .iter()
        .map(|problem| format!("{} {}", problem.at.column, problem.word))
        .collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
    assert!(loaded.plan.is_none());
}

#[test]
fn what_is_no_page() {
    check("x", &["14 type"]);
    check("{ 200: x }", &["16 unknown_key"]);
    check("{ 5xx: x, 499: y }", &["16 unknown_key", "24 unknown_key"]);
    check("{ 503: }", &["19 type"]);
    check("{ 503: [a] }", &["21 type"]);
    check("{ 503: {} }", &["21 page"]);
    check("{ 503: { content_type: text/html } }", &["21 page"]);
    check("{ 503: { body: a, file: largest } }", &["21 page"]);
    check("{ 503: { bdy: a, body: b } }", &["23 unknown_key"]);
    check(
        "{ 503: { body: a, content_type: \"a\\r\\nb\" } }",
        &["46 value"],
    );
    check("{ 503: { file: missing } }", &["29 file"]);
    check("{ 503: { file: locked } }", &["29 file"]);
    check("{ 503: { file: too_large } }", &["29 range"]);
    let long = "x".repeat(64 * 1024 + 1);
    check(&format!("{{ 503: {long} }}"), &["21 range"]);
}

#[test]
fn files_that_cannot_be_read_are_shown_in_their_place() {
    let sources = sources("error_pages:\n  502: { file: locked }\n");
    let shown = render(&read(&sources).problems, &sources);
    assert_eq!(
        shown,
        "etc/keel.yaml:4:16: error: etc/locked: Permission denied [file]\n    4 |   502: { file: locked }\n      |                ^^^^^^\n"
    );
}
