//! Owns a worker's own view of a service: the same picks, without a count that workers share.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use super::{Service, hedging, told};
use crate::affinity::{self, Lost};
use crate::ask::{Ask, ClassId};
use crate::backend::Backend;
use crate::choice::{self, Taken};
use crate::explain::{self, Explanation};
use crate::hedge::{NoHedge, Slow};
use crate::pick::{Pick, Refusal};
use crate::policy::Turn;
use crate::queue::{self, Called, Entry};
use crate::sync::{Arc, Published};
use crate::table::Table;
use crate::time::Instant;

/// A worker's own view of a service. Not for sharing between threads; make one per worker.
#[derive(Debug)]
pub struct Handle {
    service: Service,
    view: RefCell<View>,
    turn: Cell<u64>,
}

/// A table as one worker saw it: counted by the worker alone, so picks move no count that others share.
#[derive(Debug)]
struct Seen(Arc<Table>);

#[derive(Debug)]
struct View {
    table: Rc<Seen>,
    seen: u64,
}

impl Handle {
    pub(super) fn new(service: Service, seed: u64) -> Self {
        let mut seen = 0;
        let mut table = service.shared.table.load();
        service.shared.table.refresh(&mut table, &mut seen);
        Self {
            service,
            view: RefCell::new(View {
                table: Rc::new(Seen(table)),
                seen,
            }),
            turn: Cell::new(seed),
        }
    }

    /// As [`Service::pick`], without touching a shared reference count.
    ///
    /// # Errors
    /// A [`Refusal`] that says which no it is.
    #[inline]
    pub fn pick(&self, ask: &Ask<'_>, now: Instant) -> Result<Pick<Seat>, Refusal> {
        let facts = &*self.service.shared.facts;
        let table = self.current();
        match choice::take(&table.0, facts, ask, Turn::Own(&self.turn), now) {
            Ok(taken) => {
                let lane = taken.lane;
                let pick = Pick::new(Seat { table, lane }, ask.class, taken, now);
                if facts.picks_heeded() {
                    let (table, trial) = (&pick.held().table.0, pick.is_trial());
                    told(facts, table, pick.backend(), ask, trial, now);
                }
                Ok(pick)
            }
            Err(refusal) => Err(self.refused(&table.0, refusal, now)),
        }
    }

    /// As [`Service::pick_or_wait`], without touching a shared reference count where there is room. A [`Waiting`](crate::queue::Waiting)'s
    /// pick becomes this worker's by [`seat`](Self::seat).
    ///
    /// # Errors
    /// A [`Refusal`] that says which no it is.
    #[inline]
    pub fn pick_or_wait(
        &self,
        ask: &Ask<'_>,
        until: Instant,
        now: Instant,
    ) -> Result<Entry<Pick<Seat>>, Refusal> {
        let facts = &*self.service.shared.facts;
        let table = self.current();
        match choice::take(&table.0, facts, ask, Turn::Own(&self.turn), now) {
            Ok(taken) => Ok(Entry::Picked(self.seated(table, ask, taken, now))),
            Err(refusal) => self.wait(&table.0, ask, until, refusal, now),
        }
    }

    /// Lines up where it was refused because all is full, and there is a queue.
    #[cold]
    fn wait(
        &self,
        table: &Table,
        ask: &Ask<'_>,
        until: Instant,
        refusal: Refusal,
        now: Instant,
    ) -> Result<Entry<Pick<Seat>>, Refusal> {
        let Some(queue) = table.queue.filter(|_| refusal == Refusal::AllFull) else {
            return Err(self.refused(table, refusal, now));
        };
        Ok(match queue::enter(&self.service, queue, ask, until, now)? {
            Entry::Picked(pick) => Entry::Picked(self.seat(pick)),
            Entry::Waiting(waiting) => Entry::Waiting(waiting),
        })
    }

    /// As [`Service::hedge_after`].
    #[must_use]
    pub fn hedge_after(&self, class: ClassId) -> Option<Duration> {
        self.service.hedge_after(class)
    }

