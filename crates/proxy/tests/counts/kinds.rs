//! Owns rules of each kind, so many of them, and a request that finds the last.

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_config::plan::{
    Action, Beside, Conditions, Further, HostPattern, Named, Parameter, PathPattern, RulePlan,
    TextPattern, Wildcard,
};
use evenkeel_proxy::rules::Asked;
use evenkeel_wire::RequestHead;
use evenkeel_wire::http1::request::{self, PathForm};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use regex::bytes::Regex;

/// Rules of one kind.
pub(crate) struct Kind {
    pub(crate) rules: Vec<RulePlan>,
    listener: usize,
    host: String,
    path: String,
    method: String,
    head: RequestHead,
    /// What the request finds.
    pub(crate) found: Option<usize>,
}

impl Kind {
    pub(crate) fn asked(&self) -> Asked<'_> {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Asked {
            listener: self.listener,
            host: &self.host,
            path: self.path.as_bytes(),
            method: self.method.as_bytes(),
            head: &self.head,
            peer,
            client: peer,
            certificate: None,
        }
    }
}

/// All kinds; the last four are tried one by one.
pub(crate) const KINDS: [&str; 21] = [
    "everything",
    "hosts",
    "domains",
    "host-wildcards",
    "paths",
    "prefixes",
    "wildcards-by-begin",
    "wildcards-by-end",
    "expressions-by-begin",
    "methods",
    "listeners",
    "grid",
    "mixture",
    "same-key",
    "many-paths-each",
    "hostile",
    "canaries",
    "headers",
    "queries",
    "wildcards-without-text",
    "expressions-without-text",
];

/// So many rules of this kind.
pub(crate) fn kind(name: &str, count: usize) -> Kind {
    assert!(KINDS.contains(&name), "there is no kind `{name}`");
    let last = count - 1;
    let mut kind = Kind {
        rules: (0..count).map(|at| rule(name, at)).collect(),
        listener: 0,
        host: "www.example.com".into(),
        path: "/some/path".into(),
        method: "GET".into(),
        head: head(last),
        found: Some(last),
    };
    match name {
        "everything" => kind.found = Some(0),
        "headers" | "queries" => {}
        "hosts" | "many-paths-each" | "canaries" => {
            kind.host = format!("app-{last:05}.example.com");
        }
        "domains" => kind.host = format!("www.app-{last:05}.example.com"),
        "host-wildcards" => kind.host = format!("app-{last:05}-eu.example.com"),
        "paths" => kind.path = format!("/some/path-{last:05}"),
        "prefixes" => kind.path = format!("/app-{last:05}/some/path"),
        "wildcards-by-begin" => kind.path = format!("/app-{last:05}/some.js"),
        "wildcards-by-end" => kind.path = format!("/some/path.{last:05}"),
        "expressions-by-begin" => kind.path = format!("/app-{last:05}/17"),
        "methods" | "same-key" => kind.method = format!("M-{last:05}"),
        "listeners" => kind.listener = last,
        "grid" => {
            kind.host = format!("app-{:05}.example.com", last / 10);
            kind.path = format!("/part-{}/some", last % 10);
        }
        "mixture" => {
            let at = last - last % 5 + 2;
            kind.host = format!("app-{:05}.example.com", at / 5);
            kind.path = "/static/some.js".into();
            kind.found = Some(at);
        }
        // As long as a listener takes by default, and of what all rules begin with.
        "hostile" => {
            kind.path = "/a".repeat(4_091) + &format!("/app-{last:05}");
            kind.host = "a.".repeat(126) + "a";
        }
        "wildcards-without-text" => kind.path = format!("/some/app-{last:05}/path"),
        _ => kind.path = format!("/some/app-{last:05}/17"),
    }
    kind
}

fn header(name: &str, value: &str) -> Further {
    Further::Header(Named {
        name: name.into(),
        values: vec![TextPattern::AnyCase(value.into())],
    })
}

