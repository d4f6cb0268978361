//! Clients whose certificates were revoked, before the start and meanwhile.

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;

/// Writes the list of the numbers that this issuer revoked.
fn revoke(authority: &Authority<'_>, file: &str, numbers: &[u64], until: i32) {
    let begin = date_time_ymd(2019, 1, 1);
    let revoked = numbers.iter().map(|number| RevokedCertParams {
        serial_number: SerialNumber::from(*number),
        revocation_time: begin,
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: begin,
        next_update: date_time_ymd(until, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority.issuer).unwrap().pem().unwrap();
    authority.folder.write(file, &list);
}

/// A client with a certificate of this number.
fn known(clients: &Authority<'_>, name: &str, number: u64) -> [String; 4] {
    clients.make_with(name, &["b.example"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.serial_number = Some(number.into());
    });
    let path = |kind| clients.folder.path().join(format!("{name}.{kind}"));
    let path = |kind| path(kind).to_str().unwrap().to_owned();
    ["--cert".into(), path("pem"), "--key".into(), path("key")]
}

#[test]
fn who_was_revoked_stays_out() {
    let folder = Folder::new("tls-revoked");
    let (authority, clients) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "clients"),
    );
    authority.make("site", &["a.example"]);
    let (bob, eve) = (known(&clients, "bob", 1), known(&clients, "eve", 2));
    revoke(&clients, "clients.crl", &[1], 2990);
    let tls = format!("client_auth: {{ ca: clients.ca, crl: clients.crl }}\n      {SITE}");
    let text = text(&tls, "", "127.0.0.1:9", "") + "rules: [{ respond: { body: hello } }]\n";
    let mut keel = run(&folder, &text);
    let ask = |keel: &Evenkeel, who: &[String; 4]| {
        let who: Vec<_> = who.iter().map(|one| &**one).collect();
        curl(keel, &authority, &who, "a.example")
    };
    let failed = |keel: &Evenkeel, count: u32| {
        metric(
            keel,
            &format!(
                "evenkeel_tls_handshake_failures_total{{listener=\"secure\",reason=\"certificate_revoked\"}} {count}"
            ),
        );
    };
    assert_eq!(ask(&keel, &eve), "hello");
    // What curl says depends on whether it was still writing when it was told.
    assert_ne!(ask(&keel, &bob), "hello");
    failed(&keel, 1);
    // A ticket of hers from before the list that names her.
    let kept = folder.path().join("kept");
    let eves = |more: [&str; 2]| {
        let ends = [&["-cert", &*eve[1], "-key", &*eve[3]], &more[..]].concat();
        ends.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let says = |keel: &Evenkeel, words: &[String]| {
        let words: Vec<_> = words.iter().map(|one| &**one).collect();
        openssl(keel, &words)
    };
    let kept = kept.to_str().unwrap();
    let said = says(&keel, &eves(["-sess_out", kept]));
    assert!(said.contains("\nNew, TLSv1.3"), "{said}");
    let said = says(&keel, &eves(["-sess_in", kept]));
    assert!(said.contains("\nReused, TLSv1.3"), "{said}");
    // The next list is taken by the watch over files.
    revoke(&clients, "clients.crl", &[1, 2], 2990);
    keel.until("reloaded, as files have changed: listener secure changes\n");
    assert_ne!(ask(&keel, &eve), "hello");
    failed(&keel, 2);
    let said = says(&keel, &eves(["-sess_in", kept]));
    assert!(!said.contains("200 OK"), "{said}");
    failed(&keel, 3);
    // One that cannot be read changes nothing.
    folder.write("clients.crl", "nothing");
    keel.until("what was read before goes on\n");
    assert_ne!(ask(&keel, &bob), "hello");
    failed(&keel, 4);
}

#[test]
fn what_is_wrong_with_a_list_is_told_at_its_line() {
    let folder = Folder::new("tls-lists");
    let (authority, clients) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "clients"),
    );
    authority.make("site", &["a.example"]);
    revoke(&clients, "good.crl", &[1], 2990);
    revoke(&clients, "over.crl", &[1], 2020);
    revoke(&authority, "foreign.crl", &[1], 2990);
    folder.write(
        "broken.crl",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    );
    for (list, code, severity, said) in [
        ("good.crl", 0, "", ""),
        ("over.crl", 0, "warning", "[crl_expired]"),
        ("foreign.crl", 0, "warning", "[crl_missing]"),
        ("site.pem", 1, "error", "[crl]"),
        ("broken.crl", 1, "error", "[crl]"),
        ("none.crl", 1, "error", "[file]"),
    ] {
        let tls = format!("client_auth: {{ ca: clients.ca, crl: {list} }}\n      {SITE}");
        let file = folder.write("check.yaml", &text(&tls, "", "127.0.0.1:9", ""));
        let (got, out, told) = evenkeel(&["check", file.to_str().unwrap()]);
        assert_eq!(got, Some(code), "{list}: {out}{told}");
        let place = format!("check.yaml:8:43: {severity}: ");
        let placed = told.is_empty() || told.contains(&place);
        assert!(placed && told.contains(said), "{list}: {told}");
        assert_eq!(told.is_empty(), said.is_empty(), "{list}: {told}");
    }
}

/// A running instance says that a list is late, and how late.
#[test]
fn a_list_that_is_late_is_told_of() {
    let folder = Folder::new("tls-late");
    let (authority, clients) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "clients"),
    );
    authority.make("site", &["a.example"]);
    revoke(&clients, "clients.crl", &[1], 2020);
    let tls = format!("client_auth: {{ ca: clients.ca, crl: clients.crl }}\n      {SITE}");
    let mut keel = run(&folder, &text(&tls, "", "127.0.0.1:9", ""));
    let list = folder.path().join("clients.crl");
    keel.until(&format!(
        "the list of revoked certificates was to be replaced by now: it holds on, and who was revoked since is let in listener=secure crl={}\n",
        list.display()
    ));
    let left = |keel: &Evenkeel| {
        let page = keel.page("/metrics");
        let mut lines = page.lines();
        let line = lines.find(|line| line.starts_with("evenkeel_tls_crl_days_left{"));
        let days = line.unwrap().rsplit(' ').next().unwrap();
        days.parse::<f64>().unwrap()
    };
    assert!(left(&keel) < -2000.0);
    revoke(&clients, "clients.crl", &[1], 2990);
    keel.until("reloaded, as files have changed: listener secure changes\n");
    assert!(left(&keel) > 2000.0);
}
