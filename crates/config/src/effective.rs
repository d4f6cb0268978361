//! Owns the effective configuration: every value that holds, and where it comes from. Shown to people, compared, never run by.
//!
//! Walks the texts and the table of keys side by side, so that a default is a row of the table. What the environment holds is
//! named, never shown; fields of checks may be credentials and are veiled.

use std::collections::BTreeMap;

use evenkeel_balance::policy::named;
use evenkeel_balance::settings::{HashMethod, LoadBound, PolicyChoice};

use crate::keys::{self, Absent, Key, Keys, Shape, TOP};
use crate::limits;
use crate::lower::{Loaded, is_split, load_balancer};
use crate::problem::{At, Source};
use crate::read::{Piece, Reading, Scalar, pieces, units};
use crate::tree::{self, Node, Value};

/// What operators want beside it.
mod operator;

/// As text and in rows.
mod shown;

pub use operator::Of;
pub use shown::{Difference, Row, differences, parts};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It stands nowhere.
    Default,
    /// It stands in a text, in parts perhaps as the value of these variables of the environment.
    Text(At, Vec<String>),
    /// An operator wants it of what runs; what keeps that.
    Operator(String),
}

/// What a value is, beside a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text, a duration, a size, a share.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// There is none; the text says what that means.
    No,
    /// A text that no key of a configuration says.
    Remark,
    /// One that nobody is shown.
    Veiled,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// As it would be written, with `${NAME}` where the environment decides.
    pub shown: String,
    /// What it is.
    pub kind: Kind,
    /// Where it comes from.
    pub origin: Origin,
    /// The value itself in one spelling, only to be compared.
    same: String,
    /// Whether variables stand in it.
    variable: bool,
}

/// A value, or several.
#[derive(Clone, Debug)]
pub enum Entry {
    /// One.
    Leaf(Leaf),
    /// In order.
    List(Vec<Entry>),
    /// By key, in the order of the table.
    Map(Vec<(String, Entry)>),
}

/// The effective configuration of texts that were read with this environment. None: they have no plan, and nothing holds.
#[must_use]
pub fn effective(
    loaded: &Loaded,
    sources: &[Source],
    environment: &BTreeMap<String, String>,
) -> Option<Entry> {
    loaded.plan.as_ref()?;
    let mut unread = Vec::new();
    let trees: Vec<Node> = sources
        .iter()
        .enumerate()
        .filter_map(|(file, source)| tree::parse(file, &source.text, &mut unread))
        .collect();
    Some(entry_of(&trees, environment))
}

/// Of trees that have a plan.
pub(crate) fn entry_of(trees: &[Node], environment: &BTreeMap<String, String>) -> Entry {
    let reading = Reading::new(Vec::new(), environment.clone());
    let trees = load_balancer::expanded(trees, &reading);
    Walk { environment }.top(&trees)
}

impl Entry {
    /// What stands below these keys.
    fn at(&mut self, keys: &[&str]) -> Option<&mut Self> {
        keys.iter().try_fold(self, |entry, key| match entry {
            Self::Map(all) => {
                let found = all.iter_mut().find(|(name, _)| name == key);
                found.map(|(_, entry)| entry)
            }
            _ => None,
        })
    }
}

struct Walk<'a> {
    environment: &'a BTreeMap<String, String>,
}

