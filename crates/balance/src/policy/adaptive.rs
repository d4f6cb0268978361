//! The default: the least cost of slowness, failing and load, and a draw among those that cost about as little.
//!
//! ```text
//! cost    = slowness x penalty x (load + 1)^2              load    = in flight / share of the mean
//! penalty = (1 + 256 x failing^2) x (failing x busy + 1)^2  busy    = mean load of those that do not fail
//! ```
//! The square lets the exact in-flight count win before a wrong latency signal does harm. What fails ends at once and
//! so seems idle: it counts as busy as the others, and the penalty stands outside the clamp of slowness, so that no
//! load on the good ones makes it the cheaper one. It is square so that single failures, which every backend has,
//! move little.
//!
//! Who costs up to half more than the least is drawn too, the less often the more it costs, in proportion to weight:
//! learned differences of a few percent are noise, and the least of them alone would get everything when nobody is
//! busy. All up to 64 are looked at, above that two random blocks of 16. Figures: `docs/policies.md`; reasons:
//! `docs/decisions/0004-adaptive.md`.

use crate::ask::Ask;
use crate::hashing;
use crate::policy::{Candidates, Policy, below};
use crate::table::Lane;

/// Up to so many candidates are all looked at.
const SCAN: usize = 64;
/// Above that, two blocks of so many, at random.
const BLOCK: usize = 16;
/// How much worse a backend that always fails is than one that never does.
const PENALTY: f32 = 256.0;
/// Who costs so many times the least is not drawn; who costs less, in proportion to the distance from here.
const EDGE: f32 = 1.5;

#[derive(Debug)]
pub(crate) struct Adaptive;

/// Costs of the candidates that one choice compares; infinite for those that may not be picked.
type Costs = [f32; SCAN];

/// One of `len` candidates, at most 64, that cost about the least. `place` says where each stands in the view.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "24 bits are fine enough to draw one of 64"
)]
fn draw(
    view: &Candidates<'_>,
    len: usize,
    place: impl Fn(usize) -> usize + Copy,
    chance: u64,
) -> Option<usize> {
    let mut costs: Costs = [f32::INFINITY; SCAN];
    let costs = &mut costs[..len.min(SCAN)];
    let mut least = f32::INFINITY;
    let mut failing = 0.0_f32;
    for (at, cost) in costs.iter_mut().enumerate() {
        let index = place(at);
        if view.may(index) {
            let lane = view.lane(index);
            let learned = lane.backend.speed.read();
            failing += learned.failing;
            *cost = learned.slowness * squared(load(lane));
            least = least.min(*cost);
        }
    }
    if failing > 0.0 {
        least = penalise(view, costs, place);
    }
    let edge = EDGE * least;
    let odds = |at: usize, cost: f32| view.share(place(at)) * (edge - cost);
    let mut total = 0.0;
    for (at, &cost) in costs.iter().enumerate() {
        if cost < edge {
            total += odds(at, cost);
        }
    }
    let mut left = (chance >> 40) as f32 / (1_u32 << 24) as f32 * total;
    let mut drawn = None;
    for (at, &cost) in costs.iter().enumerate() {
        if cost < edge {
            drawn = Some(at);
            left -= odds(at, cost);
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
    let busy = busy(view, (0..costs.len()).filter(may).map(&place));
    let mut least = f32::INFINITY;
    for (at, cost) in costs.iter_mut().enumerate() {
        *cost *= penalty(view.learned(place(at)).failing, busy);
        least = least.min(*cost);
    }
    least
}

#[inline]
fn squared(load: f32) -> f32 {
    (load + 1.0) * (load + 1.0)
}

#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "16 million in flight are compared well enough"
)]
fn load(lane: &Lane) -> f32 {
    lane.backend.in_flight() as f32 * lane.per_share
}

fn penalty(failing: f32, busy: f32) -> f32 {
    (1.0 + PENALTY * failing * failing) * squared(failing * busy)
}

/// The mean load of those that do not fail.
fn busy(view: &Candidates<'_>, places: impl Iterator<Item = usize>) -> f32 {
    let (mut loads, mut sound) = (0.0, f32::MIN_POSITIVE);
    for index in places {
        let well = 1.0 - view.learned(index).failing;
        loads += load(view.lane(index)) * well;
        sound += well;
    }
    loads / sound
}

impl Policy for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let len = view.len();
        if len <= SCAN {
            return draw(view, len, |at| at, ask.chance);
        }
        let start = below(ask.chance, len);
        // The low half of the chance places the second block so that the two never overlap.
        let apart = BLOCK + below(ask.chance << 32, len - 2 * BLOCK + 1);
        let wrapped = |index: usize| if index < len { index } else { index - len };
        let mut places = [0; 2 * BLOCK];
        for step in 0..BLOCK {
            places[step] = wrapped(start + step);
            places[BLOCK + step] = wrapped(wrapped(start + apart) + step);
        }
        let chance = hashing::mix(ask.chance, 1);
        draw(view, places.len(), |at| places[at], chance).or_else(|| elsewhere(view, start, chance))
    }

    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        // Of more than 64 candidates a pick sees some; so does this, at even distances.
        let step = view.len().div_ceil(SCAN).max(1);
        let places = (0..view.len()).step_by(step);
        let busy = busy(view, places.filter(|&index| view.may(index)));
        let lane = view.lane(index);
        let learned = lane.backend.speed.read();
        let cost = learned.slowness * squared(load(lane)) * penalty(learned.failing, busy);
        Some(f64::from(cost))
    }
}

/// When nobody in the blocks may be picked: the first 64 that may, from a random start.
#[cold]
fn elsewhere(view: &Candidates<'_>, start: usize, chance: u64) -> Option<usize> {
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
    draw(view, found, |at| places[at], chance)
}
