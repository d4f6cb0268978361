//! Traces as a collector gets them: by OpenTelemetry's own messages (PyPI `opentelemetry-proto`), with nginx behind, which says which span it
//! was told.

use serde_json::Value;

use crate::process::{Evenkeel, Folder, Hearer, Server};

const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// A trace and a span of somebody before, in hexadecimal.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// One who collects. Answers with these statuses first.
fn collector(statuses: &[&str]) -> Hearer {
    Hearer::start("traces/collector.py", statuses)
}

/// nginx, behind somebody who is away.
struct Site {
    folder: Folder,
    _files: Folder,
    server: Server,
}

impl Site {
    fn new(name: &str) -> Self {
        let (folder, files) = (Folder::new(name), Folder::new(&format!("{name}-files")));
        let server = "location = /who { return 200 \"$http_traceparent|$http_tracestate\"; } location = /bad { return 503; }";
        Self {
            folder,
            server: Server::nginx(&files, server),
            _files: files,
        }
    }

    fn run(&self, traces: &str) -> Evenkeel {
        self.run_trusting("127.0.0.0/8", traces)
    }

    fn run_trusting(&self, trusted: &str, traces: &str) -> Evenkeel {
        let text = format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
trusted_proxies: [{trusted}]
{traces}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api: {{ breaker: off, retry: {{ attempts: 2, on: [connect] }}, backends: [{{ id: dead, address: \"127.0.0.1:1\" }}, {{ id: \"alive:8080\", address: \"{}\", tier: 1 }}] }}
rules: [{{ name: own, priority: 1, when: {{ path: /own }}, respond: {{ body: own }} }}, {{ name: all, priority: 2, forward: api }}]
",
            self.server.address
        );
        let file = self.folder.write("keel.yaml", &text);
        Evenkeel::run(&["-c", file.to_str().unwrap()])
    }
}

fn parent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}")
}

fn traces(collector: &Hearer, more: &str) -> String {
    format!(
        "traces: {{ to: \"http://127.0.0.1:{}\"{more} }}",
        collector.port
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Of whoever is trusted the decision holds; the exchange hangs below its span, attempts below the exchange, and the backend is told of its
/// attempt. What ends is told before the process is over.
#[test]
fn an_exchange_is_a_span_and_each_attempt_one_below() {
    let mut collector = collector(&[]);
    let site = Site::new("traces-spans");
    let keel = site.run(&traces(&collector, ", service: front"));
    let state = "tracestate: a=b";
    // Of nobody's decision and of a no, nothing is told.
    let alone = keel.curl(&[], "/who");
    assert!(alone.ends_with("-00|"), "{alone}");
    let unsampled = keel.curl(&["-H", &parent("00"), "-H", state], "/who");
    assert_eq!(unsampled, format!("00-{TRACE}-{PARENT}-00|a=b"));
    let sampled = keel.curl(&["-H", &parent("01"), "-H", state], "/who");
    keel.signal("-TERM");
    let message = collector.message();
    assert_eq!(message["path"], "/v1/traces");
    assert_eq!(message["fields"]["content-type"], "application/json");
    let spans = message["spans"].as_array().unwrap();
    let [exchange, failed, served] = &spans[..] else {
        panic!("{message:#}");
    };
    for span in spans {
        assert_eq!(
            (text(&span["trace"]), text(&span["service"])),
            (TRACE, "front")
        );
        assert!(span["begin"].as_u64() <= span["end"].as_u64(), "{span}");
        let of = &span["attributes"];
        assert_eq!(of["http.request.method"], "GET");
        assert_eq!(of["url.path"], "/who");
        assert_eq!(of["network.protocol.version"], "1.1");
        assert!(span["begin"].as_u64() >= exchange["begin"].as_u64());
        assert!(span["end"].as_u64() <= exchange["end"].as_u64());
    }
    assert_eq!(exchange["kind"], SERVER);
    assert_eq!(text(&exchange["name"]), "GET all");
    assert_eq!(text(&exchange["parent"]), PARENT);
    assert_eq!(exchange["status"], 0);
    let of = &exchange["attributes"];
    for (key, expect) in [
        ("http.response.status_code", Value::from(200)),
        ("client.address", "127.0.0.1".into()),
        ("server.address", "127.0.0.1".into()),
        ("url.scheme", "http".into()),
        ("evenkeel.listener", "web".into()),
        ("evenkeel.rule", "all".into()),
        ("evenkeel.service", "api".into()),
        ("evenkeel.reason", "served".into()),
    ] {
        assert_eq!(of[key], expect, "{key}: {of:#}");
    }
    for attempt in [failed, served] {
        assert_eq!(attempt["kind"], CLIENT);
        assert_eq!(attempt["parent"], exchange["id"]);
        assert_eq!(attempt["attributes"]["evenkeel.service"], "api");
    }
    assert_eq!(failed["attributes"]["evenkeel.backend"], "dead");
    assert_eq!(failed["attributes"]["error.type"], "connect_failed");
    assert_eq!(failed["status"], 2);
    assert_eq!(
        failed["attributes"]["http.request.resend_count"],
        Value::Null
    );
    assert_eq!(served["attributes"]["http.request.resend_count"], 1);
    assert_eq!(served["attributes"]["server.address"], "alive");
    assert_eq!(served["attributes"]["server.port"], 8080);
    assert_eq!(served["attributes"]["http.response.status_code"], 200);
    assert_eq!(served["status"], 0);
    // The backend is told of its own attempt, and not of another.
    assert_eq!(
        sampled,
        format!("00-{TRACE}-{}-01|a=b", text(&served["id"]))
    );
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| text(&span["id"])).collect();
    assert_eq!(ids.len(), 3);
}

/// What anybody else says of a trace is not believed: neither that it is recorded, nor which it is.
#[test]
fn who_is_not_trusted_decides_nothing() {
    let collector = collector(&[]);
    let site = Site::new("traces-untrusted");
    let keel = site.run_trusting("10.0.0.0/8", &traces(&collector, ""));
    let told = keel.curl(&["-H", &parent("01")], "/who");
    assert!(!told.contains(TRACE) && told.ends_with("-00|"), "{told}");
    let page = keel.page("/metrics");
    assert!(
        page.contains("\nevenkeel_traced_requests_total 0\n"),
        "{page}"
    );
}

/// A share of what nobody has decided of; and what the collector wants for it stands nowhere.
#[test]
fn a_share_is_drawn_and_no_secret_is_told() {
    let mut collector = collector(&[]);
    let site = Site::new("traces-share");
    let keel = site.run(&traces(
        &collector,
        ", share: 100%, headers: { Authorization: \"Bearer hunter2\" }",
    ));
    assert_eq!(keel.curl(&[], "/own?token=hunter2"), "own");
    let told = keel.curl(&[], "/bad?token=hunter2");
    assert!(!told.contains("hunter2"));
    let shown = keel.page("/v1/configuration");
    assert!(shown.contains("traces.headers"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    keel.signal("-TERM");
    let message = collector.message();
    assert_eq!(message["fields"]["authorization"], "Bearer hunter2");
    let spans = message["spans"].as_array().unwrap();
    let all = |key: &str| {
        spans
            .iter()
            .map(|span| span[key].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(all("kind"), [SERVER, SERVER, CLIENT, CLIENT]);
    assert_eq!(all("name"), ["GET own", "GET all", "GET", "GET"]);
    assert_eq!(all("status"), [0, 2, 2, 2]);
    assert_eq!(spans[0]["parent"], "");
    assert_ne!(spans[0]["trace"], spans[1]["trace"]);
    assert_eq!(spans[1]["attributes"]["error.type"], "503");
    assert_eq!(spans[3]["attributes"]["error.type"], "503");
    assert!(
        !message["spans"].to_string().contains("hunter2"),
        "{message}"
    );
    let (_, said) = keel.wait();
    assert!(!said.contains("hunter2"), "{said}");
}

/// What it says that it takes later is sent again, what it refuses is not; nobody waits for either.
#[test]
fn a_collector_that_does_not_take_them_is_asked_again_or_not() {
    let mut collector = collector(&["503", "429", "200", "400"]);
    let site = Site::new("traces-again");
    let mut keel = site.run(&traces(&collector, ", share: 100%"));
    assert_eq!(keel.curl(&[], "/own"), "own");
    let messages = [(); 3].map(|()| collector.message());
    let statuses = messages
        .each_ref()
        .map(|one| one["status"].as_u64().unwrap());
    assert_eq!(statuses, [503, 429, 200]);
    assert_eq!(messages[0]["spans"], messages[2]["spans"]);
    keel.until_any("takes them again");
    assert_eq!(keel.curl(&[], "/own"), "own");
    assert_eq!(collector.message()["status"], 400);
    keel.until_any("does not take them: it answers 400");
    let page = keel.page("/metrics");
    for row in [
        "evenkeel_traced_requests_total 2",
        "evenkeel_traced_requests_lost_total{reason=\"given_up\"} 1",
        "evenkeel_trace_spans_total{outcome=\"taken\"} 1",
        "evenkeel_trace_messages_total{outcome=\"taken\"} 1",
        "evenkeel_trace_messages_total{outcome=\"again\"} 2",
        "evenkeel_trace_messages_total{outcome=\"given_up\"} 1",
    ] {
        assert!(page.contains(&format!("\n{row}\n")), "{row} in {page}");
    }
}

/// Five times is as often as a message is sent; what comes next is told all the same.
#[test]
fn a_message_is_not_sent_for_ever() {
    let mut collector = collector(&["503"; 5]);
    let site = Site::new("traces-given-up");
    let mut keel = site.run(&traces(&collector, ", share: 100%"));
    assert_eq!(keel.curl(&[], "/own"), "own");
    let first: Vec<_> = (0..5).map(|_| collector.message()).collect();
    for one in &first {
        assert_eq!(
            (&one["status"], &one["spans"]),
            (&503.into(), &first[0]["spans"])
        );
    }
    assert_eq!(keel.curl(&[], "/own"), "own");
    let next = collector.message();
    assert_eq!(next["status"], 200);
    assert_ne!(next["spans"], first[0]["spans"]);
    keel.until_any("takes them again");
    let page = keel.page("/metrics");
    for row in [
        "evenkeel_traced_requests_lost_total{reason=\"given_up\"} 1",
        "evenkeel_trace_messages_total{outcome=\"again\"} 4",
        "evenkeel_trace_messages_total{outcome=\"given_up\"} 1",
        "evenkeel_trace_messages_total{outcome=\"taken\"} 1",
    ] {
        assert!(page.contains(&format!("\n{row}\n")), "{row} in {page}");
    }
}

/// Who is away costs no request, and is told once it is named by a reload.
#[test]
fn a_collector_that_is_away_costs_nothing() {
    let mut collector = collector(&[]);
    let site = Site::new("traces-away");
    let mut keel = site.run("traces: { to: \"http://127.0.0.1:1\", share: 100% }");
    for _ in 0..20 {
        assert_eq!(keel.curl(&[], "/own"), "own");
    }
    keel.until_any("does not take them");
    let file = site.folder.path().join("keel.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let port = format!("127.0.0.1:{}\", share", collector.port);
    let text = text.replace("127.0.0.1:1\", share", &port);
    site.folder.write("keel.yaml", &text);
    keel.signal("-HUP");
    keel.until_any("traces changes");
    assert_eq!(keel.curl(&[], "/own"), "own");
    keel.signal("-TERM");
    let message = collector.message();
    assert!(
        !message["spans"].as_array().unwrap().is_empty(),
        "{message}"
    );
}
