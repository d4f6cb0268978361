//! What testssl.sh finds of each policy, with a certificate of either kind: protocols, ciphers, forward secrecy, preferences,
//! vulnerabilities. Some twenty seconds each, most of them waiting.

use super::*;

/// What it may find beyond `OK` and `INFO`, and why.
const KNOWN: &[(&str, &str)] = &[
    // Of the tester's own openssl.
    ("engine_problem", "no engine or gost support"),
    // The order is the client's where every cipher is strong, as Mozilla has it: phones without AES in hardware choose ChaCha20.
    ("cipher_order", "not a cipher order configured"),
];

/// One finding: its name, how bad it is, and what.
type Finding = (String, String, String);

fn findings(json: &str) -> Vec<Finding> {
    let parsed: serde_json::Value = serde_json::from_str(json).unwrap();
    let rows = parsed.as_array().unwrap().iter();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.map(|row| (text(row, "id"), text(row, "severity"), text(row, "finding")))
        .collect()
}

/// What it finds there.
fn tested(folder: &Folder, authority: &Authority<'_>, port: u16) -> Vec<Finding> {
    let rows = folder.path().join("rows.json");
    let mut command = Command::new("testssl");
    command
        .args([
            "--protocols",
            "--std",
            "--server-preference",
            "--pfs",
            "--vulnerable",
        ])
        .args([
            "--warnings",
            "batch",
            "--nodns",
            "none",
            "--color",
            "0",
            "--quiet",
        ])
        .arg("--add-ca")
        .arg(&authority.ca)
        .arg("--jsonfile")
        .arg(&rows)
        .arg(format!("localhost:{port}"))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let json = std::fs::read_to_string(&rows);
    findings(&json.unwrap_or_else(|error| panic!("{error}: {said}")))
}

fn check(policy: &str, versions: &[(&str, &str)]) {
    let folder = Folder::new(&format!("tls-testssl-{policy}"));
    let authority = Authority::new(&folder, "authority");
    authority.make("ecdsa", &["localhost"]);
    authority.make_with("rsa", &["localhost"], &PKCS_RSA_SHA256, |_| ());
    let tls = format!(
        "policy: {policy}\n      certificates: [{{ cert: ecdsa.pem, key: ecdsa.key }}, {{ cert: rsa.pem, key: rsa.key }}]"
    );
    let text = text(&tls, "", "127.0.0.1:9", "") + "rules: [{ respond: { body: hello } }]\n";
    let keel = run(&folder, &text);
    let found = tested(&folder, &authority, keel.address.port());
    // It did look.
    for (name, expect) in versions {
        let row = found.iter().find(|(id, _, _)| id == name);
        let said = row.map(|(_, _, finding)| &**finding);
        assert_eq!(said, Some(*expect), "{policy}: {name}: {found:?}");
    }
    for name in [
        "cipherlist_STRONG",
        "PFS",
        "heartbleed",
        "ticketbleed",
        "ROBOT",
        "secure_client_renego",
        "fallback_SCSV",
        "LUCKY13",
        "RC4",
    ] {
        let row = found.iter().find(|(id, _, _)| id == name);
        let severity = row.map(|(_, severity, _)| &**severity);
        assert_eq!(severity, Some("OK"), "{policy}: {name}: {found:?}");
    }
    for (id, severity, finding) in &found {
        let known = KNOWN
            .iter()
            .any(|(name, what)| name == id && finding.to_lowercase().starts_with(what));
        assert!(
            known || matches!(&**severity, "OK" | "INFO"),
            "{policy}: {severity}: {id}: {finding}"
        );
    }
}

const NO: &str = "not offered";

#[test]
fn testssl_finds_nothing_in_modern() {
    check(
        "modern",
        &[
            ("SSLv2", NO),
            ("SSLv3", NO),
            ("TLS1", NO),
            ("TLS1_1", NO),
            ("TLS1_2", NO),
            ("TLS1_3", "offered with final"),
            ("ALPN_HTTP2", "h2"),
        ],
    );
}

#[test]
fn testssl_finds_nothing_in_intermediate() {
    check(
        "intermediate",
        &[
            ("SSLv2", NO),
            ("SSLv3", NO),
            ("TLS1", NO),
            ("TLS1_1", NO),
            ("TLS1_2", "offered"),
            ("TLS1_3", "offered with final"),
            ("ALPN_HTTP2", "h2"),
        ],
    );
}
