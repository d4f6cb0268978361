//! Owns the laying of edits over trees: which of them still hold, and what stands there then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ground::Tree;
use super::written::{json, number};
use super::{Edit, Edits, Place};
use crate::limits;
use crate::problem::At;
use crate::read::{Piece, pieces};
use crate::tree::{Key, Node, Value};

/// One edit with its node.
pub(super) struct Laid {
    pub(super) place: Place,
    /// None: nothing is to stand there.
    pub(super) node: Option<Node>,
    pub(super) text: Option<Arc<str>>,
    /// What the texts said of its unit when it was asked for. None: it is asked for now.
    pub(super) over: Option<Option<u64>>,
    /// The node as it stays, for the next time.
    pub(super) tree: Tree,
    /// Where it was asked for, of what must be of something that is there.
    of: Option<At>,
}

impl Laid {
    pub(super) fn fresh(place: Place, node: Option<Node>) -> Self {
        let text = node.as_ref().map(|node| json(node).into());
        Self {
            place,
            node,
            text,
            over: None,
            // Places in it are those of what was sent, not of the text that is kept.
            tree: Tree::default(),
            of: None,
        }
    }

    /// One that stands already.
    pub(super) fn kept(place: Place, edit: &Edit, (node, tree): (Option<Node>, Tree)) -> Self {
        Self {
            place,
            node,
            text: edit.text.clone(),
            over: Some(edit.over),
            tree,
            of: None,
        }
    }

    pub(super) fn at(self, at: At) -> Self {
        Self {
            of: Some(at),
            ..self
        }
    }
}

/// What came of laying them over.
#[derive(Default)]
pub(super) struct Over {
    pub(super) edits: Edits,
    pub(super) dropped: Vec<Place>,
    /// Entries that are not there, and where they were asked for.
    pub(super) missing: Vec<(At, String)>,
}

type Environment = BTreeMap<String, String>;

/// Lays edits over trees, in the order of their places.
pub(super) fn apply(trees: &mut Vec<Node>, all: Vec<Laid>, environment: &Environment) -> Over {
    let mut over = Over::default();
    let (rules, services): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.place.0[0] == "rules");
    if !rules.is_empty() {
        of_rules(trees, rules, environment, &mut over);
    }
    let mut left = services.into_iter().peekable();
    while let Some(first) = left.next() {
        let name = first.place.0[1].clone();
        let mut of_one = vec![first];
        while let Some(next) = left.next_if(|next| next.place.0[1] == name) {
            of_one.push(next);
        }
        match service(trees, &name) {
            Some(entries) => of_service(entries, of_one, environment, &mut over),
            None => over.dropped.extend(of_one.into_iter().map(|one| one.place)),
        }
    }
    over
}

impl Over {
    /// Whether an edit holds over what the texts say of its unit; if so, it is kept.
    fn holds(&mut self, one: &Laid, says: Option<u64>) -> bool {
        let holds = one.over.is_none_or(|over| over == says);
        if !holds {
            self.dropped.push(one.place.clone());
            return false;
        }
        // What is taken away and stands nowhere needs no word.
        let whole = one.place.0.len() == one.place.unit().len();
        if one.node.is_some() || says.is_some() || !whole {
            let edit = Edit {
                text: one.text.clone(),
                over: says,
                tree: one.tree.clone(),
            };
            self.edits.0.insert(one.place.clone(), edit);
        }
        true
    }
}

fn service<'t>(trees: &'t mut [Node], name: &str) -> Option<&'t mut Vec<(Key, Node)>> {
    let all = trees.iter_mut().filter_map(|tree| {
        let (_, services) = entries(tree)?
            .iter_mut()
            .find(|(key, _)| key.text == "services")?;
        entries(services)?
            .iter_mut()
            .find(|(key, _)| key.text == name)
    });
    let mut all = all.filter_map(|(_, service)| entries(service));
    all.next()
}

