//! What configurations become, and what is said of those that become nothing.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_balance::backend::Admin;
use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, Quantile};
use evenkeel_balance::settings::OnAllDown;
use evenkeel_config::plan::{
    AccessLogPlan, Action, BackendAddress, Bind, CheckPlan, HashKey, LogTarget, PathHandling,
    PathPattern, QueryShown, RowFormat, Workers,
};
use evenkeel_config::{Loaded, Plan, Source, load, quick, render};

fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.into(),
        text: text.into(),
    }
}

fn read(texts: &[&str]) -> (Loaded, Vec<Source>) {
    let sources: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| source(&format!("{number}.yaml"), text))
        .collect();
    let environment = BTreeMap::from([("PORT".to_owned(), "9000".to_owned())]);
    (load(&sources, &environment), sources)
}

#[track_caller]
fn plan(text: &str) -> Plan {
    let (loaded, sources) = read(&[text]);
    loaded
        .plan
        .unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)))
}

/// All problems of one text, as `line:column word`.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let (loaded, sources) = read(&[text]);
    let got: Vec<_> = loaded
        .problems
        .iter()
        .map(|problem| format!("{}:{} {}", problem.at.line, problem.at.column, problem.word))
        .collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
}

/// A configuration of one listener, one service, and this.
fn with(rest: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ api: {{ backends: [10.0.0.1:1] }} }}\n{rest}"
    )
}

#[test]
fn ten_lines_are_enough() {
    let plan = plan(&with(""));
    assert_eq!(plan.workers, Workers::Auto);
    assert_eq!(
        plan.admin.bind,
        Some(Bind::Tcp(([127, 0, 0, 1], 9900).into()))
    );
    assert!(matches!(plan.rules[0].action, Action::Forward(0)));
    let service = &plan.services[0];
    assert_eq!(service.settings.on_all_down, OnAllDown::FailOpen);
    assert!(service.settings.breaker.is_some() && service.settings.health.is_none());
    assert_eq!(service.limits.connect, Duration::from_secs(3));
    assert_eq!(service.upstream.idle, Duration::from_secs(4));
    assert_eq!(plan.listeners[0].limits.keep_alive, Duration::from_secs(75));
    assert!(!plan.listeners[0].half_close);
}

/// A duration alone is how long exchanges get; half of that is the most that who rests gets.
#[test]
fn how_it_ends_is_a_duration_or_three() {
    let check = |drain: &str, whole: [u64; 3], patience: [u64; 2]| {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [127.0.0.1:2] }} }}\n{drain}"
        );
        let drain = plan(&text).drain;
        let of = |one: Duration| u64::try_from(one.as_millis()).unwrap();
        let got = [drain.within, drain.delay, drain.idle].map(of);
        assert_eq!(got, whole, "{drain:?}");
        let got = [drain.patience(), drain.last_patience()].map(of);
        assert_eq!(got, patience, "{drain:?}");
    };
    check("", [30_000, 0, 5_000], [15_000, 5_000]);
    check("drain: 6s\n", [6_000, 0, 5_000], [3_000, 3_000]);
    check(
        "drain: { delay: 10s }\n",
        [30_000, 10_000, 5_000],
        [15_000, 5_000],
    );
    check(
        "drain: { within: 1m, idle: 0s }\n",
        [60_000, 0, 0],
        [30_000, 0],
    );
}

#[test]
fn everything_that_works_today() {
    let plan = plan(include_str!("files/today.yaml"));
    assert_eq!(plan.listeners[0].binds.len(), 3);
    assert_eq!(plan.listeners[0].path, PathHandling::Refuse);
    assert_eq!(plan.listeners[0].limits.head, 16 * 1024);
    assert!(plan.listeners[0].half_close);
    assert_eq!(plan.drain.within, Duration::from_secs(20));
    let names: Vec<_> = plan.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["to-https", "api", "canary", "ping", "rest"]);
    assert_eq!(plan.rules[0].listeners, [0]);
    assert!(
        matches!(&plan.rules[1].when.paths[2], PathPattern::Prefix(prefix) if &**prefix == "/v2")
    );
    assert_eq!(plan.rules[2].when.further.len(), 8);
    let service = &plan.services[0];
    assert_eq!(service.key, Some(HashKey::Header("x-user".into())));
    assert_eq!(
        service.backends[1].spec.id.as_str(),
        "1.10",
        "as it was written"
    );
    assert_eq!(service.backends[1].spec.admin, Admin::Draining);
    let tiers = service.backends.iter().map(|one| one.spec.tier);
    assert_eq!(tiers.collect::<Vec<_>>(), [0, 1, 0, 0]);
    assert!(
        matches!(&service.backends[2].address, BackendAddress::Name(name, _) if &**name == "name.internal")
    );
    let health = service.health.as_ref().unwrap();
    let CheckPlan::Http(http) = &health.check else {
        panic!("HTTP");
    };
    assert_eq!(http.expect, [(200, 299), (304, 304)]);
    assert_eq!(service.settings.health.unwrap().rise, 2);
    assert_eq!(service.settings.breaker.unwrap().least, 30);
    let retry = &service.settings.retry;
    assert_eq!((retry.attempts, retry.retry_after_max.as_secs()), (4, 2));
    assert_eq!(retry.on.statuses, [429, 503]);
    assert_eq!(retry.on.grpc, [14]);
    assert!(retry.on.protocol && retry.on.overloaded);
    assert_eq!(
        (retry.backoff_base, retry.backoff_max),
        (Duration::from_millis(10), Duration::from_millis(100))
    );
    assert_eq!(
        (retry.budget.ratio_permille, retry.budget.floor_per_second),
        (100, 5)
    );
    let hedge = service.settings.hedge.unwrap();
    assert_eq!(hedge.most_permille, 10);
    assert_eq!(
        hedge.at,
        HedgeAt::Quantile(Quantile::new(995).unwrap()),
        "of a thousand"
    );
}

