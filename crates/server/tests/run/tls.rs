//! TLS as its users meet it: curl and openssl in front, nginx behind, certificates that live as long as their test.

mod agreed;
mod revoked;
mod testssl;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};

use crate::evenkeel;
use crate::process::{Evenkeel, Folder, Server, hold, rest};

/// An issuer, its files in a folder.
pub(crate) struct Authority<'a> {
    folder: &'a Folder,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca: PathBuf,
}

impl<'a> Authority<'a> {
    pub(crate) fn new(folder: &'a Folder, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            folder,
            ca: folder.write(&format!("{name}.ca"), &pem),
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes `file.pem` and `file.key`, for these names; the first is the subject's.
    pub(crate) fn make(&self, file: &str, names: &[&str]) {
        self.make_with(file, names, &PKCS_ECDSA_P256_SHA256, |_| ());
    }

    pub(crate) fn make_with(
        &self,
        file: &str,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let all: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(all).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        self.folder.write(&format!("{file}.pem"), &cert);
        self.folder
            .write(&format!("{file}.key"), &key.serialize_pem());
    }
}

/// Says what it was told.
const TOLD: &str = "location / { return 200 \"$http_x_forwarded_proto $http_x_client_cert_subject $http_client_cert $http_x_client_cert_san\\n\"; }";

/// A configuration whose listener has this TLS, over a service that has this beside its backend.
pub(crate) fn text(tls: &str, listener: &str, backend: &str, service: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners:\n  secure:\n    bind: \"127.0.0.1:0\"\n    {listener}\n    tls:\n      {tls}\nservices: {{ api: {{ backends: [\"{backend}\"], {service} }} }}\n"
    )
}

/// The same configuration, its listener without TLS.
fn without_tls(text: &str) -> String {
    let (before, rest) = text.split_once("    tls:").unwrap();
    let (_, behind) = rest.split_once("services:").unwrap();
    format!("{before}services:{behind}")
}

/// One that `site.pem` is for.
pub(crate) const SITE: &str = "certificates: [{ cert: site.pem, key: site.key }]";

