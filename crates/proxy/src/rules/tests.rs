use std::collections::BTreeSet;

use evenkeel_config::plan::{
    Action, Beside, Conditions, Further, HostPattern, Named, Networks, Parameter, PathPattern,
    TextPattern, Wildcard,
};
use evenkeel_wire::http1::request::{self, PathForm};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

use super::conditions::{host_holds, path_holds};
use super::*;

/// `name`, `.suffix`, and with something wild in it a wildcard.
fn host(text: &str) -> HostPattern {
    match text {
        _ if text.contains(['*', '?']) => HostPattern::Wildcard(Wildcard::new(text)),
        _ if text.starts_with('.') => HostPattern::Suffix(text.into()),
        _ => HostPattern::Exact(text.into()),
    }
}

/// `=exact`, `~expression`, with something wild in it a wildcard, and a prefix otherwise.
fn path(text: &str) -> PathPattern {
    match text.split_at_checked(1) {
        Some(("=", exact)) => PathPattern::Exact(exact.into()),
        Some(("~", regex)) => PathPattern::Regex(regex::bytes::Regex::new(regex).unwrap()),
        _ if text.contains(['*', '?']) => PathPattern::Wildcard(Wildcard::new(text)),
        _ => PathPattern::Prefix(text.into()),
    }
}

fn rule(listeners: &[usize], hosts: &[&str], paths: &[&str], methods: &[&str]) -> RulePlan {
    let hosts = hosts.iter().map(|text| host(text)).collect();
    let paths = paths.iter().map(|text| path(text)).collect();
    rule_of(listeners, hosts, paths, methods)
}

fn rule_of(
    listeners: &[usize],
    hosts: Vec<HostPattern>,
    paths: Vec<PathPattern>,
    methods: &[&str],
) -> RulePlan {
    RulePlan {
        name: "r".into(),
        priority: 1,
        listeners: listeners.to_vec(),
        when: Conditions {
            hosts,
            paths,
            methods: methods.iter().map(|&method| method.into()).collect(),
            ..Conditions::default()
        },
        action: Action::Forward(0),
        beside: Beside::default(),
        exchange: None,
        idle_body: None,
        body: None,
        class: 0,
        rates: None,
    }
}

