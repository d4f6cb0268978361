//! Owns what is laid over texts: the edits that stand already, and what a change makes of them, checked for its form.

use super::apply::Laid;
use super::ground::Tree;
use super::{BODY, Change, DEEPEST, Edits, Place, SETTINGS, Text, written};
use crate::problem::{At, Problem, Severity, Source, clipped};
use crate::tree::{self, Key, Node, Value};

/// What is to be laid over the texts.
pub(super) struct Gathered {
    pub(super) texts: Vec<Text>,
    pub(super) laid: Vec<Laid>,
    pub(super) problems: Vec<Problem>,
}

impl Gathered {
    fn parsed(&mut self, name: String, text: &str) -> Option<Node> {
        let node = tree::parse(self.texts.len(), text, &mut self.problems);
        let text = text.to_owned();
        self.texts.push(Text::Whole(Source { name, text }));
        node
    }

    /// Those that stand already.
    pub(super) fn kept(&mut self, edits: &Edits) {
        for (place, edit) in &edits.0 {
            let (mut node, mut tree) = (None, Tree::default());
            if let Some(text) = &edit.text {
                let file = self.texts.len();
                tree = match edit.tree.is_known() {
                    true => edit.tree.clone(),
                    false => Tree::of(tree::parse(file, text, &mut self.problems)),
                };
                self.texts.push(Text::Kept(place.clone(), text.clone()));
                node = tree.in_file(file);
                if node.is_none() {
                    continue;
                }
            }
            self.laid
                .push(Laid::kept(place.clone(), edit, (node, tree)));
        }
    }

    pub(super) fn error(&mut self, at: At, word: &'static str, message: String) {
        self.problems.push(Problem {
            at,
            severity: Severity::Error,
            word,
            message,
            also: None,
        });
    }

    /// What a change lays over the texts; what stood in its place goes.
    pub(super) fn changed(&mut self, change: &Change, stays: &mut Edits) -> Vec<Laid> {
        let body = match change.text() {
            Some(text) => {
                let before = self.problems.len();
                let body = self.parsed(BODY.to_owned(), text);
                let Some(body) = body else {
                    if self.problems.len() == before {
                        let at = At {
                            file: self.texts.len() - 1,
                            line: 1,
                            column: 1,
                            length: 1,
                        };
                        self.error(at, "missing", "there is nothing in it".to_owned());
                    }
                    return Vec::new();
                };
                self.is_json(&body);
                Some(body)
            }
            None => None,
        };
        match (change, body) {
            (Change::PutBackend { service, id, .. }, Some(body)) => {
                let place = Place::backend(service, id);
                stays.without(&place);
                let body = self.known_as(body, "id", id);
                vec![Laid::fresh(place, Some(body))]
            }
            (Change::PutRule { name, .. }, Some(body)) => {
                let place = Place::rule(name);
                stays.without(&place);
                let body = self.known_as(body, "name", name);
                vec![Laid::fresh(place, Some(body))]
            }
            (Change::PatchBackend { service, id, .. }, Some(body)) => {
                self.keys(body, &Place::backend(service, id), stays)
            }
            (Change::PatchService { service, .. }, Some(body)) => {
                self.service(body, service, stays)
            }
            (Change::Policy { service, .. }, body) => {
                let place = Place::policy(service);
                stays.without(&place);
                let laid = body.map(|body| Laid::fresh(place, Some(body)));
                laid.into_iter().collect()
            }
            (Change::RemoveBackend { service, id }, _) => {
                let place = Place::backend(service, id);
                stays.without(&place);
                vec![Laid::fresh(place, None)]
            }
            (Change::RemoveRule { name }, _) => {
                let place = Place::rule(name);
                stays.without(&place);
                vec![Laid::fresh(place, None)]
            }
            (Change::OrderRules { names }, _) => self.order(names, stays),
            _ => Vec::new(),
        }
    }

    /// An entry under the name that its address has.
    fn known_as(&mut self, mut body: Node, key: &'static str, name: &str) -> Node {
        let at = body.at;
        if let Some(message) = written::unfit(name) {
            self.error(at, "name", message);
        }
        let Value::Map(entries) = &mut body.value else {
            return self.bare_as(body, key, name);
        };
        let said = entries.iter().find(|(one, _)| one.text == key);
        if let Some((_, node)) = said {
            let is = matches!(&node.value, Value::Scalar { text, .. } if **text == *name);
            if !is {
                let message = format!("the address of this entry says `{}`", clipped(name));
                self.error(node.at, "name", message);
            }
        } else {
            entries.push((
                Key {
                    at,
                    text: key.to_owned(),
                },
                Node::text(at, name),
            ));
        }
        body
    }

