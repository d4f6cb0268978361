//! Owns affinity as the proxy has it: how a client is known again, and what tells where it is kept.
//!
//! Where it may be kept and why it moves is the core's to say. A cookie of ours says where its client is kept, sealed, alone or beside one
//! of the application; what an address or an application's cookie alone stands for is in the service's table. Nothing that a client
//! shows is an error: what cannot be read, is too old or says who is gone counts as nothing. Read next: `exchange/keep`.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::time::Instant;
use evenkeel_config::limits::{AFFINITY_TOLD, AFFINITY_VALUE};
use evenkeel_config::plan::{AffinityBy, AffinityPlan, CookiePlan};
use evenkeel_wire::RequestHead;

use crate::decide::cookies;
use crate::live::ServiceState;

/// What seals, and by which keys.
pub mod keys;

/// What a connection was shown last.
mod shown;

/// Names of cookies that no backend sees.
mod names;

/// What follows from an answer.
mod answered;

pub(crate) use answered::{Follows, Served};
use keys::{Opened, Own, Rings, Sealed, Sealer, Text};
pub use names::Names;
pub use shown::Shown;

/// A cookie is set anew when this part of its time is over: who comes back within the rest is known.
const RENEWED_AFTER: u64 = 10;

/// Why what a client shows counts as nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Nobody who has our keys has written it for this service.
    Invalid,
    /// Its time is over.
    Expired,
}

/// What is known of a client that a service keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stay {
    /// The identity of the backend that it is kept on.
    pub(crate) home: Option<u64>,
    /// What it shows counts as nothing.
    pub(crate) ignored: Option<Ignored>,
    /// What it is known by, as a hash: where it goes next follows from that.
    tag: u64,
    /// Where it goes first, too. Else it is known by nothing yet, or by what others make up.
    places: bool,
    /// Its row in the table.
    row: Option<u128>,
    /// It showed something under the name of our cookie.
    shows: bool,
    /// That says where it is kept; else the table does.
    told: bool,
    /// It is to be told once more where it is kept.
    renew: bool,
}

/// Where a client is kept, and what it is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// None: nowhere yet. What it is known by says where it begins.
    pub(crate) home: Option<u64>,
    pub(crate) client: u64,
}

