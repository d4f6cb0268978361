//! Owns the way from an ask to a charged backend: trial, policy, charge, refusal. Explaining walks the same way.
//!
//! Takes no lock and allocates nothing.

use crate::affinity::{self, Lost};
use crate::ask::Ask;
use crate::eligibility::{self, Admission, Bar};
use crate::facts::{Facts, Flags};
use crate::parts::{self, Reach};
use crate::pick::Refusal;
use crate::policy::{Candidates, Prepared, Turn};
use crate::queue;
use crate::table::Table;
use crate::time::Instant;
use crate::trials::Epoch;

/// Rounds that other workers may win before this one gives up. Each lost round means that another pick was taken.
const ROUNDS: usize = 64;

/// A charged lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) lane: usize,
    pub(crate) trial: Option<Epoch>,
    /// With a place of the service's own limit.
    pub(crate) placed: bool,
    /// Its client is kept on another one, which was full.
    pub(crate) spilled: bool,
}

/// Chooses and charges.
#[inline]
pub(crate) fn take(
    table: &Table,
    facts: &Facts,
    ask: &Ask<'_>,
    turn: Turn<'_>,
    now: Instant,
) -> Result<Taken, Refusal> {
    if facts.flags.any_but_watched() {
        return queue::take(table, facts, ask, turn, Reach::All, now);
    }
    let view = Candidates::new(table, ask, turn);
    // The first round stands apart from the loop: a loop makes the compiler prepare what hardly a pick needs.
    match choose(table, &table.prepared, facts, &view, ask, false, now) {
        Some(lane) => match charge(table, lane) {
            Some(taken) => Ok(taken),
            None => take_again(table, facts, &view, ask, now),
        },
        None => Err(refusal(table, ask)),
    }
}

/// Another worker took the last charge or trial between the choice and the charge.
#[cold]
fn take_again(
    table: &Table,
    facts: &Facts,
    view: &Candidates<'_>,
    ask: &Ask<'_>,
    now: Instant,
) -> Result<Taken, Refusal> {
    let mut spilled = false;
    if ask.kept.or(ask.client).is_some() {
        match take_kept(table, ask, now) {
            Ok(taken) => return Ok(taken),
            Err(lost) => spilled = was_full(lost),
        }
    }
    let taken = take_of(table, &table.prepared, facts, view, ask, now);
    taken
        .map(|taken| Taken { spilled, ..taken })
        .ok_or_else(|| refusal(table, ask))
}

/// Whether a client stays where it is kept, and is served elsewhere meanwhile.
fn was_full(lost: Option<Lost>) -> bool {
    lost == Some(Lost::Barred(Bar::Full))
}

/// One of these candidates, by the policy that is prepared for them. None: nobody of them can be had.
#[inline]
pub(crate) fn take_of(
    table: &Table,
    prepared: &Prepared,
    facts: &Facts,
    view: &Candidates<'_>,
    ask: &Ask<'_>,
    now: Instant,
) -> Option<Taken> {
    for _ in 1..ROUNDS {
        let broke = facts.policy_broke();
        let index = choose(table, prepared, facts, view, ask, broke, now)?;
        if let Some(taken) = charge(table, view.global(index)) {
            return Some(taken);
        }
    }
    None
}

/// The backend that the client is kept on, if it may be had, else the one that it moves to, or begins with. Apart from the rest, which is dearer with it.
#[cold]
#[inline(never)]
fn take_kept(table: &Table, ask: &Ask<'_>, now: Instant) -> Result<Taken, Option<Lost>> {
    let lane = affinity::settled(table, ask, now)?;
    // Another took the last charge: as if it had been full before.
    charge(table, lane).ok_or_else(|| ask.kept.map(|home| affinity::lost(table, home, ask, now)))
}

