//! Owns the program as it is shipped: the release build that the README has. Tests build another, with other settings of the compiler, and
//! so a price that is held there is not yet what an operator pays.
//!
//! It builds and names the program; what it may cost stands beside the tests that look, in `crates/server/tests/run/price.rs`.

use std::path::Path;

use crate::run::{Done, cargo};

/// Tells those tests where it is.
pub(crate) const VARIABLE: &str = "EVENKEEL_SHIPPED";

/// Where the build puts it.
pub(crate) fn program(root: &Path) -> String {
    root.join("target/release/evenkeel").display().to_string()
}

/// Builds it.
pub(crate) fn build(root: &Path) -> Done {
    // The build tree is named, so that the program is where we look for it.
    let words = [
        "build",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "evenkeel-server",
        "--target-dir",
        "target",
    ];
    cargo(root, &words).go()
}

/// Builds it, and runs the tests of what it costs; they print what they found.
pub(crate) fn shipped(root: &Path) -> Done {
    build(root)?;
    let words = [
        "nextest",
        "run",
        "--locked",
        "-p",
        "evenkeel-server",
        "--no-capture",
        "-E",
        "binary(run) & test(/^price::/)",
    ];
    cargo(root, &words).env(VARIABLE, &program(root)).go()
}
