//! `affinity:` of a service, and its keys.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_balance::affinity::ClientsSettings;
use evenkeel_config::plan::{AffinityBy, AffinityPlan, Plan};
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
    let check = |cookie: &str, name: &str, ttl: u64, attributes: &str, everywhere: bool| {
        let (plan, draining) = of(&format!("{{ cookie: {cookie} }}"));
        let AffinityBy::Cookie(cookie) = plan.by else {
            panic!("no cookie")
        };
        assert_eq!((&*cookie.name, &*cookie.attributes), (name, attributes));
        assert_eq!(cookie.ttl, Duration::from_secs(ttl));
        assert_eq!(cookie.everywhere, everywhere);
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
    let small = ClientsSettings {
        most: 1000,
        ttl: Duration::from_secs(60),
    };
    let check = |affinity: &str, by: AffinityBy, clients: ClientsSettings| {
        assert_eq!(of(affinity).0, AffinityPlan { by, clients });
    };
    let app = || AffinityBy::AppCookie("JSESSIONID".into());
    check("{ app_cookie: JSESSIONID }", app(), default);
    check("{ app_cookie: { name: JSESSIONID } }", app(), default);
    check(
        "{ app_cookie: { name: JSESSIONID, ttl: 1m, clients: 1000 } }",
        app(),
        small,
    );
    check("{ source: true }", AffinityBy::Source, default);
    check("{ source: {} }", AffinityBy::Source, default);
    check(
        "{ source: { ttl: 1m, clients: 1000 } }",
        AffinityBy::Source,
        small,
    );
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
    service("{ source: true, draining: stay }", "stay", "value");
    wrong("affinity_keys: short", "", &[("short", "affinity_keys")]);
    // Cookies are HTTP's.
    let tcp = "  db: { bind: 127.0.0.1:2, protocol: tcp, forward: api }\n  both: { bind: 127.0.0.1:3, protocol: tcp, forward: { api: 1 } }";
    let both = [("api }", "affinity"), ("api: 1", "affinity")];
    wrong(tcp, "affinity: { cookie: {} }", &both);
    wrong(tcp, "affinity: { app_cookie: a }", &both);
    wrong(tcp, "affinity: { source: true }", &[]);
}
