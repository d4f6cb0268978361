//! Owns who is told of alerts over HTTP: for each receiver a line of messages, a task that tells them one after another, and what could not
//! be told, for an operator to look at and send again.
//!
//! Nobody waits for a receiver but its own line: what is wrong is put there and forgotten. Order is kept, so that no receiver hears that
//! something is right again before it hears what was wrong; where a line is full its oldest goes to the dead letters.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_config::plan::{AlertSeverity, AlertTurn, BackendAddress, WebhookPlan};
use evenkeel_proxy::clock::{seed, since_1970};
use evenkeel_watch::alert::Alert;
use evenkeel_watch::threshold::Severity;
use tokio::sync::Notify;

use crate::command::Refused;
use crate::snapshot::Watch;

/// What is said.
mod message;

/// Who says it.
mod teller;

use message::Message;
pub(crate) use teller::Tellers;

/// Messages that wait for a receiver: the alerts of a bad hour, some 150 KiB.
pub const WAITING_MOST: usize = 256;

/// Dead letters of a receiver that are kept.
pub const DEAD_MOST: usize = 64;

/// So many attempts in a row that fail are trouble: one is a restart.
const ROW: u32 = 2;

/// All receivers. Written by the one writer and each receiver's task, read by whoever asks.
#[derive(Debug)]
pub struct Hooks(Mutex<Desk>);

#[derive(Debug)]
struct Desk {
    lines: Vec<Line>,
    /// Of this process, in ids.
    own: u64,
    messages: u64,
    letters: u64,
    /// The process ends.
    leaving: bool,
}

/// One receiver, and what it is to be told.
#[derive(Debug)]
struct Line {
    plan: Arc<WebhookPlan>,
    /// Wakes the task that tells it, and tells this line from an earlier one of its name.
    wake: Arc<Notify>,
    /// What is being told, and how often that was tried.
    under_way: Option<(Arc<Message>, u32)>,
    waiting: VecDeque<Arc<Message>>,
    dead: VecDeque<Letter>,
    counts: HookCounts,
    /// Attempts in a row that failed.
    row: u32,
    failing: bool,
    last_error: Option<(String, Duration)>,
}

#[derive(Debug)]
struct Letter {
    number: u64,
    message: Arc<Message>,
    why: String,
    attempts: u32,
    at: Duration,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// The receiver took them.
    pub delivered: u64,
    /// Attempts that were not the first of their message.
    pub again: u64,
    /// It refused them for good.
    pub refused: u64,
    /// They were tried as often as may be.
    pub given_up: u64,
    /// Too many waited.
    pub crowded: u64,
    /// Dead letters that are kept no more, as newer ones took their place.
    pub forgotten: u64,
}

/// A receiver as it is told of.
#[derive(Clone, Debug)]
pub struct HookPart {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is, without the path, which may be a secret.
    pub to: String,
    /// What became of messages.
    pub counts: HookCounts,
    /// Messages that wait, that which is being told among them.
    pub waiting: usize,
    /// Dead letters that are kept.
    pub dead: usize,
    /// Attempts fail one after another.
    pub failing: bool,
    /// Why the last attempt that failed did, and when.
    pub last_error: Option<(String, Duration)>,
}

/// What could not be told.
#[derive(Clone, Debug)]
pub struct LetterPart {
    /// Its number; none of this process has it again.
    pub number: u64,
    /// The receiver.
    pub webhook: Arc<str>,
    /// The message's id.
    pub id: String,
    /// `alert_raised` or `alert_cleared`.
    pub kind: &'static str,
    /// The alert's number.
    pub alert: u64,
    /// Of which service.
    pub service: String,
    /// Of which backend.
    pub backend: Option<String>,
    /// Why not.
    pub why: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, since 1970.
    pub at: Duration,
}

/// Why a message is told no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Refused,
    GivenUp,
}

/// What a receiver's task is to do.
#[derive(Debug)]
enum Next {
    /// There is no such receiver any more, or nothing is left to tell and the process ends.
    End,
    Wait,
    /// To be tried for the time of this number, from 1.
    Tell(Arc<WebhookPlan>, Arc<Message>, u32),
}

/// Whether a receiver's trouble begins, or is over.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Fails(String),
    Mended,
}

