//! `admin:`: who may ask, and what is refused before it runs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_config::plan::admin::{AdminPlan, CertificateBy, RecordsPlan};
use evenkeel_config::plan::tls::{ClientAuth, Tickets};
use evenkeel_config::{Files, Loaded, Source, files, load_with, render};

/// A digest that belongs to no token.
const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// A configuration with this `admin`, whose every file holds `content`.
fn read(admin: &str, content: &str) -> (Loaded, Vec<Source>) {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [a:1] }} }}\nadmin: {{ {admin} }}\n"
    );
    let source = Source {
        name: "etc/keel.yaml".into(),
        text,
    };
    let (sources, environment) = (vec![source], BTreeMap::new());
    let named = files(&sources, &environment);
    let all: Files = named
        .into_iter()
        .map(|path| (path, Ok(content.into())))
        .collect();
    (load_with(&sources, &environment, all), sources)
}

#[track_caller]
fn plan(admin: &str, content: &str) -> AdminPlan {
    let (loaded, sources) = read(admin, content);
    let shown = render(&loaded.problems, &sources);
    loaded.plan.unwrap_or_else(|| panic!("{shown}")).admin
}

/// Each problem by its word and the text that it points at; the message of the first has `says`.
#[track_caller]
fn wrong(admin: &str, content: &str, says: &str, expect: &[(&str, &str)]) {
    let (loaded, sources) = read(admin, content);
    let shown = render(&loaded.problems, &sources);
    let got: Vec<_> = loaded
        .problems
        .iter()
        .map(|one| {
            let line = sources[0].text.lines().nth(one.at.line - 1).unwrap();
            (one.word, &line[one.at.column - 1..])
        })
        .collect();
    assert_eq!(got.len(), expect.len(), "{shown}");
    for ((word, place), (expected, begins)) in got.iter().zip(expect) {
        assert!(word == expected && place.starts_with(begins), "{shown}");
    }
    assert!(shown.contains(says), "{shown}");
}

fn line(more: &str) -> String {
    format!("- {{ name: ci, sha256: {ONE}, scopes: viewer{more} }}\n")
}

#[test]
fn tokens_are_a_file_of_digests_with_what_each_may_do() {
    let text = format!(
        "# Made by `evenkeel token create`.\n{}- {{ name: deploy, sha256: \"{}\", scopes: [operator, \"configuration:write\"] }}\n",
        line(", until: 2027-06-30"),
        TWO.to_uppercase(),
    );
    let admin = plan("bind: 127.0.0.1:9, tokens: tokens.yaml", &text);
    assert!(admin.has_credentials() && !admin.is_bound_as(&plan("bind: off", "")));
    let tokens = admin.tokens.unwrap();
    assert_eq!(tokens.file.path.to_str(), Some("etc/tokens.yaml"));
    let [ci, deploy] = &tokens.tokens[..] else {
        panic!("{:?}", tokens.tokens);
    };
    assert_eq!((ci.sha256, deploy.sha256), ([0x11; 32], [0x22; 32]));
    assert_eq!(&*ci.holder.name, "ci");
    let reads = "decisions:read backends:read health:read performance:read configuration:read";
    assert_eq!(ci.holder.scopes.to_string(), reads);
    assert_eq!(ci.holder.until, Some(Duration::from_secs(1_814_313_600)));
    let all = "decisions:read decisions:write backends:read backends:write health:read health:write performance:read configuration:read configuration:write";
    assert_eq!(deploy.holder.scopes.to_string(), all);
    assert_eq!(deploy.holder.until, None);
}

#[test]
fn what_is_wrong_with_a_file_of_tokens_is_told_where_it_is_named() {
    let wrong = |text: &str, says: &str, words: &[&str]| {
        let expect: Vec<_> = words.iter().map(|word| (*word, "t.yaml")).collect();
        wrong("tokens: t.yaml", text, says, &expect);
    };
    wrong("", "etc/t.yaml: no tokens stand here", &["empty"]);
    wrong("# nothing\n", "no tokens stand here", &["empty"]);
    wrong("[]", "no tokens stand here", &["empty"]);
    wrong("{", "etc/t.yaml:", &["syntax"]);
    wrong("- keel_a\n", "a token must be a map", &["type"]);
    let scopes = "etc/t.yaml:1:97: `viewr` is no scope; did you mean `viewer`?";
    let text = format!("- {{ name: ci, sha256: {ONE}, scopes: viewr }}");
    wrong(&text, scopes, &["scopes"]);
    let none = "scopes: []";
    wrong(
        &line("").replace("scopes: viewer", none),
        "who may do nothing",
        &["scopes"],
    );
    wrong(
        &format!("- {{ name: ci, sha: {ONE}, scope: viewer }}\n"),
        "did you mean `scopes`?",
        &["missing", "missing", "unknown_key", "unknown_key"],
    );
    wrong(
        "- { name: a b }\n",
        "1 to 64 letters",
        &["missing", "missing", "name"],
    );
    for (again, word) in [
        (line("").replace(ONE, TWO), "duplicate_name"),
        (line("").replace("ci", "other"), "sha256"),
    ] {
        wrong(&(line("") + &again), "twice", &[word]);
    }
    for until in [
        "2027-6-30",
        "2027-02-29",
        "1969-12-31",
        "2027-06-30T24:00:00Z",
        "2027-06-30T12:00:00",
        "2027-06-30T12:00:00+01:00",
        "30d",
    ] {
        wrong(
            &line(&format!(", until: \"{until}\"")),
            "a date is written like",
            &["until"],
        );
    }
    let many: String = (0..1001)
        .map(|at| format!("- {{ name: n{at}, sha256: {at:064}, scopes: viewer }}\n"))
        .collect();
    wrong(&many, "t.yaml:1001:", &["too_many"]);
}

