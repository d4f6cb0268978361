//! How many requests may pass, through the shipped binary: curl in front, a backend that counts what reaches it. Limits are by the hour,
//! so that no clock decides.

use std::io::Read;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::evenkeel;
use crate::http2::frames::{Connection, NO_ERROR, asks};
use crate::http2::hpack::value;
use crate::process::{Evenkeel, Folder, PATIENCE};
use crate::rules_actions::echo::{Client, Echo, Message, head_of};
use crate::tls::metric;

struct Scene {
    folder: Folder,
    backend: Echo,
}

impl Scene {
    fn new(name: &str) -> Self {
        Self {
            folder: Folder::new(name),
            backend: Echo::start("one"),
        }
    }

    /// A listener with these limits, and rules that forward.
    fn write(&self, listener: &str, rules: &str) -> String {
        let text = format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\ntrusted_proxies: [127.0.0.1]\n\
             access_log: {{ to: {} }}\n\
             listeners: {{ web: {{ bind: \"127.0.0.1:0\"{listener} }} }}\n\
             rules: [{rules}]\n\
             services: {{ api: {{ backends: [\"{}\"] }} }}\n",
            self.folder.path().join("access.log").display(),
            self.backend.address
        );
        let file = self.folder.write("keel.yaml", &text);
        file.to_str().unwrap().to_owned()
    }

    fn run(&self, listener: &str, rules: &str) -> Evenkeel {
        Evenkeel::run(&["-c", &self.write(listener, rules)])
    }

    fn reload(&self, keel: &mut Evenkeel, listener: &str, rules: &str) {
        self.write(listener, rules);
        keel.signal("-HUP");
        keel.until_any("reloaded: ");
    }
}

/// A rule of this name that forwards, with this `rate`.
fn rule(rate: &str) -> String {
    format!("{{ name: api, forward: api, limits: {{ rate: {rate} }} }}")
}

/// What curl gets.
fn got(keel: &Evenkeel, arguments: &[&str], path: &str) -> Message {
    let mut all = vec!["--include"];
    all.extend(arguments);
    head_of(&keel.curl(&all, path))
}

fn statuses<'a>(keel: &Evenkeel, requests: impl IntoIterator<Item = &'a str>) -> Vec<u16> {
    let each = requests.into_iter().map(|field| {
        let arguments: &[&str] = match field {
            "" => &[],
            field => &["--header", field],
        };
        got(keel, arguments, "/").status()
    });
    each.collect()
}

/// Between these, and a number at all.
#[track_caller]
fn about_an_hour(text: &str) {
    let seconds: u64 = text.parse().unwrap();
    assert!((3_000..=3_600).contains(&seconds), "{seconds}");
}

#[test]
fn who_asks_too_often_is_told_so_and_when_to_come_again() {
    let scene = Scene::new("rates-client");
    let keel = scene.run("", &rule("{ per: client, allow: 1/h, burst: 3 }"));
    for _ in 0..3 {
        let answer = got(&keel, &[], "/");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("ratelimit"), None, "{}", answer.head);
    }
    for _ in 0..5 {
        let answer = got(&keel, &[], "/");
        assert_eq!(answer.status(), 429);
        assert!(
            answer
                .head
                .starts_with("HTTP/1.1 429 Too Many Requests\r\n")
        );
        assert_eq!(answer.body, "429 Too Many Requests: rate_limited\n");
        about_an_hour(&answer.field("retry-after").unwrap());
        assert_eq!(
            answer.all("ratelimit-policy"),
            ["\"client\";q=1;w=3600"],
            "{}",
            answer.head
        );
        let left = answer.field("ratelimit").unwrap();
        about_an_hour(left.strip_prefix("\"client\";r=0;t=").unwrap());
    }
    // Another client, as the trusted peer says it; of IPv6 a /64.
    let from = |address: &str| format!("X-Forwarded-For: {address}");
    let others = [
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.2",
    ]
    .map(from);
    let got = statuses(&keel, others.iter().map(|one| &**one));
    assert_eq!(got, [200, 200, 200, 429, 200]);
    let others = [
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::3",
        "2001:db8::4",
        "2001:db8:0:1::1",
    ];
    let others = others.map(from);
    let got = statuses(&keel, others.iter().map(|one| &**one));
    assert_eq!(got, [200, 200, 200, 429, 200]);
    assert_eq!(
        scene.backend.requests(),
        3 + 4 + 4,
        "no refused one reached it"
    );
    let labels = "of=\"rule\",name=\"api\",limit=\"client\"";
    for row in [
        format!("evenkeel_rate_limit_requests_total{{{labels},result=\"passed\"}} 11"),
        format!("evenkeel_rate_limit_requests_total{{{labels},result=\"refused\"}} 7"),
        format!("evenkeel_rate_limit_requests_total{{{labels},result=\"shadowed\"}} 0"),
        format!("evenkeel_rate_limit_keys{{{labels}}} 5"),
        format!("evenkeel_rate_limit_keys_evicted_total{{{labels}}} 0"),
        "evenkeel_local_answers_total{listener=\"web\",reason=\"rate_limited\"} 7".into(),
        // Nothing of it is the service's.
        "evenkeel_requests_total{service=\"api\",code=\"4xx\"} 0".into(),
        "evenkeel_attempts_total{service=\"api\"} 11".into(),
    ] {
        metric(&keel, &row);
    }
    let page: Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
    let expect = json!([{
        "of": "rule", "name": "api", "limit": "client", "passed": 11, "refused": 7, "shadowed": 0, "keys": 5, "keys_evicted": 0,
    }]);
    assert_eq!(page["rates"], expect);
    let log = logged(&scene, keel);
    let refused = log.iter().filter(|row| row["status"] == 429);
    let words = refused.filter(|row| row["rule"] == "api" && row["reason"] == "rate_limited");
    assert_eq!(words.count(), 7, "{log:?}");
}

/// The access log, once the instance has ended.
fn logged(scene: &Scene, keel: Evenkeel) -> Vec<Value> {
    keel.signal("-TERM");
    let (status, _) = keel.wait();
    assert_eq!(status.code(), Some(0));
    let log = std::fs::read_to_string(scene.folder.path().join("access.log")).unwrap();
    let rows = log.lines().map(serde_json::from_str);
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn by_a_header_a_cookie_and_the_path() {
    let scene = Scene::new("rates-keys");
    let keel = scene.run(
        "",
        "{ name: key, priority: 1, when: { path: /key }, forward: api, limits: { rate: { per: { header: X-Key }, allow: 1/h } } }, \
         { name: cookie, priority: 2, when: { path: /cookie }, forward: api, limits: { rate: { per: { cookie: id }, allow: 1/h } } }, \
         { name: begin, priority: 3, when: { path: { prefix: /begin } }, forward: api, limits: { rate: { per: { path: 2 }, allow: 1/h } } }, \
         { name: both, priority: 4, when: { path: { prefix: /both } }, forward: api, limits: { rate: { per: [path, { header: x-key }], allow: 1/h } } }",
    );
    let mut client = Client::to(keel.address);
    let mut check = |path: &str, fields: &[&str], expect: u16| {
        let fields: String = fields.iter().map(|one| format!("{one}\r\n")).collect();
        let got = client.get(path, &fields);
        assert_eq!(got.status(), expect, "{path} {fields}");
    };
    check("/key", &["X-Key: a"], 200);
    check("/key?other", &["x-key: a"], 429);
    check("/key", &["X-Key: b"], 200);
    // Who says nothing, and who says two things, is one.
    check("/key", &[], 200);
    check("/key", &[], 429);
    check("/key", &["X-Key: c", "X-Key: d"], 429);
    check("/key", &["X-Key:"], 200);
    check("/cookie", &["Cookie: id=a; x=1"], 200);
    check("/cookie", &["Cookie: x=2; id=a"], 429);
    check("/cookie", &["Cookie: id=b"], 200);
    check("/cookie", &["Cookie: x=1"], 200);
    check("/cookie", &["Cookie: x=2"], 429);
    check("/begin/a/1", &[], 200);
    check("/begin/a/2", &[], 429);
    check("/begin/./a", &[], 429);
    check("/begin/b", &[], 200);
    check("/both/a", &["X-Key: a"], 200);
    check("/both/a", &["X-Key: a"], 429);
    check("/both/a", &["X-Key: b"], 200);
    check("/both/b", &["X-Key: a"], 200);
}

#[test]
fn all_of_several_must_let_it_pass() {
    let scene = Scene::new("rates-several");
    let keel = scene.run(
        "",
        &rule("[{ per: client, allow: 1/h, burst: 2 }, { per: rule, allow: 1/h, burst: 3, fields: true }]"),
    );
    let from = |client: &str| {
        got(
            &keel,
            &["--header", &format!("X-Forwarded-For: {client}")],
            "/",
        )
    };
    let first = from("192.0.2.1");
    assert_eq!(first.all("ratelimit-policy"), ["\"rule\";q=1;w=3600"]);
    assert!(
        first
            .field("ratelimit")
            .unwrap()
            .starts_with("\"rule\";r=2;t=")
    );
    assert_eq!(from("192.0.2.1").status(), 200);
    // Refused by the one, and the other has the same as before.
    for _ in 0..4 {
        let refused = from("192.0.2.1");
        assert_eq!(refused.status(), 429);
        assert_eq!(
            refused.all("ratelimit-policy"),
            ["\"client\";q=1;w=3600, \"rule\";q=1;w=3600"]
        );
        let left = refused.field("ratelimit").unwrap();
        let (client, rule) = left.split_once(", ").unwrap();
        assert!(client.starts_with("\"client\";r=0;t="), "{left}");
        assert!(rule.starts_with("\"rule\";r=1;t="), "{left}");
    }
    assert_eq!(from("192.0.2.2").status(), 200);
    for _ in 0..3 {
        let refused = from("192.0.2.2");
        assert_eq!(refused.status(), 429);
        assert!(
            refused
                .field("ratelimit")
                .unwrap()
                .starts_with("\"client\";r=1;")
        );
    }
    let row = |limit: &str, result: &str, count: u32| {
        metric(
            &keel,
            &format!(
                "evenkeel_rate_limit_requests_total{{of=\"rule\",name=\"api\",limit=\"{limit}\",result=\"{result}\"}} {count}"
            ),
        );
    };
    row("client", "passed", 3);
    row("client", "refused", 4);
    row("rule", "passed", 3);
    row("rule", "refused", 3);
    // The log says which of them it was.
    let log = logged(&scene, keel);
    let rows = |client: &str, limit: Option<&str>| {
        let by = |row: &&Value| row["client"] == client && row["rate_limit"].as_str() == limit;
        log.iter().filter(by).count()
    };
    let counts = [None, Some("client"), Some("rule")];
    assert_eq!(counts.map(|limit| rows("192.0.2.1", limit)), [2, 4, 0]);
    assert_eq!(counts.map(|limit| rows("192.0.2.2", limit)), [1, 0, 3]);
}

#[test]
fn streams_and_calls_are_counted_as_any_request() {
    let scene = Scene::new("rates-http2");
    let keel = scene.run("", &rule("{ allow: 1/h, burst: 2 }"));
    let two = |more: &[&str]| {
        let mut arguments = vec!["--http2-prior-knowledge"];
        arguments.extend(more);
        got(&keel, &arguments, "/keel.Greeter/Hello")
    };
    assert_eq!(two(&[]).status(), 200);
    assert_eq!(
        got(&keel, &[], "/").status(),
        200,
        "the same client by HTTP/1.1"
    );
    let refused = two(&[]);
    assert!(refused.head.starts_with("HTTP/2 429 "), "{}", refused.head);
    assert_eq!(refused.body, "429 Too Many Requests: rate_limited\n");
    about_an_hour(&refused.field("retry-after").unwrap());
    assert!(refused.field("ratelimit").is_some());
    let call = two(&[
        "--request",
        "POST",
        "--header",
        "Content-Type: application/grpc",
    ]);
    assert_eq!(call.status(), 200, "{}", call.head);
    assert_eq!(call.field("grpc-status").unwrap(), "8");
    assert_eq!(call.field("grpc-message").unwrap(), "rate_limited");
    let pushback: u64 = call
        .field("grpc-retry-pushback-ms")
        .unwrap()
        .parse()
        .unwrap();
    assert!((3_000_000..=3_600_000).contains(&pushback), "{pushback}");
    assert_eq!(scene.backend.requests(), 2);
}

/// Refused at its head while its body still comes, a call hears all of its answer first, and then that the rest is not wanted, which is no
/// error (RFC 9113 section 8.1). What it sends before it has heard that is no fault, and its connection goes on.
#[test]
fn a_call_that_is_refused_while_it_still_sends_hears_all_of_it() {
    let scene = Scene::new("rates-early");
    let keel = scene.run("", &rule("{ allow: 1/h }"));
    let mut client = Connection::to(keel.address, &[]);
    assert_eq!(client.get("/").status(), 200);
    let call = [("content-type", "application/grpc"), ("te", "trailers")];
    for _ in 0..8 {
        let stream = client.ask(0, &asks("POST", "/keel.Greeter/Hello", &call));
        let got = client.answer(stream);
        assert!(got.ended && got.reset.is_none(), "{got:?}");
        let status = got.head().and_then(|head| value(head, "grpc-status"));
        assert_eq!(status, Some("8"), "{got:?}");
        client.send(stream, &[0; 5], true);
        assert!(client.until(|own| own.streams[&stream].reset.is_some()));
        assert_eq!(client.streams[&stream].reset, Some(NO_ERROR));
    }
    assert!(client.settled() && client.goaway.is_none());
    assert_eq!(scene.backend.requests(), 1);
}

#[test]
fn what_a_listener_says_holds_where_a_rule_says_nothing() {
    let scene = Scene::new("rates-listener");
    let keel = scene.run(
        ", limits: { rate: { per: client, allow: 1/h, burst: 4 } }",
        "{ name: a, priority: 1, when: { path: /a }, forward: api }, \
         { name: b, priority: 2, when: { path: /b }, respond: { body: hello } }, \
         { name: own, priority: 3, when: { path: /own }, forward: api, limits: { rate: { per: rule, allow: 1/h } } }, \
         { name: free, priority: 4, when: { path: /free }, forward: api, limits: { rate: [] } }",
    );
    let ask = |path: &str| got(&keel, &[], path).status();
    // Of its own, of none, and together: also what no rule is for.
    assert_eq!(["/own", "/own", "/free"].map(ask), [200, 429, 200]);
    assert_eq!(["/a", "/b", "/none", "/a"].map(ask), [200, 200, 404, 200]);
    assert_eq!(
        ["/a", "/b", "/none", "/free"].map(ask),
        [429, 429, 429, 200]
    );
    let row =
        "evenkeel_rate_limit_requests_total{of=\"listener\",name=\"web\",limit=\"client\",result=";
    metric(&keel, &format!("{row}\"passed\"}} 4"));
    metric(&keel, &format!("{row}\"refused\"}} 3"));
}

#[test]
fn connections_of_a_tcp_listener_are_counted() {
    let scene = Scene::new("rates-tcp");
    let keel = scene.run(
        ", protocol: tcp, forward: api, limits: { rate: { per: client, allow: 1/h, burst: 2 } }",
        "",
    );
    let asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        let mut client = Client::to(keel.address);
        assert_eq!(client.send(asks).status(), 200);
    }
    for _ in 0..2 {
        let mut cut = TcpStream::connect(keel.address).unwrap();
        cut.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut nothing = Vec::new();
        // One way or the other.
        let _ = cut.read_to_end(&mut nothing);
        assert!(nothing.is_empty());
    }
    assert_eq!(scene.backend.requests(), 2);
    metric(
        &keel,
        "evenkeel_local_answers_total{listener=\"web\",reason=\"rate_limited\"} 2",
    );
}

#[test]
fn a_shadow_counts_and_refuses_nobody() {
    let scene = Scene::new("rates-shadow");
    let keel = scene.run("", &rule("{ allow: 1/h, shadow: true, fields: true }"));
    for _ in 0..4 {
        let answer = got(&keel, &[], "/");
        assert_eq!((answer.status(), answer.field("ratelimit")), (200, None));
    }
    let row =
        "evenkeel_rate_limit_requests_total{of=\"rule\",name=\"api\",limit=\"client\",result=";
    metric(&keel, &format!("{row}\"passed\"}} 1"));
    metric(&keel, &format!("{row}\"shadowed\"}} 3"));
    metric(&keel, &format!("{row}\"refused\"}} 0"));
}

#[test]
fn a_reload_keeps_what_was_counted() {
    let scene = Scene::new("rates-reload");
    let mut keel = scene.run("", &rule("{ allow: 1/h, burst: 2 }"));
    assert_eq!(statuses(&keel, ["", "", ""]), [200, 200, 429]);
    // Another rule, and another pace.
    let other = "{ name: other, priority: 1, when: { path: /other }, respond: { body: x } }, ";
    let with_other = |rate: &str| format!("{other}{}", rule(rate));
    scene.reload(&mut keel, "", &with_other("{ allow: 1/h, burst: 2 }"));
    assert_eq!(statuses(&keel, [""]), [429]);
    scene.reload(&mut keel, "", &with_other("{ allow: 2/h, burst: 1 }"));
    let answer = got(&keel, &[], "/");
    assert_eq!(answer.status(), 429);
    assert_eq!(
        answer.field("ratelimit-policy").unwrap(),
        "\"client\";q=2;w=3600"
    );
    let row = "evenkeel_rate_limit_requests_total{of=\"rule\",name=\"api\",limit=\"client\",result=\"refused\"} 3";
    metric(&keel, row);
    scene.reload(&mut keel, "", &with_other("{ allow: 2/h, keys: 50 }"));
    assert_eq!(statuses(&keel, ["", ""]), [200, 429], "another table");
}

/// Who makes up keys: the table stays as it is, and who has used up what was his does not get it back by it.
#[test]
fn strangers_without_end_free_nobody_and_cost_nothing() {
    let scene = Scene::new("rates-strangers");
    let keel = scene.run(
        "",
        "{ name: api, respond: { body: x }, limits: { rate: { per: { header: x-key }, allow: 1/h, burst: 3, keys: 100 } } }",
    );
    let mut client = Client::to(keel.address);
    let mut ask = |key: &str| client.get("/", &format!("X-Key: {key}\r\n")).status();
    let mine: Vec<_> = ["me"; 4].into_iter().map(&mut ask).collect();
    assert_eq!(mine, [200, 200, 200, 429]);
    for stranger in 0..5_000 {
        assert_eq!(
            ask(&format!("stranger-{stranger}")),
            200,
            "who is new is served"
        );
    }
    assert_eq!(ask("me"), 429);
    let page = keel.page("/metrics");
    let labels = "{of=\"rule\",name=\"api\",limit=\"header\"} ";
    let number = |name: &str| -> u64 {
        let row = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}{labels}")));
        row.unwrap().parse().unwrap()
    };
    let keys = number("evenkeel_rate_limit_keys");
    assert!((100..=210).contains(&keys), "{keys}");
    assert_eq!(
        number("evenkeel_rate_limit_keys_evicted_total"),
        5_001 - keys
    );
}

