//! Owns affinity: keeping one client on one backend, and why that may end.
//!
//! Who the client is and where it is kept is the caller's to say ([`Ask::kept`](crate::ask::Ask::kept)): by a cookie, or by the
//! bounded table of [`Clients`]. A backend is told by the hash of its identity, never by its place or address, so that a change of
//! membership moves nobody but the clients of who leaves. Read next: `choice`.

use crate::ask::Ask;
use crate::backend::BackendId;
use crate::eligibility::{self, Admission, Bar};
use crate::hashing;
use crate::sync::Arc;
use crate::table::{Member, Table};
use crate::time::Instant;

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

/// Where a client would be kept; who is full only by now is full.
pub(crate) fn lost(table: &Table, identity: u64, ask: &Ask<'_>, now: Instant) -> Lost {
    lane(table, identity, ask, now).err().unwrap_or({
        // It was so a moment ago, when somebody else was picked.
        Lost::Barred(Bar::Full)
    })
}
