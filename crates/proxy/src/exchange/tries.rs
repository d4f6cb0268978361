//! Owns what the attempts of an exchange know of each other.

use evenkeel_balance::time::Instant;

use super::attempt::race::Race;
use crate::again::Asked;
use crate::net::Net;

/// The attempts of an exchange so far.
pub(super) struct Tries<N: Net> {
    pub(super) asked: Asked,
    pub(super) made: u32,
    /// When the first of them failed. None: none did that another followed.
    pub(super) failed: Option<Instant>,
    /// Part of the request may be with a backend.
    pub(super) seen: bool,
    /// The client was told to send its body.
    pub(super) continued: bool,
    /// A kept connection had ended, and another took its place: no attempt.
    pub(super) anew: bool,
    /// There was a second attempt beside one that was slow.
    pub(super) hedged: bool,
    pub(super) race: Race<N>,
}

impl<N: Net> Default for Tries<N> {
    fn default() -> Self {
        Self {
            asked: Asked::default(),
            made: 0,
            failed: None,
            seen: false,
            continued: false,
            anew: false,
            hedged: false,
            race: Race::Off,
        }
    }
}
