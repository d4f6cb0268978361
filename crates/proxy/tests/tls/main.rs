//! TLS without a network: whose certificate is shown to whom, who is let in, what comes back short, what a file is worth.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

/// Clients that mean harm.
mod attacks;
mod made;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_config::plan::tls::{ClientAuth, Issuers, Policy, Tickets, TlsPlan, UpstreamTls};
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;
use evenkeel_proxy::tls::fault::Fault;
use evenkeel_proxy::tls::load::load;
use evenkeel_proxy::tls::secured::{Identity, Version};
use evenkeel_proxy::tls::terms::Terms;
use evenkeel_proxy::tls::upstream::Towards;
use made::{Authority, BETWEEN, Made, TODAY, material, meet, pair, tls_plan, towards};
use rcgen::{DnType, PKCS_ED25519, PKCS_RSA_SHA256, SanType};

fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(what)
}

fn terms(plan: &TlsPlan) -> Arc<Terms> {
    Terms::new(plan, None, TODAY).unwrap()
}

fn ends() -> (Pipe, Pipe) {
    Pipe::pair(100_000)
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let authority = Authority::new("authority");
    let first = authority.make(&["first.example", "www.first.example"]);
    let exact = authority.make(&["a.star.example"]);
    let star = authority.make(&["*.star.example"]);
    // One for no name that anybody asks for: so that `exact` goes before `star` by its kind, not by its place.
    let terms = terms(&tls_plan(Policy::Modern, &[&first, &star, &exact]));
    for (asks, expect) in [
        ("first.example", Ok(())),
        ("WWW.First.Example", Ok(())),
        ("a.star.example", Ok(())),
        ("b.star.example", Ok(())),
        // A star is one label, and not none.
        ("c.b.star.example", Err(Fault::CertificateName)),
        ("star.example", Err(Fault::CertificateName)),
        // Nobody's: the first is shown, and is not for this name.
        ("unknown.example", Err(Fault::CertificateName)),
    ] {
        let (client, _) = run(meet(&terms, &towards(&authority.pem, asks), ends()));
        assert_eq!(client.map(drop), expect, "{asks}");
    }
}

#[test]
fn what_is_agreed_on_is_known() {
    let authority = Authority::new("authority");
    let made = authority.make(&["a.example"]);
    let terms = terms(&tls_plan(Policy::Intermediate, &[&made]));
    let towards = towards(&authority.pem, "a.example");
    let (client, server) = run(pair(&(terms, towards), ends()));
    for end in [&client, &server] {
        let secured = end.secured().unwrap();
        assert_eq!(secured.version, Version::Tls13);
        assert_eq!(secured.group, Some("X25519MLKEM768"));
        assert!(!secured.resumed && secured.client.is_none());
    }
    assert_eq!(server.secured().unwrap().sni.as_deref(), Some("a.example"));
}

#[test]
fn an_impostor_is_refused() {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let terms = terms(&tls_plan(Policy::Modern, &[&other.make(&["a.example"])]));
    let (client, server) = run(meet(&terms, &towards(&authority.pem, "a.example"), ends()));
    assert_eq!(client.map(drop), Err(Fault::CertificateUnknown));
    assert_eq!(server.map(drop), Err(Fault::Distrusted));
    // Unless that is asked for by name.
    let anybody = UpstreamTls {
        unverified: true,
        ..UpstreamTls::default()
    };
    let anybody = Towards::new(&Arc::new(anybody), None).unwrap();
    let (client, _) = run(meet(&terms, &anybody, ends()));
    assert!(client.is_ok());
}

/// A client with this certificate, or none.
fn client(ca: &str, made: Option<&Made>) -> Arc<Towards> {
    let plan = UpstreamTls {
        ca: Some(material(ca)),
        sni: Some("a.example".into()),
        certificate: made.map(|made| (material(&made.cert), material(&made.key))),
        ..UpstreamTls::default()
    };
    Towards::new(&Arc::new(plan), None).unwrap()
}