/// Who writes a token where its digest goes does not find it in a log.
#[test]
fn a_token_among_digests_is_not_told_back() {
    let token = format!("keel_{}", "5ec3e7".repeat(11));
    for text in [
        line("").replace(ONE, &token),
        line("")
            .replace(ONE, &token[5..69])
            .replace("sha256", "token"),
        line("").replace("name: ci", &format!("name: {token}")),
    ] {
        let (loaded, sources) = read("tokens: t.yaml", &text);
        let shown = render(&loaded.problems, &sources);
        assert!(
            loaded.plan.is_none() && !shown.contains("5ec3e7"),
            "{shown}"
        );
    }
    wrong(
        "tokens: t.yaml",
        &line("").replace(ONE, &token),
        "take it for known to others",
        &[("sha256", "t.yaml")],
    );
}

#[test]
fn an_address_beyond_loopback_has_to_know_somebody() {
    for open in [
        "0.0.0.0:9",
        "10.0.0.1:9",
        "\"[::]:9\"",
        "\"[::ffff:10.0.0.1]:9\"",
    ] {
        let admin = format!("bind: {open}");
        wrong(
            &admin,
            "",
            "anybody could change everything",
            &[("admin_open", open)],
        );
        let admin = format!("{admin}, tokens: t.yaml");
        wrong(&admin, &line(""), "unencrypted", &[("admin_plain", open)]);
        let admin = format!("{admin}, tls: {{ certificates: {{ cert: a, key: b }} }}");
        wrong(&admin, &line(""), "", &[]);
    }
    for here in [
        "127.0.0.1:9",
        "127.9.9.9:9",
        "\"[::1]:9\"",
        "\"[::ffff:127.0.0.1]:9\"",
        "off",
        "unix:/a",
    ] {
        wrong(&format!("bind: {here}"), "", "", &[]);
    }
    // One that cannot be read is told of alone.
    wrong(
        "bind: 0.0.0.0:9, tokens: t.yaml, tls: { certificates: { cert: a, key: b } }",
        "",
        "no tokens stand here",
        &[("empty", "t.yaml")],
    );
}

const TLS: &str = "tls: { certificates: { cert: a.pem, key: a.key }, client_auth: { ca: ca.pem, mode: request } }";

#[test]
fn identities_are_known_by_one_part_of_their_certificate() {
    let admin = plan(
        &format!(
            "bind: 0.0.0.0:9, {TLS}, identities: [{{ name: a, subject: \"CN=a,O=b\", scopes: admin }}, {{ name: b, san: \"URI:spiffe://k/b\", scopes: viewer, until: 1970-01-02T00:00:01Z }}, {{ name: c, fingerprint: \"{}\", scopes: [\"health:read\"] }}]",
            "AB:".repeat(32).trim_end_matches(':')
        ),
        "",
    );
    let by: Vec<_> = admin
        .identities
        .iter()
        .map(|one| one.certificate.clone())
        .collect();
    assert_eq!(
        by,
        [
            CertificateBy::Subject("CN=a,O=b".into()),
            CertificateBy::San("URI:spiffe://k/b".into()),
            CertificateBy::Fingerprint("ab".repeat(32).into()),
        ]
    );
    let until = Some(Duration::from_secs(86_401));
    assert_eq!(admin.identities[1].holder.until, until);
    let tls = admin.tls.unwrap();
    assert!(matches!(tls.client_auth, ClientAuth::Request(_)) && tls.tickets == Tickets::Off);
    let wrong = |identities: &str, says: &str, expect: &[(&str, &str)]| {
        wrong(
            &format!("{TLS}, identities: {identities}"),
            "",
            says,
            expect,
        );
    };
    wrong("[]", "nobody stands here", &[("missing", "[]")]);
    let two = "{ name: a, subject: x, san: y, scopes: admin }";
    wrong(two, "by one of", &[("identity", "{ name")]);
    wrong(
        "{ name: a, scopes: admin }",
        "by one of",
        &[("identity", "{ name")],
    );
    wrong(
        "{ name: a, fingerprint: 12, scopes: admin }",
        "64 hexadecimal",
        &[("identity", "12")],
    );
    wrong(
        "{ name: a, subject: \u{e4}, scopes: admin }",
        "printable",
        &[("identity", "\u{e4}")],
    );
    wrong(
        "[{ name: a, subject: x, scopes: admin }, { name: a, subject: y, scopes: admin }]",
        "twice",
        &[("duplicate_name", "a, subject: y")],
    );
}