impl Default for Hooks {
    fn default() -> Self {
        Self(Mutex::new(Desk {
            lines: Vec::new(),
            own: seed(),
            messages: 0,
            letters: 0,
            leaving: false,
        }))
    }
}

impl Hooks {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over who is told. Who stays keeps what waits; who goes leaves nothing. Those that are new are to be told by a task of their own.
    fn follow(&self, plans: &[WebhookPlan]) -> Vec<(Arc<str>, Arc<Notify>)> {
        let mut desk = self.desk();
        let mut before = std::mem::take(&mut desk.lines);
        let mut fresh = Vec::new();
        for plan in plans {
            let at = before.iter().position(|line| line.plan.name == plan.name);
            let line = match at.map(|at| before.swap_remove(at)) {
                Some(mut line) if *line.plan != *plan => {
                    line.plan = Arc::new(plan.clone());
                    line
                }
                Some(line) => line,
                None => {
                    let line = Line::new(plan);
                    fresh.push((plan.name.clone(), line.wake.clone()));
                    line
                }
            };
            desk.lines.push(line);
        }
        for line in &before {
            line.wake.notify_one();
        }
        fresh
    }

    /// Puts a turn of an alert into the lines of all who want it. Cost: a message, and for each line an entry.
    pub(crate) fn tell(&self, alert: &Alert, silenced: bool) {
        let at = since_1970();
        let mut desk = self.desk();
        if !desk.lines.iter().any(|line| line.wants(alert)) {
            return;
        }
        desk.messages += 1;
        let id = format!("{:016x}-{}", desk.own, desk.messages);
        let message = Arc::new(Message::of(alert, silenced, id, at));
        let Desk { lines, letters, .. } = &mut *desk;
        for line in lines.iter_mut().filter(|line| line.wants(alert)) {
            if line.waiting.len() == WAITING_MOST
                && let Some(oldest) = line.waiting.pop_front()
            {
                line.counts.crowded += 1;
                line.bury((oldest, 0), "too many wait", (letters, at));
            }
            line.waiting.push_back(message.clone());
            line.wake.notify_one();
        }
    }

    /// Puts a dead letter back into its line, behind what waits.
    ///
    /// # Errors
    /// There is none of this number, or as many wait as may.
    pub(crate) fn again(&self, number: u64) -> Result<(), Refused> {
        let mut desk = self.desk();
        let is_it = |letter: &Letter| letter.number == number;
        let mut found = None;
        for line in &mut desk.lines {
            let at = line.dead.iter().position(is_it);
            if let Some(at) = at {
                found = Some((line, at));
                break;
            }
        }
        let Some((line, at)) = found else {
            return Err(Refused::Unknown {
                what: "letter",
                name: number.to_string(),
                near: None,
            });
        };
        if line.waiting.len() == WAITING_MOST {
            return Err(Refused::Busy);
        }
        line.waiting
            .extend(line.dead.remove(at).map(|letter| letter.message));
        line.wake.notify_one();
        Ok(())
    }

    /// Receivers, in the order of the configuration, and what could not be told them, the oldest of each first.
    #[must_use]
    pub fn parts(&self) -> (Vec<HookPart>, Vec<LetterPart>) {
        let desk = self.desk();
        let letters = desk.lines.iter().flat_map(Line::letters).collect();
        (desk.lines.iter().map(Line::part).collect(), letters)
    }

    /// The process ends: each message that waits is tried once.
    fn leave(&self) {
        let mut desk = self.desk();
        desk.leaving = true;
        desk.lines.iter().for_each(|line| line.wake.notify_one());
    }

    fn next(&self, whose: &Arc<Notify>) -> Next {
        let mut desk = self.desk();
        let leaving = desk.leaving;
        let Some(line) = desk.line(whose) else {
            return Next::End;
        };
        if line.under_way.is_none() {
            line.under_way = line.waiting.pop_front().map(|message| (message, 0));
        }
        match &mut line.under_way {
            None if leaving => Next::End,
            None => Next::Wait,
            Some((message, tries)) => {
                *tries += 1;
                line.counts.again += u64::from(*tries > 1);
                Next::Tell(line.plan.clone(), message.clone(), *tries)
            }
        }
    }

    /// Whether a rest is to be cut short: the receiver is no more, or the process ends.
    fn is_over(&self, whose: &Arc<Notify>) -> bool {
        let mut desk = self.desk();
        desk.leaving || desk.line(whose).is_none()
    }

