//! Owns what is changed of a configuration beside its texts: entries that stand in the place of those of the texts, beside them, or take
//! them away. The texts stay as they are; what is changed is laid over their trees before anything is read of them, so that one
//! check holds for both, and a problem has a place in whichever text it stands.
//!
//! An edit speaks of a unit: a backend's entry, one of a service's keys, a rule. It holds as long as the texts say the same of that unit, whole: one
//! that changes was written by somebody with something in mind. See `docs/decisions/0043-writes.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use evenkeel_balance::policy::named::Policies;

use crate::effective::{Entry, entry_of};
use crate::lower::{self, Loaded};
use crate::problem::{Severity, Source, clipped};
use crate::read::Ask;
use crate::tree::Node;

/// Edits over trees.
mod apply;

/// What is to be laid over the texts: what stands already, and a change.
mod gathered;

/// Texts that edits are laid over.
mod ground;

/// Nodes as text, and as a number.
mod written;

use apply::{Over, apply};
use gathered::Gathered;
pub use ground::Ground;
use ground::Tree;

/// Where something is changed, as keys and names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Arc<[String]>);

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

    /// One of a service's keys that may be changed, or something within it.
    fn setting(service: &str, keys: &[String]) -> Self {
        let service = ["services", service].map(str::to_owned);
        Self(service.into_iter().chain(keys.iter().cloned()).collect())
    }

    /// A whole rule.
    #[must_use]
    pub fn rule(name: &str) -> Self {
        Self(["rules", name].map(str::to_owned).into())
    }

    /// One key of an entry.
    fn key(&self, key: &str) -> Self {
        let parts = self.0.iter().cloned();
        Self(parts.chain([key.to_owned()]).collect())
    }

    /// A place that was kept. None: nothing is changed there.
    #[must_use]
    pub fn of(parts: Vec<String>) -> Option<Self> {
        let known: Vec<&str> = parts.iter().map(String::as_str).collect();
        let fits = match known[..] {
            ["services", _, "backends", _]
            | ["services", _, "backends", _, _]
            | ["services", _, "policy"]
            | ["rules", _]
            | ["rules", _, "priority"] => true,
            ["services", _, key, ..] => is_setting(key, known.len()),
            _ => false,
        };
        fits.then(|| Self(parts.into()))
    }

    /// Its keys and names.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Whether it is of a service's backends.
    fn list(&self) -> bool {
        self.0.get(2).is_some_and(|key| key == "backends")
    }

    /// What it is a part of, as far as the texts are asked whether they still say the same.
    fn unit(&self) -> &[String] {
        let length = match (self.0[0].as_str(), self.list()) {
            ("rules", _) => 2,
            (_, true) => 4,
            (_, false) => 3,
        };
        &self.0[..self.0.len().min(length)]
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|part| clipped(part)).collect();
        match &parts[..] {
            [key, service, list, id, rest @ ..] if self.list() => {
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

/// Keys of a service that may be changed beside its backends and its policy: those that name no file and make no connection another one.
pub(crate) const SETTINGS: [&str; 15] = [
    "health",
    "breaker",
    "retry",
    "hedge",
    "timeouts",
    "limits",
    "slow_start",
    "drain",
    "on_all_down",
    "min_healthy",
    "overprovision",
    "tiers",
    "zones",
    "monitoring",
    "adjust",
];

/// What is changed of a service stands so many keys below its name at most; what is deeper is changed with what it stands in.
const DEEPEST: usize = 4;

/// Whether this key of a service is one of those that [`Change::PatchService`] changes.
#[must_use]
pub fn is_changeable(key: &str) -> bool {
    SETTINGS.contains(&key) || matches!(key, "backends" | "policy")
}

fn is_setting(key: &str, length: usize) -> bool {
    SETTINGS.contains(&key) && length <= 2 + DEEPEST
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// As JSON. None: nothing, whatever the texts say.
    pub text: Option<Arc<str>>,
    /// What the texts said of the unit when this was asked for, as a number. None: nothing.
    pub over: Option<u64>,
    /// What the text came to when it was read.
    tree: Tree,
}

impl Edit {
    /// Of a text that nobody has read yet.
    #[must_use]
    pub fn new(text: Option<Arc<str>>, over: Option<u64>) -> Self {
        Self {
            text,
            over,
            tree: Tree::default(),
        }
    }
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

    /// Takes these out.
    #[must_use]
    pub fn take(&mut self, places: &[Place]) -> Self {
        let known = places.iter();
        Self(
            known
                .filter_map(|place| self.0.remove_entry(place))
                .collect(),
        )
    }

    /// What is laid over the texts, with what is changed below taken out first.
    fn without(&mut self, unit: &Place) {
        self.0.retain(|place, _| !place.0.starts_with(&unit.0));
    }
}

impl Extend<(Place, Edit)> for Edits {
    fn extend<T: IntoIterator<Item = (Place, Edit)>>(&mut self, all: T) {
        self.0.extend(all);
    }
}

impl IntoIterator for Edits {
    type Item = (Place, Edit);
    type IntoIter = std::collections::btree_map::IntoIter<Place, Edit>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
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
    /// Some keys of a service, and of its backends' entries, as RFC 7396 has it: what is within a map is changed alone, `null` takes away.
    PatchService {
        /// Its name.
        service: String,
        /// The keys; `backends` is a map by identity.
        text: String,
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
            | Self::PatchService { text, .. }
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
    /// The edits that hold, the change among them.
    pub edits: Edits,
    /// Those that do not: the texts say something else there than when they were asked for.
    pub dropped: Vec<Place>,
    texts: Vec<Text>,
    trees: Vec<Node>,
}

/// What a node may stand in.
#[derive(Debug)]
enum Text {
    Whole(Source),
    /// An edit that stands already.
    Kept(Place, Arc<str>),
}

impl Composed {
    /// The texts, and behind them those of edits: what places of problems speak of.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let one = |text: &Text| match text {
            Text::Whole(source) => source.clone(),
            Text::Kept(place, text) => Source {
                name: format!("changed: {place}"),
                text: (**text).to_owned(),
            },
        };
        self.texts.iter().map(one).collect()
    }

    /// Edits that stood already and have an error in them: what they speak of has gone from the texts, say.
    #[must_use]
    pub fn faulty(&self) -> Vec<Place> {
        let problems = self.loaded.problems.iter();
        let errors = problems.filter(|one| one.severity == Severity::Error);
        let places = errors.filter_map(|one| match self.texts.get(one.at.file)? {
            Text::Kept(place, _) => Some(place.clone()),
            Text::Whole(_) => None,
        });
        places.collect()
    }

    /// Every value that holds. None: there is no plan.
    #[must_use]
    pub fn effective(&self, environment: &BTreeMap<String, String>) -> Option<Entry> {
        self.loaded.plan.as_ref()?;
        Some(entry_of(&self.trees, environment))
    }
}

/// The name of the text that a change brings.
pub const BODY: &str = "body";

/// Lays edits, and perhaps a change, over texts, and checks what comes of it, whole. `ask` is asked for each file that the texts name; a
/// change names none. What is changed already must have been checked before: a unit that the texts say otherwise now is passed over.
#[must_use]
pub fn compose(
    ground: &Ground,
    edits: &Edits,
    change: Option<&Change>,
    environment: &BTreeMap<String, String>,
    ask: impl Fn(&Path) -> Result<Vec<u8>, String> + 'static,
) -> Composed {
    let sources = &**ground.sources();
    let mut read = ground.trees(change.is_some());
    let mut all = Gathered {
        texts: sources.iter().cloned().map(Text::Whole).collect(),
        laid: Vec::new(),
        problems: Vec::new(),
    };
    let mut stays = edits.clone();
    let fresh = change.map_or_else(Vec::new, |change| all.changed(change, &mut stays));
    all.kept(&stays);
    all.laid.extend(fresh);
    // A change of a key comes behind the entry that it is a key of.
    all.laid.sort_by(|one, other| one.place.cmp(&other.place));
    let laid = std::mem::take(&mut all.laid);
    let over = apply(&mut read.trees, laid, environment);
    for (at, id) in &over.missing {
        let message = format!("there is no backend `{}`", clipped(id));
        all.error(*at, "unknown_backend", message);
    }
    read.problems.extend(all.problems);
    let lower::Parsed { trees, problems } = read;
    let ask: Ask = Box::new(ask);
    let with = (environment, ask, &Policies::default());
    let loaded = lower::of_trees(&trees, problems, sources, with);
    let Over { edits, dropped, .. } = over;
    Composed {
        loaded,
        edits,
        dropped,
        texts: all.texts,
        trees,
    }
}
