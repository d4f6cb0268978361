//! Owns the asking: hickory's resolver over the servers that a plan names, or the system's. The only place that knows it.
//!
//! The resolver keeps nothing: when a name is asked for again is the schedule's, which reads the lives of records itself. The
//! system's `/etc/resolv.conf` and `/etc/hosts` are read when the resolver is made.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::Weight;
use evenkeel_config::limits;
use evenkeel_config::plan::{Question, ResolverPlan};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::book::{Fault, Found, Part, PartFound};

/// Questions at once, of all look-ups. One that is not answered has three sockets at last: together three quarters of the
/// descriptors that are kept back from clients.
const QUESTIONS_MOST: usize = 64;

/// The targets of SRV records have as long as so many questions in a row.
const IN_A_ROW: u32 = 4;

/// The places of questions; those that run over a reload keep theirs.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(QUESTIONS_MOST))
}

/// What asks.
pub(crate) struct Asker {
    resolver: TokioResolver,
    places: Arc<Semaphore>,
    /// One question, all its tries, over TCP too.
    within: Duration,
}

impl Asker {
    /// Reads the system's files where the plan names no servers.
    ///
    /// # Errors
    /// They cannot be read, or name none.
    pub(crate) fn new(plan: &ResolverPlan, places: Arc<Semaphore>) -> Result<Self, Fault> {
        let mut builder = if plan.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|_| Fault::NoServer)?
        } else {
            let servers = plan.servers.iter().map(|address| {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                server
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = plan.timeout;
        options.attempts = plan.attempts.saturating_sub(1);
        options.cache_size = 0;
        // One socket a question.
        options.num_concurrent_reqs = 1;
        // What was too long for UDP goes over one connection.
        options.max_active_requests = QUESTIONS_MOST;
        let resolver = builder.build().map_err(|_| Fault::NoServer)?;
        let attempts = u32::try_from(plan.attempts).unwrap_or(u32::MAX);
        Ok(Self {
            resolver,
            places,
            within: plan.timeout.saturating_mul(attempts).saturating_mul(2),
        })
    }

    /// Asks, and asks what follows from the answer.
    ///
    /// # Errors
    /// [`Fault`]: there is no answer at all.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Found, Fault> {
        let name = match question {
            Question::Srv(name) => return self.srv(name).await,
            Question::Addresses(name) => name,
        };
        let (parts, lives) = self.addresses(name, None).await;
        Ok(Found {
            parts: parts.into(),
            lives,
            cut: false,
        })
    }

    /// One question, when there is a place for it.
    async fn one(&self, name: &str, records: RecordType) -> Result<Lookup, Fault> {
        let _place = self.places.acquire().await;
        // As it is written: a host with an underscore is none to IDNA, and common within a cluster.
        let name = Name::from_ascii(name).map_err(|_| Fault::Malformed)?;
        match timeout(self.within, self.resolver.lookup(name, records)).await {
            Ok(came) => came.map_err(|error| fault(&error)),
            Err(_) => Err(Fault::Timeout),
        }
    }

    /// Both families of one host.
    async fn addresses(
        &self,
        host: &Arc<str>,
        target: Option<&Target>,
    ) -> ([PartFound; 2], Duration) {
        let (v4, v6) = tokio::join!(
            self.one(host, RecordType::A),
            self.one(host, RecordType::AAAA)
        );
        let lives = [&v4, &v6].into_iter().flatten().map(lives).min();
        let part = |v6, came: Result<Lookup, Fault>| PartFound {
            part: Part {
                host: host.clone(),
                port: target.map(|target| target.port),
                v6,
            },
            weight: target.map(|target| target.weight),
            behind: target.map_or(0, |target| target.behind),
            addresses: came.map(|found| ips(&found)),
        };
        let parts = [part(false, v4), part(true, v6)];
        (parts, lives.unwrap_or(Duration::MAX))
    }

    async fn srv(&self, name: &str) -> Result<Found, Fault> {
        let found = self.one(name, RecordType::SRV).await?;
        let records = found.answers().iter();
        let records = records.filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv),
            _ => None,
        });
        let targets = targets(records);
        let cut = targets.len() > limits::SRV_TARGETS;
        let mut found = Found {
            parts: Vec::new(),
            lives: lives(&found),
            cut,
        };
        let follow = async {
            for target in targets.into_iter().take(limits::SRV_TARGETS) {
                let (parts, lives) = self.addresses(&target.host, Some(&target)).await;
                found.parts.extend(parts);
                found.lives = found.lives.min(lives);
            }
            found
        };
        let within = self.within.saturating_mul(IN_A_ROW);
        timeout(within, follow).await.map_err(|_| Fault::Timeout)
    }
}

fn ips(found: &Lookup) -> Vec<IpAddr> {
    let ip = |data: &RData| match data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
        _ => None,
    };
    let records = found.answers().iter();
    records.filter_map(|record| ip(&record.data)).collect()
}

/// The shortest life of its records, aliases on the way too.
fn lives(found: &Lookup) -> Duration {
    let all = found.answers().iter().map(|record| record.ttl);
    Duration::from_secs(all.min().unwrap_or_default().into())
}

/// What one SRV record names.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: Arc<str>,
    port: NonZeroU16,
    weight: Weight,
    /// Priorities before its own.
    behind: u16,
}

