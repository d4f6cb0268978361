//! Who is told of traces.

use std::collections::BTreeMap;

use evenkeel_config::plan::{BackendAddress, TracesPlan};
use evenkeel_config::{Files, Loaded, Source, load_with};

fn loaded(traces: &str) -> Loaded {
    let text = format!(
        "traces: {traces}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"127.0.0.1:1\"] }} }}\n"
    );
    let source = Source {
        name: "keel.yaml".into(),
        text,
    };
    let files: Files = [("ca.pem".into(), Ok(b"-----".to_vec()))].into();
    load_with(&[source], &BTreeMap::new(), files)
}

fn plan(traces: &str) -> TracesPlan {
    let loaded = loaded(traces);
    let problems = format!("{:?}", loaded.problems);
    loaded.plan.and_then(|plan| plan.traces).expect(&problems)
}

#[test]
fn a_collector_is_an_address_with_a_scheme() {
    let check = |to: &str, encrypted, address: &str, path: &str| {
        let plan = plan(&format!("{{ to: \"{to}\" }}"));
        let got = match &plan.to {
            BackendAddress::Tcp(address) => address.to_string(),
            BackendAddress::Name(name, port) => format!("{name}:{port}"),
            BackendAddress::Unix(path) => path.display().to_string(),
        };
        assert_eq!(
            (plan.tls.is_some(), &*got, &*plan.path),
            (encrypted, address, path)
        );
        assert_eq!((plan.share, &*plan.service), (0, "evenkeel"));
    };
    check(
        "http://127.0.0.1:4318",
        false,
        "127.0.0.1:4318",
        "/v1/traces",
    );
    check("http://[::1]:4318/", false, "[::1]:4318", "/v1/traces");
    check(
        "https://tempo.example:443/otlp/v1/traces",
        true,
        "tempo.example:443",
        "/otlp/v1/traces",
    );
    let whole = plan(
        "{ to: \"https://a:1\", share: 0.05%, service: edge, ca: ca.pem, headers: { x-token: a } }",
    );
    assert_eq!((whole.share, &*whole.service), (500, "edge"));
    assert_eq!(whole.headers, [("x-token".into(), "a".into())]);
    assert!(whole.tls.is_some_and(|tls| tls.ca.is_some()));
}

#[test]
fn what_is_no_collector_is_told_where_it_stands() {
    for (traces, word) in [
        ("{ share: 1% }", "missing"),
        ("{ to: \"127.0.0.1:4318\" }", "address"),
        ("{ to: \"ftp://a:1\" }", "address"),
        ("{ to: \"http://a\" }", "address"),
        ("{ to: \"http://unix:/a\" }", "address"),
        ("{ to: \"http://a:1/b c\" }", "address"),
        ("{ to: \"http://a:1\", share: 0.5 }", "percentage"),
        ("{ to: \"http://a:1\", ca: ca.pem }", "ca"),
        ("{ to: \"http://a:1\", headers: { \"a b\": c } }", "header"),
        ("{ to: \"http://a:1\", sahre: 1% }", "unknown_key"),
    ] {
        let loaded = loaded(traces);
        let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
        assert!(
            loaded.plan.is_none() && words.contains(&word),
            "{traces}: {words:?}"
        );
    }
    let long = format!("{{ to: \"http://a:1\", service: {} }}", "a".repeat(257));
    assert!(loaded(&long).plan.is_none());
}
