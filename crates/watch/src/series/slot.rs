//! Owns a stretch of time that is over, packed.

use super::Sum;
use crate::bytes::{Reader, Unreadable, Writer};
use crate::latencies::{Latencies, Packed};

/// No count of a slot that is read from outside is larger.
const MOST: u64 = u32::MAX as u64 * 64;

/// A stretch of time that is over. Without an answer it has no distribution: idle hours cost little.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) number: u64,
    requests: u64,
    errors: u64,
    millis: u64,
    millis_up: u64,
    latencies: Option<Box<Packed>>,
}

impl Slot {
    pub(super) fn new(number: u64, sum: &Sum) -> Self {
        Self {
            number,
            requests: sum.requests,
            errors: sum.errors,
            millis: sum.millis,
            millis_up: sum.millis_up,
            latencies: (sum.latencies.count() > 0).then(|| Box::new(Packed::new(&sum.latencies))),
        }
    }

    pub(super) fn add_to(&self, sum: &mut Sum) {
        sum.requests += self.requests;
        sum.errors += self.errors;
        sum.millis += self.millis;
        sum.millis_up += self.millis_up;
        if let Some(latencies) = &self.latencies {
            latencies.add_to(&mut sum.latencies);
        }
    }

    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.latencies.as_ref().map_or(0, |_| size_of::<Packed>())
    }

    pub(super) fn write(&self, to: &mut Writer) {
        for count in [
            self.number,
            self.requests,
            self.errors,
            self.millis,
            self.millis_up,
        ] {
            to.count(count);
        }
        to.maybe(self.latencies.as_deref(), |to, latencies| {
            latencies.unpack().write(to);
        });
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let number = from.up_to(u64::MAX / 4_000_000, "a slot")?;
        let requests = from.up_to(MOST, "a count of requests")?;
        let errors = from.up_to(requests, "a count of errors")?;
        let millis = from.up_to(MOST, "a length of time")?;
        let millis_up = from.up_to(millis, "a length of time")?;
        let latencies = from
            .maybe(Latencies::read)?
            .map(|all| Box::new(Packed::new(&all)));
        Ok(Self {
            number,
            requests,
            errors,
            millis,
            millis_up,
            latencies,
        })
    }
}
