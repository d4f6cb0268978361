//! Owns who waits for the very backend that its client is kept on: a place that becomes free there is its before it is anybody's else.
//!
//! No place stays free for it: who has waited for its own is called by another that has room and nobody who came for that. And nobody
//! is refused for it: once the first in line has waited half of its time, the line is a line.

use std::collections::BTreeSet;

use super::{Line, Place, Ticket};
use crate::affinity;
use crate::backend::Backend;
use crate::table::Table;
use crate::time::Instant;

/// Places in the line by the identity of the backend that their clients are kept on.
#[derive(Debug, Default)]
pub(super) struct Homes(BTreeSet<(u64, Place)>);

impl Homes {
    pub(super) fn put_in(&mut self, home: Option<u64>, place: Place) {
        self.0.extend(home.map(|home| (home, place)));
    }

    pub(super) fn take_out(&mut self, home: Option<u64>, place: Place) {
        if let Some(home) = home {
            self.0.remove(&(home, place));
        }
    }

    /// The first one of a class.
    fn first(&self, home: u64, class: u16) -> Option<Place> {
        let of_class = (home, (class, 0))..=(home, (class, u64::MAX));
        self.0.range(of_class).next().map(|&(_, place)| place)
    }
}

impl Line {
    /// Who is called before the first in line, now that this backend was full and has room: of the class of that one, the first who is
    /// kept there. Cost: a few searches.
    pub(super) fn at_home(&self, table: &Table, freed: &Backend, now: Instant) -> Option<Place> {
        let (&first, ticket) = self.waiting.first_key_value()?;
        if self.homes.0.is_empty() || ticket.has_waited_half(now) {
            return None;
        }
        let home = affinity::identity(freed.id());
        let place = self
            .homes
            .first(home, first.0)
            .filter(|place| *place != first)?;
        was_full(table, home).then_some(place)
    }
}

/// Whether a backend has so many in flight that it was full before one of them ended. Who waits while another had room waits for a place
/// of the service's own limit, and those are given in order.
fn was_full(table: &Table, home: u64) -> bool {
    let lane = affinity::member(table, home).and_then(|member| usize::try_from(member.lane).ok());
    let known = lane.filter(|&lane| lane < table.lanes.len() + table.beside.len());
    known.map(|lane| table.lane(lane)).is_some_and(|lane| {
        lane.limit != u32::MAX && lane.backend.in_flight().saturating_add(1) >= lane.limit
    })
}

impl Ticket {
    /// Whether half of the time that it may wait is over.
    fn has_waited_half(&self, now: Instant) -> bool {
        now.since(self.since) * 2 >= self.until().since(self.since)
    }
}