fn run(folder: &Folder, text: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// What curl prints of a page over TLS, and of what went wrong.
fn curl(keel: &Evenkeel, authority: &Authority<'_>, arguments: &[&str], host: &str) -> String {
    let port = keel.address.port();
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
        .arg("--cacert")
        .arg(&authority.ca)
        .args(arguments)
        .arg(format!("https://{host}:{port}/"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// What `openssl s_client` says of a connection that asks for one page.
pub(crate) fn openssl(keel: &Evenkeel, arguments: &[&str]) -> String {
    let mut child = client(keel, arguments);
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    // It may have ended already.
    let _ = child.stdin.take().unwrap().write_all(ask);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn client(keel: &Evenkeel, arguments: &[&str]) -> Child {
    Command::new("openssl")
        .args([
            "s_client",
            "-ign_eof",
            "-connect",
            &keel.address.to_string(),
        ])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the metrics have this line.
pub(crate) fn metric(keel: &Evenkeel, line: &str) {
    let mut page = String::new();
    for _ in 0..3_000 {
        page = keel.page("/metrics");
        if page.lines().any(|one| one == line) {
            return;
        }
    }
    panic!("no {line} in {page}");
}

#[test]
fn both_policies_are_what_they_say() {
    let folder = Folder::new("tls-policies");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::nginx(&folder, TOLD);
    let backend = server.address.to_string();
    let old = ["--tls-max", "1.2"];
    let older = [
        "--tlsv1.0",
        "--tls-max",
        "1.1",
        "--ciphers",
        "DEFAULT@SECLEVEL=0",
    ];
    for (policy, takes_old) in [("modern", false), ("intermediate", true)] {
        let keel = run(
            &folder,
            &text(&format!("policy: {policy}\n      {SITE}"), "", &backend, ""),
        );
        let ask = |arguments: &[&str]| curl(&keel, &authority, arguments, "a.example");
        assert_eq!(ask(&[]), "https   \n");
        let got = ask(&old);
        assert_eq!(got == "https   \n", takes_old, "{policy}: {got}");
        let got = ask(&older);
        assert!(
            got.contains("alert") || got.contains("version"),
            "{policy}: {got}"
        );
        if takes_old {
            metric(
                &keel,
                "evenkeel_tls_handshakes_total{listener=\"secure\",version=\"1.2\"} 1",
            );
        }
        metric(
            &keel,
            "evenkeel_tls_handshakes_total{listener=\"secure\",version=\"1.3\"} 1",
        );
        let refused = if takes_old { 1 } else { 2 };
        metric(
            &keel,
            &format!(
                "evenkeel_tls_handshake_failures_total{{listener=\"secure\",reason=\"version\"}} {refused}"
            ),
        );
    }
}

#[test]
fn each_client_gets_a_certificate_that_it_can_verify() {
    let folder = Folder::new("tls-names");
    let authority = Authority::new(&folder, "authority");
    authority.make_with("rsa", &["a.example"], &PKCS_RSA_SHA256, |_| ());
    authority.make("ecdsa", &["a.example"]);
    authority.make("star", &["*.star.example"]);
    let tls = "certificates: [{ cert: rsa.pem, key: rsa.key }, { cert: ecdsa.pem, key: ecdsa.key }, { cert: star.pem, key: star.key, ocsp: star.ocsp }]";
    // An answer that says nothing but that it is one: what counts is that it is passed on.
    folder.write("star.ocsp", "0\u{3}\n\u{1}\u{1}");
    let server = Server::nginx(&folder, TOLD);
    let keel = run(&folder, &text(tls, "", &server.address.to_string(), ""));
    let rsa = "RSA-PSS+SHA256:RSA+SHA256";
    for (arguments, subject) in [
        (&["-servername", "a.example"][..], "ecdsa"),
        (&["-servername", "a.example", "-sigalgs", rsa], "rsa"),
        (
            &["-servername", "a.example", "-sigalgs", rsa, "-tls1_2"],
            "rsa",
        ),
        (
            &[
                "-servername",
                "a.example",
                "-tls1_2",
                "-cipher",
                "ECDHE-RSA-AES128-GCM-SHA256",
            ],
            "rsa",
        ),
        (&["-servername", "a.example", "-tls1_2"], "ecdsa"),
        (&["-servername", "any.star.example"], "star"),
        (&["-servername", "two.any.star.example"], "ecdsa"),
        (&["-servername", "unknown.example"], "ecdsa"),
        (&["-noservername"], "ecdsa"),
        (&["-noservername", "-sigalgs", rsa], "rsa"),
    ] {
        let said = openssl(&keel, arguments);
        assert!(
            said.contains(&format!("subject=CN = {subject}\n")),
            "{arguments:?}: {said}"
        );
        assert!(said.contains("200 OK"), "{arguments:?}: {said}");
    }
    for (name, staple) in [
        ("any.star.example", "OCSP Response Status: malformedrequest"),
        ("a.example", "OCSP response: no response sent"),
    ] {
        let said = openssl(&keel, &["-status", "-servername", name]);
        assert!(said.contains(staple), "{name}: {said}");
    }
}

#[test]
fn tickets_hold_after_a_restart_and_not_where_more_is_asked() {
    let folder = Folder::new("tls-tickets");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    folder.write("tickets.key", "12345678901234567890123456789012");
    let server = Server::nginx(&folder, TOLD);
    let backend = server.address.to_string();
    let tls = format!("tickets: {{ file: tickets.key }}\n      {SITE}");
    for version in ["-tls1_2", "-tls1_3"] {
        let kept = folder.path().join(format!("kept{version}"));
        let kept = kept.to_str().unwrap();
        let keel = run(&folder, &text(&tls, "", &backend, ""));
        let said = openssl(&keel, &[version, "-sess_out", kept]);
        assert!(said.contains("\nNew, TLSv1."), "{said}");
        drop(keel);
        let keel = run(&folder, &text(&tls, "", &backend, ""));
        let said = openssl(&keel, &[version, "-sess_in", kept]);
        assert!(
            said.contains("\nReused, TLSv1.") && said.contains("200 OK"),
            "{said}"
        );
        metric(&keel, "evenkeel_tls_resumed_total{listener=\"secure\"} 1");
        drop(keel);
        let strict = format!("client_auth: {{ ca: authority.ca, mode: request }}\n      {tls}");
        let keel = run(&folder, &text(&strict, "", &backend, ""));
        let said = openssl(&keel, &[version, "-sess_in", kept]);
        assert!(
            said.contains("\nNew, TLSv1.") && said.contains("200 OK"),
            "{said}"
        );
    }
}

/// Two instances that share a file, while its keys are replaced, and while they are replaced by what are none.
#[test]
fn tickets_hold_at_another_instance_while_keys_change() {
    let folder = Folder::new("tls-shared");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let (current, next) = (
        "12345678901234567890123456789012",
        "abcdefghijklmnopqrstuvwxyzabcdef",
    );
    folder.write("tickets.key", current);
    let tls = format!("tickets: {{ file: tickets.key }}\n      {SITE}");
    let text = text(&tls, "", "127.0.0.1:9", "") + "rules: [{ respond: { body: hello } }]\n";
    let mut both = [run(&folder, &text), run(&folder, &text)];
    let kept = |name: &str| {
        let kept = folder.path().join(name);
        kept.to_str().unwrap().to_owned()
    };
    let gives = |keel: &Evenkeel, name: &str| {
        let said = openssl(keel, &["-sess_out", &kept(name)]);
        assert!(said.contains("\nNew, TLSv1.3"), "{said}");
    };
    let takes = |keel: &Evenkeel, name: &str, expect: &str| {
        let said = openssl(keel, &["-sess_in", &kept(name)]);
        let line = format!("\n{expect}, TLSv1.3");
        assert!(said.contains(&line) && said.contains("200 OK"), "{said}");
    };
    let (reused, new) = ("Reused", "New");
    gives(&both[0], "first");
    takes(&both[1], "first", reused);
    for (keys, first) in [
        (format!("{current}{next}"), reused),
        (format!("{next}{current}"), reused),
        (next.to_owned(), new),
    ] {
        folder.write("tickets.key", &keys);
        for keel in &mut both {
            keel.until("reloaded, as files have changed: listener secure changes\n");
            takes(keel, "first", first);
        }
        gives(&both[1], "second");
        takes(&both[0], "second", reused);
    }
    // What are no keys is not taken, and what was read before goes on.
    for wrong in [
        "",
        &next[..31],
        &format!("{next}!"),
        &next.repeat(4),
        &"\0".repeat(32),
    ] {
        folder.write("tickets.key", wrong);
        for keel in &mut both {
            keel.until("what was read before goes on\n");
            takes(keel, "second", reused);
        }
        let file = folder.path().join("keel.yaml");
        let (code, out, said) = evenkeel(&["check", file.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{out}");
        assert!(said.contains("[tickets]"), "{said}");
    }
}

/// A key that anybody on the machine may replace is warned of.
#[test]
fn keys_that_all_may_write_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("tls-modes");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    folder.write("tickets.key", "12345678901234567890123456789012");
    let tls = format!("tickets: {{ file: tickets.key }}\n      {SITE}");
    let file = folder.write("keel.yaml", &text(&tls, "", "127.0.0.1:9", ""));
    for (key, at) in [("tickets.key", "8:24"), ("site.key", "9:45")] {
        for (mode, warned) in [
            (0o600, false),
            (0o644, false),
            (0o666, true),
            (0o600, false),
        ] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(key), mode).unwrap();
            let (code, _, said) = evenkeel(&["check", file.to_str().unwrap()]);
            assert_eq!(code, Some(0), "{said}");
            let place = format!("keel.yaml:{at}: warning: ");
            let told = said.contains("[permissions]") && said.contains(&place);
            assert_eq!(told, warned, "{key}: {said}");
        }
    }
}

#[test]
fn clients_show_who_they_are_and_cannot_say_it() {
    let folder = Folder::new("tls-clients");
    let (authority, clients) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "clients"),
    );
    authority.make("site", &["a.example"]);
    clients.make("bob", &["bob.example"]);
    authority.make("mallory", &["bob.example"]);
    let server = Server::nginx(&folder, TOLD);
    let backend = server.address.to_string();
    let path = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let (pem, key) = (path("bob.pem"), path("bob.key"));
    let bob = ["--cert", &*pem, "--key", &*key];
    let (pem, key) = (path("mallory.pem"), path("mallory.key"));
    let mallory = ["--cert", &*pem, "--key", &*key];
    let forged = [
        "-H",
        "X-Client-Cert-Subject: CN=bob",
        "-H",
        "Client-Cert: :AAAA:",
        "-H",
        "x_client_cert_san: DNS:bob.example",
        "-H",
        "X-Client-Cert-San: DNS:bob.example",
    ];
    for mode in ["off", "request", "require"] {
        let tls = format!("client_auth: {{ ca: clients.ca, mode: {mode} }}\n      {SITE}");
        let keel = run(&folder, &text(&tls, "", &backend, ""));
        let ask = |arguments: &[&str]| curl(&keel, &authority, arguments, "a.example");
        let known = ask(&[&bob[..], &forged].concat());
        if mode == "off" {
            assert_eq!(known, "https   \n");
        } else {
            let fields: Vec<_> = known.split(' ').collect();
            assert_eq!(
                (fields[0], fields[1], fields[3]),
                ("https", "CN=bob", "DNS:bob.example\n"),
                "{known}"
            );
            assert!(
                fields[2].starts_with(":MII") && fields[2].ends_with(':'),
                "{known}"
            );
        }
        let unknown = ask(&forged);
        assert_eq!(
            unknown == "https   \n",
            mode != "require",
            "{mode}: {unknown}"
        );
        let stranger = ask(&mallory);
        assert_eq!(
            stranger == "https   \n",
            mode == "off",
            "{mode}: {stranger}"
        );
    }
    // What was verified under one name is not asked for under another's.
    authority.make("second", &["b.example"]);
    let certificates =
        "certificates: [{ cert: site.pem, key: site.key }, { cert: second.pem, key: second.key }]";
    for (mode, expect) in [
        ("request", "421 Misdirected Request: misdirected\n"),
        ("off", "https   \n"),
    ] {
        let tls = format!("client_auth: {{ ca: clients.ca, mode: {mode} }}\n      {certificates}");
        let keel = run(&folder, &text(&tls, "", &backend, ""));
        let ask = |host: &str| {
            curl(
                &keel,
                &authority,
                &["-H", &format!("Host: {host}")],
                "a.example",
            )
        };
        assert_eq!(ask("a.example"), "https   \n");
        assert_eq!(ask("A.example:443"), "https   \n");
        // Nobody's name has the first certificate too.
        assert_eq!(ask("c.example"), "https   \n");
        assert_eq!(ask("b.example"), expect);
    }
    // On a listener without TLS they can say it no more.
    let plain = folder.write("plain.yaml", &format!("admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{backend}\"] }} }}\n"));
    let keel = Evenkeel::run(&["-c", plain.to_str().unwrap()]);
    assert_eq!(keel.curl(&forged, "/"), "http   \n");
}

#[test]
fn a_certificate_meets_its_rule_and_explanations_say_so() {
    let folder = Folder::new("tls-ruled");
    let (authority, clients) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "clients"),
    );
    authority.make("site", &["a.example"]);
    clients.make("bob", &["bob.example"]);
    clients.make("eve", &["eve.example"]);
    let path = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let printed = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(path("bob.pem"))
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let (_, fingerprint) = printed.trim().split_once('=').unwrap();
    let tls = format!("client_auth: {{ ca: clients.ca, mode: request }}\n      {SITE}");
    let rules = format!(
        "rules:\n- {{ name: bob, when: {{ client_certificate: {{ fingerprint: \"{fingerprint}\" }} }}, respond: {{ body: bob }} }}\n- {{ name: others, when: {{ client_certificate: any }}, respond: {{ body: others }} }}\n- {{ name: nobody, respond: {{ body: nobody }} }}\n"
    );
    let log = "access_log: { to: ./rows.log }\n";
    let text = text(&tls, "", "127.0.0.1:9", "") + log + &rules;
    let keel = run(&folder, &text);
    let file = path("keel.yaml");
    let mut cases = String::new();
    for (name, rule) in [
        (Some("bob"), "bob"),
        (Some("eve"), "others"),
        (None, "nobody"),
    ] {
        let (pem, key) = match name {
            Some(name) => (path(&format!("{name}.pem")), path(&format!("{name}.key"))),
            None => (String::new(), String::new()),
        };
        let (shown, told): (&[&str], &[&str]) = match name {
            Some(_) => (&["--cert", &pem, "--key", &key], &["--cert", &pem]),
            None => (&[], &[]),
        };
        assert_eq!(curl(&keel, &authority, shown, "a.example"), rule);
        let arguments = ["explain", "-c", &file, "GET", "https://a.example/"];
        let (code, out, said) = evenkeel(&[&arguments[..], told].concat());
        assert_eq!((code, &*said), (Some(0), ""));
        assert!(
            out.contains(&format!("\nrule {rule} holds: ")),
            "{rule}: {out}"
        );
        let with = name.map(|name| format!("\nwith a certificate of CN={name}\n"));
        assert!(with.is_none_or(|with| out.contains(&with)), "{out}");
        let cert = name.map_or(String::new(), |name| format!(", cert: {name}.pem"));
        cases += &format!("- {{ request: \"GET https://a.example/\", rule: {rule}{cert} }}\n");
    }
    let known = ["explain", "--json", "-c", &file, "--cert", &path("bob.pem")];
    let (_, out, _) = evenkeel(&[&known[..], &["GET", "https://a.example/"]].concat());
    let san = "\"san\":[\"DNS:bob.example\"]";
    let out: String = out.split_whitespace().collect();
    assert!(out.contains(san), "{out}");
    keel.signal("-TERM");
    keel.wait();
    let rows = std::fs::read_to_string(path("rows.log")).unwrap();
    let rows: Vec<_> = rows.lines().collect();
    let digits = fingerprint.replace(':', "").to_lowercase();
    let agreed = r#""scheme":"https","tls_version":"1.3","tls_cipher":"TLS_AES_256_GCM_SHA384","#;
    assert!(rows.iter().all(|row| row.contains(agreed)), "{rows:?}");
    for (row, shown) in rows.iter().zip([
        format!(r#""sni":"a.example","client_certificate_subject":"CN=bob","client_certificate_fingerprint":"{digits}""#),
        r#""client_certificate_subject":"CN=eve""#.to_owned(),
        r#""client_certificate_subject":null,"client_certificate_fingerprint":null"#.to_owned(),
    ]) {
        assert!(row.contains(&shown), "{shown} in {row}");
    }
    assert_eq!(rows.len(), 3);
    cases += "- { request: \"GET https://a.example/\", rule: bob, cert: none.pem }\n";
    let cases = folder.write("cases.yaml", &cases);
    let (code, out, said) = evenkeel(&["check", "--expect", cases.to_str().unwrap(), &file]);
    assert_eq!(code, Some(1));
    assert!(out.ends_with("3 of 4 cases hold\n"), "{out}{said}");
    assert!(said.contains("none.pem: "), "{said}");
}

#[test]
fn who_says_nothing_or_something_else_is_told_or_ended_and_counted() {
    let folder = Folder::new("tls-strangers");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let limits = "timeouts: { handshake: 1s }\n    limits: { handshakes: 1 }";
    let keel = run(&folder, &text(SITE, limits, "127.0.0.1:9", ""));
    let failed = |reason: &str| {
        metric(
            &keel,
            &format!(
                "evenkeel_tls_handshake_failures_total{{listener=\"secure\",reason=\"{reason}\"}} 1"
            ),
        );
    };
    let told = rest(hold(keel.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(
        told.starts_with("HTTP/1.1 400 Bad Request\r\n")
            && told.ends_with("speaks HTTPS, not plain HTTP"),
        "{told}"
    );
    failed("plain_http");
    // One that says nothing has its time, and no place: the two behind it begin, and the first of them goes for the second.
    let slow = ["", "\u{16}", "\u{16}\u{3}"].map(|said| {
        let one = hold(keel.address, said);
        let open = usize::from(!said.is_empty());
        let line = format!("evenkeel_tls_handshaking{{listener=\"secure\"}} {open}");
        metric(&keel, &line);
        if said.len() > 1 {
            failed("too_many");
        }
        one
    });
    for mut one in slow {
        // An end, or a cut.
        let mut all = Vec::new();
        let _ = one.read_to_end(&mut all);
        assert!(all.is_empty(), "{all:?}");
    }
    let timeouts = |count: u32| {
        let line = "evenkeel_tls_handshake_failures_total{listener=\"secure\",reason=\"timeout\"}";
        metric(&keel, &format!("{line} {count}"));
    };
    timeouts(2);
    drop(hold(keel.address, "\u{16}\u{3}\u{1}"));
    failed("peer_left");
    // One that stops within its hello has no more time than one that says nothing.
    let mut stalled = hold(keel.address, "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}");
    let _ = stalled.read_to_end(&mut Vec::new());
    timeouts(3);
    let mut noise = hold(keel.address, "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}");
    let _ = noise.read_to_end(&mut Vec::new());
    failed("malformed");
    metric(&keel, "evenkeel_tls_handshaking{listener=\"secure\"} 0");
    // Those who speak it are served meanwhile: the backend is away, and the answer is ours.
    let got = curl(&keel, &authority, &[], "a.example");
    assert!(got.starts_with("502 "), "{got}");
}

/// Who stops within its handshake keeps nobody out, and who was answered has its time.
#[test]
fn who_is_slow_shuts_nobody_out() {
    let folder = Folder::new("tls-slow");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let limits = "timeouts: { handshake: 1h }\n    limits: { handshakes: 1 }";
    let keel = run(&folder, &text(SITE, limits, "127.0.0.1:9", ""));
    let open = |count: u32| {
        let line = format!("evenkeel_tls_handshaking{{listener=\"secure\"}} {count}");
        metric(&keel, &line);
    };
    let served = || {
        let got = curl(&keel, &authority, &[], "a.example");
        assert!(got.starts_with("502 "), "{got}");
    };
    let _silent = [(); 3].map(|()| hold(keel.address, ""));
    served();
    let mut begun = hold(keel.address, "\u{16}\u{3}\u{1}");
    open(1);
    served();
    let mut all = Vec::new();
    let _ = begun.read_to_end(&mut all);
    // One that was answered, and has a second of its own: whoever comes within it is one too many, and told so.
    let mut answered = std::net::TcpStream::connect(keel.address).unwrap();
    answered
        .write_all(&crate::tcp::hello("a.example", 1000))
        .unwrap();
    let mut first = [0; 5];
    answered.read_exact(&mut first).unwrap();
    assert_eq!(first[..3], [0x16, 3, 3]);
    let _ = hold(keel.address, "\u{16}").read_to_end(&mut all);
    assert_eq!(all, [0x15, 3, 3, 0, 2, 2, 80]);
}

#[test]
fn nothing_is_agreed_on_a_second_time() {
    let folder = Folder::new("tls-again");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let keel = run(&folder, &text(SITE, "", "127.0.0.1:9", ""));
    let mut child = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &keel.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // `R` on a line of its own asks for another handshake; the input stays open, so that it is not the end that ends it.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"R\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation"), "{said}");
    assert!(curl(&keel, &authority, &[], "a.example").starts_with("502 "));
}

/// Certificates are replaced again and again while clients come: each gets one of the two, and none is turned away.
#[test]
fn reloads_lose_no_handshake() {
    let folder = Folder::new("tls-replaced");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    authority.make("other", &["a.example"]);
    let server = Server::nginx(&folder, TOLD);
    let mut keel = run(&folder, &text(SITE, "", &server.address.to_string(), ""));
    let at = |file: &str| folder.path().join(file);
    let (address, ca) = (keel.address, authority.ca.clone());
    let going = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0;
                    while going.load(std::sync::atomic::Ordering::Relaxed) || asked < 10 {
                        let output = Command::new("curl")
                            .args([
                                "--silent",
                                "--show-error",
                                "--max-time",
                                "30",
                                "--noproxy",
                                "*",
                            ])
                            .args([
                                "--resolve",
                                &format!("a.example:{}:127.0.0.1", address.port()),
                            ])
                            .arg("--cacert")
                            .arg(&ca)
                            .arg(format!("https://a.example:{}/", address.port()))
                            .output()
                            .unwrap();
                        let told = [output.stdout, output.stderr].concat();
                        assert_eq!(String::from_utf8_lossy(&told), "https   \n");
                        asked += 1;
                    }
                })
            })
            .collect();
        for _ in 0..4 {
            for (from, to) in [("site", "kept"), ("other", "site"), ("kept", "other")] {
                for kind in ["pem", "key"] {
                    std::fs::copy(at(&format!("{from}.{kind}")), at(&format!("{to}.{kind}")))
                        .unwrap();
                }
            }
            keel.signal("-HUP");
            keel.until("listener secure changes\n");
        }
        going.store(false, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    });
}

