//! Owns the shape of the tree: names that say something, and module lists that read as a map.

use super::Problem;
use super::rules::Rules;
use super::source::File;

/// Names of files and folders, the module list of every library, and types of the library's interface that can grow.
pub(super) fn check(rules: &Rules, files: &[File]) -> Vec<Problem> {
    let rust = || files.iter().filter(|file| file.is_rust());
    let names = rust().flat_map(|file| names(rules, file));
    let lists = rust()
        .filter(|file| file.path.ends_with("src/lib.rs"))
        .flat_map(module_list);
    let given = rust().filter(|file| {
        GIVEN
            .iter()
            .any(|folder| file.path.starts_with(folder) && file.path.contains("/src/"))
    });
    names.chain(lists).chain(given.flat_map(closed)).collect()
}

/// Where the interface stands that programs are built against.
const GIVEN: [&str; 2] = ["crates/balance/", "crates/evenkeel/"];

/// How types are called that get a field more with time (decision 0038).
const GROW: [&str; 5] = ["Settings", "Snapshot", "Counts", "Stats", "Error"];

/// Types of such a name with fields that anybody may name, and so write out, and who may: each further field would break his program.
fn closed(file: &File) -> Vec<Problem> {
    let lines: Vec<&str> = file.production.lines().collect();
    let grows = |line: &str| {
        let name = line.strip_prefix("pub struct ");
        let name = name.and_then(|name| name.strip_suffix(" {"));
        name.is_some_and(|name| GROW.iter().any(|end| name.ends_with(end)))
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let above = lines[..at].iter().rev();
        let open = above
            .take_while(|line| line.starts_with("#[") || line.trim().is_empty())
            .any(|line| *line == "#[non_exhaustive]");
        let mut fields = lines[at + 1..].iter().take_while(|line| **line != "}");
        if grows(line) && !open && fields.any(|line| line.starts_with("    pub ")) {
            let message = "will have a field more one day, which would break programs: say `#[non_exhaustive]` (decision 0038)";
            found.push(Problem::new(&file.path, at + 1, message));
        }
    }
    found
}

/// Names of the file, of its folders, and of modules that are declared in it.
fn names(rules: &Rules, file: &File) -> Vec<Problem> {
    let of_path = file.path.trim_end_matches(".rs").split('/');
    let declared = file.production.lines().enumerate();
    let declared = declared.filter_map(|(at, line)| Some((at + 1, module(line)?)));
    let mut found = Vec::new();
    for (line, name) in of_path.map(|name| (0, name)).chain(declared) {
        for row in &rules.name {
            if row.names.iter().any(|banned| banned == name) {
                let message = format!("`{name}`: {}", row.message);
                found.push(Problem::new(&file.path, line, message));
            }
        }
    }
    found
}

/// The name, when the line declares a module.
fn module(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub").map_or(line, |after| {
        let after = after.trim_start();
        after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'))
            .map_or(after, |(_, after)| after.trim_start())
    });
    line.strip_prefix("mod ")?.split([';', ' ', '{']).next()
}

/// Every module of a library has exactly one line of documentation, with a blank line above it.
fn module_list(file: &File) -> Vec<Problem> {
    let text: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in file.production.lines().enumerate() {
        let Some(name) = module(line).filter(|_| line.trim_end().ends_with(';')) else {
            continue;
        };
        let above = |from: usize| {
            text[..from]
                .iter()
                .rposition(|line| !line.trim_start().starts_with("#["))
        };
        let doc = above(at).filter(|&doc| text[doc].starts_with("/// "));
        let blank = doc.is_none_or(|doc| doc == 0 || text[doc - 1].trim().is_empty());
        if doc.is_none() || !blank {
            let message = format!(
                "`mod {name}` wants one `///` line that says what is there, and a blank line above it"
            );
            found.push(Problem::new(&file.path, at + 1, message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check((path, text): (&str, &str), expect: &[usize]) {
        let table = "[[name]]\nnames = ['mod', 'util']\nmessage = 'say what it is'";
        let found = super::check(
            &toml::from_str(table).unwrap(),
            &[File::new(path, text.to_owned())],
        );
        let lines: Vec<usize> = found.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, expect, "{path}\n{text}\n{found:?}");
    }

    #[test]
    fn names_say_something() {
        check(("sim/src/world.rs", ""), &[]);
        check(("sim/src/util.rs", ""), &[0]);
        check(("sim/src/util/world.rs", ""), &[0]);
        check(("sim/src/world/mod.rs", ""), &[0]);
        check(("docs/util.md", ""), &[]);
        check(("sim/src/world.rs", "x;\npub(crate) mod util {\n}"), &[2]);
        check(("sim/src/world.rs", "mod utility;"), &[]);
    }

    #[test]
    fn interfaces_that_grow() {
        fn of(text: &str) -> (&str, &str) {
            ("crates/balance/src/hedge.rs", text)
        }
        let fields = "pub struct HedgeSettings {\n    /// When.\n    pub at: u32,\n}\n";
        let open = format!("/// What.\n#[derive(Clone)]\n#[non_exhaustive]\n{fields}");
        let closed =
            format!("#[non_exhaustive]\npub enum At {{}}\n\n/// What.\n#[derive(Clone)]\n{fields}");
        check(of(&open), &[]);
        check(of(&closed), &[6]);
        check(("crates/proxy/src/hedge.rs", &*closed), &[]);
        check(of("pub struct HedgeSettings {\n    at: u32,\n}\n"), &[]);
        check(of("pub struct Hedge {\n    pub at: u32,\n}\n"), &[]);
    }

    #[test]
    fn module_lists() {
        let lib = |text| ("sim/src/lib.rs", text);
        check(
            lib("//! The simulator.\n\n/// Time.\nmod time;\n\n/// Servers.\npub mod server;\n"),
            &[],
        );
        check(lib("/// Time.\n#[cfg(unix)]\nmod time;\n"), &[]);
        check(lib("mod time;\n"), &[1]);
        check(lib("/// Time.\nmod time;\npub mod server;\n"), &[3]);
        check(
            lib("/// Time.\nmod time;\n/// Servers.\npub mod server;\n"),
            &[4],
        );
        check(lib("/// Time,\n/// at length.\nmod time;\n"), &[3]);
        check(lib("#[cfg(test)]\nmod tests;\n"), &[]);
        check(("sim/src/world.rs", "mod time;\n"), &[]);
    }
}
