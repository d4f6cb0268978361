//! By the key of the ask: the same key, the same backend, while the configuration stands.
//!
//! The table is made of configured membership and weight alone. A down, ejected or full backend is stepped over by
//! its own keys; no other key moves. An ask without a key goes anywhere, by chance.
//!
//! With a bound, a backend is as if it were out for as long as it has more than its part of all attempts in flight, times the
//! bound: its other keys go on meanwhile, and come back. There is always somebody with room, because the parts are more than all.
//!
//! A backend that warms up has those of its own keys whose coin is below its ramp, and the rest go on as if it were out. The coin is made
//! of key and backend, so a key that has come home stays there, and no other key moves.

use crate::ask::Ask;
use crate::backend::BackendId;
use crate::hashing;
use crate::maglev::Maglev;
use crate::policy::{Candidates, Policy, random};
use crate::rendezvous::Rendezvous;
use crate::ring::Ring;
use crate::settings::{HashMethod, LoadBound};

/// Keeps coins apart from what chose the backend: "warm" in ASCII.
const COIN: u64 = 0x7761_726d;

/// Parts are quotients of single precision: what is rounded up must not be a whole number and a little more.
const EXACT: f64 = 0.999_999;

/// A share of failures that is so much larger is more than chance.
const WORSE: f32 = 0.1;

/// So many slots are looked at for one key before the exact way.
const STEPS: u32 = 32;

#[derive(Debug)]
pub(crate) struct Hash {
    method: HashMethod,
    bound: Option<LoadBound>,
    members: Box<[(BackendId, u16)]>,
    /// What makes the coins of each.
    coins: Box<[u64]>,
    table: Table,
}

#[derive(Debug)]
enum Table {
    Maglev(Maglev),
    Ring(Ring),
    Rendezvous(Rendezvous),
}

/// Who has no more in flight than the bound allows.
struct Room<'v, 'a> {
    view: &'v Candidates<'a>,
    /// The mean of all in flight, times the bound.
    most: f64,
}

impl<'v, 'a> Room<'v, 'a> {
    fn new(view: &'v Candidates<'a>, bound: LoadBound) -> Self {
        let all = f64::from(view.in_flight_of_all().max(1));
        let count = u32::try_from(view.len().max(1)).unwrap_or(u32::MAX);
        Self {
            view,
            // Of a part, whose mean is another than the one that lanes are compared with.
            most: bound.factor() * all / f64::from(count) / f64::from(view.scale()),
        }
    }

    /// What it has in flight of what it may have: below 1 it has room. What it may have is rounded up, so everybody may have one.
    fn taken(&self, index: usize) -> f64 {
        let lane = self.view.lane(index);
        let most = (self.most / f64::from(lane.per_share) * EXACT).ceil();
        f64::from(lane.backend.in_flight()) / most
    }

    fn has(&self, index: usize) -> bool {
        self.taken(index) < 1.0
    }
}

impl Hash {
    pub(crate) fn new(
        method: HashMethod,
        bound: Option<LoadBound>,
        members: &[(BackendId, u16)],
    ) -> Self {
        let named: Vec<(&[u8], u32)> = members
            .iter()
            .map(|(id, weight)| (id.as_str().as_bytes(), u32::from(*weight)))
            .collect();
        let table = match method {
            // A table cannot name so many: above 65,535 members the scores stand in.
            HashMethod::Maglev => Maglev::new(&named).map_or_else(
                |_| Table::Rendezvous(Rendezvous::new(&named)),
                Table::Maglev,
            ),
            HashMethod::Ring => Table::Ring(Ring::new(&named)),
            HashMethod::Rendezvous => Table::Rendezvous(Rendezvous::new(&named)),
        };
        Self {
            method,
            bound,
            members: members.into(),
            coins: named
                .iter()
                .map(|(id, _)| hashing::mix(COIN, hashing::key(id)))
                .collect(),
            table,
        }
    }

    /// Where a key goes among the members that `may` name a lane for. None: nobody was met who may.
    #[inline]
    fn home(&self, key: u64, may: impl Fn(usize) -> Option<usize>) -> Option<usize> {
        match &self.table {
            Table::Maglev(table) => (0..STEPS).find_map(|step| may(table.lookup(key, step)?)),
            Table::Ring(table) => (0..STEPS).find_map(|step| may(table.lookup(key, step)?)),
            Table::Rendezvous(table) => {
                let member = table.pick(key, |member| may(member).is_some())?;
                may(member)
            }
        }
    }

    /// Among those that `may` at all and are warm enough for this key, then among those that only `may`.
    #[inline]
    fn choose_of(
        &self,
        view: &Candidates<'_>,
        key: u64,
        may: impl Fn(usize) -> Option<usize>,
    ) -> Option<usize> {
        if view.is_warming()
            && let Some(warm) = self.among_warm(view, key, &may)
        {
            return Some(warm);
        }
        self.home(key, may)
    }

    #[cold]
    fn among_warm(
        &self,
        view: &Candidates<'_>,
        key: u64,
        may: impl Fn(usize) -> Option<usize>,
    ) -> Option<usize> {
        self.home(key, |member| {
            let index = may(member)?;
            let Some(warmth) = view.warmth(index) else {
                return Some(index);
            };
            let coin = hashing::mix(key, *self.coins.get(member)?) >> 32;
            (coin < u64::from(warmth)).then_some(index)
        })
    }

    /// The same where not everybody may be picked.
    #[cold]
    fn among_some(&self, view: &Candidates<'_>, key: u64) -> Option<usize> {
        self.choose_of(view, key, |member| view.of_member(member))
    }

    /// Home, or who stands in for it while it has more than its part. Nobody is sent on to a backend that fails more than home: what
    /// fails ends at once, and has room for everybody's keys.
    #[cold]
    fn with_room(
        &self,
        view: &Candidates<'_>,
        key: u64,
        home: usize,
        bound: LoadBound,
    ) -> Option<usize> {
        let room = Room::new(view, bound);
        if room.has(home) {
            return None;
        }
        let failing = view.learned(home).failing + WORSE;
        let takes = |&index: &usize| room.has(index) && view.learned(index).failing <= failing;
        let may = |member: usize| view.of_member(member).filter(takes);
        let any = || random::among(view, last_chance(key), |index| takes(&index));
        self.choose_of(view, key, may).or_else(any)
    }

    pub(crate) fn is_of(
        &self,
        method: HashMethod,
        bound: Option<LoadBound>,
        members: &[(BackendId, u16)],
    ) -> bool {
        self.method == method && self.bound == bound && *self.members == *members
    }
}

/// The chance of a key that found nobody in so many steps.
fn last_chance(key: u64) -> u64 {
    hashing::mix(key, u64::from(STEPS))
}

impl Policy for Hash {
    fn name(&self) -> &'static str {
        self.method.word(self.bound.is_some())
    }

    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let key = ask.key.unwrap_or(ask.chance);
        // Most asks are of whole tables, and where all members are looked at, a look is what counts.
        let home = match view.is_whole() {
            true => self.choose_of(view, key, |member| view.lane_of(member)),
            false => self.among_some(view, key),
        };
        let home = home.or_else(|| random::among_allowed(view, last_chance(key)))?;
        let Some(bound) = self.bound else {
            return Some(home);
        };
        Some(self.with_room(view, key, home, bound).unwrap_or(home))
    }

    /// With a bound, what it has in flight of what it may have.
    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(Room::new(view, self.bound?).taken(index))
    }
}
