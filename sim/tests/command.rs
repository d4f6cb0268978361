//! The command line as a user meets it.

use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenkeel-sim"))
        .args(words)
        .output()
        .expect("the binary was built for this test")
}

#[test]
fn a_run_tells_its_figures() {
    let output = run(&[
        "run",
        "--policy",
        "adaptive",
        "--scenario",
        "sinkhole-70",
        "--seed",
        "3",
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for word in [
        "trace ",
        "p50 ",
        "p99 ",
        "p99.9 ",
        "failed ",
        "largest share",
    ] {
        assert!(text.contains(word), "no `{word}` in\n{text}");
    }
    assert_eq!(
        run(&[
            "run",
            "--policy",
            "adaptive",
            "--scenario",
            "sinkhole-70",
            "--seed",
            "3"
        ])
        .stdout,
        output.stdout
    );
}

#[test]
fn a_wrong_word_is_named_and_ends_with_2() {
    let rows: [(&[&str], &str); 7] = [
        (&[], "a command is missing"),
        (&["tabel"], "no command `tabel`"),
        (&["run", "--policy"], "`--policy` wants a value"),
        (
            &["run", "--policy", "best", "--scenario", "even-90"],
            "no policy `best`",
        ),
        (
            &["run", "--policy", "adaptive", "--scenario", "hell"],
            "no scenario `hell`",
        ),
        (
            &["table", "--seeds", "0"],
            "`--seeds` wants a number above 0",
        ),
        (&["demo", "--fast", "yes"], "`--fast` is not an option here"),
    ];
    for (words, problem) in rows {
        let output = run(words);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(
            text.contains(problem),
            "{words:?}: no `{problem}` in\n{text}"
        );
    }
}

#[test]
fn the_demo_prints_a_table_for_each_world_it_shows() {
    let output = run(&["demo"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text.matches("| adaptive |").count(), 3, "{text}");
}

/// Every command of the README is run: by this test, by the examples' own, or it is the gate that runs this test.
#[test]
fn the_readme_says_what_works() {
    let readme = include_str!("../../README.md");
    let blocks = readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next());
    let commands: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        let words = match command.strip_prefix("cargo run --release -p evenkeel-sim -- ") {
            Some(words) => words.split(' ').collect::<Vec<_>>(),
            None => {
                let known = [
                    "cargo xtask test",
                    // The tests of `evenkeel-server` run what stands here.
                    "cargo xtask demo",
                    "cargo xtask demo --for 10s --policy round_robin",
                    "cargo xtask demo --for 10s --policy least_connections --breaker off",
                    "cargo install --locked --path crates/server",
                    "cargo run --release -p evenkeel-server -- run --listen :8080 --to 127.0.0.1:9001 --to 127.0.0.1:9002",
                    "cargo run -p evenkeel --example choose",
                    "cargo run -p evenkeel --example healthy",
                    "cargo run -p evenkeel --example hyper_client",
                    "cargo run -p evenkeel --example webhook",
                    "cargo run -p evenkeel --example nearest",
                    "cargo run -p evenkeel --example reporting",
                ];
                assert!(known.contains(&command), "nobody runs `{command}`");
                continue;
            }
        };
        let output = run(&words);
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "`{command}`: {output:?}"
        );
    }
}

#[test]
fn worlds_of_the_proxy_tell_what_happened_in_them() {
    let words = ["proxy", "--seed", "2", "--seeds", "3", "--steps", "10"];
    let output = run(&words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for word in [
        "seeds          2 to 4\n",
        "requests       30\n",
        "findings       0\n",
    ] {
        assert!(text.contains(word), "no `{word}` in\n{text}");
    }
    assert_eq!(run(&words).stdout, output.stdout);
}