#[test]
fn hedges() {
    let of = |rest: &str| {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [a:1], {rest} }} }}\n"
        );
        plan(&text).services[0].settings.hedge
    };
    assert_eq!((of(""), of("hedge: off")), (None, None));
    let quantile = |permille| HedgeAt::Quantile(Quantile::new(permille).unwrap());
    for (text, at, most_permille) in [
        ("at: p95", quantile(950), 20),
        ("at: p50, most: 0.1%", quantile(500), 1),
        ("at: p99.9, most: 100%", quantile(999), 1000),
        (
            "after: 50ms, most: 2%",
            HedgeAt::After(Duration::from_millis(50)),
            20,
        ),
    ] {
        let expect = HedgeSettings::at(at).most_permille(most_permille);
        assert_eq!(of(&format!("hedge: {{ {text} }}")), Some(expect), "{text}");
    }
}

#[test]
fn retries() {
    let of = |rest: &str| {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [a:1], {rest} }} }}\n"
        );
        let service = plan(&text).services[0].clone();
        (service.settings.retry, service.limits.per_try)
    };
    let (retry, per_try) = of("retry: on");
    assert_eq!(retry, of("").0);
    assert_eq!((retry.attempts, per_try.as_secs()), (3, 10));
    // What the core has for programs, but for a client that is kept waiting.
    let core = evenkeel_balance::retry::RetrySettings::default();
    assert_eq!(retry.retry_after_max, Duration::from_secs(1));
    assert_eq!(retry, core.retry_after_max(retry.retry_after_max));
    assert_eq!(of("retry: off").0.attempts, 1);
    let (named, _) = of("retry: { on: 500 }");
    assert!(!named.on.connect && !named.on.reset && !named.on.timeout && !named.on.overloaded);
    assert_eq!((named.on.statuses, named.on.grpc), (vec![500], vec![]));
    let all = of("retry: { on: [cancelled, internal, unauthenticated] }").0;
    assert_eq!(all.on.grpc, [1, 13, 16]);
    // One deadline at two places.
    assert_eq!(of("retry: { per_try: 1s }").1.as_secs(), 1);
    assert_eq!(of("timeouts: { per_try: 1s }").1.as_secs(), 1);
    assert_eq!(
        of("retry: { per_try: 1s }, timeouts: { per_try: 1000ms, exchange: 5s }")
            .1
            .as_secs(),
        1
    );
}

#[test]
fn an_access_log() {
    let of = |rest: &str| plan(&with(rest)).access_log;
    assert_eq!(of(""), None);
    let plain = AccessLogPlan {
        to: LogTarget::Stdout,
        format: RowFormat::Json,
        query: QueryShown::Redacted,
        truncated: false,
    };
    assert_eq!(of("access_log: {}"), Some(plain.clone()));
    assert_eq!(of("access_log: stdout"), Some(plain.clone()));
    let all =
        "access_log: { to: logs/access.log, format: combined, query: none, client: truncated }";
    let file = LogTarget::File("logs/access.log".into());
    let expect = AccessLogPlan {
        to: file,
        format: RowFormat::Combined,
        query: QueryShown::None,
        truncated: true,
    };
    assert_eq!(of(all), Some(expect));
    let full = of("access_log: { to: /a, format: common, query: full, client: full }").unwrap();
    assert_eq!(full.to, LogTarget::File("/a".into()));
    assert_eq!(
        (full.format, full.query),
        (RowFormat::Common, QueryShown::Full)
    );
    for (wrong, expect) in [
        ("access_log: stdotu", "3:13 value"),
        ("access_log: logs/", "3:13 value"),
        ("access_log: { to: access.log }", "3:19 value"),
        ("access_log: { format: xml }", "3:23 value"),
        ("access_log: { tto: stdout }", "3:15 unknown_key"),
    ] {
        check(&with(wrong), &[expect]);
    }
}

