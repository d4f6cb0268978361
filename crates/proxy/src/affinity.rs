//! Owns affinity as the proxy has it: how a client is known again, and what tells where it is kept.
//!
//! Where it may be kept and why it moves is the core's to say. A cookie of ours says where its client is kept, sealed; what an
//! application's cookie or an address stands for is in the service's table. Nothing that a client shows is an error: what cannot be
//! read, is too old or says who is gone counts as nothing. Read next: `exchange/keep`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::limits::{AFFINITY_TOLD, AFFINITY_VALUE};
use evenkeel_config::plan::{AffinityBy, AffinityPlan, CookiePlan};
use evenkeel_wire::known::Known;
use evenkeel_wire::{RequestHead, ResponseHead};

use crate::decide::cookies;
use crate::live::ServiceState;

/// What seals, and by which keys.
pub mod keys;

use keys::{Own, Rings, Sealed, Sealer};

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
    /// Its row in the table.
    client: Option<u128>,
    /// It is to be told once more where it is kept.
    renew: bool,
}

/// What keeps the clients of one service.
pub struct Affinity {
    /// As it was checked.
    pub plan: AffinityPlan,
    service: Arc<str>,
    own: Arc<Own>,
    sealer: Sealer,
}

impl Affinity {
    /// That of a service, by the keys of a file or the process's own.
    #[must_use]
    pub fn new(plan: &AffinityPlan, service: &Arc<str>, rings: &Rings) -> Self {
        Self {
            plan: plan.clone(),
            service: service.clone(),
            own: rings.own.clone(),
            sealer: Sealer::new(rings, service),
        }
    }

    /// What is known of the client of this request. It is seen by that; `looks`: it is not, somebody only looks.
    pub(crate) fn of_request(
        &self,
        state: &ServiceState,
        request: &RequestHead,
        client: IpAddr,
        (now, today): (Instant, Duration),
        looks: bool,
    ) -> Stay {
        let client = match &self.plan.by {
            AffinityBy::Cookie(plan) => return self.told(plan, request, today),
            AffinityBy::AppCookie(name) => {
                let value = cookies(request, name.as_bytes()).next();
                value.and_then(|value| self.hashed(value))
            }
            AffinityBy::Source => Some(row(client)),
        };
        self.of_row(state, client, now, looks)
    }

    /// The same of a flow, of which there is an address only.
    pub(crate) fn of_flow(&self, state: &ServiceState, client: IpAddr, now: Instant) -> Stay {
        match self.plan.by {
            AffinityBy::Source => self.of_row(state, Some(row(client)), now, false),
            _ => Stay::default(),
        }
    }

    fn of_row(
        &self,
        state: &ServiceState,
        client: Option<u128>,
        now: Instant,
        looks: bool,
    ) -> Stay {
        let clients = state.clients(self.plan.clients, &self.own);
        let home = client.and_then(|client| match looks {
            true => clients.peek(client, now),
            false => clients.get(client, now),
        });
        Stay {
            home,
            client,
            ..Stay::default()
        }
    }

    /// What our cookie says. Of several the first that says something: an older one may stand at a longer path.
    fn told(&self, plan: &CookiePlan, request: &RequestHead, today: Duration) -> Stay {
        let (today, ttl) = (today.as_secs(), plan.ttl.as_secs());
        let mut stay = Stay::default();
        // Hashes are made for those that look like ours only, and for a few of them.
        let mut tries = AFFINITY_TOLD;
        for value in cookies(request, plan.name.as_bytes()) {
            let sealed = Sealed::parse(value).filter(|_| tries > 0);
            tries -= usize::from(sealed.is_some());
            let Some(opened) = sealed.and_then(|sealed| self.sealer.open(&sealed)) else {
                stay.ignored = stay.ignored.or(Some(Ignored::Invalid));
                continue;
            };
            // Of another instance, whose clock may be ahead.
            let age = today.saturating_sub(u64::from(opened.issued));
            if ttl > 0 && age > ttl {
                stay.ignored = Some(Ignored::Expired);
                continue;
            }
            return Stay {
                home: Some(opened.backend),
                renew: !opened.newest || ttl > 0 && age >= ttl.div_ceil(RENEWED_AFTER),
                ..Stay::default()
            };
        }
        stay
    }

