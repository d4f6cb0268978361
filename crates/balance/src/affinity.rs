//! Owns affinity: keeping one client on one backend, and why that may end.
//!
//! Who the client is and where it is kept is the caller's to say ([`Ask::kept`](crate::ask::Ask::kept)): by a cookie, or by the
//! bounded table of [`Clients`](crate::affinity::Clients). A backend is told by the hash of its identity, never by its place or address, so that a change of
//! membership moves nobody but the clients of who leaves. Read next: `choice`.

use crate::ask::Ask;
use crate::backend::BackendId;
use crate::eligibility::{self, Admission, Bar};
use crate::hashing::{self, mix};
use crate::rendezvous;
use crate::sync::Arc;
use crate::table::{Lane, Member, Table};
use crate::time::Instant;

/// So many are looked at for who moves, and more only until the first may be had: what a loss costs is bounded in services of thousands.
const NEXT_MOST: usize = 256;

/// Who is kept where.
mod clients;

pub use clients::{CarriedClient, Clients, ClientsCounts, ClientsSettings};

/// What clients are kept by: the pinned hash of a backend's identity, the same in every process.
#[must_use]
pub fn identity(backend: &BackendId) -> u64 {
    hashing::key(backend.as_str().as_bytes())
}

/// Why a client is not kept on its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// It is no member any more.
    Gone,
    /// It may not be picked for this ask.
    Barred(Bar),
}

impl Lost {
    /// The word for it: `gone`, else that of the bar.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Barred(bar) => bar.word(),
        }
    }
}

/// Members by their identities; those of the table before, where they are the same. Cost: members, in order where some are new.
pub(crate) fn identities(members: &[Member], before: Option<&Table>) -> Arc<[(u64, u32)]> {
    let same = |one: &(&Member, &Member)| Arc::ptr_eq(&one.0.backend, &one.1.backend);
    if let Some(before) = before
        && before.identities.len() == members.len()
        && before.members.len() == members.len()
        && members.iter().zip(&before.members).all(|pair| same(&pair))
    {
        return before.identities.clone();
    }
    let mut all: Vec<(u64, u32)> = (0..)
        .zip(members)
        .map(|(at, member)| (identity(member.backend.id()), at))
        .collect();
    all.sort_unstable();
    all.into()
}

/// The member of this identity.
pub(crate) fn member(table: &Table, identity: u64) -> Option<&Member> {
    let at = table
        .identities
        .binary_search_by_key(&identity, |&(identity, _)| identity)
        .ok()?;
    let (_, member) = table.identities.get(at)?;
    table.members.get(usize::try_from(*member).ok()?)
}

/// The lane of the backend that a client is kept on, or why it is not kept there. Looks at the two halves of eligibility, as a
/// policy's choice does.
pub(crate) fn lane(
    table: &Table,
    identity: u64,
    ask: &Ask<'_>,
    now: Instant,
) -> Result<usize, Lost> {
    let member = member(table, identity).ok_or(Lost::Gone)?;
    let index = usize::try_from(member.lane).unwrap_or(usize::MAX);
    if let Admission::Barred(bar) = member.admission {
        let over = now >= member.keeps_until;
        if over || !eligibility::keeps(member.standing, member.admission) {
            return Err(Lost::Barred(bar));
        }
    }
    if let Some(bar) = eligibility::bar(table.lane(index), ask) {
        return Err(Lost::Barred(bar));
    }
    let on_trial = member.admission == Admission::Trial;
    match on_trial && !member.backend.trials.available() {
        true => Err(Lost::Barred(Bar::NoTrialLeft)),
        false => Ok(index),
    }
}

/// What a client is had by that is kept, or is to be: a lane, or nobody's but the policy's; `Err` too says whether its own was full.
pub(crate) fn settled(table: &Table, ask: &Ask<'_>, now: Instant) -> Result<usize, Option<Lost>> {
    let Some(home) = ask.kept else {
        return first(table, ask).ok_or(None);
    };
    match lane(table, home, ask, now) {
        Ok(lane) => Ok(lane),
        // It stays there: who serves it meanwhile is for the policy to say, which knows who has room.
        Err(lost @ Lost::Barred(Bar::Full)) => Err(Some(lost)),
        Err(lost) => next(table, ask).ok_or(Some(lost)),
    }
}

/// The lane of the backend that a client is kept on from its first ask on: where it would move to if it was lost. None: it is the policy's
/// to say, as where keys choose; and while a half-open backend waits for a trial, which whoever has no home yet is the one to make.
fn first(table: &Table, ask: &Ask<'_>) -> Option<usize> {
    ask.client?;
    let awaits =
        |lane: &Lane| lane.backend.trials.available() && eligibility::bar(lane, ask).is_none();
    let on_trial = || table.beside.iter().take(table.trials).any(awaits);
    let by_key = ask.key.is_some() && table.prepared.keyed();
    match by_key || on_trial() {
        true => None,
        false => next(table, ask),
    }
}

/// The lane of the backend that a lost client moves to, as its hash has it: the highest score of all that may be had, by their shares.
/// Asks that are made at once agree on it, as do processes that know the same of their backends. None: it is the policy's to say.
///
/// Where there are tiers or zones, it is one of the part that its hash says. Half-open ones are left out: their trials are for who has
/// nothing to lose there. Cost: up to 256 members, 20 ns each; beyond, those behind the client's own place among the identities.
fn next(table: &Table, ask: &Ask<'_>) -> Option<usize> {
    let client = ask.client.filter(|_| !table.prepared.is_custom())?;
    let part = match &table.parts {
        Some(parts) => Some(parts.way(ask, client).next()?.part),
        None => None,
    };
    let here = |index: usize| part.is_none_or(|part| (part.from..part.to).contains(&index));
    let all = &table.identities;
    let begin = mix(client, 0);
    let (before, from) = all.split_at(all.partition_point(|&(identity, _)| identity < begin));
    let mut best: Option<(f64, usize)> = None;
    for (looks, &(identity, member)) in from.iter().chain(before).enumerate() {
        // Where few of many may be had, the first of them that comes is the same in every process, too.
        if looks >= NEXT_MOST && best.is_some() {
            break;
        }
        let member = usize::try_from(member)
            .ok()
            .and_then(|at| table.members.get(at));
        let Some(index) = member.and_then(|member| usize::try_from(member.lane).ok()) else {
            continue;
        };
        let Some(lane) = table
            .lanes
            .get(index)
            .filter(|lane| here(index) && eligibility::bar(lane, ask).is_none())
        else {
            continue;
        };
        let score = rendezvous::cost(mix(client, identity)) / f64::from(lane.share);
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, index));
        }
    }
    best.map(|(_, lane)| lane)
}

/// Where a client would be kept; who is full only by now is full.
pub(crate) fn lost(table: &Table, identity: u64, ask: &Ask<'_>, now: Instant) -> Lost {
    lane(table, identity, ask, now).err().unwrap_or({
        // It was so a moment ago, when somebody else was picked.
        Lost::Barred(Bar::Full)
    })
}
