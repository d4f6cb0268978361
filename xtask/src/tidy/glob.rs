//! Owns path patterns: `*` is any part of one name, `**` any number of names.

/// Does the whole path match the pattern?
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    names_match(&pattern, &path)
}

/// Does any of the patterns match?
pub(super) fn any(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, path))
}

fn names_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            names_match(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(_, below)| names_match(pattern, below))
        }
        (Some((one, rest)), Some((name, below))) => {
            name_matches(one, name) && names_match(rest, below)
        }
        _ => false,
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|end| name_matches(after, end)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, expect) in [
            ("Cargo.toml", "Cargo.toml", true),
            ("Cargo.toml", "sim/Cargo.toml", false),
            ("*.md", "README.md", true),
            ("*.md", "docs/findings.md", false),
            ("**/*.md", "README.md", true),
            ("**/*.md", "docs/decisions/0001-a.md", true),
            ("**/clock.rs", "crates/evenkeel/src/clock.rs", true),
            ("**/clock.rs", "crates/evenkeel/src/overclock.rs", false),
            ("crates/*/src/**", "crates/balance/src/policy/hash.rs", true),
            ("crates/*/src/**", "crates/balance/tests/laws.rs", false),
            ("crates/balance/**", "crates/balanced/src/lib.rs", false),
        ] {
            assert_eq!(matches(pattern, path), expect, "{pattern} on {path}");
        }
    }
}
