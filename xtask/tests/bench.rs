//! The harness of `bench/`: its own tests, with the binary that this build made.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

/// Statistics, verdicts, the page, what generators print, every peer's configuration where the peer is installed, and a second of load.
#[test]
fn the_harness_works() {
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    // Built beside it wherever the whole workspace is.
    let evenkeel = xtask.with_file_name("evenkeel");
    assert!(
        evenkeel.exists(),
        "build it first: cargo build --profile test -p evenkeel-server --bin evenkeel"
    );
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench");
    let output = Command::new("python3")
        .args(["-B", "-m", "unittest", "discover", "-s", "tests", "-t", "."])
        .current_dir(bench)
        .env("EVENKEEL_BIN", evenkeel)
        .env("BENCH_DIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}