/// What a client reads of one answer with a body of one line.
fn answer(from: &mut impl BufRead) -> String {
    let mut all = String::new();
    while !all.contains("\r\n\r\n") || all.ends_with("\r\n\r\n") {
        assert!(from.read_line(&mut all).unwrap() > 0, "{all}");
    }
    all
}

#[test]
fn a_reload_brings_a_certificate_and_ends_no_connection() {
    let folder = Folder::new("tls-reload");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::nginx(&folder, TOLD);
    let mut keel = run(&folder, &text(SITE, "", &server.address.to_string(), ""));
    let mut held = client(&keel, &["-quiet", "-servername", "a.example"]);
    let mut ask = held.stdin.take().unwrap();
    let mut says = BufReader::new(held.stdout.take().unwrap());
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    ask.write_all(request).unwrap();
    assert!(answer(&mut says).contains("200 OK"));
    let shown = |keel: &Evenkeel| {
        let said = openssl(keel, &[]);
        let begin = said.find("-----BEGIN CERTIFICATE-----").unwrap();
        said[begin..begin + 600].to_owned()
    };
    let before = shown(&keel);
    // The files' names stay.
    authority.make("site", &["a.example"]);
    keel.signal("-HUP");
    keel.until("listener secure changes\n");
    assert_ne!(shown(&keel), before);
    ask.write_all(request).unwrap();
    assert!(answer(&mut says).contains("200 OK"));
    drop(ask);
    let _ = held.kill();
    held.wait().unwrap();
    // One that does not fit changes nothing.
    let after = shown(&keel);
    authority.make("other", &["a.example"]);
    std::fs::copy(
        folder.path().join("other.key"),
        folder.path().join("site.key"),
    )
    .unwrap();
    keel.signal("-HUP");
    keel.until("the old one goes on\n");
    assert!(
        keel.said.contains("this key is not the certificate's"),
        "{}",
        keel.said
    );
    assert_eq!(shown(&keel), after);
}

