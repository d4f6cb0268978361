//! Owns what is wrong now and was lately: one alert from each raise to its clearing, who has taken note, what is silenced.
//!
//! A table of `MOST_ALERTS`: where it is full the longest cleared goes, and where all are raised a new one is refused and counted.
//! Silence hides nothing: what is silenced is in the table like the rest, only nobody is called.

mod form;

pub(crate) use form::{kind_at, kinds, place};

use std::fmt;

use crate::condition::Turn;
use crate::metric::Metric;
use crate::threshold::{Burn, Evidence, Severity};
use crate::time::Moment;

/// How many alerts are kept, raised and cleared.
pub const MOST_ALERTS: usize = 1000;
/// How many silences there can be.
pub const MOST_SILENCES: usize = 100;
/// A cleared one is kept so long, in milliseconds: a week.
const KEPT_MS: u64 = 7 * 86_400_000;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A backend cannot be picked, or a service has none that can.
    Down,
    /// A figure is beyond its limit.
    Threshold(Metric),
    /// An error budget is spent too fast.
    Burn(Burn),
    /// A backend is slower than its peers.
    SlowerThanPeers,
    /// A backend fails more than its peers.
    FailsMoreThanPeers,
    /// It is slower than it was.
    SlowerThanBefore,
    /// It fails more than it did.
    FailsMoreThanBefore,
}

impl Kind {
    /// All of them. Their order is that of their numbers where they are kept: new ones go to the end.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = [
            Self::Down,
            Self::SlowerThanPeers,
            Self::FailsMoreThanPeers,
            Self::SlowerThanBefore,
            Self::FailsMoreThanBefore,
        ];
        plain
            .into_iter()
            .chain(Burn::ALL.map(Self::Burn))
            .chain(Metric::ALL.map(Self::Threshold))
    }

    /// The figure whose limit it is of, where it is of one.
    #[must_use]
    pub const fn metric(self) -> Option<Metric> {
        match self {
            Self::Threshold(metric) => Some(metric),
            _ => None,
        }
    }

    /// Its name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Threshold(_) => "threshold",
            Self::Burn(Burn::Fast) => "burn_fast",
            Self::Burn(Burn::Slow) => "burn_slow",
            Self::Burn(Burn::Steady) => "burn_steady",
            Self::SlowerThanPeers => "slower_than_peers",
            Self::FailsMoreThanPeers => "fails_more_than_peers",
            Self::SlowerThanBefore => "slower_than_before",
            Self::FailsMoreThanBefore => "fails_more_than_before",
        }
    }
}

/// What a look at a service told.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Of which backend; none is the service's own.
    pub backend: Option<String>,
    /// What.
    pub kind: Kind,
    /// Raised or cleared.
    pub turn: Turn,
    /// How loud.
    pub severity: Severity,
    /// By what.
    pub evidence: Option<Evidence>,
}

/// An alert, raised or cleared.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its number; none has it again.
    pub number: u64,
    /// Of which service.
    pub service: String,
    /// Of which backend; none is the service's own.
    pub backend: Option<String>,
    /// What is wrong.
    pub kind: Kind,
    /// How loud.
    pub severity: Severity,
    /// Since when.
    pub since: Moment,
    /// It has come and gone lately.
    pub flapping: bool,
    /// By what it was raised.
    pub evidence: Option<Evidence>,
    /// Who has taken note, and when.
    pub acknowledged: Option<(String, Moment)>,
    /// Since when it is right again.
    pub cleared: Option<Moment>,
}

/// Whom not to call for what. What is not named is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Of which service.
    pub service: Option<String>,
    /// Of which backend.
    pub backend: Option<String>,
    /// For what.
    pub kind: Option<Kind>,
    /// It ends then.
    pub until: Moment,
    /// Who said so.
    pub by: String,
    /// And why.
    pub why: String,
}

/// What is to be told of an alert: once raised, once cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Of which alert.
    pub number: u64,
    /// It is right again.
    pub cleared: bool,
    /// Nobody is to be called.
    pub silenced: bool,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No alert or silence has this number.
    Unknown,
    /// It is right again: there is nothing to take note of.
    Cleared,
    /// It would end before it begins.
    Past,
    /// There are as many as there may be.
    Full,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "there is none of this number",
            Self::Cleared => "it is right again",
            Self::Past => "it would end before it begins",
            Self::Full => "there are as many as there may be",
        })
    }
}

impl std::error::Error for Refused {}

/// All alerts and silences of an instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    alerts: Vec<Alert>,
    silences: Vec<(u64, Silence)>,
    numbers: u64,
    refused: u64,
}

