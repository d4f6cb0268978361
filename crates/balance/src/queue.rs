//! Owns who waits while a service is full: in which order they go, how many may wait, and that nobody waits while there is room.
//!
//! Waiting is the caller's: it polls a [`Waiting`](crate::queue::Waiting) and brings the time. The line is touched only while a service is full. Whoever
//! gives a charge back looks at one flag; while somebody waits he takes the line's lock, picks for the first who may go, and wakes
//! that one: before the others of its class, whoever waits for the very backend that has room again (`homes`). A pick that nobody
//! waited for comes behind those who wait.
//!
//! A policy of the program's own chooses while the line is held, so nothing is told then: what it breaks is told by whoever held the line,
//! once it holds it no more, and a snapshot does not need the line.
//!
//! Nobody misses his turn. Who lines up raises the flag first and then looks for room; who gives back gives first and then looks at
//! the flag. Of two such pairs, sequentially consistent, at least one sees the other's. Read next: `service`, `choice`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Deref};
use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::ask::{Ask, ClassId, Tried};
use crate::backend::{Backend, BackendId};
use crate::choice;
use crate::facts::{Facts, Flags};
use crate::parts::Reach;
use crate::pick::{Pick, Refusal};
use crate::policy::Turn;
use crate::service::{Service, told};
use crate::settings::QueueSettings;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::table::Table;
use crate::time::Instant;
use crate::zone::ZoneId;

/// The way in.
mod entering;

/// The line while it is held.
mod holding;

/// Who waits for its own backend.
mod homes;

pub(crate) use entering::{enter, take};
use homes::Homes;

/// A pick, or a place in the queue.
#[derive(Debug)]
pub enum Entry<P> {
    /// There was room.
    Picked(P),
    /// There was none.
    Waiting(Waiting),
}

/// What is to be told of a queue at one moment. `entered = served + refused + left + waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSnapshot {
    /// Asks that wait now.
    pub waiting: usize,
    /// Asks that had to wait, since the service began.
    pub entered: u64,
    /// Of them, those that got a pick.
    pub served: u64,
    /// Those that were refused: their time was over, a better class came to a full queue, or there was nobody left to wait for.
    pub refused: u64,
    /// Those whose caller gave up.
    pub left: u64,
    /// How long those waited that got a pick, all together.
    pub waited: Duration,
}

/// Who waits for one service.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    /// Somebody holds the line, and a policy of the program's own may run under it.
    settling: AtomicBool,
    /// What the line came to when it was held last. A lock of its own, under which nothing else runs: a policy may look too.
    seen: Mutex<QueueSnapshot>,
}

#[derive(Debug, Default)]
struct Line {
    /// By class, and within it by who came first.
    waiting: BTreeMap<Place, Arc<Ticket>>,
    /// Those of them whose clients are kept.
    homes: Homes,
    /// By what they wait. None: nobody has yet, or there is no queue any more.
    settings: Option<QueueSettings>,
    came: u64,
    counts: QueueSnapshot,
}

type Place = (u16, u64);

/// One who waits.
struct Ticket {
    service: Service,
    ask: Kept,
    since: Instant,
    /// The time of its caller.
    by: Instant,
    /// When it waits no longer, in nanoseconds: settings may change that.
    until: AtomicU64,
    state: Mutex<State>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

enum State {
    Waiting(Option<Waker>),
    /// Out of the line, with what it waited for.
    Called(Result<Pick<Called>, Refusal>),
    Over,
}

/// An ask that outlives its asker's call.
struct Kept {
    chance: u64,
    key: Option<u64>,
    class: ClassId,
    queue_class: u16,
    tried: Tried,
    kept: Option<u64>,
    client: Option<u64>,
    zone: Option<ZoneId>,
    subset: Option<Box<[BackendId]>>,
}

/// How a pick that was waited for holds its backend: by the table that it was picked from.
#[derive(Clone, Debug)]
pub struct Called {
    pub(crate) table: Arc<Table>,
    pub(crate) lane: usize,
}

impl Deref for Called {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.table.lane(self.lane).backend
    }
}

impl Pick<Called> {
    /// The same pick, held for as long as need be: by its backend alone. Cost: a shared count.
    pub fn lasting(self) -> Pick {
        let backend = self.held().table.lane(self.held().lane).backend.clone();
        self.held_by(backend)
    }
}

/// A place in the queue of a full service. Dropped, it leaves the queue; what it was given meanwhile goes to the next.
#[must_use = "who drops his place does not wait"]
#[derive(Debug)]
pub struct Waiting {
    ticket: Arc<Ticket>,
    place: Place,
}

