//! `tls:`, of a listener and to backends.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::BTreeMap;

use evenkeel_config::plan::Plan;
use evenkeel_config::plan::tls::{ClientAuth, Policy, Tickets};
use evenkeel_config::{Files, Loaded, Source, effective::effective, files, load_with};

fn read(listener: &str, service: &str, content: &[u8]) -> (Loaded, Vec<Source>) {
    let text = format!(
        "listeners:\n  web: {{ bind: 127.0.0.1:1, {listener} }}\nservices:\n  api: {{ backends: [a:1], {service} }}\n"
    );
    let source = Source {
        name: "etc/keel.yaml".into(),
        text,
    };
    let (sources, environment) = (vec![source], BTreeMap::new());
    let named = files(&sources, &environment);
    let all: Files = named
        .into_iter()
        .map(|path| (path, Ok(content.to_vec())))
        .collect();
    (load_with(&sources, &environment, all), sources)
}

fn plan(listener: &str, service: &str) -> Plan {
    let keys: Vec<u8> = (0..64).collect();
    let (loaded, _) = read(listener, service, &keys);
    loaded
        .plan
        .unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

/// Each problem is told by its word, where this text begins.
#[track_caller]
fn wrong(listener: &str, service: &str, expect: &[(&str, &str)]) {
    let (loaded, sources) = read(listener, service, &[7; 40]);
    let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
    let expected: Vec<_> = expect.iter().map(|(_, word)| *word).collect();
    assert_eq!(words, expected, "{:?}", loaded.problems);
    for (problem, (place, _)) in loaded.problems.iter().zip(expect) {
        let line = sources[0].text.lines().nth(problem.at.line - 1).unwrap();
        let told = &line[problem.at.column - 1..];
        assert!(told.starts_with(place), "{told} for {place}");
    }
}

const SITE: &str = "certificates: { cert: a.pem, key: a.key }";

#[test]
fn a_listener() {
    let tls = |more: &str| {
        plan(&format!("tls: {{ {SITE}, {more} }}"), "").listeners[0]
            .tls
            .clone()
            .unwrap()
    };
    let plain = tls("");
    assert_eq!(plain.policy, Policy::Intermediate);
    assert_eq!(plain.client_auth, ClientAuth::Off);
    assert!(matches!(plain.tickets, Tickets::Own(every) if every.as_secs() == 43_200));
    let one = &plain.certificates[0];
    assert_eq!(one.cert.path.to_str(), Some("etc/a.pem"));
    assert_eq!(one.key.at.line, 2);
    assert_eq!(tls("policy: modern").policy, Policy::Modern);
    assert!(matches!(
        tls("client_auth: { ca: c.pem }").client_auth,
        ClientAuth::Require(_)
    ));
    assert!(matches!(
        tls("client_auth: { ca: c.pem, mode: request }").client_auth,
        ClientAuth::Request(_)
    ));
    let listed = tls("client_auth: { ca: c.pem, crl: r.pem }").client_auth;
    assert!(matches!(listed, ClientAuth::Require(by) if by.crl.is_some()));
    assert_eq!(
        tls("client_auth: { mode: off }").client_auth,
        ClientAuth::Off
    );
    assert_eq!(tls("client_auth: off").client_auth, ClientAuth::Off);
    assert_eq!(tls("tickets: off").tickets, Tickets::Off);
    assert!(
        matches!(tls("tickets: { rotate: 1h }").tickets, Tickets::Own(every) if every.as_secs() == 3600)
    );
    assert!(matches!(
        tls("tickets: { file: t.key }").tickets,
        Tickets::Shared(_)
    ));
    assert_eq!(plain.hsts, None);
    for (hsts, said) in [
        ("365d", "max-age=31536000"),
        ("0s", "max-age=0"),
        ("{ max_age: 1d }", "max-age=86400"),
        (
            "{ max_age: 1d, subdomains: true, preload: true }",
            "max-age=86400; includeSubDomains; preload",
        ),
    ] {
        let told = tls(&format!("hsts: {hsts}")).hsts;
        assert_eq!(told.as_deref(), Some(said));
    }
    // The same files elsewhere in the text are the same plan; their content is part of it, and is not shown.
    assert_eq!(plain, tls("policy: intermediate"));
    let other = read(&format!("tls: {{ {SITE} }}"), "", b"other")
        .0
        .plan
        .unwrap();
    assert_ne!(other.listeners[0].tls.as_ref().unwrap(), &plain);
    assert_eq!(format!("{:?}", one.key), "etc/a.key (64 bytes)");
}

#[test]
fn what_is_wrong_with_a_listener() {
    wrong("tls: {}", "", &[("{}", "missing")]);
    wrong("tls: { certificates: [] }", "", &[("[]", "missing")]);
    wrong(
        "tls: { certificates: { cert: a.pem } }",
        "",
        &[("{ cert", "missing")],
    );
    for (more, place, word) in [
        ("client_auth: { mode: request }", "{ mode", "missing"),
        ("client_auth: on", "on", "value"),
        ("tickets: { file: t.key }", "t.key", "tickets"),
        ("tickets: { rotate: 0s }", "0s", "range"),
        ("policy: old", "old", "value"),
        ("hstz: 1d", "hstz", "unknown_key"),
        ("hsts: 1", "1", "duration"),
        ("hsts: { preload: true }", "{ preload", "missing"),
        ("alpn: [h2]", "alpn", "protocol"),
    ] {
        wrong(&format!("tls: {{ {SITE}, {more} }}"), "", &[(place, word)]);
    }
}

#[test]
fn to_backends() {
    let tls = |text: &str| {
        plan("", &format!("upstream: {{ tls: {text} }}")).services[0]
            .upstream
            .tls
            .clone()
    };
    assert!(tls("off").is_none());
    let on = tls("on").unwrap();
    assert!(on.ca.is_none() && on.sni.is_none() && !on.unverified && on.certificate.is_none());
    assert!(tls("{ verify: off }").unwrap().unverified);
    let full = tls("{ ca: c.pem, sni: b.example, cert: a.pem, key: a.key }").unwrap();
    assert_eq!(full.sni.as_deref(), Some("b.example"));
    assert!(full.ca.is_some() && full.certificate.is_some());
    let wrong = |text: &str, expect: &[(&str, &str)]| {
        wrong("", &format!("upstream: {{ tls: {text} }}"), expect);
    };
    wrong("{ verify: off, ca: c.pem }", &[("c.pem", "verify")]);
    wrong("{ cert: a.pem }", &[("{ cert", "missing")]);
    wrong("{ sni: \"a b\" }", &[("\"a b", "name")]);
    wrong("maybe", &[("maybe", "value")]);
}

#[test]
fn checks_follow_the_tls_of_traffic_unless_they_say_otherwise() {
    for (health, expect) in [
        ("tcp: {}", false),
        ("http: {}", true),
        ("http: {}, port: 9100", true),
        ("http: { tls: upstream }", true),
        ("http: { tls: off }", false),
        ("grpc:", true),
        ("grpc: { service: a.B }", true),
        ("grpc: { tls: off }", false),
    ] {
        let service = format!("upstream: {{ tls: on }}, health: {{ {health} }}");
        let plan = plan("", &service);
        let check = &plan.services[0].health.as_ref().unwrap().check;
        assert_eq!(check.follows_tls(), expect, "{health}");
    }
}

#[test]
fn what_holds_is_shown_with_its_defaults() {
    let (loaded, sources) = read(&format!("tls: {{ {SITE} }}"), "upstream: { tls: on }", b"x");
    let shown = effective(&loaded, &sources, &BTreeMap::new())
        .unwrap()
        .text(&sources);
    for line in [
        "policy: intermediate",
        "client_auth: off",
        "rotate: 12h",
        "key: a.key",
        "verify: on",
    ] {
        assert!(shown.contains(line), "no {line} in {shown}");
    }
}
