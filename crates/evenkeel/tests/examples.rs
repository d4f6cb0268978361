//! The examples run as a reader of the README would run them.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::path::Path;
use std::process::Command;

/// Runs an example with the cargo that built this test, into the same folder, so that little is built twice. Cargo
/// waits for its own lock when two of these run at once.
fn run(example: &str) -> String {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo keeps this folder in the target folder");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--offline"])
        .args(["--profile", "test", "--example", example])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .output()
        .unwrap();
    let (told, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{example} ended with {}:\n{told}\n{complaint}",
        output.status
    );
    told.into_owned()
}

#[test]
fn choose_sends_four_calls_to_two_backends_in_turn() {
    assert_eq!(
        run("choose"),
        "call 1 goes to 10.0.0.1:80\n\
         call 2 goes to 10.0.0.2:80\n\
         call 3 goes to 10.0.0.1:80\n\
         call 4 goes to 10.0.0.2:80\n"
    );
}

#[test]
fn healthy_goes_on_with_the_backend_that_lives() {
    let told = run("healthy");
    assert!(told.contains("two dies\n"), "{told}");
    assert!(
        told.ends_with("two is down\n20 calls: one 20, two 0\n"),
        "{told}"
    );
}

#[test]
fn nearest_is_a_policy_of_the_programs_own() {
    assert_eq!(
        run("nearest"),
        "to near\nto near\nto far\nto far\nto farther\nnear is down: to far\n"
    );
}

/// Two thirds of five hundred, to within the rounding of what is reported.
#[test]
fn reporting_sends_twice_as_much_to_who_can_do_twice_as_much() {
    let told = run("reporting");
    let large = told
        .split("large: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let large: u32 = large.unwrap().parse().unwrap();
    assert!((320..=346).contains(&large), "{told}");
    assert!(told.ends_with("\n/load is application/json\n"), "{told}");
}

#[test]
fn hyper_client_follows_bodies_and_leaves_the_dead_alone() {
    assert_eq!(
        run("hyper_client"),
        "/a: one\n\
         /b: two\n\
         two is dead: 5 of 12 failed\n\
         requests: 14, failed: 5\n\
         in flight: 0\n"
    );
}

#[test]
fn webhook_delivers_its_queue_and_keeps_what_it_cannot_deliver() {
    let told = run("webhook");
    // Customers are delivered to at once, so lines come as they end.
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r#"billing {"invoice":7}: delivered, attempts: 2"#,
            "busy has taken 1, and was sent 0 again",
            "dead letters: 3",
            "loses has taken 1, and was sent 1 again",
            r#"orders {"order":"late"}: dead, expired"#,
            r#"orders {"order":1}: delivered, attempts: 2"#,
            r#"orders {"order":2}: delivered, attempts: 2"#,
            r#"orders {"order":3}: refused, 7 wait already"#,
            r#"returns {"return":5}: delivered, attempts: 2"#,
            r#"stock {"left":3}: dead, no answer in time (attempts_exhausted), attempts: 3"#,
            r#"strangers {"hello":1}: dead, status 401 (not worth a retry), attempts: 1"#,
            "well has taken 2, and was sent 0 again",
        ]
    );
}

#[test]
fn the_readme_and_the_guide_name_each_example_and_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(folder).unwrap();
    let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut examples: Vec<String> = entries.map(|entry| stem(entry.unwrap().path())).collect();
    examples.sort_unstable();
    let readme = include_str!("../../../README.md");
    let mut named: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("cargo run -p evenkeel --example "))
        .collect();
    named.sort_unstable();
    assert_eq!(named, examples);
    let guide = include_str!("../src/guide.rs");
    for example in examples {
        assert!(guide.contains(&format!("`{example}`")), "{example}");
    }
}

/// What the README says of the library can be called so.
#[tokio::test]
async fn what_the_readme_says_of_the_library_is_so() {
    let balancer = evenkeel::LoadBalancer::new();
    let settings = evenkeel::ServiceSettings::default();
    assert_eq!(settings.policy.name(), "adaptive");
    balancer.register("api", settings, ["a:80"]).unwrap();
    let api = balancer.service("api").unwrap();
    drop(api.select().unwrap());
    let body = api.select().unwrap().follow(&b"body"[..]);
    assert_eq!(api.stats().attempts.in_flight, 1);
    drop(body);
    let terms = evenkeel::Exchange::new().idempotent();
    let again = async |to: evenkeel::Target| match to.attempt {
        1 => Err(evenkeel::Fault::Connect),
        _ => Ok(()),
    };
    api.exchange(&terms, again).await.unwrap();
    let stats = api.stats();
    let counted = (stats.requests.started, stats.attempts.picked);
    assert_eq!((counted, stats.attempts.in_flight), ((1, 4), 0));
    let added = balancer.on(evenkeel::EventName::BackendAdded, |_| ());
    added.unwrap().off();
}

#[test]
fn the_readme_quotes_the_example_to_the_letter() {
    let block = include_str!("../../../README.md")
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let indented: String = block.lines().map(|line| format!("    {line}\n")).collect();
    let example = include_str!("../examples/choose.rs");
    assert!(example.contains(&indented), "not in choose.rs:\n{indented}");
}
