//! Owns a second pick for an exchange whose attempt is slow.

use std::time::Duration;

use super::{Service, told};
use crate::ask::{Ask, ClassId};
use crate::facts::Facts;
use crate::hedge::{NoHedge, Slow};
use crate::pick::{Pick, Refusal};
use crate::policy::Turn;
use crate::queue;
use crate::table::Table;
use crate::time::Instant;

impl Service {
    /// How long an attempt of this class has before [another may be begun](Self::hedge) beside it. None: there are no hedges, or not enough
    /// is known of the class yet.
    #[must_use]
    pub fn hedge_after(&self, class: ClassId) -> Option<Duration> {
        self.shared.facts.hedging.after(class)
    }

    /// A second pick for an exchange whose attempt is [slow](Self::hedge_after), out of the budgets of hedges and retries. The ask names those
    /// that were tried. Whichever attempt is answered first is the exchange's, and the other pick ends as [`Outcome::Outrun`].
    ///
    /// # Errors
    /// Why there is none, which costs nothing.
    ///
    /// [`Outcome::Outrun`]: crate::verdict::Outcome::Outrun
    #[cold]
    pub fn hedge(&self, slow: &Slow, ask: &Ask<'_>, now: Instant) -> Result<Pick, NoHedge> {
        let facts = &*self.shared.facts;
        let room = self.shared.table.read(|table| room(table, facts));
        facts.hedge(slow, ask.class, ask.kept.is_some(), room)?;
        let picked = self.picked_beside(slow, ask, now);
        picked.map_err(|refusal| {
            facts.hedge_not_made();
            refusal.into()
        })
    }

    /// By the slow way of a pick, as that of a [`Handle`](super::Handle) goes.
    fn picked_beside(&self, slow: &Slow, ask: &Ask<'_>, now: Instant) -> Result<Pick, Refusal> {
        let facts = &*self.shared.facts;
        let (table, turn) = (self.shared.table.load(), Turn::Shared(&facts.turn.0));
        let taken = queue::take(&table, facts, ask, turn, slow.reach(), now)?;
        let backend = table.lane(taken.lane).backend.clone();
        let pick = Pick::new(backend, ask.class, taken, now);
        if facts.picks_heeded() {
            told(facts, &table, pick.backend(), ask, pick.is_trial(), now);
        }
        Ok(pick)
    }
}

/// Attempts that the service's own limit counts, and that limit, where it has one.
pub(super) fn room(table: &Table, facts: &Facts) -> Option<(u32, u32)> {
    (table.most < u32::MAX).then(|| (facts.places.0.taken(), table.most))
}
