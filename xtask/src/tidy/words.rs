//! Owns the word table: which word may stand where.

use std::collections::BTreeSet;

use super::rules::{Rules, Scope, WordRow};
use super::source::{File, is_name, is_test, used_paths};
use super::{Problem, TABLE, glob};

/// Every word stands only where its row, or an exemption with a reason, lets it.
pub(super) fn check(rules: &Rules, files: &[File]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut needed = BTreeSet::new();
    for file in files.iter().filter(|file| file.path != TABLE) {
        for row in rules.word.iter().filter(|row| looks_at(row, file)) {
            for word in &row.words {
                let lines = lines_with(word, row, file);
                let exempt = rules
                    .exemption
                    .iter()
                    .position(|other| other.word == *word && other.path == file.path);
                match exempt {
                    Some(index) if !lines.is_empty() => {
                        needed.insert(index);
                    }
                    _ => found.extend(lines.iter().map(|&line| {
                        Problem::new(&file.path, line, format!("`{word}`: {}", row.message))
                    })),
                }
            }
        }
    }
    for (index, row) in rules.exemption.iter().enumerate() {
        if !needed.contains(&index) {
            let message = format!(
                "`{}` does not stand in {}: remove the exemption",
                row.word, row.path
            );
            found.push(Problem::new(TABLE, 0, message));
        }
    }
    found
}

fn looks_at(row: &WordRow, file: &File) -> bool {
    (row.within.is_empty() || glob::any(&row.within, &file.path))
        && !glob::any(&row.may_stand, &file.path)
        && (row.tests || !is_test(&file.path))
}

/// The lines, from 1, on which the word stands.
fn lines_with(word: &str, row: &WordRow, file: &File) -> BTreeSet<usize> {
    let text = match (row.scope, row.tests) {
        (Scope::Text, _) => &file.text,
        (Scope::Code, true) => &file.code,
        (Scope::Code, false) => &file.production,
    };
    let mut lines: BTreeSet<usize> = (text.lines().enumerate())
        .filter(|(_, line)| {
            if row.part {
                has_part(line, word)
            } else {
                has_whole(line, word)
            }
        })
        .map(|(at, _)| at + 1)
        .collect();
    if row.scope == Scope::Code && word.contains("::") {
        let used = used_paths(text);
        lines.extend(
            used.iter()
                .filter(|(_, path)| has_whole(path, word))
                .map(|(line, _)| *line),
        );
    }
    lines
}

/// Does the word stand on its own, no part of a longer name or path?
fn has_whole(line: &str, word: &str) -> bool {
    let edge = |c: char| is_name(c) || (word.starts_with('/') && matches!(c, '.' | '-'));
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let opens = word.starts_with(|c| is_name(c) || c == '/');
        let closes = word.ends_with(is_name);
        !(opens && before.is_some_and(edge) || closes && after.is_some_and(is_name))
    })
}

