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
