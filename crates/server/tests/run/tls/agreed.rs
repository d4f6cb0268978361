//! What is agreed on, as openssl, curl and a backend see it: protocols, groups, staples, and what is told of them.

use super::*;

#[test]
fn the_protocol_within_is_the_clients_choice() {
    let folder = Folder::new("tls-alpn");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let rules = "rules: [{ respond: { body: hello } }]\n";
    let keel = run(&folder, &(text(SITE, "", "127.0.0.1:9", "") + rules));
    for (offers, chosen) in [
        ("h2,http/1.1", "ALPN protocol: h2\n"),
        ("http/1.1,h2", "ALPN protocol: h2\n"),
        ("http/1.1", "ALPN protocol: http/1.1\n"),
        ("spdy/3,http/1.1", "ALPN protocol: http/1.1\n"),
        ("http/1.0", "ALPN protocol: http/1.0\n"),
        ("spdy/3", "no application protocol"),
    ] {
        let said = openssl(&keel, &["-alpn", offers]);
        assert!(said.contains(chosen), "{offers}: {said}");
    }
    let said = openssl(&keel, &[]);
    assert!(
        said.contains("No ALPN negotiated") && said.contains("200 OK"),
        "{said}"
    );
    metric(
        &keel,
        "evenkeel_tls_handshake_failures_total{listener=\"secure\",reason=\"protocol\"} 1",
    );
}

