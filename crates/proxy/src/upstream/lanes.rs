//! Owns a worker's connections to all backends of a service, and who of these is still one.
//!
//! A change of many backends must not hold a worker up: each is looked at again when it is picked, and of the others a few at a time.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use evenkeel_balance::backend::Backend;
use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{Protocol, UpstreamPlan};

use super::Lane;
use crate::live::ServiceState;
use crate::sock::Sock;

/// So many backends of a service are looked at again at once: whether they have left, in which case their connections close; and so many of
/// those that have left, whether all is closed.
const LOOKS: usize = 64;

/// So many connections are closed at once by a worker, whosever they are, which takes some microseconds each: of 5,000 backends that left, all rest too long at the same moment, and
/// a worker that closed hundreds together held its requests up (`docs/findings.md`, "Late requests without a reload").
pub(crate) const CLOSES: usize = 64;

/// Where there are many backends, so many sweeps and parts of sweeps are one round of them all. That takes a second while anything rests there,
/// and ten where nothing does, as there are no parts then: what a sweep touches of a backend is in no cache any more, and ten times a second for
/// each of 10,000 was a twentieth of a worker's time. A connection that rests too long is not used meanwhile.
const ROUND: usize = 100;

/// The same of few backends where there are many services, in whole sweeps.
const ROUND_OF_FEW: usize = 10;

/// Up to so many are all swept each time.
const FEW: usize = 256;

/// Up to so many services are.
pub(crate) const FEW_SERVICES: usize = 64;

/// Which sweep it is.
#[derive(Clone, Copy)]
pub(crate) struct Sweep {
    /// One more with each whole sweep. None: a part between two of these.
    pub(crate) whole: Option<usize>,
    /// One more with each of either.
    pub(crate) part: usize,
    /// There are too many services to sweep all of each.
    pub(crate) many: bool,
}

/// One worker's connections to the backends of one service.
pub(crate) struct Lanes<S> {
    all: RefCell<All<S>>,
    /// There is more to be looked at before the next whole sweep.
    more: Cell<bool>,
    /// Somebody was picked since the last sweep.
    used: Cell<bool>,
    /// So many sweeps and parts in a row found nothing that rests; [`ROUND`] at most.
    quiet: Cell<usize>,
}

struct All<S> {
    /// By the backend's serial. The seats of plans that follow each other share them.
    by_serial: HashMap<u32, Rc<Lane<S>>, BuildHasherDefault<Spread>>,
    /// The serials of these, in the order of sweeps.
    serials: Vec<u32>,
    /// One of them has a limit of sockets: who waits for one waits for a sweep.
    limited: bool,
    /// Where nobody is sent any more, as long as something is open there, or an exchange that was sent there may leave something.
    leaving: VecDeque<Rc<Lane<S>>>,
}

impl<S> Default for Lanes<S> {
    fn default() -> Self {
        let all = RefCell::new(All {
            by_serial: HashMap::default(),
            serials: Vec::new(),
            limited: false,
            leaving: VecDeque::new(),
        });
        Self {
            all,
            more: Cell::new(false),
            used: Cell::new(false),
            quiet: Cell::new(0),
        }
    }
}

