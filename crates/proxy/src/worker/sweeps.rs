//! Owns what a worker looks at ten times a second: times that are over, and what is kept for the next use and nobody needs.
//!
//! Connections to many backends are looked at a part at a time, and between the sweeps too: what is closed there takes some microseconds each, and
//! all that is over must be gone about when its time is, as each holds a descriptor.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::Worker;
use crate::net::Net;
use crate::upstream::{CLOSES, FEW_SERVICES, Sweep};

/// What keeps more than it needs for a while.
pub(crate) trait Swept {
    /// Lets go of some of what nobody needed since the last time.
    fn sweep(&self);
}

/// How far a worker is with its sweeps.
#[derive(Default)]
pub(super) struct Sweeps {
    /// So many there were.
    whole: Cell<usize>,
    /// So many, with those of a part.
    parts: Cell<usize>,
    /// There is more to be looked at before the next one.
    more: Cell<bool>,
    /// What else keeps something for the next use.
    swept: RefCell<Vec<Weak<dyn Swept>>>,
}

impl<N: Net> Worker<N> {
    /// Sweeps this with all else, as long as there is another owner.
    pub(crate) fn sweeps(&self, one: Weak<dyn Swept>) {
        self.sweeps.swept.borrow_mut().push(one);
    }

    /// To be called every [`SWEEP_EVERY`](crate::deadline::SWEEP_EVERY).
    pub fn sweep(&self) {
        let now = self.now();
        self.deadlines.sweep(now);
        if let Some(cut) = self.published.to_cut() {
            self.deadlines.cut(&cut);
        }
        self.scribe.borrow_mut().hand_on();
        if self.room.is_wanted() {
            self.deadlines.end_oldest_idle(now);
        }
        self.desks.sweep();
        self.buffers.sweep();
        self.streams.sweep();
        self.stock.sweep();
        let kept = |one: &Weak<dyn Swept>| one.upgrade().inspect(|one| one.sweep()).is_some();
        self.sweeps.swept.borrow_mut().retain(kept);
        let whole = self.sweeps.whole.get().wrapping_add(1);
        self.sweeps.whole.set(whole);
        self.sweep_lanes(Some(whole));
    }

    /// Whether [`Self::sweep_part`] is to be called before the next sweep.
    #[must_use]
    pub fn has_more_to_sweep(&self) -> bool {
        self.sweeps.more.get()
    }

    /// To be called as often as leaves [`SWEEP_PARTS`](crate::deadline::SWEEP_PARTS) with the sweep, evenly, while there is more.
    pub fn sweep_part(&self) {
        self.sweep_lanes(None);
    }

    fn sweep_lanes(&self, whole: Option<usize>) {
        let now = self.now();
        let part = self.sweeps.parts.get().wrapping_add(1);
        self.sweeps.parts.set(part);
        let view = self.view();
        let seats = view.seats.len();
        let many = seats > FEW_SERVICES;
        let (mut more, mut closes) = (false, CLOSES);
        self.retired.borrow_mut().retain(|lanes| {
            if whole.is_none() && !lanes.has_more_to_sweep() {
                return true;
            }
            let clear = lanes.clear(&mut closes, now);
            more |= lanes.has_more_to_sweep();
            // A view of before may yet ask for one.
            !clear || Rc::strong_count(lanes) > 1
        });
        // Not always the same first: what there is to close is for all of them.
        let turns = (0..seats).map(|at| (at + part) % seats);
        for (at, seat) in turns.filter_map(|at| Some((at, view.seats.get(at)?))) {
            if whole.is_none() && !seat.lanes.has_more_to_sweep() {
                continue;
            }
            // Services take turns too: most have few backends, whose turn would be the same.
            let sweep = Sweep {
                whole: whole.map(|whole| whole.wrapping_add(at)),
                part,
                many,
            };
            let upstream = &seat.live.plan.upstream;
            (seat.lanes).sweep(upstream, &seat.live.state, sweep, &mut closes, now);
            more |= seat.lanes.has_more_to_sweep();
        }
        self.sweeps.more.set(more);
    }
}
