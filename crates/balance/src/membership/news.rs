//! Owns what has changed for whoever checks members: how much, and of whom.
//!
//! A look at all members costs each of them a copy; whoever remembers how much had changed is told of those who changed since. Next:
//! `Service::changes`, `Service::changed`.

use super::Ledger;
use crate::snapshot::{BackendSnapshot, Changes};
use crate::time::Instant;

/// How often who is checked, and how often what checks say of them, changed.
#[derive(Default)]
pub(super) struct News {
    all: Changes,
    /// As much of `health` had changed when something last changed that names no member.
    of_any: u64,
}

impl Ledger {
    /// How much has changed that whoever checks members goes by.
    pub(crate) const fn changes(&self) -> Changes {
        self.news.all
    }

    /// Who is a member, or what is configured of one, is otherwise.
    pub(super) fn news_of_membership(&mut self) {
        self.news.all.members += 1;
    }

    /// Anything of any member may be otherwise.
    pub(super) fn news_of_any(&mut self) {
        self.news.all.health += 1;
        self.news.of_any = self.news.all.health;
    }

    /// What checks, traffic or an operator say of this member is otherwise.
    pub(super) fn news_of(&mut self, at: usize) {
        self.news.all.health += 1;
        self.members[at].news = self.news.all.health;
    }

    /// Those of whom something has changed since that much had. None: it may be anybody. Cost: a glance at each member.
    pub(crate) fn changed(&self, since: Changes, now: Instant) -> Option<Vec<BackendSnapshot>> {
        let Changes {
            members, health, ..
        } = self.news.all;
        // More than there is was said by another service.
        let known = self.news.of_any..=health;
        let named = since.members == members && known.contains(&since.health);
        named.then(|| {
            let changed = self.members.iter().filter(|one| one.news > since.health);
            changed
                .map(|one| self.seen(one, self.totals, now))
                .collect()
        })
    }
}