#[test]
fn a_certificate_that_is_renewed_is_taken_without_being_told() {
    let folder = Folder::new("tls-watch");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    authority.make("next", &["b.example"]);
    let mut keel = run(&folder, &text(SITE, "", "127.0.0.1:9", ""));
    // What is edited meanwhile waits for its own word.
    folder.write("keel.yaml", "broken: [");
    let at = |name: &str| folder.path().join(name);
    // One of the two does not fit, and is not taken.
    std::fs::copy(at("next.pem"), at("site.pem")).unwrap();
    keel.until("what was read before goes on\n");
    assert!(curl(&keel, &authority, &[], "a.example").starts_with("502 "));
    std::fs::copy(at("next.key"), at("site.key")).unwrap();
    keel.until("reloaded, as files have changed: listener secure changes\n");
    assert!(curl(&keel, &authority, &[], "b.example").starts_with("502 "));
}

#[test]
fn what_is_wrong_with_files_is_told_at_the_line_that_names_them() {
    let folder = Folder::new("tls-check");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    authority.make("other", &["a.example"]);
    authority.make_with("old", &["a.example"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (kind, arguments) in [
        ("sec1", &["ec", "-in", "site.key", "-out", "sec1.key"][..]),
        (
            "pkcs8",
            &[
                "pkcs8",
                "-topk8",
                "-nocrypt",
                "-in",
                "site.key",
                "-out",
                "pkcs8.key",
            ],
        ),
        (
            "locked",
            &[
                "pkcs8",
                "-topk8",
                "-passout",
                "pass:x",
                "-in",
                "site.key",
                "-out",
                "locked.key",
            ],
        ),
    ] {
        let made = Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{kind}: {made:?}");
    }
    authority.make_with("rsa", &["a.example"], &PKCS_RSA_SHA256, |_| ());
    let made = Command::new("openssl")
        .args(["rsa", "-traditional", "-in", "rsa.key", "-out", "pkcs1.key"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let check = |certificates: &str| {
        let tls = format!("certificates: [{certificates}]");
        let file = folder.write("check.yaml", &text(&tls, "", "127.0.0.1:9", ""));
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        (
            output.status.code(),
            said.replace(&*folder.path().display().to_string(), "."),
        )
    };
    for key in ["sec1", "pkcs8", "site"] {
        let (code, said) = check(&format!("{{ cert: site.pem, key: {key}.key }}"));
        assert_eq!(
            (code, &*said),
            (
                Some(0),
                "fine: 1 listeners, 1 rules, 1 services, 0 warnings\n"
            ),
            "{key}"
        );
    }
    assert_eq!(check("{ cert: rsa.pem, key: pkcs1.key }").0, Some(0));
    let (code, said) = check("{ cert: site.pem, key: other.key }");
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("./check.yaml:8:45: error: ./other.key: this key is not the certificate's [key_mismatch]\n    8 |       certificates: [{ cert: site.pem, key: other.key }]\n      |                                             ^^^^^^^^^\n"),
        "{said}"
    );
    let (code, said) = check("{ cert: old.pem, key: old.key }");
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("./check.yaml:8:30: warning: ./old.pem: this certificate expired ")
            && said.contains("[expired]"),
        "{said}"
    );
    let old = text(
        "certificates: [{ cert: old.pem, key: old.key }]",
        "",
        "127.0.0.1:9",
        "",
    );
    let certificate = folder.path().join("old.pem");
    run(&folder, &old).until(&format!(
        "the certificate has expired: clients refuse it listener=secure certificate={}\n",
        certificate.display()
    ));
    for (row, word) in [
        ("{ cert: site.pem, key: locked.key }", "[key]"),
        ("{ cert: site.key, key: site.key }", "[certificate]"),
        ("{ cert: none.pem, key: site.key }", "[file]"),
        ("{ cert: site.pem }", "[missing]"),
        (
            "{ cert: site.pem, key: site.key, ocsp: site.pem }",
            "[ocsp]",
        ),
        ("", "[missing]"),
    ] {
        let (code, said) = check(row);
        assert!(code == Some(1) && said.contains(word), "{row}: {said}");
    }
}

#[test]
fn long_bodies_arrive_whole_both_ways() {
    let folder = Folder::new("tls-long");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    authority.make("back", &["back.example"]);
    let root = folder.path().display();
    let _server = Server::nginx(
        &folder,
        &format!(
            "}} server {{ listen unix:{root}/back.sock ssl; ssl_certificate {root}/back.pem; ssl_certificate_key {root}/back.key; root {root}; client_max_body_size 100m; client_body_temp_path {root}/temp; location / {{ dav_methods PUT; }}"
        ),
    );
    let backend = format!("unix:{root}/back.sock");
    let ca = authority.ca.display();
    let upstream = format!("upstream: {{ tls: {{ ca: {ca}, sni: back.example }} }}");
    let keel = run(&folder, &text(SITE, "", &backend, &upstream));
    let long: String = (0..1_500_000).map(|line| format!("{line:07}\n")).collect();
    let file = folder.write("long", &long);
    let put = [
        "--upload-file",
        file.to_str().unwrap(),
        "--request-target",
        "/copy",
    ];
    for (rate, version) in [
        ("1G", "--http1.1"),
        ("40M", "--http1.1"),
        ("1G", "--http1.0"),
    ] {
        let got = curl(&keel, &authority, &put, "a.example");
        assert_eq!(got, "", "{rate} {version}");
        let get = ["--request-target", "/copy", "--limit-rate", rate, version];
        let got = curl(&keel, &authority, &get, "a.example");
        assert!(
            got == long,
            "{rate} {version}: {} bytes, {}",
            got.len(),
            &got[..got.len().min(200)]
        );
    }
}

#[test]
fn backends_are_believed_by_their_certificates() {
    let folder = Folder::new("tls-backends");
    let (authority, other) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "other"),
    );
    authority.make("site", &["a.example"]);
    authority.make("back", &["back.example"]);
    let root = folder.path().display();
    let socket = folder.path().join("back.sock");
    let _server = Server::nginx(
        &folder,
        &format!(
            "}} server {{ listen unix:{root}/back.sock ssl; ssl_certificate {root}/back.pem; ssl_certificate_key {root}/back.key; ssl_client_certificate {root}/authority.ca; ssl_verify_client optional; location / {{ return 200 \"$ssl_server_name $ssl_client_verify\\n\"; }}"
        ),
    );
    let backend = format!("unix:{}", socket.display());
    let (ca, wrong) = (authority.ca.display(), other.ca.display());
    let (cert, key) = ("cert: site.pem", "key: site.key");
    for (tls, expect) in [
        (
            format!("{{ ca: {ca}, sni: back.example }}"),
            "back.example NONE\n",
        ),
        (
            format!("{{ ca: {ca}, sni: back.example, {cert}, {key} }}"),
            "back.example SUCCESS\n",
        ),
        (
            "{ sni: wrong.example, verify: off }".into(),
            "wrong.example NONE\n",
        ),
        (
            format!("{{ ca: {ca}, sni: wrong.example }}"),
            "502 Bad Gateway: backend_tls\n",
        ),
        (
            format!("{{ ca: {wrong}, sni: back.example }}"),
            "502 Bad Gateway: backend_tls\n",
        ),
        // The system's issuers do not know it.
        (
            "{ sni: back.example }".into(),
            "502 Bad Gateway: backend_tls\n",
        ),
    ] {
        let keel = run(
            &folder,
            &text(SITE, "", &backend, &format!("upstream: {{ tls: {tls} }}")),
        );
        // Twice: on the connection that was kept, too.
        for _ in 0..2 {
            assert_eq!(curl(&keel, &authority, &[], "a.example"), expect, "{tls}");
        }
    }
    // Nobody is shown a key, nor the content of any file.
    let file = folder.path().join("keel.yaml");
    let shown = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["config", "show"])
        .arg(&file)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("key: site.key") && !shown.contains("BEGIN"),
        "{shown}"
    );
}

