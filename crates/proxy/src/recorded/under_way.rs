//! Owns what is written down of an exchange while it goes, and who of a worker's exchanges has that done.
//!
//! An exchange asks before it picks, so that what is written down is what the pick finds. It says how an attempt ended when it knows, which
//! may be after the next one was picked; of the last one that was heard the observation says it.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::time::Instant;
use evenkeel_config::limits::{RECORDS_A_SECOND, RECORDS_UNDER_WAY, TRACES_OPEN};
use evenkeel_wire::client;
use evenkeel_wire::forward::Span;

use super::{
    ASKED, Because, DECISIONS, DRAWN, Decision, End, Ended, Missed, Recorded, Shelf, Trace, Wanted,
};
use crate::net::Net;
use crate::observation::Observation;
use crate::reason::Reason;
use crate::record::Batch;
use crate::tls::secured::Secured;
use crate::worker::{Desk, View, Worker};

/// What tells who asked for a record where it is, in the answer.
const TOLD: &[u8] = b"X-Evenkeel-Explained";

/// Where those that are traced are under way.
const TRACED: usize = 2;

const SECOND: Duration = Duration::from_secs(1);

/// What a worker records with.
#[derive(Debug)]
pub(crate) struct Recorder {
    shelf: Arc<Shelf>,
    /// When the second began in which so many records were.
    since: Cell<Instant>,
    begun: [Cell<u32>; 2],
    /// Whoever is under way holds one of these.
    under_way: [Rc<()>; PLACES],
}

/// Those that are traced have a place too.
const PLACES: usize = 3;

impl Recorder {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        Self {
            shelf,
            since: Cell::new(Instant::ZERO),
            begun: Default::default(),
            under_way: Default::default(),
        }
    }

    /// Whether there may be another one of this place now. One that may not is counted.
    pub(super) fn may(&self, place: usize, now: Instant) -> bool {
        if now.since(self.since.get()) >= SECOND {
            self.since.set(now);
            self.begun.iter().for_each(|begun| begun.set(0));
        }
        let begun = self.begun[place].get();
        let missed = if begun >= RECORDS_A_SECOND {
            Missed::Pace
        } else if !self.has_room(place, RECORDS_UNDER_WAY) {
            Missed::UnderWay
        } else {
            self.begun[place].set(begun + 1);
            return true;
        };
        self.shelf.missed(missed);
        false
    }

    fn has_room(&self, place: usize, most: usize) -> bool {
        Rc::strong_count(&self.under_way[place]) <= most
    }

    /// Whether there may be another one that is traced. One that may not is counted.
    pub(super) fn may_trace(&self) -> bool {
        let may = self.has_room(TRACED, TRACES_OPEN);
        if !may {
            self.shelf.traces.crowded();
        }
        may
    }

    /// What is written down of an exchange that begins.
    pub(super) fn begin(
        &self,
        (because, trace): (Option<Because>, Option<Trace>),
        revision: Option<u64>,
        began: Instant,
    ) -> Recording {
        let kept = because.as_ref().map(Because::place);
        let place = |at: Option<usize>| at.map(|at| self.under_way[at].clone());
        let places = [place(kept), place(trace.as_ref().map(|_| TRACED))];
        Recording::new(
            (self.shelf.number(), places),
            (because, trace),
            revision,
            began,
        )
    }
}

/// One exchange that is recorded.
#[derive(Debug)]
pub(crate) struct Recording {
    number: u64,
    /// Count it among those that are under way.
    _places: [Option<Rc<()>>; 2],
    because: Option<Because>,
    trace: Option<Trace>,
    revision: Option<u64>,
    began: Instant,
    rows: RefCell<Vec<Decision>>,
    unwritten: Cell<u32>,
    /// Whose attempt is heard.
    heard: Cell<Option<usize>>,
    /// Who was picked while it was.
    next: Cell<Option<usize>>,
    /// The attempt beside it.
    beside: Cell<Option<usize>>,
}

impl Recording {
    fn new(
        (number, places): (u64, [Option<Rc<()>>; 2]),
        (because, trace): (Option<Because>, Option<Trace>),
        revision: Option<u64>,
        began: Instant,
    ) -> Self {
        Self {
            number,
            _places: places,
            because,
            trace,
            revision,
            began,
            rows: RefCell::default(),
            unwritten: Cell::new(0),
            heard: Cell::new(None),
            next: Cell::new(None),
            beside: Cell::new(None),
        }
    }

    /// Whether what picks find is written down.
    pub(crate) const fn explains(&self) -> bool {
        self.because.is_some()
    }

    /// The exchange's span.
    pub(crate) fn span(&self) -> Option<Span> {
        self.trace.as_ref().map(Trace::span)
    }

    /// That of the attempt that was decided last, but for one beside it.
    pub(crate) fn span_of_next(&self) -> Option<u64> {
        let at = self.next.get().or(self.heard.get())?;
        Some(self.trace.as_ref()?.of_attempt(at))
    }

    /// That of the attempt beside it.
    pub(crate) fn span_beside(&self) -> Option<u64> {
        Some(self.trace.as_ref()?.of_attempt(self.beside.get()?))
    }

    fn put(&self, decision: Decision) -> Option<usize> {
        let mut rows = self.rows.borrow_mut();
        if rows.len() >= DECISIONS {
            self.unwritten.set(self.unwritten.get() + 1);
            return None;
        }
        rows.push(decision);
        Some(rows.len() - 1)
    }