/// The same for a service with a limit of its own, with tiers or zones, or with a policy that broke: a place first, then a backend. A
/// place that is given back may be one that somebody waits for; who calls looks.
#[cold]
pub(crate) fn take_place(
    table: &Table,
    facts: &Facts,
    ask: &Ask<'_>,
    turn: Turn<'_>,
    reach: Reach,
    now: Instant,
) -> Result<Taken, Refusal> {
    let placed = facts.flags.has(Flags::PLACES);
    if placed && !facts.places.0.take(table.most) {
        return Err(refusal_full(table, ask));
    }
    let taken = match &table.parts {
        None => take_again(table, facts, &Candidates::new(table, ask, turn), ask, now),
        Some(parts) => take_kept(table, ask, now).or_else(|lost| {
            let taken = parts::take(parts, table, facts, ask, reach, now)?;
            let spilled = was_full(lost);
            Ok(Taken { spilled, ..taken })
        }),
    };
    if placed && taken.is_err() {
        facts.places.0.give_back();
    }
    taken.map(|taken| Taken { placed, ..taken })
}

/// Chooses. Charges nothing: an explanation ends here.
#[inline]
pub(crate) fn choose(
    table: &Table,
    prepared: &Prepared,
    facts: &Facts,
    view: &Candidates<'_>,
    ask: &Ask<'_>,
    broke: bool,
    now: Instant,
) -> Option<usize> {
    if table.trials > 0 {
        // Trials come first: a half-open backend is heard while its peers are healthy, not only when all are gone. Where keys choose, by
        // its own alone, as long as any come to it.
        let trial = match prepared.keyed() {
            false => view.trial(),
            true => view.trial_apart(),
        };
        if trial.is_some() {
            return trial;
        }
    }
    if broke {
        return prepared.stand_in(view, ask);
    }
    match prepared.choose(view, ask) {
        Ok(chosen) => chosen,
        Err(_broke) => {
            if !view.is_peek() {
                facts.policy_failed(&table.policy, now);
            }
            prepared.stand_in(view, ask)
        }
    }
}

#[inline]
fn charge(table: &Table, lane: usize) -> Option<Taken> {
    let Some(serving) = table.lanes.get(lane) else {
        return trial(table, lane);
    };
    serving.backend.charge.take(serving.limit).then_some(Taken {
        lane,
        trial: None,
        placed: false,
        spilled: false,
    })
}

#[cold]
fn trial(table: &Table, lane: usize) -> Option<Taken> {
    let probing = table.lane(lane);
    if lane >= table.lanes.len() + table.trials {
        // Of those who keep their clients and take no others.
        return probing.backend.charge.take(probing.limit).then_some(Taken {
            lane,
            trial: None,
            placed: false,
            spilled: false,
        });
    }
    let epoch = probing.backend.trials.take()?;
    if probing.backend.charge.take(probing.limit) {
        return Some(Taken {
            lane,
            trial: Some(epoch),
            placed: false,
            spilled: false,
        });
    }
    probing.backend.trials.give_back(epoch);
    None
}

/// Which no it is.
#[cold]
pub(crate) fn refusal(table: &Table, ask: &Ask<'_>) -> Refusal {
    let asked = |member: &&crate::table::Member| {
        ask.subset
            .is_none_or(|subset| subset.contains(member.backend.id()))
    };
    let (mut members, mut admitted, mut full, mut free) = (0_usize, 0_usize, false, false);
    for member in table.members.iter().filter(asked) {
        members += 1;
        if let Some(index) = admitted_lane(table, member) {
            let bar = eligibility::bar(table.lane(index), ask);
            // A half-open backend whose trials are all under way is out for this ask, not full.
            let has_lane = member.admission != Admission::Trial;
            if has_lane || bar == Some(Bar::Tried) {
                admitted += 1;
            }
            full |= has_lane && bar != Some(Bar::Tried);
            free |= has_lane && bar.is_none();
        }
    }
    match (members, admitted, full) {
        (0, _, _) => Refusal::NoBackends,
        (_, 0, _) => Refusal::AllDown,
        // With our own policies, somebody became free since the choice.
        _ if free && table.prepared.is_custom() => Refusal::Declined,
        (_, _, true) => Refusal::AllFull,
        (_, _, false) => Refusal::AllTried,
    }
}

/// The same where the service has as many in flight as it may: full, unless it would be refused with room as well.
#[cold]
pub(crate) fn refusal_full(table: &Table, ask: &Ask<'_>) -> Refusal {
    match refusal(table, ask) {
        Refusal::Declined => Refusal::AllFull,
        refusal => refusal,
    }
}

fn admitted_lane(table: &Table, member: &crate::table::Member) -> Option<usize> {
    let index = usize::try_from(member.lane).ok()?;
    (index < table.lanes.len() + table.trials).then_some(index)
}