/// Spreads serials, which nobody outside chooses, over a table: a keyed hash would take longer than the look-up.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, serial: u32) {
        // The table takes its place from the low bits, and what tells neighbours apart from the high ones.
        let spread = (self.0 ^ u64::from(serial)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ spread >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<S: Sock> Lanes<S> {
    /// Connections to a picked backend. None: it left long ago.
    pub(crate) fn of(&self, backend: &Backend, state: &ServiceState) -> Option<Rc<Lane<S>>> {
        let version = state.version();
        self.used.set(true);
        let mut all = self.all.borrow_mut();
        if let Some(lane) = all.by_serial.get(&backend.serial())
            && (lane.known.get() == version || is_reached(lane, state, version))
        {
            return Some(lane.clone());
        }
        let lane = Rc::new(Lane::new(state.reached(backend.id())?));
        lane.known.set(version);
        all.limited |= lane.limited;
        match all.by_serial.insert(backend.serial(), lane.clone()) {
            Some(before) => all.leave(before),
            None => all.serials.push(backend.serial()),
        }
        Some(lane)
    }

    /// Lets go of what nobody needs: connections that rest too long, and some of those to backends that have left; up to `closes`, which is
    /// less by as many then.
    pub(crate) fn sweep(
        &self,
        how: &UpstreamPlan,
        state: &ServiceState,
        sweep: Sweep,
        closes: &mut usize,
        now: Instant,
    ) {
        let version = state.version();
        let (mut looks, mut rests) = (LOOKS, self.used.take());
        let all = &mut *self.all.borrow_mut();
        let are_many = all.serials.len() > FEW;
        // Connections of HTTP/2 tell the time by their sweeps.
        let each_time = how.protocol != Protocol::Http1 || all.limited;
        let (mut at, step) = match sweep.whole {
            Some(_) if each_time => (0, 1),
            _ if are_many => (sweep.part % ROUND, ROUND),
            Some(whole) if sweep.many => (whole % ROUND_OF_FEW, ROUND_OF_FEW),
            _ => (0, 1),
        };
        while let Some(serial) = all.serials.get(at) {
            let left = all.by_serial.get(serial).is_none_or(|lane| {
                lane.sweep(how, closes, now);
                rests |= lane.has_resting();
                if lane.known.get() == version || looks == 0 || *closes == 0 {
                    return false;
                }
                looks -= 1;
                rests = true;
                !is_reached(lane, state, version)
            });
            match left {
                true => all.leave_at(at),
                false => at += step,
            }
        }
        let seen_all = all.clear(closes, now);
        let seen = if step == 1 { ROUND } else { 1 };
        let quiet = if rests { 0 } else { self.quiet.get() + seen };
        self.quiet.set(quiet.min(ROUND));
        let turns = are_many && quiet < ROUND;
        self.more.set(turns || looks == 0 || !seen_all);
    }

    /// The same where no exchange comes any more that begins: all of it closes by and by. Whether nothing is left, but for what exchanges that
    /// are under way may leave.
    pub(crate) fn clear(&self, closes: &mut usize, now: Instant) -> bool {
        let all = &mut *self.all.borrow_mut();
        for at in (0..all.serials.len()).rev().take(LOOKS) {
            all.leave_at(at);
        }
        let seen_all = all.clear(closes, now) && all.serials.is_empty();
        self.more.set(!seen_all);
        seen_all && all.leaving.is_empty()
    }

    /// Whether more is to be looked at before the next whole sweep.
    pub(crate) fn has_more_to_sweep(&self) -> bool {
        self.more.get()
    }
}

impl<S: Sock> All<S> {
    /// Nobody is sent any more where this lane leads.
    fn leave(&mut self, lane: Rc<Lane<S>>) {
        lane.retire();
        self.leaving.push_back(lane);
    }

    /// The same of the one whose serial stands there, where the last one stands then.
    fn leave_at(&mut self, at: usize) {
        let serial = self.serials.swap_remove(at);
        if let Some(lane) = self.by_serial.remove(&serial) {
            self.leave(lane);
        }
    }

    /// Closes what rests where nobody is sent any more, up to `closes`. Whether there was time for all of them.
    fn clear(&mut self, closes: &mut usize, now: Instant) -> bool {
        let all = self.leaving.len();
        for _ in 0..all.min(LOOKS) {
            let Some(lane) = self.leaving.pop_front() else {
                break;
            };
            // Whoever holds it yet may leave something.
            if !lane.clear(closes, now) || Rc::strong_count(&lane) > 1 {
                self.leaving.push_back(lane);
            }
        }
        all <= LOOKS && *closes > 0
    }
}

/// Whether the backend of a lane is still reached there, as of this version.
fn is_reached<S>(lane: &Lane<S>, state: &ServiceState, version: u64) -> bool {
    let now = state.reached(&lane.backend.id);
    let same = now.is_some_and(|now| Arc::ptr_eq(&now, &lane.backend));
    if same {
        lane.known.set(version);
    }
    same
}