/// A request with this query and these lines of fields; host and path are what is asked beside it.
fn head(query: &str, fields: &str) -> RequestHead {
    let text = format!("GET /?{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
    let limits = HeadLimits::default();
    request::parse(
        text.as_bytes(),
        &mut end,
        &limits,
        PathForm::Normalize,
        &mut head,
    )
    .unwrap()
    .unwrap();
    head
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What a request without fields asks, of these.
fn bare<'a>(
    head: &'a RequestHead,
    (listener, method, host, path): (usize, &'a str, &'a str, &'a [u8]),
) -> Asked<'a> {
    Asked {
        listener,
        host,
        path,
        method: method.as_bytes(),
        ..Asked::new(0, head, address("10.0.0.1"), address("10.0.0.1"))
    }
}

/// Each row: listener, method, host, path, and the rule that is found.
fn check(rules: &[RulePlan], rows: &[(usize, &str, &str, &str, Option<usize>)]) {
    let (index, head) = (Rules::new(rules), head("", ""));
    for &(listener, method, host, path, expect) in rows {
        let asked = bare(&head, (listener, method, host, path.as_bytes()));
        assert_eq!(index.find(&asked), expect, "{asked:?}");
        assert_eq!(Rules::find_by_trying(rules, &asked), expect, "{asked:?}");
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
    check(&[], &[(0, "GET", "", "", None), (7, "GET", "a", "/", None)]);
    let rules = [
        rule(&[], &["api.example.com"], &["=/health"], &[]),
        rule(&[], &["api.example.com"], &["/v1"], &["POST", "PUT"]),
        rule(&[], &[".example.com"], &["/v1"], &[]),
        rule(&[1], &[], &["/v1"], &[]),
        rule(&[], &["api.example.com", "api-*.example.net"], &[], &[]),
        rule(&[], &[], &["/img/*/pics", "~^/v[0-9]+$"], &["GET"]),
        rule(&[2], &[], &[], &[]),
        rule(&[], &[], &[""], &[]),
    ];
    check(
        &rules,
        &[
            (0, "GET", "api.example.com", "/health", Some(0)),
            (0, "GET", "api.example.com", "/health/", Some(4)),
            (0, "POST", "api.example.com", "/v1/x", Some(1)),
            (0, "post", "api.example.com", "/v1/x", Some(2)),
            (0, "GET", "api.example.com", "/v10", Some(4)),
            (0, "GET", "a.b.example.com", "/v1", Some(2)),
            (0, "GET", "example.com", "/v1", Some(5)),
            (1, "GET", "example.com", "/v1", Some(3)),
            (1, "GET", "xexample.com", "/v1/", Some(3)),
            (0, "GET", "api-eu.example.net", "/v1", Some(4)),
            (0, "GET", "", "/img/a/b/pics", Some(5)),
            (0, "HEAD", "", "/img/a/b/pics", Some(7)),
            (2, "HEAD", "", "*", Some(6)),
            (9, "OPTIONS", "", "*", None),
            (9, "GET", "", "/", Some(7)),
        ],
    );
}

/// More pairs than are made apart, on more than one host and listener; no method may take another's.
#[test]
fn a_rule_of_many_hosts_and_paths() {
    let hosts: Vec<String> = (0..20).map(|at| format!("h{at}.example")).collect();
    let mut paths: Vec<String> = (0..20).map(|at| format!("/p{at}")).collect();
    paths.extend(["/wild/*.gif", "*.png", "~^/r[0-9]$", "=/exact"].map(str::to_owned));
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let rules = [
        rule(&[], &[], &["=/p5"], &["POST"]),
        rule(&[], &["h1.example"], &["/wild/a*"], &["PUT"]),
        rule(&[0, 3], &hosts, &paths, &["GET", "POST"]),
        rule(&[0], &["h3.example"], &paths, &[]),
        rule(&[], &["h1.example"], &[], &[]),
        rule(&[], &hosts, &paths, &[]),
    ];
    check(
        &rules,
        &[
            (0, "GET", "h0.example", "/p0", Some(2)),
            (1, "GET", "h0.example", "/p0", Some(5)),
            (3, "GET", "h19.example", "/p19/x", Some(2)),
            (0, "PUT", "h3.example", "/p19/x", Some(3)),
            (0, "GET", "h19.example", "/p100", None),
            (0, "GET", "h1.example", "/p100", Some(4)),
            (0, "POST", "h1.example", "/p5", Some(0)),
            (0, "GET", "h1.example", "/wild/a/b.gif", Some(2)),
            (0, "PUT", "h1.example", "/wild/a/b.gif", Some(1)),
            (0, "PUT", "h2.example", "/wild/a/b.gif", Some(5)),
            (0, "GET", "h2.example", "/r7", Some(2)),
            (0, "GET", "h2.example", "/exact/", None),
        ],
    );
}

/// As many as anybody has, of every kind; each is found by a request of its own, and none by another's.
#[test]
fn ten_thousand_rules() {
    let hosts: Vec<String> = (0..2_000).map(|at| format!("h{at}.example")).collect();
    let mut plan = Vec::new();
    for name in &hosts {
        plan.push(rule(&[], &[name], &["/api"], &["POST"]));
        plan.push(rule(&[], &[name], &["/api"], &[]));
        plan.push(rule(&[3], &[name], &[], &[]));
        plan.push(rule(&[], &[&format!(".{name}")], &["=/"], &[]));
        plan.push(rule(&[], &[], &[&format!("/x/*.{name}")], &[]));
    }
    let (rules, head) = (Rules::new(&plan), head("", ""));
    for (at, name) in hosts.iter().enumerate() {
        let (below, wild) = (format!("x.{name}"), format!("/x/y.{name}"));
        let found = |listener, method: &str, host, path: &str| {
            rules.find(&bare(&head, (listener, method, host, path.as_bytes())))
        };
        assert_eq!(found(0, "POST", name, "/api/x"), Some(5 * at));
        assert_eq!(found(0, "GET", name, "/api/x"), Some(5 * at + 1));
        assert_eq!(found(3, "GET", name, "/"), Some(5 * at + 2));
        assert_eq!(found(0, "GET", &below, "/"), Some(5 * at + 3));
        assert_eq!(found(0, "GET", name, &wild), Some(5 * at + 4));
        assert_eq!(found(0, "GET", name, "/"), None);
        assert_eq!(found(0, "GET", &below, "/api"), None);
    }
}

/// Words that meet each other often.
fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["a", "b", "ab", "ba", "", "c"][..])
}

