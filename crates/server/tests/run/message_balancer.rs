//! The message balancer's documents beside a command line, and what their switches do, through the shipped binary.

use std::collections::BTreeMap;

use crate::evenkeel;
use crate::process::{Evenkeel, Folder};
use crate::rules_actions::echo::{Client, Echo};
use crate::tls::metric;

const BASIC: &str = include_str!("../../../config/tests/files/message-balancer-basic.yaml");
const ADVANCED: &str = include_str!("../../../config/tests/files/message-balancer-advanced.yaml");

/// A backend that takes no connection.
const DEAD: &str = "127.0.0.1:1";

/// A document of these keys beside a service of these backends.
fn run(folder: &Folder, document: &str, backends: &str) -> Evenkeel {
    let document = folder.write("document.yaml", &format!("load_balancer: {document}\n"));
    let rest = folder.write(
        "rest.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ slow_start: 0s, backends: [{backends}] }} }}\n"
        ),
    );
    let [document, rest] = [&document, &rest].map(|path| path.to_str().unwrap());
    Evenkeel::run(&["-c", document, "-c", rest])
}

/// How often so many requests came to which status.
fn statuses(keel: &Evenkeel, count: usize) -> BTreeMap<u16, usize> {
    let mut all = BTreeMap::new();
    for _ in 0..count {
        let got = Client::to(keel.address).get("/", "");
        *all.entry(got.status()).or_default() += 1;
    }
    all
}

/// Both as they are written, alone beside the flags: they serve, and what is warned of is each key without a switch.
#[test]
fn the_documents_serve_beside_a_command_line() {
    let folder = Folder::new("message-balancer");
    let echo = Echo::start("one");
    let to = echo.address.to_string();
    let rest = format!(
        "listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{to}\"] }} }}\n"
    );
    let rest = folder.write("rest.yaml", &rest);
    for (name, document, policy, warned) in [
        ("basic.yaml", BASIC, "round_robin", 4),
        ("advanced.yaml", ADVANCED, "weighted_least_connections", 6),
    ] {
        let file = folder.write(name, document);
        let (file, rest) = (file.to_str().unwrap(), rest.to_str().unwrap());
        let (code, out, said) = evenkeel(&["check", file, rest]);
        assert_eq!(code, Some(0), "{out}{said}");
        let told = (out + &said).matches("[no_switch]").count();
        assert_eq!(told, warned, "{said}");
        let (code, shown, said) = evenkeel(&["config", "show", file, rest]);
        assert_eq!(code, Some(0), "{said}");
        assert!(shown.contains(&format!("policy: {policy} ")), "{shown}");
        assert!(!shown.contains("load_balancer:"), "{shown}");
        let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let keel = Evenkeel::run(&[&[file, "--to", &to], &flags[..]].concat());
        assert_eq!(statuses(&keel, 4), BTreeMap::from([(200, 4)]));
    }
}

/// A backup serves where there is failover; without it, who fails is an error.
#[test]
fn without_failover_no_backup_serves() {
    let folder = Folder::new("no-failover");
    let backup = Echo::start("backup");
    let backends = format!("\"{DEAD}\", {{ address: \"{}\", tier: 1 }}", backup.address);
    let keel = run(&folder, "{ failover: true }", &backends);
    assert_eq!(statuses(&keel, 20), BTreeMap::from([(200, 20)]));
    let keel = run(&folder, "{ failover: false }", &backends);
    let got = statuses(&keel, 20);
    assert!(!got.contains_key(&200), "{got:?}");
}

/// Without health checking, and without failover to hide it, who fails has every second request for good.
#[test]
fn without_health_checking_the_unhealthy_stay() {
    let folder = Folder::new("no-health-checking");
    let echo = Echo::start("one");
    let backends = format!("\"{DEAD}\", \"{}\"", echo.address);
    let document = "{ algorithm: round_robin, health_checking: false, failover: false }";
    let keel = run(&folder, document, &backends);
    assert_eq!(statuses(&keel, 40).get(&200), Some(&20));
    let document = "{ algorithm: round_robin, health_checking: true, failover: false, health_monitoring: { check_interval: 100, timeout: 100, failure_threshold: 1 } }";
    let keel = run(&folder, document, &backends);
    metric(
        &keel,
        "evenkeel_service_backends_healthy{service=\"api\"} 1",
    );
    assert_eq!(statuses(&keel, 40), BTreeMap::from([(200, 40)]));
}
