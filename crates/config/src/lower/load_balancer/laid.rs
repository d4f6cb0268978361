//! Owns what services do that say nothing else: keys with their values, laid below what stands in them.

use crate::problem::At;
use crate::tree::{Key, Node, Value};

/// Keys, one in another.
type Path = &'static [&'static str];

/// All that was said.
#[derive(Default)]
pub(super) struct Laid(Vec<One>);

struct One {
    path: Path,
    node: Node,
    /// Where one of these stands, it does not hold.
    unless: &'static [Path],
}

impl Laid {
    /// A value, as native keys write it.
    pub(super) fn say(&mut self, path: Path, at: At, text: &str) {
        self.put(path, Node::text(at, text), &[]);
    }

    /// The same where a service has none of these either.
    pub(super) fn say_unless(&mut self, path: Path, at: At, text: &str, unless: &'static [Path]) {
        self.put(path, Node::text(at, text), unless);
    }

    pub(super) fn put(&mut self, path: Path, node: Node, unless: &'static [Path]) {
        self.0.push(One { path, node, unless });
    }

    /// Lays it below what a service says itself. What belongs together is decided by what it says alone.
    pub(super) fn below(&self, service: &mut Vec<(Key, Node)>) {
        let holds = |one: &&One| !one.unless.iter().any(|path| stands(service, path));
        let all: Vec<&One> = self.0.iter().filter(holds).collect();
        for one in all {
            lay(service, one.path, &one.node);
        }
    }
}

fn find<'e>(entries: &'e [(Key, Node)], name: &str) -> Option<&'e Node> {
    let found = entries.iter().find(|(key, _)| key.text == name);
    found.map(|(_, node)| node)
}

fn stands(entries: &[(Key, Node)], path: Path) -> bool {
    match path {
        [] => true,
        [first, rest @ ..] => match find(entries, first).map(|node| &node.value) {
            Some(Value::Map(inner)) => stands(inner, rest),
            Some(_) => rest.is_empty(),
            None => false,
        },
    }
}

fn lay(entries: &mut Vec<(Key, Node)>, path: Path, node: &Node) {
    let [first, rest @ ..] = path else { return };
    let found = entries.iter().position(|(key, _)| key.text == *first);
    let at = found.unwrap_or_else(|| {
        let key = Key {
            at: node.at,
            text: (*first).to_owned(),
        };
        let value = match rest {
            [] => node.value.clone(),
            _ => Value::Map(Vec::new()),
        };
        entries.push((key, Node { at: node.at, value }));
        entries.len() - 1
    });
    if let Value::Map(inner) = &mut entries[at].1.value {
        lay(inner, rest, node);
    }
}
