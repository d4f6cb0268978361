//! Owns the ratchet on long files and long functions.
//!
//! A limit, and rows for what is longer with a reason and the length that was allowed. Growing past that length
//! fails; so does a row that is no longer needed, or that leaves room to grow back.

use super::rules::Rules;
use super::source::{File, is_test, item_end};
use super::{Problem, TABLE};

/// Lines of slack that a row may leave, as a share of what it allows: one tenth.
const SLACK: usize = 10;

/// No production file and no function is longer than the limit, or than its row allows.
pub(super) fn check(rules: &Rules, files: &[File]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut files_seen = vec![None; rules.long_file.len()];
    let mut functions_seen = vec![None; rules.long_function.len()];
    for file in files
        .iter()
        .filter(|file| file.is_rust() && !is_test(&file.path))
    {
        let lines = production_lines(file);
        let row = rules.long_file.iter().position(|row| row.path == file.path);
        if let Some(index) = row {
            files_seen[index] = Some(lines);
        }
        let allowed = row.map_or(rules.size.file_lines, |index| rules.long_file[index].lines);
        if lines > allowed {
            let message = format!(
                "{lines} lines without tests, {allowed} allowed: give it a second file, or a [[long_file]] row with the reason"
            );
            found.push(Problem::new(&file.path, 0, message));
        }
        for function in functions(&file.production) {
            let row = rules
                .long_function
                .iter()
                .position(|row| row.path == file.path && row.function == function.name);
            if let Some(index) = row {
                functions_seen[index] = functions_seen[index].max(Some(function.lines));
            }
            let allowed = row.map_or(rules.size.function_lines, |index| {
                rules.long_function[index].lines
            });
            if function.lines > allowed {
                let message = format!(
                    "`{}` is {} lines long, {allowed} allowed: cut it where the reader would, or add a \
                     [[long_function]] row with the reason",
                    function.name, function.lines
                );
                found.push(Problem::new(&file.path, function.line, message));
            }
        }
    }
    for (row, seen) in rules.long_file.iter().zip(files_seen) {
        found.extend(slack(&row.path, row.lines, seen, rules.size.file_lines));
    }
    for (row, seen) in rules.long_function.iter().zip(functions_seen) {
        let what = format!("{} in {}", row.function, row.path);
        found.extend(slack(&what, row.lines, seen, rules.size.function_lines));
    }
    found
}

/// A row that allows more than is needed.
fn slack(what: &str, allowed: usize, seen: Option<usize>, limit: usize) -> Option<Problem> {
    let message = match seen {
        None => format!("{what} is no more: remove its row"),
        Some(lines) if lines <= limit => {
            format!("{what} has {lines} lines and needs no row: remove it")
        }
        Some(lines) if lines + allowed / SLACK < allowed => {
            format!("{what} has {lines} lines: lower its row to that")
        }
        Some(_) => return None,
    };
    Some(Problem::new(TABLE, 0, message))
}

/// Lines of the file that are not tests, comments included.
fn production_lines(file: &File) -> usize {
    let code = file
        .code
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .count();
    let production = file
        .production
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .count();
    file.text.lines().count() - (code - production)
}

struct Function {
    name: String,
    /// From 1.
    line: usize,
    /// From the line of `fn` to the closing brace.
    lines: usize,
}

fn functions(code: &str) -> Vec<Function> {
    let lines: Vec<&str> = code.lines().collect();
    let named = |(at, line): (usize, &&str)| {
        let name = function_name(line)?;
        let lines = item_end(&lines, at) + 1 - at;
        Some(Function {
            name: name.to_owned(),
            line: at + 1,
            lines,
        })
    };
    lines.iter().enumerate().filter_map(named).collect()
}