#[test]
fn what_is_not_built_yet_is_said_with_its_place_all_at_once() {
    let (loaded, sources) = read(&[include_str!("files/example.yaml")]);
    assert!(loaded.plan.is_none());
    let shown = render(&loaded.problems, &sources);
    let lines: Vec<&str> = include_str!("files/example.yaml").lines().collect();
    let mut keys = Vec::new();
    // Nobody has read the files that it names.
    let of_files = |problem: &&evenkeel_config::Problem| problem.word == "file";
    assert_eq!(loaded.problems.iter().filter(of_files).count(), 4);
    for problem in loaded.problems.iter().filter(|one| !of_files(one)) {
        assert!(
            matches!(problem.word, "not_yet" | "unused_service"),
            "{shown}"
        );
        let line = lines[problem.at.line - 1];
        keys.push(
            line[problem.at.column - 1..]
                .chars()
                .take(problem.at.length)
                .collect::<String>(),
        );
    }
    keys.sort_unstable();
    keys.dedup();
    let later: [&str; 0] = [];
    assert_eq!(keys, later, "{shown}");
}

#[test]
fn all_problems_in_one_go() {
    check(
        "listeners:\n  web: { bnd: 1, limits: { conections: x } }\nservices:\n  api: { backends: [10.0.0.1], policy: fastest }\nrules:\n  - { forward: apj, priority: 0 }\n",
        &[
            "2:3 missing",
            "2:10 unknown_key",
            "2:28 unknown_key",
            "4:3 unused_service",
            "4:21 address",
            "4:40 policy",
            "6:16 unknown_service",
            "6:31 range",
        ],
    );
}

/// Each of many messages lists no more than a screen takes in, so that all together are no more than the text.
#[test]
fn a_message_lists_some_names_of_many() {
    let services: String = (0..1000)
        .map(|number| format!("s{number}: {{ backends: [10.0.0.1:1] }}, "))
        .collect();
    let (loaded, _) = read(&[&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ {services} }}\nrules: [{{ forward: x }}]\n"
    )]);
    let problem = loaded
        .problems
        .iter()
        .find(|problem| problem.word == "unknown_service")
        .unwrap();
    assert!(
        problem.message.ends_with(", s19 and 980 more") && problem.message.len() < 200,
        "{}",
        problem.message
    );
}

#[test]
fn a_typo_gets_a_caret_and_a_guess() {
    let (loaded, sources) = read(&[&with("servces: {}\n")]);
    let shown = render(&loaded.problems, &sources);
    assert_eq!(
        shown,
        "0.yaml:3:1: error: `servces` is not a key here; did you mean `services`? [unknown_key]\n    3 | servces: {}\n      | ^^^^^^^\n"
    );
}

#[test]
fn texts_that_cannot_be_read() {
    check("listeners: [", &["1:12 syntax"]);
    check("a:\n\tb: 1\n", &["2:2 syntax"]);
    check("- a\n", &["1:1 type", "1:1 no_listeners", "1:1 no_rules"]);
    check("a: 1\n---\nb: 2\n", &["2:1 documents"]);
    check("? [a]\n: b\n", &["1:3 key"]);
    // To the eye all of it is a comment; to YAML a line begins behind the CR.
    check(&with("# ä\rdrain: 1s\n"), &["3:4 syntax"]);
    check("# a\r\n\r\r\n", &["2:1 syntax"]);
    check(&with("drain: 1s\ndrain: 2s\n"), &["4:1 duplicate_key"]);
    let deep = "a: ".to_owned() + &"[".repeat(100) + &"]".repeat(100);
    let (loaded, _) = read(&[&deep]);
    assert_eq!(loaded.problems[0].word, "too_deep");
    let bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n".to_owned()
        + &(b'b'..=b'z').map(|letter| {
            let (this, last) = (char::from(letter), char::from(letter - 1));
            format!("{this}: &{this} [*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last}]\n")
        }).collect::<String>();
    let (loaded, _) = read(&[&bomb]);
    assert_eq!(loaded.problems[0].word, "too_large");
    // Few nodes, but much text: copied once as an anchor, then by each alias.
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1024 * 1024),
        "*a, ".repeat(16)
    );
    let (loaded, _) = read(&[&long]);
    assert_eq!(loaded.problems[0].word, "too_large");
    let inner = (0..60).fold("x, ".repeat(100_000), |inner, number| {
        format!("&a{number} [{inner}]")
    });
    let (loaded, _) = read(&[&format!("a: {inner}\n")]);
    assert_eq!(loaded.problems[0].word, "too_large");
    let (loaded, _) = read(&[&"#".repeat(16 * 1024 * 1024 + 1)]);
    assert_eq!(loaded.problems[0].word, "too_large");
}

