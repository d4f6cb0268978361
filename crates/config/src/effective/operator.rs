//! Owns what operators want of what runs, laid over the configuration that they want it of: what of it no text says.

use super::{Entry, Kind, Leaf, Origin};

/// Of what something is wanted, by names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// A listener.
    Listener(&'a str),
    /// All backends of a service.
    Service(&'a str),
    /// A service, and the identity of one of its backends.
    Backend(&'a str, &'a str),
}

impl Entry {
    /// Lays over it that this is to be in this state, as `place` keeps it. For listeners, services and backends behind names there is no
    /// key that says so: those get a remark. What it does not have is passed over. Cost: the backends of a service.
    pub fn wish(&mut self, of: Of<'_>, state: &str, place: &str) {
        let leaf = |kind| {
            Self::Leaf(Leaf {
                kind,
                origin: Origin::Operator(place.to_owned()),
                ..Leaf::default(state, kind)
            })
        };
        let (part, key) = match of {
            Of::Listener(name) => (["listeners", name], "state".to_owned()),
            Of::Service(name) => (["services", name], "state".to_owned()),
            Of::Backend(service, id) => {
                let below = ["services", service, "backends"];
                if let Some(Self::List(all)) = self.at(&below)
                    && let Some(one) = all.iter_mut().find(|one| is_of(one, id))
                    && let Some(said) = one.at(&["state"])
                {
                    *said = leaf(Kind::Text);
                    return;
                }
                (["services", service], format!("backends[{id}].state"))
            }
        };
        if let Some(Self::Map(all)) = self.at(&part) {
            all.push((key, leaf(Kind::Remark)));
        }
    }
}

/// Whether it is the backend of this identity.
fn is_of(entry: &Entry, identity: &str) -> bool {
    let Entry::Map(all) = entry else { return false };
    all.iter().any(
        |(key, entry)| matches!(entry, Entry::Leaf(leaf) if key == "id" && leaf.same == identity),
    )
}