fn entries(node: &mut Node) -> Option<&mut Vec<(Key, Node)>> {
    match &mut node.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

fn of_service(
    entries: &mut Vec<(Key, Node)>,
    all: Vec<Laid>,
    environment: &Environment,
    over: &mut Over,
) {
    let (members, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.place.list());
    let mut says: Option<(String, Option<u64>)> = None;
    for one in others {
        let [_, _, keys @ ..] = one.place.0.as_ref() else {
            continue;
        };
        let Some(key) = keys.first() else { continue };
        // What the text says, not what was laid over it already.
        let now = match says.take_if(|(of, _)| of == key) {
            Some((_, says)) => says,
            None => {
                let found = entries.iter().find(|(one, _)| one.text == *key);
                found.map(|(_, node)| number(node))
            }
        };
        says = Some((key.clone(), now));
        let keys = keys.to_vec();
        if over.holds(&one, now) {
            set_below(entries, &keys, one.node, one.of);
        }
    }
    if members.is_empty() {
        return;
    }
    let at = entries.iter().position(|(key, _)| key.text == "backends");
    let place = at.map(|at| entries[at].1.at);
    let items = at.map_or_else(Vec::new, |at| taken(&mut entries[at].1));
    let mut slots = Slots::default();
    for item in items {
        let id = identity(&item, environment);
        slots.push(id, item);
    }
    let first = members.first().and_then(|one| one.node.as_ref());
    let place = place.or_else(|| first.map(|node| node.at));
    slots.lay(members, "address", over);
    let Some(place) = place else { return };
    let list = Node {
        at: place,
        value: Value::List(slots.items()),
    };
    set(entries, "backends", Some(list));
}

/// Puts what stands below these keys, or takes it away. A map comes in the place of whatever else stands on the way (RFC 7396).
fn set_below(
    entries: &mut Vec<(Key, Node)>,
    keys: &[String],
    node: Option<Node>,
    asked: Option<At>,
) {
    let [first, below @ ..] = keys else { return };
    if below.is_empty() {
        set(entries, first, node);
        let put = entries.iter_mut().find(|(key, _)| key.text == *first);
        if let (Some((key, _)), Some(at)) = (put, asked) {
            key.at = at;
        }
        return;
    }
    let at = entries.iter().position(|(key, _)| key.text == *first);
    let at = match (at, &node) {
        (Some(at), _) => at,
        (None, None) => return,
        (None, Some(node)) => {
            set(entries, first, Some(empty(node.at)));
            entries.len() - 1
        }
    };
    let inside = &mut entries[at].1;
    match (&inside.value, &node) {
        (Value::Map(_), _) => {}
        (_, Some(node)) => *inside = empty(node.at),
        (_, None) => return,
    }
    if let Value::Map(inside) = &mut inside.value {
        set_below(inside, below, node, asked);
    }
}

fn empty(at: At) -> Node {
    Node {
        at,
        value: Value::Map(Vec::new()),
    }
}

/// Puts a key, or takes it away.
fn set(entries: &mut Vec<(Key, Node)>, name: &str, node: Option<Node>) {
    let at = entries.iter().position(|(key, _)| key.text == name);
    match (at, node) {
        (Some(at), Some(node)) => entries[at].1 = node,
        (Some(at), None) => _ = entries.remove(at),
        (None, Some(node)) => {
            let key = Key {
                at: node.at,
                text: name.to_owned(),
            };
            entries.push((key, node));
        }
        (None, None) => {}
    }
}

/// The items of a list, taken out of it; a single value is a list of one.
fn taken(node: &mut Node) -> Vec<Node> {
    let empty = Value::List(Vec::new());
    match std::mem::replace(&mut node.value, empty) {
        Value::List(items) => items,
        value => vec![Node { at: node.at, value }],
    }
}

/// A text with what the environment has for it.
fn said(node: &Node, environment: &Environment) -> Option<String> {
    let Value::Scalar { text, plain } = &node.value else {
        return None;
    };
    let all = plain.then(|| pieces(text)).flatten();
    let all = all.unwrap_or_else(|| vec![Piece::Text(text)]);
    let each = all.iter().map(|piece| match piece {
        Piece::Text(text) => *text,
        Piece::Variable(name, default) => {
            let set = environment.get(*name).map(String::as_str);
            set.or(*default).unwrap_or_default()
        }
    });
    Some(each.collect())
}

/// By which a backend's entry is known.
fn identity(item: &Node, environment: &Environment) -> Option<String> {
    let Value::Map(entries) = &item.value else {
        return said(item, environment);
    };
    let of = |name: &str| entries.iter().find(|(key, _)| key.text == name);
    let names = ["id", "address", "dns", "srv"];
    let (_, node) = names.into_iter().find_map(of)?;
    said(node, environment)
}

/// Named items of a list, or of several in a row.
#[derive(Default)]
struct Slots {
    all: Vec<Option<Node>>,
    by_name: HashMap<String, usize>,
}

impl Slots {
    fn push(&mut self, name: Option<String>, item: Node) {
        if let Some(name) = name {
            // Of two the second is a problem, which is told of it where it stands.
            self.by_name.entry(name).or_insert(self.all.len());
        }
        self.all.push(Some(item));
    }

    /// Lays edits of items over them; an item that is one value becomes a map with it at the key `bare`.
    fn lay(&mut self, all: Vec<Laid>, bare: &str, over: &mut Over) {
        let mut says: Option<(Place, Option<u64>)> = None;
        for one in all {
            let unit = one.place.unit();
            let Some(name) = unit.last().cloned() else {
                continue;
            };
            let known = says.as_ref().filter(|(of, _)| of.unit() == unit);
            let now = match known {
                Some((_, says)) => *says,
                None => self.item(&name).map(|item| number(item)),
            };
            says = Some((one.place.clone(), now));
            if let Some(at) = one.of.filter(|_| self.item(&name).is_none()) {
                over.missing.push((at, name));
                continue;
            }
            if !over.holds(&one, now) {
                continue;
            }
            let key = one.place.0.get(unit.len());
            match (key, one.node) {
                (None, Some(node)) => self.put(name, node),
                (None, None) => self.remove(&name),
                (Some(key), node) => {
                    let item = self.item(&name);
                    if let Some(entries) = item.and_then(|item| as_map(item, bare)) {
                        set(entries, key, node);
                    }
                }
            }
        }
    }

    fn item(&mut self, name: &str) -> Option<&mut Node> {
        let at = *self.by_name.get(name)?;
        self.all[at].as_mut()
    }

    fn put(&mut self, name: String, node: Node) {
        match self.by_name.get(&name) {
            Some(&at) => self.all[at] = Some(node),
            None => self.push(Some(name), node),
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(&at) = self.by_name.get(name) {
            self.all[at] = None;
        }
    }

    fn items(self) -> Vec<Node> {
        self.all.into_iter().flatten().collect()
    }
}

fn as_map<'n>(item: &'n mut Node, bare: &str) -> Option<&'n mut Vec<(Key, Node)>> {
    if item.is_scalar() {
        let (at, text) = (item.at, bare.to_owned());
        let whole = item.clone();
        item.value = Value::Map(vec![(Key { at, text }, whole)]);
    }
    entries(item)
}

