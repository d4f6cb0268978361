//! Owns what a checked rate limit is.

use std::num::NonZeroU8;
use std::sync::Arc;

use evenkeel_balance::rate::RateSettings;

/// A rate limit of a rule or a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatePlan {
    /// By what it counts, in a word; unique where it stands. Clients are told it.
    pub name: Arc<str>,
    /// Whom it counts: all of these together. Empty: everybody as one.
    pub per: Vec<RateBy>,
    /// How many pass. Where everybody is one, there is one key.
    pub settings: RateSettings,
    /// Clients of IPv6 whose addresses begin with so many same bits are one, 1 to 128.
    pub ipv6_prefix: u8,
    /// It only counts what it would refuse.
    pub shadow: bool,
    /// Answers of requests that pass tell what is left, too.
    pub fields: bool,
}

/// A part of whom a rate limit counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateBy {
    /// The client's address.
    Client,
    /// The value of the field of this name, in lower case.
    Header(Arc<str>),
    /// The value of the cookie of this name.
    Cookie(Arc<str>),
    /// So many segments of the path; none: all of it.
    Path(Option<NonZeroU8>),
}

impl RatePlan {
    /// Whether both count the same keys, so that one can go on with what the other has counted.
    #[must_use]
    pub fn counts_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.per == other.per
            && self.ipv6_prefix == other.ipv6_prefix
            && self.settings.keys == other.settings.keys
    }

    /// How many pass, as it is written.
    #[must_use]
    pub fn allowance(&self) -> String {
        crate::keys::written::allowance(self.settings.allow.get(), self.settings.per)
    }
}
