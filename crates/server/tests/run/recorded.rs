//! Records of decisions: drawn, or asked for by who may, and found by the id that backends know a request by. By curl, beside what backends
//! got.

use serde_json::{Value, json};

use crate::access::create;
use crate::process::{Evenkeel, Folder, Server};

/// A backend that says what it got: the request's id, and what is meant for the proxy alone.
const ECHO: &str =
    "location = /who { return 200 \"$http_x_request_id|$http_x_evenkeel_explain|\"; }";

/// A service whose first tier nobody is at, and tokens: of who may read decisions, of who may not, and of one whose time is over.
struct Site {
    folder: Folder,
    server: Server,
    _files: Folder,
    tokens: [String; 3],
}

const RECORDS: &str = "tokens: tokens.yaml, records: { header: true }";

impl Site {
    fn new(name: &str) -> Self {
        let (folder, files) = (Folder::new(name), Folder::new(&format!("{name}-files")));
        let rows = [
            ("asks", "admin"),
            ("looks", "health:read"),
            ("late", "admin"),
        ];
        let made = rows.map(|(name, scope)| create(&["--name", name, "--scope", scope]));
        let lines: Vec<_> = made.iter().map(|(_, line)| &**line).collect();
        let late = lines[2].replace(" }", ", until: 2020-01-01 }");
        folder.write(
            "tokens.yaml",
            &format!("{}\n{}\n{late}\n", lines[0], lines[1]),
        );
        Self {
            folder,
            server: Server::nginx(&files, ECHO),
            _files: files,
            tokens: made.map(|(token, _)| token),
        }
    }