#[test]
fn clients_are_let_in_as_planned_and_known_by_what_they_show() {
    let (authority, clients, other) = (
        Authority::new("authority"),
        Authority::new("clients"),
        Authority::new("other"),
    );
    let site = authority.make(&["a.example"]);
    let known = clients.make_with(&["b.example"], &PKCS_ED25519, |params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "Bob\r\nX-Forged: 1");
        let uri = SanType::URI("spiffe://keel/bob".try_into().unwrap());
        params.subject_alt_names.push(uri);
    });
    let stranger = other.make(&["b.example"]);
    let expired = |params: &mut rcgen::CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    };
    let old = clients.make_with(&["b.example"], &PKCS_ED25519, expired);
    let early = clients.make_with(&["b.example"], &PKCS_ED25519, |params| {
        params.not_before = rcgen::date_time_ymd(2990, 1, 1);
        params.not_after = rcgen::date_time_ymd(2991, 1, 1);
    });
    let ca = || material(&clients.pem);
    let (off, request, require) = (
        ClientAuth::Off,
        ClientAuth::Request(ca().into()),
        ClientAuth::Require(ca().into()),
    );
    for (auth, shows, expect) in [
        (&off, Some(&known), Ok(false)),
        (&request, None, Ok(false)),
        (&request, Some(&known), Ok(true)),
        (&request, Some(&stranger), Err(Fault::CertificateUnknown)),
        (&require, None, Err(Fault::CertificateMissing)),
        (&require, Some(&known), Ok(true)),
        (&require, Some(&stranger), Err(Fault::CertificateUnknown)),
        (&require, Some(&old), Err(Fault::CertificateExpired)),
        (&require, Some(&early), Err(Fault::CertificateNotYet)),
    ] {
        let plan = TlsPlan {
            client_auth: auth.clone(),
            ..tls_plan(Policy::Intermediate, &[&site])
        };
        let towards = client(&authority.pem, shows);
        let (_, server) = run(meet(&terms(&plan), &towards, ends()));
        let identity = |sock: &_| -> bool {
            let Some(client) = Sock::secured(sock).unwrap().client.as_deref() else {
                return false;
            };
            let Identity {
                subject,
                names,
                fingerprint,
                ..
            } = client;
            assert!(subject.contains("CN=Bob\\0d\\0aX-Forged: 1"), "{subject}");
            assert_eq!(&**names, "DNS:b.example,URI:spiffe://keel/bob");
            assert_eq!(fingerprint.len(), 64);
            true
        };
        assert_eq!(
            server.as_ref().map(identity).map_err(|fault| *fault),
            expect,
            "{auth:?}"
        );
    }
}

/// Lists of three issuers, each asked about a certificate that it revoked, one that it did not, and those of a chain.
#[test]
fn who_was_revoked_is_not_let_in() {
    let authority = Authority::new("authority");
    let site = authority.make(&["a.example"]);
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let between = root.below("between");
    let numbered = |by: &Authority, number: u64| {
        by.make_with(&["b.example"], &PKCS_ED25519, move |params| {
            params.serial_number = Some(number.into());
        })
    };
    let chained = |number| {
        let made = numbered(&between, number);
        Made {
            cert: made.cert + &between.pem,
            key: made.key,
        }
    };
    let (good, bad, stranger) = (numbered(&root, 1), numbered(&root, 2), numbered(&other, 2));
    let (low, low_bad) = (chained(1), chained(2));
    let none = root.revoke(&[], 2990);
    let list = root.revoke(&[2], 2990);
    let below = between.revoke(&[2], 2990);
    let over = root.revoke(&[2], 2020);
    // The number of the one between.
    let whole = root.revoke(&[BETWEEN], 2990);
    let forged = Authority::new("root").revoke(&[2], 2990);
    let foreign = other.revoke(&[1], 2990);
    let (revoked, unlisted) = (
        Err(Fault::CertificateRevoked),
        Err(Fault::CertificateUnlisted),
    );
    for (row, (crl, shows, expect)) in [
        (&list, &good, Ok(())),
        (&list, &bad, revoked),
        (&none, &bad, Ok(())),
        // A list whose time is over holds on.
        (&over, &good, Ok(())),
        (&over, &bad, revoked),
        // Several in one file, each asked about its own.
        (&(foreign.clone() + &list), &good, Ok(())),
        (&(foreign.clone() + &list), &bad, revoked),
        // Nobody speaks for it.
        (&foreign, &good, unlisted),
        (&list, &stranger, unlisted),
        // It bears the issuer's name and not its signature.
        (&forged, &good, unlisted),
        // The whole chain.
        (&(list.clone() + &below), &low, Ok(())),
        (&(list.clone() + &below), &low_bad, revoked),
        (&list, &low, unlisted),
        (&below, &low, unlisted),
        (&(whole + &below), &low, revoked),
    ]
    .into_iter()
    .enumerate()
    {
        for mode in [ClientAuth::Request, ClientAuth::Require] {
            let by = Issuers {
                ca: material(root.pem.clone() + &other.pem),
                crl: Some(material(crl)),
            };
            let plan = TlsPlan {
                client_auth: mode(by),
                ..tls_plan(Policy::Intermediate, &[&site])
            };
            let towards = client(&authority.pem, Some(shows));
            let (_, server) = run(meet(&terms(&plan), &towards, ends()));
            assert_eq!(server.map(drop), expect, "row {row}");
        }
    }
}