#[test]
fn files_merge_and_name_both_places_of_what_stands_twice() {
    let (loaded, _) = read(&[
        "listeners: { web: { bind: 127.0.0.1:1 } }\n",
        "services: { api: { backends: [10.0.0.1:1] } }\n",
    ]);
    assert!(loaded.plan.is_some());
    let (loaded, sources) = read(&[
        "listeners: { web: { bind: 127.0.0.1:1 } }\nworkers: 1\nservices: { api: { backends: [10.0.0.1:1] } }\n",
        "workers: 2\nservices:\n  api: { backends: [10.0.0.2:1] }\n",
    ]);
    let shown = render(&loaded.problems, &sources);
    assert!(
        shown.contains("1.yaml:1:1: error: `workers` is set in two files")
            && shown.contains("0.yaml:2:1"),
        "{shown}"
    );
    assert!(
        shown.contains("1.yaml:3:3: error: `api` stands in `services` twice")
            && shown.contains("0.yaml:3:13"),
        "{shown}"
    );
}

#[test]
fn the_environment() {
    let plan = plan(
        "listeners: { web: { bind: \"127.0.0.1:1\" } }\nservices:\n  api:\n    backends:\n      - 10.0.0.1:${PORT}\n      - 10.0.0.2:${OTHER:-77}\n      - unix:/run/${PORT}.sock\n",
    );
    let ids: Vec<_> = plan.services[0]
        .backends
        .iter()
        .map(|backend| backend.spec.id.to_string())
        .collect();
    assert_eq!(ids, ["10.0.0.1:9000", "10.0.0.2:77", "unix:/run/9000.sock"]);
    check(&with("drain: ${NOT_SET}\n"), &["3:8 environment"]);
    check(&with("drain: ${PORT\n"), &["3:8 environment"]);
}

#[test]
fn listeners() {
    let check = |listeners: &str, expect: &[&str]| {
        check(
            &format!("services: {{ api: {{ backends: [10.0.0.1:1] }} }}\nlisteners:\n{listeners}"),
            expect,
        );
    };
    check(
        "  a: { bind: 0.0.0.0:80 }\n  b: { bind: 10.0.0.1:80 }\n",
        &["4:14 overlap"],
    );
    check(
        "  a: { bind: [127.0.0.1:80, 127.0.0.1:80] }\n",
        &["3:29 overlap"],
    );
    check("  a: { bind: [unix:/a, unix:/a] }\n", &["3:24 overlap"]);
    check("  a: { bind: [\"0.0.0.0:80\", \"[::]:80\"] }\n", &[]);
    check("  a: { bind: [127.0.0.1:0, 127.0.0.1:0] }\n", &[]);
    check("  a: { bind: 127.0.0.1 }\n", &["3:14 address"]);
    check("  a: { bind: 127.0.0.1:99999 }\n", &["3:14 address"]);
    check(
        "  a: { bind: 127.0.0.1:80, protocol: udp }\n",
        &["3:38 value"],
    );
    check("  a: { bind: 127.0.0.1:80, path: odd }\n", &["3:34 value"]);
    check(
        "  a: { bind: 127.0.0.1:80, timeouts: { head: 10 } }\n",
        &["3:46 duration"],
    );
    check(
        "  a: { bind: 127.0.0.1:80, timeouts: { head: 0s } }\n",
        &["3:46 range"],
    );
    check(
        "  a: { bind: 127.0.0.1:80, limits: { head: 1MiB } }\n",
        &["3:44 range"],
    );
    check("  \"a b\": { bind: 127.0.0.1:80 }\n", &["3:3 name"]);
    check("  a: { bind: 10.0.0.1:1 }\n", &["1:31 loop"]);
    let eleven: String = (0..11)
        .map(|number| format!("  l{number}: {{ bind: 127.0.0.1:{} }}\n", 8000 + number))
        .collect();
    check(&eleven, &["13:3 too_many_listeners"]);
    check(&(eleven + "max_listeners: 11\n"), &[]);
    super_check(
        "services: { api: { backends: [10.0.0.1:1] } }\n",
        &["1:1 no_listeners"],
    );
    super_check(
        &with("admin: { bind: 0.0.0.0:9900 }\n"),
        &["3:16 admin_open"],
    );
}

#[track_caller]
fn super_check(text: &str, expect: &[&str]) {
    check(text, expect);
}

/// So many are tried one by one with a request of their host; not those with a text, or twice the same.
#[test]
fn patterns_that_are_tried_one_by_one() {
    let rule = |at: usize, host: &str, path: &str| {
        format!("  - {{ name: r{at}, when: {{ host: {host}, path: {path} }}, forward: api }}\n")
    };
    let many = |rules: &dyn Fn(usize) -> String, expect: &[&str]| {
        let rules: String = (0..257).map(rules).collect();
        super_check(&with(&format!("rules:\n{rules}")), expect);
    };
    let last = ["260:5 too_many_patterns"];
    many(&|at| rule(at, "a", &format!("\"*/x{at}/*\"")), &last);
    many(&|at| rule(at, "a", &format!("{{ regex: /x{at}/ }}")), &last);
    many(&|at| rule(at, "a", &format!("{{ regex: ^/x{at}/. }}")), &[]);
    many(&|at| rule(at, "a", &format!("\"*/x{at}\"")), &[]);
    many(
        &|at| rule(at, &format!("h{at}"), &format!("\"*/x{at}/*\"")),
        &[],
    );
    many(&|at| rule(at, &format!("h{at}"), "\"*/x/*\""), &[]);
}

