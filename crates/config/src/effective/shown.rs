//! Owns how an effective configuration is shown: as YAML with origins behind it, in rows, and beside another one.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Entry, Kind, Leaf, Origin};
use crate::problem::{Source, plainly, steers};

/// What stands in the place of a value that nobody is shown.
const VEIL: &str = "(veiled)";

/// Where origins begin, in characters, where lines are no longer.
const ORIGINS_AT: usize = 48;

/// One value and its path.
#[derive(Clone, Debug)]
pub struct Row<'e> {
    /// Like `services.api.backends[10.0.0.1:9000].weight`: maps by key, lists of named things by name, others from 0.
    pub path: String,
    /// What stands there.
    pub leaf: &'e Leaf,
}

/// What stands at one path in two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The part of the configuration that it is in: a setting, a listener, a rule, a service or a backend, as keys and names.
    pub part: Vec<String>,
    /// The value's path, as it may be shown.
    pub path: String,
    /// None: there was no such path.
    pub from: Option<String>,
    /// None: there is no such path.
    pub to: Option<String>,
}

impl Leaf {
    /// As it may be shown.
    #[must_use]
    pub fn text(&self) -> &str {
        match self.kind {
            Kind::Veiled => VEIL,
            _ => &self.shown,
        }
    }
}

impl Origin {
    /// Where it comes from, in words.
    #[must_use]
    pub fn words(&self, sources: &[Source]) -> String {
        let (at, names) = match self {
            Self::Default => return "default".into(),
            Self::Operator(place) => return format!("operator, {}", plainly(place)),
            Self::Text(at, names) => (at, names),
        };
        let name = sources.get(at.file).map_or("?", |source| &source.name);
        let mut out = format!("{}:{}:{}", plainly(name), at.line, at.column);
        for name in names {
            let _ = write!(out, ", environment {name}");
        }
        out
    }
}

impl Entry {
    /// All values, in order.
    #[must_use]
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        collect(self, String::new(), &mut rows);
        rows
    }

    /// YAML that means the same, each value with its origin behind it. What is veiled has to be written in again.
    #[must_use]
    pub fn text(&self, sources: &[Source]) -> String {
        let mut lines = Vec::new();
        yaml(self, 0, "", sources, &mut lines);
        let mut out = String::new();
        for (line, origin) in lines {
            let line = match origin {
                Some(origin) => format!("{line:ORIGINS_AT$} # {origin}"),
                None => line,
            };
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

fn collect<'e>(entry: &'e Entry, path: String, rows: &mut Vec<Row<'e>>) {
    match entry {
        Entry::Leaf(leaf) => rows.push(Row { path, leaf }),
        Entry::List(items) => {
            for (at, item) in items.iter().enumerate() {
                let name = name(item, |leaf| leaf.text().to_owned());
                let name = name.unwrap_or_else(|| at.to_string());
                collect(item, format!("{path}[{name}]"), rows);
            }
        }
        Entry::Map(all) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (key, entry) in all {
                collect(entry, format!("{path}{dot}{key}"), rows);
            }
        }
    }
}

/// What an item of a list is known by.
fn name(item: &Entry, text: impl Fn(&Leaf) -> String) -> Option<String> {
    let Entry::Map(all) = item else { return None };
    all.iter().find_map(|(key, entry)| match entry {
        Entry::Leaf(leaf) if matches!(&**key, "name" | "id" | "dns" | "srv") => Some(text(leaf)),
        _ => None,
    })
}

type Lines = Vec<(String, Option<String>)>;

/// Writes an entry below `lead`: `key:` or `-`, or nothing at the top.
fn yaml(entry: &Entry, indent: usize, lead: &str, sources: &[Source], lines: &mut Lines) {
    let spaces = " ".repeat(indent);
    let inner = if lead.is_empty() { indent } else { indent + 2 };
    match entry {
        Entry::Leaf(leaf) => {
            let origin = Some(leaf.origin.words(sources));
            let line = match leaf.kind {
                Kind::No => format!("{spaces}# {lead} {}", leaf.shown),
                Kind::Remark => format!("{spaces}# {lead} {}", plainly(&leaf.shown)),
                _ => format!("{spaces}{lead} {}", scalar(leaf)),
            };
            lines.push((line, origin));
        }
        Entry::List(items) if items.is_empty() => lines.push((format!("{spaces}{lead} []"), None)),
        Entry::List(items) => {
            lines.push((format!("{spaces}{lead}"), None));
            for item in items {
                yaml(item, inner, "-", sources, lines);
            }
        }
        Entry::Map(all) => {
            let before = lines.len();
            for (key, entry) in all {
                yaml(entry, inner, &format!("{}:", plain(key)), sources, lines);
            }
            let empty = lines[before..]
                .iter()
                .all(|(line, _)| line.trim_start().starts_with('#'));
            if lead == "-" && !empty {
                // The first key stands behind the dash.
                lines[before].0.replace_range(indent..indent + 1, "-");
            } else if !lead.is_empty() {
                let braces = if empty { " {}" } else { "" };
                lines.insert(before, (format!("{spaces}{lead}{braces}"), None));
            }
        }
    }
}

