//! A service on a stage: time that tests move, a listener that remembers, short ways to act.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::event::{Event, EventKind, Listener};
use evenkeel_balance::hashing::mix;
use evenkeel_balance::health::{CheckReport, CheckResult};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{PolicyChoice, ServiceSettings};
use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};

/// Remembers everything it hears.
#[derive(Default)]
pub(crate) struct Ear {
    heard: Mutex<Vec<EventKind>>,
    ticks_wanted: Mutex<u32>,
}

impl Listener for Ear {
    fn hear(&self, event: &Event) {
        self.heard.lock().unwrap().push(event.kind.clone());
    }

    fn tick_wanted(&self) {
        *self.ticks_wanted.lock().unwrap() += 1;
    }
}

pub(crate) struct Stage {
    pub(crate) service: Service,
    pub(crate) now: Instant,
    ear: Arc<Ear>,
    chance: u64,
}

/// Round robin, no slow start: what is picked is plain to see.
pub(crate) fn plain() -> ServiceSettings {
    ServiceSettings::with_policy(PolicyChoice::RoundRobin).slow_start(Duration::ZERO)
}

pub(crate) fn id(name: &str) -> BackendId {
    name.into()
}

impl Stage {
    pub(crate) fn new(settings: ServiceSettings, names: &[&str]) -> Self {
        Self::of(
            settings,
            names.iter().map(|&name| BackendSpec::new(name)).collect(),
        )
    }

    pub(crate) fn of(settings: ServiceSettings, backends: Vec<BackendSpec>) -> Self {
        let ear = Arc::new(Ear::default());
        let now = Instant::ZERO + Duration::from_secs(1);
        let service = Service::new("stage", settings, backends, ear.clone(), now).unwrap();
        let stage = Self {
            service,
            now,
            ear,
            chance: 1,
        };
        stage.heard();
        stage
    }

    /// Lets time pass, with the ticks that belong to it.
    pub(crate) fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.now = (self.now + Duration::from_millis(100)).min(end);
            self.service.tick(self.now);
        }
    }

    pub(crate) fn ask(&mut self) -> Ask<'static> {
        self.chance = mix(self.chance, 1);
        Ask::new(self.chance).key(self.chance)
    }

    pub(crate) fn pick(&mut self) -> Result<Pick, Refusal> {
        let ask = self.ask();
        self.service.pick(&ask, self.now)
    }

    /// Picks until the backend of this name is picked; the others are answered well.
    pub(crate) fn pick_of(&mut self, name: &str) -> Pick {
        for _ in 0..1000 {
            let pick = self.pick().unwrap();
            if *pick.backend().id() == id(name) {
                return pick;
            }
            self.well(pick);
        }
        unreachable!("{name} is never picked")
    }

    pub(crate) fn well(&self, mut pick: Pick) {
        pick.answered(Verdict::Success, self.now + Duration::from_millis(10));
        pick.finish(Outcome::Completed, self.now + Duration::from_millis(10));
    }

    pub(crate) fn badly(&self, mut pick: Pick) {
        pick.answered(
            Verdict::Failure(Fault::Status(500)),
            self.now + Duration::from_millis(1),
        );
        pick.finish(Outcome::Completed, self.now + Duration::from_millis(1));
    }

    /// So many exchanges; those of `bad` fail. Says how many went to each backend of `names`.
    pub(crate) fn serve(&mut self, exchanges: usize, bad: &[&str], names: &[&str]) -> Vec<usize> {
        let mut counts = vec![0; names.len()];
        for _ in 0..exchanges {
            let pick = self.pick().unwrap();
            let name = pick.backend().id().as_str().to_owned();
            if let Some(at) = names.iter().position(|&known| known == name) {
                counts[at] += 1;
            }
            if bad.contains(&name.as_str()) {
                self.badly(pick);
            } else {
                self.well(pick);
            }
        }
        counts
    }

    pub(crate) fn check(&self, name: &str, result: CheckResult) {
        let report = CheckReport::new(result, self.now).latency(Duration::from_millis(5));
        self.service.check(&id(name), report, self.now).unwrap();
    }

    pub(crate) fn mark(&self, name: &str, healthy: bool) {
        self.service
            .mark(&id(name), Some(healthy), None, self.now)
            .unwrap();
    }

    pub(crate) fn backend(&self, name: &str) -> BackendSnapshot {
        self.service
            .snapshot(self.now)
            .backend(name)
            .unwrap()
            .clone()
    }

    pub(crate) fn standing(&self, name: &str) -> Standing {
        self.backend(name).standing
    }

    /// What was heard since the last time.
    pub(crate) fn heard(&self) -> Vec<EventKind> {
        std::mem::take(&mut self.ear.heard.lock().unwrap())
    }

    pub(crate) fn ticks_wanted(&self) -> u32 {
        *self.ear.ticks_wanted.lock().unwrap()
    }
}