#[test]
fn rules() {
    let check = |rules: &str, expect: &[&str]| check(&with(&format!("rules:\n{rules}")), expect);
    check(
        "  - { forward: api }\n  - { when: { host: a }, forward: api }\n",
        &["5:5 unreachable_rule"],
    );
    check(
        "  - { priority: 1, forward: api }\n  - { when: { host: a }, forward: api }\n",
        &["5:5 unreachable_rule"],
    );
    check(
        "  - { priority: 1, when: { path: { prefix: /a } }, forward: api }\n  - { when: { path: /a/b }, forward: api }\n",
        &["5:5 unreachable_rule"],
    );
    check(
        "  - { priority: 1, when: { path: { prefix: /a } }, forward: api }\n  - { when: { path: /ab }, forward: api }\n",
        &[],
    );
    check(
        "  - { priority: 1, when: { host: \"*.b\", method: GET }, forward: api }\n  - { when: { host: a.b, method: [GET, PUT] }, forward: api }\n",
        &[],
    );
    check(
        "  - { name: a, forward: api }\n  - { name: a, when: { host: x }, forward: api }\n",
        &["5:5 duplicate_name", "5:5 unreachable_rule"],
    );
    check(
        "  - { forward: api, listeners: [wep] }\n",
        &["4:33 unknown_listener"],
    );
    check(
        "  - { when: { host: a } }\n",
        &["2:13 unused_service", "4:5 missing"],
    );
    check(
        "  - { forward: api, respond: { status: 200 } }\n",
        &["4:21 two_actions"],
    );
    for (host, word) in [
        ("http://a", "host"),
        ("a:80", "host"),
        ("a/b", "host"),
        ("ü", "host"),
        ("a..b", "host"),
        (".a", "host"),
        (&"a".repeat(256), "host"),
        ("\"*a*b*c*d*e*f*\"", "host"),
    ] {
        check(
            &format!("  - {{ when: {{ host: {host} }}, forward: api }}\n"),
            &[&format!("4:21 {word}")],
        );
    }
    for path in [
        "v1",
        "/a/../b",
        "/a//b",
        "/ü",
        "/a\\b",
        "{ regex: \"(\" }",
        "{ regex: \"(a{1000}){1000}\" }",
    ] {
        let (loaded, _) = read(&[&with(&format!(
            "rules:\n  - {{ when: {{ path: {path} }}, forward: api }}\n"
        ))]);
        assert!(loaded.plan.is_none(), "{path}");
    }
    check(
        "  - { when: { method: get }, forward: api }\n",
        &["4:23 method"],
    );
    check(
        "  - { when: { host: [] }, forward: api }\n",
        &["4:21 empty"],
    );
    check(
        "  - { forward: api, when: { path: /b } }\n  - { redirect: { status: 301 } }\n",
        &["5:17 redirect_loop"],
    );
    check(
        "  - { forward: api, when: { path: /b } }\n  - { redirect: { status: 304, host: a } }\n",
        &["5:27 range"],
    );
    check(
        "  - { forward: { api: 90, other: 10 } }\n",
        &["4:27 unknown_service"],
    );
}

/// A rule that could not be read holds for everything only seemingly: it is not what hides another one.
#[test]
fn a_rule_whose_conditions_are_wrong_hides_none() {
    check(
        &with(
            "rules:\n- { when: { path: a }, forward: api }\n- { when: { path: /b }, forward: api }\n- { when: 1, forward: api }\n- { forward: api }\n",
        ),
        &["4:19 path", "6:11 type"],
    );
}