    /// A backend that is an address and nothing else.
    fn bare_as(&mut self, body: Node, key: &'static str, name: &str) -> Node {
        let at = body.at;
        match (&body.value, key) {
            (Value::Scalar { .. }, "id") if !body.is_null() => {
                let address = Key {
                    at,
                    text: "address".to_owned(),
                };
                let id = Key {
                    at,
                    text: "id".to_owned(),
                };
                Node {
                    at,
                    value: Value::Map(vec![(address, body), (id, Node::text(at, name))]),
                }
            }
            _ => {
                let message = format!("an entry is a map of keys, not {}", body.kind());
                self.error(at, "type", message);
                body
            }
        }
    }

    fn map(&mut self, body: Node) -> Vec<(Key, Node)> {
        if let Value::Map(entries) = body.value {
            return entries;
        }
        let message = format!("what is changed is a map of keys, not {}", body.kind());
        self.error(body.at, "type", message);
        Vec::new()
    }

    fn service(&mut self, body: Node, service: &str, stays: &mut Edits) -> Vec<Laid> {
        let mut laid = Vec::new();
        for (key, node) in self.map(body) {
            match &*key.text {
                "backends" => {
                    for (id, node) in self.map(node) {
                        let unit = Place::backend(service, &id.text);
                        let keys = self.keys(node, &unit, stays).into_iter();
                        laid.extend(keys.map(|one| one.at(id.at)));
                    }
                }
                "policy" => {
                    let place = Place::policy(service);
                    stays.without(&place);
                    laid.extend((!node.is_null()).then(|| Laid::fresh(place, Some(node))));
                }
                name if SETTINGS.contains(&name) => {
                    settings(service, &[key.text], (key.at, node), (stays, &mut laid));
                }
                name => {
                    let message = format!(
                        "`{}` is not of what may be changed of a service: `backends`, `policy`, {}",
                        clipped(name),
                        SETTINGS.map(|one| format!("`{one}`")).join(", ")
                    );
                    self.error(key.at, "unknown_key", message);
                }
            }
        }
        laid
    }

    fn keys(&mut self, body: Node, unit: &Place, stays: &mut Edits) -> Vec<Laid> {
        let entries = self.map(body);
        let mut laid = Vec::new();
        for (key, node) in entries {
            if key.text == "id" {
                let message =
                    "a backend's identity does not change: add another one, and remove this";
                self.error(key.at, "id", message.to_owned());
                continue;
            }
            let place = unit.key(&key.text);
            stays.0.remove(&place);
            let gone = node.is_null();
            laid.push(Laid::fresh(place, (!gone).then_some(node)));
        }
        laid
    }

    fn order(&mut self, names: &[String], stays: &mut Edits) -> Vec<Laid> {
        let priorities: Vec<String> = (1..=names.len()).map(|at| (at * 10).to_string()).collect();
        let mut laid = Vec::new();
        for (name, priority) in names.iter().zip(priorities) {
            let place = Place::rule(name).key("priority");
            stays.0.remove(&place);
            let node = self.parsed(format!("order: {place}"), &priority);
            laid.extend(node.map(|node| Laid::fresh(place, Some(node))));
        }
        laid
    }

    /// A text without quotes would be read as configurations are: `${NAME}` in it is what the environment of this process holds.
    fn is_json(&mut self, node: &Node) {
        match &node.value {
            Value::Scalar { text, plain: true } if !written::is_json_word(text) => {
                let message = "this is no JSON: a text stands in double quotes";
                self.error(node.at, "json", message.to_owned());
            }
            Value::Scalar { .. } => {}
            Value::List(items) => items.iter().for_each(|item| self.is_json(item)),
            Value::Map(entries) => entries.iter().for_each(|(_, node)| self.is_json(node)),
        }
    }
}

/// What is said of the inside of a map, key by key.
fn settings(
    service: &str,
    keys: &[String],
    (at, node): (At, Node),
    (stays, laid): (&mut Edits, &mut Vec<Laid>),
) {
    match node.value {
        Value::Map(entries) if !entries.is_empty() && keys.len() < DEEPEST => {
            for (key, node) in entries {
                let below: Vec<_> = keys.iter().cloned().chain([key.text]).collect();
                settings(service, &below, (key.at, node), (stays, laid));
            }
        }
        _ => {
            let place = Place::setting(service, keys);
            stays.without(&place);
            let gone = node.is_null();
            laid.push(Laid::fresh(place, (!gone).then_some(node)).at(at));
        }
    }
}
