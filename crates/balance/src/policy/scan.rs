//! Owns how the policies that compare costs look, and whom they draw: the frame of `adaptive`, `peak_ewma` and `least_time`.
//!
//! ```text
//! cost    = what the policy says x penalty                  load    = in flight / share of the mean
//! penalty = (1 + 256 x worse^2) x (worse x busy + 1)^2      busy    = mean load of those that do not fail
//! worse   = failing beyond what is usual among them, and beyond two deviations of so short a memory
//! ```
//! What fails ends at once and so seems idle and fast: it counts as busy as the others, and the penalty stands outside
//! what the policy says, so that no load on the good ones makes it the cheaper one. Failures that all backends have alike
//! say nothing of any of them.
//!
//! Who costs up to half more than the least is drawn too, the less often the more it costs, in proportion to weight:
//! learned differences of a few percent are noise, and the least of them alone would get everything when nobody is
//! busy. All up to 64 are looked at, above that one at random of each of 32 stretches of the list. Figures: `docs/policies.md`; reasons:
//! `docs/decisions/0004-adaptive.md`.

use crate::ask::Ask;
use crate::hashing;
use crate::learn::speed::Learned;
use crate::policy::{Candidates, below};
use crate::table::Lane;

/// Up to so many candidates are all looked at.
const SCAN: usize = 64;
/// Above that, one of each of so many stretches: neighbours may have more in common than their place in a list.
const STRETCHES: usize = 32;
/// A linear congruential step (Knuth's MMIX): its high bits are random enough to place a look.
const STEP: (u64, u64) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
/// How much worse a backend that always fails is than one that never does.
const PENALTY: f32 = 256.0;
/// Two standard deviations of a mean of failures with weight 0.05, over those of one exchange.
const DEVIATIONS: f32 = 0.32;
/// Who costs so many times the least is not drawn; who costs less, in proportion to the distance from here.
const EDGE: f32 = 1.5;

/// What a policy holds against a backend, above 0 and finite, before the penalty for failing. Read twice in one pick, it may differ.
pub(crate) trait Cost {
    fn of(lane: &Lane, learned: Learned) -> f32;
}

/// One of `len` candidates, at most 64, that cost about the least. `place` says where each stands in the view.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "24 bits are fine enough to draw one of 64"
)]
fn draw<C: Cost>(
    view: &Candidates<'_>,
    len: usize,
    place: impl Fn(usize) -> usize + Copy,
    chance: u64,
) -> Option<usize> {
    let (mut costs, mut odds) = ([f32::INFINITY; SCAN], [0.0_f32; SCAN]);
    let len = len.min(SCAN);
    let mut least = f32::INFINITY;
    let mut failing = 0.0_f32;
    for (at, (cost, share)) in costs[..len].iter_mut().zip(&mut odds).enumerate() {
        let index = place(at);
        if let Some(lane) = view.serving(index) {
            let learned = lane.backend.speed.read();
            failing = failing.max(learned.failing);
            *cost = C::of(lane, learned);
            *share = lane.share;
            least = least.min(*cost);
        }
    }
    if failing > 0.0 {
        least = penalise(view, &mut costs[..len], place);
    }
    // Four at a time, each with a sum of its own: additions that wait for each other would take longer than all the rest.
    let edge = EDGE * least;
    let rows = len.div_ceil(4);
    let mut sums = [0.0_f32; SCAN / 4];
    let costs = costs.as_chunks::<4>().0;
    let (odds, _) = odds.as_chunks_mut::<4>();
    let mut total = 0.0;
    for ((odds, costs), sum) in odds[..rows].iter_mut().zip(costs).zip(&mut sums) {
        for (odds, cost) in odds.iter_mut().zip(costs) {
            *odds *= (edge - cost).max(0.0);
        }
        *sum = (odds[0] + odds[1]) + (odds[2] + odds[3]);
        total += *sum;
    }
    let mut left = (chance >> 40) as f32 / (1_u32 << 24) as f32 * total;
    let mut row = 0;
    while row + 1 < rows && left >= sums[row] {
        left -= sums[row];
        row += 1;
    }
    let mut drawn = None;
    for (at, &odds) in odds[row].iter().enumerate() {
        if odds > 0.0 {
            drawn = Some(4 * row + at);
            left -= odds;
            if left < 0.0 {
                break;
            }
        }
    }
    drawn.map(place)
}

