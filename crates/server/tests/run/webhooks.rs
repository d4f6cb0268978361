//! Alerts as receivers get them: a server of Python's, which looks at signatures by its own HMAC.

use serde_json::Value;

use crate::process::{Evenkeel, Folder, Hearer};
use crate::tls::Authority;

const SECRET: &str = "0123456789abcdef";

/// Somebody who is told.
struct Receiver(Hearer);

impl Receiver {
    /// Gives these answers first.
    fn start(answers: &[&str]) -> Self {
        let arguments = [&[SECRET], answers].concat();
        Self(Hearer::start("webhooks/receiver.py", &arguments))
    }

    /// The next message.
    fn message(&mut self) -> Value {
        self.0.message()
    }

    fn to(&self) -> String {
        format!("http://127.0.0.1:{}/told?token=x", self.0.port)
    }
}

/// A service whose only backend nobody is at: two alerts, its own and the backend's.
fn run(folder: &Folder, webhooks: &str) -> Evenkeel {
    folder.write("secret", SECRET);
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
alerts: {{ webhooks: [{webhooks}] }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  gone: {{ health: {{ tcp: {{}}, interval: 1h, interval_unsure: 1h, fall: 1 }}, backends: [{{ id: dead, address: \"127.0.0.1:1\" }}] }}
rules: [{{ forward: gone }}]
"
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

fn page(keel: &Evenkeel, path: &str) -> Value {
    let out = keel.page(path);
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{path}: {out}"))
}

/// Asks for a page until it is as it should be: a look is curl's start, so that this is a minute or more.
fn until(keel: &Evenkeel, path: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..10_000 {
        last = page(keel, path);
        if is(&last) {
            return last;
        }
    }
    panic!("{path}: {last}");
}

/// Each message is signed anew and keeps its id over all attempts; what is wrong is told in order.
#[test]
fn an_alert_is_told_signed_and_tried_again() {
    let mut receiver = Receiver::start(&["500", "429"]);
    let folder = Folder::new("webhooks-signed");
    let hook = format!(
        "{{ name: ops, to: \"{}\", secret: ./secret, headers: {{ Authorization: Bearer 1 }} }}",
        receiver.to()
    );
    let mut keel = run(&folder, &hook);
    let messages = [(); 4].map(|()| receiver.message());
    let answers = messages.each_ref().map(|one| one["answer"].as_str());
    assert_eq!(
        answers,
        [Some("500"), Some("429"), Some("200"), Some("200")]
    );
    for one in &messages {
        assert_eq!(one["signed"], true, "{one:#}");
        assert_eq!(one["path"], "/told?token=x");
        assert_eq!(one["fields"]["authorization"], "Bearer 1");
        assert_eq!(one["fields"]["content-type"], "application/json");
        let body = &one["body"];
        assert_eq!(body["type"], "alert_raised", "{one:#}");
        assert_eq!(body["id"], one["fields"]["webhook-id"]);
        assert_eq!(body["alert"]["kind"], "down");
        assert_eq!(body["alert"]["service"], "gone");
        assert_eq!(body["alert"]["state"], "open");
    }
    let ids = messages.each_ref().map(|one| one["body"]["id"].as_str());
    assert_eq!((ids[0], ids[1]), (ids[2], ids[2]));
    assert_ne!(ids[2], ids[3]);
    // Two failures in a row are trouble, which is told once, and once that it is over.
    keel.until_any("webhook takes alerts again");
    let kinds = "/v1/events?kind=webhook_failing,webhook_mended";
    let told = page(&keel, kinds);
    let told = told["items"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|one| (one["kind"].as_str(), one["subject"].as_str()))
        .collect();
    let ops = Some("ops");
    assert_eq!(
        told,
        [
            (Some("webhook_failing"), ops),
            (Some("webhook_mended"), ops)
        ]
    );
    let seen = until(&keel, "/v1/webhooks", |seen| {
        seen["receivers"][0]["delivered"] == 2
    });
    let one = &seen["receivers"][0];
    assert_eq!((&one["again"], &one["failing"]), (&2.into(), &false.into()));
    assert_eq!(one["to"], format!("http://127.0.0.1:{}", receiver.0.port));
    assert_eq!(one["last_error"]["why"], "it answers 429");
    let metrics = keel.page("/metrics");
    for row in [
        "evenkeel_webhook_messages_total{webhook=\"ops\",outcome=\"delivered\"} 2",
        "evenkeel_webhook_retries_total{webhook=\"ops\"} 2",
        "evenkeel_webhook_failing{webhook=\"ops\"} 0",
    ] {
        assert!(
            metrics.contains(&format!("\n{row}\n")),
            "{row} in {metrics}"
        );
    }
}

/// One that hangs, one that refuses and one that is away: who is well is told of everything, and what is watched goes on.
#[test]
fn who_is_not_well_holds_up_nobody() {
    let (mut well, mut hangs) = (Receiver::start(&[]), Receiver::start(&["hang"; 8]));
    let mut refuses = Receiver::start(&["410", "410"]);
    let folder = Folder::new("webhooks-ill");
    let hooks = [
        format!("{{ name: hangs, to: \"{}\", timeout: 1m }}", hangs.to()),
        "{ name: away, to: \"http://127.0.0.1:1\", attempts: 1 }".to_owned(),
        format!("{{ name: refuses, to: \"{}\" }}", refuses.to()),
        format!(
            "{{ name: well, to: \"{}\", severity: critical }}",
            well.to()
        ),
        format!("{{ name: late, to: \"{}\", events: [cleared] }}", well.to()),
    ];
    let keel = run(&folder, &hooks.join(", "));
    // Of the two alerts the service's own is critical.
    let first = well.message();
    assert_eq!(first["body"]["alert"]["severity"], "critical", "{first:#}");
    assert_eq!(first["signed"], false);
    assert_eq!(hangs.message()["answer"], "hang");
    let seen = until(&keel, "/v1/webhooks", |seen| {
        let of = |at: usize, key: &str| seen["receivers"][at][key].as_u64();
        of(0, "waiting") == Some(2) && of(1, "given_up") == Some(2) && of(2, "refused") == Some(2)
    });
    assert_eq!(seen["receivers"][0]["delivered"], 0, "{seen:#}");
    let dead = seen["dead"].as_array().unwrap();
    assert_eq!(dead.len(), 4, "{seen:#}");
    let of_refuses: Vec<_> = (dead.iter())
        .filter(|one| one["webhook"] == "refuses")
        .collect();
    assert_eq!(of_refuses[0]["why"], "it answers 410");
    assert_eq!(of_refuses[0]["attempts"], 1);
    let id = of_refuses[0]["id"].as_str().unwrap();
    assert_eq!(refuses.message()["body"]["id"], id);
    refuses.message();
    // What is right again is told while one still hangs.
    let looks = |keel: &Evenkeel| {
        let metrics = keel.page("/metrics");
        let mut rows = metrics.lines();
        let row = rows.find_map(|row| row.strip_prefix("evenkeel_monitoring_looks_total "));
        row.unwrap().parse::<u64>().unwrap()
    };
    let before = looks(&keel);
    assert!((0..10_000).any(|_| looks(&keel) > before + 1));
    // Somebody has it told again, by the id that it had.
    let path = format!("/v1/webhooks/dead/{}/again", of_refuses[0]["number"]);
    let asks = ["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"];
    let answer = keel.asked(&asks, &path);
    assert!(answer.contains("\"count\":1"), "{answer}");
    let again = refuses.message();
    assert_eq!(
        (&again["answer"], &again["body"]["id"]),
        (&"200".into(), &id.into())
    );
    let answer = keel.asked(&asks, &path);
    assert!(answer.contains("unknown_letter"), "{answer}");
    let seen = until(&keel, "/v1/webhooks", |seen| {
        seen["receivers"][2]["delivered"] == 1
    });
    assert_eq!(seen["dead"].as_array().unwrap().len(), 3, "{seen:#}");
    assert_eq!(seen["receivers"][4]["delivered"], 0, "{seen:#}");
}

/// Over TLS a receiver is who its issuer says: another one is told nothing.
#[test]
fn over_tls_a_receiver_is_who_its_issuer_says() {
    let folder = Folder::new("webhooks-tls");
    let (ours, others) = (
        Authority::new(&folder, "ours"),
        Authority::new(&folder, "others"),
    );
    ours.make("hook", &["127.0.0.1"]);
    let path = folder.path().display().to_string();
    let mut receiver = Receiver::start(&[&format!("tls:{path}/hook.pem:{path}/hook.key")]);
    let hook = |name: &str, authority: &Authority<'_>| {
        let to = receiver.to().replace("http:", "https:");
        let ca = authority.ca.display();
        format!("{{ name: {name}, to: \"{to}\", ca: \"{ca}\", secret: ./secret, attempts: 1 }}")
    };
    let hooks = [hook("known", &ours), hook("strange", &others)];
    let keel = run(&folder, &hooks.join(", "));
    for _ in 0..2 {
        let told = receiver.message();
        assert_eq!(
            (&told["signed"], &told["answer"]),
            (&true.into(), &"200".into())
        );
    }
    let seen = until(&keel, "/v1/webhooks", |seen| {
        let of = |at: usize, key: &str| seen["receivers"][at][key].as_u64();
        of(0, "delivered") == Some(2) && seen["dead"].as_array().unwrap().len() == 2
    });
    let strange = &seen["receivers"][1];
    assert_eq!(strange["delivered"], 0, "{seen:#}");
    assert_eq!(strange["last_error"]["why"], "tls: certificate_unknown");
}

/// A receiver that asks for a rest has it; the end of the process does not wait for that, and what is left is told then.
#[test]
fn a_rest_that_is_asked_for_is_kept_but_by_the_end() {
    let folder = Folder::new("webhooks-rest");
    let mut receiver = Receiver::start(&["503/25"]);
    let keel = run(
        &folder,
        &format!("{{ name: ops, to: \"{}\" }}", receiver.to()),
    );
    let first = receiver.message();
    let looks = |keel: &Evenkeel| {
        let metrics = keel.page("/metrics");
        let row = |name: &str| {
            let mut rows = metrics.lines();
            let row = rows.find_map(|row| row.strip_prefix(name));
            row.unwrap().trim().parse::<u64>().unwrap()
        };
        let again = row("evenkeel_webhook_retries_total{webhook=\"ops\"}");
        (row("evenkeel_monitoring_looks_total"), again)
    };
    // By itself it would be tried again after a second at most; looks come once a second.
    let (before, _) = looks(&keel);
    assert!((0..10_000).any(|_| {
        let (now, again) = looks(&keel);
        assert_eq!(again, 0, "it is not tried again meanwhile");
        now > before + 4
    }));
    keel.signal("-TERM");
    let (again, other) = (receiver.message(), receiver.message());
    assert_eq!(again["body"]["id"], first["body"]["id"]);
    assert_ne!(other["body"]["id"], first["body"]["id"]);
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
}