/// Whether a second handshake of the same client is short.
fn resumes(first: &Terms, second: &Terms, client: &Towards) -> Result<bool, Fault> {
    run(async {
        let (client_end, server_end) = meet(first, client, ends()).await;
        // Takes its ticket, if there is one, and finds nothing else.
        assert!(!client_end.unwrap().has_input());
        server_end.unwrap();
        let (_, server) = meet(second, client, ends()).await;
        server.map(|server| server.secured().unwrap().resumed)
    })
}

#[test]
fn clients_come_back_short_where_they_are_held_to_the_same() {
    let authority = Authority::new("authority");
    let site = authority.make(&["a.example"]);
    let towards = || client(&authority.pem, None);
    let plan = tls_plan(Policy::Modern, &[&site]);
    let one = terms(&plan);
    assert_eq!(resumes(&one, &one, &towards()), Ok(true));
    // A check looks at the certificate each time.
    let check = towards().for_checks(&[b"http/1.1"]);
    assert_eq!(resumes(&one, &one, &check), Ok(false));
    // The next certificate of the same listener: tickets hold on.
    let renewed = tls_plan(Policy::Modern, &[&authority.make(&["a.example"])]);
    let next = Terms::new(&renewed, Some(&one), TODAY).unwrap();
    assert_eq!(resumes(&one, &next, &towards()), Ok(true));
    // Where a certificate is asked, nobody comes in by one that was not shown here (CVE-2025-23419).
    let clients = Authority::new("clients");
    let require = TlsPlan {
        client_auth: ClientAuth::Require(material(&clients.pem).into()),
        ..plan.clone()
    };
    let strict = Terms::new(&require, Some(&one), TODAY).unwrap();
    assert_eq!(
        resumes(&one, &strict, &towards()),
        Err(Fault::CertificateMissing)
    );
    // Nor by one of other issuers.
    let bob = clients.make(&["bob.example"]);
    let others = TlsPlan {
        client_auth: ClientAuth::Require(material(clients.pem.clone() + &authority.pem).into()),
        ..plan.clone()
    };
    let others = Terms::new(&others, Some(&strict), TODAY).unwrap();
    let bobs = || client(&authority.pem, Some(&bob));
    assert_eq!(resumes(&strict, &strict, &bobs()), Ok(true));
    assert_eq!(resumes(&strict, &others, &bobs()), Ok(false));
    // Nor by one of before others, or it, were revoked.
    let listed = |revoked: &[u64]| {
        let by = Issuers {
            ca: material(&clients.pem),
            crl: Some(material(clients.revoke(revoked, 2990))),
        };
        let plan = TlsPlan {
            client_auth: ClientAuth::Require(by),
            ..plan.clone()
        };
        Terms::new(&plan, Some(&strict), TODAY).unwrap()
    };
    let bob = clients.make_with(&["bob.example"], &PKCS_ED25519, |params| {
        params.serial_number = Some(7.into());
    });
    let bobs = || client(&authority.pem, Some(&bob));
    assert_eq!(resumes(&strict, &listed(&[]), &bobs()), Ok(false));
    let (before, after) = (listed(&[1]), listed(&[1, 7]));
    assert_eq!(resumes(&before, &before, &bobs()), Ok(true));
    assert_eq!(
        resumes(&before, &after, &bobs()),
        Err(Fault::CertificateRevoked)
    );
    // Another instance has other keys, unless both have them of one file.
    assert_eq!(resumes(&one, &terms(&plan), &towards()), Ok(false));
    let shared = |keys: &[u8]| {
        let tickets = Tickets::Shared(material(keys));
        terms(&TlsPlan {
            tickets,
            ..plan.clone()
        })
    };
    let key = |first: u8| -> Vec<u8> { (first..first + 32).collect() };
    let (here, there) = (shared(&key(7)), shared(&[key(9), key(7)].concat()));
    assert_eq!(resumes(&here, &there, &towards()), Ok(true));
    assert_eq!(resumes(&here, &shared(&key(8)), &towards()), Ok(false));
    let off = terms(&TlsPlan {
        tickets: Tickets::Off,
        ..plan.clone()
    });
    assert_eq!(resumes(&off, &off, &towards()), Ok(false));
    // Keys turn: what is two turns old is nothing any more.
    let (one, client) = (terms(&plan), towards());
    one.turn(TODAY + Duration::from_secs(3600));
    one.turn(TODAY + Duration::from_secs(7200));
    assert_eq!(resumes(&one, &one, &client), Ok(true), "of today's");
}

