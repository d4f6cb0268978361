//! Owns how many connections of one listener are open per client's address, of all workers, while it has a limit for that.
//!
//! One table under one lock, touched when a connection begins and when it ends. It holds those that are open, so that the listener's
//! limit of connections is its own. Addresses of IPv6 count by their /64: that is what one client gets, and can change at will.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Open connections by address.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    /// A place for one more of this address, if it has fewer than so many.
    #[must_use]
    pub fn take(self: &Arc<Self>, from: IpAddr, most: NonZeroUsize) -> Option<OfAddress> {
        let of = counted_as(from);
        let mut open = self.open();
        let count = open.entry(of).or_default();
        if *count >= most.get() {
            return None;
        }
        *count += 1;
        Some(OfAddress(self.clone(), of))
    }

    /// Addresses that have a connection open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted_as(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// One connection's place among those of its address.
#[derive(Debug)]
pub struct OfAddress(Arc<Addresses>, IpAddr);

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut open = self.0.open();
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets a place of two, of those that come one after another and stay.
    fn check(come: &[&str], expect: &[bool]) {
        let addresses = Arc::new(Addresses::default());
        let two = NonZeroUsize::new(2).unwrap();
        let taken: Vec<_> = come
            .iter()
            .map(|from| addresses.take(from.parse().unwrap(), two))
            .collect();
        let got: Vec<_> = taken.iter().map(Option::is_some).collect();
        assert_eq!(got, expect, "{come:?}");
        drop(taken);
        assert!(addresses.is_empty(), "nobody is remembered who has gone");
    }

    #[test]
    fn each_address_has_its_places() {
        check(
            &["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"],
            &[true, true, false, true],
        );
        // One client's /64, and a neighbour's.
        check(
            &[
                "2001:db8::1",
                "2001:db8::2",
                "2001:db8::3",
                "2001:db8:0:1::1",
            ],
            &[true, true, false, true],
        );
        // However it is written.
        check(
            &["::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"],
            &[true, true, false],
        );
    }

    #[test]
    fn a_place_comes_back() {
        let addresses = Arc::new(Addresses::default());
        let (one, from) = (NonZeroUsize::MIN, "192.0.2.1".parse().unwrap());
        let first = addresses.take(from, one);
        assert!(first.is_some() && addresses.take(from, one).is_none());
        drop(first);
        assert!(addresses.take(from, one).is_some());
    }
}
