//! Rules that no request reaches, and paths and hosts that no request has: found where it is certain, and only there.

use std::collections::BTreeMap;

use evenkeel_config::{Source, load};

const HEAD: &str = "listeners:\n  web: { bind: 127.0.0.1:8080 }\n  raw: { bind: 127.0.0.1:8081, path: as_is }\nservices: { api: { backends: [10.0.0.1:1] } }\nrules:\n";

/// What is said of rules with these conditions, in this order, as `line word`; the first rule stands in line 6.
#[track_caller]
fn check(rules: &[&str], expect: &[&str]) {
    let rules: String = rules
        .iter()
        .map(|rule| format!("- {{ {rule}, forward: api }}\n"))
        .collect();
    let source = Source {
        name: "f.yaml".into(),
        text: format!("{HEAD}{rules}"),
    };
    let problems = load(std::slice::from_ref(&source), &BTreeMap::new()).problems;
    let said: Vec<_> = problems
        .iter()
        .map(|problem| format!("{} {}", problem.at.line, problem.word))
        .collect();
    assert_eq!(said, expect, "{rules}{problems:#?}");
}

const NEVER: &[&str] = &["7 unreachable_rule"];

#[test]
fn one_rule_covers_another() {
    for (earlier, later) in [
        ("when: { path: /v1/* }", "when: { path: /v1/users }"),
        ("when: { path: /v1/* }", "when: { path: /v1/*/x }"),
        ("when: { path: /v1* }", "when: { path: { prefix: /v1 } }"),
        (
            "when: { path: { prefix: /v1 } }",
            "when: { path: /v1/*.jpg }",
        ),
        ("when: { path: \"*\" }", "when: { method: GET }"),
        ("when: { path: \"*\" }", "when: { path: { regex: a } }"),
        ("when: { path: /* }", "when: { path: { prefix: / } }"),
        ("when: { path: { regex: ^/a } }", "when: { path: /ab }"),
        (
            "when: { host: \"*.example.com\" }",
            "when: { host: \"a*.example.com\" }",
        ),
        (
            "when: { host: \"*e*\" }",
            "when: { host: \"*.example.com\" }",
        ),
        ("when: { host: \"*\" }", "when: { path: /x }"),
        ("listeners: [web, raw]", "when: { path: /x }"),
    ] {
        check(&[earlier, later], NEVER);
    }
}

#[test]
fn several_rules_cover_another() {
    check(
        &[
            "when: { method: GET }",
            "when: { method: POST, host: a }",
            "when: { method: [POST, GET], host: a, path: /x }",
        ],
        &["8 unreachable_rule"],
    );
    check(
        &["listeners: web", "listeners: raw", "when: { host: a }"],
        &["8 unreachable_rule"],
    );
    check(
        &[
            "when: { path: /v1 }",
            "when: { path: /v1/* }",
            "when: { path: { prefix: /v1 } }",
        ],
        &["8 unreachable_rule"],
    );
    check(
        &[
            "when: { host: a }",
            "when: { host: \"*.b\" }",
            "when: { host: [a, x.b] }",
        ],
        &["8 unreachable_rule"],
    );
}

/// Each later rule has a request of its own.
#[test]
fn what_can_be_reached_is_not_said_to_be_unreachable() {
    for (earlier, later) in [
        // `OPTIONS *` has a path without a slash.
        ("when: { path: { prefix: / } }", "when: { path: \"*\" }"),
        ("when: { path: /* }", "when: { method: OPTIONS }"),
        (
            "when: { path: { prefix: / } }",
            "when: { path: { regex: x } }",
        ),
        ("when: { path: /v1/* }", "when: { path: { prefix: /v1 } }"),
        ("when: { path: /a?b }", "when: { path: /a*b }"),
        ("when: { path: { exact: /a*b } }", "when: { path: /a*b }"),
        ("when: { host: \"*.b\" }", "when: { host: b }"),
        ("when: { host: \"*.b\" }", "when: { host: \"*b\" }"),
        ("when: { method: GET }", "when: { method: [GET, PUT] }"),
        ("listeners: web", "when: { host: a }"),
        ("when: { path: { regex: ^/a } }", "when: { path: /b }"),
        (
            "when: { path: { regex: ^/a } }",
            "when: { path: { regex: ^/ab } }",
        ),
    ] {
        check(&[earlier, later], &[]);
    }
    check(
        &[
            "when: { method: GET, host: a }",
            "when: { method: PUT, host: b }",
            "when: { method: [GET, PUT], host: [a, b] }",
        ],
        &[],
    );
}

