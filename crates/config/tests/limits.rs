//! What one configuration may hold, and what is said of one that holds more: a place, a case, and the limit.

use std::collections::BTreeMap;
use std::fmt::Write;

use evenkeel_config::limits::{
    BACKENDS, BINDS, CHECK_HEADERS, NETWORKS, PROBLEMS, RULE_VALUES, RULES, SERVICES, TRIED_RULES,
};
use evenkeel_config::{Loaded, Severity, Source, load, render};

fn read(text: String) -> (Loaded, [Source; 1]) {
    let sources = [Source {
        name: "f.yaml".into(),
        text,
    }];
    (load(&sources, &BTreeMap::new()), sources)
}

/// Errors of one text as `line word: message`.
#[track_caller]
fn check(text: String, expect: &[String]) {
    let (loaded, sources) = read(text);
    let errors = loaded.problems.iter();
    let errors = errors.filter(|problem| problem.severity == Severity::Error);
    let got: Vec<_> = errors
        .map(|problem| format!("{} {}: {}", problem.at.line, problem.word, problem.message))
        .collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
}

/// A configuration of one listener, one service, and this.
fn with(rest: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ api: {{ backends: [10.0.0.1:1] }} }}\n{rest}"
    )
}

/// A line for each of so many.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{}", line(number));
        text
    })
}

/// As many as may be are fine; one more is told, where it stands.
#[track_caller]
fn limit(most: usize, what: &str, line: usize, text: impl Fn(usize) -> String) {
    check(text(most), &[]);
    let message = format!("{line} too_many: more than {what}");
    check(text(most + 1), &[message]);
}

#[test]
fn rules() {
    limit(RULES, "100000 rules", RULES + 4, |count| {
        let rule = |number| format!("- {{ when: {{ path: /p{number} }}, forward: api }}");
        with(&format!("rules:\n{}", lines(count, rule)))
    });
}

#[test]
fn values_of_a_rule() {
    let what = "10000 values of `host` in one rule";
    limit(RULE_VALUES, what, RULE_VALUES + 7, |count| {
        let hosts = lines(count, |number| format!("    - h{number}"));
        with(&format!(
            "rules:\n- forward: api\n  when:\n    host:\n{hosts}"
        ))
    });
}

#[test]
fn addresses_of_a_listener() {
    let what = "1000 addresses of one listener";
    limit(BINDS, what, BINDS + 5, |count| {
        let binds = lines(count, |number| format!("    - 127.0.0.1:{}", 1000 + number));
        format!(
            "services: {{ api: {{ backends: [10.0.0.1:1] }} }}\nlisteners:\n  web:\n    bind:\n{binds}"
        )
    });
}

#[test]
fn services() {
    limit(SERVICES, "10000 services", SERVICES + 4, |count| {
        let services = lines(count, |number| {
            format!("  s{number}: {{ backends: [a:1] }}")
        });
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nrules: [{{ forward: s0 }}]\nservices:\n{services}"
        )
    });
}

#[test]
fn backends_of_all_services() {
    let what = "100000 backends, those of all services together";
    limit(BACKENDS, what, BACKENDS + 6, |count| {
        let backend = |number: usize| format!("    - h{number}:1");
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nrules: [{{ forward: one }}]\nservices:\n  one: {{ backends: [b:1] }}\n  two:\n    backends:\n{}",
            lines(count - 1, backend)
        )
    });
}

#[test]
fn networks_and_fields_of_checks() {
    limit(NETWORKS, "1000 networks", NETWORKS + 4, |count| {
        let network = |number| format!("- 10.0.{}.{}", number / 250, number % 250);
        with(&format!("trusted_proxies:\n{}", lines(count, network)))
    });
    let what = "100 fields of one check";
    limit(CHECK_HEADERS, what, CHECK_HEADERS + 8, |count| {
        let field = |number| format!("          x-{number}: a");
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices:\n  api:\n    backends: [a:1]\n    health:\n      http:\n        headers:\n{}",
            lines(count, field)
        )
    });
}

