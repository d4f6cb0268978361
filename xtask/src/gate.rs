//! Owns the gate: what must hold before a change lands, in the order in which a failure is cheapest to hear.
//!
//! It stops at the first failure. The tests come last, so that their summary is the last thing printed.

use std::path::Path;

use crate::clock::timed;
use crate::run::{Done, cargo};
use crate::{counts, models, setup, shipped, tidy, web};

/// One step: its name, what it does, and what to do when it fails.
struct Step {
    name: &'static str,
    run: fn(&Path) -> Done,
    mend: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        name: "set-up",
        run: setup::setup,
        mend: "install what is named above",
    },
    Step {
        name: "dashboard",
        run: web,
        mend: "the page in web/ does not check, its tests fail, or npm does not reach its registry",
    },
    Step {
        name: "format",
        run: |root| cargo(root, &["fmt", "--all", "--check"]).go(),
        mend: "run `cargo fmt --all`",
    },
    Step {
        name: "clippy",
        run: |root| {
            let words = [
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ];
            cargo(root, &words).go()
        },
        mend: "each warning above says what it wants; clippy.toml has the reasons of the banned calls",
    },
    Step {
        name: "tidy",
        run: tidy::tidy,
        mend: "each line above says what to do; an exemption in tidy.toml needs a reason",
    },
    Step {
        name: "deny",
        run: |root| cargo(root, &["deny", "check", "bans", "licenses", "sources"]).go(),
        mend: "deny.toml says why each crate is banned; `cargo tree -i <crate>` shows who brings it",
    },
    Step {
        name: "documentation",
        run: |root| {
            let words = ["doc", "--quiet", "--no-deps", "--locked", "--all-features"];
            // What programs are given to read; of the others the workspace alone reads.
            let crates = [
                "-p",
                "evenkeel",
                "-p",
                "evenkeel-balance",
                "-p",
                "evenkeel-wire",
                "-p",
                "evenkeel-watch",
            ];
            let doc = cargo(root, &words).args(&crates);
            doc.env("RUSTDOCFLAGS", "-D warnings").go()
        },
        mend: "a link in the documentation leads nowhere, or something of it is malformed",
    },
    Step {
        name: "doc tests",
        run: |root| {
            cargo(
                root,
                &["test", "--quiet", "--doc", "--workspace", "--locked"],
            )
            .go()
        },
        mend: "an example in the documentation no longer holds",
    },
    Step {
        name: "models",
        run: models,
        mend: "an interleaving breaks a law of the core; the failing schedule is printed above",
    },
    Step {
        name: "counts",
        run: |root| counts::counts(root, &[]),
        mend: "make the pick cheaper, or record the price with `cargo xtask counts --write` and say why",
    },
    Step {
        name: "shipped",
        run: shipped::build,
        mend: "the program does not build as the README has it",
    },
];

/// Runs the gate. On success nothing is printed after the summary of the tests.
pub(crate) fn test(root: &Path) -> Done {
    let total = STEPS.len() + 1;
    for (index, step) in STEPS.iter().enumerate() {
        println!("== {}/{total} {}", index + 1, step.name);
        let (done, took) = timed(|| (step.run)(root));
        if let Err(why) = done {
            return Err(format!(
                "{why}\n\nThe gate stopped at `{}`: {}.",
                step.name, step.mend
            ));
        }
        println!("   {}: {:.1} s", step.name, took.as_secs_f64());
    }
    println!("== {total}/{total} tests");
    // Those of what the program costs look at the one that was built last.
    let tests = cargo(root, &["nextest", "run", "--workspace", "--locked"]);
    tests.env(shipped::VARIABLE, &shipped::program(root)).go()
}