impl Walk<'_> {
    fn top(&self, trees: &[Node]) -> Entry {
        let mut all = Vec::new();
        for key in TOP.keys {
            let nodes: Vec<&Node> = trees
                .iter()
                .filter_map(|tree| {
                    entries(tree)
                        .iter()
                        .find(|(entry, _)| entry.text == key.name)
                })
                .map(|(_, node)| node)
                .collect();
            let entry = match &key.shape {
                Shape::Named(keys) => {
                    let parts = nodes.iter().flat_map(|node| entries(node));
                    let named = |(name, node): &(tree::Key, Node)| {
                        (name.text.clone(), self.map(keys, entries(node), 0))
                    };
                    Some(Entry::Map(parts.map(named).collect()))
                }
                Shape::List(Shape::Map(keys)) => Some(self.rules(keys, &nodes)),
                shape => match nodes.first() {
                    Some(node) => Some(self.of(shape, node, 0)),
                    None => self.absent(key, &[], &[], 0),
                },
            };
            all.extend(entry.map(|entry| (key.name.to_owned(), entry)));
        }
        self.only_service(&mut all);
        Self::one_per_try(&mut all);
        Entry::Map(all)
    }

    /// In the order in which they are tried.
    fn rules(&self, keys: &'static Keys, nodes: &[&Node]) -> Entry {
        let mut rules: Vec<(u32, Entry)> = Vec::new();
        for node in nodes {
            for (at, item) in items(node).iter().enumerate() {
                let priority = entries(item)
                    .iter()
                    .find(|(key, _)| key.text == "priority")
                    .and_then(|(_, node)| self.resolved(node).1.parse().ok())
                    .unwrap_or(limits::PRIORITY);
                rules.push((priority, self.map(keys, entries(item), at + 1)));
            }
        }
        rules.sort_by_key(|(priority, _)| *priority);
        Entry::List(rules.into_iter().map(|(_, rule)| rule).collect())
    }

    /// The time of one attempt may stand at either of two places, and holds at both.
    fn one_per_try(all: &mut [(String, Entry)]) {
        let services = all.iter_mut().find(|(key, _)| key == "services");
        let Some((_, Entry::Map(services))) = services else {
            return;
        };
        for (_, service) in services {
            let told = service.at(&["retry", "per_try"]).cloned();
            if let (Some(Entry::Leaf(told)), Some(held)) =
                (told, service.at(&["timeouts", "per_try"]))
                && told.kind != Kind::No
            {
                *held = Entry::Leaf(told);
            }
        }
    }

    /// Without a rule, everything goes to the only service.
    fn only_service(&self, all: &mut [(String, Entry)]) {
        let service = all.iter().find_map(|(key, entry)| match entry {
            Entry::Map(services) if key == "services" => services.first(),
            _ => None,
        });
        let Some(service) = service.map(|(name, _)| name.clone()) else {
            return;
        };
        for (key, entry) in all {
            if let Entry::List(rules) = entry
                && key == "rules"
                && rules.is_empty()
            {
                let default = |key: &str, text: &str| {
                    (key.to_owned(), Entry::Leaf(Leaf::default(text, Kind::Text)))
                };
                let mut rule = vec![default("name", limits::RULE_NAME)];
                if let Entry::Map(rest) = self.map(&keys::RULE, &[], 0) {
                    rule.extend(rest.into_iter().filter(|(key, _)| key != "name"));
                }
                rule.push(default("forward", &service));
                rules.push(Entry::Map(rule));
            }
        }
    }

    fn map(&self, keys: &'static Keys, written: &[(tree::Key, Node)], number: usize) -> Entry {
        let mut all: Vec<(String, Entry)> = Vec::new();
        for key in keys.keys {
            let found = written.iter().find(|(entry, _)| entry.text == key.name);
            let entry = match found {
                Some((_, node)) => Some(self.of(&key.shape, node, number)),
                None => self.absent(key, &all, written, number),
            };
            all.extend(entry.map(|entry| (key.name.to_owned(), entry)));
        }
        Entry::Map(all)
    }

    /// What holds where a key is absent.
    fn absent(
        &self,
        key: &Key,
        before: &[(String, Entry)],
        written: &[(tree::Key, Node)],
        number: usize,
    ) -> Option<Entry> {
        let kind = kind(&key.shape);
        let leaf = |text: &str| {
            let leaf = Entry::Leaf(Leaf::default(text, kind));
            Some(match key.shape {
                Shape::List(_) => Entry::List(vec![leaf]),
                _ => leaf,
            })
        };
        let other = |name: &str| {
            let found = before.iter().find(|(key, _)| key == name);
            found.map(|(_, entry)| entry.clone())
        };
        match &key.absent {
            Absent::Never | Absent::Nothing => None,
            Absent::No(means) => Some(Entry::Leaf(Leaf::default(means, Kind::No))),
            Absent::Is(text) => leaf(&text()),
            Absent::These(texts) => {
                let leaf = |text: &&str| Entry::Leaf(Leaf::default(text, kind));
                Some(Entry::List(texts.iter().map(leaf).collect()))
            }
            Absent::Numbered(text) => leaf(&format!("{text}{number}")),
            Absent::Defaults => match key.shape {
                Shape::Map(keys) | Shape::WordOr(_, _, keys) => Some(self.map(keys, &[], 0)),
                _ => None,
            },
            Absent::Same(name) => other(name).map(by_default),
            Absent::AtMost(name, most) => {
                let given = written.iter().find(|(key, _)| key.text == *name);
                let given = given.and_then(|(_, node)| {
                    units::duration(&Scalar::plain(&self.resolved(node).1)).ok()
                });
                match given {
                    Some(given) if given <= most() => other(name).map(by_default),
                    _ => leaf(&keys::written::duration(most())),
                }
            }
        }
    }

    fn of(&self, shape: &'static Shape, node: &Node, number: usize) -> Entry {
        let is_map = matches!(node.value, Value::Map(_));
        match shape {
            Shape::List(item) => {
                let items = items(node).iter();
                Entry::List(items.map(|node| self.of(item, node, number)).collect())
            }
            Shape::Map(keys) | Shape::Bare(keys) | Shape::Named(keys) | Shape::Again(_, keys) => {
                self.map(keys, entries(node), number)
            }
            Shape::ShortFree(_) if !is_map => Entry::Leaf(self.leaf(shape, node)),
            Shape::Free(item) | Shape::ShortFree(item) => {
                let all = entries(node).iter();
                let entry = |(key, node): &(tree::Key, Node)| {
                    (key.text.clone(), self.of(item, node, number))
                };
                Entry::Map(all.map(entry).collect())
            }
            Shape::Short(_, keys)
            | Shape::ShortList(_, _, keys)
            | Shape::WordOr(_, _, keys)
            | Shape::NameOr(_, _, keys)
                if is_map =>
            {
                self.map(keys, entries(node), number)
            }
            Shape::Short(Some(key), keys) | Shape::ShortList(key, _, keys) => {
                let key = tree::Key {
                    at: node.at,
                    text: (*key).to_owned(),
                };
                self.map(keys, &[(key, node.clone())], number)
            }
            Shape::WordOr(_, empty, keys) if self.resolved(node).1 == *empty => {
                self.map(keys, &[], number)
            }
            Shape::NameOr(_, name, keys) if same(shape, &self.resolved(node).1) == *name => {
                let key = tree::Key {
                    at: node.at,
                    text: (*name).to_owned(),
                };
                let empty = Node {
                    at: node.at,
                    value: Value::Map(Vec::new()),
                };
                self.map(keys, &[(key, empty)], number)
            }
            Shape::Switch(keys) if is_map => self.map(keys, entries(node), number),
            Shape::TrueOr(keys) => self.map(keys, entries(node), number),
            Shape::Forward(keys) if is_split(entries(node)) => {
                self.map(keys, entries(node), number)
            }
            Shape::Forward(keys) => match (entries(node), keys.keys) {
                ([], _) | (_, []) => Entry::Leaf(self.leaf(shape, node)),
                // One that gets all is the same as its name.
                ([(key, _)], _) => {
                    let origin = Origin::Text(key.at, Vec::new());
                    Entry::Leaf(Leaf {
                        origin,
                        ..Leaf::default(&key.text, Kind::Text)
                    })
                }
                (_, [to, ..]) => self.of(&to.shape, node, number),
            },
            _ => Entry::Leaf(self.leaf(shape, node)),
        }
    }

    fn leaf(&self, shape: &Shape, node: &Node) -> Leaf {
        let (shown, value, names) = self.resolved(node);
        Leaf {
            shown,
            kind: kind(shape),
            same: same(shape, &value),
            variable: !names.is_empty(),
            origin: Origin::Text(node.at, names),
        }
    }

    /// A scalar as it may be shown, as it is, and the variables that it takes.
    fn resolved(&self, node: &Node) -> (String, String, Vec<String>) {
        let Value::Scalar { text, plain } = &node.value else {
            return <_>::default();
        };
        let all = plain.then(|| pieces(text)).flatten();
        let all = all.unwrap_or_else(|| vec![Piece::Text(text)]);
        let (mut shown, mut value, mut names) = (String::new(), String::new(), Vec::new());
        for piece in all {
            match piece {
                Piece::Text(text) => {
                    shown.push_str(text);
                    value.push_str(text);
                }
                Piece::Variable(name, default) => match self.environment.get(name) {
                    Some(set) => {
                        shown.push_str("${");
                        shown.push_str(name);
                        shown.push('}');
                        value.push_str(set);
                        names.push(name.to_owned());
                    }
                    None => {
                        shown.push_str(default.unwrap_or_default());
                        value.push_str(default.unwrap_or_default());
                    }
                },
            }
        }
        (shown, value, names)
    }
}