    fn write(&self, admin: &str, policy: &str) -> String {
        let text = format!(
            "admin: {{ bind: \"127.0.0.1:0\", {admin} }}
workers: 1
access_log: {{ to: ./rows.log }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api: {{ policy: {policy}, breaker: off, backends: [{{ id: dead, address: \"127.0.0.1:1\" }}, {{ id: alive, address: \"{}\", tier: 1 }}] }}
rules: [{{ name: own, priority: 1, when: {{ path: /own }}, respond: {{ body: own }} }}, {{ name: all, priority: 2, forward: api }}]
",
            self.server.address
        );
        let file = self.folder.write("keel.yaml", &text);
        file.to_str().unwrap().to_owned()
    }

    fn run(&self, admin: &str) -> Evenkeel {
        Evenkeel::run(&["-c", &self.write(admin, "round_robin")])
    }

    /// A page, for who may see all.
    fn page(&self, keel: &Evenkeel, path: &str) -> Value {
        let out = self.text(keel, path);
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{path}: {out}"))
    }

    fn text(&self, keel: &Evenkeel, path: &str) -> String {
        let bearer = format!("Authorization: Bearer {}", self.tokens[0]);
        keel.asked(&["-H", &bearer], path)
    }

    /// The record of this name. It is there a moment after the client has its answer.
    fn record(&self, keel: &Evenkeel, id: &str) -> Value {
        let mut pages = (0..LOOKS).map(|_| self.page(keel, &format!("/v1/decisions/{id}")));
        let found = pages.find(|page| page["reason"] != "unknown_decision");
        found.unwrap_or_else(|| panic!("{id} is not recorded"))
    }
}

/// How often is looked for what must come: a look is a program's start, so that this is a minute or more.
const LOOKS: usize = 10_000;

/// What a client gets who sends this field, and what the backend got: where the record is, if that is told; the request's id.
fn asked(keel: &Evenkeel, version: &str, field: &str) -> (Option<String>, String) {
    let out = keel.curl(&["-i", version, "-H", field], "/who");
    let (head, body) = out.rsplit_once("\r\n\r\n").unwrap();
    let told = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("x-evenkeel-explained: ")
            .map(str::to_owned)
    });
    let (id, rest) = body.split_once('|').unwrap_or_else(|| panic!("{out}"));
    assert_eq!(
        rest, "|",
        "what is meant for the proxy goes no further: {out}"
    );
    (told, id.to_owned())
}

#[test]
fn who_may_asks_and_finds_what_was_decided() {
    let site = Site::new("recorded");
    let mut keel = site.run(RECORDS);
    let field = |token: &str| format!("X-Evenkeel-Explain: {token}");
    // Who may not is answered as if it had not asked, and so is who does not ask.
    let unknown = format!("keel_{}", "0".repeat(64));
    for token in [&unknown, &site.tokens[1], &site.tokens[2]] {
        let (told, _) = asked(&keel, "--http1.1", &field(token));
        assert_eq!(told, None, "{token}");
    }
    let (told, unrecorded) = asked(&keel, "--http1.1", "X-Other: 1");
    assert_eq!(told, None);
    let mut ids = Vec::new();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let (told, id) = asked(&keel, version, &field(&site.tokens[0]));
        let record = site.record(&keel, &id);
        assert_eq!(site.record(&keel, &told.unwrap()), record, "{version}");
        assert_eq!(record["request"]["request_id"], *id);
        ids.push(id);
    }
    let missing = site.page(&keel, &format!("/v1/decisions/{unrecorded}"));
    assert_eq!(missing["reason"], "unknown_decision");
    let record = site.record(&keel, &ids[0]);
    let version = site.page(&keel, "/v1/version");
    let revision = &version["configuration"]["revision"];
    assert_eq!(
        json!([record["because"], record["asked_by"], record["revision"]]),
        json!(["header", "asks", revision])
    );
    let request = &record["request"];
    assert_eq!(
        json!([
            request["rule"],
            request["service"],
            request["path"],
            request["status"],
            request["attempts"]
        ]),
        json!(["all", "api", "/who", 200, 2])
    );
    // Both attempts, with whom each could have gone to.
    let decisions = record["decisions"].as_array().unwrap();
    let told = decisions.iter().map(|one| {
        json!([
            one["service"],
            one["policy"],
            one["backend"],
            one["refusal"],
            one["place"]["tier"],
            one["attempt"]["status"],
            one["attempt"]["reason"]
        ])
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            json!([
                "api",
                "round_robin",
                "dead",
                null,
                0,
                null,
                "connect_failed"
            ]),
            json!(["api", "round_robin", "alive", null, 1, 200, null]),
        ],
        "{record}"
    );
    let candidates = decisions.iter().map(|one| {
        let all = one["candidates"].as_array().unwrap().iter();
        let all = all.map(|one| json!([one["backend"], one["standing"], one["excluded"]]));
        all.collect::<Vec<_>>()
    });
    assert_eq!(
        candidates.collect::<Vec<_>>(),
        [
            [
                json!(["dead", "serving", null]),
                json!(["alive", "serving", "standby"])
            ],
            [
                json!(["dead", "serving", "tried"]),
                json!(["alive", "serving", null])
            ],
        ],
        "{record}"
    );
    let ms = |at: usize, part: &str, key: &str| {
        let value = match part {
            "" => &decisions[at][key],
            part => &decisions[at][part][key],
        };
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{part} {key}: {record}"))
    };
    let times = [
        ms(0, "", "after_ms"),
        ms(0, "attempt", "ended_ms"),
        ms(1, "", "after_ms"),
        ms(1, "attempt", "ended_ms"),
    ];
    assert!(times.is_sorted(), "{times:?}");
    assert!(
        ms(1, "attempt", "head_ms") <= times[3] - times[2],
        "{record}"
    );
    assert_eq!(
        [ms(0, "timers", "connect_ms"), ms(0, "timers", "per_try_ms")],
        [3_000.0, 10_000.0]
    );
    // Both are of one moment; milliseconds are rounded.
    let whole = ms(1, "timers", "exchange_ms") + times[2];
    assert!((whole - 60_000.0).abs() < 0.001, "{whole}");
    // One form with what is explained.
    let body = json!({ "url": "http://a.test/who" }).to_string();
    let bearer = format!("Authorization: Bearer {}", site.tokens[0]);
    let explained = keel.asked(&["-H", &bearer, "-d", &body], "/v1/explain");
    let explained: Value = serde_json::from_str(&explained).unwrap();
    let service = &explained["explanations"][0]["services"][0];
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&service["candidates"][0]),
        keys(&decisions[0]["candidates"][0])
    );
    let only_there = ["share", "hedge", "falls_back"].map(str::to_owned);
    for key in keys(service).iter().filter(|key| !only_there.contains(key)) {
        assert!(
            !decisions[0][key].is_null() || service[key].is_null(),
            "{key}"
        );
    }
    // What was asked for and nothing else, by what is sought.
    let list = site.page(&keel, "/v1/decisions");
    let listed = list["items"].as_array().unwrap().iter();
    let listed: Vec<_> = listed
        .map(|one| one["request"]["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ids);
    assert!(list["items"][0]["decisions"].is_null());
    assert_eq!(
        json!([
            list["recorded"],
            list["overwritten"],
            list["missed"],
            list["most"]
        ]),
        json!([2, 0, 3, 64])
    );
    for (query, expect) in [
        ("?because=share", 0),
        ("?service=api", 2),
        ("?service=other", 0),
        ("?limit=1", 1),
    ] {
        let list = site.page(&keel, &format!("/v1/decisions{query}"));
        assert_eq!(list["items"].as_array().unwrap().len(), expect, "{query}");
    }
    let metrics = site.text(&keel, "/metrics");
    for row in [
        "decision_records_total{because=\"header\"} 2\n",
        "decision_records_total{because=\"share\"} 0\n",
        "decision_records_missed_total{reason=\"token\"} 3\n",
        "decision_records_overwritten_total 0\n",
    ] {
        assert!(
            metrics.contains(&format!("evenkeel_{row}")),
            "{row}: {metrics}"
        );
    }
    // A request that no backend is asked for; and another revision.
    let out = keel.curl(&["-i", "-H", &field(&site.tokens[0])], "/own");
    assert!(
        out.to_ascii_lowercase()
            .contains("x-evenkeel-explained: 0-"),
        "{out}"
    );
    site.write(RECORDS, "random");
    keel.signal("-HUP");
    keel.until_any("reloaded: ");
    let (_, id) = asked(&keel, "--http1.1", &field(&site.tokens[0]));
    let next = site.record(&keel, &id);
    assert_ne!(next["revision"], record["revision"]);
    let version = site.page(&keel, "/v1/version");
    assert_eq!(next["revision"], version["configuration"]["revision"]);
    assert_eq!(next["decisions"][0]["policy"], "random");
    // The one before tells on of the revision that it began under.
    assert_eq!(site.record(&keel, &ids[0]), record);
    let list = site.page(&keel, "/v1/decisions");
    let own = &list["items"][2]["request"];
    assert_eq!(json!([own["rule"], own["attempts"]]), json!(["own", 0]));
    let own = site.record(&keel, own["id"].as_str().unwrap());
    assert_eq!(own["decisions"], json!([]));
    // The token stands nowhere.
    let log = std::fs::read_to_string(site.folder.path().join("rows.log")).unwrap();
    for text in [
        list.to_string(),
        next.to_string(),
        site.text(&keel, "/v1/events"),
        log,
        keel.said.clone(),
    ] {
        for token in &site.tokens {
            assert!(!text.contains(&**token), "{text}");
        }
    }
}

/// A share of them, as many as there is room for; who shows a token where nobody is asked for one shows it to no backend.
#[test]
fn a_share_is_drawn_and_the_last_are_kept() {
    let site = Site::new("recorded-share");
    let keel = site.run("tokens: tokens.yaml, records: { share: 100% }");
    let field = format!("X-Evenkeel-Explain: {}", site.tokens[0]);
    let (told, first) = asked(&keel, "--http1.1", &field);
    assert_eq!(told, None);
    assert_eq!(site.record(&keel, &first)["because"], "share");
    // Of as many as come in a moment some are more than a second may have.
    let paths = ["own"; 200].join(",");
    let out = keel.curl(&[], &format!("/{{{paths}}}"));
    assert_eq!(out.matches("own").count(), 200);
    let (kept, missed, overwritten) = loop {
        let list = site.page(&keel, "/v1/decisions?limit=1000");
        let count = |key: &str| list[key].as_u64().unwrap();
        if count("recorded") + count("missed") == 201 {
            break (
                list["items"].as_array().unwrap().len(),
                count("missed"),
                count("overwritten"),
            );
        }
    };
    assert_eq!(
        (kept, overwritten),
        (
            64.min(201 - usize::try_from(missed).unwrap()),
            (201 - missed).saturating_sub(64)
        )
    );
    // Off, it costs nothing and goes nowhere.
    let keel = site.run("tokens: tokens.yaml");
    let (told, id) = asked(&keel, "--http1.1", &field);
    assert_eq!(told, None);
    let missing = site.page(&keel, &format!("/v1/decisions/{id}"));
    assert_eq!(missing["reason"], "unknown_decision");
    assert_eq!(site.page(&keel, "/v1/decisions")["recorded"], 0);
}