    /// As [`Service::hedge`], by the slow way of a pick: with a third one inlined the compiler makes the other two dearer.
    ///
    /// # Errors
    /// Why there is none, which costs nothing.
    #[cold]
    pub fn hedge(&self, slow: &Slow, ask: &Ask<'_>, now: Instant) -> Result<Pick<Seat>, NoHedge> {
        let facts = &*self.service.shared.facts;
        let table = self.current();
        let room = hedging::room(&table.0, facts);
        facts.hedge(slow, ask.class, ask.kept.is_some(), room)?;
        let turn = Turn::Own(&self.turn);
        match queue::take(&table.0, facts, ask, turn, slow.reach(), now) {
            Ok(taken) => Ok(self.seated(table, ask, taken, now)),
            Err(refusal) => {
                facts.hedge_not_made();
                Err(refusal.into())
            }
        }
    }

    /// What [`pick`](Self::pick) would do with this ask now, and why: by the table and the turns of this worker. Of more than `most`
    /// members, who would be picked and those around it are looked at. Runs the same code; charges and turns nothing.
    #[must_use]
    #[cold]
    pub fn explain(&self, ask: &Ask<'_>, most: usize, now: Instant) -> Explanation {
        let facts = &self.service.shared.facts;
        explain::explain(&self.current().0, facts, ask, (self.turn.get(), most), now)
    }

    /// Why a client that is kept was given another backend than its own: as it is now.
    #[must_use]
    pub fn lost(&self, identity: u64, ask: &Ask<'_>, now: Instant) -> Lost {
        affinity::lost(&self.current().0, identity, ask, now)
    }

    /// A pick that was waited for, held as this worker holds its own.
    pub fn seat(&self, pick: Pick<Called>) -> Pick<Seat> {
        let Called { table, lane } = pick.held().clone();
        let own = self.current();
        let table = match Arc::ptr_eq(&own.0, &table) {
            true => own,
            false => Rc::new(Seen(table)),
        };
        pick.held_by(Seat { table, lane })
    }

    #[inline]
    fn seated(&self, table: Rc<Seen>, ask: &Ask<'_>, taken: Taken, now: Instant) -> Pick<Seat> {
        let facts = &*self.service.shared.facts;
        let lane = taken.lane;
        let pick = Pick::new(Seat { table, lane }, ask.class, taken, now);
        if facts.picks_heeded() {
            let (table, trial) = (&pick.held().table.0, pick.is_trial());
            told(facts, table, pick.backend(), ask, trial, now);
        }
        pick
    }

    #[cold]
    fn refused(&self, table: &Table, refusal: Refusal, now: Instant) -> Refusal {
        let facts = &*self.service.shared.facts;
        facts.refused(refusal, table.members.len(), now);
        refusal
    }

    /// The newest table, counted within the worker. The view is not borrowed while listeners and hooks run.
    #[inline]
    fn current(&self) -> Rc<Seen> {
        let published = &self.service.shared.table;
        let mut view = self.view.borrow_mut();
        if view.seen != published.version() {
            view.refresh(published);
        }
        view.table.clone()
    }

    /// The service it is a view of.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }
}

impl View {
    #[cold]
    fn refresh(&mut self, published: &Published<Table>) {
        let mut table = Arc::clone(&self.table.0);
        published.refresh(&mut table, &mut self.seen);
        self.table = Rc::new(Seen(table));
    }
}

impl Pick<Seat> {
    /// The same pick for an attempt that may last for days: it holds its backend, and nothing of the table that it was picked from.
    /// Cost: a shared count.
    pub fn lasting(self) -> Pick {
        let Seat { table, lane } = self.held();
        let backend = Arc::clone(&table.0.lane(*lane).backend);
        self.held_by(backend)
    }
}

/// How a worker's pick holds its backend: by the table it was picked from, counted within the worker only.
#[derive(Clone, Debug)]
pub struct Seat {
    table: Rc<Seen>,
    lane: usize,
}

impl Deref for Seat {
    type Target = Backend;

    #[inline]
    fn deref(&self) -> &Backend {
        &self.table.0.lane(self.lane).backend
    }
}