/// What tests of dates take for the date, in seconds since 1970; each runs in a process or a thread of its own.
mod date {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(super) fn set(now: Duration) {
        NOW.set(now);
    }

    pub(super) fn today() -> Duration {
        NOW.get()
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A certificate that holds until the first second of [`TODAY`].
fn short(authority: &Authority, name: &str) -> Made {
    authority.make_with(&[name], &PKCS_ED25519, |params| {
        params.not_after = rcgen::date_time_ymd(2026, 11, 21);
    })
}

#[test]
fn nobody_comes_back_by_a_certificate_that_has_ended() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let site = authority.make(&["a.example"]);
    let bob = short(&clients, "bob.example");
    for auth in [ClientAuth::Request, ClientAuth::Require] {
        let plan = TlsPlan {
            client_auth: auth(material(&clients.pem).into()),
            ..tls_plan(Policy::Modern, &[&site])
        };
        date::set(TODAY - 60 * SECOND);
        let terms = Terms::dated(&plan, None, TODAY, date::today).unwrap();
        for (now, expect) in [
            (TODAY - SECOND, Ok(true)),
            (TODAY, Ok(true)),
            (TODAY + SECOND, Err(Fault::CertificateExpired)),
        ] {
            date::set(TODAY - 60 * SECOND);
            let bob = client(&authority.pem, Some(&bob));
            let back = run(async {
                let (client_end, server_end) = meet(&terms, &bob, ends()).await;
                assert!(!client_end.unwrap().has_input());
                server_end.unwrap();
                date::set(now);
                let (_, server) = meet(&terms, &bob, ends()).await;
                server.map(|server| server.secured().unwrap().resumed)
            });
            assert_eq!(back, expect, "{now:?}");
        }
    }
}

#[test]
fn no_backend_is_come_back_to_by_a_certificate_that_has_ended() {
    let authority = Authority::new("authority");
    let site = short(&authority, "a.example");
    let plan = tls_plan(Policy::Modern, &[&site]);
    date::set(TODAY - 60 * SECOND);
    let terms = Terms::new(&plan, None, TODAY).unwrap();
    let towards = UpstreamTls {
        ca: Some(material(&authority.pem)),
        sni: Some("a.example".into()),
        ..UpstreamTls::default()
    };
    let towards = Towards::dated(&Arc::new(towards), None, date::today).unwrap();
    for towards in [towards.clone(), towards.without_protocols()] {
        run(async {
            let back = async |terms: &Terms| {
                let (client, _server) = meet(terms, &towards, ends()).await;
                client.map(|mut client| {
                    let resumed = client.secured().unwrap().resumed;
                    assert!(!client.has_input(), "but a ticket");
                    resumed
                })
            };
            date::set(TODAY - 60 * SECOND);
            // One whose ticket is not read until it is too late.
            let (late, _server) = meet(&terms, &towards, ends()).await;
            let mut late = late.unwrap();
            assert_eq!(back(&terms).await, Ok(false));
            date::set(TODAY);
            assert_eq!(back(&terms).await, Ok(true));
            date::set(TODAY + SECOND);
            assert_eq!(back(&terms).await, Err(Fault::CertificateExpired));
            assert!(!late.has_input());
            assert_eq!(back(&terms).await, Err(Fault::CertificateExpired));
            // The next certificate is seen, and remembered.
            let renewed = tls_plan(Policy::Modern, &[&authority.make(&["a.example"])]);
            let renewed = Terms::new(&renewed, Some(&terms), TODAY).unwrap();
            assert_eq!(back(&renewed).await, Ok(false));
            assert_eq!(back(&renewed).await, Ok(true));
        });
    }
}

/// Passes on what has come, and how it ended as a plain end.
fn pass(cx: &mut Context<'_>, from: &mut Pipe, to: &mut Pipe, open: &mut bool) {
    let mut piece = vec![0; 20_000];
    while *open && let Poll::Ready(read) = from.poll_read(cx, &mut piece) {
        match read {
            Ok(length) if length > 0 => assert!(to.poll_write(cx, &piece[..length]).is_ready()),
            _ => {
                *open = false;
                let _ = to.poll_shutdown(cx);
            }
        }
    }
}

#[test]
fn an_end_without_a_word_is_no_end() {
    let authority = Authority::new("authority");
    let plan = tls_plan(Policy::Modern, &[&authority.make(&["a.example"])]);
    let both = (terms(&plan), client(&authority.pem, None));
    run(async {
        for (says, expect) in [
            (true, Ok(0)),
            (false, Err(std::io::ErrorKind::UnexpectedEof)),
        ] {
            // In between, a relay that ends when it likes.
            let ((one, mut left), (mut right, other)) = (ends(), ends());
            let relay = async {
                let (mut up, mut down) = (true, true);
                poll_fn(|cx| {
                    pass(cx, &mut left, &mut right, &mut up);
                    pass(cx, &mut right, &mut left, &mut down);
                    if up || down {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                })
                .await;
            };
            let talk = async {
                let (mut client, mut server) = pair(&both, (one, other)).await;
                let wrote = poll_fn(|cx| server.poll_write(cx, b"all")).await;
                assert_eq!(wrote.unwrap(), 3);
                let mut room = [0; 8];
                let read = poll_fn(|cx| client.poll_read(cx, &mut room)).await;
                assert_eq!(read.unwrap(), 3);
                if !says {
                    server.cut();
                }
                drop(server);
                let end = poll_fn(|cx| client.poll_read(cx, &mut room)).await;
                assert_eq!(end.map_err(|error| error.kind()), expect);
                assert!(client.has_input(), "an end is something to be read");
            };
            tokio::join!(relay, talk);
        }
    });
}

/// A certificate, a key, an OCSP answer; what is found, and whether it loads.
type Row<'a> = (&'a str, &'a str, Option<&'a [u8]>, &'a [&'a str], bool);

