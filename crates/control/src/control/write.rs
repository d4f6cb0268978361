//! Owns another configuration while the instance runs, where it comes of texts: read again, changed beside them, or as it was once.
//!
//! A change is checked whole, as a reload is, and one that does not check out changes nothing. Each that is taken is a revision.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_config::limits::{CHANGES, CHANGES_BYTES};
use evenkeel_config::plan::RulePlan;
use evenkeel_config::{Plan, Source};

use super::obey::{find, unknown};
use super::{Control, StartError};
use crate::changes::Changes;
use crate::command::{Change, Command, Refused, Taken};
use crate::events::What;
use crate::revisions::{MadeOf, Words};
use crate::snapshot::Of;
use crate::texts::{Fault, Given, Ground, Read, Texts};

/// What came of reading the configuration again.
#[derive(Debug)]
pub struct Reread {
    /// What changed.
    pub changes: Changes,
    /// What was read; its plan was taken out of it.
    pub read: Read,
}

/// Why a configuration that was read again was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// It cannot be read, in words.
    Unread(String),
    /// It has errors.
    Faults(Box<Read>),
    /// It cannot be taken; what was read.
    Start(StartError, Box<Read>),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(why) => f.write_str(why),
            Self::Faults(_) => f.write_str("the configuration has errors"),
            Self::Start(why, _) => why.fmt(f),
        }
    }
}

impl Control {
    /// Tells it who reads configurations, and the texts of the one that it began with.
    pub fn speaks(&mut self, reads: Arc<dyn Texts>, ground: Arc<Ground>) {
        self.given = Some(Given { reads, ground });
        // The first revision has its texts from now on.
        self.book.begin(self.made_of());
    }

    fn made_of(&self) -> MadeOf {
        let texts = self.given.as_ref();
        let texts = texts.map(|given| given.ground.sources().clone());
        MadeOf {
            texts: texts.unwrap_or_default(),
            wanted: Arc::new(self.overlay.wanted().0.clone()),
        }
    }

    /// Writes a revision down.
    pub(super) fn remember(&self, by: impl Into<Arc<str>>, words: Words) {
        self.book.note(&by.into(), words, self.made_of());
        self.revise();
    }

    /// Says to workers as which revision the plan runs, for what they record.
    fn revise(&self) {
        let number = self.book.current().number;
        self.published.load().records.revise(number);
    }

    /// Reads the configuration again, and takes it.
    ///
    /// # Errors
    /// [`NotTaken`]; then nothing was changed.
    pub fn reread(&mut self, by: &str) -> Result<Reread, NotTaken> {
        let taken = self.read_and_take(by);
        self.reloads.count(Of::Texts, taken.is_ok());
        self.note(match &taken {
            Ok(reread) => What::Reloaded(reread.changes.line()),
            Err(why) => What::ReloadRefused(why.to_string()),
        });
        taken
    }

    fn read_and_take(&mut self, by: &str) -> Result<Reread, NotTaken> {
        let given = self.given.clone();
        let given = given.ok_or_else(|| NotTaken::Unread(nobody_reads()))?;
        let texts = given.reads.read().map_err(NotTaken::Unread)?;
        let ground = Arc::new(Ground::new(texts.into()));
        let edits = &self.overlay.wanted().0.edits;
        let mut read = given.reads.compose(&ground, edits, None, None);
        let Some(plan) = read.plan.take() else {
            return Err(NotTaken::Faults(Box::new(read)));
        };
        match self.change(plan) {
            Err(error) => Err(NotTaken::Start(error, Box::new(read))),
            Ok(changes) => {
                self.goes_on(&read, ground);
                self.remember(by, (&changes).into());
                Ok(Reread { changes, read })
            }
        }
    }

    /// With these edits and texts, once their plan runs.
    fn goes_on(&mut self, read: &Read, ground: Arc<Ground>) {
        self.overlay.edit(read.edits.clone());
        if let Some(given) = &mut self.given {
            given.ground = ground;
        }
    }

    pub(super) fn reload_by(&mut self, by: &Arc<str>) -> Result<Taken, Refused> {
        match self.reread(by) {
            Ok(reread) => Ok(Taken {
                words: with_dropped(&reread),
                warnings: all_faults(&reread.read),
                ..Taken::default()
            }),
            Err(NotTaken::Unread(why)) => Err(Refused::Unread(why)),
            Err(NotTaken::Faults(read)) => Err(Refused::Faults(all_faults(&read))),
            Err(NotTaken::Start(error, _)) => Err(Refused::NotTaken(error.to_string())),
        }
    }