#[test]
fn explain_says_which_limits_it_meets() {
    let scene = Scene::new("rates-explain");
    let file = scene.write(
        ", limits: { rate: { per: listener, allow: 5/s } }",
        "{ name: a, priority: 1, when: { path: /a }, forward: api, limits: { rate: [{ allow: 90/min, burst: 9 }, { per: rule, allow: 7/h, shadow: true }] } }, \
         { name: b, priority: 2, when: { path: /b }, forward: api }",
    );
    let text = |url: &str| {
        let (code, out, said) = evenkeel(&["explain", "-c", &file, "GET", url]);
        assert_eq!(code, Some(0), "{said}");
        out
    };
    let out = text("http://a/a");
    for line in [
        "rate limit client of rule a, 90/min, burst 9: passes, 9 left\n",
        "rate limit rule of rule a, 7/h, burst 1, shadow: passes, 1 left\n",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let line = "rate limit listener of listener web, 5/s, burst 5: passes, 5 left\n";
    for url in ["http://a/b", "http://a/none"] {
        let out = text(url);
        assert!(out.contains(line), "{out}");
    }
    let (_, out, _) = evenkeel(&["explain", "--json", "-c", &file, "GET", "http://a/a"]);
    let rows: Value = serde_json::from_str(&out).unwrap();
    let row = &rows["explanations"][0]["limits"][1];
    let expect = serde_json::json!({
        "of": "rule", "name": "a", "limit": "rule", "allow": "7/h", "burst": 1, "shadow": true, "left": 1, "passes": true,
    });
    assert_eq!(*row, expect);
}
