//! Owns `cargo xtask bench`: builds the binary as it is shipped and runs the harness of `bench/`, or the comparison of picks.

use std::path::Path;

use crate::run::{Done, cargo, program};

/// Measures beside other balancers; the words go to `bench/bench.py`, or behind `picks` to `bench/picks`.
pub(crate) fn bench(root: &Path, rest: &[String]) -> Done {
    if let Some((first, rest)) = rest.split_first()
        && first == "picks"
    {
        return picks(root, rest);
    }
    if measures(rest) {
        cargo(
            root,
            &["build", "--release", "--locked", "-p", "evenkeel-server"],
        )
        .go()?;
    }
    let harness = root.join("bench/bench.py");
    program("python3")
        .args(&["-B".into(), harness])
        .args(rest)
        .go()
}

fn picks(root: &Path, rest: &[String]) -> Done {
    let picks = [
        "run",
        "--release",
        "--locked",
        "--manifest-path",
        "bench/picks/Cargo.toml",
        "--",
    ];
    cargo(root, &picks).args(rest).go()
}

/// Does the harness start Evenkeel with these words?
fn measures(rest: &[String]) -> bool {
    !rest
        .iter()
        .any(|word| matches!(word.as_str(), "--help" | "-h" | "--report" | "--pages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tells_builds_nothing() {
        let check = |words: &str, builds: bool| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            assert_eq!(measures(&words), builds, "{words:?}");
        };
        check("", true);
        check("--quick --peers nginx", true);
        check("--help", false);
        check("--report", false);
        check("--pages", false);
    }
}
