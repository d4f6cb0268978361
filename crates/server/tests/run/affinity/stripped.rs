//! Cookies that are ours to read: no backend sees one, of whichever service or split it is, and whatever rule writes it.

use super::{Scene, ours, shown};
use crate::process::Evenkeel;
use crate::rules_actions::echo::{Client, Echo};

#[test]
fn no_backend_sees_a_cookie_of_ours() {
    let scene = Scene::new("affinity-stripped", "{ cookie: { name: keel } }");
    let other = Echo::start("other");
    let rules = "  - { priority: 1, when: { path: /api }, forward: api }
  - { priority: 2, when: { path: /split }, forward: { to: { other: 1, followed: 1 }, affinity: { cookie: { name: side } } } }
  - { priority: 3, when: { path: /said }, forward: other, rewrite: { request_headers: { set: { Cookie: \"keel=1; said=1; side =2\" } } } }
  - { priority: 4, when: { path: /added }, forward: other, rewrite: { request_headers: { add: { Cookie: \"keel=1; side=2\" } } } }
  - { priority: 5, forward: other }
";
    let text = format!(
        "{}  other: {{ backends: [\"{2}\"] }}\n  followed: {{ backends: [\"{2}\"], affinity: {{ app_cookie: JSESSIONID }} }}\nrules:\n{1}",
        scene.text(),
        rules,
        other.address
    );
    let file = scene.folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let keel_cookie = ours(&Client::to(keel.address).get("/api", "")).unwrap();
    let own = keel_cookie.clone();
    let check = |path: &str, cookies: &str, expect: &[&str]| {
        let mut client = Client::to(keel.address);
        for _ in 0..3 {
            let got = client.get(path, &shown(cookies));
            let seen: Vec<_> = got
                .body
                .lines()
                .filter_map(|line| line.strip_prefix("Cookie: "))
                .collect();
            assert_eq!(seen, expect, "{path} {cookies}");
        }
    };
    for path in ["/", "/api", "/split"] {
        check(path, &own, &[]);
        check(path, &format!("a=1; {own}; b=2"), &["a=1; b=2"]);
        check(path, "side=0123456789abcdef; a=1", &["a=1"]);
        check(path, "a=1; keel = x ;b=2; side =y", &["a=1; b=2"]);
        // Names that only look like ours.
        check(
            path,
            "keels=1; Keel=2; keel; a=keel=3",
            &["keels=1; Keel=2; keel; a=keel=3"],
        );
    }
    check("/said", &format!("a=1; {own}"), &["said=1"]);
    check("/added", &format!("a=1; {own}"), &["a=1"]);
    check("/added", &own, &[]);
    // What the application sets is the application's.
    check("/split", "JSESSIONID=a; keel=1", &["JSESSIONID=a"]);
}

/// A split that sets its cookie has no shared cache keep that.
#[test]
fn a_split_is_private() {
    let scene = Scene::new("affinity-split-private", "off");
    let other = Echo::start("other");
    let rules = "  - { priority: 1, when: { path: /kept }, forward: { to: { api: 1, other: 1 }, affinity: { cookie: { name: __Host-side } } } }
  - { priority: 2, forward: { to: { api: 1, other: 1 } } }
";
    let text = format!(
        "{}  other: {{ backends: [\"{}\"] }}\nrules:\n{rules}",
        scene.text(),
        other.address
    );
    let file = scene.folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = Client::to(keel.address);
    let got = client.get("/kept", "");
    assert_eq!(got.all("cache-control"), ["private"]);
    // Of such a name browsers want it, and the client of a proxy that says nothing of TLS may well have come by it.
    let told = got.all("set-cookie").pop().unwrap();
    assert!(
        told.starts_with("__Host-side=") && told.ends_with("; Secure"),
        "{told}"
    );
    assert!(client.get("/", "").all("cache-control").is_empty());
}