    pub(super) fn edit(&mut self, change: &Change, by: &Arc<str>) -> Result<Taken, Refused> {
        let live = self.published.load();
        let created = known(&live.plan, change)?;
        let given = self
            .given
            .clone()
            .ok_or_else(|| Refused::Unread(nobody_reads()))?;
        let edits = &self.overlay.wanted().0.edits;
        let mut read = given
            .reads
            .compose(&given.ground, edits, Some(change), Some(&live.plan));
        let faults = read.faults();
        let Some(plan) = read.plan.take() else {
            return Err(Refused::Faults(faults));
        };
        if read.edits.len() > CHANGES || read.edits.bytes() > CHANGES_BYTES {
            return Err(Refused::TooManyEdits);
        }
        let same = *edits == read.edits;
        let before = self.overlay.wanted().0.clone();
        self.overlay.rebase(&live.plan, &plan);
        let changes = self.change(plan).map_err(|error| {
            self.overlay.replace(before);
            Refused::NotTaken(error.to_string())
        })?;
        self.goes_on(&read, given.ground);
        let words = Words::from(&changes);
        match same && changes.is_empty() {
            true => self.revise(),
            false => self.remember(by.clone(), words.clone()),
        }
        Ok(Taken {
            words,
            warnings: faults,
            created,
            other_texts: false,
        })
    }

    pub(super) fn roll_back(&mut self, to: u64, by: &Arc<str>) -> Result<Taken, Refused> {
        let given = self
            .given
            .clone()
            .ok_or_else(|| Refused::Unread(nobody_reads()))?;
        let revision = self.book.find(to).ok_or(Refused::Forgotten(to))?;
        let (texts, wanted) = (&revision.made_of.texts, &revision.made_of.wanted);
        let live = self.published.load();
        // The trees of texts that run are known.
        let ground = match same_texts(given.ground.sources(), texts) {
            true => given.ground.clone(),
            false => Arc::new(Ground::new(texts.clone())),
        };
        let mut read = given
            .reads
            .compose(&ground, &wanted.edits, None, Some(&live.plan));
        let Some(plan) = read.plan.take() else {
            return Err(Refused::Faults(read.faults()));
        };
        let away = self.overlay.wanted().0.away.clone();
        let back: Vec<_> = away.difference(&wanted.away).cloned().collect();
        for (at, name) in back.iter().enumerate() {
            // One that this plan has not is bound with the one that comes.
            match self.listener(&live, name, false) {
                Ok(_) | Err(Refused::Unknown { .. }) => {}
                Err(refused) => {
                    self.steer_away_again(&back[..at]);
                    return Err(refused);
                }
            }
        }
        let before = self.overlay.replace((**wanted).clone());
        let changes = match self.change(plan) {
            Ok(changes) => changes,
            Err(error) => {
                self.overlay.replace(before);
                self.steer_away_again(&back);
                return Err(Refused::NotTaken(error.to_string()));
            }
        };
        let live = self.published.load();
        for name in wanted.away.difference(&away) {
            self.overlay.steer_away(&Arc::from(&**name), false);
            // Its sockets are to follow what the overlay says already; to be steered away needs nothing that could fail.
            let _ = self.listener(&live, name, true);
        }
        let other_texts = !Arc::ptr_eq(&ground, &given.ground);
        self.goes_on(&read, ground);
        let mut words = Words::from(&changes);
        words.what.insert(0, format!("as in revision {to}"));
        self.remember(by.clone(), words.clone());
        Ok(Taken {
            words,
            warnings: Vec::new(),
            created: false,
            other_texts,
        })
    }

    fn steer_away_again(&mut self, names: &[String]) {
        let live = self.published.load();
        for name in names {
            let _ = self.listener(&live, name, true);
        }
    }