#[test]
fn paths_that_only_a_listener_sees_that_leaves_them_as_they_came() {
    for path in [
        "/a//b", "/a/../b", "/%41", "/a%2fb", "/a//*", "/*/./b", "//*", "?/*", "?./a", "?../*",
        "*//?", "/./*", "/%c*", "?%41*",
    ] {
        for (listeners, expect) in [
            ("raw", &[][..]),
            ("web", &["6 path"][..]),
            // Somebody can see it.
            ("[web, raw]", &[][..]),
        ] {
            let rule = format!("listeners: {listeners}, when: {{ path: \"{path}\" }}");
            check(&[&rule], expect);
        }
    }
    for path in [
        "/a%", "/a%zz*", "/a%00", "/a\\\\b", "/ä*", "a*", "/a#*", "*%2",
    ] {
        check(
            &[&format!("listeners: raw, when: {{ path: \"{path}\" }}")],
            &["6 path"],
        );
    }
    check(
        &[
            "when: { path: [\"*.jpg\", \"?a\", \"??\", \"?*/b\", \"/a%2*\", \"/a%*b\", \"*/..a\", \"/%2F*\", \"/%C3%*\"] }",
        ],
        &[],
    );
}

/// An address has many spellings, of which rules see one.
#[test]
fn an_address_is_one_host_however_it_is_spelled() {
    for (one, other) in [
        ("[2001:db8::1]", "[2001:0DB8:0:0:0:0:0:1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"),
    ] {
        check(
            &[
                &format!("when: {{ host: \"{one}\" }}"),
                &format!("when: {{ host: \"{other}\" }}"),
            ],
            &["7 unreachable_rule"],
        );
    }
}

#[test]
fn hosts_that_no_request_has() {
    for host in [
        "*.exämple.com",
        "a*:80",
        "*/x",
        "a b*",
        "*\\\\*",
        &"a.".repeat(129),
    ] {
        check(&[&format!("when: {{ host: \"{host}\" }}")], &["6 host"]);
    }
    check(
        &["when: { host: [\"*a?\", \"[*]\", \"[::?]\", \"[::1]\", \"*\"] }"],
        &[],
    );
}

#[test]
fn a_path_without_a_pattern_is_no_condition() {
    check(&["when: { path: {} }"], &["6 one_pattern"]);
    check(
        &["when: { path: { exact: /a, prefix: /b } }"],
        &["6 one_pattern"],
    );
}

/// A thousand rules and more: looked at within a bound, and soon.
#[test]
fn many_rules_end() {
    let rules: Vec<String> = (0..6000)
        .map(|number| format!("when: {{ host: h{number}.example.com, path: [/a, /b] }}"))
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    check(&rules, &[]);
}

