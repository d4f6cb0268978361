//! Owns how often an address may fail to say who it is. Pure: what time it is comes in.
//!
//! Who fails too often is told so, and no line of the log is spent on it; who says who it is passes all the same. A secret of 256 bits is not
//! guessed, so that a lock would keep out nobody but those who share the address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use evenkeel_config::limits::{FAILING, FAILURES};

/// So long until one more failure may be.
const EVERY: Duration = Duration::from_secs(6);

/// What the table forgets is looked for this often, when there is no room.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who has failed of late.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// When all of an address's failures are forgotten.
    until: HashMap<IpAddr, Duration>,
    /// The same of those that find no room, together.
    rest: Duration,
    swept: Duration,
}

impl Failures {
    /// Notes one of this address at `now`, of a time that does not go back. None: it may go on as it does; else it has failed too often,
    /// and may again after so long.
    pub(crate) fn note(&mut self, from: IpAddr, now: Duration) -> Option<Duration> {
        let network = network(from);
        let is_full = self.until.len() >= FAILING && !self.until.contains_key(&network);
        if is_full && now >= self.swept {
            self.swept = now + SWEEP_EVERY;
            self.until.retain(|_, until| *until > now);
        }
        let until = match self.until.len() >= FAILING {
            true => self.until.get_mut(&network).unwrap_or(&mut self.rest),
            false => self.until.entry(network).or_default(),
        };
        let next = (*until).max(now) + EVERY;
        let over = next.saturating_sub(now + EVERY * FAILURES);
        if over.is_zero() {
            *until = next;
            return None;
        }
        Some(over)
    }
}

/// One customer has as many addresses of IPv6 as it likes, within one network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(bits).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_at_once_and_one_more_every_six_seconds() {
        let mut failures = Failures::default();
        let one = address("10.0.0.1");
        for _ in 0..10 {
            assert_eq!(failures.note(one, NOW), None);
        }
        let seconds = Duration::from_secs;
        assert_eq!(failures.note(one, NOW), Some(seconds(6)));
        assert_eq!(failures.note(one, NOW + seconds(5)), Some(seconds(1)));
        // Those that are over are not held against it.
        assert_eq!(failures.note(one, NOW + seconds(6)), None);
        assert_eq!(failures.note(one, NOW + seconds(6)), Some(seconds(6)));
        assert_eq!(failures.note(address("10.0.0.2"), NOW), None);
        let later = NOW + seconds(66);
        let all = (0..11).filter(|_| failures.note(one, later).is_none());
        assert_eq!(all.count(), 10);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_ipv4_within_it_another() {
        let mut failures = Failures::default();
        let mut over = |text: &str| failures.note(address(text), NOW).is_some();
        for at in 0..10 {
            assert!(!over(&format!("2001:db8::{at}:1")));
        }
        assert!(over("2001:db8::ffff:ffff:ffff:ffff"));
        assert!(!over("2001:db8:0:1::1"));
        for _ in 0..10 {
            assert!(!over("::ffff:10.0.0.1"));
        }
        assert!(over("10.0.0.1") && !over("::ffff:10.0.0.2"));
    }

    /// However many there are, there is an end to what is kept of them; who is known is not forgotten for it.
    #[test]
    fn the_table_is_bounded() {
        let mut failures = Failures::default();
        let known = address("192.0.2.1");
        for _ in 0..11 {
            failures.note(known, NOW);
        }
        let many = |at: usize| IpAddr::from(Ipv4Addr::from(u32::try_from(at).unwrap()));
        for at in 1..FAILING {
            assert_eq!(failures.note(many(at), NOW), None);
        }
        assert_eq!(failures.until.len(), FAILING);
        // Those that find no room share what one has.
        let passed = (FAILING..FAILING + 100).filter(|at| failures.note(many(*at), NOW).is_none());
        assert_eq!(passed.count(), 10);
        assert_eq!(failures.until.len(), FAILING);
        assert!(failures.note(known, NOW).is_some());
        // After a while those who failed once are forgotten, and there is room.
        let later = NOW + Duration::from_secs(7);
        assert_eq!(failures.note(many(FAILING * 2), later), None);
        assert_eq!(failures.until.len(), 2);
        assert_eq!(failures.note(known, later), None);
        assert!(failures.note(known, later).is_some());
    }
}
