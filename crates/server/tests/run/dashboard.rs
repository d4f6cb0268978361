//! The dashboard's files as a browser gets them, by curl; they are there where `cargo xtask web` ran before the program was built, and else a
//! page that says so.

use serde_json::Value;

use crate::access::create;
use crate::process::{Evenkeel, Folder, curl};

fn text(admin: &str) -> String {
    format!(
        "admin: {{ {admin} }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"127.0.0.1:1\"] }} }}\nrules: [{{ name: own, priority: 1, when: {{ path: /own }}, respond: {{ body: own }} }}, {{ name: all, priority: 2, forward: api }}]\n"
    )
}

fn run(folder: &Folder, admin: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", &text(admin));
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// Head and body, by who takes what is packed.
fn page(keel: &Evenkeel, arguments: &[&str], path: &str) -> (String, String) {
    let all = [&["-i", "--compressed"], arguments].concat();
    let answer = curl(keel.admin, &all, path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

/// Who has no token is given the page too: it holds nothing. Nothing else is open by that.
#[test]
fn a_browser_is_given_the_page_and_nothing_with_it() {
    let folder = Folder::new("dashboard-page");
    let (token, line) = create(&["--name", "ops", "--scope", "operator"]);
    folder.write("tokens.yaml", &line);
    let keel = run(&folder, "bind: \"127.0.0.1:0\", tokens: tokens.yaml");
    let (head, body) = page(&keel, &[], "/");
    assert_eq!(status(&head), "200", "{head}");
    assert!(body.contains("<title>Evenkeel</title>"), "{body}");
    for field in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-cache",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cross-origin-opener-policy: same-origin",
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        "frame-ancestors 'none'",
    ] {
        assert!(head.contains(field), "{field}: {head}");
    }
    let tag = head.split("etag: ").nth(1).unwrap();
    let tag = tag.split("\r\n").next().unwrap();
    let names = body.split('"').filter(|part| part.starts_with("/assets/"));
    for name in names {
        let known = format!("If-None-Match: {tag}");
        assert_eq!(status(&page(&keel, &["-H", &known], "/").0), "304");
        let (head, body) = page(&keel, &[], name);
        assert_eq!(status(&head), "200", "{name}");
        assert!(head.contains("immutable") && !body.is_empty(), "{head}");
        let plain = curl(keel.admin, &["-i"], name);
        assert_eq!(status(&plain), "406", "{plain}");
    }
    // What is no file of it is not told of to who says nothing, and no other method is taken.
    for (arguments, path) in [
        (&[][..], "/index"),
        (&[], "/assets/"),
        (&["--path-as-is"], "/assets/../v1/status"),
        (&["-X", "POST"], "/"),
        (&[], "/v1/whoami"),
    ] {
        let (head, _) = page(&keel, arguments, path);
        assert_eq!(status(&head), "401", "{path}");
    }
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(status(&page(&keel, &["-H", &bearer], "/index").0), "404");
    // By another name it is nobody's page, as all others.
    let other = ["-H", "Host: evil.test"];
    assert_eq!(status(&page(&keel, &other, "/").0), "421");
}

#[test]
fn who_asks_is_told_who_it_is() {
    let folder = Folder::new("dashboard-whoami");
    let (token, line) = create(&["--name", "ops", "--scope", "operator"]);
    folder.write("tokens.yaml", &line);
    let keel = run(&folder, "bind: \"127.0.0.1:0\", tokens: tokens.yaml");
    let bearer = format!("Authorization: Bearer {token}");
    let who = |keel: &Evenkeel, arguments: &[&str]| -> Value {
        serde_json::from_str(&page(keel, arguments, "/v1/whoami").1).unwrap()
    };
    let ops = who(&keel, &["-H", &bearer]);
    assert_eq!((&ops["name"], &ops["by"]), (&"ops".into(), &"token".into()));
    let scopes = ops["scopes"].as_array().unwrap();
    assert!(scopes.contains(&"backends:write".into()), "{ops}");
    assert!(!scopes.contains(&"configuration:write".into()), "{ops}");
    let keel = run(&folder, "bind: \"127.0.0.1:0\"");
    let local = who(&keel, &[]);
    assert_eq!(local["by"], "loopback");
    assert_eq!(local["scopes"].as_array().unwrap().len(), 10);
}

/// A rule tells how many requests met it.
#[test]
fn rules_are_told_with_their_hits() {
    let folder = Folder::new("dashboard-hits");
    let keel = run(&folder, "bind: \"127.0.0.1:0\"");
    for _ in 0..3 {
        assert_eq!(keel.curl(&[], "/own"), "own");
    }
    keel.curl(&[], "/else");
    let rules: Value = serde_json::from_str(&keel.page("/v1/rules")).unwrap();
    let hits = |at: usize| {
        (
            rules["items"][at]["name"].clone(),
            rules["items"][at]["hits"].clone(),
        )
    };
    assert_eq!(hits(0), ("own".into(), 3.into()));
    assert_eq!(hits(1), ("all".into(), 1.into()));
}