/// A backend that answers one request with half of a body that ends with its connection.
fn half(backend: &std::net::TcpListener) -> std::net::TcpStream {
    let (mut stream, _) = backend.accept().unwrap();
    crate::process::until(&mut stream, "\r\n\r\n");
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf\n";
    stream.write_all(answer).unwrap();
    stream
}

#[test]
fn what_a_drain_cuts_looks_whole_to_nobody() {
    let folder = Folder::new("tls-cut");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let backend = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let secure = text(SITE, "", &backend.local_addr().unwrap().to_string(), "");
    let plain = without_tls(&secure);
    let request = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";

    let keel = run(&folder, &format!("drain: 0\n{plain}"));
    let mut client = hold(keel.address, request);
    let behind = half(&backend);
    crate::process::until(&mut client, "half\n");
    keel.signal("-TERM");
    assert_eq!(keel.wait().0.code(), Some(3));
    let end = client.read(&mut [0]);
    assert!(
        end.is_err(),
        "a half body that ends as a whole one: {end:?}"
    );
    drop(behind);

    let keel = run(&folder, &format!("drain: 0\n{secure}"));
    let mut client = self::client(&keel, &["-quiet"]);
    let mut ask = client.stdin.take().unwrap();
    ask.write_all(request.as_bytes()).unwrap();
    let behind = half(&backend);
    let mut says = BufReader::new(client.stdout.take().unwrap());
    assert!(answer(&mut says).ends_with("half\n"));
    keel.signal("-TERM");
    assert_eq!(keel.wait().0.code(), Some(3));
    // With `close_notify` it would be content.
    assert!(!client.wait().unwrap().success());
    drop((ask, behind));
}