/// Expressions share their memory: many short ones are fine, of large ones fewer, and none of those that failed is free.
#[test]
fn expressions() {
    let rules = |count, regex: &dyn Fn(usize) -> String| {
        let rule = |number| {
            let regex = regex(number);
            format!("- {{ when: {{ path: {{ regex: '{regex}' }} }}, forward: api }}")
        };
        with(&format!("rules:\n{}", lines(count, rule)))
    };
    let many = "too_many: all expressions together take more than 64 MiB; write fewer or simpler ones, or `prefix`";
    check(rules(4096, &|number| format!("^/a{number}/[0-9]+$")), &[]);
    check(
        rules(4097, &|number| format!("^/a{number}/[0-9]+$")),
        &[format!("4100 {many}")],
    );
    let (loaded, _) = read(rules(2000, &|number| format!("^/a{number}/\\w{{4}}$")));
    assert_eq!(loaded.problems.first().map(|one| one.at.line), Some(260));
    let (loaded, _) = read(rules(100, &|number| format!("^/a{number}/\\w{{99}}$")));
    let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
    assert_eq!(words[..64], ["regex"; 64]);
    assert_eq!(words[64..], ["too_many"; 36]);
}

/// Those beyond are counted: a file of nothing but typos is answered soon and shortly.
#[test]
fn problems() {
    let (loaded, sources) = read(with(&lines(20_000, |number| format!("bnd{number}: 1"))));
    assert!(loaded.plan.is_none());
    assert_eq!(loaded.problems.len(), PROBLEMS + 1);
    let shown = render(&loaded.problems, &sources);
    let last =
        "f.yaml:1003:1: error: and 19000 more problems, of which this is the place of one [more]";
    assert!(shown.contains(last), "{shown}");
    let warnings = |drain: &str| {
        let services = lines(2000, |number| format!("  s{number}: {{ backends: [a:1] }}"));
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nrules: [{{ forward: s0 }}]\nservices:\n{services}{drain}"
        )
    };
    let (loaded, _) = read(warnings(""));
    assert!(loaded.plan.is_some(), "warnings stay warnings");
    assert_eq!(loaded.problems.len(), PROBLEMS + 1);
    let (loaded, _) = read(warnings("group: a\n"));
    let told = loaded.problems.iter().find(|one| one.word == "group");
    assert!(told.is_some(), "an error takes the place of a warning");
    assert_eq!(loaded.problems.len(), PROBLEMS + 1);
    assert!(loaded.plan.is_none());
    let (loaded, _) = read(with(&lines(2000, |_| "drain: 1s".into())));
    assert_eq!(loaded.problems.len(), PROBLEMS + 1);
    let long = "x".repeat(100_000);
    let (loaded, _) = read(with(&format!("? {long}\n: 1\n")));
    assert!(loaded.problems.iter().all(|one| one.message.len() < 1000));
}

/// Each address is compared with those that may be the same, not with all.
#[test]
fn many_addresses_that_overlap() {
    let listeners = lines(20, |listener| {
        let binds: Vec<_> = (0..1000)
            .map(|bind| format!("10.{listener}.{}.{}:80", bind / 250, bind % 250))
            .collect();
        format!("  l{listener}: {{ bind: [{}] }}", binds.join(", "))
    });
    let text = |more: &str| {
        format!(
            "max_listeners: 30\nservices: {{ api: {{ backends: [10.0.0.1:1] }} }}\nlisteners:\n{listeners}{more}"
        )
    };
    check(text(""), &[]);
    check(
        text(
            "  a: { bind: 10.3.0.7:80 }\n  b: { bind: 0.0.0.0:80 }\n  c: { bind: 10.99.0.1:80 }\n",
        ),
        &[
            "24 overlap: 10.3.0.7:80 takes connections that 10.3.0.7:80 takes already".into(),
            "25 overlap: 0.0.0.0:80 takes connections that 10.0.0.0:80 takes already".into(),
            "26 overlap: 10.99.0.1:80 takes connections that 0.0.0.0:80 takes already".into(),
        ],
    );
}

/// Rules that a request may have to try one after the other; those of other hosts are others.
#[test]
fn rules_that_ask_for_more() {
    let rules = |host: &'static str| {
        move |number| format!("- {{ when: {{ {host}header: {{ a: h{number} }} }}, forward: api }}")
    };
    let text = |host, count| {
        let first = lines(10, rules("host: a.b, "));
        with(&format!("rules:\n{first}{}", lines(count, rules(host))))
    };
    check(text("", TRIED_RULES), &[]);
    let message = format!(
        "{} too_many_rules: more than {TRIED_RULES} rules of one host ask for more than host, path and method, and may be tried one by one with each request",
        TRIED_RULES + 14
    );
    check(text("", TRIED_RULES + 1), &[message]);
}