/// The name, when the line begins a function.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let modifiers = before.replace('(', " ( ").replace(')', " ) ");
    let known = |word: &str| {
        matches!(
            word,
            "pub"
                | "("
                | ")"
                | "crate"
                | "super"
                | "self"
                | "in"
                | "const"
                | "async"
                | "unsafe"
                | "extern"
        )
    };
    if !modifiers.split_whitespace().all(known) {
        return None;
    }
    let end = after.find(['(', '<'])?;
    (end > 0).then(|| &after[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "[size]\nfile_lines = 6\nfunction_lines = 3\n";

    fn check(rows: &str, (path, text): (&str, &str), expect: &[&str]) {
        let rules: Rules = toml::from_str(&format!("{LIMITS}{rows}")).unwrap();
        let found = super::check(&rules, &[File::new(path, text.to_owned())]);
        assert_eq!(found.len(), expect.len(), "{rows}\n{text}\n{found:?}");
        for (problem, part) in found.iter().zip(expect) {
            assert!(problem.message.contains(part), "{rows}\n{text}\n{found:?}");
        }
    }

    #[test]
    fn files() {
        let (six, seven) = ("x;\n".repeat(6), "// x\n".repeat(7));
        let own = "sim/src/a.rs";
        check("", (own, &six), &[]);
        check("", (own, &seven), &["7 lines without tests, 6 allowed"]);
        check("", ("sim/src/a/tests.rs", &seven), &[]);
        check("", ("docs/a.md", &seven), &[]);
        let tested = format!("{six}#[cfg(test)]\nmod tests {{\n    x();\n}}\n");
        check("", (own, &tested), &[]);
        let row = "[[long_file]]\npath = 'sim/src/a.rs'\nreason = 'r'\n";
        check(&format!("{row}lines = 7"), (own, &seven), &[]);
        check(
            &format!("{row}lines = 7"),
            (own, &"x;\n".repeat(8)),
            &["8 lines"],
        );
        check(&format!("{row}lines = 7"), (own, &six), &["needs no row"]);
        check(
            &format!("{row}lines = 20"),
            (own, &seven),
            &["lower its row"],
        );
        check(
            &format!("{row}lines = 7"),
            ("sim/src/b.rs", &six),
            &["is no more"],
        );
    }

    #[test]
    fn long_functions() {
        let own = "sim/src/a.rs";
        check("", (own, "fn f() {\n    x();\n}\n"), &[]);
        check(
            "",
            (own, "fn f() {\n    x();\n    y();\n}\n"),
            &["`f` is 4 lines"],
        );
        check(
            "",
            (own, "pub(crate) async fn f<T>(\n    a: T,\n) {\n}\n"),
            &["`f` is 4 lines"],
        );
        check(
            "",
            (
                own,
                "impl A {\n    const unsafe fn g() {\n        if x {\n        }\n    }\n}",
            ),
            &["`g` is 4 lines"],
        );
        check(
            "",
            (
                own,
                "trait A {\n    fn f(&self);\n    fn g(&self) {}\n}\nx!();\n",
            ),
            &[],
        );
        check(
            "",
            (
                own,
                "fn f() { let g = fn_name (1); }\nlet f: fn (u8);\nx;\ny;\nz;\n",
            ),
            &[],
        );
        check(
            "",
            (
                own,
                "#[cfg(test)]\nmod tests {\n    fn f() {\n        x();\n        y();\n    }\n}\n",
            ),
            &[],
        );
        let row = "[[long_function]]\npath = 'sim/src/a.rs'\nfunction = 'f'\nreason = 'r'\n";
        let four = "fn f() {\n    x();\n    y();\n}\n";
        check(&format!("{row}lines = 4"), (own, four), &[]);
        check(
            &format!("{row}lines = 4"),
            (own, "fn f() {\n    x();\n}\n"),
            &["needs no row"],
        );
        check(
            &format!("{row}lines = 4"),
            (own, "fn g() {\n    x();\n}\n"),
            &["is no more"],
        );
        check(&format!("{row}lines = 9"), (own, four), &["lower its row"]);
    }
}