fn host_text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::collection::vec(word(), 0..4).prop_map(|words| words.join(".")),
        2 => "[ab.]{0,6}",
        1 => (5_usize..8, word()).prop_map(|(labels, word)| vec![word; labels].join(".")),
    ]
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    let wild = |text: String| HostPattern::Wildcard(Wildcard::new(&text));
    prop_oneof![
        3 => host_text().prop_map(|text| HostPattern::Exact(text.into())),
        3 => host_text().prop_map(|text| HostPattern::Suffix(format!(".{text}").into())),
        1 => host_text().prop_map(|text| HostPattern::Suffix(text.into())),
        2 => "[ab.*?]{0,6}".prop_map(wild),
        2 => (host_text(), 0..9_usize, "[*?]{1,2}").prop_map(move |(text, at, star)| wild(wilder(&text, at, &star))),
    ]
}

fn path_text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::collection::vec(word(), 0..4).prop_map(|words| format!("/{}", words.join("/"))),
        2 => "[ab/*]{0,6}",
        1 => (5_usize..8, word()).prop_map(|(segments, word)| vec![word; segments].join("/")),
    ]
}

const REGEXES: [&str; 14] = [
    "^/a",
    "b$",
    "(?i)^/A/",
    "a.*b",
    "^/(a|b)/?$",
    "",
    "//",
    "^/a*",
    "^/ab?/",
    "^/a|^/b",
    "^/ab{2}",
    "^/a(?i)/B",
    "^/a/b$",
    "^a+",
];

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    let wild = |text: String| PathPattern::Wildcard(Wildcard::new(&text));
    prop_oneof![
        3 => path_text().prop_map(|text| PathPattern::Exact(text.into())),
        3 => path_text().prop_map(|text| PathPattern::Prefix(text.trim_end_matches('/').into())),
        1 => path_text().prop_map(|text| PathPattern::Prefix(text.into())),
        2 => "[ab/*?]{0,6}".prop_map(wild),
        2 => (path_text(), 0..9_usize, "[*?]{1,2}").prop_map(move |(text, at, star)| wild(wilder(&text, at, &star))),
        2 => prop::sample::select(&REGEXES[..]).prop_map(|text| PathPattern::Regex(regex::bytes::Regex::new(text).unwrap())),
    ]
}

/// The text with something wild in it.
fn wilder(text: &str, at: usize, star: &str) -> String {
    let (head, tail) = text.split_at(at.min(text.len()));
    format!("{head}{star}{tail}")
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["GET", "HEAD", "POST", "get", ""][..])
}

fn text_pattern() -> impl Strategy<Value = TextPattern> {
    prop_oneof![
        1 => Just(TextPattern::Present),
        1 => Just(TextPattern::Absent),
        3 => word().prop_map(|text| TextPattern::Exact(text.into())),
        3 => word().prop_map(|text| TextPattern::AnyCase(text.into())),
        1 => "[ab*?]{0,4}".prop_map(|text| TextPattern::Wildcard(Wildcard::new(&text))),
        1 => "[ab*?]{0,4}".prop_map(|text| TextPattern::WildcardAnyCase(Wildcard::new(&text))),
        1 => prop::sample::select(&REGEXES[..]).prop_map(|text| TextPattern::Regex(regex::bytes::Regex::new(text).unwrap())),
    ]
}

fn text_patterns() -> impl Strategy<Value = Vec<TextPattern>> {
    prop::collection::vec(text_pattern(), 1..3)
}

fn networks() -> impl Strategy<Value = Networks> {
    let networks = prop::sample::select(&["10.0.0.0/8", "10.0.0.1/32", "::/0", "fe80::/10"][..]);
    prop::collection::vec(networks, 1..3)
        .prop_map(|all| Networks::new(all.iter().map(|one| one.parse().unwrap())))
}

