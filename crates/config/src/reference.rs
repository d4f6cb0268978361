//! Owns the table of keys in words, for the manual. Knows no format: rows of plain texts, made from the table that the readers use.

use crate::keys::written;
use crate::keys::{Absent, Key, Keys, Shape, TOP};

/// The keys of one kind of map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where such a map stands: keys with dots between, `*` for a name or a place in a list. Empty: the top.
    pub place: &'static str,
    /// Exactly one of these stands there; none: no such rule.
    pub one_of: &'static [&'static str],
    /// In the order of the table.
    pub keys: Vec<Row>,
}

/// One key, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it takes; words of the configuration stand between backticks.
    pub takes: String,
    /// What holds when it is absent.
    pub absent: String,
    /// What it sets.
    pub about: &'static str,
}

/// Every map of a configuration, each once, a map before those within it. Cost: the whole table.
#[must_use]
pub fn reference() -> Vec<Section> {
    let mut sections = Vec::new();
    walk(&TOP, &mut sections);
    sections
}

fn walk(keys: &Keys, sections: &mut Vec<Section>) {
    if keys.keys.is_empty() || sections.iter().any(|known| known.place == keys.place) {
        return;
    }
    sections.push(Section {
        place: keys.place,
        one_of: keys.one_of,
        keys: keys.keys.iter().map(row).collect(),
    });
    for key in keys.keys {
        if let Some(below) = below(&key.shape) {
            walk(below, sections);
        }
    }
}

/// The map that stands at such a key, if one may.
fn below(shape: &Shape) -> Option<&'static Keys> {
    match shape {
        Shape::Map(keys)
        | Shape::Bare(keys)
        | Shape::Named(keys)
        | Shape::Short(_, keys)
        | Shape::TrueOr(keys)
        | Shape::Switch(keys)
        | Shape::Forward(keys)
        | Shape::WordOr(_, _, keys)
        | Shape::NameOr(_, _, keys) => Some(keys),
        Shape::List(item) | Shape::Free(item) => below(item),
        _ => None,
    }
}

fn row(key: &Key) -> Row {
    Row {
        name: key.name,
        takes: takes(&key.shape),
        absent: absent(&key.absent),
        about: key.about,
    }
}

fn takes(shape: &Shape) -> String {
    let words = |words: &[&str]| {
        let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        quoted.join(", ")
    };
    match shape {
        Shape::Text => "text".into(),
        Shape::Veiled => "text, never shown".into(),
        Shape::Duration => "duration".into(),
        Shape::Wait => "duration above 0".into(),
        Shape::Size => "size".into(),
        Shape::Share => "percentage".into(),
        Shape::Factor(all) => format!("{}, number 1.05 to 100", words(all)),
        Shape::Times(least, most) => format!("number {least} to {most}, like `1.4`"),
        Shape::Rate => "rate like `3/s`".into(),
        Shape::Allowance => "rate like `100/s`, `100/min`, `100/h`".into(),
        Shape::Boolean => "`true`, `false`".into(),
        Shape::Number(least, most) => number(*least, *most),
        Shape::NumberOr(word, least, most) => format!("`{word}`, {}", number(*least, *most)),
        Shape::Words(all) => words(all),
        Shape::List(item) => format!("{}; or a list of them", takes(item)),
        Shape::Map(keys) => map(keys),
        Shape::Bare(keys) if keys.keys.is_empty() => "nothing".into(),
        Shape::Bare(keys) => format!("nothing, {}", map(keys)),
        Shape::Named(keys) => format!("names, each {}", map(keys)),
        Shape::Free(item) => format!("free keys, each {}", takes(item)),
        Shape::Short(None, keys) => format!("text, {}", map(keys)),
        Shape::Short(Some(name), keys) => {
            let same = keys.key(name);
            let alone = same.map_or_else(|| "text".into(), |key| takes(&key.shape));
            format!("{alone} (its `{name}`), {}", map(keys))
        }
        Shape::WordOr(all, _, keys) | Shape::NameOr(all, _, keys) => {
            format!("{}, {}", words(all), map(keys))
        }
        Shape::ShortList(key, item, keys) => {
            format!("{} (its `{key}`), {}", takes(&Shape::List(item)), map(keys))
        }
        Shape::ShortFree(item) => format!("text, free keys, each {}", takes(item)),
        Shape::Again(_, keys) => map(keys),
        Shape::Switch(keys) => format!("`true`, `false`, {}, or both", map(keys)),
        Shape::TrueOr(keys) => format!("`true`, {}", map(keys)),
        Shape::Forward(_) => "a service's name, a map of services and weights, or a map".into(),
    }
}

fn map(keys: &Keys) -> String {
    format!("a map: `{}`", keys.place)
}

fn number(least: u64, most: u64) -> String {
    match most {
        u64::MAX => format!("number from {least}"),
        _ => format!("number {least} to {most}"),
    }
}

fn absent(absent: &Absent) -> String {
    match absent {
        Absent::Never => "needed".into(),
        Absent::Nothing => "-".into(),
        Absent::No(means) => (*means).into(),
        Absent::Is(value) => format!("`{}`", value()),
        Absent::These(values) => format!("`[{}]`", values.join(", ")),
        Absent::Defaults => "all its defaults".into(),
        Absent::Same(key) => format!("as `{key}`"),
        Absent::AtMost(key, most) => {
            format!("as `{key}`, at most `{}`", written::duration(most()))
        }
        Absent::Numbered(begin) => format!("`{begin}` and its place"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_once_and_every_key_with_words() {
        let sections = reference();
        for (at, section) in sections.iter().enumerate() {
            let again = sections.iter().skip(at + 1);
            assert_eq!(
                again.filter(|other| other.place == section.place).count(),
                0
            );
            for row in &section.keys {
                for words in [&*row.takes, &row.absent, row.about] {
                    assert!(!words.is_empty() && !words.contains('|'), "{row:?}");
                }
            }
        }
        let section = |place| sections.iter().find(|section| section.place == place);
        let health = section("services.*.health").expect("checks have keys");
        assert_eq!(health.one_of, ["http", "grpc", "tcp"]);
        let row = |name| {
            health
                .keys
                .iter()
                .find(|row| row.name == name)
                .expect("a row")
        };
        assert_eq!(row("interval").absent, "`5s`");
        assert_eq!(row("interval_unsure").absent, "as `interval`, at most `1s`");
        assert_eq!(row("rise").takes, "number 1 to 1000");
    }
}