/// Rules of all texts in a row: those that come stand behind them, in a text of their own.
fn of_rules(trees: &mut Vec<Node>, all: Vec<Laid>, environment: &Environment, over: &mut Over) {
    let mut slots = Slots::default();
    let mut lengths = Vec::new();
    let begin = At {
        file: 0,
        line: 1,
        column: 1,
        length: 1,
    };
    let own = implied(trees, begin);
    for tree in trees.iter_mut() {
        let found =
            entries(tree).and_then(|all| all.iter_mut().find(|(key, _)| key.text == "rules"));
        let items = found.map_or_else(Vec::new, |(_, node)| taken(node));
        lengths.push(items.len());
        for (number, mut item) in items.into_iter().enumerate() {
            let name = named(&mut item, number, environment);
            slots.push(name, item);
        }
    }
    if let Some(rule) = own {
        slots.push(Some(limits::RULE_NAME.to_owned()), rule);
    }
    slots.lay(all, "name", over);
    let mut items = slots.all.into_iter();
    for (tree, length) in trees.iter_mut().zip(lengths) {
        let stay: Vec<_> = items.by_ref().take(length).flatten().collect();
        let found =
            entries(tree).and_then(|all| all.iter_mut().find(|(key, _)| key.text == "rules"));
        if let Some((_, node)) = found {
            node.value = Value::List(stay);
        }
    }
    let come: Vec<Node> = items.flatten().collect();
    if let Some(first) = come.first() {
        let at = first.at;
        let key = Key {
            at,
            text: "rules".to_owned(),
        };
        let list = Node {
            at,
            value: Value::List(come),
        };
        trees.push(Node {
            at,
            value: Value::Map(vec![(key, list)]),
        });
    }
}

/// A rule's name. One that has none gets the one that it goes by: its place may be another once a rule before it goes.
fn named(item: &mut Node, number: usize, environment: &Environment) -> Option<String> {
    let at = item.at;
    let entries = entries(item)?;
    let said_so = entries.iter().find(|(key, _)| key.text == "name");
    if let Some((_, node)) = said_so {
        return said(node, environment);
    }
    let name = format!("rule-{}", number + 1);
    set(entries, "name", Some(Node::text(at, &name)));
    Some(name)
}

/// The rule of texts that have none and one service: it would go with the first rule that comes.
fn implied(trees: &mut [Node], at: At) -> Option<Node> {
    let mut services = Vec::new();
    for tree in trees {
        for (key, node) in entries(tree)? {
            match &*key.text {
                "rules" => return None,
                "services" => {
                    services.extend(entries(node)?.iter().map(|(key, _)| key.text.clone()));
                }
                _ => {}
            }
        }
    }
    let [only] = &services[..] else { return None };
    let key = |text: &str| Key {
        at,
        text: text.to_owned(),
    };
    let all = [("name", limits::RULE_NAME), ("forward", only)];
    let all = all.map(|(name, value)| (key(name), Node::text(at, value)));
    Some(Node {
        at,
        value: Value::Map(all.into()),
    })
}