fn further(deep: usize) -> BoxedStrategy<Further> {
    let named = |name: &'static [&'static str]| {
        (prop::sample::select(name), text_patterns()).prop_map(|(name, values)| Named {
            name: name.into(),
            values,
        })
    };
    let parameter = ("[ab*]{1,2}", text_patterns()).prop_map(|(key, values)| Parameter {
        key: TextPattern::WildcardAnyCase(Wildcard::new(&key)),
        values,
    });
    let parameters = prop::collection::vec(parameter, 1..3);
    let flat = prop_oneof![
        networks().prop_map(Further::Peer),
        networks().prop_map(Further::Client),
        named(&["x-a", "x-b"]).prop_map(Further::Header),
        named(&["a", "B"]).prop_map(Further::Cookie),
        prop::collection::vec(parameters, 1..3).prop_map(Further::Query),
    ];
    if deep == 0 {
        return flat.boxed();
    }
    let not = prop::collection::vec(conditions(deep - 1), 1..3).prop_map(Further::Not);
    prop_oneof![4 => flat, 1 => not].boxed()
}

/// Most want a host and a path; fewer want a method or more.
fn conditions(deep: usize) -> BoxedStrategy<Conditions> {
    let few = |none, most| prop_oneof![none => Just(0), 4 => 1_usize..=most];
    let sizes = prop_oneof![
        40 => (few(2, 3), few(2, 3), few(6, 2), few(8, 2)),
        1 => (Just(8), Just(9), few(8, 1), few(8, 1)),
    ];
    let of_sizes = move |(hosts, paths, methods, more)| {
        (
            prop::collection::vec(host_pattern(), hosts),
            prop::collection::vec(path_pattern(), paths),
            prop::collection::vec(method().prop_map(Into::into), methods),
            prop::collection::vec(further(deep), more),
        )
    };
    sizes
        .prop_flat_map(of_sizes)
        .prop_map(|(hosts, paths, methods, more)| Conditions {
            hosts,
            paths,
            methods,
            further: more.into(),
        })
        .boxed()
}

/// One in forty has more places than are made apart for each of its hosts.
fn any_rule() -> impl Strategy<Value = RulePlan> {
    let listeners = prop_oneof![
        8 => Just(vec![]),
        4 => prop::collection::vec(0_usize..3, 1..3),
    ];
    (listeners, conditions(2)).prop_map(|(listeners, when)| RulePlan {
        when,
        ..rule_of(&listeners, Vec::new(), Vec::new(), &[])
    })
}

/// What rules may be asked.
#[derive(Debug)]
struct Request {
    listener: usize,
    method: &'static str,
    host: String,
    path: Vec<u8>,
    head: RequestHead,
    peer: IpAddr,
    client: IpAddr,
}

/// Paths also of bytes that no text has, and longer than any rule's.
fn any_request() -> impl Strategy<Value = Request> {
    let path = prop_oneof![
        12 => path_text().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (path_text(), 0..200_usize).prop_map(|(text, times)| text.repeat(times).into_bytes()),
    ];
    let host = prop_oneof![
        12 => host_text(),
        1 => (host_text(), 0..200_usize).prop_map(|(text, times)| text.repeat(times)),
        1 => "\\PC{0,4}",
    ];
    let address =
        || prop::sample::select(&["10.0.0.1", "10.9.9.9", "192.0.2.1", "fe80::1", "::1"][..]);
    let query = "([aAb]=(a|B|%61|b)?&?){0,3}";
    let fields = "((x-a|X-B|Cookie): ?(a|AB|ba|a=b|a=a; B=ab)?\r\n){0,3}";
    (
        (0_usize..4, method(), host, path),
        query,
        fields,
        address(),
        address(),
    )
        .prop_map(
            |((listener, method, host, path), query, fields, peer, client)| Request {
                listener,
                method,
                host,
                path,
                head: head(&query, &fields),
                peer: self::address(peer),
                client: self::address(client),
            },
        )
}

/// Many plans against many requests each. A seed that fails is printed; given alone it finds the same again.
#[test]
fn the_index_and_trying_all_agree() {
    let (mut found, mut requests, mut none) = (BTreeSet::new(), 0, 0);
    for seed in 0..6_000 {
        let mut runner = TestRunner::new(ProptestConfig {
            rng_seed: RngSeed::Fixed(seed),
            ..ProptestConfig::default()
        });
        let plans = prop::collection::vec(any_rule(), 0..25);
        let plan = plans.new_tree(&mut runner).unwrap();
        let rules = plan.current();
        let index = Rules::new(&rules);
        for _ in 0..30 {
            let request = any_request().new_tree(&mut runner).unwrap().current();
            let asked = asked(&request);
            let expect = Rules::find_by_trying(&rules, &asked);
            if index.find(&asked) != expect {
                let least = least(plan, &asked);
                panic!("seed {seed}: not what {asked:?} finds by trying all of {least:#?}");
            }
            requests += 1;
            none += usize::from(expect.is_none());
            found.extend(expect);
        }
    }
    // Otherwise the two would agree about nothing.
    assert!(found.len() >= 20, "{found:?}");
    let some = requests / 20..requests * 19 / 20;
    assert!(some.contains(&none), "{none} of {requests} found none");
}