/// All targets, those of the lowest priority first, in an order of their own. Those of a higher one are for when none before them
/// serves (RFC 2782): each priority is a tier.
fn targets<'r>(records: impl Iterator<Item = &'r SRV>) -> Vec<Target> {
    let mut priorities = BTreeMap::<u16, Vec<&SRV>>::new();
    // A target that is the root says that there is no such service.
    for one in records.filter(|one| !one.target.is_root()) {
        priorities.entry(one.priority).or_default().push(one);
    }
    let mut seen = HashSet::new();
    let tiers = (0..).zip(priorities.into_values());
    let all = tiers.flat_map(|(behind, records)| tier(behind, &records));
    all.filter(|one| seen.insert((one.host.clone(), one.port)))
        .collect()
}

/// Those of one priority. Weight 0 is "a very small chance" beside others, and no wish where all have it.
fn tier(behind: u16, records: &[&SRV]) -> Vec<Target> {
    let weights = records.iter().map(|one| u32::from(one.weight));
    let (least, most) = (weights.clone().min(), weights.max().unwrap_or_default());
    let (times, over) = match most {
        0 => (0, 1),
        // Room below the smallest of the others.
        1..=100 if least == Some(0) => (100, 1),
        _ => (u32::from(Weight::MOST), most.max(Weight::MOST.into())),
    };
    let target = |one: &&SRV| {
        let weight = (u32::from(one.weight) * times / over).max(1);
        Some(Target {
            host: one.target.to_ascii().to_ascii_lowercase().into(),
            port: NonZeroU16::new(one.port)?,
            weight: Weight::new(weight).unwrap_or(Weight::ONE),
            behind,
        })
    };
    let mut targets: Vec<_> = records.iter().filter_map(target).collect();
    // Of two records of one place, the first is taken: the one of the greater weight.
    targets.sort_unstable_by(|one, other| {
        let place = (&one.host, one.port).cmp(&(&other.host, other.port));
        place.then(other.weight.cmp(&one.weight))
    });
    targets
}

fn fault(error: &NetError) -> Fault {
    match error {
        NetError::Timeout => Fault::Timeout,
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Fault::NoName,
            _ => Fault::Empty,
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => Fault::ServFail,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => Fault::Refused,
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => Fault::Network,
        NetError::Proto(_) | NetError::Truncated => Fault::Malformed,
        _ => Fault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as priority, weight, port and target.
    #[track_caller]
    fn check(records: &[(u16, u16, u16, &str)], expect: &[(&str, (u16, u16, u16))]) {
        let records: Vec<_> = records
            .iter()
            .map(|&(priority, weight, port, target)| {
                SRV::new(priority, weight, port, Name::from_ascii(target).unwrap())
            })
            .collect();
        for records in [records.iter().collect(), records.iter().rev().collect()] {
            let records: Vec<&SRV> = records;
            let all = targets(records.into_iter());
            let shown = |one: &'_ Target| (one.port.get(), one.weight.get(), one.behind);
            let got: Vec<_> = all.iter().map(|one| (&*one.host, shown(one))).collect();
            assert_eq!(got, expect);
        }
    }

    #[test]
    fn targets_are_of_all_priorities_with_weights_of_ours() {
        check(&[], &[]);
        check(&[(0, 0, 0, ".")], &[]);
        check(&[(0, 1, 0, "a.")], &[]);
        check(
            &[(1, 0, 80, "B."), (1, 0, 81, "a.")],
            &[("a.", (81, 1, 0)), ("b.", (80, 1, 0))],
        );
        // A priority behind another is a tier, whatever its number, and has shares of its own.
        check(
            &[(20, 9, 80, "a."), (10, 7, 80, "b.")],
            &[("b.", (80, 7, 0)), ("a.", (80, 9, 1))],
        );
        check(
            &[
                (7, 65_535, 1, "a."),
                (0, 1, 1, "b."),
                (9, 0, 1, "c."),
                (7, 0, 1, "d."),
            ],
            &[
                ("b.", (1, 1, 0)),
                ("a.", (1, 10_000, 1)),
                ("d.", (1, 1, 1)),
                ("c.", (1, 1, 2)),
            ],
        );
        // Of one place in two of them, the first counts.
        check(
            &[(2, 9, 80, "a."), (1, 7, 80, "a."), (2, 1, 81, "a.")],
            &[("a.", (80, 7, 0)), ("a.", (81, 1, 1))],
        );
        check(
            &[(1, 10, 1, "a."), (1, 20, 1, "b.")],
            &[("a.", (1, 10, 0)), ("b.", (1, 20, 0))],
        );
        check(
            &[(1, 0, 1, "a."), (1, 2, 1, "b.")],
            &[("a.", (1, 1, 0)), ("b.", (1, 200, 0))],
        );
        check(
            &[(1, 0, 1, "a."), (1, 200, 1, "b.")],
            &[("a.", (1, 1, 0)), ("b.", (1, 200, 0))],
        );
        check(
            &[(1, 1, 1, "a."), (1, 65_535, 1, "b.")],
            &[("a.", (1, 1, 0)), ("b.", (1, 10_000, 0))],
        );
        check(&[(1, 5, 1, "a."), (1, 9, 1, "a.")], &[("a.", (1, 9, 0))]);
    }
}
