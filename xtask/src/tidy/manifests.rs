//! Owns what manifests and lock files promise: one table of versions, a reason for each, no private sources.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::Problem;
use super::boundaries::{Member, manifest, members, sections};
use super::rules::Rules;
use super::source::File;

const REASONS: &str = "docs/dependencies.md";
const PUBLIC: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Versions stand in the workspace table, each with a reason; lock files name the public registry only.
pub(super) fn check(_: &Rules, files: &[File]) -> Vec<Problem> {
    let mut found = Vec::new();
    let locks = || {
        let named = |file: &&File| file.path.ends_with("Cargo.lock");
        files.iter().filter(named)
    };
    match members(files) {
        Ok(members) => {
            for member in &members {
                found.extend(versions_of_their_own(&member.path, &member.manifest));
                let behind = locks().flat_map(|lock| behind(&lock.path, &lock.text, member));
                found.extend(behind);
            }
        }
        Err(problem) => return vec![problem],
    }
    match manifest(files, "Cargo.toml") {
        Ok(root) => {
            let reasons = files
                .iter()
                .find(|file| file.path == REASONS)
                .map_or("", |file| &file.text);
            found.extend(reasons_given(&root, reasons));
        }
        Err(problem) => found.push(problem),
    }
    found.extend(locks().flat_map(|file| private_sources(&file.path, &file.text)));
    found
}

/// Dependencies that do not take their version from the workspace table.
fn versions_of_their_own(path: &str, manifest: &Table) -> Vec<Problem> {
    let inherits = |value: &Value| value.get("workspace").and_then(Value::as_bool) == Some(true);
    sections(manifest)
        .flat_map(|(_, section)| section)
        .filter(|(_, value)| !inherits(value))
        .map(|(name, _)| {
            let message = format!(
                "`{name}` takes no version from the workspace: write `{name}.workspace = true`"
            );
            Problem::new(path, 0, message)
        })
        .collect()
}

/// The workspace table and the table of reasons name the same crates in the same version lines.
fn reasons_given(root: &Table, reasons: &str) -> Vec<Problem> {
    let table = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let wanted: BTreeMap<&str, String> = table
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.get("path").is_none())
        .map(|(name, value)| (name.as_str(), version_line(value)))
        .collect();
    let mut given: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, line) in reasons.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, version, why, ..] = cells[..] else {
            continue;
        };
        let Some(name) = name
            .strip_prefix('`')
            .and_then(|name| name.strip_suffix('`'))
        else {
            continue;
        };
        given.insert(name, (at + 1, version));
        if !wanted.contains_key(name) {
            let message = format!("`{name}` is not in the workspace table: remove its row");
            found.push(Problem::new(REASONS, at + 1, message));
        } else if why.is_empty() {
            found.push(Problem::new(
                REASONS,
                at + 1,
                format!("`{name}`: why is it worth its weight?"),
            ));
        }
    }
    for (name, line) in &wanted {
        match given.get(name) {
            None => {
                let message = format!(
                    "`{name}` of Cargo.toml wants a row: version line and why it is worth its weight"
                );
                found.push(Problem::new(REASONS, 0, message));
            }
            Some((at, said)) if said != line => {
                found.push(Problem::new(
                    REASONS,
                    *at,
                    format!("`{name}` is at {line} in Cargo.toml, not {said}"),
                ));
            }
            Some(_) => {}
        }
    }
    found
}

/// The part of a version that compatible releases share: `1` of 1.9.3, `0.8` of 0.8.19, `0.0.4` of 0.0.4.
fn version_line(value: &Value) -> String {
    let version = value
        .as_str()
        .or_else(|| value.get("version").and_then(Value::as_str))
        .unwrap_or_default();
    let mut line = Vec::new();
    for number in version.split('.') {
        line.push(number);
        if number != "0" {
            break;
        }
    }
    line.join(".")
}

/// Lines of a lock file that name another source than the public registry.
fn private_sources(path: &str, text: &str) -> Vec<Problem> {
    let sources = text
        .lines()
        .enumerate()
        .filter_map(|(at, line)| Some((at, line.trim().strip_prefix("source = ")?)));
    sources
        .filter(|(_, source)| source.trim_matches('"') != PUBLIC)
        .map(|(at, source)| {
            Problem::new(path, at + 1, format!("{source} is not the public registry"))
        })
        .collect()
}