/// A browser's, and what asks for the last rule.
fn head(last: usize) -> RequestHead {
    let text = format!(
        "GET /some/path?page=2&q=some+words&tenant=app-{last:05} HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: text/html\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\nCookie: a=b; c=d\r\nX-Tenant: App-{last:05}\r\nX-Canary: 1\r\nConnection: keep-alive\r\n\r\n"
    );
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

fn rule(kind: &str, at: usize) -> RulePlan {
    let mut when = Conditions::default();
    let mut listeners = Vec::new();
    let app = format!("app-{at:05}");
    let name = |text: String| vec![HostPattern::Exact(text.into())];
    let prefix = |text: String| vec![PathPattern::Prefix(text.into())];
    let wild = |text: String| vec![PathPattern::Wildcard(Wildcard::new(&text))];
    let regex = |text: String| vec![PathPattern::Regex(Regex::new(&text).unwrap())];
    match kind {
        "everything" => {}
        "hosts" => {
            when.hosts = name(format!("{app}.example.com"));
            when.paths = prefix("/some".into());
        }
        "domains" => when.hosts = vec![HostPattern::Suffix(format!(".{app}.example.com").into())],
        "host-wildcards" => {
            let pattern = Wildcard::new(&format!("{app}-*.example.com"));
            when.hosts = vec![HostPattern::Wildcard(pattern)];
        }
        "paths" => {
            when.paths = vec![PathPattern::Exact(format!("/some/path-{at:05}").into())];
        }
        "prefixes" => when.paths = prefix(format!("/{app}")),
        "wildcards-by-begin" => when.paths = wild(format!("/{app}/*.js")),
        "wildcards-by-end" => when.paths = wild(format!("/some/*.{at:05}")),
        "expressions-by-begin" => when.paths = regex(format!("^/{app}/[0-9]+$")),
        "methods" => when.methods = vec![format!("M-{at:05}").into()],
        "listeners" => listeners = vec![at],
        "grid" => {
            when.hosts = name(format!("app-{:05}.example.com", at / 10));
            when.paths = prefix(format!("/part-{}", at % 10));
        }
        // What a platform has: some rules for each of many hosts.
        "mixture" => {
            let host = format!("app-{:05}.example.com", at / 5);
            when.hosts = name(host.clone());
            match at % 5 {
                0 => when.paths = vec![PathPattern::Exact("/health".into())],
                1 => when.paths = [prefix("/v1".into()), prefix("/v2".into())].concat(),
                2 => when.paths = wild("/static/*.js".into()),
                3 => when.methods = vec!["GET".into(), "HEAD".into()],
                _ => when.hosts = vec![HostPattern::Suffix(format!(".{host}").into())],
            }
        }
        "same-key" => {
            when.hosts = name("www.example.com".into());
            when.paths = prefix("/some".into());
            when.methods = vec![format!("M-{at:05}").into()];
        }
        "many-paths-each" => {
            when.hosts = [
                name(format!("{app}.example.com")),
                name(format!("{app}.example.net")),
            ]
            .concat();
            let paths = (0..40).map(|path| prefix(format!("/part-{path}")));
            when.paths = paths.flatten().chain(prefix("/some".into())).collect();
        }
        "hostile" => {
            let suffix = |text: String| HostPattern::Suffix(text.into());
            when.hosts = vec![suffix(format!(".{app}.a")), suffix(".a".into())];
            when.paths = [prefix(format!("/a/a/{app}")), wild(format!("/a/*/{app}"))].concat();
        }
        // Each of its own host: none of the others is tried.
        "canaries" => {
            when.hosts = name(format!("{app}.example.com"));
            when.further = [header("x-canary", "1")].into();
        }
        "headers" => when.further = [header("x-tenant", &app)].into(),
        "queries" => {
            let key = TextPattern::AnyCase("tenant".into());
            let values = vec![TextPattern::AnyCase(app.into())];
            when.further = [Further::Query(vec![vec![Parameter { key, values }]])].into();
        }
        "wildcards-without-text" => when.paths = wild(format!("*/{app}/*")),
        _ => when.paths = regex(format!("/{app}/[0-9]+$")),
    }
    RulePlan {
        name: "rule".into(),
        priority: 1,
        listeners,
        when,
        action: Action::Forward(0),
        beside: Beside::default(),
        exchange: None,
        idle_body: None,
        body: None,
        class: evenkeel_balance::ask::QUEUE_CLASS,
        rates: None,
    }
}