    /// What changes no configuration.
    pub(super) fn act(&mut self, command: &Command) -> Result<u64, Refused> {
        let live = self.published.load();
        match command {
            Command::Verdict {
                service,
                backend,
                healthy,
                within,
            } => {
                let core = &find(&live, service)?.state.service;
                let now = self.clock.now();
                let until = within.map(|within: Duration| now + within);
                let id = BackendId::from(&**backend);
                core.mark(&id, *healthy, until, now).map_err(|_| {
                    let specs = core.specs();
                    unknown(
                        "backend",
                        backend,
                        specs.iter().map(|spec| spec.id.as_str()),
                    )
                })?;
                Ok(1)
            }
            Command::Check(service) => {
                let service = find(&live, service)?;
                let name = &service.plan.name;
                let checker = self.checkers.get(name).ok_or_else(|| {
                    Refused::NotOfThese(format!("service `{name}` has no checks; see `health`"))
                })?;
                checker.check_now();
                Ok(service.state.service.specs().len() as u64)
            }
            Command::Rotate => {
                self.reopen();
                Ok(u64::from(live.plan.access_log.is_some()))
            }
            Command::Forget(service) => {
                let service = find(&live, service)?;
                if service.affinity.is_none() {
                    let name = &service.plan.name;
                    let why = format!("service `{name}` keeps no clients; see `affinity`");
                    return Err(Refused::NotOfThese(why));
                }
                Ok(service.state.forget_clients() as u64)
            }
            _ => Err(Refused::NotOfThese("this is a configuration".to_owned())),
        }
    }
}

/// What a reload changed, and what was changed beside the texts and is so no more.
fn with_dropped(reread: &Reread) -> Words {
    let mut words = Words::from(&reread.changes);
    let say = |place| {
        format!(
            "{place} was changed beside the configuration, which says something else there now: the configuration holds"
        )
    };
    words.what.extend(reread.read.dropped.iter().map(say));
    words
}

fn nobody_reads() -> String {
    "this instance has no text of its configuration".to_owned()
}

fn same_texts(one: &Arc<[Source]>, other: &Arc<[Source]>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// Of a reload: warnings of the texts too, which are read for the first time.
fn all_faults(read: &Read) -> Vec<Fault> {
    read.all_faults()
}

/// Whether what is changed is there, or comes with the change.
fn known(plan: &Plan, change: &Change) -> Result<bool, Refused> {
    let has = |service: &str, id: &str| -> Result<bool, Refused> {
        let known = plan.services.iter().find(|one| *one.name == *service);
        let found = known.ok_or_else(|| {
            unknown(
                "service",
                service,
                plan.services.iter().map(|one| &*one.name),
            )
        })?;
        let listed = found.backends.iter().map(|one| one.spec.id.as_str());
        let mut all = listed.chain(found.names.iter().map(|one| one.spec.id.as_str()));
        Ok(all.any(|one| one == id))
    };
    let there = |service: &str, id: &str| match has(service, id)? {
        true => Ok(false),
        false => {
            let of_it = plan.services.iter().filter(|one| *one.name == *service);
            let known = of_it.flat_map(|one| one.backends.iter());
            Err(unknown(
                "backend",
                id,
                known.map(|one| one.spec.id.as_str()),
            ))
        }
    };
    let no_rule = |name: &str| unknown("rule", name, plan.rules.iter().map(|one| &*one.name));
    let rule = |name: &str| plan.rules.iter().any(|one: &RulePlan| *one.name == *name);
    match change {
        Change::PutBackend { service, id, .. } => Ok(!has(service, id)?),
        Change::PatchBackend { service, id, .. } | Change::RemoveBackend { service, id } => {
            there(service, id)
        }
        Change::Policy { service, .. } | Change::PatchService { service, .. } => {
            has(service, "").map(|_| false)
        }
        Change::PutRule { name, .. } => Ok(!rule(name)),
        Change::RemoveRule { name } if !rule(name) => Err(no_rule(name)),
        Change::RemoveRule { .. } => Ok(false),
        Change::OrderRules { names } => {
            if let Some(name) = names.iter().find(|name| !rule(name)) {
                return Err(no_rule(name));
            }
            let all: std::collections::BTreeSet<_> = names.iter().map(String::as_str).collect();
            let left = plan.rules.iter().find(|one| !all.contains(&*one.name));
            match left {
                Some(left) => Err(Refused::NotOfThese(format!(
                    "all rules have their place in an order, and `{}` has none",
                    left.name
                ))),
                None if all.len() < names.len() => Err(Refused::NotOfThese(
                    "a rule stands twice in this order".to_owned(),
                )),
                None => Ok(false),
            }
        }
    }
}
