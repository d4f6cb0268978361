use std::net::Ipv4Addr;

use evenkeel_config::plan::LogTarget;
use evenkeel_proxy::observation::Observation;
use evenkeel_proxy::reason::Reason;
use evenkeel_proxy::record::Batch;
use evenkeel_proxy::tls::secured::{Agreed, Version as Tls};
use proptest::prelude::*;

use super::*;

fn how(format: RowFormat) -> AccessLogPlan {
    AccessLogPlan {
        to: LogTarget::Stdout,
        format,
        query: QueryShown::Redacted,
        truncated: false,
    }
}

fn seen() -> Observation {
    Observation {
        status: 200,
        reason: Reason::Served,
        attempts: 1,
        understood: true,
        forwarded: true,
        queue: Duration::from_micros(5),
        head: Some(Duration::from_micros(1_250)),
        total: Duration::from_millis(42),
        head_received: 100,
        head_sent: 90,
        received: 7,
        sent: 2326,
        ..Observation::begin(Ipv4Addr::new(127, 0, 0, 1).into())
    }
}

const ENDED: Duration = Duration::from_millis(784_111_777_084);

fn row(
    seen: Observation,
    how: &AccessLogPlan,
    text: impl Fn(Text) -> Option<&'static str>,
) -> String {
    let mut batch = Batch::default();
    let version = seen.understood.then_some(Version::Current);
    batch.take(seen, version, ENDED, |which| text(which).map(str::as_bytes));
    let mut out = Vec::new();
    batch
        .records()
        .for_each(|record| put(&record, how, &mut out));
    String::from_utf8(out).unwrap()
}

fn usual(text: Text) -> Option<&'static str> {
    Some(match text {
        Text::Listener => "web",
        Text::Rule => "all",
        Text::Service => "api",
        Text::Backend => "10.0.0.1:80",
        Text::Method => "GET",
        Text::Host => "example.com",
        Text::Path => "/a\"b",
        Text::Query => "token=1&b=2",
        Text::RequestId => "abc",
        Text::TraceId => "11111111111111111111111111111111",
        Text::Referer => "https://me:pw@a/?key=1",
        Text::Agent => "x \\ y",
        Text::Sni | Text::Subject | Text::Fingerprint | Text::RateLimit => return None,
    })
}

#[test]
fn formats() {
    let json = concat!(
        r#"{"time":"1994-11-06T08:49:37.042Z","listener":"web","rule":"all","service":"api","backend":"10.0.0.1:80","#,
        r#""client":"127.0.0.1","peer":"127.0.0.1","method":"GET","host":"example.com","path":"/a\"b","query":"token=***&b=2","#,
        r#""protocol":"HTTP/1.1","scheme":"http","tls_version":null,"tls_cipher":null,"tls_group":null,"tls_resumed":null,"sni":null,"#,
        r#""client_certificate_subject":null,"client_certificate_fingerprint":null,"status":200,"grpc_status":null,"reason":"served","refused":null,"affinity":null,"affinity_lost":null,"rate_limit":null,"attempts":1,"received_head_bytes":100,"received_bytes":7,"#,
        r#""sent_head_bytes":90,"sent_bytes":2326,"queue_ms":0.005,"connect_ms":null,"head_ms":1.250,"total_ms":42.000,"#,
        r#""request_id":"abc","trace_id":"11111111111111111111111111111111"}"#,
        "\n"
    );
    let common =
        r#"127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a\"b?token=***&b=2 HTTP/1.1" 200 2326"#;
    let combined = format!("{common} \"https://a/?key=***\" \"x \\\\ y\"\n");
    assert_eq!(row(seen(), &how(RowFormat::Json), usual), json);
    assert_eq!(
        row(seen(), &how(RowFormat::Common), usual),
        format!("{common}\n")
    );
    assert_eq!(row(seen(), &how(RowFormat::Combined), usual), combined);
}