    /// This was decided; whoever was picked, for the next attempt.
    pub(crate) fn decided(&self, decision: Decision) {
        let picked = matches!(decision.picked, Some(Ok(_)));
        let at = self.put(decision);
        if !picked {
            return;
        }
        let ended = |at: usize| {
            self.rows
                .borrow()
                .get(at)
                .is_none_or(|one| one.ended.is_some())
        };
        match self.heard.get() {
            // How that one ended is not said yet.
            Some(heard) if !ended(heard) => self.next.set(at),
            _ => self.heard.set(at),
        }
    }

    /// The same for an attempt beside the one that is heard.
    pub(crate) fn decided_beside(&self, decision: Decision) {
        self.beside.set(self.put(Decision {
            beside: true,
            ..decision
        }));
    }

    fn end(&self, at: Option<usize>, ended: Ended) {
        let mut rows = self.rows.borrow_mut();
        if let Some(one) = at.and_then(|at| rows.get_mut(at)) {
            one.ended.get_or_insert(ended);
        }
    }

    /// The attempt that is heard ended so, and the exchange goes on.
    pub(crate) fn went(&self, seen: &Observation, how: End, now: Instant) {
        let ended = Ended {
            after: now.since(self.began),
            connect: seen.connect,
            head: seen.head,
            how,
        };
        self.end(self.heard.get(), ended);
        if let Some(next) = self.next.take() {
            self.heard.set(Some(next));
        }
    }

    /// The attempt beside it ended so, unless that is known already.
    pub(crate) fn went_beside(&self, how: End, now: Instant) {
        let ended = Ended {
            after: now.since(self.began),
            connect: None,
            head: None,
            how,
        };
        self.end(self.beside.get(), ended);
    }

    /// The attempt beside it was answered first, and is heard from now on.
    pub(crate) fn overtaken(&self, seen: &Observation, now: Instant) {
        self.went(seen, End::Outrun, now);
        self.heard.set(self.beside.take());
    }

    /// How many decisions are not written down.
    pub(super) fn unwritten(&self) -> u32 {
        self.unwritten.get()
    }

    /// The exchange has ended: so did the attempt that was heard.
    pub(super) fn close(&self, seen: &Observation) -> Vec<Decision> {
        let how = match seen.reason {
            Reason::Served => End::Answered(seen.status),
            reason => End::Failed(reason),
        };
        let ended = Ended {
            after: seen.total,
            connect: seen.connect,
            head: seen.head,
            how,
        };
        self.end(self.heard.get(), ended);
        self.went_beside(End::GivenUp, self.began + seen.total);
        std::mem::take(&mut self.rows.borrow_mut())
    }
}

impl<N: Net> Worker<N> {
    /// Begins to record an exchange whose head is here, if it is one of those.
    #[cold]
    pub(crate) fn record(
        &self,
        wanted: &Wanted,
        (view, desk): (&View<N>, &mut Desk),
        began: Instant,
        recording: &OnceCell<Rc<Recording>>,
    ) {
        let because = self.because(wanted, desk);
        let trace = self.trace(wanted, view, desk);
        if because.is_none() && trace.is_none() {
            return;
        }
        let revision = view.live.records.revision();
        let begun = self.recorder.begin((because, trace), revision, began);
        if matches!(begun.because, Some(Because::Asked(_))) {
            let id = format!("{}-{}", self.index, begun.number);
            // A name and a value of our own.
            let _ = desk.altered.response().set(TOLD, id.as_bytes());
        }
        let _ = recording.set(Rc::new(begun));
    }

    /// Why it is one of those.
    fn because(&self, wanted: &Wanted, desk: &Desk) -> Option<Because> {
        let (recorder, now) = (&self.recorder, self.now());
        if let Some(token) = wanted.shown(&desk.request) {
            // First, so that nobody has tokens looked up without end.
            if recorder.may(ASKED, now) {
                match wanted.holder(token, self.net.since_1970()) {
                    Some(name) => return Some(Because::Asked(name.clone())),
                    None => recorder.shelf.missed(Missed::Token),
                }
            }
        }
        let drawn = wanted.draws(|| self.chance());
        (drawn && recorder.may(DRAWN, now)).then_some(Because::Drawn)
    }

    /// Its place in a trace: as whoever is trusted says, else by chance.
    fn trace(&self, wanted: &Wanted, view: &View<N>, desk: &Desk) -> Option<Trace> {
        let traces = wanted.traces()?;
        let trusted = view.live.trusts(desk.seen.peer);
        let parent = trusted.then(|| client::parent(&desk.request)).flatten();
        let draws = || traces.draws(|| self.chance());
        let is = parent.map_or_else(draws, |(_, sampled)| sampled);
        if !is || !self.recorder.may_trace() {
            return None;
        }
        let chance = || self.chance();
        Some(Trace::begin(parent.map(|(span, _)| span), chance))
    }

    /// Keeps what was written down of an exchange that has ended, or goes on as a tunnel.
    #[cold]
    pub(crate) fn keep(
        &self,
        recording: &Recording,
        view: &View<N>,
        desk: &mut Desk,
        secured: Option<&Secured>,
    ) {
        desk.seen.total = self.now().since(recording.began);
        let mut batch = Batch::default();
        batch.push(&view.live.plan, desk, secured, self.net.since_1970());
        self.recorder.shelf.put(Recorded {
            number: recording.number,
            because: recording.because.clone(),
            trace: recording.trace,
            // Its plan may have been numbered since.
            revision: recording.revision.or_else(|| view.live.records.revision()),
            batch,
            decisions: recording.close(&desk.seen),
            unwritten: recording.unwritten(),
        });
    }
}

impl Decision {
    /// This came of it, so long after.
    pub(crate) fn picked(
        self,
        picked: Option<Result<&BackendId, Refusal>>,
        waited: Duration,
    ) -> Self {
        Self {
            picked: picked.map(|picked| picked.cloned()),
            waited,
            ..self
        }
    }
}
