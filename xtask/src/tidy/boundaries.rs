//! Owns the import table: which crate of the workspace may import which of ours, tests included.
//!
//! An arrow that the table does not have is a decision record, not a line in a manifest.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::rules::Rules;
use super::source::File;
use super::{Problem, TABLE};

/// The manifests hold the arrows of the table and no others; every crate has a row.
pub(super) fn check(rules: &Rules, files: &[File]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let members = match members(files) {
        Ok(members) => members,
        Err(problem) => return vec![problem],
    };
    let ours: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    for member in &members {
        seen.insert(member.name.as_str());
        let Some(row) = rules.crates.iter().find(|row| row.name == member.name) else {
            let message = format!(
                "`{}` wants a [[crate]] row in {TABLE}: what may it import?",
                member.name
            );
            found.push(Problem::new(&member.path, 0, message));
            continue;
        };
        for (kind, dependency) in member
            .dependencies
            .iter()
            .filter(|(_, name)| ours.contains(name.as_str()))
        {
            let allowed = row.imports.contains(dependency)
                || (*kind == Kind::Tests && row.tests_import.contains(dependency));
            if !allowed {
                let message = format!(
                    "`{}` may not import `{dependency}`: a new arrow between crates is a decision record and a row in {TABLE}",
                    member.name
                );
                found.push(Problem::new(&member.path, 0, message));
            }
        }
    }
    for row in &rules.crates {
        let named = std::iter::once(&row.name)
            .chain(&row.imports)
            .chain(&row.tests_import);
        for name in named.filter(|name| !ours.contains(name.as_str())) {
            let message = format!(
                "[[crate]] `{}` names `{name}`, which is not in the workspace",
                row.name
            );
            found.push(Problem::new(TABLE, 0, message));
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the crate itself, or of its build script.
    Own,
    Tests,
}

/// A crate of the workspace, as its manifest says.
pub(super) struct Member {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) dependencies: Vec<(Kind, String)>,
    pub(super) manifest: Table,
}

/// The crates that the root manifest lists.
pub(super) fn members(files: &[File]) -> Result<Vec<Member>, Problem> {
    let root = manifest(files, "Cargo.toml")?;
    let listed = root
        .get("workspace")
        .and_then(|workspace| workspace.get("members"))
        .and_then(Value::as_array);
    let listed =
        listed.ok_or_else(|| Problem::new("Cargo.toml", 0, "lists no workspace members"))?;
    listed
        .iter()
        .map(|folder| {
            let path = format!("{}/Cargo.toml", folder.as_str().unwrap_or_default());
            let manifest = manifest(files, &path)?;
            let name = manifest
                .get("package")
                .and_then(|package| package.get("name"))
                .and_then(Value::as_str);
            let name = name
                .ok_or_else(|| Problem::new(&path, 0, "has no package name"))?
                .to_owned();
            let dependencies = sections(&manifest)
                .flat_map(|(kind, section)| {
                    section
                        .iter()
                        .map(move |(key, value)| (kind, package_name(key, value)))
                })
                .collect();
            Ok(Member {
                path,
                name,
                dependencies,
                manifest,
            })
        })
        .collect()
}

/// The manifest at this path, read.
pub(super) fn manifest(files: &[File], path: &str) -> Result<Table, Problem> {
    let file = files.iter().find(|file| file.path == path);
    let file = file
        .ok_or_else(|| Problem::new(path, 0, "is listed as a workspace member but is not there"))?;
    file.text
        .parse()
        .map_err(|error| Problem::new(path, 0, format!("{error}")))
}

/// Every dependency section of a manifest, those of `[target.*]` included.
pub(super) fn sections(manifest: &Table) -> impl Iterator<Item = (Kind, &Table)> {
    const NAMES: [(&str, Kind); 3] = [
        ("dependencies", Kind::Own),
        ("build-dependencies", Kind::Own),
        ("dev-dependencies", Kind::Tests),
    ];
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = std::iter::once(manifest).chain(
        targets
            .into_iter()
            .flat_map(Table::values)
            .filter_map(Value::as_table),
    );
    tables.flat_map(|table| {
        NAMES
            .iter()
            .filter_map(move |(name, kind)| Some((*kind, table.get(*name)?.as_table()?)))
    })
}

/// The crate behind a key: a dependency may be renamed.
fn package_name(key: &str, value: &Value) -> String {
    value
        .get("package")
        .and_then(Value::as_str)
        .unwrap_or(key)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE_ROWS: &str = "[[crate]]\nname = 'core'\nimports = []\n\
                              [[crate]]\nname = 'sim'\nimports = ['core']\n";

    fn check(table: &str, core: &str, sim: &str, expect: &[&str]) {
        let file = |path: &str, text: String| File::new(path, text);
        let files = [
            file(
                "Cargo.toml",
                "[workspace]\nmembers = ['core', 'sim']".to_owned(),
            ),
            file(
                "core/Cargo.toml",
                format!("[package]\nname = 'core'\n{core}"),
            ),
            file("sim/Cargo.toml", format!("[package]\nname = 'sim'\n{sim}")),
        ];
        let found = super::check(&toml::from_str(table).unwrap(), &files);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (problem, part) in found.iter().zip(expect) {
            assert!(problem.message.contains(part), "{found:?}");
        }
    }

    #[test]
    fn arrows() {
        let arrow = "[dependencies]\ncore.workspace = true\n";
        check(TABLE_ROWS, "", arrow, &[]);
        check(TABLE_ROWS, "[dependencies]\nserde = '1'\n", arrow, &[]);
        check(
            TABLE_ROWS,
            "[dependencies]\nsim.workspace = true\n",
            arrow,
            &["`core` may not import `sim`"],
        );
        check(
            TABLE_ROWS,
            "[dev-dependencies]\nsim.workspace = true\n",
            arrow,
            &["`core` may not import `sim`"],
        );
        check(
            TABLE_ROWS,
            "[build-dependencies]\nsim.workspace = true\n",
            arrow,
            &["`core` may not import `sim`"],
        );
        check(
            TABLE_ROWS,
            "[target.'cfg(unix)'.dependencies]\nother = { package = 'sim', path = '../sim' }\n",
            arrow,
            &["`core` may not import `sim`"],
        );
    }

    #[test]
    fn tests_may_import_more() {
        let table = TABLE_ROWS.replacen("imports = []", "imports = []\ntests_import = ['sim']", 1);
        check(
            &table,
            "[dev-dependencies]\nsim.workspace = true\n",
            "",
            &[],
        );
        check(
            &table,
            "[dependencies]\nsim.workspace = true\n",
            "",
            &["`core` may not import `sim`"],
        );
    }

    #[test]
    fn rows_are_the_crates() {
        check(
            "[[crate]]\nname = 'core'\nimports = []",
            "",
            "",
            &["`sim` wants a [[crate]] row"],
        );
        let more = format!("{TABLE_ROWS}[[crate]]\nname = 'gone'\nimports = []");
        check(&more, "", "", &["names `gone`"]);
    }
}