#[test]
fn what_was_agreed_on_and_shown() {
    let secured = Observation {
        secured: Some(Agreed {
            version: Tls::Tls13,
            cipher: Some("TLS_AES_128_GCM_SHA256"),
            group: Some("X25519MLKEM768"),
            resumed: true,
        }),
        ..seen()
    };
    let row = row(secured, &how(RowFormat::Json), |text| match text {
        Text::Sni => Some("a.example"),
        Text::Subject => Some("CN=\"bob\""),
        Text::Fingerprint => Some("00ff"),
        other => usual(other),
    });
    let expect = r#""protocol":"HTTP/1.1","scheme":"https","tls_version":"1.3","tls_cipher":"TLS_AES_128_GCM_SHA256","tls_group":"X25519MLKEM768","tls_resumed":true,"sni":"a.example","client_certificate_subject":"CN=\"bob\"","client_certificate_fingerprint":"00ff","status":200"#;
    assert!(row.contains(expect), "{row}");
}

#[test]
fn a_client_that_left_and_a_head_that_nobody_understood() {
    let left = Observation {
        status: 0,
        reason: Reason::ClientGone,
        sent: 0,
        ..seen()
    };
    let common = row(left, &how(RowFormat::Common), usual);
    assert!(common.ends_with(" HTTP/1.1\" 499 -\n"), "{common}");
    let malformed = Observation {
        understood: false,
        status: 408,
        reason: Reason::HeadTimeout,
        ..seen()
    };
    let combined = row(malformed, &how(RowFormat::Combined), |_| None);
    assert!(
        combined.ends_with("] \"-\" 408 2326 \"-\" \"-\"\n"),
        "{combined}"
    );
    let json = row(malformed, &how(RowFormat::Json), |_| None);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["path"], &json["query"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(
        (&json["status"], &json["reason"]),
        (&408.into(), &"head_timeout".into())
    );
}

#[test]
fn addresses_are_cut() {
    let cut = AccessLogPlan {
        truncated: true,
        query: QueryShown::None,
        ..how(RowFormat::Common)
    };
    for (client, expect) in [
        ("203.0.113.77", "203.0.113.0 - -"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:: - -"),
    ] {
        let client = client.parse().unwrap();
        let row = row(Observation { client, ..seen() }, &cut, usual);
        assert!(
            row.starts_with(expect) && row.contains("GET /a\\\"b HTTP"),
            "{row}"
        );
    }
}

proptest! {
    /// Whatever a client writes: a row is one line, of printable ASCII but for JSON's letters, and JSON can be read.
    #[test]
    fn no_client_breaks_a_row(
        texts in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)), 16),
    ) {
        let mut batch = Batch::default();
        batch.take(seen(), Some(Version::Current), ENDED, |which| texts[which as usize].as_deref());
        for format in [RowFormat::Json, RowFormat::Common, RowFormat::Combined] {
            let mut out = Vec::new();
            batch.records().for_each(|record| put(&record, &how(format), &mut out));
            let text = String::from_utf8(out).unwrap();
            let line = text.strip_suffix('\n').unwrap();
            let breaks = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
            prop_assert!(!line.contains(breaks), "{line:?}");
            if format == RowFormat::Json {
                let json: serde_json::Value = serde_json::from_str(line).unwrap();
                let path = texts[Text::Path as usize].as_deref();
                // What is UTF-8 is read as it came.
                if let Some(Ok(path)) = path.map(std::str::from_utf8) {
                    prop_assert_eq!(json["path"].as_str(), Some(path));
                }
            } else {
                prop_assert!(line.is_ascii());
                // Quotes that are not escaped are ours.
                let unescaped = line.replace("\\\\", "").replace("\\\"", "");
                let ours = if format == RowFormat::Common { 2 } else { 6 };
                prop_assert_eq!(unescaped.matches('"').count(), ours, "{}", line);
            }
        }
    }
}
