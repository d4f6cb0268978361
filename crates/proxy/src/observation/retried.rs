//! Owns the counters of retries: those that were made, by what went wrong before, and those that were not, by why.

use evenkeel_balance::pick::Refusal;
use evenkeel_balance::retry::Reason;
use evenkeel_balance::verdict::Fault;

use super::Count;

/// What went wrong before a retry, by word. `anew`: a connection that was kept had ended, or its backend had not looked; the same pick
/// went on with another.
const FAULTS: [&str; 8] = [
    "connect",
    "reset",
    "timeout",
    "protocol",
    "status",
    "grpc",
    "overloaded",
    "anew",
];

const ANEW: usize = FAULTS.len() - 1;

/// One worker's counters of one service's retries.
#[derive(Debug, Default)]
pub struct RetryCounters {
    made: [Count; FAULTS.len()],
    refused: [Count; Reason::ALL.len()],
    unpicked: [Count; Refusal::ALL.len()],
    sent_once: Count,
}

impl RetryCounters {
    pub(crate) fn made(&self, fault: Fault) {
        self.made[match fault {
            Fault::Connect => 0,
            Fault::Reset => 1,
            Fault::Timeout => 2,
            Fault::Protocol => 3,
            Fault::Status(_) => 4,
            Fault::Grpc(_) => 5,
            Fault::Overloaded { .. } => 6,
        }]
        .add(1);
    }

    pub(crate) fn anew(&self) {
        self.made[ANEW].add(1);
    }

    /// A body was not kept, since others are.
    pub(crate) fn sent_once(&self) {
        self.sent_once.add(1);
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.refused[reason as usize].add(1);
    }

    /// It might have been made, but for nobody to make it on.
    pub(crate) fn unpicked(&self, refusal: Refusal) {
        self.unpicked[refusal as usize].add(1);
    }
}

fn rows<'c, const N: usize>(
    words: impl IntoIterator<Item = &'static str>,
    of: impl Iterator<Item = &'c [Count; N]>,
) -> impl Iterator<Item = (&'static str, u64)> {
    let mut sums = [0; N];
    for counts in of {
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count.get();
        }
    }
    words.into_iter().zip(sums).filter(|(_, sum)| *sum > 0)
}

/// Retries of all workers that were made, by what went wrong before; those that never were are left out.
#[must_use]
pub fn retries<'c>(workers: impl Iterator<Item = &'c RetryCounters>) -> Vec<(&'static str, u64)> {
    rows(FAULTS, workers.map(|one| &one.made)).collect()
}

/// Bodies that all workers did not keep for a retry, since others had all the room that there is for them.
#[must_use]
pub fn bodies_unkept<'c>(workers: impl Iterator<Item = &'c RetryCounters>) -> u64 {
    workers.map(|one| one.sent_once.get()).sum()
}

/// Failed attempts of all workers that were not made again, by why; those that never were are left out.
#[must_use]
pub fn refused_retries<'c>(
    workers: impl Iterator<Item = &'c RetryCounters> + Clone,
) -> Vec<(&'static str, u64)> {
    let reasons = Reason::ALL.map(Reason::word);
    let refusals = Refusal::ALL.map(Refusal::word);
    rows(reasons, workers.clone().map(|one| &one.refused))
        .chain(rows(refusals, workers.map(|one| &one.unpicked)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_fault_and_every_reason_has_a_row_of_its_own() {
        let (one, other) = (RetryCounters::default(), RetryCounters::default());
        let faults = [
            Fault::Connect,
            Fault::Reset,
            Fault::Timeout,
            Fault::Protocol,
            Fault::Status(503),
            Fault::Grpc(14),
            Fault::Overloaded {
                retry_after: Some(Duration::ZERO),
            },
        ];
        for (fault, times) in faults.into_iter().zip(1..) {
            for _ in 0..times {
                one.made(fault);
                other.made(fault);
            }
        }
        one.anew();
        let mut expect: Vec<_> = FAULTS
            .into_iter()
            .zip([2, 4, 6, 8, 10, 12, 14, 1])
            .collect();
        assert_eq!(retries([&one, &other].into_iter()), expect);
        expect.clear();
        for (reason, times) in Reason::ALL.into_iter().zip(1..) {
            for _ in 0..times {
                one.refused(reason);
            }
            expect.push((reason.word(), times));
        }
        for refusal in Refusal::ALL {
            other.unpicked(refusal);
            expect.push((refusal.word(), 1));
        }
        assert_eq!(refused_retries([&one, &other].into_iter()), expect);
    }
}