#[test]
fn a_handshake_that_stalls_does_not_hold_a_drain() {
    let folder = Folder::new("tls-stall");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let keel = run(
        &folder,
        &text(SITE, "timeouts: { handshake: 1h }", "127.0.0.1:9", ""),
    );
    let stalled = [
        hold(keel.address, ""),
        hold(keel.address, "\u{16}\u{3}\u{1}"),
    ];
    // Nobody hears of the first until it speaks: the second came behind it.
    metric(&keel, "evenkeel_tls_handshaking{listener=\"secure\"} 1");
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    drop(stalled);
}

#[test]
fn a_listener_changes_to_tls_and_back_and_ends_nobody() {
    let folder = Folder::new("tls-turns");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::nginx(&folder, TOLD);
    let secure = text(SITE, "", &server.address.to_string(), "");
    let mut keel = run(&folder, &without_tls(&secure));
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut open = BufReader::new(hold(keel.address, ""));
    let mut asks = |expect: &str| {
        open.get_mut().write_all(request).unwrap();
        let told = answer(&mut open);
        assert!(told.ends_with(expect), "{told}");
    };
    asks("http   \n");
    folder.write("keel.yaml", &secure);
    keel.signal("-HUP");
    keel.until("listener secure changes\n");
    // Who came before goes on; who comes now speaks TLS.
    asks("http   \n");
    assert_eq!(curl(&keel, &authority, &[], "a.example"), "https   \n");
    assert!(keel.curl(&[], "/").starts_with("400 "));
    let mut sealed = client(&keel, &["-quiet"]);
    let mut ask = sealed.stdin.take().unwrap();
    let mut says = BufReader::new(sealed.stdout.take().unwrap());
    ask.write_all(request).unwrap();
    assert!(answer(&mut says).ends_with("https   \n"));
    folder.write("keel.yaml", &without_tls(&secure));
    keel.signal("-HUP");
    keel.until("listener secure changes\n");
    ask.write_all(request).unwrap();
    assert!(answer(&mut says).ends_with("https   \n"));
    asks("http   \n");
    assert_eq!(keel.curl(&[], "/"), "http   \n");
    drop(ask);
    let _ = sealed.kill();
    sealed.wait().unwrap();
}

