//! Owns rate limits as the proxy has them: what a request is counted by, which limits are asked, what is counted of them.
//!
//! Whether there is a token is the core's to say (`evenkeel_balance::rate`). Buckets outlive plans: a limit that counts the same keys as
//! before goes on with them, at whatever pace. Read next: `exchange/limited`, for what is answered.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use evenkeel_balance::rate::{Key, Limit, Room, Secret, Together, Verdict};
use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_config::plan::{RateBy, RatePlan};
use evenkeel_wire::RequestHead;

use crate::affinity::keys::chance;
use crate::decide;
use crate::live::Live;
use crate::observation::Count;

/// Where a limit stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// In a rule of this name.
    Rule(Arc<str>),
    /// In a listener of this name.
    Listener(Arc<str>),
}

impl Owner {
    /// Which of them, and its name.
    #[must_use]
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Rule(name) => ("rule", name),
            Self::Listener(name) => ("listener", name),
        }
    }
}

/// A limit of the running plan.
#[derive(Debug)]
pub struct Rate {
    /// As it was checked.
    pub plan: RatePlan,
    /// Where it stands.
    pub owner: Owner,
    limit: Limit,
    /// A row per worker.
    counters: Arc<[RateCounters]>,
}

/// One worker's counters of one limit.
#[derive(Debug, Default)]
#[repr(align(128))]
struct RateCounters {
    passed: Count,
    refused: Count,
    shadowed: Count,
}

/// What became of requests at a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateCounts {
    /// Those that it let pass, and the others beside it.
    pub passed: u64,
    /// Those that it refused.
    pub refused: u64,
    /// Those that it would have refused, if it were not only looked at.
    pub shadowed: u64,
    /// Keys that were forgotten before their buckets were full again.
    pub evicted: u64,
}

/// Who is counted.
#[derive(Clone, Copy)]
pub(crate) struct Who<'r> {
    /// None: a flow, of which there is an address only.
    pub(crate) request: Option<&'r RequestHead>,
    pub(crate) client: IpAddr,
}

impl Rate {
    fn key(&self, who: Who<'_>) -> Key {
        if self.plan.per.is_empty() {
            return Key::ONE;
        }
        let mut keying = self.limit.keying();
        for by in &self.plan.per {
            let request = who.request;
            keying = match by {
                RateBy::Client => match counted_as(who.client, self.plan.ipv6_prefix) {
                    IpAddr::V4(address) => keying.part(Some(&address.octets())),
                    IpAddr::V6(address) => keying.part(Some(&address.octets())),
                },
                RateBy::Header(name) => keying.part(request.and_then(|head| match &**name {
                    // As rules see it: each of its spellings would be a bucket of its own.
                    "host" => Some(head.host().as_bytes()).filter(|host| !host.is_empty()),
                    name => only(head.values(name.as_bytes())),
                })),
                RateBy::Cookie(name) => keying
                    .part(request.and_then(|head| only(decide::cookies(head, name.as_bytes())))),
                RateBy::Path(segments) => keying.part(request.map(|head| match segments {
                    Some(most) => begin(head.path(), most.get()),
                    None => head.path(),
                })),
            };
        }
        keying.key()
    }

    /// What became of requests here. Cost: workers.
    #[must_use]
    pub fn counts(&self) -> RateCounts {
        let sum =
            |of: fn(&RateCounters) -> &Count| self.counters.iter().map(|row| of(row).get()).sum();
        RateCounts {
            passed: sum(|row| &row.passed),
            refused: sum(|row| &row.refused),
            shadowed: sum(|row| &row.shadowed),
            evicted: self.limit.evicted(),
        }
    }

    /// Keys whose buckets are not full. Cost: as many looks as there may be keys.
    #[must_use]
    pub fn keys(&self, now: Instant) -> usize {
        self.limit.keys(now)
    }

    fn count(&self, worker: usize, count: impl FnOnce(&RateCounters) -> &Count) {
        if let Some(row) = self.counters.get(worker) {
            count(row).add(1);
        }
    }
}

/// The address that stands for a client.
fn counted_as(client: IpAddr, prefix: u8) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix.min(128)));
            Ipv6Addr::from_bits(address.to_bits() & mask.unwrap_or(0)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The only one of several. Who says two things could have one of them counted here and the other believed elsewhere: as good as
/// nothing said.
fn only<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
    values.next().filter(|_| values.next().is_none())
}

