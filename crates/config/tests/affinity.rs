//! `affinity:` of a service, and its keys.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_balance::affinity::ClientsSettings;
use evenkeel_config::plan::{AffinityBy, AffinityPlan, CookiePlan, Plan};
use evenkeel_config::{Files, Loaded, Source, files, load_with};

fn read(more: &str, service: &str, content: &[u8]) -> (Loaded, Vec<Source>) {
    let text = format!(
        "listeners:\n  web: {{ bind: 127.0.0.1:1 }}\n{more}\nservices:\n  api: {{ backends: [a:1], {service} }}\n"
    );
    let source = Source {
        name: "etc/keel.yaml".into(),
        text,
    };
    let (sources, environment) = (vec![source], BTreeMap::new());
    let named = files(&sources, &environment).into_iter();
    let all: Files = named.map(|path| (path, Ok(content.to_vec()))).collect();
    (load_with(&sources, &environment, all), sources)
}

fn plan(more: &str, service: &str) -> Plan {
    let keys: Vec<u8> = (0..64).collect();
    let (loaded, _) = read(more, service, &keys);
    loaded
        .plan
        .unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

fn of(affinity: &str) -> (AffinityPlan, Duration) {
    let plan = plan("", &format!("drain: 70s, affinity: {affinity}"));
    let service = &plan.services[0];
    let settings = service.settings.affinity.unwrap();
    (service.affinity.clone().unwrap(), settings.draining)
}

#[test]
fn a_cookie() {
    let check = |cookie: &str, name: &str, ttl: u64, attributes: &str, secure: bool| {
        let (plan, draining) = of(&format!("{{ cookie: {cookie} }}"));
        let AffinityBy::Cookie(cookie) = plan.by else {
            panic!("no cookie")
        };
        assert_eq!((&*cookie.name, &*cookie.attributes), (name, attributes));
        assert_eq!(cookie.ttl, Duration::from_secs(ttl));
        assert_eq!(cookie.secure, secure);
        assert_eq!(draining, Duration::from_secs(70));
    };
    let own = "keel-59dce8e0";
    check("{}", own, 86_400, "; Path=/; HttpOnly; SameSite=Lax", false);
    check(
        "{ name: keel, ttl: 1h }",
        "keel",
        3600,
        "; Path=/; HttpOnly; SameSite=Lax",
        false,
    );
    check(
        "{ ttl: 0s, path: /shop, domain: example.com, same_site: none, http_only: false }",
        own,
        0,
        "; Path=/shop; Domain=example.com; SameSite=None",
        true,
    );
    // Names of which browsers want it.
    for name in ["__Host-keel", "__host-keel", "__Secure-keel"] {
        let plain = "; Path=/; HttpOnly; SameSite=Lax";
        check(&format!("{{ name: {name} }}"), name, 86_400, plain, true);
    }
    check(
        "{ same_site: strict }",
        own,
        86_400,
        "; Path=/; HttpOnly; SameSite=Strict",
        false,
    );
}

#[test]
fn a_table() {
    let default = ClientsSettings::default();
    let small = ClientsSettings::default()
        .most(1000)
        .ttl(Duration::from_secs(60));
    let check = |affinity: &str, by: AffinityBy, clients: ClientsSettings| {
        assert_eq!(of(affinity).0, AffinityPlan { by, clients });
    };
    // Beside it the service's own.
    let app = || AffinityBy::AppCookie {
        name: "JSESSIONID".into(),
        beside: CookiePlan {
            name: "keel-59dce8e0".into(),
            ttl: Duration::ZERO,
            attributes: "; Path=/; HttpOnly; SameSite=Lax".into(),
            secure: false,
        },
    };
    check("{ app_cookie: JSESSIONID }", app(), default);
    check("{ app_cookie: { name: JSESSIONID } }", app(), default);
    check(
        "{ app_cookie: { name: JSESSIONID, ttl: 1m, clients: 1000 } }",
        app(),
        small,
    );
    let source = |ipv6_prefix| AffinityBy::Source { ipv6_prefix };
    check("{ source: true }", source(64), default);
    check("{ source: {} }", source(64), default);
    check("{ source: { ttl: 1m, clients: 1000 } }", source(64), small);
    check("{ source: { ipv6_prefix: 128 } }", source(128), default);
    check("{ source: { ipv6_prefix: 32 } }", source(32), default);
}

#[test]
fn clients_of_a_backend_that_drains() {
    let draining = |word: &str| of(&format!("{{ source: true, draining: {word} }}")).1;
    assert_eq!(draining("keep"), Duration::from_secs(70));
    assert_eq!(draining("move"), Duration::ZERO);
}

#[test]
fn off() {
    for off in ["affinity: off", ""] {
        let plan = plan("", off);
        assert_eq!(plan.services[0].affinity, None);
        assert_eq!(plan.services[0].settings.affinity, None);
    }
}

#[test]
fn keys() {
    let with = plan("affinity_keys: keys/cookies", "");
    let file = with.affinity_keys.clone().unwrap();
    assert_eq!(file.path.to_str(), Some("etc/keys/cookies"));
    assert_eq!(file.bytes.len(), 64);
    assert_eq!((with.keys().len(), with.materials().len()), (1, 1));
    assert!(plan("", "").affinity_keys.is_none());
}

/// Each problem is told by its word, where this text begins.
#[track_caller]
fn wrong(more: &str, service: &str, expect: &[(&str, &str)]) {
    let (loaded, sources) = read(more, service, &[7; 40]);
    let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
    let expected: Vec<_> = expect.iter().map(|(_, word)| *word).collect();
    assert_eq!(words, expected, "{:?}", loaded.problems);
    for (problem, (place, _)) in loaded.problems.iter().zip(expect) {
        let line = sources[0].text.lines().nth(problem.at.line - 1).unwrap();
        let told = &line[problem.at.column - 1..];
        assert!(told.starts_with(place), "{told} for {place}");
    }
}

#[test]
fn what_is_wrong_is_said_at_its_place() {
    let service = |affinity: &str, place: &str, word: &str| {
        wrong("", &format!("affinity: {affinity}"), &[(place, word)]);
    };
    service("on", "on", "value");
    service("{}", "{}", "affinity");
    service("{ draining: keep }", "{ draining", "affinity");
    service("{ cookie: {}, source: true }", "{ cookie", "affinity");
    service("{ source: false }", "false", "affinity");
    service("{ source: maybe }", "maybe", "type");
    service("{ cookie: { name: 'a b' } }", "'a b'", "name");
    service("{ cookie: { name: '' } }", "''", "name");
    service("{ cookie: { ttl: 9s } }", "9s", "range");
    service("{ cookie: { ttl: 1500ms } }", "1500ms", "range");
    service("{ cookie: { ttl: 8d } }", "8d", "range");
    service("{ cookie: { path: shop } }", "shop", "path");
    service("{ cookie: { path: '/;b' } }", "'/;b'", "path");
    service("{ cookie: { domain: 'a;b' } }", "'a;b'", "domain");
    service("{ cookie: { same_site: no } }", "no", "value");
    service("{ cookie: { secure: true } }", "secure", "unknown_key");
    service("{ app_cookie: 'a=b' }", "'a=b'", "name");
    service("{ app_cookie: { ttl: 1h } }", "{ ttl", "missing");
    service("{ app_cookie: { name: a, clients: 9 } }", "9", "range");
    service("{ source: { ttl: 0s } }", "0s", "range");
    service("{ source: { ipv6_prefix: 31 } }", "31", "range");
    service("{ source: { ipv6_prefix: 129 } }", "129", "range");
    let long = format!("/{}", "a".repeat(1024));
    service(&format!("{{ cookie: {{ path: {long} }} }}"), &long, "path");
    let long = "a".repeat(65);
    service(&format!("{{ cookie: {{ name: {long} }} }}"), &long, "name");
    service(&format!("{{ app_cookie: {long} }}"), &long, "name");
    service("{ cookie: { name: 'a;b' } }", "'a;b'", "name");
    service(
        "{ cookie: { path: /a, name: __Host-a } }",
        "__Host-a",
        "name",
    );
    service(
        "{ cookie: { name: __HOST-a, domain: a.b } }",
        "__HOST-a",
        "name",
    );
    service("{ source: true, draining: stay }", "stay", "value");
    wrong("affinity_keys: short", "", &[("short", "affinity_keys")]);
    // Cookies are HTTP's.
    let tcp = "  db: { bind: 127.0.0.1:2, protocol: tcp, forward: api }\n  both: { bind: 127.0.0.1:3, protocol: tcp, forward: { api: 1 } }";
    let both = [("api }", "affinity"), ("api: 1", "affinity")];
    wrong(tcp, "affinity: { cookie: {} }", &both);
    wrong(tcp, "affinity: { app_cookie: a }", &both);
    wrong(tcp, "affinity: { source: true }", &[]);
}

/// Services with these affinities and rules over them: what is said, as `line:column word`, errors and warnings.
fn said(services: &[(&str, &str)], rules: &[&str]) -> Vec<String> {
    let mut text = String::from("listeners: { web: { bind: 127.0.0.1:1 } }\nservices:\n");
    for (name, affinity) in services {
        text += &format!("  {name}: {{ backends: [{name}:1], affinity: {affinity} }}\n");
    }
    text += "rules:\n";
    for (number, rule) in rules.iter().enumerate() {
        text += &format!("  - {{ priority: {}, {rule} }}\n", number + 1);
    }
    let sources = [Source {
        name: "keel.yaml".into(),
        text,
    }];
    let loaded = load_with(&sources, &BTreeMap::new(), Files::new());
    let shown = |one: &evenkeel_config::problem::Problem| {
        let severity = match loaded.plan {
            Some(_) => "warning",
            None => "error",
        };
        format!("{}:{} {} {severity}", one.at.line, one.at.column, one.word)
    };
    loaded.problems.iter().map(shown).collect()
}

/// Cookies that a browser has one of, where several are meant.
#[test]
fn names_that_are_in_each_others_way() {
    let check = |services: &[(&str, &str)], rules: &[&str], expect: &[&str]| {
        assert_eq!(said(services, rules), expect, "{services:?} {rules:?}");
    };
    let (own, same) = ("{ cookie: {} }", "{ cookie: { name: keel } }");
    let by_path = ["when: { path: /a* }, forward: a", "forward: b"];
    let by_host = [
        "when: { host: a.example }, forward: a",
        "when: { host: b.example }, forward: b",
    ];
    let warned = ["4:53 cookie warning"];
    check(&[("a", own), ("b", own)], &by_path, &[]);
    check(&[("a", same), ("b", same)], &by_path, &warned);
    check(&[("a", same), ("b", same)], &by_host, &[]);
    let nested = [
        "when: { host: '*.example' }, forward: a",
        "when: { host: b.example }, forward: b",
    ];
    check(
        &[("a", same), ("b", same)],
        &nested[..1],
        &["4:3 unused_service warning"],
    );
    let nested = [nested[1], "when: { host: '*.example' }, forward: a"];
    check(&[("a", same), ("b", same)], &nested, &warned);
    // One host, but each for its own paths; or one domain for several hosts.
    let path = |path: &str| format!("{{ cookie: {{ name: keel, path: {path} }} }}");
    check(&[("a", &path("/a")), ("b", &path("/b"))], &by_path, &[]);
    check(
        &[("a", &path("/a")), ("b", &path("/"))],
        &by_path,
        &["4:53 cookie warning"],
    );
    let wide = "{ cookie: { name: keel, domain: example } }";
    check(&[("a", wide), ("b", wide)], &by_host, &warned);
    // A split keeps a client on one side, if it keeps it.
    let split = |affinity: &str| format!("forward: {{ to: {{ a: 1, b: 1 }}{affinity} }}");
    let kept = split(", affinity: { cookie: {} }");
    check(&[("a", same), ("b", same)], &[&kept], &[]);
    check(&[("a", same), ("b", same)], &[&split("")], &warned);
    check(&[("a", own), ("b", own)], &[&split("")], &[]);
    let fallback = ["forward: a, fallback: { forward: b }"];
    check(&[("a", same), ("b", same)], &fallback, &warned);
    // Both with one answer.
    let side = split(", affinity: { cookie: { name: keel } }");
    check(&[("a", same), ("b", own)], &[&side], &["6:5 cookie error"]);
    let two = [&*format!("when: {{ path: /a* }}, {kept}"), &*kept];
    check(&[("a", own), ("b", own)], &two, &["7:5 cookie warning"]);
    // An application's, which no backend would see.
    let app = "{ app_cookie: keel }";
    check(&[("a", app), ("b", same)], &by_host, &["3:49 cookie error"]);
    check(&[("a", app), ("b", app)], &by_path, &[]);
    check(
        &[("a", "{ app_cookie: keel-split }"), ("b", own)],
        &[&kept],
        &["3:49 cookie error"],
    );
}