impl Waiting {
    /// When waiting ends: it is to be polled again then. No later than the queue's `timeout`, and the caller's own time. Other settings
    /// of the queue change it, and wake who waits.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.ticket.until()
    }

    /// A pick, once there is one. Wakes `waker`, of the newest call, when it is worth asking again before [`until`](Self::until), or when
    /// that has changed.
    ///
    /// # Errors
    /// [`Refusal::QueueTimeout`] when the time is over, [`Refusal::QueueFull`] when a better class came and the queue was full, or
    /// another refusal when there is nobody left to wait for.
    pub fn poll(&mut self, waker: &Waker, now: Instant) -> Poll<Result<Pick<Called>, Refusal>> {
        let mut state = self.ticket.state();
        if let State::Waiting(held) = &mut *state
            && now < self.ticket.until()
        {
            match held {
                Some(held) => held.clone_from(waker),
                None => *held = Some(waker.clone()),
            }
            return Poll::Pending;
        }
        drop(state);
        let facts = &*self.ticket.service.shared.facts;
        let ended = facts.queue.leave(facts, self, |counts| counts.refused += 1);
        let result = ended.unwrap_or(Err(Refusal::QueueTimeout));
        Poll::Ready(self.ticket.claim(result, now))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let facts = &*self.ticket.service.shared.facts;
        let ended = facts.queue.leave(facts, self, |counts| counts.left += 1);
        if let Some(Ok(pick)) = ended {
            let at = pick.at();
            // It was picked: hooks hear of that before they hear of its end.
            drop(self.ticket.claim(Ok(pick), at));
        }
    }
}

impl Ticket {
    fn until(&self) -> Instant {
        Instant::from_nanos(self.until.load(Ordering::Relaxed))
    }

    /// From here on it waits by these settings.
    fn wait_by(&self, settings: QueueSettings) {
        let until = self.by.min(self.since + settings.timeout);
        self.until.store(until.as_nanos(), Ordering::Relaxed);
    }

    /// Whom to wake so that he looks.
    fn waker(&self) -> Option<Waker> {
        match &mut *self.state() {
            State::Waiting(waker) => waker.take(),
            State::Called(_) | State::Over => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it waited for goes to its caller, outside all locks.
    fn claim(
        &self,
        result: Result<Pick<Called>, Refusal>,
        now: Instant,
    ) -> Result<Pick<Called>, Refusal> {
        let shared = &*self.service.shared;
        match result {
            Ok(mut pick) => {
                pick.begins(now);
                if shared.facts.watched() {
                    let table = pick.held().table.clone();
                    let (backend, trial) = (pick.backend(), pick.is_trial());
                    told(&shared.facts, &table, backend, &self.ask.ask(), trial, now);
                }
                Ok(pick)
            }
            Err(refusal) => {
                let members = shared.table.load().members.len();
                shared.facts.refused(refusal, members, now);
                Err(refusal)
            }
        }
    }
}

impl Kept {
    fn new(ask: &Ask<'_>) -> Self {
        Self {
            chance: ask.chance,
            key: ask.key,
            class: ask.class,
            queue_class: ask.queue_class,
            tried: *ask.tried,
            kept: ask.kept,
            client: ask.client,
            zone: ask.zone,
            subset: ask.subset.map(Into::into),
        }
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            chance: self.chance,
            key: self.key,
            class: self.class,
            queue_class: self.queue_class,
            tried: &self.tried,
            kept: self.kept,
            client: self.client,
            zone: self.zone,
            subset: self.subset.as_deref(),
        }
    }

    /// Where it finds no room, nobody does.
    fn is_plain(&self) -> bool {
        self.tried.is_empty() && self.subset.is_none()
    }
}

impl Line {
    /// Gives what room there is to those who wait, in their order, but the place that was `freed` first to who waits for that; says whom
    /// to wake, once the line is not locked any more.
    fn settle(&mut self, service: &Service, freed: Option<&Backend>, now: Instant) -> Vec<Waker> {
        let facts = &*service.shared.facts;
        let table = service.shared.table.load();
        let mut wake = Vec::new();
        if let Some(place) = freed.and_then(|freed| self.at_home(&table, freed, now)) {
            self.serve(place, (&table, facts), &mut wake, now);
        }
        let mut behind = Bound::Unbounded;
        while let Some((&place, ticket)) = self.waiting.range((behind, Bound::Unbounded)).next() {
            let alike = ticket.ask.is_plain() && !table.prepared.is_custom();
            if self.serve(place, (&table, facts), &mut wake, now) {
                continue;
            }
            if alike {
                break;
            }
            behind = Bound::Excluded(place);
        }
        if self.settings != table.queue {
            self.follow(table.queue, &mut wake);
        }
        self.ended(facts);
        wake
    }

