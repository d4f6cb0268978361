//! Clients that people use: curl, nghttp and h2load, plain and over TLS.

use std::process::Command;

use super::known::secure;
use super::recorder::{Recorder, pattern};
use super::{Scene, metric};
use crate::process::{Evenkeel, Folder};
use crate::tls::Authority;

const PLAIN: &str = "--http2-prior-knowledge";

/// What a program prints, whichever way.
fn told(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn curl_gets_what_http1_backends_have() {
    let scene = Scene::new("h2-curl", "", "");
    let curl = |arguments: &[&str], path: &str| {
        scene
            .keel
            .curl(&[&[PLAIN, "--include"], arguments].concat(), path)
    };
    let got = curl(&[], "/");
    assert!(
        got.starts_with("HTTP/2 200 \r\n") && got.ends_with("\r\n\r\nok"),
        "{got}"
    );
    for (arguments, path, status, body) in [
        (&["--head"][..], "/bytes/700", 200, ""),
        (&[], "/none", 204, ""),
        (&["-H", "If-None-Match: \"a\""], "/same", 304, ""),
        (&["--data", "abc"], "/echo", 200, "abc"),
        (
            &["--data", "abc", "-H", "Expect: 100-continue"],
            "/echo",
            200,
            "abc",
        ),
        (&[], "/trailers", 200, "ok"),
        (&[], "/early", 200, "ok"),
        (&[], "/hop", 200, "ok"),
    ] {
        let got = curl(arguments, path);
        // Interim answers stand before, trailers behind.
        let mut rest = &*got;
        let mut head = "";
        while head.is_empty() || head.starts_with("HTTP/2 1") {
            let split = rest.split_once("\r\n\r\n");
            (head, rest) = split.unwrap_or_else(|| panic!("{path}: {got}"));
        }
        let rest = rest.split("x-sum").next().unwrap();
        assert!(head.contains(&format!("HTTP/2 {status} ")), "{path}: {got}");
        assert_eq!(rest, body, "{path}: {got}");
        for hop in [
            "connection:",
            "keep-alive:",
            "transfer-encoding:",
            "x-hop:",
            "upgrade:",
        ] {
            assert!(
                !head.to_ascii_lowercase().contains(&format!("\n{hop}")),
                "{path}: {got}"
            );
        }
    }
    assert!(
        curl(&[], "/early")
            .starts_with("HTTP/2 103 \r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/2 200 ")
    );
    assert!(curl(&["--head"], "/bytes/700").contains("\r\ncontent-length: 700\r\n"));
    assert!(curl(&[], "/hop").contains("\r\nx-upper: Kept\r\n"));
    // A body that breaks off is an error for curl too.
    let broken = curl(&[], "/broken");
    assert!(broken.contains("curl: ("), "{broken}");
    // An upgrade by `Upgrade: h2c` is not offered: the request goes on as it is.
    let got = scene.keel.curl(&["--include", "--http2"], "/");
    assert!(
        got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nok"),
        "{got}"
    );
    let last = scene.backend.last();
    assert!(
        last.all("upgrade").is_empty() && last.all("http2-settings").is_empty(),
        "{last:?}"
    );
    // A refusal of ours.
    scene.rests();
    let got = curl(&["-X", "TRACE"], "/a#b");
    assert!(got.starts_with("HTTP/2 "), "{got}");
}

#[test]
fn over_tls_by_alpn() {
    let folder = Folder::new("h2-tls");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let backend = Recorder::start();
    let file = folder.write(
        "keel.yaml",
        &super::configuration(
            "tls: { certificates: [{ cert: site.pem, key: site.key }] }",
            &backend.address.to_string(),
            "",
        ),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let ca = folder.path().join("authority.ca");
    let port = keel.address.port();
    let url = format!("https://a.example:{port}/");
    let resolve = format!("a.example:{port}:127.0.0.1");
    for (version, line) in [
        ("--http2", "HTTP/2 200 "),
        ("--http1.1", "HTTP/1.1 200 OK"),
        ("--http2-prior-knowledge", "HTTP/2 200 "),
    ] {
        let got = told(
            "curl",
            &[
                "--silent",
                "--show-error",
                "--include",
                "--max-time",
                "30",
                "--noproxy",
                "*",
                "--cacert",
                ca.to_str().unwrap(),
                "--resolve",
                &resolve,
                version,
                &url,
            ],
        );
        assert!(
            got.starts_with(line) && got.ends_with("ok"),
            "{version}: {got}"
        );
        assert_eq!(backend.last().all("x-forwarded-proto"), ["https"]);
    }
    let mut client = secure(keel.address, &ca, "a.example");
    assert_eq!(client.get("/").status(), 200);
    let body = pattern(3_000_000);
    let fields = super::frames::asks("POST", "/echo", &[]);
    let fields: Vec<_> = fields
        .into_iter()
        .map(|field| {
            if field.0 == ":scheme" {
                (":scheme", "https")
            } else {
                field
            }
        })
        .collect();
    let stream = client.ask(0, &fields);
    client.send(stream, &body, true);
    let got = client.answer(stream);
    assert!(got.body == body, "{} bytes", got.body.len());
}

#[test]
fn long_bodies_arrive_whole_both_ways() {
    let folder = Folder::new("h2-long");
    let scene = Scene::new("h2-long-keel", "", "");
    let long = pattern(64 << 20);
    std::fs::write(folder.path().join("long"), &long).unwrap();
    let (long_file, back) = (folder.path().join("long"), folder.path().join("back"));
    let upload = format!("@{}", long_file.display());
    let sum = |file: &std::path::Path| {
        let told = told("sha256sum", &[file.to_str().unwrap()]);
        told.split(' ').next().unwrap().to_owned()
    };
    let expect = sum(&long_file);
    let (_, before) = super::used(&scene.keel);
    for rate in ["10G", "30M"] {
        let got = scene.keel.curl(
            &[
                PLAIN,
                "--limit-rate",
                rate,
                "--data-binary",
                &upload,
                "-H",
                "Expect:",
                "--output",
                back.to_str().unwrap(),
            ],
            "/echo",
        );
        assert_eq!(got, "", "{rate}");
        assert_eq!(sum(&back), expect, "{rate}");
        let path = format!("/bytes/{}", 64 << 20);
        let got = scene.keel.curl(
            &[
                PLAIN,
                "--limit-rate",
                rate,
                "--output",
                back.to_str().unwrap(),
            ],
            &path,
        );
        assert_eq!(got, "", "{rate}");
        assert_eq!(sum(&back), expect, "{rate}");
    }
    let (_, after) = super::used(&scene.keel);
    assert!(
        after < before + 48 * 1024,
        "{before} KiB before, {after} after"
    );
}

#[test]
fn nghttp_sees_interim_answers_and_trailers() {
    let scene = Scene::new("h2-nghttp", "", "");
    let url = |path: &str| format!("http://{}{path}", scene.keel.address);
    let got = told("nghttp", &["-v", &url("/trailers")]);
    assert!(
        got.contains(":status: 200") && got.contains("x-sum: 7"),
        "{got}"
    );
    let got = told("nghttp", &["-v", &url("/early")]);
    assert!(
        got.contains(":status: 103") && got.contains("link: </a.css>"),
        "{got}"
    );
    // Many at once, by one client.
    let got = told(
        "nghttp",
        &["--null-out", "-m", "100", "--stat", &url("/bytes/10000")],
    );
    assert_eq!(got.matches(" 200 ").count(), 100, "{got}");
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let got = told(
        "nghttp",
        &[
            "-v",
            "-d",
            file.to_str().unwrap(),
            "--no-content-length",
            "--trailer",
            "x-late: 1",
            &url("/echo"),
        ],
    );
    assert!(got.contains(":status: 200"), "{got}");
    let last = scene.backend.last();
    assert_eq!(last.body, std::fs::read(&file).unwrap());
    assert!(
        last.trailers.to_ascii_lowercase().contains("x-late: 1"),
        "{last:?}"
    );
}

/// Many streams on many connections: each is answered, and counted once here and there.
#[test]
fn h2load_is_counted_at_both_ends() {
    let folder = Folder::new("h2-load");
    let backends: Vec<_> = (0..3).map(|_| Recorder::start()).collect();
    let listed: Vec<_> = backends.iter().map(|one| one.address.to_string()).collect();
    let file = folder.write(
        "keel.yaml",
        // Who is fast gets more by others: on a busy machine one of three had a fiftieth.
        &super::configuration("", &listed.join(", "), "policy: round_robin"),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let url = format!("http://{}/", keel.address);
    let got = told("h2load", &["-n", "20000", "-c", "20", "-m", "50", &url]);
    assert!(
        got.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{got}"
    );
    assert!(
        got.contains("status codes: 20000 2xx, 0 3xx, 0 4xx, 0 5xx"),
        "{got}"
    );
    let counts: Vec<_> = backends.iter().map(Recorder::requests).collect();
    assert_eq!(counts.iter().sum::<usize>(), 20_000, "{counts:?}");
    let even = counts.iter().all(|count| count.abs_diff(20_000 / 3) <= 1);
    assert!(even, "{counts:?}");
    metric(
        &keel,
        "evenkeel_requests_total{service=\"api\",code=\"2xx\"} 20000",
    );
    metric(&keel, "evenkeel_attempts_total{service=\"api\"} 20000");
    metric(&keel, "evenkeel_contained_panics_total 0");
    for backend in &backends {
        let id = backend.address;
        metric(
            &keel,
            &format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} 0"),
        );
    }
}
