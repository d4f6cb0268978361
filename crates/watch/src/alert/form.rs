//! Owns the byte form of alerts and silences.

use super::{Alert, Alerts, Kind, MOST_ALERTS, MOST_SILENCES, Silence};
use crate::bytes::{Reader, Unreadable, Writer};
use crate::metric::Unit;
use crate::threshold::{Evidence, Severity};

const KIND: [u8; 4] = *b"ekal";
const VERSION: u8 = 1;

const UNITS: [Unit; 3] = [Unit::Seconds, Unit::PerSecond, Unit::Share];
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

impl Alerts {
    /// What is to be kept over a restart.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(KIND, VERSION);
        to.count(self.numbers);
        to.count(self.refused);
        to.size(self.alerts.len());
        for alert in &self.alerts {
            alert.write(&mut to);
        }
        to.size(self.silences.len());
        for (number, silence) in &self.silences {
            to.count(*number);
            silence.write(&mut to);
        }
        to.finish()
    }

    /// What [`Alerts::to_bytes`] made.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader::new(bytes, KIND, VERSION)?;
        let numbers = from.up_to(u64::MAX / 2, "a number")?;
        let refused = from.up_to(u64::MAX / 2, "a count")?;
        let mut all = Self {
            numbers,
            refused,
            ..Self::default()
        };
        for _ in 0..from.size(MOST_ALERTS, "alerts")? {
            all.alerts.push(Alert::read(&mut from, numbers)?);
        }
        for _ in 0..from.size(MOST_SILENCES, "silences")? {
            let number = from.up_to(numbers, "a number")?;
            all.silences.push((number, Silence::read(&mut from)?));
        }
        from.finish()?;
        Ok(all)
    }
}

impl Alert {
    fn write(&self, to: &mut Writer) {
        to.count(self.number);
        to.text(&self.service);
        to.maybe(self.backend.as_deref(), Writer::text);
        to.size(place(&kinds(), &self.kind));
        to.size(place(&SEVERITIES, &self.severity));
        to.moment(self.since);
        to.flag(self.flapping);
        to.maybe(self.evidence, |to, evidence| {
            to.number(evidence.value);
            to.number(evidence.limit);
            to.size(place(&UNITS, &evidence.unit));
            to.count(evidence.requests);
            to.count(evidence.seconds);
        });
        to.maybe(self.acknowledged.as_ref(), |to, (by, at)| {
            to.text(by);
            to.moment(*at);
        });
        to.maybe(self.cleared, Writer::moment);
    }

    fn read(from: &mut Reader<'_>, numbers: u64) -> Result<Self, Unreadable> {
        Ok(Self {
            number: from.up_to(numbers, "a number")?,
            service: from.text()?,
            backend: from.maybe(Reader::text)?,
            kind: kind_at(from)?,
            severity: one_of(from, &SEVERITIES, "a severity")?,
            since: from.moment()?,
            flapping: from.flag()?,
            evidence: from.maybe(|from| {
                Ok(Evidence {
                    value: from.number(f64::MIN, f64::MAX, "a figure")?,
                    limit: from.number(f64::MIN, f64::MAX, "a figure")?,
                    unit: one_of(from, &UNITS, "a unit")?,
                    requests: from.count()?,
                    seconds: from.count()?,
                })
            })?,
            acknowledged: from.maybe(|from| Ok((from.text()?, from.moment()?)))?,
            cleared: from.maybe(Reader::moment)?,
        })
    }
}

impl Silence {
    fn write(&self, to: &mut Writer) {
        to.maybe(self.service.as_deref(), Writer::text);
        to.maybe(self.backend.as_deref(), Writer::text);
        to.maybe(self.kind, |to, kind| to.size(place(&kinds(), &kind)));
        to.moment(self.until);
        to.text(&self.by);
        to.text(&self.why);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            service: from.maybe(Reader::text)?,
            backend: from.maybe(Reader::text)?,
            kind: from.maybe(kind_at)?,
            until: from.moment()?,
            by: from.text()?,
            why: from.text()?,
        })
    }
}

/// All kinds, in the order in which they are numbered: a new one goes to the end.
pub(crate) fn kinds() -> Vec<Kind> {
    Kind::all().collect()
}

pub(crate) fn place<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or(0)
}

/// The kind whose number comes next.
pub(crate) fn kind_at(from: &mut Reader<'_>) -> Result<Kind, Unreadable> {
    one_of(from, &kinds(), "a kind")
}

fn one_of<T: Copy>(from: &mut Reader<'_>, all: &[T], what: &'static str) -> Result<T, Unreadable> {
    let at = from.size(usize::MAX, what)?;
    all.get(at).copied().ok_or(Unreadable::OutOfRange(what))
}