    fn delivered(&self, whose: &Arc<Notify>) -> Option<News> {
        let mut desk = self.desk();
        let line = desk.line(whose)?;
        line.under_way = None;
        line.counts.delivered += 1;
        line.row = 0;
        std::mem::take(&mut line.failing).then_some(News::Mended)
    }

    /// An attempt failed; for good, if it says how that ends.
    fn failed(&self, whose: &Arc<Notify>, why: &str, ends: Option<Ends>) -> Option<News> {
        let at = since_1970();
        let mut desk = self.desk();
        let Desk { lines, letters, .. } = &mut *desk;
        let line = lines
            .iter_mut()
            .find(|line| Arc::ptr_eq(&line.wake, whose))?;
        line.last_error = Some((why.to_owned(), at));
        line.row = line.row.saturating_add(1);
        if let Some(ends) = ends
            && let Some(message) = line.under_way.take()
        {
            match ends {
                Ends::Refused => line.counts.refused += 1,
                Ends::GivenUp => line.counts.given_up += 1,
            }
            line.bury(message, why, (letters, at));
        }
        let begins = !line.failing && (ends.is_some() || line.row >= ROW);
        line.failing |= begins;
        begins.then(|| News::Fails(why.to_owned()))
    }
}

impl Desk {
    fn line(&mut self, whose: &Arc<Notify>) -> Option<&mut Line> {
        let mut lines = self.lines.iter_mut();
        lines.find(|line| Arc::ptr_eq(&line.wake, whose))
    }
}

impl Line {
    fn new(plan: &WebhookPlan) -> Self {
        Self {
            plan: Arc::new(plan.clone()),
            wake: Arc::default(),
            under_way: None,
            waiting: VecDeque::new(),
            dead: VecDeque::new(),
            counts: HookCounts::default(),
            row: 0,
            failing: false,
            last_error: None,
        }
    }

    fn wants(&self, alert: &Alert) -> bool {
        let turn = match alert.cleared {
            None => AlertTurn::Raised,
            Some(_) => AlertTurn::Cleared,
        };
        let severity = match alert.severity {
            Severity::Info => AlertSeverity::Info,
            Severity::Warning => AlertSeverity::Warning,
            Severity::Critical => AlertSeverity::Critical,
        };
        self.plan.events.contains(&turn) && severity >= self.plan.severity
    }

    fn bury(
        &mut self,
        (message, attempts): (Arc<Message>, u32),
        why: &str,
        (letters, at): (&mut u64, Duration),
    ) {
        if self.dead.len() == DEAD_MOST {
            self.dead.pop_front();
            self.counts.forgotten += 1;
        }
        *letters += 1;
        self.dead.push_back(Letter {
            number: *letters,
            message,
            why: why.to_owned(),
            attempts,
            at,
        });
    }

    fn part(&self) -> HookPart {
        let scheme = self.plan.tls.as_ref().map_or("http", |_| "https");
        let to = match &self.plan.to {
            BackendAddress::Tcp(address) => address.to_string(),
            BackendAddress::Name(name, port) => format!("{name}:{port}"),
            // No plan has one.
            BackendAddress::Unix(_) => String::new(),
        };
        HookPart {
            name: self.plan.name.clone(),
            to: format!("{scheme}://{to}"),
            counts: self.counts,
            waiting: self.waiting.len() + usize::from(self.under_way.is_some()),
            dead: self.dead.len(),
            failing: self.failing,
            last_error: self.last_error.clone(),
        }
    }

    fn letters(&self) -> impl Iterator<Item = LetterPart> {
        self.dead.iter().map(|letter| LetterPart {
            number: letter.number,
            webhook: self.plan.name.clone(),
            id: letter.message.id.clone(),
            kind: letter.message.kind,
            alert: letter.message.alert,
            service: letter.message.service.clone(),
            backend: letter.message.backend.clone(),
            why: letter.why.clone(),
            attempts: letter.attempts,
            at: letter.at,
        })
    }
}

impl Watch {
    /// Who is told of alerts, in the order of the plan, and what could not be told, the oldest of each first.
    #[must_use]
    pub fn webhooks(&self) -> (Vec<HookPart>, Vec<LetterPart>) {
        self.hooks.parts()
    }
}

#[cfg(test)]
mod tests;