/// What a crate of ours depends on, and a lock file that has the crate does not know: where that lock is of another tree than the
/// workspace's, nothing else says so before `--locked` refuses there.
fn behind(path: &str, lock: &str, member: &Member) -> Vec<Problem> {
    let lock: Table = match lock.parse() {
        Ok(lock) => lock,
        Err(error) => return vec![Problem::new(path, 0, format!("{error}"))],
    };
    let packages = lock.get("package").and_then(Value::as_array);
    let name =
        |package: &&Value| package.get("name").and_then(Value::as_str) == Some(&*member.name);
    let Some(package) = packages.into_iter().flatten().find(name) else {
        return Vec::new();
    };
    let locked = package.get("dependencies").and_then(Value::as_array);
    // `name`, or `name version` where there are several.
    let locked: BTreeSet<&str> = locked
        .into_iter()
        .flatten()
        .filter_map(|one| one.as_str()?.split(' ').next())
        .collect();
    let wanted = member
        .manifest
        .get("dependencies")
        .and_then(Value::as_table);
    let optional = |value: &Value| value.get("optional").and_then(Value::as_bool) == Some(true);
    wanted
        .into_iter()
        .flatten()
        .filter(|(name, value)| !optional(value) && !locked.contains(name.as_str()))
        .map(|(name, _)| {
            let message = format!(
                "knows no `{name}` of `{}`: run `cargo update --workspace` with the manifest beside it",
                member.name
            );
            Problem::new(path, 0, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_other_trees() {
        let check = |dependencies: &str, lock: &str, expect: &[&str]| {
            let member = Member {
                path: "crates/a/Cargo.toml".to_owned(),
                name: "a".to_owned(),
                dependencies: Vec::new(),
                manifest: format!("[dependencies]\n{dependencies}").parse().unwrap(),
            };
            expect_parts(&behind("bench/Cargo.lock", lock, &member), expect);
        };
        let wanted = "b.workspace = true\nc = { workspace = true, optional = true }";
        let lock = |name: &str, known: &str| {
            format!("[[package]]\nname = '{name}'\nversion = '1.0.0'\ndependencies = [{known}]\n")
        };
        check(wanted, &lock("a", "'b'"), &[]);
        check(wanted, &lock("a", "'b 1.0.0', 'd'"), &[]);
        check(wanted, &lock("a", "'d'"), &["`b` of `a`"]);
        check(wanted, "[[package]]\nname = 'a'\n", &["`b` of `a`"]);
        check(wanted, &lock("other", "'d'"), &[]);
        check("", &lock("a", ""), &[]);
    }

    fn expect_parts(found: &[Problem], expect: &[&str]) {
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (problem, part) in found.iter().zip(expect) {
            assert!(problem.message.contains(part), "{found:?}");
        }
    }

    #[test]
    fn versions() {
        for (section, expect) in [
            ("[dependencies]\nserde.workspace = true", &[][..]),
            (
                "[dependencies]\nserde = { workspace = true, features = ['rc'] }",
                &[],
            ),
            ("[dependencies]\nserde = '1'", &["`serde`"]),
            (
                "[dev-dependencies]\nserde = { version = '1' }",
                &["`serde`"],
            ),
            ("[dependencies]\nserde.workspace = false", &["`serde`"]),
        ] {
            expect_parts(
                &versions_of_their_own("a/Cargo.toml", &section.parse().unwrap()),
                expect,
            );
        }
    }

    #[test]
    fn reasons() {
        let check = |reasons: &str, expect: &[&str]| {
            let root = "[workspace.dependencies]\narc-swap = '1.9.3'\nsim = { path = 'sim', version = '0.1.0' }\n\
                        xxh = { version = '0.8.19' }";
            expect_parts(&reasons_given(&root.parse().unwrap(), reasons), expect);
        };
        let (one, two) = (
            "| `arc-swap` | 1 | swaps | |\n",
            "| `xxh` | 0.8 | hashes | |\n",
        );
        check(
            &format!("# Reasons\n\n| crate | line | why |\n|---|---|---|\n{one}{two}"),
            &[],
        );
        check(one, &["`xxh` of Cargo.toml wants a row"]);
        check(
            &format!("{one}{two}| `serde` | 1 | reads | |\n"),
            &["`serde` is not in the workspace table"],
        );
        check(
            &format!("{one}| `xxh` | 0.7 | hashes | |\n"),
            &["`xxh` is at 0.8"],
        );
        check(
            &format!("{one}| `xxh` | 0.8 | | |\n"),
            &["worth its weight"],
        );
        check("", &["`arc-swap`", "`xxh`"]);
    }

    #[test]
    fn lock_files() {
        for (source, expect) in [
            (PUBLIC, &[][..]),
            (
                "registry+https://crates.example.net/index",
                &["not the public registry"],
            ),
            (
                "sparse+https://crates.example.net/index/",
                &["not the public registry"],
            ),
            (
                "git+https://git.example.net/a?rev=1#1",
                &["not the public registry"],
            ),
        ] {
            let text = format!("[[package]]\nname = \"a\"\nsource = \"{source}\"\n");
            expect_parts(&private_sources("Cargo.lock", &text), expect);
        }
    }
}
