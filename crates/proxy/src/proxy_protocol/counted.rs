//! Owns what is counted of headers: those that were taken, and why others were refused. The same words stand in metrics and
//! documentation.

use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_config::plan::ProxyVersion;
use evenkeel_wire::proxy_protocol::Unreadable;

/// Why a connection was closed before its first byte counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its peer is not listed.
    Unlisted,
    /// The header was not whole in time.
    Timeout,
    /// The peer went away before, or the connection broke.
    PeerLeft,
    /// What came is no header.
    Unreadable(Unreadable),
}

impl Refused {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unlisted => "proxy_unlisted",
            Self::Timeout => "proxy_timeout",
            Self::PeerLeft => "proxy_peer_left",
            Self::Unreadable(why) => why.word(),
        }
    }

    /// All of them, in the order of their numbers.
    fn all() -> impl Iterator<Item = Self> {
        let own = [Self::Unlisted, Self::Timeout, Self::PeerLeft];
        let unreadable = Unreadable::ALL.iter().copied().map(Self::Unreadable);
        own.into_iter().chain(unreadable)
    }

    const fn number(self) -> usize {
        match self {
            Self::Unlisted => 0,
            Self::Timeout => 1,
            Self::PeerLeft => 2,
            Self::Unreadable(why) => OWN + why as usize,
        }
    }
}

/// Reasons that are not the bytes'.
const OWN: usize = 3;

/// A listener's headers; all workers write them.
#[derive(Debug)]
pub struct Received {
    /// By version.
    taken: [AtomicU64; 2],
    /// At the reason's number.
    refused: [AtomicU64; OWN + Unreadable::ALL.len()],
}

impl Default for Received {
    fn default() -> Self {
        Self {
            taken: Default::default(),
            refused: [const { AtomicU64::new(0) }; OWN + Unreadable::ALL.len()],
        }
    }
}

impl Received {
    pub(super) fn taken(&self, version: ProxyVersion) {
        self.taken[version as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, why: Refused) {
        self.refused[why.number()].fetch_add(1, Ordering::Relaxed);
    }

    /// Headers that were taken, by version; a version of which none came is left out.
    #[must_use]
    pub fn by_version(&self) -> Vec<(&'static str, u64)> {
        let counts = self.taken.iter().map(|count| count.load(Ordering::Relaxed));
        let all = ["1", "2"].into_iter().zip(counts);
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Connections that were refused, by word; what was never the reason is left out.
    #[must_use]
    pub fn by_reason(&self) -> Vec<(&'static str, u64)> {
        let counts = self.refused.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let all = Refused::all().map(Refused::word).zip(counts);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_number_and_a_word_of_its_own() {
        let received = Received::default();
        for (at, why) in Refused::all().enumerate() {
            assert_eq!(why.number(), at, "{why:?}");
            received.refused(why);
        }
        let words = received.by_reason();
        let distinct: BTreeSet<_> = words.iter().copied().collect();
        assert_eq!((distinct.len(), words.len()), (16, 16), "{words:?}");
        let page = include_str!("../../../../docs/proxy-protocol.md");
        for (word, _) in words {
            assert!(page.contains(&format!("`{word}`")), "{word}");
        }
    }
}
