//! Owns what is changed of a configuration beside its texts: entries that stand in the place of those of the texts, beside them, or take
//! them away. The texts stay as they are; what is changed is laid over their trees before anything is read of them, so that one
//! check holds for both, and a problem has a place in whichever text it stands.
//!
//! An edit speaks of a unit: a backend's entry, a service's policy, a rule. It holds as long as the texts say the same of that unit, whole: one
//! that changes was written by somebody with something in mind. See `docs/decisions/0043-writes.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use evenkeel_balance::policy::named::Policies;

use crate::effective::{Entry, entry_of};
use crate::lower::{self, Loaded};
use crate::problem::{At, Problem, Severity, Source, clipped};
use crate::read::Ask;
use crate::tree::{self, Node, Value};

/// Edits over trees.
mod apply;

/// Nodes as text, and as a number.
mod written;

use apply::{Laid, Over, apply};

/// Where something is changed, as keys and names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Vec<String>);

impl Place {
    /// A backend's whole entry.
    #[must_use]
    pub fn backend(service: &str, id: &str) -> Self {
        Self(
            ["services", service, "backends", id]
                .map(str::to_owned)
                .into(),
        )
    }

    /// Who chooses among a service's backends.
    #[must_use]
    pub fn policy(service: &str) -> Self {
        Self(["services", service, "policy"].map(str::to_owned).into())
    }

    /// A whole rule.
    #[must_use]
    pub fn rule(name: &str) -> Self {
        Self(["rules", name].map(str::to_owned).into())
    }

    /// One key of an entry.
    fn key(mut self, key: &str) -> Self {
        self.0.push(key.to_owned());
        self
    }

    /// A place that was kept. None: nothing is changed there.
    #[must_use]
    pub fn of(parts: Vec<String>) -> Option<Self> {
        let known: Vec<&str> = parts.iter().map(String::as_str).collect();
        let fits = matches!(
            known[..],
            ["services", _, "backends", _]
                | ["services", _, "backends", _, _]
                | ["services", _, "policy"]
                | ["rules", _]
                | ["rules", _, "priority"]
        );
        fits.then_some(Self(parts))
    }

    /// Its keys and names.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// What it is a part of, as far as the texts are asked whether they still say the same.
    fn unit(&self) -> &[String] {
        let length = match self.0[0].as_str() {
            "rules" => 2,
            _ => 4,
        };
        &self.0[..self.0.len().min(length)]
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|part| clipped(part)).collect();
        match &parts[..] {
            [key, service, list, id, rest @ ..] => {
                write!(f, "{key}.{service}.{list}[{id}]")?;
                rest.iter().try_for_each(|key| write!(f, ".{key}"))
            }
            [rules, name, rest @ ..] if rules == "rules" => {
                write!(f, "{rules}[{name}]")?;
                rest.iter().try_for_each(|key| write!(f, ".{key}"))
            }
            parts => f.write_str(&parts.join(".")),
        }
    }
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// As JSON. None: nothing, whatever the texts say.
    pub text: Option<Arc<str>>,
    /// What the texts said of the unit when this was asked for, as a number. None: nothing.
    pub over: Option<u64>,
}

/// All that is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits(BTreeMap<Place, Edit>);

impl Edits {
    /// In the order in which they are laid over the texts.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &Edit)> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of names and texts, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let one = |(place, edit): (&Place, &Edit)| {
            let names: usize = place.0.iter().map(|part| part.len() + 24).sum();
            names + edit.text.as_ref().map_or(0, |text| text.len()) + 48
        };
        self.0.iter().map(one).sum()
    }

    /// What is laid over the texts, with what is changed below taken out first.
    fn without(&mut self, unit: &Place) {
        self.0.retain(|place, _| !place.0.starts_with(&unit.0));
    }
}

impl FromIterator<(Place, Edit)> for Edits {
    fn from_iter<T: IntoIterator<Item = (Place, Edit)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

/// Something to change. Texts are JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A backend's entry, whole: one that comes, or another in its place.
    PutBackend {
        /// Its service.
        service: String,
        /// Its identity.
        id: String,
        /// The entry.
        text: String,
    },
    /// Some keys of a backend's entry; `null` takes one away.
    PatchBackend {
        /// Its service.
        service: String,
        /// Its identity.
        id: String,
        /// The keys.
        text: String,
    },
    /// A backend goes.
    RemoveBackend {
        /// Its service.
        service: String,
        /// Its identity.
        id: String,
    },
    /// Who chooses.
    Policy {
        /// The service.
        service: String,
        /// The policy. None: as the texts have it.
        text: Option<String>,
    },
    /// A rule, whole: one that comes, or another in its place.
    PutRule {
        /// Its name.
        name: String,
        /// The rule.
        text: String,
    },
    /// A rule goes.
    RemoveRule {
        /// Its name.
        name: String,
    },
    /// Rules are tried in this order: their priorities become 10, 20 and so on.
    OrderRules {
        /// All of them.
        names: Vec<String>,
    },
}

