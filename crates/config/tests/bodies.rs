//! What a check wants of a body, and what is said of that which no body can be searched for.

use std::collections::BTreeMap;

use evenkeel_config::plan::{BodyMatch, CheckPlan};
use evenkeel_config::{Loaded, Source, load, render};

fn read(http: &str) -> (Loaded, [Source; 1]) {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices:\n  api:\n    backends: [10.0.0.1:1]\n    health:\n      http: {{ {http} }}\n"
    );
    let sources = [Source {
        name: "keel.yaml".into(),
        text,
    }];
    (load(&sources, &BTreeMap::new()), sources)
}

/// All problems of `http: {` and this, as `column word`.
#[track_caller]
fn check(http: &str, expect: &[&str]) {
    let (loaded, sources) = read(http);
    let got: Vec<_> = loaded
        .problems
        .iter()
        .map(|problem| format!("{} {}", problem.at.column, problem.word))
        .collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
}

#[test]
fn a_body_is_a_text_or_an_expression() {
    for (body, fits, fits_not) in [
        ("body: o.k", "so.ks", "owk"),
        ("body: { regex: \"^o.k$\" }", "owk", "so.ks"),
        (
            "body: { regex: '\"up\":\\s*true' }",
            "{\"up\":  true}",
            "up",
        ),
    ] {
        let (loaded, sources) = read(body);
        let Some(plan) = loaded.plan else {
            panic!("{}", render(&loaded.problems, &sources));
        };
        let Some(CheckPlan::Http(http)) = plan.services[0].health.as_ref().map(|plan| &plan.check)
        else {
            panic!("HTTP");
        };
        let matches = |text: &str| match &http.body {
            Some(BodyMatch::Contains(wanted)) => text.contains(&**wanted),
            Some(BodyMatch::Regex(regex)) => regex.is_match(text.as_bytes()),
            None => panic!("a body"),
        };
        assert!(matches(fits) && !matches(fits_not), "{body}");
    }
}

#[test]
fn bodies_that_no_check_can_want() {
    check("body: { regex: \"(\" }", &["30 regex"]);
    // Linear time: what cannot be had in it is refused, and so is what would compile to too much.
    check("body: { regex: '(a)\\1' }", &["30 regex"]);
    check("body: { regex: \"(?:a{1000}){1000}\" }", &["30 regex"]);
    check("body: { regex: \"\" }", &["30 range"]);
    check(
        &format!("body: {{ regex: {} }}", "a".repeat(1025)),
        &["30 range"],
    );
    check(&format!("body: {}", "a".repeat(1025)), &["21 range"]);
    check("body: {}", &["21 missing"]);
    check("body: { regx: a }", &["21 missing", "23 unknown_key"]);
    check("method: HEAD, body: a", &["35 body_of_head"]);
}
