//! Owns the frame of a policy: what it sees, what it returns, and which ones there are.
//!
//! A policy chooses among backends that eligibility admitted; it never sees a tried, full or down one as a choice.
//! A new policy is one file below, one arm here and one row in the fairness table (`tests/fairness.rs`).

use std::cell::Cell;
use std::sync::Arc as StdArc;
use std::time::Duration;

use crate::ask::Ask;
use crate::backend::{Backend, BackendId};
use crate::eligibility;
use crate::hashing;
use crate::learn::speed::Learned;
use crate::parts::Part;
pub(crate) use crate::policy::custom::{Broke, Custom};
use crate::settings::{HashMethod, LoadBound, PolicyChoice};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::table::{Lane, Table};
use crate::verdict::{Outcome, Verdict};

/// Least cost of slowness, failing and load.
pub(crate) mod adaptive;

/// How those that compare costs look and draw.
mod scan;

/// Least peak of latency and load.
pub(crate) mod peak_ewma;

/// Least mean latency and load.
pub(crate) mod least_time;

/// By the key of the ask.
pub(crate) mod hash;

/// How a key finds its backend.
pub(crate) mod keyed;

/// Fewest in flight per weight.
pub(crate) mod least_connections;

/// The better of two.
pub(crate) mod power_of_two;

/// Weighted random.
pub(crate) mod random;

/// Weighted random, by what was seen of failures.
pub(crate) mod health_based;

/// Weighted, smooth rotation.
pub(crate) mod round_robin;

/// The same, by what backends report of their load.
pub(crate) mod weighted_by_load;

/// A program's own, and who stands in for it.
mod custom;

/// Their names, other systems' names for them, and a program's own.
pub mod named;

/// An algorithm that chooses one of the candidates.
///
/// Implement it for a policy of the program's own. One that panics, or names a candidate that may not be picked, is
/// replaced by round robin for its service and reported ([`EventKind::PolicyFailed`](crate::event::EventKind)).
pub trait Policy: Send + Sync {
    /// The word for it in logs and events. Asked once for each change of settings, under the writer's lock: a text that it has.
    fn name(&self) -> &str;

    /// The index of the chosen candidate; none when none may be picked. Runs at each pick: no locks, no allocation. It may look at its
    /// service (a snapshot, statistics), and must neither pick from it nor change it: for who waits in a queue it runs under the lock of
    /// that, and would wait for itself.
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize>;

    /// What it holds against candidate `index` (lower is better), for explanations; none when it does not compare.
    fn score(&self, _view: &Candidates<'_>, _index: usize, _ask: &Ask<'_>) -> Option<f64> {
        None
    }

    /// A pick was taken. The three hooks run where that happened, under no lock, and delay it.
    fn picked(&self, _backend: &Backend, _ask: &Ask<'_>) {}

    /// A pick was answered.
    fn answered(&self, _backend: &Backend, _verdict: Verdict, _latency: Duration) {}

    /// A pick ended; none when it was dropped.
    fn finished(&self, _backend: &Backend, _outcome: Option<Outcome>) {}
}

/// Where a rotation stands. Workers have their own, so that rotating costs no shared write.
pub(crate) enum Turn<'a> {
    Shared(&'a AtomicU64),
    Own(&'a Cell<u64>),
    /// Explaining looks at the next turns without taking them.
    Peek(Cell<u64>),
}

/// What a policy sees: the backends that may be picked now, by index.
pub struct Candidates<'a> {
    lanes: &'a [Lane],
    /// Nothing tried, no subset, no limits: whoever has a lane may be picked.
    plain: bool,
    table: &'a Table,
    /// The part of the table that these are. None: they are all.
    part: Option<&'a Part>,
    ask: &'a Ask<'a>,
    turn: Turn<'a>,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(table: &'a Table, ask: &'a Ask<'a>, turn: Turn<'a>) -> Self {
        let plain = !table.limited && ask.tried.is_empty() && ask.subset.is_none();
        Self {
            lanes: &table.lanes,
            plain,
            table,
            part: None,
            ask,
            turn,
        }
    }

    /// Those of one part.
    pub(crate) fn of_part(
        table: &'a Table,
        part: &'a Part,
        ask: &'a Ask<'a>,
        turn: Turn<'a>,
    ) -> Self {
        Self {
            lanes: table.lanes.get(part.from..part.to).unwrap_or_default(),
            part: Some(part),
            ..Self::new(table, ask, turn)
        }
    }

