//! Owns the running of fuzz targets by hand: `cargo xtask fuzz [target] [seconds]`. The gate only replays their corpora.

use std::path::Path;

use crate::run::{Done, answers, cargo};
use crate::setup;

/// For each target, when nothing is said.
const SECONDS: u32 = 60;

/// No input is longer, so that what is found can be read; a configuration of this length has everything in it.
const BYTES_MOST: &str = "-max_len=2048";

/// Runs one target, or all in turn. What was found new lies in `fuzz/target/found/<target>`, what breaks a law in
/// `fuzz/artifacts/<target>`; neither is in the repository.
pub(crate) fn fuzz(root: &Path, rest: &[String]) -> Done {
    let all = targets(root)?;
    let (chosen, seconds) = chosen(&all, rest)?;
    if !answers(&["cargo", "+nightly", "--version"]) {
        return Err("libFuzzer needs a nightly toolchain. Run: rustup toolchain install nightly --profile minimal".to_owned());
    }
    setup::fuzzing()?;
    for target in chosen {
        println!("== {target}: {seconds} s");
        run(root, target, seconds)?;
    }
    Ok(())
}

/// The names of the programs.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/fuzz_targets");
    let fail = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        names.extend(
            name.to_string_lossy()
                .strip_suffix(".rs")
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

/// What the words ask for: one target or all, and for how long each.
fn chosen<'a>(all: &'a [String], rest: &[String]) -> Result<(&'a [String], u32), String> {
    let (name, seconds) = match rest {
        [] => (None, None),
        [word] if word.parse::<u32>().is_ok() => (None, Some(word)),
        [name] => (Some(name), None),
        [name, seconds] => (Some(name), Some(seconds)),
        [_, _, word, ..] => {
            return Err(format!(
                "`{word}` is not understood: fuzz [target] [seconds]"
            ));
        }
    };
    let seconds = seconds.map_or(Ok(SECONDS), |word| match word.parse() {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err(format!("`{word}` is no number of seconds")),
    })?;
    let Some(name) = name else {
        return Ok((all, seconds));
    };
    match all.iter().position(|target| target == name) {
        Some(at) => Ok((&all[at..=at], seconds)),
        None => Err(format!(
            "there is no target `{name}`; there are: {}",
            all.join(", ")
        )),
    }
}

fn run(root: &Path, target: &str, seconds: u32) -> Done {
    let found = format!("fuzz/target/found/{target}");
    std::fs::create_dir_all(root.join(&found)).map_err(|error| format!("{found}: {error}"))?;
    // What is new goes to the first folder, the committed corpus stays as it is.
    let corpus = format!("fuzz/corpus/{target}");
    let seconds = format!("-max_total_time={seconds}");
    let words = [
        "+nightly", "fuzz", "run", target, &found, &corpus, "--", &seconds, BYTES_MOST,
    ];
    cargo(root, &words)
        .args(&["-timeout=10", "-print_final_stats=1"])
        .go()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, expect: Result<(&[&str], u32), &str>) {
        let all = ["chunked", "config", "path"].map(str::to_owned);
        let words: Vec<_> = typed.split_whitespace().map(str::to_owned).collect();
        match (chosen(&all, &words), expect) {
            (Ok((names, seconds)), Ok(expect)) => assert_eq!(
                (names, seconds),
                (
                    &expect
                        .0
                        .iter()
                        .map(|&name| name.to_owned())
                        .collect::<Vec<_>>()[..],
                    expect.1
                )
            ),
            (Err(said), Err(part)) => assert!(said.contains(part), "{said}"),
            (got, expect) => assert_eq!(format!("{got:?}"), format!("{expect:?}"), "{typed}"),
        }
    }

    #[test]
    fn what_is_asked_for() {
        let all = &["chunked", "config", "path"][..];
        check("", Ok((all, SECONDS)));
        check("300", Ok((all, 300)));
        check("config", Ok((&["config"], SECONDS)));
        check("path 5", Ok((&["path"], 5)));
        check("pth", Err("there are: chunked, config, path"));
        check("path soon", Err("`soon`"));
        check("path 0", Err("`0`"));
        check("path 5 6", Err("`6`"));
    }

    #[test]
    fn every_program_is_a_target() {
        let names = targets(&crate::root()).unwrap_or_default();
        assert!(names.iter().any(|name| name == "request"), "{names:?}");
    }
}