#[test]
fn services() {
    let check = |service: &str, expect: &[&str]| {
        check(
            &format!(
                "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices:\n  api: {{ {service} }}\n"
            ),
            expect,
        );
    };
    check(
        "backends: [10.0.0.1:1, 10.0.0.1:1]",
        &["3:33 duplicate_backend"],
    );
    check("backends: [10.0.0.1:0]", &["3:21 address"]);
    check("backends: [http://a:1]", &["3:21 address"]);
    check("backends: [10.0.0.999:1]", &["3:21 address"]);
    check(
        "backends: [{ address: 10.0.0.1:1, weight: 10001 }]",
        &["3:52 range"],
    );
    check("backends: [{ address: 10.0.0.1:1, tier: 65535 }]", &[]);
    check(
        "backends: [{ address: 10.0.0.1:1, tier: 65536 }]",
        &["3:50 range"],
    );
    check(
        "backends: [{ address: 10.0.0.1:1, tier: -1 }]",
        &["3:50 number"],
    );
    check(
        "backends: [{ address: 10.0.0.1:1, weight: 0 }]",
        &["3:3 weights"],
    );
    check("backends: [{ id: a }]", &["3:21 missing"]);
    check(
        "backends: [a:1], policy: { hash: { method: jump } }",
        &["3:53 value"],
    );
    check(
        "backends: [a:1], health: { http: {}, tcp: {} }",
        &["3:35 check"],
    );
    check(
        "backends: [a:1], health: { grpc: {}, tcp: {} }",
        &["3:35 check"],
    );
    check("backends: [a:1], health: {}", &["3:35 check"]);
    check(
        "backends: [a:1], health: { grpc: { tls: on } }",
        &["3:50 value"],
    );
    check(
        "backends: [a:1], health: { grpc: { host: \"a b\" } }",
        &["3:51 host"],
    );
    check(
        "backends: [a:1], health: { http: { protocol: http3 } }",
        &["3:55 value"],
    );
    check(
        "backends: [a:1], health: { tcp: {}, interval: 1ms }",
        &["3:56 range"],
    );
    check(
        "backends: [a:1], health: { tcp: {}, interval: 1s, timeout: 2s }",
        &["3:35 deadlines"],
    );
    check(
        "backends: [a:1], health: { http: { expect: 99-700 } }",
        &["3:53 status"],
    );
    check(
        "backends: [a:1], health: { http: { path: health } }",
        &["3:51 path"],
    );
    check(
        "backends: [a:1], breaker: { open: 10m, open_max: 1m }",
        &["3:36 range"],
    );
    check("backends: [a:1], breaker: { open: 10m }", &[]);
    check(
        "backends: [a:1], breaker: { open_max: 1ms }",
        &["3:36 range"],
    );
    check("backends: [a:1], breaker: off", &[]);
    check(
        "backends: [a:1], timeouts: { per_try: 2m, exchange: 1m }",
        &["3:37 deadlines"],
    );
    check("backends: [a:1], hedge: { at: p95, most: 0.1% }", &[]);
    check("backends: [a:1], hedge: off", &[]);
    check("backends: [a:1], hedge: on", &["3:34 value"]);
    check("backends: [a:1], hedge: {}", &["3:34 hedge"]);
    check(
        "backends: [a:1], hedge: { at: p95, after: 1ms }",
        &["3:34 hedge"],
    );
    for (at, column) in [
        ("p49.9", 40),
        ("p99.95", 40),
        ("p100", 40),
        ("p5", 40),
        ("p95.", 40),
        ("p", 40),
        ("95", 40),
        ("p+9", 40),
        ("95%", 40),
    ] {
        check(
            &format!("backends: [a:1], hedge: {{ at: {at} }}"),
            &[&format!("3:{column} quantile")],
        );
    }
    check("backends: [a:1], hedge: { after: 0s }", &["3:43 range"]);
    check(
        "backends: [a:1], hedge: { after: 1ms, most: 0% }",
        &["3:54 range"],
    );
    check(
        "backends: [a:1], hedge: { after: 1ms, most: 0.2 }",
        &["3:54 percentage"],
    );
    check(
        "backends: [a:1], retry: off, hedge: { at: p95 }",
        &["3:46 hedge"],
    );
    check(
        "backends: [a:1], retry: { atempts: 3, on: [conect, 200, 5xx, unavailble, zzzzzzzz] }",
        &[
            "3:36 unknown_key",
            "3:53 retry_on",
            "3:61 retry_on",
            "3:66 retry_on",
            "3:71 retry_on",
            "3:83 retry_on",
        ],
    );
    check(
        "backends: [a:1], retry: { attempts: 0, backoff: { base: 2s, max: 1s } }",
        &["3:46 range", "3:58 range"],
    );
    check(
        "backends: [a:1], retry: { budget: { ratio: 0.2, floor: 3 } }",
        &["3:53 percentage", "3:65 rate"],
    );
    check(
        "backends: [a:1], retry: { per_try: 2s }, timeouts: { per_try: 3s }",
        &["3:45 per_try"],
    );
    check("backends: [a:1], retry: never", &["3:34 value"]);
    check(
        "backends: [a:1], breaker: { cap: 150% }",
        &["3:43 percentage"],
    );
}

#[test]
fn waits_of_a_rule() {
    let plan = plan(&with(
        "rules: [{ forward: api, when: { path: /a } }, { forward: api, timeouts: { exchange: 1m, idle_body: 1h } }]\n",
    ));
    let waits = |at: usize| (plan.rules[at].exchange, plan.rules[at].idle_body);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(
        [waits(0), waits(1)],
        [(None, None), (seconds(60), seconds(3600))]
    );
}