#[test]
fn answers_over_tls_say_that_it_is_to_stay_so() {
    let folder = Folder::new("tls-hsts");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::nginx(
        &folder,
        "location / { add_header Strict-Transport-Security max-age=1; return 200; }",
    );
    let backend = server.address.to_string();
    let tls = format!("hsts: {{ max_age: 365d, subdomains: true }}\n      {SITE}");
    let rules = "rules:\n  - { when: { path: /away }, redirect: { path: / } }\n  - { when: { path: /own }, forward: api, rewrite: { response_headers: { set: { Strict-Transport-Security: max-age=7 } } } }\n  - { when: { path: /none }, respond: { status: 204 }, rewrite: { response_headers: { remove: [Strict-Transport-Security] } } }\n  - { when: { path: /only }, forward: api }\n";
    let with = text(&tls, "", &backend, "") + rules;
    let mut keel = run(&folder, &with);
    let said = |answer: &str| {
        let lines = answer.lines();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let all = fields.filter(|(name, _)| name.eq_ignore_ascii_case("Strict-Transport-Security"));
        all.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    let always = "max-age=31536000; includeSubDomains";
    for (path, expect) in [
        // In the place of the backend's; of what is made here; a refusal; what a rule says instead.
        ("/only", &[always][..]),
        ("/away", &[always]),
        ("/nobody", &[always]),
        ("/own", &["max-age=7"]),
        ("/none", &[]),
    ] {
        let asks = ["--include", "--request-target", path];
        let got = curl(&keel, &authority, &asks, "a.example");
        assert_eq!(said(&got), expect, "{path}: {got}");
    }
    folder.write("keel.yaml", &without_tls(&with));
    keel.signal("-HUP");
    keel.until("listener secure changes\n");
    let plain = keel.curl(&["--include"], "/away");
    assert!(plain.contains("302") && said(&plain).is_empty(), "{plain}");
}