    /// The same, to be looked at.
    pub(crate) fn peek_part(table: &'a Table, part: &'a Part, ask: &'a Ask<'a>) -> Self {
        let turn = Cell::new(part.turn.0.load(Ordering::Relaxed));
        Self::of_part(table, part, ask, Turn::Peek(turn))
    }

    /// The lane of candidate `index`, as tables count them.
    pub(crate) fn global(&self, index: usize) -> usize {
        match self.part {
            Some(part) if index < self.lanes.len() => part.from + index,
            // Behind the lanes stand those on trial.
            _ => self.table.lanes.len() + index - self.lanes.len(),
        }
    }

    /// The candidate that this lane is, being one of them or on trial.
    pub(crate) fn local(&self, lane: usize) -> usize {
        match self.part {
            Some(part) if lane < self.table.lanes.len() => lane.saturating_sub(part.from),
            _ => lane + self.lanes.len() - self.table.lanes.len(),
        }
    }

    /// The mean share of these by that of those that lanes are compared with.
    pub(crate) fn scale(&self) -> f32 {
        self.part.map_or(1.0, |part| part.scale)
    }

    /// Whether everybody here may be picked for this ask.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether this is looked at and not picked from.
    pub(crate) fn is_peek(&self) -> bool {
        matches!(self.turn, Turn::Peek(_))
    }

    /// How many there are. Some of them may not be picked for this ask: see [`may`](Self::may).
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether candidate `index` may be picked for this ask: not tried, in the subset, not full.
    #[must_use]
    #[inline]
    pub fn may(&self, index: usize) -> bool {
        self.plain && index < self.lanes.len() || self.looked_at(index)
    }

    fn looked_at(&self, index: usize) -> bool {
        let lane = self.lane(index);
        eligibility::bar(lane, self.ask).is_none()
            && (index < self.lanes.len() || lane.backend.trials.available())
    }

