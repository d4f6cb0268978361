//! Owns the laws of cases and of explaining. The input is a file of cases.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use evenkeel_balance::time::Instant;
use evenkeel_config::cases::{Case, cases};
use evenkeel_config::{Source, load, render};
use evenkeel_proxy::explain::{Done, Explained, written};
use evenkeel_proxy::live::Live;
use evenkeel_wire::RequestHead;
use evenkeel_wire::http1::request::{PathForm, parse};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};

/// What requests are explained against.
const PLAN: &str = r#"
trusted_proxies: 127.0.0.0/8
listeners: { one: { bind: "127.0.0.1:80" }, two: { bind: "127.0.0.1:81", path: as_is } }
services: { api: { policy: { hash: { key: { cookie: a } } }, backends: [a:1, b:1, c:1] } }
rules:
- { name: host, priority: 1, when: { host: ["*.a", "[::1]"] }, redirect: { scheme: https } }
- { name: path, priority: 2, when: { path: ["/a*b", { prefix: /p }], method: [GET, PUT] }, forward: api }
- { name: two, priority: 3, listeners: two, when: { path: { regex: "[0-9]/" } }, respond: { body: two } }
"#;

/// A value of the environment that no message may show.
const HIDDEN: &str = "hidden-Quux7";

/// Any text gives cases or problems, whose places it has. What is written as one request is one for the parser, whatever it is made
/// of; what is explained of it is what trying every rule says. True: there are cases.
pub fn check(input: &[u8]) -> bool {
    let source = Source {
        name: "cases.yaml".into(),
        text: String::from_utf8_lossy(input).into_owned(),
    };
    let environment = BTreeMap::from([("HIDDEN".to_owned(), HIDDEN.to_owned())]);
    match cases(&source, &environment) {
        Ok(cases) => {
            cases.iter().for_each(one);
            !cases.is_empty()
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = source.text.lines().count().max(1);
            for problem in &problems {
                // What ends too soon is told of the line behind the last.
                assert!(problem.at.line <= lines + 1, "{problem:?}");
                let hidden = problem.message.contains(HIDDEN) && !source.text.contains(HIDDEN);
                assert!(!hidden, "{problem:?}");
            }
            let _shown = render(&problems, &[source]);
            false
        }
    }
}

fn one(case: &Case) {
    let (method, url) = &case.request.value;
    let Ok(request) = written::bytes(method, url, &case.fields) else {
        return;
    };
    let mut head = RequestHead::new();
    let limits = HeadLimits {
        bytes: usize::MAX,
        fields: usize::MAX,
        target: usize::MAX,
    };
    let mut end = HeadEnd::default();
    match parse(&request.bytes, &mut end, &limits, PathForm::AsIs, &mut head) {
        Ok(length) => assert_eq!(length, Some(request.bytes.len()), "more or less than one"),
        Err(_malformed) => {}
    }
    for listener in 0..2 {
        explained(listener, case.from, &request.bytes);
    }
    explained(0, IpAddr::V4(Ipv4Addr::LOCALHOST), &request.bytes);
}

fn explained(listener: usize, from: IpAddr, bytes: &[u8]) {
    static LIVE: OnceLock<Live> = OnceLock::new();
    let live = LIVE.get_or_init(|| {
        let source = Source {
            name: "keel.yaml".into(),
            text: PLAN.into(),
        };
        let Some(plan) = load(&[source], &BTreeMap::new()).plan else {
            panic!("the plan has errors");
        };
        let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
        Live::join(plan, None, 1, &events, Instant::ZERO)
    });
    let explained = Explained::of(live, listener, from, None, bytes);
    let passed = explained.passed();
    let rules = live.plan.rules.len();
    match explained.head() {
        Some(_) => assert_eq!(passed.len(), explained.rule().unwrap_or(rules)),
        None => assert!(explained.rule().is_none() && passed.is_empty()),
    }
    for rule in &passed {
        let unmet = explained.unmet(rule.rule);
        assert!(unmet.is_some_and(|unmet| !unmet.wants.is_empty()));
    }
    match explained.done() {
        Done::Redirect { location, .. } => {
            assert!(!location.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
        }
        Done::Forward(forwarded) => {
            for routed in forwarded.services {
                assert!(routed.explanation(0, Instant::ZERO).result.is_ok());
            }
        }
        Done::Refused { .. } | Done::Respond(_) => {}
    }
}
