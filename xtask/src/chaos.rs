//! Owns the verbs that run `evenkeel-chaos`: they build the binaries as they are shipped, and bring what a run needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::run::{Done, Run, cargo, program};
use crate::setup;

/// The page of a whole run beside others.
const PAGE: &str = "docs/faults.md";

/// The page of a whole race.
const RACE_PAGE: &str = "docs/policies-over-sockets.md";

/// The page of what disturbances make requests wait.
const TAIL_PAGE: &str = "docs/tail.md";

/// Runs faults; the words go to `evenkeel-chaos`.
pub(crate) fn chaos(root: &Path, rest: &[String]) -> Done {
    if let Err(why) = setup::faults() {
        println!("{why}\nWhat needs them is skipped.");
    }
    build(root)?;
    let run = shipped(root, &[]).args(rest);
    match is_whole(rest) {
        true => run.args(&["--write".into(), root.join(PAGE)]).go(),
        false => run.go(),
    }
}

/// Builds the binaries as they are shipped.
fn build(root: &Path) -> Done {
    let packages = ["-p", "evenkeel-server", "-p", "evenkeel-chaos"];
    cargo(root, &["build", "--release", "--locked"])
        .args(&packages)
        .go()
}

/// `evenkeel-chaos` in a role, over the binary.
fn shipped(root: &Path, role: &[&str]) -> Run {
    let built = root.join("target/release");
    program(built.join("evenkeel-chaos"))
        .args(role)
        .args(&["--evenkeel".into(), built.join("evenkeel")])
}

/// Policies over sockets; the words go to `evenkeel-chaos race`.
pub(crate) fn race(root: &Path, rest: &[String]) -> Done {
    if let Err(why) = setup::envoy(root) {
        println!("{why}\nEnvoy is skipped.");
    }
    build(root)?;
    // The harness of the benchmarks says who cannot be had, and why; the page has them as skipped.
    harness(root, &["--setup", "--peers", "caddy,sozu,pingora"])?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness of the benchmarks reads the same variable, and brings its programs there"
    )]
    let brought = brought(root, std::env::var_os("BENCH_DIR"));
    let run = shipped(root, &["race"]);
    let run = run.args(&["--envoy".into(), root.join(setup::ENVOY)]);
    let run = run.args(&["--sozu".into(), brought.join("sozu")]);
    let run = run.args(&["--pingora".into(), brought.join("pingora-balancer")]);
    match rest {
        [] => {
            let raced = run.args(&["--write".into(), root.join(RACE_PAGE)]).go();
            // The page of the benchmarks has a part of this one, also where a target is missed.
            harness(root, &["--pages"])?;
            raced
        }
        rest => run.args(rest).go(),
    }
}

/// The harness of the benchmarks, with these words.
fn harness(root: &Path, words: &[&str]) -> Done {
    program("python3")
        .args(&["-B".into(), root.join("bench/bench.py")])
        .args(words)
        .go()
}

/// Where the harness of the benchmarks puts the programs that it brings.
fn brought(root: &Path, told: Option<OsString>) -> PathBuf {
    let told = told.filter(|path| !path.is_empty());
    told.map_or_else(|| root.join("target/bench"), PathBuf::from)
        .join("bin")
}

/// What requests wait more while the instance is disturbed, by pairs of windows; the words go to `evenkeel-chaos tail`.
pub(crate) fn tail(root: &Path, rest: &[String]) -> Done {
    build(root)?;
    let run = shipped(root, &["tail"]);
    match rest {
        [] => run.args(&["--write".into(), root.join(TAIL_PAGE)]).go(),
        rest => run.args(rest).go(),
    }
}

/// Few connections over several workers; the words go to `evenkeel-chaos spread`.
pub(crate) fn spread(root: &Path, rest: &[String]) -> Done {
    build(root)?;
    shipped(root, &["spread"]).args(rest).go()
}

/// All faults with others beside: what the page shows.
fn is_whole(rest: &[String]) -> bool {
    rest == ["--peers"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_where_the_harness_brings_them() {
        let check = |told: Option<&str>, wanted: &str| {
            let found = brought(Path::new("/tree"), told.map(OsString::from));
            assert_eq!(found, Path::new(wanted));
        };
        check(None, "/tree/target/bench/bin");
        check(Some(""), "/tree/target/bench/bin");
        check(Some("/elsewhere"), "/elsewhere/bin");
    }

    #[test]
    fn the_page_is_written_by_a_whole_run_only() {
        let check = |words: &str, whole: bool| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            assert_eq!(is_whole(&words), whole, "{words:?}");
        };
        check("--peers", true);
        check("", false);
        check("--peers --quick", false);
        check("kill --peers", false);
    }
}