#[test]
fn what_files_are_worth() {
    let authority = Authority::new("authority");
    let ecdsa = authority.make(&["a.example", "*.B.example"]);
    let ed = authority.make_with(&["a.example"], &PKCS_ED25519, |_| ());
    let rsa = authority.make_with(&["a.example"], &PKCS_RSA_SHA256, |_| ());
    let until = |year| {
        authority.make_with(&["a.example"], &PKCS_ED25519, move |params| {
            params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        })
    };
    let (past, future) = (until(2020), until(2990));
    let nameless = authority.make(&[]);
    let chain = |made: &Made, more: &str| made.cert.clone() + more;
    let other = Authority::new("other").pem;
    let half = &ecdsa.cert[..ecdsa.cert.len() / 2];
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let rows: &[Row<'_>] = &[
        (&ecdsa.cert, &ecdsa.key, None, &[], true),
        (&ed.cert, &ed.key, None, &[], true),
        (&rsa.cert, &rsa.key, None, &[], true),
        (&chain(&ecdsa, &authority.pem), &ecdsa.key, None, &[], true),
        (&chain(&ecdsa, &other), &ecdsa.key, None, &["chain"], true),
        (&past.cert, &past.key, None, &["expired"], true),
        (&future.cert, &future.key, None, &["not_yet_valid"], true),
        (&nameless.cert, &nameless.key, None, &["names"], true),
        (&ecdsa.cert, &ed.key, None, &["key_mismatch"], false),
        (&ecdsa.cert, &rsa.key, None, &["key_mismatch"], false),
        ("", &ecdsa.key, None, &["certificate"], false),
        (half, &ecdsa.key, None, &["certificate"], false),
        (nothing, &ecdsa.key, None, &["certificate"], false),
        (&ecdsa.key, &ecdsa.key, None, &["certificate"], false),
        (&ecdsa.cert, "", None, &["key"], false),
        (&ecdsa.cert, &ecdsa.cert, None, &["key"], false),
        (&ecdsa.cert, encrypted, None, &["key"], false),
        ("", "", None, &["certificate", "key"], false),
        (
            &ecdsa.cert,
            &ecdsa.key,
            Some(b"\x30\x03\x0a\x01\x01"),
            &[],
            true,
        ),
        (
            &ecdsa.cert,
            &ecdsa.key,
            Some(b"no answer"),
            &["ocsp"],
            false,
        ),
    ];
    for (at, (cert, key, ocsp, expect, loads)) in rows.iter().enumerate() {
        let (loaded, findings) = load(cert.as_bytes(), key.as_bytes(), *ocsp, TODAY);
        let words: Vec<_> = findings.iter().map(|finding| finding.word).collect();
        assert_eq!(
            (words, loaded.is_some()),
            (expect.to_vec(), *loads),
            "row {at}: {findings:?}"
        );
        for finding in &findings {
            // Nothing of a key is told.
            let told = key
                .lines()
                .filter(|line| line.len() > 20 && !line.starts_with('-'));
            assert!(told.into_iter().all(|line| !finding.message.contains(line)));
        }
    }
    let (loaded, _) = load(ecdsa.cert.as_bytes(), ecdsa.key.as_bytes(), None, TODAY);
    let names: Vec<_> = loaded
        .unwrap()
        .names
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["a.example", "*.b.example"]);
}