#[test]
fn tunnels_have_a_deadline_of_their_own() {
    let deadlines = |text: &str| {
        let plan = plan(text);
        let seconds = |one: Duration| one.as_secs();
        (
            seconds(plan.listeners[0].limits.tunnel),
            seconds(plan.services[0].limits.tunnel),
            plan.rules[0].beside.tunnel.map(seconds),
        )
    };
    assert_eq!(deadlines(&with("")), (3600, 3600, None));
    let text = "listeners: { web: { bind: 127.0.0.1:1, timeouts: { tunnel: 2h } } }\nservices: { api: { backends: [a:1], timeouts: { tunnel: 5m } } }\nrules: [{ forward: api, timeouts: { tunnel: 1d } }]\n";
    assert_eq!(deadlines(text), (7200, 300, Some(86_400)));
    check(
        &with("rules: [{ forward: api, timeouts: { tunnel: 0s } }]\n"),
        &["3:45 range"],
    );
}

#[test]
fn users() {
    let plan = plan(&with("user: web\ngroup: 1000\n"));
    assert_eq!(
        (plan.user.as_deref(), plan.group.as_deref()),
        (Some("web"), Some("1000"))
    );
    check(&with("group: web\n"), &["3:8 group"]);
    check(&with("user: a:b\n"), &["3:7 name"]);
    check(&with("user: \"\"\n"), &["3:7 name"]);
}

#[test]
fn a_command_line_is_a_configuration() {
    let text = quick::source(
        &[":8080".into()],
        &["127.0.0.1:9001".into(), "127.0.0.1:9002".into()],
        Some("off"),
    );
    let plan = load(&[text], &BTreeMap::new()).plan.unwrap();
    assert_eq!(plan.admin.bind, None);
    assert_eq!(plan.listeners[0].binds.len(), 2);
    assert_eq!(plan.services[0].backends.len(), 2);
    let text = quick::source(&["x".into()], &["\"y".into()], None);
    assert_eq!(load(&[text], &BTreeMap::new()).problems.len(), 2);
    // YAML has no such character as it is.
    let text = quick::source(&["\u{ffff}".into()], &["ä\u{feff}".into()], None);
    let problems = load(&[text], &BTreeMap::new()).problems;
    let words: Vec<_> = problems.iter().map(|problem| problem.word).collect();
    assert_eq!(words, ["address", "address"]);
}

#[test]
fn lists_that_are_empty_and_keys_that_are_two() {
    check(
        "listeners: { web: { bind: [] } }\nservices: { api: { backends: [] } }\n",
        &["1:27 empty", "2:30 empty"],
    );
    for key in [
        "{ header: \"\" }",
        "{ header: a, cookie: b }",
        "{ header: \"a b\" }",
        "{}",
    ] {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [a:1], policy: {{ hash: {{ key: {key} }} }} }} }}\n"
        );
        assert!(read(&[&text]).0.plan.is_none(), "{key}");
    }
}

#[test]
fn patterns_that_can_never_hold() {
    for path in [
        "/%41",
        "/a%2fb",
        "/a%00",
        "/a%2",
        "/a%zz",
        "{ exact: \"/a?b\" }",
        "{ prefix: /a%7e }",
    ] {
        let (loaded, _) = read(&[&with(&format!(
            "rules:\n  - {{ when: {{ path: {path} }}, forward: api }}\n"
        ))]);
        assert!(loaded.plan.is_none(), "{path}");
    }
    plan(&with(
        "rules:\n  - { when: { path: [/a%2Fb, /%C3%A4] }, forward: api }\n",
    ));
}

/// What the environment holds may be a secret, of any length: no message shows it, whichever case of problem it is part of, and
/// what else a message says is not touched.
#[test]
fn values_of_the_environment_are_never_shown() {
    let rows = [
        "rules:\n  - forward: ${PASSWORD}\n",
        "rules:\n  - { name: b, forward: api }\n  - name: x-${PASSWORD}-y\n    forward: api\n  - name: x-${PASSWORD}-y\n    forward: api\n",
        "rules:\n  - name: b\n    forward: api\n    listeners:\n      - ${PASSWORD}\n",
        "rules:\n  - name: x${PASSWORD}\n",
        "drain: ${PASSWORD}\n",
        "workers: ${PASSWORD}\n",
        "user: '-'\ngroup: ${PASSWORD}/\n",
        "trusted_proxies:\n  - ${PASSWORD}\n",
        "admin:\n  bind: ${PASSWORD}\n",
        "rules:\n  - forward: api\n    when:\n      method: a${PASSWORD}\n      host: http://${PASSWORD}\n      path: /\u{e4}${PASSWORD}\n",
        "rules:\n  - name: x${PASSWORD}\n    forward: api\n  - { name: c, forward: api }\n",
        "error_pages:\n  503:\n    file: ${PASSWORD}\n",
    ];
    for secret in ["Hunter2", "q", "qZ"] {
        let environment = BTreeMap::from([("PASSWORD".to_owned(), secret.to_owned())]);
        for row in rows {
            let sources = [source("f.yaml", &with(row))];
            let loaded = load(&sources, &environment);
            assert!(!loaded.problems.is_empty(), "{row}");
            let shown = render(&loaded.problems, &sources);
            let told: Vec<_> = loaded.problems.iter().map(|one| &*one.message).collect();
            assert!(
                told.iter().any(|one| one.contains("${PASSWORD}")),
                "{shown}"
            );
            // The longer one is found wherever it stands; the short ones must leave the same messages.
            assert!(!shown.to_lowercase().contains("hunter2"), "{shown}");
            let other = BTreeMap::from([("PASSWORD".to_owned(), "Hunter2".to_owned())]);
            let other = load(&sources, &other).problems;
            let other: Vec<_> = other.iter().map(|one| &*one.message).collect();
            assert_eq!(told, other);
        }
    }
}

