//! Owns the closed list of what can happen in a world, and the order in which it does.

use std::cmp::Ordering as Order;

use evenkeel_balance::hashing::mix;
use evenkeel_balance::verdict::Verdict;

use crate::server::AttemptId;

/// What can happen in a world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    Arrive,
    Reach(AttemptId),
    Done(usize, AttemptId),
    Return(AttemptId, Verdict),
    Deadline(AttemptId),
    Again(AttemptId),
    Hedge(AttemptId),
    Tick,
    Crowd(usize),
    Strike(usize),
}

impl Happening {
    /// A word for the trace.
    pub(crate) fn word(self) -> u64 {
        let attempt =
            |kind: u64, id: AttemptId| mix(kind, mix(id.at as u64, u64::from(id.generation)));
        match self {
            Self::Arrive => 1,
            Self::Reach(id) => attempt(2, id),
            Self::Done(_, id) => attempt(3, id),
            Self::Return(id, verdict) => {
                mix(attempt(4, id), u64::from(verdict == Verdict::Success))
            }
            Self::Deadline(id) => attempt(5, id),
            Self::Again(id) => attempt(6, id),
            Self::Hedge(id) => attempt(10, id),
            Self::Tick => 7,
            Self::Crowd(server) => mix(8, server as u64),
            Self::Strike(which) => mix(9, which as u64),
        }
    }
}

/// What happens when; of one moment, in the order in which it was planned.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) at: u64,
    pub(crate) order: u64,
    pub(crate) what: Happening,
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    /// The heap gives the greatest, so the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Order {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