/// So many segments of a path, from its begin.
fn begin(path: &[u8], segments: u8) -> &[u8] {
    let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let end = slashes.nth(usize::from(segments));
    end.map_or(path, |(at, _)| &path[..at])
}

/// What the limits say together. Takes a token of each, or of none, and counts what each said.
pub(crate) fn take(rates: &[Rate], who: Who<'_>, worker: usize, now: Instant) -> Verdict {
    let verdict = together(rates, who).take(now);
    for (rate, said) in rates.iter().zip(verdict.said()) {
        match (said.passes, rate.plan.shadow) {
            (true, _) if verdict.passes => rate.count(worker, |row| &row.passed),
            (true, _) => {}
            (false, true) => rate.count(worker, |row| &row.shadowed),
            (false, false) => rate.count(worker, |row| &row.refused),
        }
    }
    verdict
}

/// What the bucket of each has, for who only looks.
pub(crate) fn look(rates: &[Rate], who: Who<'_>, now: Instant) -> Vec<Room> {
    let said = together(rates, who).look(now);
    said.said().map(|said| said.room).collect()
}

fn together<'r>(rates: &'r [Rate], who: Who<'_>) -> Together<'r> {
    let mut together = Together::default();
    for rate in rates {
        // No plan has more than there may be.
        together.add(&rate.limit, rate.key(who), rate.plan.shadow);
    }
    together
}

/// All limits of a plan that has any.
#[derive(Debug)]
pub struct Rates {
    /// By the place of the rule; none: the listener's.
    rules: Box<[Option<Arc<[Rate]>>]>,
    /// By the place of the listener.
    listeners: Box<[Arc<[Rate]>]>,
}

impl Rates {
    /// Those of a plan, which go on with what those before it have counted. None: it has none.
    pub(crate) fn join(
        plan: &Plan,
        before: Option<&Live>,
        workers: usize,
        now: Instant,
    ) -> Option<Box<Self>> {
        let of_listeners = plan.listeners.iter().map(|one| &*one.rates);
        let of_rules = plan.rules.iter().flat_map(|rule| rule.rates.as_deref());
        if of_listeners.chain(of_rules).all(<[_]>::is_empty) {
            return None;
        }
        let mut known: HashMap<&Owner, Vec<&Rate>> = HashMap::new();
        let before = before.and_then(|before| before.rates.as_deref());
        for rate in before.iter().flat_map(|before| before.all()) {
            known.entry(&rate.owner).or_default().push(rate);
        }
        let live = |plans: &[RatePlan], owner: &Owner| -> Arc<[Rate]> {
            let rate = |plan: &RatePlan| {
                let mut earlier = known.get(owner).into_iter().flatten();
                let earlier = earlier.find(|rate| rate.plan.counts_as(plan));
                Rate::new(plan, owner, earlier.copied(), workers, now)
            };
            plans.iter().map(rate).collect()
        };
        Some(Box::new(Self {
            rules: plan
                .rules
                .iter()
                .map(|rule| {
                    let rates = rule.rates.as_deref()?;
                    Some(live(rates, &Owner::Rule(rule.name.clone())))
                })
                .collect(),
            listeners: plan
                .listeners
                .iter()
                .map(|one| live(&one.rates, &Owner::Listener(one.name.clone())))
                .collect(),
        }))
    }

    /// Those that a request meets at a listener, by the rule that it meets; none: no rule holds.
    #[inline]
    pub(crate) fn of(&self, listener: Option<usize>, rule: Option<usize>) -> &[Rate] {
        let own = rule.and_then(|at| self.rules.get(at)?.as_deref());
        let listeners = || listener.and_then(|at| Some(&**self.listeners.get(at)?));
        own.or_else(listeners).unwrap_or_default()
    }