/// Conditions beyond host, path and method: what follows from them is found where it is simple, and nothing else is said.
#[test]
fn what_asks_for_less_covers_what_asks_for_more() {
    for (earlier, later) in [
        ("header: { a: b }", "header: { A: B }, path: /x"),
        (
            "header: { a: \"b*\" }",
            "header: { a: [bc, \"b?d*\", { exact: bX }], c: d }",
        ),
        (
            "header: { a: { present: true } }",
            "header: { a: [b, { regex: c }] }",
        ),
        (
            "header: { a: { present: false } }",
            "header: { a: { present: false } }",
        ),
        (
            "header: { a: { regex: ^b } }",
            "header: { a: { exact: bc } }",
        ),
        ("cookie: { a: \"*\" }", "cookie: { a: { regex: x } }"),
        ("cookie: { a: [b, c] }", "cookie: { a: c }"),
        ("query: { a: \"*\" }", "query: { a: b, c: d }"),
        ("query: [{ a: b }, x]", "query: [{ a: b, c: d }, { y: X }]"),
        ("query: { \"a*\": b }", "query: { ab: B }"),
        ("source: 10.0.0.0/8", "source: [10.0.0.0/9, 10.200.0.1]"),
        ("source: [10.0.0.0/9, 10.128.0.0/9]", "source: 10.0.0.0/8"),
        (
            "source: { client: \"::/0\" }",
            "source: { client: \"2001:db8::1\" }, method: GET",
        ),
        ("not: { path: /a }", "not: { path: /a* }"),
        (
            "not: { method: [GET, PUT] }",
            "not: [{ method: [GET, PUT, POST] }, { host: a }]",
        ),
        (
            "not: { header: { a: b }, host: a.b }",
            "not: { header: { a: \"*\" } }",
        ),
    ] {
        let rows = [earlier, later].map(|row| format!("when: {{ {row} }}"));
        check(&[&rows[0], &rows[1]], NEVER);
        let alone = format!("when: {{ {later}, host: z }}");
        check(&["when: { host: y }", &alone], &[]);
    }
    for (earlier, later) in [
        ("header: { a: b }", "path: /x"),
        ("header: { a: b }", "header: { c: b }"),
        ("header: { a: b }", "cookie: { a: b }"),
        ("header: { a: { exact: b } }", "header: { a: b }"),
        ("header: { a: b }", "header: { a: [b, c] }"),
        ("header: { a: \"*\" }", "header: { a: { present: false } }"),
        ("header: { a: { regex: ^b } }", "header: { a: bc }"),
        ("cookie: { a: b }", "cookie: { A: b }"),
        ("cookie: { a: \"b*\" }", "cookie: { a: \"B*\" }"),
        ("query: { a: b, c: d }", "query: { a: b }"),
        ("query: { a: b }", "query: [{ a: b }, { c: d }]"),
        ("query: { ab: b }", "query: { \"a*\": b }"),
        (
            "query: { \"a*\": { present: false } }",
            "query: { ab: { present: false } }",
        ),
        ("source: 10.0.0.0/9", "source: 10.0.0.0/8"),
        ("source: 10.0.0.0/8", "source: { client: 10.0.0.1 }"),
        ("not: { path: /a* }", "not: { path: /a }"),
        ("not: { path: /a, method: GET }", "not: { path: /b }"),
        (
            "not: { header: { a: b } }",
            "not: { header: { a: b }, host: a.b }",
        ),
    ] {
        let rows = [earlier, later].map(|row| format!("when: {{ {row} }}"));
        check(&[&rows[0], &rows[1]], &[]);
    }
}

#[test]
fn what_asks_for_a_certificate_where_nobody_is_asked_never_holds() {
    let rows = |all: &[&str], expect: &[&str]| {
        let rules: Vec<_> = all
            .iter()
            .map(|when| format!("when: {{ client_certificate: {when} }}"))
            .collect();
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        check(&rules, expect);
    };
    rows(&["any"], &["6 no_client_auth"]);
    rows(&["none"], &[]);
    rows(&["{ subject: { present: false } }"], &[]);
    let (both, covered) = (
        &["6 no_client_auth", "7 no_client_auth"][..],
        &["6 no_client_auth", "7 no_client_auth", "7 unreachable_rule"][..],
    );
    for (earlier, later, expect) in [
        ("any", "{ subject: a }", covered),
        (
            "{ subject: \"CN=*\" }",
            "{ subject: CN=a, san: b }",
            covered,
        ),
        ("{ san: \"DNS:*.B\" }", "{ san: \"DNS:a.b\" }", covered),
        ("{ subject: CN=a }", "{ subject: CN=A }", both),
        ("{ subject: \"*\" }", "{ san: a }", both),
        ("{ subject: a }", "any", both),
    ] {
        rows(&[earlier, later], expect);
    }
}

#[test]
fn what_must_not_hold_and_must() {
    for (when, expect) in [
        ("host: a.b, not: { host: \"*.b\" }", &["6 never_holds"][..]),
        (
            "path: { prefix: /a }, not: [{ path: /a* }]",
            &["6 never_holds"],
        ),
        (
            "method: [GET, PUT], not: [{ method: GET }, { method: PUT }]",
            &["6 never_holds"],
        ),
        (
            "header: { a: b }, not: { header: { a: \"*\" } }",
            &["6 never_holds"],
        ),
        (
            "header: { a: b }, not: { header: { a: b }, host: a.b }",
            &[],
        ),
        ("method: [GET, PUT], not: { method: GET }", &[]),
        ("path: { prefix: /a }, not: { path: /a/* }", &[]),
        ("not: { path: /a }", &[]),
    ] {
        check(&[&format!("when: {{ {when} }}")], expect);
    }
}