    /// Calls one who waits, with a pick or a refusal. False: it waits on.
    fn serve(
        &mut self,
        place: Place,
        (table, facts): (&Arc<Table>, &Facts),
        wake: &mut Vec<Waker>,
        now: Instant,
    ) -> bool {
        let ticket = self.waiting.get(&place);
        let Some(result) = ticket.and_then(|ticket| ticket.serve(table, facts, now)) else {
            return false;
        };
        let Some(ticket) = self.take_out(place) else {
            return false;
        };
        match &result {
            Ok(_) => {
                self.counts.served += 1;
                self.counts.waited += now.since(ticket.since);
            }
            Err(_) => self.counts.refused += 1,
        }
        wake.extend(ticket.call(result));
        true
    }

    fn put_in(&mut self, place: Place, ticket: Arc<Ticket>) {
        self.homes.put_in(ticket.ask.kept, place);
        self.waiting.insert(place, ticket);
    }

    fn take_out(&mut self, place: Place) -> Option<Arc<Ticket>> {
        let ticket = self.waiting.remove(&place)?;
        self.homes.take_out(ticket.ask.kept, place);
        Some(ticket)
    }

    /// The last of the line, out of it.
    fn take_last(&mut self) -> Option<Arc<Ticket>> {
        let (&place, _) = self.waiting.last_key_value()?;
        self.take_out(place)
    }

    /// There are other settings: who waits does so by these, or not at all.
    #[cold]
    fn follow(&mut self, settings: Option<QueueSettings>, wake: &mut Vec<Waker>) {
        self.settings = settings;
        let Some(settings) = settings else {
            while let Some(last) = self.take_last() {
                self.counts.refused += 1;
                wake.extend(last.call(Err(Refusal::AllFull)));
            }
            return;
        };
        self.shorten(settings, wake);
        for ticket in self.waiting.values() {
            ticket.wait_by(settings);
            wake.extend(ticket.waker());
        }
    }

    /// The last of the line go, while it is too long: of two of one class, who came later.
    fn shorten(&mut self, settings: QueueSettings, wake: &mut Vec<Waker>) {
        let most = usize::try_from(settings.length).unwrap_or(usize::MAX);
        while self.waiting.len() > most
            && let Some(last) = self.take_last()
        {
            self.counts.refused += 1;
            wake.extend(last.call(Err(Refusal::QueueFull)));
        }
    }

    /// To be said whenever somebody has left the line.
    fn ended(&mut self, facts: &Facts) {
        if self.waiting.is_empty() {
            facts.flags.set(Flags::WAITING, false);
        }
    }
}

impl Ticket {
    /// What becomes of it now. None: it waits on.
    fn serve(
        &self,
        table: &Arc<Table>,
        facts: &Facts,
        now: Instant,
    ) -> Option<Result<Pick<Called>, Refusal>> {
        if now >= self.until() {
            return Some(Err(Refusal::QueueTimeout));
        }
        let turn = Turn::Shared(&facts.turn.0);
        match choice::take_place(table, facts, &self.ask.ask(), turn, Reach::All, now) {
            Ok(taken) => {
                let held = Called {
                    table: table.clone(),
                    lane: taken.lane,
                };
                Some(Ok(Pick::new(held, self.ask.class, taken, now)))
            }
            Err(Refusal::AllFull | Refusal::Declined) => None,
            Err(refusal) => Some(Err(refusal)),
        }
    }

    fn call(&self, result: Result<Pick<Called>, Refusal>) -> Option<Waker> {
        match std::mem::replace(&mut *self.state(), State::Called(result)) {
            State::Waiting(waker) => waker,
            State::Called(_) | State::Over => None,
        }
    }
}

impl Queue {
    /// What there is to tell. Needs no line, so that a policy that chooses for those who wait may ask.
    pub(crate) fn snapshot(&self) -> QueueSnapshot {
        *self.seen()
    }

    /// Whether somebody holds the line, and pays what is owed when he lets go.
    pub(crate) fn is_settling(&self) -> bool {
        self.settling.load(Ordering::SeqCst)
    }

    /// Out of the line, and counted so, if it is in there; else what it was called with.
    fn leave(
        &self,
        facts: &Facts,
        waiting: &Waiting,
        count: impl FnOnce(&mut QueueSnapshot),
    ) -> Option<Result<Pick<Called>, Refusal>> {
        let over = |state: &mut State| std::mem::replace(state, State::Over);
        // Who was called is not in the line any more, and needs no look at it.
        {
            let mut state = waiting.ticket.state();
            if !matches!(*state, State::Waiting(_)) {
                return over(&mut state).called();
            }
        }
        let mut line = self.line(facts);
        if line.take_out(waiting.place).is_some() {
            count(&mut line.counts);
            line.ended(facts);
        }
        over(&mut waiting.ticket.state()).called()
    }

    fn seen(&self) -> MutexGuard<'_, QueueSnapshot> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn called(self) -> Option<Result<Pick<Called>, Refusal>> {
        match self {
            Self::Called(result) => Some(result),
            Self::Waiting(_) | Self::Over => None,
        }
    }
}