    /// Whether one more flow of this client may pass at a listener. Takes and counts as [`take`] does.
    pub(crate) fn let_flow(
        &self,
        listener: usize,
        client: IpAddr,
        worker: usize,
        now: Instant,
    ) -> bool {
        let rates = self.of(Some(listener), None);
        let who = Who {
            request: None,
            client,
        };
        rates.is_empty() || take(rates, who, worker, now).passes
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Rate> {
        let of_listeners = self.listeners.iter();
        let of_rules = self.rules.iter().flatten();
        of_listeners.chain(of_rules).flat_map(|rates| rates.iter())
    }
}

impl Rate {
    fn new(
        plan: &RatePlan,
        owner: &Owner,
        earlier: Option<&Self>,
        workers: usize,
        now: Instant,
    ) -> Self {
        let went_on = earlier.and_then(|earlier| {
            let limit = earlier.limit.paced(plan.settings, now)?;
            Some((limit, earlier.counters.clone()))
        });
        let (limit, counters) = went_on.unwrap_or_else(|| {
            let counters = (0..workers).map(|_| RateCounters::default()).collect();
            (Limit::new(plan.settings, Secret::new(chance())), counters)
        });
        Self {
            plan: plan.clone(),
            owner: owner.clone(),
            limit,
            counters,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroUsize};
    use std::time::Duration;

    use evenkeel_balance::rate::RateSettings;
    use evenkeel_wire::http1::request::{PathForm, parse};
    use evenkeel_wire::http1::{HeadEnd, HeadLimits};

    use super::*;

    #[test]
    fn an_address_stands_for_a_client() {
        let check = |client: &str, prefix, expect: &str| {
            let counted = counted_as(client.parse().unwrap(), prefix);
            assert_eq!(counted, expect.parse::<IpAddr>().unwrap(), "{client}");
        };
        check("192.0.2.7", 64, "192.0.2.7");
        check("::ffff:192.0.2.7", 64, "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::");
        check("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::");
        check("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6");
        check("ffff::", 1, "8000::");
    }

    #[test]
    fn what_is_said_twice_is_as_good_as_nothing() {
        let check = |values: &[&'static [u8]], expect: Option<&[u8]>| {
            assert_eq!(only(values.iter().copied()), expect);
        };
        check(&[], None);
        check(&[b"a"], Some(b"a"));
        check(&[b""], Some(b""));
        check(&[b"a", b"a"], None);
    }

    fn head(lines: &str) -> RequestHead {
        let mut head = RequestHead::new();
        let text = format!("GET /a HTTP/1.1\r\n{lines}\r\n");
        let (mut end, bounds) = (HeadEnd::default(), HeadLimits::default());
        parse(
            text.as_bytes(),
            &mut end,
            &bounds,
            PathForm::default(),
            &mut head,
        )
        .unwrap();
        head
    }

    /// Which heads a limit counts as one.
    #[test]
    fn one_host_is_one_however_it_is_spelled() {
        let check = |name: &str, one: &str, other: &str, same: bool| {
            let plan = RatePlan {
                name: "header".into(),
                per: vec![RateBy::Header(name.into())],
                settings: RateSettings::new(NonZeroU32::MIN, Duration::from_secs(1))
                    .keys(NonZeroUsize::MIN),
                ipv6_prefix: 64,
                shadow: false,
                fields: false,
            };
            let rate = Rate::new(&plan, &Owner::Rule("a".into()), None, 1, Instant::ZERO);
            let key = |lines| {
                rate.key(Who {
                    request: Some(&head(lines)),
                    client: [127, 0, 0, 1].into(),
                })
            };
            assert_eq!(key(one) == key(other), same, "{one:?} {other:?}");
        };
        check("host", "Host: a.b\r\n", "HOST: A.b\r\n", true);
        check("host", "Host: a.b\r\n", "Host: a.b.\r\n", true);
        check("host", "Host: a.b\r\n", "Host: a.b:8080\r\n", true);
        check("host", "Host: a.b\r\n", "Host: a.c\r\n", false);
        let with = |line: &str| format!("Host: a\r\n{line}\r\n");
        check("x-key", &with("X-Key: 1"), &with("x-kEY:  1 "), true);
        check("x-key", &with("X-Key: a"), &with("X-Key: A"), false);
    }

    #[test]
    fn a_path_has_a_begin() {
        let check = |path: &str, segments, expect: &str| {
            let got = begin(path.as_bytes(), segments);
            assert_eq!(got, expect.as_bytes(), "{path} {segments}");
        };
        check("/", 1, "/");
        check("/a", 1, "/a");
        check("/a/", 1, "/a");
        check("/a/b/c", 1, "/a");
        check("/a/b/c", 2, "/a/b");
        check("/a/b/c", 3, "/a/b/c");
        check("/a/b/c", 16, "/a/b/c");
        check("*", 1, "*");
    }
}