/// An answer of an issuer's own responder, which a client believes.
#[test]
fn a_staple_is_believed() {
    let folder = Folder::new("tls-staple");
    let authority = Authority::new(&folder, "authority");
    authority.make_with("site", &["a.example"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.serial_number = Some(0x0102_0304_u64.into());
    });
    folder.write("authority.key", &authority.issuer.key().serialize_pem());
    folder.write("index", "V\t401231235959Z\t\t01020304\tunknown\t/CN=site\n");
    let made = Command::new("openssl")
        .args([
            "ocsp",
            "-index",
            "index",
            "-rsigner",
            "authority.ca",
            "-rkey",
            "authority.key",
            "-CA",
            "authority.ca",
        ])
        .args([
            "-issuer",
            "authority.ca",
            "-cert",
            "site.pem",
            "-ndays",
            "7",
            "-respout",
            "site.ocsp",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    // curl looks for the issuer among what it is shown.
    let chain = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
    folder.write("chain.pem", &(chain("site.pem") + &chain("authority.ca")));
    let tls = "certificates: [{ cert: chain.pem, key: site.key, ocsp: site.ocsp }]";
    let rules = "rules: [{ respond: { body: hello } }]\n";
    let keel = run(&folder, &(text(tls, "", "127.0.0.1:9", "") + rules));
    for version in ["-tls1_2", "-tls1_3"] {
        let said = openssl(&keel, &["-status", version]);
        for line in ["OCSP Response Status: successful", "Cert Status: good"] {
            assert!(said.contains(line), "{version}: {said}");
        }
    }
    // curl asks for it, and takes nothing without one.
    let got = curl(&keel, &authority, &["--cert-status"], "a.example");
    assert_eq!(got, "hello");
}

/// The shipped binary before itself: its side to backends is a client of rustls.
#[test]
fn a_client_of_today_agrees_on_a_group_that_holds_against_quantum_computers() {
    let folder = Folder::new("tls-group");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let rules = "rules: [{ respond: { body: hello } }]\naccess_log: { to: ./rows.log }\n";
    let behind = run(&folder, &(text(SITE, "", "127.0.0.1:9", "") + rules));
    let front = folder.write(
        "front.yaml",
        &format!(
            "admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{}\"], upstream: {{ tls: {{ ca: authority.ca, sni: a.example }} }} }} }}\n",
            behind.address
        ),
    );
    let front = Evenkeel::run(&["-c", front.to_str().unwrap()]);
    assert_eq!(front.curl(&[], "/"), "hello");
    behind.signal("-TERM");
    behind.wait();
    let rows = std::fs::read_to_string(folder.path().join("rows.log")).unwrap();
    assert!(rows.contains(r#""tls_group":"X25519MLKEM768""#), "{rows}");
}

#[test]
fn clients_of_http2_are_known_by_their_certificates_as_others_are() {
    let folder = Folder::new("tls-http2");
    let (authority, clients) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "clients"),
    );
    authority.make("site", &["a.example"]);
    clients.make("bob", &["bob.example"]);
    let server = Server::nginx(&folder, TOLD);
    let tls = format!("client_auth: {{ ca: clients.ca, mode: request }}\n      {SITE}");
    let log = "access_log: { to: ./rows.log }\n";
    let keel = run(
        &folder,
        &(text(&tls, "", &server.address.to_string(), "") + log),
    );
    let path = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let (pem, key) = (path("bob.pem"), path("bob.key"));
    let forged = [
        "-H",
        "X-Client-Cert-Subject: CN=eve",
        "-H",
        "Client-Cert: :AAAA:",
    ];
    let told = ["--write-out", "%{http_version}\n"];
    let mut got = Vec::new();
    for version in ["--http1.1", "--http2"] {
        let words = [
            &[version, "--cert", &*pem, "--key", &*key],
            &told[..],
            &forged,
        ]
        .concat();
        let known = curl(&keel, &authority, &words, "a.example");
        let (known, spoken) = known.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(spoken, version.trim_start_matches("--http"));
        assert!(
            known.starts_with("https CN=bob :MII") && known.ends_with(" DNS:bob.example"),
            "{known}"
        );
        got.push(known.to_owned());
        let words = [&[version], &forged[..]].concat();
        assert_eq!(curl(&keel, &authority, &words, "a.example"), "https   \n");
    }
    assert_eq!(got[0], got[1]);
    keel.signal("-TERM");
    keel.wait();
    let rows = std::fs::read_to_string(path("rows.log")).unwrap();
    let rows: Vec<_> = rows.lines().collect();
    assert_eq!(rows.len(), 4, "{rows:?}");
    for (row, protocol) in rows.iter().zip(["1.1", "1.1", "2.0", "2.0"]) {
        for part in [
            format!(r#""protocol":"HTTP/{protocol}""#),
            r#""scheme":"https","tls_version":"1.3","#.to_owned(),
            r#""sni":"a.example""#.to_owned(),
        ] {
            assert!(row.contains(&part), "{part} in {row}");
        }
    }
    for row in [rows[0], rows[2]] {
        assert!(
            row.contains(r#""client_certificate_subject":"CN=bob""#),
            "{row}"
        );
    }
}

#[test]
fn a_split_over_tls_gives_its_cookie_to_tls_alone() {
    let folder = Folder::new("tls-split");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::nginx(&folder, TOLD);
    let backend = server.address.to_string();
    let rules = "rules: [{ forward: { to: { api: 1, other: 1 }, affinity: { cookie: {} } } }]\n";
    let other = format!("}}, other: {{ backends: [\"{backend}\"]");
    let with = text(SITE, "", &backend, &other) + rules;
    let mut keel = run(&folder, &with);
    let cookie = |answer: &str| {
        let line = answer
            .lines()
            .find(|line| line.to_lowercase().starts_with("set-cookie: keel-split="));
        line.map(str::to_owned)
            .unwrap_or_else(|| panic!("{answer}"))
    };
    for version in ["--http1.1", "--http2"] {
        let got = curl(&keel, &authority, &["--include", version], "a.example");
        let cookie = cookie(&got);
        assert!(
            cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"),
            "{version}: {cookie}"
        );
    }
    folder.write("keel.yaml", &without_tls(&with));
    keel.signal("-HUP");
    keel.until("listener secure changes\n");
    let cookie = cookie(&keel.curl(&["--include"], "/"));
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax"), "{cookie}");
}