#[test]
fn what_does_not_go_together_is_said() {
    let identities = "identities: { name: a, subject: x, scopes: admin }";
    wrong(
        identities,
        "",
        "nobody is asked for a certificate",
        &[("identities", "identities")],
    );
    wrong(
        &format!("tls: {{ certificates: {{ cert: a, key: b }} }}, {identities}"),
        "",
        "nobody is asked",
        &[("identities", "identities")],
    );
    wrong("tls: {}", "", "there is no TLS", &[("missing", "{}")]);
    wrong(
        &format!("bind: unix:/a, {TLS}"),
        "",
        "nothing leaves",
        &[("admin_socket", "tls")],
    );
    wrong(
        "socket: { mode: 0660 }",
        "",
        "unix:",
        &[("admin_socket", "socket")],
    );
    for mode in ["66", "0888", "1777", "rw", "06600", "-600"] {
        let admin = format!("bind: unix:/a, socket: {{ mode: \"{mode}\" }}");
        wrong(&admin, "", "as `chmod` takes", &[("mode", "\"")]);
    }
    for host in ["keel.example.com:9900", "a/b", "\"*.a\"", "\"\""] {
        wrong(
            &format!("hosts: [{host}]"),
            "",
            "no name of a host",
            &[("name", host)],
        );
    }
    let admin = plan(
        "bind: unix:/a, socket: { mode: 0660, group: adm }, hosts: [Keel.Example], audit_decisions: 0.5%",
        "",
    );
    assert_eq!(
        (admin.socket.mode, admin.socket.group.as_deref()),
        (0o660, Some("adm"))
    );
    assert_eq!(admin.hosts, ["keel.example".into()]);
    assert_eq!(admin.decisions_audited, 5_000);
    assert_eq!(admin.records, RecordsPlan::default());
    let admin = plan("bind: unix:/a", "");
    assert_eq!(
        (admin.socket.mode, admin.decisions_audited),
        (0o600, 10_000)
    );
}

/// Off unless it is said; and who may ask for records is told by a token.
#[test]
fn records_of_decisions() {
    let records = |share, header| RecordsPlan { share, header };
    for (text, expect) in [
        ("", records(0, false)),
        ("records: {}, ", records(0, false)),
        ("records: { share: 0.05% }, ", records(500, false)),
        (
            "records: { share: 100%, header: true }, ",
            records(1_000_000, true),
        ),
    ] {
        let admin = format!("{text}tokens: t.yaml");
        assert_eq!(plan(&admin, &line("")).records, expect, "{text}");
    }
    let header = "records: { header: true }";
    let nobody = format!("- {{ name: ci, sha256: {ONE}, scopes: \"health:read\" }}\n");
    for (admin, content) in [
        (header.to_owned(), String::new()),
        (format!("{header}, tokens: t.yaml"), nobody),
    ] {
        let says = "nobody has one";
        wrong(&admin, &content, says, &[("records", "records")]);
    }
    for (text, word) in [
        ("share: 0.1", "percentage"),
        ("header: on", "type"),
        ("heder: true", "unknown_key"),
    ] {
        let (key, value) = text.split_once(": ").unwrap();
        let place = if word == "unknown_key" { key } else { value };
        wrong(&format!("records: {{ {text} }}"), "", "", &[(word, place)]);
    }
}

/// Dates are those of the calendar.
#[test]
fn dates() {
    for (date, seconds) in [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1),
        ("1972-02-29", 68_169_600),
        ("1999-12-31T23:59:59Z", 946_684_799),
        ("2000-03-01", 951_868_800),
        ("2026-11-22T20:15:30Z", 1_795_378_530),
        ("2100-03-01", 4_107_542_400),
    ] {
        let admin = plan("tokens: t.yaml", &line(&format!(", until: {date}")));
        let until = admin.tokens.unwrap().tokens[0].holder.until;
        assert_eq!(until, Some(Duration::from_secs(seconds)), "{date}");
    }
}
