//! Owns one server of the virtual world: slots, a queue in order of arrival, speed, and what is wrong with it.

use std::collections::VecDeque;

use evenkeel_balance::backend::Backend;
use evenkeel_balance::load::LoadReport;
use evenkeel_balance::time::Instant;

use crate::scenario::{Fault, Lie};

/// An attempt, by its place and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId {
    /// Place in the world's attempts.
    pub at: usize,
    /// Which of those that had the place.
    pub generation: u32,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    slots: usize,
    /// See [`Scenario::crowding`](crate::scenario::Scenario::crowding).
    crowding: Option<f64>,
    speed: f64,
    /// A neighbour takes most of the machine.
    pub crowded: bool,
    /// What is wrong, as long as it is.
    pub fault: Option<Fault>,
    /// Nothing moves before this.
    pub stalled_until: u64,
    /// What it did in the second before.
    did: Did,
    /// Seconds of work begun, and answers, in this one.
    doing: (f64, u32),
    working: Vec<AttemptId>,
    waiting: VecDeque<Work>,
}

/// What a server did in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Did {
    /// Of what it can do.
    utilization: f64,
    /// How many it answered.
    answers: f64,
}

/// An attempt and the seconds of work it is; a server does it whether or not somebody still waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Seconds on a server of speed 1.
    pub seconds: f64,
}

/// What a neighbour leaves of a server's speed.
pub const CROWDED: f64 = 0.3;

impl Server {
    /// A server of some speed; 1 is the standard.
    #[must_use]
    pub const fn new(slots: usize, crowding: Option<f64>, speed: f64) -> Self {
        Self {
            slots,
            crowding,
            speed,
            crowded: false,
            fault: None,
            stalled_until: 0,
            did: Did {
                utilization: 0.0,
                answers: 0.0,
            },
            doing: (0.0, 0),
            working: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// How fast work goes now; fixed for an exchange when it begins.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    pub fn pace(&self) -> f64 {
        let speed = match self.fault {
            Some(Fault::Pace(percent)) => self.speed * f64::from(percent) / 100.0,
            _ => self.speed,
        };
        let speed = if self.crowded { speed * CROWDED } else { speed };
        let times = self.working.len() as f64 / self.slots as f64;
        match self.crowding {
            Some(lost) if times > 1.0 => speed / (times * (1.0 + lost * (times - 1.0))),
            _ => speed,
        }
    }

    /// Work began that keeps a slot for so many seconds.
    pub const fn works(&mut self, seconds: f64) {
        self.doing.0 += seconds;
    }

    /// Says with an answer what it did, or lies.
    pub fn reports(&self, lie: Option<Lie>, to: &Backend, now: Instant) {
        let (utilization, rps) = match lie {
            None => (self.did.utilization, self.did.answers),
            Some(Lie::Zero) => (0.0, 0.0),
            Some(Lie::NoNumber) => (f64::NAN, f64::NAN),
            Some(Lie::Silent) => return,
            Some(Lie::Idle) => (0.001, self.did.answers),
            Some(Lie::Full) => (1.0, 0.001),
        };
        let report = LoadReport {
            application: Some(utilization),
            rps: Some(rps),
            ..LoadReport::default()
        };
        to.report_load(&report, now);
    }

    /// A second is over.
    #[expect(clippy::cast_precision_loss, reason = "a handful of slots")]
    pub fn second(&mut self) {
        let (seconds, answers) = std::mem::take(&mut self.doing);
        self.did = Did {
            utilization: (seconds / self.slots as f64).min(1.0),
            answers: answers.into(),
        };
    }

    /// Takes work in. True: it begins at once.
    pub fn accept(&mut self, work: Work) -> bool {
        let free = self.crowding.is_some() || self.working.len() < self.slots;
        if free {
            self.working.push(work.attempt);
        } else {
            self.waiting.push_back(work);
        }
        free
    }

    /// Ends the work on an attempt; false when it was reset meanwhile.
    pub fn done(&mut self, attempt: AttemptId) -> bool {
        let at = self.working.iter().position(|&working| working == attempt);
        if let Some(at) = at {
            self.working.swap_remove(at);
            self.doing.1 += 1;
        }
        at.is_some()
    }

    /// Begins the next work that waits, if a slot is free.
    pub fn begin_next(&mut self) -> Option<Work> {
        let work = (self.working.len() < self.slots)
            .then(|| self.waiting.pop_front())
            .flatten()?;
        self.working.push(work.attempt);
        Some(work)
    }

    /// Everything it held, given up.
    pub fn reset(&mut self) -> Vec<AttemptId> {
        let mut held = std::mem::take(&mut self.working);
        held.extend(self.waiting.drain(..).map(|work| work.attempt));
        held.sort_unstable();
        held
    }

    /// How many it holds.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.working.len() + self.waiting.len()
    }
}