impl Kept {
    pub(crate) fn ask(self, mut ask: Ask<'_>) -> Ask<'_> {
        (ask.kept, ask.client) = (self.home, Some(self.client));
        ask
    }
}

impl Stay {
    pub(crate) fn kept(&self) -> Option<Kept> {
        let (home, client) = (self.home, self.tag);
        (home.is_some() || self.places).then_some(Kept { home, client })
    }
}

/// What keeps the clients of one service.
pub struct Affinity {
    /// As it was checked.
    pub plan: AffinityPlan,
    /// Of this one alone, and of no plan before or after it: what a cookie said to one it does not say to another.
    number: u64,
    service: Arc<str>,
    own: Arc<Own>,
    sealer: Sealer,
}

/// Those that were given.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Affinity {
    /// That of a service, by the keys of a file or the process's own.
    #[must_use]
    pub fn new(plan: &AffinityPlan, service: &Arc<str>, rings: &Rings) -> Self {
        Self {
            plan: plan.clone(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            service: service.clone(),
            own: rings.own.clone(),
            sealer: Sealer::new(rings, service),
        }
    }

    /// What is known of the client of this request. It is seen by that, and `shown` by its connection; none: somebody only looks.
    pub(crate) fn of_request(
        &self,
        state: &ServiceState,
        request: &RequestHead,
        client: IpAddr,
        (now, today): (Instant, Duration),
        shown: Option<&Shown>,
    ) -> Stay {
        let looks = shown.is_none();
        match &self.plan.by {
            AffinityBy::Cookie(plan) => self.told(plan, request, today, shown),
            AffinityBy::AppCookie { name, beside } => {
                let value = cookies(request, name.as_bytes()).next();
                let Some(row) = value.and_then(|value| self.hashed(value)) else {
                    // Ours stands beside it, and says nothing alone.
                    return Stay::default();
                };
                let stay = self.told(beside, request, today, shown);
                match stay.told {
                    true => Stay {
                        row: Some(row),
                        ..stay
                    },
                    false => Stay {
                        ignored: stay.ignored,
                        shows: stay.shows,
                        ..self.of_row(state, row, now, looks)
                    },
                }
            }
            AffinityBy::Source { ipv6_prefix } => {
                self.of_address(state, client, *ipv6_prefix, now, looks)
            }
        }
    }

    /// The same of a flow, of which there is an address only.
    pub(crate) fn of_flow(&self, state: &ServiceState, client: IpAddr, now: Instant) -> Stay {
        match self.plan.by {
            AffinityBy::Source { ipv6_prefix } => {
                self.of_address(state, client, ipv6_prefix, now, false)
            }
            _ => Stay::default(),
        }
    }

    /// An address is a client's own before anything is known of it, and the same everywhere: where it begins is, too.
    fn of_address(
        &self,
        state: &ServiceState,
        client: IpAddr,
        ipv6_prefix: u8,
        now: Instant,
        looks: bool,
    ) -> Stay {
        Stay {
            places: true,
            ..self.of_row(state, row(client, ipv6_prefix), now, looks)
        }
    }

    fn of_row(&self, state: &ServiceState, row: u128, now: Instant, looks: bool) -> Stay {
        let clients = self.clients(state);
        let halves = [row >> 64, row & u128::from(u64::MAX)];
        let [high, low] = halves.map(|half| u64::try_from(half).unwrap_or(0));
        Stay {
            home: match looks {
                true => clients.peek(row, now),
                false => clients.get(row, now),
            },
            tag: mix(high, low),
            row: Some(row),
            ..Stay::default()
        }
    }

    /// What our cookie says. Of several the newest that says something: others may stand at a longer path, or for a wider domain.
    fn told(
        &self,
        plan: &CookiePlan,
        request: &RequestHead,
        today: Duration,
        shown: Option<&Shown>,
    ) -> Stay {
        let (today, ttl) = (today.as_secs(), plan.ttl.as_secs());
        // Of another instance, whose clock may be ahead.
        let age = |opened: &Opened| today.saturating_sub(u64::from(opened.issued));
        let (mut stay, mut newest) = (Stay::default(), None::<Opened>);
        // Hashes are made for those that look like ours only, and for a few of them.
        let mut tries = AFFINITY_TOLD;
        for value in cookies(request, plan.name.as_bytes()) {
            stay.shows = true;
            match self.opened(value, &mut tries, shown) {
                None => stay.ignored = stay.ignored.or(Some(Ignored::Invalid)),
                Some(opened) if ttl > 0 && age(&opened) > ttl => {
                    stay.ignored = Some(Ignored::Expired);
                }
                Some(opened) if newest.is_some_and(|one| one.issued >= opened.issued) => {}
                Some(opened) => newest = Some(opened),
            }
        }
        let Some(newest) = newest else {
            return stay;
        };
        Stay {
            home: Some(newest.backend),
            tag: newest.client,
            ignored: None,
            told: true,
            renew: !newest.newest || ttl > 0 && age(&newest) >= ttl.div_ceil(RENEWED_AFTER),
            ..stay
        }
    }

    /// What one value says: as it did last on this connection, or opened.
    fn opened(&self, value: &[u8], tries: &mut usize, shown: Option<&Shown>) -> Option<Opened> {
        if let Some(last) = shown.and_then(|shown| shown.says(self.number, value)) {
            return Some(last);
        }
        let sealed = Sealed::parse(value).filter(|_| *tries > 0)?;
        *tries -= 1;
        let opened = self.sealer.open(&sealed)?;
        if let (Some(shown), Ok(text)) = (shown, Text::try_from(value)) {
            shown.note(self.number, text, opened);
        }
        Some(opened)
    }

    /// The row of a value of the application's cookie. None: there is nothing to know by it.
    fn hashed(&self, value: &[u8]) -> Option<u128> {
        let fits = !value.is_empty() && value.len() <= AFFINITY_VALUE;
        fits.then(|| self.own.row(&self.service, value)).flatten()
    }
}

/// An address as the row of a table; one of IPv4 as IPv6 has it.
fn row(client: IpAddr, ipv6_prefix: u8) -> u128 {
    match network(client, ipv6_prefix) {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What of an address is one client: all of one of IPv4, also where IPv6 carries it; of one of IPv6 so many bits.
pub(crate) fn network(client: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let beyond = 128_u32.saturating_sub(ipv6_prefix.into());
            let mask = u128::MAX.checked_shl(beyond).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
