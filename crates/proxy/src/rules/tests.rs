use evenkeel_config::plan::{Action, Conditions, Wildcard};
use proptest::prelude::*;

use super::*;

fn rule(
    hosts: Vec<HostPattern>,
    paths: Vec<PathPattern>,
    methods: &[&str],
    listeners: Vec<usize>,
) -> RulePlan {
    RulePlan {
        name: "r".into(),
        priority: 1,
        listeners,
        when: Conditions {
            hosts,
            paths,
            methods: methods.iter().map(|&method| method.into()).collect(),
        },
        action: Action::Forward(0),
        exchange: None,
        body: None,
    }
}

fn asked<'a>(host: &'a str, path: &'a str) -> Asked<'a> {
    Asked {
        listener: 0,
        host,
        path: path.as_bytes(),
        method: b"GET",
    }
}

#[test]
fn each_condition() {
    let host = |pattern, host: &str| host_holds(&pattern, host);
    assert!(host(HostPattern::Exact("a.b".into()), "a.b"));
    assert!(!host(HostPattern::Exact("a.b".into()), "x.a.b"));
    let suffix = || HostPattern::Suffix(".example.com".into());
    assert!(host(suffix(), "a.example.com") && host(suffix(), "a.b.example.com"));
    assert!(
        !host(suffix(), "example.com")
            && !host(suffix(), ".example.com")
            && !host(suffix(), "xexample.com")
    );
    let path = |pattern, path: &str| path_holds(&pattern, path.as_bytes());
    let prefix = || PathPattern::Prefix("/v1".into());
    assert!(path(prefix(), "/v1") && path(prefix(), "/v1/") && path(prefix(), "/v1/x"));
    assert!(!path(prefix(), "/v10") && !path(prefix(), "/v"));
    assert!(path(PathPattern::Prefix("".into()), "/"));
}

#[test]
fn the_first_that_holds_wins() {
    let rules = Rules::new(&[
        rule(
            vec![],
            vec![PathPattern::Prefix("/a".into())],
            &["POST"],
            vec![],
        ),
        rule(vec![HostPattern::Suffix(".b".into())], vec![], &[], vec![1]),
        rule(
            vec![HostPattern::Wildcard(Wildcard::new("x*.b"))],
            vec![],
            &[],
            vec![],
        ),
        rule(
            vec![HostPattern::Exact("x.b".into())],
            vec![PathPattern::Exact("/a".into())],
            &[],
            vec![],
        ),
        rule(vec![], vec![], &[], vec![]),
    ]);
    assert_eq!(rules.find(&asked("x.b", "/a")), Some(2));
    assert_eq!(
        rules.find(&Asked {
            method: b"POST",
            ..asked("x.b", "/a")
        }),
        Some(0)
    );
    assert_eq!(
        rules.find(&Asked {
            listener: 1,
            ..asked("x.b", "/a")
        }),
        Some(1)
    );
    assert_eq!(rules.find(&asked("y.b", "/a")), Some(4));
    assert_eq!(rules.find(&asked("", "/")), Some(4));
    assert_eq!(Rules::new(&[]).find(&asked("a", "/")), None);
}

/// A path costs no more than the longest prefix asks for, however many segments a client sends.
#[test]
fn a_long_path_is_not_read_to_its_end() {
    let path = b"/a".repeat(4096);
    assert_eq!(prefixes(&path, 4).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(prefixes(b"/a/b", 4).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(prefixes(b"/a/b", 0).collect::<Vec<_>>(), [0]);
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        "[ab](\\.[ab]){0,2}".prop_map(|name| HostPattern::Exact(name.as_str().into())),
        "(\\.[ab]){1,2}".prop_map(|suffix| HostPattern::Suffix(suffix.as_str().into())),
        "[ab*?.]{1,4}".prop_map(|pattern| HostPattern::Wildcard(Wildcard::new(&pattern))),
    ]
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    prop_oneof![
        "(/[ab]{0,1}){1,3}".prop_map(|path| PathPattern::Exact(path.as_str().into())),
        "(/[ab]){0,2}".prop_map(|path| PathPattern::Prefix(path.as_str().into())),
        "/[ab*?/]{0,4}".prop_map(|pattern| PathPattern::Wildcard(Wildcard::new(&pattern))),
        "\\^?/[ab]?"
            .prop_map(|pattern| PathPattern::Regex(regex::bytes::Regex::new(&pattern).unwrap())),
    ]
}

fn any_rule() -> impl Strategy<Value = RulePlan> {
    (
        prop::collection::vec(host_pattern(), 0..3),
        prop::collection::vec(path_pattern(), 0..3),
        prop::collection::vec(prop::sample::select(vec!["GET", "POST"]), 0..2),
        prop::collection::vec(0_usize..2, 0..2),
    )
        .prop_map(|(hosts, paths, methods, listeners)| rule(hosts, paths, &methods, listeners))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    #[test]
    fn the_index_and_trying_all_agree(
        rules in prop::collection::vec(any_rule(), 0..12),
        requests in prop::collection::vec(("([ab](\\.[ab]){0,2})?", "(/[ab]{0,1}){1,3}", 0_usize..2, any::<bool>()), 8),
    ) {
        let rules = Rules::new(&rules);
        for (host, path, listener, get) in &requests {
            let asked = Asked { listener: *listener, host, path: path.as_bytes(), method: if *get { b"GET" } else { b"POST" } };
            prop_assert_eq!(rules.find(&asked), rules.find_by_trying(&asked), "{:?}", asked);
        }
    }
}