    /// The row of a value of the application's cookie. None: there is nothing to know by it.
    fn hashed(&self, value: &[u8]) -> Option<u128> {
        let fits = !value.is_empty() && value.len() <= AFFINITY_VALUE;
        fits.then(|| self.own.row(&self.service, value)).flatten()
    }

    /// The value of the cookie that tells a client where it is kept, and its attributes. None: it need not be told.
    pub(crate) fn to_tell(
        &self,
        stay: &Stay,
        backend: u64,
        today: Duration,
        https: bool,
    ) -> Option<(&str, String, String)> {
        let AffinityBy::Cookie(plan) = &self.plan.by else {
            return None;
        };
        if stay.home == Some(backend) && !stay.renew {
            return None;
        }
        let issued = u32::try_from(today.as_secs()).unwrap_or(u32::MAX);
        let value = self.sealer.seal(backend, issued)?;
        let age = match plan.ttl.as_secs() {
            0 => String::new(),
            seconds => format!("; Max-Age={seconds}"),
        };
        let secure = if https || plan.everywhere {
            "; Secure"
        } else {
            ""
        };
        let attributes = format!("{age}{}{secure}", plan.attributes);
        Some((&plan.name, value, attributes))
    }

    /// Remembers where a client is served from now on; a spilled one goes back, unless the application began anew with it. False: there
    /// is nobody to remember.
    pub(crate) fn remember(
        &self,
        state: &ServiceState,
        stay: &Stay,
        (backend, spilled): (u64, bool),
        answer: Option<&ResponseHead>,
        now: Instant,
    ) -> bool {
        let clients = || state.clients(self.plan.clients, &self.own);
        match (&self.plan.by, answer) {
            (AffinityBy::Cookie(_), _) => true,
            (AffinityBy::AppCookie(name), Some(answer)) => {
                let set = answer
                    .fields()
                    .filter(|field| field.known == Known::SetCookie);
                let set = set.filter_map(|field| set_value(field.value, name.as_bytes()));
                match set.last() {
                    Some(value) => match (self.hashed(value), stay.client) {
                        (Some(client), _) => {
                            clients().put(client, backend, now);
                            true
                        }
                        // The application takes its cookie back.
                        (None, Some(client)) => !clients().clear(client),
                        (None, None) => false,
                    },
                    None if spilled => true,
                    None => self.moved(clients, stay, backend, now),
                }
            }
            (AffinityBy::AppCookie(_), None) => false,
            (AffinityBy::Source, _) => {
                if let Some(client) = stay.client
                    && stay.home != Some(backend)
                    && !spilled
                {
                    clients().put(client, backend, now);
                }
                true
            }
        }
    }

    /// One that is known goes on elsewhere; nobody becomes known by a value that no backend has set.
    fn moved<'c>(
        &self,
        clients: impl Fn() -> &'c evenkeel_balance::affinity::Clients,
        stay: &Stay,
        backend: u64,
        now: Instant,
    ) -> bool {
        let Some((client, home)) = stay.client.zip(stay.home) else {
            return false;
        };
        if home != backend {
            clients().put(client, backend, now);
        }
        true
    }
}

/// An address as the row of a table; one of IPv4 as IPv6 has it.
fn row(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The value that a `Set-Cookie` gives to a cookie of this name (RFC 6265 section 5.2).
fn set_value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let pair = line.split(|&byte| byte == b';').next()?;
    let at = pair.iter().position(|&byte| byte == b'=')?;
    (pair[..at].trim_ascii() == name).then(|| pair[at + 1..].trim_ascii())
}

#[cfg(test)]
mod tests;