/// Puts the penalties on the costs, when somebody failed lately; the least of them.
fn penalise(view: &Candidates<'_>, costs: &mut [f32], place: impl Fn(usize) -> usize) -> f32 {
    let may = |at: &usize| costs[*at] < f32::INFINITY;
    let usual = Usual::among(view, (0..costs.len()).filter(may).map(&place));
    let mut least = f32::INFINITY;
    for (at, cost) in costs.iter_mut().enumerate() {
        *cost *= usual.penalty(view.learned(place(at)).failing);
        least = least.min(*cost);
    }
    least
}

#[inline]
pub(crate) fn squared(load: f32) -> f32 {
    (load + 1.0) * (load + 1.0)
}

#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "16 million in flight are compared well enough"
)]
pub(crate) fn load(lane: &Lane) -> f32 {
    lane.backend.in_flight() as f32 * lane.per_share
}

/// What holds among those that are compared, each counting the less the more it fails: a half that fails is not usual.
struct Usual {
    /// The mean load.
    busy: f32,
    /// The mean share of failures.
    failing: f32,
}

impl Usual {
    fn among(view: &Candidates<'_>, places: impl Iterator<Item = usize>) -> Self {
        let (mut loads, mut failures, mut sound) = (0.0, 0.0, f32::MIN_POSITIVE);
        for index in places {
            let failing = view.learned(index).failing;
            let well = (1.0 - failing).powi(4);
            loads += load(view.lane(index)) * well;
            failures += failing * well;
            sound += well;
        }
        Self {
            busy: loads / sound,
            failing: failures / sound,
        }
    }

    fn penalty(&self, failing: f32) -> f32 {
        let chance = DEVIATIONS * (self.failing * (1.0 - self.failing)).sqrt();
        let worse = (failing - self.failing - chance).max(0.0);
        (1.0 + PENALTY * worse * worse) * squared(worse * self.busy)
    }
}

/// One that costs about the least.
#[inline]
pub(crate) fn choose<C: Cost>(view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
    let len = view.len();
    if len <= SCAN {
        return draw::<C>(view, len, |at| at, ask.chance);
    }
    let start = below(ask.chance, len);
    let mut places = [0; STRETCHES];
    let mut drawn = hashing::mix(ask.chance, 1);
    for (at, place) in places.iter_mut().enumerate() {
        let (from, to) = (at * len / STRETCHES, (at + 1) * len / STRETCHES);
        // From a random start on, so that a member of a shorter stretch is not seen more often than others.
        let seen = start + from + below(drawn, to - from);
        *place = if seen < len { seen } else { seen - len };
        drawn = drawn.wrapping_mul(STEP.0).wrapping_add(STEP.1);
    }
    let chance = hashing::mix(ask.chance, 2);
    // A subset, or those that are neither tried nor full, may be few among many: then they are looked for.
    let few = || places.iter().filter(|&&index| view.may(index)).count() < STRETCHES / 2;
    if !view.is_plain() && few() {
        return elsewhere::<C>(view, start, chance);
    }
    draw::<C>(view, places.len(), |at| places[at], chance)
}

/// The cost of one, its penalty included.
pub(crate) fn score<C: Cost>(view: &Candidates<'_>, index: usize) -> f64 {
    // Of more than 64 candidates a pick sees some; so does this, at even distances.
    let step = view.len().div_ceil(SCAN).max(1);
    let places = (0..view.len()).step_by(step);
    let usual = Usual::among(view, places.filter(|&index| view.may(index)));
    let lane = view.lane(index);
    let learned = lane.backend.speed.read();
    f64::from(C::of(lane, learned) * usual.penalty(learned.failing))
}

/// The first 64 that may be picked, from a random start.
#[cold]
fn elsewhere<C: Cost>(view: &Candidates<'_>, start: usize, chance: u64) -> Option<usize> {
    let mut places = [0; SCAN];
    let mut found = 0;
    let around = (start..view.len()).chain(0..start);
    for (place, index) in places
        .iter_mut()
        .zip(around.filter(|&index| view.may(index)))
    {
        *place = index;
        found += 1;
    }
    draw::<C>(view, found, |at| places[at], chance)
}
