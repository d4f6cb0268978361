//! Every operation by every scope, role and verb, over HTTP: what each takes stands here, apart from the program's own table.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::{Tokens, WORDS, allows, reason};
use crate::events::Along;
use crate::process::{Evenkeel, PATIENCE, curl};

const DECIDES: &[&str] = &["decisions:write"];
const EXPLAINS: &[&str] = &["decisions:read"];
const BACKENDS: &[&str] = &["backends:read"];
const MOVES: &[&str] = &["backends:write"];
const HEALTH: &[&str] = &["health:read"];
const JUDGES: &[&str] = &["health:write"];
const FIGURES: &[&str] = &["performance:read"];
const TUNES: &[&str] = &["performance:write"];
const READS: &[&str] = &["configuration:read"];
const CONFIGURES: &[&str] = &["configuration:write"];
const ADVISES: &[&str] = &["performance:read", "configuration:read"];
const WRITES: &[&str] = &[
    "backends:write",
    "health:write",
    "performance:write",
    "configuration:write",
];
const EVERYTHING: &[&str] = &[
    "backends:read",
    "health:read",
    "performance:read",
    "configuration:read",
];

/// A pick that is not given back while the test goes on.
const LASTING: &str = "{\"expires_ms\": 3600000}";

/// Method, path (`{checked}`: a service that has checks), what it takes (none: nothing), and a body with which it does something. In an
/// order in which each finds what it is for.
pub(super) const ROWS: &[(&str, &str, &[&str], &str)] = &[
    ("GET", "/livez", &[], ""),
    ("GET", "/readyz", &[], ""),
    ("GET", "/metrics", FIGURES, ""),
    ("GET", "/v1/openapi.json", &[], ""),
    ("GET", "/v1/problems", &[], ""),
    ("GET", "/v1/problems/{reason}", &[], ""),
    ("GET", "/v1/version", READS, ""),
    ("GET", "/v1/whoami", &[super::KNOWN], ""),
    ("GET", "/v1/workers", FIGURES, ""),
    ("GET", "/v1/limits", FIGURES, ""),
    ("GET", "/v1/listeners", READS, ""),
    ("GET", "/v1/certificates", READS, ""),
    ("GET", "/v1/rules", READS, ""),
    ("GET", "/v1/configuration", READS, ""),
    ("GET", "/v1/revisions", READS, ""),
    ("GET", "/v1/revisions/{revision}", READS, ""),
    ("GET", "/v1/revisions/{revision}/diff", READS, ""),
    ("GET", "/v1/services", BACKENDS, ""),
    ("GET", "/v1/services/{service}", BACKENDS, ""),
    ("GET", "/v1/services/{service}/backends", BACKENDS, ""),
    (
        "GET",
        "/v1/services/{service}/backends/{backend}",
        BACKENDS,
        "",
    ),
    ("GET", "/v1/services/{service}/picks", EXPLAINS, ""),
    ("GET", "/v1/affinity", FIGURES, ""),
    ("GET", "/v1/health", HEALTH, ""),
    ("GET", "/v1/services/{service}/health", HEALTH, ""),
    ("GET", "/v1/performance", FIGURES, ""),
    ("GET", "/v1/services/{service}/performance", FIGURES, ""),
    ("GET", "/v1/services/{service}/distribution", FIGURES, ""),
    ("GET", "/v1/services/{service}/adjustments", FIGURES, ""),
    ("POST", "/v1/services/{service}/adjustments", TUNES, ""),
    ("GET", "/v1/alerts", HEALTH, ""),
    ("GET", "/v1/recommendations", ADVISES, ""),
    ("GET", "/v1/services/{service}/recommendations", ADVISES, ""),
    ("POST", "/v1/alerts/{alert}/acknowledge", JUDGES, ""),
    ("GET", "/v1/silences", HEALTH, ""),
    (
        "POST",
        "/v1/silences",
        JUDGES,
        "{\"for_seconds\": 60, \"why\": \"a test\"}",
    ),
    ("DELETE", "/v1/silences/{silence}", JUDGES, ""),
    ("GET", "/v1/webhooks", HEALTH, ""),
    ("POST", "/v1/webhooks/dead/{letter}/again", JUDGES, ""),
    ("GET", "/v1/events", HEALTH, ""),
    ("GET", "/v1/requests", FIGURES, ""),
    ("GET", "/v1/requests/{request}", FIGURES, ""),
    ("GET", "/v1/decisions", EXPLAINS, ""),
    ("GET", "/v1/decisions/{request}", EXPLAINS, ""),
    ("GET", "/v1/status", EVERYTHING, ""),
    (
        "POST",
        "/v1/explain",
        EXPLAINS,
        "{\"url\": \"http://a.test/\"}",
    ),
    ("POST", "/v1/services/{service}/picks", DECIDES, LASTING),
    ("POST", "/v1/picks/{pick}/outcome", DECIDES, ""),
    (
        "POST",
        "/v1/picks/outcomes",
        DECIDES,
        "{\"outcomes\": [{\"pick\": \"{pick}\"}]}",
    ),
    ("POST", "/v1/services/{service}/drain", MOVES, ""),
    ("POST", "/v1/services/{service}/enable", MOVES, ""),
    ("POST", "/v1/services/{service}/affinity/clear", MOVES, ""),
    (
        "PATCH",
        "/v1/services/{service}",
        WRITES,
        "{\"timeouts\": {\"per_try\": \"2s\"}}",
    ),
    (
        "PUT",
        "/v1/services/{service}/policy",
        TUNES,
        "\"round_robin\"",
    ),
    ("DELETE", "/v1/services/{service}/policy", TUNES, ""),
    (
        "PUT",
        "/v1/services/{service}/backends/{backend}",
        MOVES,
        "{\"address\": \"127.0.0.1:1\", \"weight\": 3}",
    ),
    (
        "PATCH",
        "/v1/services/{service}/backends/{backend}",
        MOVES,
        "{\"weight\": 2}",
    ),
    (
        "POST",
        "/v1/services/{service}/backends/{backend}/drain",
        MOVES,
        "",
    ),
    (
        "POST",
        "/v1/services/{service}/backends/{backend}/disable",
        MOVES,
        "",
    ),
    (
        "POST",
        "/v1/services/{service}/backends/{backend}/enable",
        MOVES,
        "",
    ),
    ("POST", "/v1/listeners/{listener}/drain", CONFIGURES, ""),
    ("POST", "/v1/listeners/{listener}/enable", CONFIGURES, ""),
    (
        "PUT",
        "/v1/rules/{rule}",
        CONFIGURES,
        "{\"priority\": 1, \"when\": {\"path\": \"/first\"}, \"deny\": true}",
    ),
    (
        "PUT",
        "/v1/rule-order",
        CONFIGURES,
        "{\"rules\": [\"first\", \"last\"]}",
    ),
    ("DELETE", "/v1/rules/{rule}", CONFIGURES, ""),
    (
        "DELETE",
        "/v1/services/{service}/backends/{backend}",
        MOVES,
        "",
    ),
    ("POST", "/v1/revisions/{revision}/rollback", CONFIGURES, ""),
    ("POST", "/v1/reload", CONFIGURES, ""),
    ("POST", "/v1/access-log/rotate", CONFIGURES, ""),
    (
        "POST",
        "/v1/services/{checked}/backends/{backend}/verdict",
        JUDGES,
        "{\"verdict\": \"down\"}",
    ),
    ("POST", "/v1/services/{checked}/check", JUDGES, ""),
];