fn asked(request: &Request) -> Asked<'_> {
    Asked {
        listener: request.listener,
        host: &request.host,
        path: &request.path,
        method: request.method.as_bytes(),
        head: &request.head,
        peer: request.peer,
        client: request.client,
        certificate: None,
    }
}

/// The fewest and plainest rules about which the two still differ.
fn least(mut plan: impl ValueTree<Value = Vec<RulePlan>>, asked: &Asked<'_>) -> Vec<RulePlan> {
    let mut least = plan.current();
    loop {
        let rules = plan.current();
        let differs = Rules::new(&rules).find(asked) != Rules::find_by_trying(&rules, asked);
        let goes_on = match differs {
            true => plan.simplify(),
            false => plan.complicate(),
        };
        if differs {
            least = rules;
        }
        if !goes_on {
            return least;
        }
    }
}

/// What is said of a rule that does not hold: its first condition that does not.
#[test]
fn what_is_unmet() {
    use conditions::{Condition, unmet};
    let named = |name: &str| Named {
        name: name.into(),
        values: vec![TextPattern::AnyCase("1".into())],
    };
    let networks = || Networks::new(["10.0.0.0/8".parse().unwrap()]);
    let not = Conditions {
        methods: vec!["PUT".into()],
        ..Conditions::default()
    };
    let parameter = Parameter {
        key: TextPattern::Present,
        values: vec![TextPattern::Present],
    };
    let mut whole = rule(&[1], &["a"], &["/x"], &["GET", "PUT"]);
    whole.when.further = [
        Further::Peer(networks()),
        Further::Client(networks()),
        Further::Header(named("x-a")),
        Further::Cookie(named("b")),
        Further::Query(vec![vec![parameter]]),
        Further::Not(vec![not]),
    ]
    .into();
    let (full, bare) = (head("q", "x-a: 1\r\nCookie: b=1\r\n"), head("", ""));
    let no_cookie = head("q", "x-a: 1\r\n");
    let no_query = head("", "x-a: 1\r\nCookie: b=1\r\n");
    let all = Asked {
        listener: 1,
        host: "a",
        path: b"/x",
        method: b"GET",
        ..Asked::new(1, &full, address("10.1.1.1"), address("10.2.2.2"))
    };
    let elsewhere = address("192.0.2.1");
    for (asked, expect) in [
        (all, None),
        (
            Asked {
                listener: 0,
                host: "b",
                ..all
            },
            Some(Condition::Listener),
        ),
        (
            Asked {
                host: "b",
                path: b"/y",
                ..all
            },
            Some(Condition::Host),
        ),
        (
            Asked {
                path: b"/y",
                method: b"POST",
                ..all
            },
            Some(Condition::Path),
        ),
        (
            Asked {
                method: b"POST",
                peer: elsewhere,
                ..all
            },
            Some(Condition::Method),
        ),
        (
            Asked {
                peer: elsewhere,
                client: elsewhere,
                ..all
            },
            Some(Condition::Source),
        ),
        (
            Asked {
                client: elsewhere,
                head: &bare,
                ..all
            },
            Some(Condition::Client),
        ),
        (Asked { head: &bare, ..all }, Some(Condition::Header("x-a"))),
        (
            Asked {
                head: &no_cookie,
                ..all
            },
            Some(Condition::Cookie("b")),
        ),
        (
            Asked {
                head: &no_query,
                method: b"PUT",
                ..all
            },
            Some(Condition::Query),
        ),
        (
            Asked {
                method: b"PUT",
                ..all
            },
            Some(Condition::Not),
        ),
    ] {
        assert_eq!(unmet(&whole, &asked), expect);
        let found = Rules::new(std::slice::from_ref(&whole)).find(&asked);
        assert_eq!(found.is_some(), expect.is_none(), "{expect:?}");
    }
}
