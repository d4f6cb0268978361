//! Error pages from files, as an operator configures them and curl gets them.

use std::process::Command;

use crate::evenkeel;
use crate::process::{Evenkeel, Folder, hold, rest};

#[test]
fn pages_from_files_are_read_checked_and_replaced() {
    let folder = Folder::new("pages");
    folder.write("pages/404.html", "<p>{reason}</p>\n");
    let text = |page: &str| {
        format!(
            "admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [127.0.0.1:1] }} }}\nrules: [{{ when: {{ host: none }}, forward: api }}]\nerror_pages: {{ 404: {{ file: {page} }} }}\n"
        )
    };
    let file = folder.write("keel.yaml", &text("pages/404.html"));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let got = keel.curl(&["--include"], "/");
    assert!(
        got.starts_with("HTTP/1.1 404 Not Found\r\n")
            && got.contains("Content-Type: text/html; charset=utf-8\r\n")
            && got.ends_with("\r\n\r\n<p>no_rule</p>\n"),
        "{got}"
    );
    let head = keel.curl(&["--head"], "/");
    assert!(head.contains("Content-Length: 15\r\n"), "{head}");
    // The commands that show and compare read the files as well.
    let path = file.to_str().unwrap();
    let (code, shown, said) = evenkeel(&["config", "show", path]);
    assert_eq!((code, &*said), (Some(0), ""));
    assert!(shown.contains("file: pages/404.html"), "{shown}");
    let nothing = (Some(0), "nothing changes\n".to_owned(), String::new());
    assert_eq!(evenkeel(&["config", "diff", path, path]), nothing);
    // A reload reads the files anew.
    folder.write("pages/404.html", "<p>new</p>\n");
    keel.signal("-HUP");
    keel.until("listener web changes\n");
    assert_eq!(keel.curl(&[], "/"), "<p>new</p>\n");
    // One that is missing is an error of its place, and nothing changes.
    folder.write("keel.yaml", &text("pages/gone.html"));
    let checked = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    let shown = [checked.stdout, checked.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    assert_eq!(checked.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("gone.html: No such file or directory (os error 2) [file]\n")
            && shown.contains("^^^^^^^^^^^^^^^\n"),
        "{shown}"
    );
    keel.signal("-HUP");
    keel.until("the old one goes on\n");
    assert_eq!(keel.curl(&[], "/"), "<p>new</p>\n");
}

/// What follows the rules of the text format (OpenMetrics 1.0): each family told once and in one piece, no row twice, labels
/// escaped, histograms that rise.
fn well_formed(page: &str) {
    let mut families = std::collections::HashSet::new();
    let mut rows = std::collections::HashSet::new();
    let mut family = String::new();
    let mut kind = String::new();
    let (mut below, mut bound, mut text) = (0.0, f64::INFINITY, page);
    while let Some((line, rest)) = text.split_once('\n') {
        text = rest;
        if line == "# EOF" {
            assert_eq!(rest, "", "nothing follows the end");
            return;
        }
        if let Some(told) = line.strip_prefix("# HELP ") {
            family = told.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} is told twice");
            continue;
        }
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, of) = told.split_once(' ').unwrap();
            assert!(name == family && kind != name, "{line}");
            kind = of.to_owned();
            continue;
        }
        let end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(end);
        let suffix = name.strip_prefix(&*family);
        let of_kind: &[&str] = match &*kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(
            suffix.is_some_and(|suffix| of_kind.contains(&suffix)),
            "{line}"
        );
        if let Some(labels) = rest.strip_prefix('{') {
            rest = labels;
            loop {
                let (label, value) = rest.split_once("=\"").unwrap();
                let plain = |c: char| c.is_ascii_lowercase() || c == '_';
                assert!(!label.is_empty() && label.chars().all(plain), "{line}");
                let mut escaped = false;
                let end = value.find(|c| {
                    let ends = c == '"' && !escaped;
                    assert!(!escaped || matches!(c, '"' | '\\' | 'n'), "{line}");
                    escaped = c == '\\' && !escaped;
                    ends
                });
                rest = &value[end.unwrap() + 1..];
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}').unwrap();
        }
        let row = &line[..line.len() - rest.len()];
        assert!(rows.insert(row.to_owned()), "{row} comes twice");
        let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
        if suffix == Some("_bucket") {
            let (_, le) = row.split_once("le=\"").unwrap();
            let le: f64 = le
                .split_once('"')
                .unwrap()
                .0
                .replace('+', "")
                .parse()
                .unwrap();
            // A bound that is no higher than the one before begins another histogram.
            assert!(le <= bound || value >= below, "{line}");
            (below, bound) = (value, le);
        }
    }
    panic!("no end: {page}");
}