impl Leaf {
    fn default(text: &str, kind: Kind) -> Self {
        Self {
            shown: text.to_owned(),
            kind,
            origin: Origin::Default,
            same: text.to_owned(),
            variable: false,
        }
    }
}

fn entries(node: &Node) -> &[(tree::Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

fn kind(shape: &Shape) -> Kind {
    match shape {
        Shape::Number(..) => Kind::Number,
        Shape::Boolean => Kind::Boolean,
        Shape::Veiled => Kind::Veiled,
        _ => Kind::Text,
    }
}

/// The same value, by default.
fn by_default(entry: Entry) -> Entry {
    match entry {
        Entry::Leaf(leaf) => Entry::Leaf(Leaf {
            origin: Origin::Default,
            ..leaf
        }),
        other => other,
    }
}

/// One spelling of a value, so that `60s` is `1m`.
fn same(shape: &Shape, value: &str) -> String {
    let written = Scalar::plain(value);
    let spelled = match shape {
        Shape::Duration | Shape::Wait => {
            units::duration(&written).ok().map(keys::written::duration)
        }
        Shape::Size => units::size(&written).ok().map(keys::written::size),
        Shape::Share => units::share(&written).ok().map(keys::written::share),
        Shape::Factor(_) => match value {
            "on" => Some(LoadBound::DEFAULT.factor().to_string()),
            _ => value.parse().ok().map(|factor: f64| factor.to_string()),
        },
        Shape::Times(..) => value.parse().ok().map(|times: f64| times.to_string()),
        // One spelling, and where settings go with it, that of their key.
        Shape::NameOr(_, name, _) => {
            let plain = PolicyChoice::Hash(HashMethod::default());
            named::built_in(value).map(|policy| match policy.is_same(&plain) {
                true => (*name).to_owned(),
                false => policy.name().to_owned(),
            })
        }
        Shape::Rate => units::rate(&written).ok().map(keys::written::rate),
        Shape::Allowance => {
            let read = units::allowance(&written).ok();
            read.map(|(count, per)| keys::written::allowance(count.get(), per))
        }
        Shape::Number(..) => value.parse::<u64>().ok().map(|number| number.to_string()),
        _ => None,
    };
    spelled.unwrap_or_else(|| value.to_owned())
}