    /// The indices of all that may be picked.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(|&index| self.may(index))
    }

    /// The identity of candidate `index`.
    #[must_use]
    pub fn id(&self, index: usize) -> &BackendId {
        self.lane(index).backend.id()
    }

    /// The running state of candidate `index`.
    #[must_use]
    pub fn backend(&self, index: usize) -> &Backend {
        &self.lane(index).backend
    }

    /// Its weight times its slow-start ramp, above 0.
    #[must_use]
    #[inline]
    pub fn share(&self, index: usize) -> f32 {
        self.lane(index).share
    }

    /// Its attempts in flight, of all workers.
    #[must_use]
    #[inline]
    pub fn in_flight(&self, index: usize) -> u32 {
        self.lane(index).backend.in_flight()
    }

    /// What traffic taught of it.
    #[must_use]
    #[inline]
    pub fn learned(&self, index: usize) -> Learned {
        self.lane(index).backend.speed.read()
    }

    /// The next number of a rotation. Each call takes one; workers count on their own from a random start.
    #[must_use]
    #[inline]
    pub fn turn(&self) -> u64 {
        let own = |cell: &Cell<u64>| cell.replace(cell.get().wrapping_add(1));
        match &self.turn {
            Turn::Shared(counter) => counter.fetch_add(1, Ordering::Relaxed),
            Turn::Own(cell) => own(cell),
            Turn::Peek(cell) => own(cell),
        }
    }

    #[inline]
    pub(crate) fn lane(&self, index: usize) -> &'a Lane {
        match self.lanes.get(index) {
            Some(lane) => lane,
            None => self.table.lane(self.global(index)),
        }
    }

    /// The lane of candidate `index`, who is none on trial, if it may be picked for this ask. Cost: one look where [`may`](Self::may) and
    /// [`lane`](Self::lane) are two.
    #[inline]
    pub(crate) fn serving(&self, index: usize) -> Option<&'a Lane> {
        let lane = self.lanes.get(index)?;
        (self.plain || self.looked_at(index)).then_some(lane)
    }

    /// Whether everybody with a lane may be picked, all lanes are here, and nobody is on trial: then [`lane_of`](Self::lane_of) says it all.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.plain && self.part.is_none() && self.table.trials == 0
    }

    /// The lane of member `member` of the configuration, if it has one.
    #[inline]
    pub(crate) fn lane_of(&self, member: usize) -> Option<usize> {
        let index = usize::try_from(self.table.members[member].lane).ok()?;
        (index < self.lanes.len()).then_some(index)
    }

    /// The index of member `member` of the configuration, half-open ones included; none when it may not be picked.
    pub(crate) fn of_member(&self, member: usize) -> Option<usize> {
        let index = usize::try_from(self.table.members[member].lane).ok()?;
        if self.part.is_some() {
            return self.of_member_here(member, index);
        }
        (index < self.table.lanes.len() + self.table.trials && self.may(index)).then_some(index)
    }

    /// The same in a part.
    #[cold]
    fn of_member_here(&self, member: usize, lane: usize) -> Option<usize> {
        let (part, lanes) = (self.part?, self.table.lanes.len());
        let here = match lane < lanes {
            true => (part.from..part.to).contains(&lane),
            false => lane < lanes + self.table.trials && part.holds(&self.table.members[member]),
        };
        let index = self.local(lane);
        (here && self.may(index)).then_some(index)
    }

    /// Attempts in flight on all candidates, this one included, where the service counts them. Cost: those that are none and have some,
    /// as who drains or was removed.
    pub(crate) fn in_flight_of_all(&self) -> u32 {
        if self.part.is_some() {
            return self.in_flight_here();
        }
        let counted = |lane: &Lane| lane.backend.facts.places.0.taken();
        let aside = |sum: u32, backend: &Arc<Backend>| sum.saturating_add(backend.in_flight());
        let aside = self.table.aside.iter().fold(0, aside);
        let taken = self.lanes.first().map_or(0, counted).saturating_sub(aside);
        // A pick has its place by now; who looks on has none.
        taken.saturating_add(u32::from(self.is_peek()))
    }

    /// The same in a part: the service counts its parts together, so that here they are looked at, one by one.
    #[cold]
    fn in_flight_here(&self) -> u32 {
        let all = self.lanes.iter().map(|lane| lane.backend.in_flight());
        all.fold(1, u32::saturating_add)
    }

    /// Whether somebody warms up.
    #[inline]
    pub(crate) fn is_warming(&self) -> bool {
        self.table.warming
    }

    /// The ramp of candidate `index` in parts of 2^32. None: it is warm, or on trial.
    pub(crate) fn warmth(&self, index: usize) -> Option<u32> {
        let lane = self.lanes.get(index)?;
        (lane.warmth != u32::MAX).then_some(lane.warmth)
    }

    /// The first half-open backend with a trial left that may be picked for this ask.
    pub(crate) fn trial(&self) -> Option<usize> {
        let lanes = self.len();
        (lanes..lanes + self.table.trials).find(|&index| self.may(index))
    }

    /// The same of those to whom no key comes by itself.
    #[cold]
    pub(crate) fn trial_apart(&self) -> Option<usize> {
        let apart = self.table.parts.as_ref()?.apart.iter();
        let mut apart = apart.map(|&lane| self.local(lane));
        apart.find(|&index| self.may(index))
    }
}

/// A policy with the tables it made of the membership.
#[derive(Debug)]
pub(crate) enum Prepared {
    Adaptive,
    PeakEwma,
    LeastTime,
    HealthBased(health_based::HealthBased),
    WeightedByLoad(weighted_by_load::WeightedByLoad),
    LeastConnections,
    PowerOfTwo(power_of_two::PowerOfTwo),
    Random(random::Random),
    RoundRobin(round_robin::RoundRobin),
    Hash(StdArc<hash::Hash>),
    Custom(Custom),
}