/// A file may come from anybody: what is said of it never steers the terminal that shows it.
#[test]
fn what_is_shown_is_plain() {
    let rows = [
        "drain: \"\\e[2J\"\n",
        "dr\u{202e}in: 1s # \u{9b}2J\n",
        "\"dr\\x07in\": 1s\n",
        "rules:\n  - { name: \"a\\e]0;b\\a\", forward: \"\\x9b1m\" }\n",
        "drain: 1s\ndrain: \"\\x1b\"\n",
    ];
    for row in rows {
        let sources = [source("a\u{1b}.yaml", &with(row))];
        let loaded = load(&sources, &BTreeMap::new());
        assert!(!loaded.problems.is_empty(), "{row}");
        let shown = render(&loaded.problems, &sources);
        let steers = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!shown.contains(steers), "{shown:?}");
        assert!(shown.starts_with("a\\u{1b}.yaml:"), "{shown}");
    }
}

#[test]
fn a_caret_stands_under_what_is_meant_whatever_stands_before_it() {
    for (line, expect) in [
        ("drain: x", "    3 | drain: x\n      |        ^\n"),
        ("drain:\tx", "    3 | drain: x\n      |        ^\n"),
        (
            "{ \"\u{e4}\u{202e}\": 1, drain: x }",
            "    3 | { \"\u{e4}\\u{202e}\": 1, drain: x }\n      |                          ^\n",
        ),
        (
            "drain: \"\u{202e}\u{200f}\"",
            "    3 | drain: \"\\u{202e}\\u{200f}\"\n      |        ^^^^^^^^^^^^^^^^^^\n",
        ),
        ("a\u{7f}b", "    3 | a\\u{7f}b\n      | ^\n"),
    ] {
        let sources = [source("f.yaml", &format!("#\n#\n{line}\n"))];
        let loaded = load(&sources, &BTreeMap::new());
        let shown = render(&loaded.problems, &sources);
        assert!(shown.contains(expect), "{shown}");
    }
}

/// F24: nothing that is written into an answer's head can hold a line end.
#[test]
fn f24_no_configured_text_splits_an_answer() {
    for action in [
        "redirect: { path: \"/a\\r\\nX: 1\" }",
        "redirect: { host: b, query: \"a\\r\\nX: 1\" }",
        "redirect: { host: b, query: \"a\\nX: 1\" }",
        "redirect: { host: \"a\\r\\nX: 1\" }",
        "redirect: { host: \"#{host}.b\\r\\nX: 1\" }",
        "redirect: { path: \"/#{path}\\r\\nX: 1/a\" }",
        "forward: api, rewrite: { host: \"a\\r\\nX: 1\" }",
        "forward: api, rewrite: { prefix: { from: /a, to: \"/a\\r\\nX: 1\" } }",
        "forward: api, rewrite: { regex: { match: a, to: \"/a\\r\\nX: 1\" } }",
        "forward: api, rewrite: { regex: { match: a, to: \"/a?\\r\\nX: 1\" } }",
        "forward: api, rewrite: { request_headers: { set: { a: \"b\\r\\nX: 1\" } } }",
        "forward: api, rewrite: { request_headers: { set: { \"a\\r\\nX: 1\": b } } }",
        "forward: api, rewrite: { response_headers: { add: { a: \"b\\nX: 1\" } } }",
        "forward: api, rewrite: { response_headers: { remove: \"b\\r\\nX: 1\" } }",
        "forward: { to: { api: 1 }, affinity: { cookie: { name: \"b\\r\\nX: 1\" } } }",
        "respond: { content_type: \"a\\r\\nX: 1\", body: a }",
    ] {
        let sound = action.replace("\\r\\nX: 1", "").replace("\\nX: 1", "");
        for (action, fine) in [(&*sound, true), (action, false)] {
            let (loaded, _) = read(&[&with(&format!(
                "rules:\n  - {{ name: one, priority: 1, when: {{ path: /one }}, {action} }}\n  - {{ priority: 2, forward: api }}\n"
            ))]);
            assert_eq!(
                loaded.plan.is_some(),
                fine,
                "{action}: {:?}",
                loaded.problems
            );
        }
    }
}
