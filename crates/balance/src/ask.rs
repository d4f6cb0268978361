//! Owns the question: what a caller says of an attempt before a backend is chosen.

use crate::backend::{Backend, BackendId};
use crate::zone::ZoneId;

/// The class of an exchange, by custom the index of its rule. Latency is judged against the mean of the class, so an
/// expensive rule does not brand the backends that happen to serve it. Classes beyond the service's limit share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClassId(pub u16);

/// The class in the queue of asks that name none: there is room before it and behind it.
pub const QUEUE_CLASS: u16 = 100;

/// The backends that earlier attempts of the same exchange were sent to. Remembers the last [`Tried::MOST`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    serials: [u32; Self::MOST],
    count: usize,
}

static NOTHING_TRIED: Tried = Tried {
    serials: [0; Tried::MOST],
    count: 0,
};

impl Tried {
    /// So many are remembered; an exchange with more attempts forgets the first.
    pub const MOST: usize = 16;

    /// Remembers a backend.
    pub fn insert(&mut self, backend: &Backend) {
        self.serials[self.count % Self::MOST] = backend.serial();
        self.count += 1;
    }

    /// Forgets all but the last: a new round begins, and whoever failed just now is not asked first.
    pub fn keep_last(&mut self) {
        if let Some(last) = self.count.checked_sub(1) {
            self.serials[0] = self.serials[last % Self::MOST];
            self.count = 1;
        }
    }

    /// Whether `backend` is remembered.
    #[must_use]
    #[inline]
    pub fn contains(&self, backend: &Backend) -> bool {
        self.serials[..self.count.min(Self::MOST)].contains(&backend.serial())
    }

    /// Whether nothing was tried yet.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What is asked of a service for one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Randomness, all 64 bits of it; the core has none of its own.
    pub chance: u64,
    /// The hash of what the client should stick to (see [`hashing::key`](crate::hashing::key)); hash policies use it.
    pub key: Option<u64>,
    /// The class of the exchange.
    pub class: ClassId,
    /// Its class in the queue of a full service: lower goes first, and of one class who came first.
    pub queue_class: u16,
    /// Backends already tried: excluded before the policy runs.
    pub tried: &'a Tried,
    /// The [identity](crate::affinity::identity) of the backend that the client is kept on: it is picked wherever it may be, before
    /// the policy is asked. Heeded where the settings have an affinity.
    pub kept: Option<u64>,
    /// What the client is known by, as a hash that is the same with each of its asks: where its backend is lost to it, all of them go to
    /// the same next one, in every process, though they come at once; one that is kept nowhere has its first one so. None: the policy
    /// chooses for each. Heeded where the settings have an affinity.
    pub client: Option<u64>,
    /// The zone that its client is nearest to; none: the service's own, if it has one. Heeded where the settings have zones.
    pub zone: Option<ZoneId>,
    /// Only these may be picked; identities that are not members are passed over. Round robin draws from them by weight: it has
    /// one rotation, and subsets that are asked for in turn would each get the same members of theirs. Cost: members times subset.
    pub subset: Option<&'a [BackendId]>,
}

impl<'a> Ask<'a> {
    /// An ask of class 0 with no key, nothing tried, all members allowed.
    #[must_use]
    pub fn new(chance: u64) -> Self {
        Self {
            chance,
            key: None,
            class: ClassId(0),
            queue_class: QUEUE_CLASS,
            tried: &NOTHING_TRIED,
            kept: None,
            client: None,
            zone: None,
            subset: None,
        }
    }

    /// The same with a key.
    #[must_use]
    pub fn key(self, key: u64) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    /// The same for a client that is kept on the backend of this identity.
    #[must_use]
    pub fn kept(self, identity: u64) -> Self {
        Self {
            kept: Some(identity),
            ..self
        }
    }

    /// The same for a client that is known by this hash.
    #[must_use]
    pub fn client(self, client: u64) -> Self {
        Self {
            client: Some(client),
            ..self
        }
    }

    /// The same of a client that is nearest to this zone.
    #[must_use]
    pub fn zone(self, zone: ZoneId) -> Self {
        Self {
            zone: Some(zone),
            ..self
        }
    }

    /// The same in another class.
    #[must_use]
    pub fn class(self, class: ClassId) -> Self {
        Self { class, ..self }
    }

    /// The same in another class of the queue; lower goes first.
    #[must_use]
    pub fn queue_class(self, queue_class: u16) -> Self {
        Self {
            queue_class,
            ..self
        }
    }

    /// The same without the backends already tried.
    #[must_use]
    pub fn tried(self, tried: &'a Tried) -> Self {
        Self { tried, ..self }
    }

    /// The same among `subset` only.
    #[must_use]
    pub fn subset(self, subset: &'a [BackendId]) -> Self {
        Self {
            subset: Some(subset),
            ..self
        }
    }
}
