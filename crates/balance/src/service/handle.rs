//! Owns a worker's own view of a service: the same picks, without a count that workers share.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use super::{Service, told};
use crate::ask::Ask;
use crate::backend::Backend;
use crate::choice;
use crate::pick::{Pick, Refusal};
use crate::policy::Turn;
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
        let shared = &*self.service.shared;
        let (table, facts) = (self.current(), &*shared.facts);
        match choice::take(&table.0, facts, ask, Turn::Own(&self.turn), now) {
            Ok(taken) => {
                let pick = Pick::new(
                    Seat {
                        table,
                        lane: taken.lane,
                    },
                    ask,
                    taken.trial,
                    now,
                );
                if facts.watched() {
                    told(
                        facts,
                        &pick.held().table.0,
                        pick.backend(),
                        ask,
                        pick.is_trial(),
                        now,
                    );
                }
                Ok(pick)
            }
            Err(refusal) => {
                facts.refused(refusal, table.0.members.len(), now);
                Err(refusal)
            }
        }
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