/// What an instance has that writes would change.
const SEEN: [&str; 7] = [
    "/v1/version",
    "/v1/rules",
    "/v1/listeners",
    "/v1/revisions",
    "/v1/services/api/backends",
    "/v1/services/checked/backends",
    "/v1/services/api/picks",
];

struct Site {
    tokens: Tokens,
    keel: Evenkeel,
    failed: String,
    alert: String,
    silence: String,
    letter: String,
}

impl Site {
    fn new() -> Self {
        let tokens = Tokens::new("access-rows");
        let text = format!(
            "admin: {{ {}, records: {{ share: 100% }} }}
workers: 1
access_log: {{ to: ./rows.log }}
alerts: {{ webhooks: [{{ name: none, to: \"http://127.0.0.1:1\", attempts: 1 }}] }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api: {{ adjust: on, affinity: {{ source: true }}, backends: [{{ id: one, address: \"127.0.0.1:1\" }}, {{ id: two, address: \"127.0.0.1:1\" }}] }}
  checked: {{ health: {{ tcp: {{}}, interval: 1h, interval_unsure: 1h }}, backends: [{{ id: one, address: \"127.0.0.1:1\" }}] }}
rules: [{{ name: first, priority: 1, when: {{ path: /first }}, deny: true }}, {{ name: last, priority: 2, forward: api }}]
",
            super::WITH_TOKENS
        );
        let file = tokens.folder.write("keel.yaml", &text);
        let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
        let mut site = Self {
            tokens,
            keel,
            failed: String::new(),
            alert: String::new(),
            silence: String::new(),
            letter: String::new(),
        };
        assert!(site.keel.curl(&[], "/x").contains("50"));
        let (_, failed) = site.by("admin", "GET", "/v1/requests?failed=true", "");
        let failed: Value = serde_json::from_str(&failed).unwrap();
        // By this it is known as one that was recorded, too.
        let known = &failed["items"][0]["request_id"];
        site.failed = known.as_str().unwrap().to_owned();
        // The first check has no part in it.
        let checked = || {
            let (_, page) = site.by("admin", "GET", "/v1/services/checked/backends", "");
            page.contains("\"last\"")
        };
        // A look is curl's start: this is a minute or more.
        assert!((0..10_000).any(|_| checked()));
        site.watched();
        // A second revision, which has one before it.
        let two = "/v1/services/api/backends/two";
        let (status, answer) = site.by("admin", "PATCH", two, "{\"weight\": 2}");
        assert_eq!(status, 200, "{answer}");
        site
    }

    /// Something is wrong, once that has lasted, and somebody need not be called for it.
    fn watched(&mut self) {
        let bearer = self.tokens.bearer("admin");
        let mut along = Along::new(&self.keel, &[&bearer], "?kind=alert_raised");
        let verdict = "/v1/services/checked/backends/one/verdict";
        let (status, answer) = self.by("admin", "POST", verdict, "{\"verdict\": \"down\"}");
        assert_eq!(status, 200, "{answer}");
        let (.., raised) = along.event();
        let wish = "{\"kind\": \"burn_fast\", \"for_seconds\": 600, \"why\": \"a test\"}";
        let (status, silence) = self.by("admin", "POST", "/v1/silences", wish);
        assert_eq!(status, 200, "{silence}");
        let silence: Value = serde_json::from_str(&silence).unwrap();
        self.alert = raised["counts"]["alert"].to_string();
        self.silence = silence["number"].to_string();
        let letter = || {
            let (_, page) = self.by("admin", "GET", "/v1/webhooks", "");
            let page: Value = serde_json::from_str(&page).unwrap();
            let number = page["dead"][0]["number"].as_u64()?;
            Some(number.to_string())
        };
        let letter = (0..10_000).find_map(|_| letter());
        self.letter = letter.expect("nobody takes what is told");
    }

    fn by(&self, word: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let bearer = self.tokens.bearer(word);
        // What replaces something takes the revision that runs.
        let seen = match method {
            "GET" | "HEAD" => "*".into(),
            _ => self.revision(),
        };
        let mut stream = TcpStream::connect(self.keel.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Evenkeel: 1\r\nIf-Match: {seen}\r\nConnection: close\r\nContent-Length: {length}\r\n{bearer}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn revision(&self) -> String {
        let (_, version) = self.by("admin", "GET", "/v1/version", "");
        let version: Value = serde_json::from_str(&version).unwrap();
        let revision = version["configuration"]["revision"].as_str().unwrap();
        format!("\"{revision}\"")
    }

    /// A row's path and body, of what there is. `pick`: one that is out.
    fn named(&self, text: &str, pick: &str) -> String {
        [
            ("{service}", "api"),
            ("{checked}", "checked"),
            ("{backend}", "one"),
            ("{listener}", "web"),
            ("{reason}", "query"),
            ("{rule}", "first"),
            ("{revision}", "2"),
            ("{request}", &self.failed),
            ("{alert}", &self.alert),
            ("{silence}", &self.silence),
            ("{letter}", &self.letter),
            ("{pick}", pick),
        ]
        .iter()
        .fold(text.to_owned(), |text, (part, name)| {
            text.replace(part, name)
        })
    }

    /// A pick that nobody has reported.
    fn pick(&self) -> String {
        let (status, given) = self.by("admin", "POST", "/v1/services/api/picks", LASTING);
        assert_eq!(status, 200, "{given}");
        let given: Value = serde_json::from_str(&given).unwrap();
        given["picks"][0]["pick"].as_str().unwrap().to_owned()
    }

    /// What writes would change, and nothing that goes on by itself.
    fn seen(&self) -> String {
        let pages = SEEN.map(|path| {
            let (status, page) = self.by("admin", "GET", path, "");
            assert_eq!(status, 200, "{path}: {page}");
            let mut page: Value = serde_json::from_str(&page).unwrap();
            quiet(&mut page);
            page.to_string()
        });
        pages.join("\n")
    }

    /// Who says nothing, or shows a token that nobody has or whose time is over; each row from an address of its own, since failures are
    /// counted by address.
    fn strangers(&self, at: usize, method: &str, path: &str, body: &str) -> Vec<(u16, String)> {
        let from = format!("127.0.1.{}", at + 1);
        let shown = [
            None,
            Some(format!("keel_{}", "0".repeat(64))),
            Some(self.tokens.old.borrow().clone()),
        ];
        let asks = shown.map(|token| {
            let field = token.map(|token| format!("Authorization: Bearer {token}"));
            let field = field.as_deref().unwrap_or("X-None: 1");
            let arguments = [
                "--interface",
                &from,
                "-X",
                method,
                "-H",
                "X-Evenkeel: 1",
                "-H",
                "If-Match: *",
                "-H",
                field,
                "--data-binary",
                body,
                "-w",
                "\n%{http_code}",
            ];
            let out = curl(self.keel.admin, &arguments, path);
            let (body, status) = out.rsplit_once('\n').unwrap();
            (status.parse().unwrap(), reason(body))
        });
        asks.to_vec()
    }
}

/// What follows from facts in its time, with a tick.
const IN_TIME: [&str; 8] = [
    "standing",
    "reason",
    "breaker",
    "ramp",
    "latency",
    "share_got",
    "share_wanted",
    "last",
];

/// Takes out what time changes.
fn quiet(value: &mut Value) {
    match value {
        Value::Object(all) => {
            all.retain(|key, _| !key.contains("seconds") && !IN_TIME.contains(&&**key));
            all.values_mut().for_each(quiet);
        }
        Value::Array(all) => all.iter_mut().for_each(quiet),
        _ => {}
    }
}

#[test]
fn each_operation_by_each_scope_role_and_stranger() {
    let site = Site::new();
    let (_, document) = site.by("viewer", "GET", "/v1/openapi.json", "");
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut told =
        BTreeSet::from(["/livez", "/readyz", "/metrics"].map(|path| ("GET".into(), path.into())));
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        told.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    let rows = ROWS
        .iter()
        .map(|row| (row.0.to_owned(), row.1.replace("{checked}", "{service}")));
    assert_eq!(rows.collect::<BTreeSet<_>>(), told, "rows and operations");
    let (mut passed, mut refused) = (0, 0);
    for (at, (method, path, needs, body)) in ROWS.iter().enumerate() {
        let out = match path.contains("{pick}") || body.contains("{pick}") {
            true => site.pick(),
            false => String::new(),
        };
        let (asked, sent) = (site.named(path, &out), site.named(body, &out));
        let before = site.seen();
        let (may, may_not): (Vec<_>, Vec<_>) = WORDS
            .iter()
            .partition(|word| needs.iter().all(|scope| allows(word, scope)));
        for word in may_not {
            let (status, answer) = site.by(word, method, &asked, &sent);
            let why = format!("{method} {path} by {word}: {answer}");
            assert_eq!((status, &*reason(&answer)), (403, "not_allowed"), "{why}");
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let lacks = needs.iter().find(|scope| !allows(word, scope)).unwrap();
            assert_eq!(answer["scope"], **lacks, "{why}");
            if *method == "GET" {
                assert_eq!(site.by(word, "HEAD", &asked, "").0, 403, "HEAD {why}");
            }
            refused += 1;
        }
        if !needs.is_empty() {
            let words = ["no_credentials", "unknown_token", "expired"];
            let expect = words.map(|word| (401, word.to_owned()));
            let strangers = site.strangers(at, method, &asked, &sent);
            assert_eq!(strangers, expect, "{method} {path}");
            refused += expect.len();
        } else {
            let strangers = site.strangers(at, method, &asked, &sent);
            assert!(
                strangers.iter().all(|one| one.0 == 200),
                "{method} {path}: {strangers:?}"
            );
        }
        assert_eq!(site.seen(), before, "{method} {path}: refused, and done");
        // The first finds what it is for; who comes behind it may find it done.
        for (nth, word) in may.into_iter().rev().enumerate() {
            let (status, answer) = site.by(word, method, &asked, &sent);
            let late =
                nth > 0 && (400..500).contains(&status) && ![401, 403, 429].contains(&status);
            let done = matches!(status, 200 | 201) || late;
            assert!(done, "{method} {path} by {word}: {status} {answer}");
            if *method == "GET" {
                assert_eq!(site.by(word, "HEAD", &asked, "").0, 200, "HEAD {path}");
            }
            passed += 1;
        }
    }
    let (rows, words) = (ROWS.len(), WORDS.len());
    let open = ROWS.iter().filter(|row| row.2.is_empty()).count();
    assert_eq!(passed + refused, rows * words + (rows - open) * 3);
    assert!(passed > 150 && refused > 400, "{passed} {refused}");
    // What has no row is done for nobody, whoever asks.
    let before = site.seen();
    for (_, path) in &told {
        let asked = site.named(path, "0-0-0");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if !told.contains(&(method.to_owned(), path.clone())) {
                let (status, answer) = site.by("admin", method, &asked, "");
                assert_eq!(
                    (status, &*reason(&answer)),
                    (405, "method"),
                    "{method} {path}"
                );
            }
        }
    }
    assert_eq!(site.seen(), before);
}
