//! Owns the byte form of what is watched of a service.

use super::{BackendWatch, MOST_BACKENDS, ServiceWatch};
use crate::alert::{kind_at, kinds, place};
use crate::bytes::{Reader, Unreadable, Writer};
use crate::condition::Condition;
use crate::series::Series;
use crate::shift::Shift;
use crate::surge::OwnSurge;

const KIND: [u8; 4] = *b"eksv";
const VERSION: u8 = 1;

impl ServiceWatch {
    /// What is to be kept over a restart: series, baselines, what is wrong. Conditions must come back with the
    /// [`Alerts`](crate::alert::Alerts) that were made of them, or what is raised there is never cleared.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(KIND, VERSION);
        self.series.write(&mut to);
        self.shift.write(&mut to);
        self.surge.write(&mut to);
        to.moment(self.looked);
        to.count(self.refused);
        to.size(self.conditions.len());
        for (kind, condition) in &self.conditions {
            to.size(place(&kinds(), kind));
            condition.write(&mut to);
        }
        to.size(self.backends.len());
        for (id, backend) in &self.backends {
            to.text(id);
            backend.write(&mut to);
        }
        to.finish()
    }

    /// What [`ServiceWatch::to_bytes`] made.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader::new(bytes, KIND, VERSION)?;
        let series = Series::read(&mut from)?;
        let (shift, surge) = (Shift::read(&mut from)?, OwnSurge::read(&mut from)?);
        let looked = from.moment()?;
        let refused = from.up_to(u64::MAX / 2, "a count")?;
        let mut all = Self {
            series,
            shift,
            surge,
            looked,
            refused,
            ..Self::default()
        };
        for _ in 0..from.size(kinds().len(), "conditions")? {
            all.conditions
                .insert(kind_at(&mut from)?, Condition::read(&mut from)?);
        }
        for _ in 0..from.size(MOST_BACKENDS, "backends")? {
            all.backends
                .insert(from.text()?, BackendWatch::read(&mut from)?);
        }
        from.finish()?;
        Ok(all)
    }
}
