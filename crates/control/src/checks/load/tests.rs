//! Rows of backends whose page says something, oddly or not at all, and what the core has of it then.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use evenkeel_balance::standing::Standing;
use evenkeel_config::{Source, load};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::observation::reports;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// The only service of a file whose backend stands there.
fn service(at: SocketAddr, page: &str) -> Arc<LiveService> {
    let text = format!(
        "listeners: {{ web: {{ bind: \"127.0.0.1:1\" }} }}\nservices: {{ api: {{ policy: weighted_by_load, backends: [\"{at}\"], load: {{ report: {{ http: {page} }}, metrics: [named_metrics.queue] }} }} }}\n"
    );
    let name = "f.yaml".into();
    let loaded = load(&[Source { name, text }], &BTreeMap::new());
    let plan = loaded.plan.unwrap();
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    let live = Live::join(plan, None, 1, &events, Instant::ZERO);
    live.services[0].clone()
}

/// What one question comes to: the utilization that the core has, what is counted, and what was asked.
async fn told(page: &str, answer: &[u8]) -> (Option<f32>, &'static str, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = service(listener.local_addr().unwrap(), page);
    let clock = Clock::start();
    let poller = start(&service, clock).unwrap().unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(answer).await.unwrap();
    drop(stream);
    let counted = loop {
        let all = reports([].into_iter(), &service.state.polls);
        if let Some((word, _)) = all.into_iter().find(|(_, count)| *count > 0) {
            break word;
        }
        tokio::task::yield_now().await;
    };
    let seen = &service.state.service.snapshot(clock.now()).backends[0];
    // Nothing of it is a check.
    let checked = (seen.standing, seen.last_check.is_none());
    assert_eq!(checked, (Standing::Serving, true));
    drop(poller);
    let utilization = seen.load.unwrap().utilization;
    (utilization, counted, String::from_utf8(head).unwrap())
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn pages() {
    let report = r#"{"cpu_utilization":0.25,"rps_fractional":120,"eps":1}"#;
    let chosen = r#"{"cpu_utilization":0.25,"named_metrics":{"queue":0.75}}"#;
    let huge = format!("{{}}{}", " ".repeat(70_000));
    let broken = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec();
    let rows = [
        (answer("200 OK", report), Some(0.25), "read"),
        (answer("200 OK", chosen), Some(0.75), "read"),
        (answer("200 OK", "{}"), None, "read"),
        (answer("200 OK", "{"), None, "syntax"),
        (answer("200 OK", ""), None, "syntax"),
        (
            answer("200 OK", r#"{"cpu_utilization":"NaN"}"#),
            None,
            "number",
        ),
        (answer("200 OK", r#"{"eps":1,"eps":1}"#), None, "twice"),
        (answer("404 Not Found", report), None, "unanswered"),
        (answer("200 OK", &huge), None, "long"),
        (b"what?\r\n\r\n".to_vec(), None, "unanswered"),
        (broken, None, "unanswered"),
        (Vec::new(), None, "unanswered"),
    ];
    for (answer, utilization, counted) in rows {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(99)]).into_owned();
        let (said, word, asked) = told("{}", &answer).await;
        assert_eq!((said, word), (utilization, counted), "{shown}");
        assert!(asked.starts_with("GET /load HTTP/1.1\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn what_is_asked() {
    let page = "{ path: \"/my/load?x=1\", host: api.internal }";
    let (_, _, asked) = told(page, &answer("200 OK", "{}")).await;
    let first = "GET /my/load?x=1 HTTP/1.1\r\nHost: api.internal\r\n";
    assert!(asked.starts_with(first), "{asked}");
    let accepts = "\r\nAccept: application/json\r\n";
    assert!(asked.contains(accepts), "{asked}");
}

/// A page that cannot be asked for is known before anything is changed.
#[test]
fn what_cannot_be_asked() {
    let of = |page: &str| asked(&service(([127, 0, 0, 1], 1).into(), page).plan);
    assert_eq!(of("{ path: /a }"), Ok(()));
    assert!(of("{ path: \"/a#b\" }").is_err());
    assert!(of("{ host: \"a/b\" }").is_err());
}

/// What stays the same goes on; what does not begins anew.
#[tokio::test]
async fn who_goes_on() {
    let at = SocketAddr::from(([127, 0, 0, 1], 1));
    let clock = Clock::start();
    let first = service(at, "{}");
    let begun = || start(&first, clock).unwrap().unwrap();
    assert!(begun().go_on(&first).is_some());
    let other = service(at, "{ path: /other }");
    let moved = LiveService {
        plan: other.plan.clone(),
        state: first.state.clone(),
        affinity: None,
        cookies: None,
        regions: None,
        towards: None,
        towards_flows: None,
    };
    assert!(begun().go_on(&moved).is_none());
    assert!(begun().go_on(&other).is_none());
}
