//! `cargo xtask <verb>`: everything that is done to this repository by hand or by a machine.
//!
//! The table of verbs is the help. A verb that checks says what is wrong, where, and what to do; a verb that
//! measures prints figures for `docs/findings.md`. Read `gate.rs` next: it is what must hold for every change.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool answers on the terminal"
)]

mod bench;
mod chaos;
mod clock;
mod counts;
mod decisions;
mod fuzz;
mod gate;
mod picture;
mod run;
mod setup;
mod shipped;
mod soak;
mod tidy;
mod upgrades;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use run::{Done, cargo};

/// One row of the help: what is typed, what it does, and the function that does it.
struct Verb {
    name: &'static str,
    does: &'static str,
    run: fn(&Path, &[String]) -> Done,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "test",
        does: "the gate: set-up, format, clippy, tidy, deny, doc tests, models, counts, the shipped program, then all tests",
        run: |root, rest| no_more(rest).and_then(|()| gate::test(root)),
    },
    Verb {
        name: "setup",
        does: "install the tools that the gate needs, or say which are missing",
        run: |root, rest| no_more(rest).and_then(|()| setup::setup(root)),
    },
    Verb {
        name: "tidy",
        does: "check what tidy.toml says: boundaries, words, sizes, names, module lists, manifests",
        run: |root, rest| no_more(rest).and_then(|()| tidy::tidy(root)),
    },
    Verb {
        name: "models",
        does: "run the shuttle models of the decision core: many interleavings of the same few threads",
        run: |root, rest| no_more(rest).and_then(|()| models(root)),
    },
    Verb {
        name: "counts",
        does: "count the instructions of picks, heads and exchanges and compare with each crate's counts.toml: [package ...] (--write: record)",
        run: counts::counts,
    },
    Verb {
        name: "shipped",
        does: "build the program as it is shipped, and compare its size, its start and its memory with what was reached",
        run: |root, rest| no_more(rest).and_then(|()| shipped::shipped(root)),
    },
    Verb {
        name: "demo",
        does: "watch the proxy over backends and clients of its own, for ten seconds (arguments go to evenkeel demo)",
        run: demo,
    },
    Verb {
        name: "picture",
        does: "draw one frame of the demo to docs/demo.svg, and its dashboard to docs/dashboard.png (needs what `setup` brings)",
        run: |root, rest| no_more(rest).and_then(|()| picture::picture(root)),
    },
    Verb {
        name: "manual",
        does: "write the tables of docs/manual from the program as it is (--check: say which are stale)",
        run: manual,
    },
    Verb {
        name: "openapi",
        does: "write docs/openapi.json from the program as it is (--check: say whether it is stale)",
        run: openapi,
    },
    Verb {
        name: "web",
        does: "check, test and build the dashboard to web/dist, which the next build of the program takes in (needs Node and npm, which `setup` brings)",
        run: |root, rest| no_more(rest).and_then(|()| web(root)),
    },
    Verb {
        name: "policies",
        does: "write the simulator's table of policies to docs/policies.md",
        run: |root, rest| {
            no_more(rest)?;
            simulate_table(root, &["--out".to_owned(), "docs/policies.md".to_owned()])
        },
    },
    Verb {
        name: "reasons",
        does: "write the list of reasons to docs/reasons.md",
        run: |root, rest| no_more(rest).and_then(|()| reasons(root)),
    },
    Verb {
        name: "bench",
        does: "measure beside HAProxy, nginx, Envoy and others, to docs/benchmarks.md: [--quick] ... (--help); `bench picks`: time picks alone",
        run: bench::bench,
    },
    Verb {
        name: "fuzz",
        does: "fuzz one target or all: [target] [seconds], 60 each unless said (needs a nightly toolchain)",
        run: fuzz::fuzz,
    },
    Verb {
        name: "soak",
        does: "run the binary under mixed traffic and reloads: [seconds], 600 unless said; memory and descriptors must stay flat; `soak writes`: a hundred writes a second",
        run: soak::soak,
    },
    Verb {
        name: "chaos",
        does: "faults under load: [fault ...] [--quick] [--peers]; with --peers also HAProxy and nginx, to docs/faults.md",
        run: chaos::chaos,
    },
    Verb {
        name: "race",
        does: "policies over sockets: [scenario ...] [--quick] [--times N]; a whole one beside six peers to docs/policies-over-sockets.md",
        run: chaos::race,
    },
    Verb {
        name: "tail",
        does: "requests over 5 ms that reloads and checks of 10,000 backends, pages and rotated logs add: [disturbance ...] [--quick]",
        run: chaos::tail,
    },
    Verb {
        name: "spread",
        does: "few connections over several workers: who serves how many, what each computes: [--quick] [--beside PROGRAM]",
        run: chaos::spread,
    },
    Verb {
        name: "upgrades",
        does: "upgrade the binary under load, one process after another: [count], 1000 unless said; nothing may be lost",
        run: upgrades::upgrades,
    },
    Verb {
        name: "decisions",
        does: "time decisions for other programs, of the shipped binary on one core: [seconds] a row, 5 unless said",
        run: decisions::decisions,
    },
    Verb {
        name: "coverage",
        does: "run all tests and print which lines they reach",
        run: |root, rest| no_more(rest).and_then(|()| coverage(root)),
    },
    Verb {
        name: "advisories",
        does: "check the dependencies against the advisory database (needs the network)",
        run: |root, rest| {
            no_more(rest)?;
            cargo(root, &["deny", "check", "advisories"]).go()
        },
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = words.split_first() else {
        eprint!("{}", help());
        return ExitCode::from(2);
    };
    if matches!(verb.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(verb) = VERBS.iter().find(|row| row.name == verb) else {
        eprint!("There is no `cargo xtask {verb}`.\n\n{}", help());
        return ExitCode::from(2);
    };
    match (verb.run)(&root(), rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let rows = VERBS
        .iter()
        .map(|row| format!("  {:<11} {}\n", row.name, row.does));
    format!("cargo xtask <verb>\n\n{}", rows.collect::<String>())
}

/// The root of the workspace: the folder that holds `xtask/`.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// Most verbs take no argument, and a mistyped one must not pass for a check that ran.
fn no_more(rest: &[String]) -> Done {
    match rest.first() {
        None => Ok(()),
        Some(word) => Err(format!(
            "`{word}` is not understood: this verb takes no argument"
        )),
    }
}

/// The models need every atomic and lock of the core replaced, hence a flag and a build tree of their own.
fn models(root: &Path) -> Done {
    cargo(
        root,
        &[
            "test",
            "--release",
            "--locked",
            "--target-dir",
            "target/shuttle",
            "-p",
            "evenkeel-balance",
            "--lib",
            "--test",
            "models",
        ],
    )
    .env("RUSTFLAGS", "--cfg shuttle")
    .go()
}

fn demo(root: &Path, rest: &[String]) -> Done {
    let proxy = [
        "run",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "evenkeel-server",
        "--",
        "demo",
    ];
    let short = ["--for".to_owned(), "10s".to_owned()];
    cargo(root, &proxy)
        .args(if rest.is_empty() { &short } else { rest })
        .go()
}

/// The tests that hold the tables against the program write them when they are told to.
fn manual(root: &Path, rest: &[String]) -> Done {
    let tests = |names: &str| {
        let words = ["nextest", "run", "--locked", "-p", "evenkeel-server", "-E"];
        cargo(root, &words).args(&[format!("binary(run) & test(/^manual::{names}/)")])
    };
    match rest {
        [] => tests("(keys|limits|metrics|flags)$")
            .env("EVENKEEL_WRITE_MANUAL", "1")
            .go(),
        [word] if word == "--check" => tests("").go(),
        _ => Err("the verb takes `--check` or nothing".into()),
    }
}

fn openapi(root: &Path, rest: &[String]) -> Done {
    let words = ["nextest", "run", "--locked", "-p", "evenkeel-admin", "-E"];
    let test = cargo(root, &words).args(&["binary(openapi)".to_owned()]);
    match rest {
        [] => test.env("EVENKEEL_WRITE_OPENAPI", "1").go(),
        [word] if word == "--check" => test.go(),
        _ => Err("the verb takes `--check` or nothing".into()),
    }
}

/// What `package-lock.json` names, from the registry of npm, by the Node of the tests' set-up, or by that of the system.
pub(crate) fn web(root: &Path) -> Done {
    let place = root.join("web");
    let programs = root.join(setup::PROGRAMS);
    let npm = |words: &[&str]| {
        run::program("npm")
            .before(&programs)
            .args(&["--prefix"])
            .args(&[&place])
            .args(words)
            .go()
    };
    npm(&["ci", "--no-audit", "--no-fund"])?;
    for script in ["check", "test", "build"] {
        npm(&["run", script])?;
    }
    Ok(())
}

fn simulate_table(root: &Path, rest: &[String]) -> Done {
    let simulator = [
        "run",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "evenkeel-sim",
        "--bin",
        "evenkeel-sim",
        "--",
        "table",
    ];
    cargo(root, &simulator).args(rest).go()
}

fn reasons(root: &Path) -> Done {
    let example = [
        "run",
        "--quiet",
        "--locked",
        "-p",
        "evenkeel-proxy",
        "--example",
        "reasons",
    ];
    let page = cargo(root, &example).read()?;
    std::fs::write(root.join("docs/reasons.md"), page)
        .map_err(|error| format!("docs/reasons.md: {error}"))
}

fn coverage(root: &Path) -> Done {
    if !run::answers(&["cargo", "llvm-cov", "--version"]) {
        return Err(
            "cargo-llvm-cov is not installed. Run: cargo install --locked cargo-llvm-cov \
                    && rustup component add llvm-tools-preview"
                .to_owned(),
        );
    }
    cargo(root, &["llvm-cov", "nextest", "--workspace", "--locked"]).go()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_stands_in_the_help_once() {
        let help = help();
        for verb in VERBS {
            let rows = help
                .lines()
                .filter(|line| line.split_whitespace().next() == Some(verb.name));
            assert_eq!(rows.count(), 1, "{}", verb.name);
            assert!(!verb.does.is_empty(), "{}", verb.name);
        }
    }

    #[test]
    fn a_mistyped_argument_is_refused() {
        assert!(no_more(&[]).is_ok());
        assert!(no_more(&["--fix".to_owned()]).is_err());
    }
}