impl Change {
    fn text(&self) -> Option<&str> {
        match self {
            Self::PutBackend { text, .. }
            | Self::PatchBackend { text, .. }
            | Self::PutRule { text, .. } => Some(text),
            Self::Policy { text, .. } => text.as_deref(),
            Self::RemoveBackend { .. } | Self::RemoveRule { .. } | Self::OrderRules { .. } => None,
        }
    }
}

/// What texts and edits come to.
#[derive(Debug)]
pub struct Composed {
    /// The plan, or what is wrong.
    pub loaded: Loaded,
    /// The texts, and behind them those of edits: what places of problems speak of.
    pub sources: Vec<Source>,
    /// The edits that hold, the change among them.
    pub edits: Edits,
    /// Those that do not: the texts say something else there than when they were asked for.
    pub dropped: Vec<Place>,
    trees: Vec<Node>,
}

impl Composed {
    /// Every value that holds. None: there is no plan.
    #[must_use]
    pub fn effective(&self, environment: &BTreeMap<String, String>) -> Option<Entry> {
        self.loaded.plan.as_ref()?;
        Some(entry_of(&self.trees, environment))
    }
}

/// The name of the text that a change brings.
pub const BODY: &str = "body";

/// Lays edits, and perhaps a change, over texts, and reads what comes of it, whole. `ask` is asked for each file that the texts name; a
/// change names none. What is changed already must have been checked before: a unit that the texts say otherwise now is passed over.
#[must_use]
pub fn compose(
    sources: &[Source],
    edits: &Edits,
    change: Option<&Change>,
    environment: &BTreeMap<String, String>,
    ask: impl Fn(&Path) -> Result<Vec<u8>, String> + 'static,
) -> Composed {
    let mut read = lower::parsed(sources);
    let mut all = Gathered {
        sources: sources.to_vec(),
        laid: Vec::new(),
        problems: Vec::new(),
    };
    let mut stays = edits.clone();
    let fresh = change.map_or_else(Vec::new, |change| all.changed(change, &mut stays));
    all.kept(&stays);
    all.laid.extend(fresh);
    // A change of a key comes behind the entry that it is a key of.
    all.laid.sort_by(|one, other| one.place.cmp(&other.place));
    let over = apply(&mut read.trees, all.laid, environment);
    read.problems.extend(all.problems);
    let lower::Parsed { trees, problems } = read;
    let ask: Ask = Box::new(ask);
    let with = (environment, ask, &Policies::default());
    let loaded = lower::of_trees(&trees, problems, sources, with);
    let Over { edits, dropped } = over;
    Composed {
        loaded,
        sources: all.sources,
        edits,
        dropped,
        trees,
    }
}

/// What is to be laid over the texts.
struct Gathered {
    sources: Vec<Source>,
    laid: Vec<Laid>,
    problems: Vec<Problem>,
}

impl Gathered {
    fn parsed(&mut self, name: String, text: &str) -> Option<Node> {
        let file = self.sources.len();
        let node = tree::parse(file, text, &mut self.problems);
        let text = text.to_owned();
        self.sources.push(Source { name, text });
        node
    }

    /// Those that stand already.
    fn kept(&mut self, edits: &Edits) {
        for (place, edit) in &edits.0 {
            let node = match &edit.text {
                Some(text) => {
                    let node = self.parsed(format!("changed: {place}"), text);
                    let Some(node) = node else { continue };
                    Some(node)
                }
                None => None,
            };
            self.laid.push(Laid {
                place: place.clone(),
                node,
                text: edit.text.clone(),
                over: Some(edit.over),
            });
        }
    }

    fn error(&mut self, at: At, word: &'static str, message: String) {
        self.problems.push(Problem {
            at,
            severity: Severity::Error,
            word,
            message,
            also: None,
        });
    }

    /// What a change lays over the texts; what stood in its place goes.
    fn changed(&mut self, change: &Change, stays: &mut Edits) -> Vec<Laid> {
        let body = match change.text() {
            Some(text) => {
                let before = self.problems.len();
                let body = self.parsed(BODY.to_owned(), text);
                let Some(body) = body else {
                    if self.problems.len() == before {
                        let at = At {
                            file: self.sources.len() - 1,
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
                tree::Key {
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
                let address = tree::Key {
                    at,
                    text: "address".to_owned(),
                };
                let id = tree::Key {
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

    fn keys(&mut self, body: Node, unit: &Place, stays: &mut Edits) -> Vec<Laid> {
        let Value::Map(entries) = body.value else {
            let message = format!("what is changed is a map of keys, not {}", body.kind());
            self.error(body.at, "type", message);
            return Vec::new();
        };
        let mut laid = Vec::new();
        for (key, node) in entries {
            if key.text == "id" {
                let message =
                    "a backend's identity does not change: add another one, and remove this";
                self.error(key.at, "id", message.to_owned());
                continue;
            }
            let place = unit.clone().key(&key.text);
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
