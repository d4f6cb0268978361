//! Owns zones: where a backend, or who asks, stands.
//!
//! A pick compares numbers, never names: a zone's number is the pinned hash of its name, the same in every service and process, so
//! that nobody keeps a list of all zones. Who prefers which zone is the caller's to say, by `regions` or otherwise. Read next: `parts`.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc as StdArc;

use crate::hashing;

/// A zone's number: the hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(NonZeroU64);

impl ZoneId {
    /// That of the zone of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(NonZeroU64::new(hashing::key(name.as_bytes())).unwrap_or(NonZeroU64::MIN))
    }
}

/// A zone: its name, with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    id: ZoneId,
    name: StdArc<str>,
}

impl Zone {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> ZoneId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<&str> for Zone {
    fn from(name: &str) -> Self {
        Self {
            id: ZoneId::named(name),
            name: name.into(),
        }
    }
}

impl From<String> for Zone {
    fn from(name: String) -> Self {
        Self::from(&*name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