fn scalar(leaf: &Leaf) -> String {
    match leaf.variable && leaf.kind != Kind::Veiled {
        // In quotes it would be no variable.
        true => plainly(&leaf.shown).into_owned(),
        false => plain(leaf.text()),
    }
}

/// A text without quotes where it is sure to be read as it is, else in double quotes.
fn plain(text: &str) -> String {
    let sure = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-%:".contains(&byte);
    let first = text.bytes().next();
    if first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'/')
        && text.bytes().all(sure)
        && !text.ends_with(':')
        && text != "null"
    {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            char if steers(char) || char == '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// What differs, in the order of paths. `60s` is `1m`; a list of values is one value.
#[must_use]
pub fn differences(before: &Entry, after: &Entry) -> Vec<Difference> {
    let (before, after) = (compared(before), compared(after));
    let mut all = Vec::new();
    for (path, row) in &before {
        let other = after.get(path);
        if other.is_none_or(|other| other.same != row.same) {
            all.push(Difference {
                part: row.part.clone(),
                path: row.path.clone(),
                from: Some(row.shown.clone()),
                to: other.map(|other| other.shown.clone()),
            });
        }
    }
    for (_, row) in after.iter().filter(|(path, _)| !before.contains_key(*path)) {
        all.push(Difference {
            part: row.part.clone(),
            path: row.path.clone(),
            from: None,
            to: Some(row.shown.clone()),
        });
    }
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all
}

/// The parts of a configuration, by keys and names: as they are, and as they may be shown.
#[must_use]
pub fn parts(entry: &Entry) -> BTreeMap<Vec<String>, Vec<String>> {
    let all = compared(entry).into_values();
    all.map(|row| (row.part, row.part_shown)).collect()
}

/// A value to be compared.
struct Compared {
    part: Vec<String>,
    part_shown: Vec<String>,
    path: String,
    shown: String,
    same: String,
}

/// Where a walk stands.
#[derive(Clone, Default)]
struct Place {
    /// The part that it is in.
    part: Vec<String>,
    /// The same as it may be shown.
    part_shown: Vec<String>,
    /// Names and keys by their values, which no two places have in common.
    path: Vec<String>,
    /// The same as they may be shown, in parts and in one.
    names: Vec<String>,
    shown: String,
}

impl Place {
    /// Below a key or a name, which is shown so, behind and before these.
    fn below(&self, key: &str, (before, shown, behind): (&str, &str, &str), is_part: bool) -> Self {
        let (mut path, mut names) = (self.path.clone(), self.names.clone());
        path.push(key.to_owned());
        names.push(shown.to_owned());
        let (part, part_shown) = match is_part {
            true => (&path, &names),
            false => (&self.part, &self.part_shown),
        };
        Self {
            part: part.clone(),
            part_shown: part_shown.clone(),
            shown: format!("{}{before}{shown}{behind}", self.shown),
            path,
            names,
        }
    }
}

/// By the path of values.
fn compared(entry: &Entry) -> BTreeMap<Vec<String>, Compared> {
    let mut all = BTreeMap::new();
    compare(entry, &Place::default(), &mut all);
    all
}

fn compare(entry: &Entry, place: &Place, all: &mut BTreeMap<Vec<String>, Compared>) {
    match entry {
        Entry::Map(entries) => {
            let dot = if place.path.is_empty() { "" } else { "." };
            // A setting, or a listener or service.
            let begins = match &place.path[..] {
                [] => true,
                [only] => matches!(&**only, "listeners" | "services"),
                _ => false,
            };
            for (key, entry) in entries {
                let below = place.below(key, (dot, key, ""), begins);
                compare(entry, &below, all);
            }
        }
        Entry::List(items) if items.iter().all(|item| matches!(item, Entry::Map(_))) => {
            for (at, item) in items.iter().enumerate() {
                let named = name(item, |leaf| leaf.same.clone());
                let shown = name(item, |leaf| leaf.text().to_owned());
                let shown = shown.unwrap_or_else(|| at.to_string());
                let begins = named.is_some();
                let key = named.unwrap_or_else(|| at.to_string());
                compare(item, &place.below(&key, ("[", &shown, "]"), begins), all);
            }
        }
        Entry::List(_) | Entry::Leaf(_) => {
            all.insert(
                place.path.clone(),
                Compared {
                    part: place.part.clone(),
                    part_shown: place.part_shown.clone(),
                    path: place.shown.clone(),
                    shown: joined(entry, &|leaf| leaf.text().to_owned()),
                    same: joined(entry, &|leaf| leaf.same.clone()),
                },
            );
        }
    }
}

/// An entry on one line.
fn joined(entry: &Entry, text: &impl Fn(&Leaf) -> String) -> String {
    match entry {
        Entry::Leaf(leaf) => text(leaf),
        Entry::List(items) => {
            let items: Vec<_> = items.iter().map(|item| joined(item, text)).collect();
            format!("[{}]", items.join(", "))
        }
        Entry::Map(all) => {
            let one = |(key, entry): &(String, Entry)| format!("{key}: {}", joined(entry, text));
            format!(
                "{{ {} }}",
                all.iter().map(one).collect::<Vec<_>>().join(", ")
            )
        }
    }
}
