//! Files of cases: what is read, and what is wrong with them.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use evenkeel_config::cases::{Case, cases};
use evenkeel_config::{Problem, Source, limits, render};

fn read(text: &str) -> Result<Vec<Case>, Vec<Problem>> {
    let environment = [("DOMAIN".to_owned(), "example.com".to_owned())].into();
    cases(&source(text), &environment)
}

fn source(text: &str) -> Source {
    Source {
        name: "cases.yaml".into(),
        text: text.into(),
    }
}

/// What is said of it, without the lines that are shown.
#[track_caller]
fn wrong(text: &str, expect: &[&str]) {
    let problems = read(text).unwrap_err();
    let said = render(&problems, &[source(text)]);
    let said: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("cases"))
        .collect();
    assert_eq!(said, expect, "{text}");
}

#[test]
fn what_stands_there_is_read() {
    let text = "
- { request: \"GET https://${DOMAIN}/x\", rule: api }
- request: GET https://${DOMAIN}/x y
  headers: { X-A: 1, X-B: [2, \"${DOMAIN}\"] }
  from: ::1
  listener: web
  status: 308
  location: https://a/
";
    let all = read(text).unwrap();
    let [first, second] = &all[..] else {
        panic!("{all:?}");
    };
    let url = "https://example.com/x";
    // In quotes a text is what it is.
    assert_eq!(
        first.request.value,
        ("GET".into(), "https://${DOMAIN}/x".into())
    );
    let plain = &second.request;
    assert_eq!(
        plain.shown, "GET https://${DOMAIN}/x y",
        "what the environment holds is named"
    );
    assert_eq!(first.rule.as_ref().unwrap().value, "api");
    assert_eq!(first.from.to_string(), "127.0.0.1");
    assert_eq!(second.request.value, ("GET".into(), format!("{url} y")));
    let fields = [("X-A", "1"), ("X-B", "2"), ("X-B", "${DOMAIN}")];
    assert_eq!(
        second.fields,
        fields.map(|(name, value)| (name.into(), value.into()))
    );
    assert_eq!(second.from.to_string(), "::1");
    let status = second.status.as_ref().unwrap();
    assert_eq!(
        (status.value, status.at.line, status.at.column),
        (308, 7, 11)
    );
    assert_eq!(read("{ request: GET /, rule: a }").unwrap().len(), 1);
}

#[test]
fn all_that_is_wrong_is_said() {
    wrong(
        "- { reqest: GET /, rule: a }\n- { request: GET, rule: a }\n- { request: GET / }\n- { request: GET /, status: 99 }\n- x\n- { request: GET /, from: me, headers: 1, rule: [] }\n",
        &[
            "cases.yaml:1:3: error: a case has a `request` [missing]",
            "cases.yaml:1:5: error: `reqest` is not a key here; did you mean `request`? [unknown_key]",
            "cases.yaml:2:14: error: a request is a method and a URL: `GET http://a/` [request]",
            "cases.yaml:3:3: error: this case expects nothing; give it `rule`, `service`, `status` or another [missing]",
            "cases.yaml:4:29: error: 99 is out of range: it must lie between 100 and 599 [range]",
            "cases.yaml:5:3: error: a case must be a map of keys, not a value [type]",
            "cases.yaml:6:27: error: `me` is no address [address]",
            "cases.yaml:6:40: error: headers must be a map of keys, not a value [type]",
            "cases.yaml:6:49: error: a single value is expected here, not a list [type]",
        ],
    );
    wrong(
        "- [",
        &["cases.yaml:1:3: error: unclosed bracket '[' [syntax]"],
    );
}

#[test]
fn there_are_limits() {
    let fields: String = (0..=limits::CASE_FIELDS)
        .map(|at| format!("x{at}: 1, "))
        .collect();
    let problems = read(&format!(
        "- {{ request: GET /, rule: a, headers: {{ {fields} }} }}"
    ))
    .unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].message, "more than 1000 fields of one request");
    let one = "- {request: GET /,rule: a}\n";
    let problems = read(&one.repeat(limits::CASES + 1)).unwrap_err();
    assert_eq!(problems[0].message, "more than 100000 cases in one file");
    assert_eq!(problems[0].at.line, limits::CASES + 1);
}

/// A file that was emptied by mistake does not pass.
#[test]
fn no_cases_are_none_that_hold() {
    for text in ["", "\n# nothing\n", "~", "[]"] {
        wrong(
            text,
            &["cases.yaml:1:1: error: no cases stand here [empty]"],
        );
    }
}
