//! Owns `cargo xtask chaos`: builds the binaries as they are shipped, brings what faults need, and runs `evenkeel-chaos`.

use std::path::Path;

use crate::run::{Done, cargo, program};
use crate::setup;

/// The page of a whole run beside others.
const PAGE: &str = "docs/faults.md";

/// Runs faults; the words go to `evenkeel-chaos`.
pub(crate) fn chaos(root: &Path, rest: &[String]) -> Done {
    if let Err(why) = setup::faults() {
        println!("{why}\nWhat needs them is skipped.");
    }
    let packages = ["-p", "evenkeel-server", "-p", "evenkeel-chaos"];
    cargo(root, &["build", "--release", "--locked"])
        .args(&packages)
        .go()?;
    let built = root.join("target/release");
    let run = program(built.join("evenkeel-chaos"))
        .args(&["--evenkeel".into(), built.join("evenkeel")])
        .args(rest);
    match is_whole(rest) {
        true => run.args(&["--write".into(), root.join(PAGE)]).go(),
        false => run.go(),
    }
}

/// All faults with others beside: what the page shows.
fn is_whole(rest: &[String]) -> bool {
    rest == ["--peers"]
}

#[cfg(test)]
mod tests {
    use super::*;

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