/// Does the word stand on its own or as one word of a longer name, in any case and number?
fn has_part(line: &str, word: &str) -> bool {
    let folded = line.to_ascii_lowercase();
    folded
        .match_indices(&word.to_ascii_lowercase())
        .any(|(at, found)| {
            let end = at + found.len();
            let capital = line[at..].starts_with(char::is_uppercase);
            let before = line[..at].chars().next_back();
            let after = line[end..]
                .strip_prefix(['s', 'S'])
                .unwrap_or(&line[end..])
                .chars()
                .next();
            let shouted = line[at..end].chars().all(char::is_uppercase);
            let opens = before.is_none_or(|c| !c.is_alphabetic() || (capital && c.is_lowercase()));
            let closes = after.is_none_or(|c| !c.is_alphabetic() || (!shouted && c.is_uppercase()));
            opens && closes
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row over one file: on which lines it finds something.
    fn check(row: &str, (path, text): (&str, &str), expect: &[usize]) {
        let rules: Rules = toml::from_str(&format!("[[word]]\nmessage = 'm'\n{row}")).unwrap();
        let found = super::check(&rules, &[File::new(path, text.to_owned())]);
        let lines: Vec<usize> = found.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, expect, "{row}\n{text}");
    }

    #[test]
    fn boundaries() {
        let net = "words = ['std::net']\nwithin = ['crates/balance/**']";
        let own = "crates/balance/src/pick.rs";
        check(net, (own, "use std::net::TcpStream;"), &[1]);
        check(
            net,
            (
                own,
                "use std::fmt;\nuse std::{\n    fmt,\n    net::IpAddr,\n};",
            ),
            &[2],
        );
        check(net, (own, "fn f(a: std::net::IpAddr) {}"), &[1]);
        check(net, (own, "// never std::net\nlet a = \"std::net\";"), &[]);
        check(net, (own, "use std::network;"), &[]);
        check(
            net,
            ("crates/evenkeel/src/probe.rs", "use std::net::TcpStream;"),
            &[],
        );
        check(
            net,
            (
                own,
                "#[cfg(test)]\nmod tests {\n    use std::net::IpAddr;\n}",
            ),
            &[],
        );
        check(
            net,
            ("crates/balance/tests/laws.rs", "use std::net::IpAddr;"),
            &[],
        );
        check(
            "words = ['async']",
            (own, "pub async fn f() {}\nlet async_like = 1;"),
            &[1],
        );
        check(
            "words = ['tokio']",
            (
                own,
                "use tokio::net;\ntokio::spawn(x);\nlet tokio_like = 1;",
            ),
            &[1, 2],
        );
        check("words = ['todo!']", (own, "todo!();\nx(todo);"), &[1]);
    }

    #[test]
    fn where_it_may_stand() {
        let now = "words = ['Instant::now']\nmay_stand = ['**/clock.rs']";
        check(now, ("crates/evenkeel/src/clock.rs", "Instant::now()"), &[]);
        check(
            now,
            (
                "crates/evenkeel/src/probe.rs",
                "a\nstd::time::Instant::now()",
            ),
            &[2],
        );
        check(
            "words = ['x']\nscope = 'text'",
            ("sim/tests/a.rs", "x();"),
            &[],
        );
        check(
            "words = ['x']\ntests = true",
            ("sim/tests/a.rs", "x();"),
            &[1],
        );
        check(
            "words = ['x']\ntests = true",
            ("sim/src/a.rs", "#[cfg(test)]\nmod tests {\n    x();\n}"),
            &[3],
        );
    }

    #[test]
    fn words_of_the_domain() {
        let banned = "words = ['lease']\npart = true\nscope = 'text'";
        for (line, expect) in [
            ("a lease ends", &[1][..]),
            ("Leases", &[1]),
            ("let lease_id = 1;", &[1]),
            ("struct TcpLease;", &[1]),
            ("struct LeaseTable;", &[1]),
            ("const MAX_LEASES: u8 = 1;", &[1]),
            ("a release, please", &[]),
            ("leasehold", &[]),
        ] {
            check(banned, ("docs/a.md", line), expect);
        }
    }

    #[test]
    fn paths_of_one_machine() {
        let row = "words = ['/srv/', '/mine']\nscope = 'text'\ntests = true";
        check(row, ("README.md", "cd /srv/evenkeel"), &[1]);
        check(row, ("README.md", "path=\"/srv/me\""), &[1]);
        check(row, ("README.md", "a\n/mine/evenkeel"), &[2]);
        check(row, ("README.md", "see docs/srv/index"), &[]);
        check(row, ("README.md", "see ./srv/index"), &[]);
        check(row, ("README.md", "/mines"), &[]);
    }

    #[test]
    fn exemptions_are_needed_or_removed() {
        let row = "words = ['x']\n[[exemption]]\nword = 'x'\npath = 'src/a.rs'\nreason = 'r'";
        check(row, ("src/a.rs", "x();"), &[]);
        check(row, ("src/a.rs", "y();"), &[0]);
        check(row, ("src/b.rs", "x();"), &[1, 0]);
    }
}
