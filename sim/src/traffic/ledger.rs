//! Owns what must hold: every request that was asked, where it was seen, how it ended, and every finding against the engine.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::spoken::{Asked, Body, Direction, Head, Met, pattern};

/// How a request ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing yet.
    Pending,
    /// A whole answer with this status; `here`: the proxy made it.
    Answered { status: u16, here: bool },
    /// A visible cut within the answer.
    Cut,
    /// No byte of an answer.
    Nothing,
}

/// One request.
struct Row {
    asked: Asked,
    /// Heads of it that backends saw, whole or in part.
    seen: u32,
    /// Bodies of it that were whole to a backend.
    whole: u32,
    /// A backend answered it, whole, as it should.
    served: bool,
    /// Something was done to it that may show.
    struck: bool,
    /// It was answered before it was whole.
    early: bool,
    outcome: Outcome,
}

/// What every part of a world writes down.
#[derive(Default)]
pub(super) struct Ledger {
    rows: RefCell<Vec<Row>>,
    findings: RefCell<Vec<String>>,
    faults: RefCell<BTreeMap<&'static str, u64>>,
    reasons: RefCell<BTreeMap<String, u64>>,
    /// Bytes of bodies that clients got, whole answers or not.
    pub(super) got: Cell<u64>,
    /// Connections that backends hold.
    pub(super) held: Cell<usize>,
    /// Idempotent requests may come this often.
    pub(super) attempts: Cell<u32>,
}

impl Ledger {
    /// Notes a request that will be asked; its number.
    pub(super) fn asks(&self, asked: Asked) -> usize {
        let mut rows = self.rows.borrow_mut();
        rows.push(Row {
            asked,
            seen: 0,
            whole: 0,
            served: false,
            struck: false,
            // Nobody waits for a body that is denied.
            early: asked.met == Met::Deny && asked.body != Body::None,
            outcome: Outcome::Pending,
        });
        rows.len() - 1
    }

    pub(super) fn asked(&self, id: usize) -> Option<Asked> {
        self.rows.borrow().get(id).map(|row| row.asked)
    }

    /// Something that must not be.
    pub(super) fn finding(&self, what: String) {
        self.findings.borrow_mut().push(what);
    }

    pub(super) fn findings(&self) -> Vec<String> {
        self.findings.borrow().clone()
    }

    /// A fault was done.
    pub(super) fn fault(&self, what: &'static str) {
        *self.faults.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.faults.borrow().clone()
    }

    /// Answers that the proxy made, by reason, as clients saw them.
    pub(super) fn reasons(&self) -> BTreeMap<String, u64> {
        self.reasons.borrow().clone()
    }

    /// Something was done to this request that may show.
    pub(super) fn struck(&self, id: usize) {
        if let Some(row) = self.rows.borrow_mut().get_mut(id) {
            row.struck = true;
        }
    }

    pub(super) fn is_struck(&self, id: usize) -> bool {
        self.rows.borrow().get(id).is_some_and(|row| row.struck)
    }

    /// This request is answered before it is whole.
    pub(super) fn early(&self, id: usize) {
        if let Some(row) = self.rows.borrow_mut().get_mut(id) {
            row.early = true;
        }
    }

    pub(super) fn is_early(&self, id: usize) -> bool {
        self.rows.borrow().get(id).is_some_and(|row| row.early)
    }

    /// A backend saw a head, as a member of this service.
    pub(super) fn head_seen(
        &self,
        (backend, service): (usize, usize),
        bytes: &[u8],
    ) -> Option<(usize, Head)> {
        let Some(head) = Head::parse(bytes) else {
            self.finding(format!(
                "backend {backend} got a head that is none: {:?}",
                String::from_utf8_lossy(bytes)
            ));
            return None;
        };
        let Some((id, asked)) = head.id().and_then(|id| Some((id, self.asked(id)?))) else {
            self.finding(format!(
                "backend {backend} got a request of nobody: {head:?}"
            ));
            return None;
        };
        let (_, prefix) = asked.met.prefix();
        if head.first != format!("{} {prefix}/{id} HTTP/1.1", asked.method) {
            self.finding(format!("request {id} arrived as {:?}", head.first));
        }
        if !asked.met.may_reach(service) {
            self.finding(format!(
                "request {id} ({asked:?}) reached service {service}"
            ));
        }
        if asked.malformed.is_some() {
            self.finding(format!("malformed request {id} reached backend {backend}"));
        }
        self.seen(id);
        Some((id, head))
    }

    /// A connection ended within a head: whatever of a request is in it has arrived, too.
    pub(super) fn part_seen(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let id = text
            .split_once("X-Exchange: ")
            .and_then(|(_, rest)| rest.split_once('\r'))
            .and_then(|(id, _)| id.parse().ok());
        if let Some(id) = id {
            self.seen(id);
        }
    }

    fn seen(&self, id: usize) {
        let mut rows = self.rows.borrow_mut();
        let Some(row) = rows.get_mut(id) else { return };
        row.seen += 1;
        if row.asked.met == Met::Deny {
            drop(rows);
            return self.finding(format!("denied request {id} reached a backend"));
        }
        // Each attempt may meet one stale connection before its own.
        let most = match row.asked.is_idempotent() {
            true => 2 * self.attempts.get(),
            false => 1,
        };
        if row.seen > most {
            let what = format!(
                "{} {id} reached backends {} times",
                row.asked.method, row.seen
            );
            drop(rows);
            self.finding(what);
        }
    }

    /// A whole body reached a backend.
    pub(super) fn body_seen(&self, id: usize, body: &[u8]) {
        let Some(asked) = self.asked(id) else { return };
        let expected = match asked.body {
            Body::Exact(length) | Body::Chunked(length) => length,
            Body::None | Body::UntilClose(_) => 0,
            Body::Broken(_) => {
                return self.finding(format!("the broken body of {id} became whole"));
            }
        };
        if body != pattern(id, Direction::Up, expected) {
            self.finding(format!(
                "the body of request {id} is not its own: {} bytes for {expected}",
                body.len()
            ));
        }
        if let Some(row) = self.rows.borrow_mut().get_mut(id) {
            row.whole += 1;
        }
    }

    /// A backend has written a whole answer.
    pub(super) fn served(&self, id: usize) {
        if let Some(row) = self.rows.borrow_mut().get_mut(id) {
            row.served = true;
        }
    }

    /// The client saw a whole answer.
    pub(super) fn answered(&self, id: usize, status: u16, reason: Option<&str>) {
        // An answer to HEAD has no body to say a word.
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            *self
                .reasons
                .borrow_mut()
                .entry(reason.to_owned())
                .or_default() += 1;
        }
        let served = self.rows.borrow().get(id).is_some_and(|row| row.served);
        if reason.is_none() && !served {
            self.finding(format!(
                "request {id} got a backend's answer that none finished"
            ));
        }
        let here = reason.is_some();
        self.ended(id, Outcome::Answered { status, here });
    }

    /// The client saw it end.
    pub(super) fn ended(&self, id: usize, outcome: Outcome) {
        let mut rows = self.rows.borrow_mut();
        let Some(row) = rows.get_mut(id) else { return };
        let before = std::mem::replace(&mut row.outcome, outcome);
        if before != Outcome::Pending {
            drop(rows);
            self.finding(format!("request {id} ended twice: {before:?}, {outcome:?}"));
        }
    }

    /// All requests, with how they ended.
    pub(super) fn outcomes(&self) -> Vec<(Asked, Outcome)> {
        self.rows
            .borrow()
            .iter()
            .map(|row| (row.asked, row.outcome))
            .collect()
    }
}
