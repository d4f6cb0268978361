//! The faults whose outcome no clock decides, with the binary that this build made: none of the idempotent requests fails.
//!
//! `cargo xtask chaos` has the others, and those that take time.
// Elsewhere a process has no addresses beside 127.0.0.1.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::path::Path;
use std::process::Command;

/// Runs a fault, and says whether no target was missed.
fn check(fault: &str) {
    let chaos = Path::new(env!("CARGO_BIN_EXE_evenkeel-chaos"));
    // Built beside it wherever the whole workspace is.
    let evenkeel = chaos.with_file_name("evenkeel");
    assert!(
        evenkeel.exists(),
        "build it first: cargo build --profile test -p evenkeel-server --bin evenkeel"
    );
    let output = Command::new(chaos)
        .args(["--gate", fault, "--evenkeel"])
        .arg(evenkeel)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{why}");
    assert!(
        said.contains("0 of 1 faults missed a target, 0 skipped"),
        "{said}"
    );
}

#[test]
fn killed() {
    check("kill");
}

#[test]
fn refused() {
    check("refused");
}

#[test]
fn reset() {
    check("rst");
}

#[test]
fn reloaded() {
    check("reload");
}