impl Alerts {
    /// Takes in a change of a service, and says what is to be told of it; nothing where it is known already.
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] where all that are kept are raised.
    pub fn take(
        &mut self,
        service: &str,
        change: &Change,
        now: Moment,
    ) -> Result<Option<Notice>, Refused> {
        let known = self
            .alerts
            .iter()
            .position(|alert| alert.cleared.is_none() && alert.is_of(service, change));
        match (change.turn, known) {
            (Turn::Raised { since, flapping }, None) => {
                self.room()?;
                self.numbers += 1;
                self.alerts.push(Alert {
                    number: self.numbers,
                    service: service.to_owned(),
                    backend: change.backend.clone(),
                    kind: change.kind,
                    severity: change.severity,
                    since,
                    flapping,
                    evidence: change.evidence,
                    acknowledged: None,
                    cleared: None,
                });
                Ok(Some(self.notice(self.alerts.len() - 1, now)))
            }
            (Turn::Cleared { since }, Some(at)) => {
                self.alerts[at].cleared = Some(since);
                Ok(Some(self.notice(at, now)))
            }
            (Turn::Raised { .. }, Some(_)) | (Turn::Cleared { .. }, None) => Ok(None),
        }
    }

    /// Somebody has taken note. Who does so again is taken in the place of who did.
    ///
    /// # Errors
    ///
    /// [`Refused::Unknown`] or [`Refused::Cleared`].
    pub fn acknowledge(&mut self, number: u64, by: &str, now: Moment) -> Result<(), Refused> {
        let alert = self
            .alerts
            .iter_mut()
            .find(|alert| alert.number == number)
            .ok_or(Refused::Unknown)?;
        if alert.cleared.is_some() {
            return Err(Refused::Cleared);
        }
        alert.acknowledged = Some((by.to_owned(), now));
        Ok(())
    }

    /// Has nobody called for what it names, until it ends; its number.
    ///
    /// # Errors
    ///
    /// [`Refused::Past`] or [`Refused::Full`].
    pub fn silence(&mut self, silence: Silence, now: Moment) -> Result<u64, Refused> {
        self.expire(now);
        if silence.until <= now {
            return Err(Refused::Past);
        }
        if self.silences.len() >= MOST_SILENCES {
            return Err(Refused::Full);
        }
        self.numbers += 1;
        self.silences.push((self.numbers, silence));
        Ok(self.numbers)
    }

    /// Ends a silence.
    ///
    /// # Errors
    ///
    /// [`Refused::Unknown`].
    pub fn lift(&mut self, number: u64) -> Result<(), Refused> {
        let at = self
            .silences
            .iter()
            .position(|(one, _)| *one == number)
            .ok_or(Refused::Unknown)?;
        self.silences.remove(at);
        Ok(())
    }

    /// Forgets silences that have ended, and what was cleared a week ago. Cost: all.
    pub fn expire(&mut self, now: Moment) {
        self.silences.retain(|(_, silence)| silence.until > now);
        self.alerts.retain(|alert| {
            alert
                .cleared
                .is_none_or(|at| now.millis_since(at) < KEPT_MS)
        });
    }

    /// Clears what is raised of services and backends that are gone; what is to be told of it. Cost: all.
    pub fn gone(
        &mut self,
        mut is_there: impl FnMut(&str, Option<&str>) -> bool,
        now: Moment,
    ) -> Vec<Notice> {
        let gone: Vec<usize> = (0..self.alerts.len())
            .filter(|at| {
                let alert = &self.alerts[*at];
                alert.cleared.is_none() && !is_there(&alert.service, alert.backend.as_deref())
            })
            .collect();
        gone.into_iter()
            .map(|at| {
                self.alerts[at].cleared = Some(now);
                self.notice(at, now)
            })
            .collect()
    }

    /// All that are kept, the oldest first.
    #[must_use]
    pub fn all(&self) -> &[Alert] {
        &self.alerts
    }

    /// Those that are wrong now.
    pub fn raised(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(|alert| alert.cleared.is_none())
    }

    /// All silences with their numbers; those that have ended may be among them until [`Alerts::expire`].
    #[must_use]
    pub fn silences(&self) -> &[(u64, Silence)] {
        &self.silences
    }

    /// Is nobody called for it.
    #[must_use]
    pub fn is_silenced(&self, alert: &Alert, now: Moment) -> bool {
        self.silences
            .iter()
            .any(|(_, silence)| silence.until > now && silence.covers(alert))
    }

    /// How many were not taken, as all that are kept were raised.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn notice(&self, at: usize, now: Moment) -> Notice {
        let alert = &self.alerts[at];
        Notice {
            number: alert.number,
            cleared: alert.cleared.is_some(),
            silenced: self.is_silenced(alert, now),
        }
    }

    fn room(&mut self) -> Result<(), Refused> {
        if self.alerts.len() < MOST_ALERTS {
            return Ok(());
        }
        let longest = self
            .alerts
            .iter()
            .enumerate()
            .filter_map(|(at, alert)| Some((alert.cleared?, at)))
            .min();
        let Some((_, at)) = longest else {
            self.refused += 1;
            return Err(Refused::Full);
        };
        self.alerts.remove(at);
        Ok(())
    }
}

impl Alert {
    fn is_of(&self, service: &str, change: &Change) -> bool {
        self.service == service && self.kind == change.kind && self.backend == change.backend
    }
}

impl Silence {
    fn covers(&self, alert: &Alert) -> bool {
        let backend = |wanted| alert.backend.as_ref() == Some(wanted);
        self.service
            .as_ref()
            .is_none_or(|wanted| *wanted == alert.service)
            && self.backend.as_ref().is_none_or(backend)
            && self.kind.is_none_or(|wanted| wanted == alert.kind)
    }
}

#[cfg(test)]
mod tests;
