//! `proxy_protocol:`, of a listener and to backends.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;

use evenkeel_config::plan::{ProxyTlv, ProxyVersion};
use evenkeel_config::{Source, load};

/// Each problem is told by its word, where this text begins.
#[track_caller]
fn check(bind: &str, from: &str, header: &str, expect: &[(&str, &str)]) {
    let text = format!(
        "listeners: {{ web: {{ bind: {bind}, proxy_protocol: {from} }} }}\nservices: {{ api: {{ backends: [a:1], upstream: {{ proxy_protocol: {header} }} }} }}\n"
    );
    let source = Source {
        name: "f.yaml".into(),
        text: text.clone(),
    };
    let loaded = load(&[source], &BTreeMap::new());
    let told = loaded.problems.iter().map(|problem| {
        let line = text.lines().nth(problem.at.line - 1).unwrap();
        (&line[problem.at.column - 1..], problem.word)
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), expect.len(), "{told:?}");
    for ((line, word), (place, expected)) in told.iter().zip(expect) {
        assert!(line.starts_with(place) && word == expected, "{told:?}");
    }
}

const TCP: &str = "127.0.0.1:1";

#[test]
fn what_is_wrong_with_a_listener() {
    let unix = "\"unix:/run/a\"";
    let both = "[127.0.0.1:1, \"unix:/run/a\"]";
    for (bind, from, expect) in [
        (TCP, "{ from: 10.0.0.1 }", &[][..]),
        (TCP, "{ from: [10.0.0.0/8, \"2001:db8::/32\"] }", &[]),
        (unix, "{ from: unix }", &[]),
        (both, "{ from: [unix, 10.0.0.1] }", &[]),
        (TCP, "{}", &[("{}", "missing")]),
        (TCP, "{ from: [] }", &[("[]", "missing")]),
        (
            TCP,
            "{ from: [10.0.0.0/33] }",
            &[("10.0.0.0/33", "address")],
        ),
        (TCP, "{ from: 0.0.0.0/0 }", &[("0.0.0.0/0", "everybody")]),
        (TCP, "{ from: \"::/0\" }", &[("\"::/0\"", "everybody")]),
        (
            TCP,
            "{ from: \"::ffff:0.0.0.0/96\" }",
            &[("\"::ffff", "everybody")],
        ),
        (TCP, "{ from: [10.0.0.1, unix] }", &[("{ from", "unix")]),
        (both, "{ from: 10.0.0.1 }", &[("{ from", "unix")]),
        (both, "{ from: unix }", &[("{ from", "missing")]),
        (TCP, "{ from: 10.0.0.1, to: a }", &[("to", "unknown_key")]),
    ] {
        check(bind, from, "off", expect);
    }
}

#[test]
fn what_is_wrong_with_a_service() {
    let from = "{ from: 10.0.0.1 }";
    for (header, expect) in [
        ("v1", &[][..]),
        ("{ version: v1 }", &[]),
        ("{ tlvs: alpn }", &[]),
        ("on", &[("on", "value")]),
        ("{ version: 1 }", &[("1", "value")]),
        ("{ version: v1, tlvs: [ssl] }", &[("ssl", "tlvs")]),
        ("{ tlvs: [ssl, noise] }", &[("noise", "value")]),
        ("{ tlvs: [ssl, ssl] }", &[("ssl] }", "twice")]),
    ] {
        check(TCP, from, header, expect);
    }
}

#[test]
fn what_is_planned() {
    let of = |header: &str| {
        let text = format!(
            "listeners: {{ web: {{ bind: {TCP} }} }}\nservices: {{ api: {{ backends: [a:1], upstream: {{ proxy_protocol: {header} }} }} }}\n"
        );
        let name = "f.yaml".into();
        let loaded = load(&[Source { name, text }], &BTreeMap::new());
        loaded.plan.unwrap().services.remove(0).upstream
    };
    let off = of("off");
    assert!(off.is_shared() && off.proxy_protocol.is_none());
    for (header, version, tlvs) in [
        ("v1", ProxyVersion::V1, &[][..]),
        ("v2", ProxyVersion::V2, &[]),
        ("{}", ProxyVersion::V2, &[]),
        (
            "{ tlvs: [crc32c, unique_id, ssl, authority, alpn] }",
            ProxyVersion::V2,
            &[
                ProxyTlv::Checksum,
                ProxyTlv::UniqueId,
                ProxyTlv::Ssl,
                ProxyTlv::Authority,
                ProxyTlv::Alpn,
            ],
        ),
    ] {
        let upstream = of(header);
        assert!(!upstream.is_shared(), "{header}");
        let planned = upstream.proxy_protocol.unwrap();
        assert_eq!(
            (planned.version, &*planned.tlvs),
            (version, tlvs),
            "{header}"
        );
    }
}

/// One reading of networks for all that name some: IPv4 written in IPv6 is IPv4, as addresses are.
#[test]
fn peers_are_found_however_their_network_is_written() {
    let text = "trusted_proxies: [\"::ffff:10.0.0.0/104\"]\nlisteners: { a: { bind: 127.0.0.1:1, proxy_protocol: { from: [\"::ffff:10.0.0.0/104\", \"::ffff:192.0.2.1\", \"2001:db8::/32\"] } } }\nservices: { b: { backends: [127.0.0.1:2] } }\n";
    let source = Source {
        name: "f.yaml".into(),
        text: text.into(),
    };
    let loaded = load(&[source], &BTreeMap::new());
    let plan = loaded.plan.unwrap();
    let peers = plan.listeners[0].proxy_protocol.clone().unwrap();
    for (from, expect) in [
        ("10.1.2.3", true),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("11.0.0.0", false),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
    ] {
        let from: std::net::IpAddr = from.parse().unwrap();
        assert_eq!(peers.has(Some(from)), expect, "{from}");
        let trusted = plan.trusted_proxies.iter().any(|one| one.contains(&from));
        assert_eq!(trusted, from.to_string().starts_with("10."), "{from}");
    }
}

#[test]
fn the_page_about_it_has_a_configuration_that_is_fine() {
    let page = include_str!("../../../docs/proxy-protocol.md");
    let block = page.split("```yaml\n").nth(1).unwrap();
    let text = block.split("```").next().unwrap().into();
    let name = "f.yaml".into();
    let loaded = load(&[Source { name, text }], &BTreeMap::new());
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
}