impl Prepared {
    /// Makes the tables of `choice`. `weights` names all members of the configuration; a hash table of the same
    /// members is taken over from the table before, because standing never changes it.
    pub(crate) fn new(
        choice: &PolicyChoice,
        lanes: &[Lane],
        weights: &[(BackendId, u16)],
        before: Option<&Self>,
    ) -> Self {
        match choice {
            PolicyChoice::Adaptive => Self::Adaptive,
            PolicyChoice::PeakEwma => Self::PeakEwma,
            PolicyChoice::LeastTime => Self::LeastTime,
            PolicyChoice::HealthBased => Self::HealthBased(health_based::HealthBased::new(lanes)),
            PolicyChoice::WeightedByLoad => {
                Self::WeightedByLoad(weighted_by_load::WeightedByLoad::new(lanes))
            }
            PolicyChoice::LeastConnections => Self::LeastConnections,
            PolicyChoice::PowerOfTwo => Self::PowerOfTwo(power_of_two::PowerOfTwo::new(lanes)),
            PolicyChoice::Random => Self::Random(random::Random::new(lanes)),
            PolicyChoice::RoundRobin => Self::RoundRobin(round_robin::RoundRobin::new(lanes)),
            PolicyChoice::Hash(method) => Self::Hash(Self::hash(*method, None, weights, before)),
            PolicyChoice::Bounded(method, bound) => {
                Self::Hash(Self::hash(*method, Some(*bound), weights, before))
            }
            PolicyChoice::Custom(policy) => Self::Custom(Custom {
                policy: policy.clone(),
                stand_in: round_robin::RoundRobin::new(lanes),
            }),
        }
    }

    fn hash(
        method: HashMethod,
        bound: Option<LoadBound>,
        weights: &[(BackendId, u16)],
        before: Option<&Self>,
    ) -> StdArc<hash::Hash> {
        match before {
            Some(Self::Hash(same)) if same.is_of(method, bound, weights) => same.clone(),
            _ => StdArc::new(hash::Hash::new(method, bound, weights)),
        }
    }

    /// Whether keys stick to backends: then trials wait for the keys of their own backend.
    pub(crate) fn keyed(&self) -> bool {
        matches!(self, Self::Hash(_))
    }

    /// Whether it is the program's own.
    pub(crate) fn is_custom(&self) -> bool {
        matches!(self, Self::Custom(_))
    }

    /// The chosen index, or that the program's own policy failed.
    #[inline]
    pub(crate) fn choose(
        &self,
        view: &Candidates<'_>,
        ask: &Ask<'_>,
    ) -> Result<Option<usize>, Broke> {
        Ok(match self {
            Self::Adaptive => adaptive::Adaptive.choose(view, ask),
            Self::PeakEwma => peak_ewma::PeakEwma.choose(view, ask),
            Self::LeastTime => least_time::LeastTime.choose(view, ask),
            Self::HealthBased(policy) => policy.choose(view, ask),
            Self::WeightedByLoad(policy) => policy.choose(view, ask),
            Self::LeastConnections => least_connections::LeastConnections.choose(view, ask),
            Self::PowerOfTwo(policy) => policy.choose(view, ask),
            Self::Random(policy) => policy.choose(view, ask),
            Self::RoundRobin(policy) => policy.choose(view, ask),
            Self::Hash(policy) => policy.choose(view, ask),
            Self::Custom(custom) => return custom.choose(view, ask),
        })
    }

    /// The stand-in's choice, when the program's own policy broke.
    pub(crate) fn stand_in(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        match self {
            Self::Custom(custom) => custom.stand_in.choose(view, ask),
            _ => None,
        }
    }

    pub(crate) fn score(&self, view: &Candidates<'_>, index: usize, ask: &Ask<'_>) -> Option<f64> {
        match self {
            Self::Adaptive => adaptive::Adaptive.score(view, index, ask),
            Self::PeakEwma => peak_ewma::PeakEwma.score(view, index, ask),
            Self::LeastTime => least_time::LeastTime.score(view, index, ask),
            Self::HealthBased(policy) => policy.score(view, index, ask),
            Self::WeightedByLoad(policy) => policy.score(view, index, ask),
            Self::LeastConnections => least_connections::LeastConnections.score(view, index, ask),
            Self::PowerOfTwo(policy) => policy.score(view, index, ask),
            Self::Random(policy) => policy.score(view, index, ask),
            Self::RoundRobin(policy) => policy.score(view, index, ask),
            Self::Hash(policy) => policy.score(view, index, ask),
            Self::Custom(custom) => custom.score(view, index, ask),
        }
    }
}

/// A number below `bound` from 64 random bits; 0 when `bound` is 0.
#[inline]
pub(crate) fn below(chance: u64, bound: usize) -> usize {
    usize::try_from(hashing::scale(chance, bound as u64)).unwrap_or(0)
}

/// 64 random bits as a number from 0 up to but not including 1.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits are fine enough for a draw"
)]
pub(crate) fn unit(chance: u64) -> f64 {
    (chance >> 11) as f64 / (1_u64 << 53) as f64
}