/// A name that is bound to this address by somebody else's server of names is not this machine's.
#[test]
fn status_is_told_to_names_of_this_machine_only() {
    let keel = Evenkeel::run(&[
        "--admin",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "127.0.0.1:1",
    ]);
    let asked = |host: &str| {
        let request =
            format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        rest(hold(keel.admin, &request))
    };
    for (host, expect) in [
        ("localhost", "HTTP/1.1 200 "),
        ("localhost:9900", "HTTP/1.1 200 "),
        ("127.0.0.1:9900", "HTTP/1.1 200 "),
        ("[::1]", "HTTP/1.1 200 "),
        ("rebound.example", "HTTP/1.1 421 "),
        ("rebound.example:9900", "HTTP/1.1 421 "),
        ("127.0.0.1.rebound.example", "HTTP/1.1 421 "),
    ] {
        let answer = asked(host);
        assert!(answer.starts_with(expect), "{host}: {answer}");
    }
}

#[test]
fn metrics_are_text_that_prometheus_reads() {
    let folder = Folder::new("metrics");
    let file = folder.write(
        "keel.yaml",
        "admin: { bind: \"127.0.0.1:0\" }\nworkers: 1\nlisteners: { web: { bind: \"127.0.0.1:0\" } }\nservices: { api: { backends: [{ address: \"127.0.0.1:1\", id: 'a\"b\\c' }], health: { tcp: {}, interval: 100s } }, other: { backends: [127.0.0.1:2] } }\nrules: [{ forward: api }]\n",
    );
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    assert!(keel.curl(&["--include"], "/").starts_with("HTTP/1.1 50"));
    let metrics = keel.page("/metrics");
    well_formed(&metrics);
    let backend = r#"service="api",backend="a\"b\\c""#;
    let other = r#"service="other",backend="127.0.0.1:2""#;
    // Who is in doubt is checked again within a second: by when this looks there may have been several.
    let counted = format!("evenkeel_backend_checks_total{{{backend},result=\"refused\"}} ");
    let until = |keel: &Evenkeel, row: &str| {
        for _ in 0..10_000 {
            let page = keel.page("/metrics");
            if page.contains(row) {
                well_formed(&page);
                return page;
            }
        }
        panic!("{row} never comes: {}", keel.page("/metrics"));
    };
    let page = until(&keel, &counted);
    let standings = page.matches("evenkeel_backend_standing{").count();
    assert_eq!(standings, 14, "{page}");
    for row in [
        format!("evenkeel_backend_standing{{{other},standing=\"serving\"}} 1\n"),
        format!("evenkeel_backend_standing{{{other},standing=\"down\"}} 0\n"),
        format!("evenkeel_backend_standing{{{backend},standing=\"serving\"}} 0\n"),
        "evenkeel_reloads_total{result=\"taken\"} 0\n".to_owned(),
        "evenkeel_request_duration_seconds_bucket{le=\"0.0001\",service=\"api\"}".to_owned(),
    ] {
        assert!(page.contains(&row), "{row} is not in {page}");
    }
    let taken = |page: &str| -> u64 {
        let mark = "\nevenkeel_config_taken_timestamp_seconds ";
        let (value, _) = page.split_once(mark).unwrap().1.split_once('\n').unwrap();
        value.parse().unwrap()
    };
    let started = taken(&page);
    assert!(started > 1_700_000_000, "{started}");
    keel.signal("-HUP");
    keel.until("reloaded: nothing changes\n");
    let taken_last = "\nevenkeel_config_last_reload_successful 1\n";
    assert!(keel.page("/metrics").contains(taken_last));
    folder.write("keel.yaml", "listeners: 1\n");
    keel.signal("-HUP");
    keel.until("the old one goes on\n");
    let page = keel.page("/metrics");
    assert!(taken(&page) >= started);
    let behind = "\nevenkeel_config_last_reload_successful 0\n";
    assert!(page.contains(behind), "{page}");
    for row in ["taken", "refused"] {
        let row = format!("evenkeel_reloads_total{{result=\"{row}\"}} 1\n");
        assert!(page.contains(&row), "{row} is not in {page}");
    }
}
