//! One row per policy: equal backends of given weights get shares that follow the weights, idle and busy.
//!
//! A new policy adds its row here.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::backend::{BackendSpec, Weight};
use evenkeel_balance::hashing;
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{
    HashMethod, LoadBound, PolicyChoice, ServiceSettings, ZoneSettings,
};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;
use evenkeel_balance::zone::ZoneId;

/// Sends `exchanges`, so many under way at once, and compares the share of each backend with its weight.
fn check(policy: PolicyChoice, weights: &[u32], at_once: usize, within: f64) {
    let name = policy.name().to_owned();
    let spec = |(at, weight): (usize, &u32)| {
        BackendSpec::new(format!("backend-{at}")).weight(Weight::new(*weight).unwrap())
    };
    let backends = weights.iter().enumerate().map(spec).collect();
    let service = Service::new(
        "fair",
        ServiceSettings::with_policy(policy),
        backends,
        Arc::new(()),
        Instant::ZERO,
    )
    .unwrap();
    let mut under_way = VecDeque::new();
    for exchange in 0..100_000 {
        let now = Instant::from_nanos(exchange * 1_000_000);
        let chance = hashing::mix(7, exchange);
        let pick = service
            .pick(&Ask::new(chance).key(hashing::mix(8, exchange)), now)
            .unwrap();
        under_way.push_back(pick);
        if under_way.len() == at_once {
            let done = Instant::from_nanos(exchange * 1_000_000 + 500_000);
            let oldest = under_way.pop_front().unwrap();
            oldest.finish(Outcome::Completed, done);
        }
        if exchange % 100 == 0 {
            service.tick(now);
        }
    }
    drop(under_way);
    service.laws().unwrap();
    for backend in service.snapshot(Instant::ZERO).backends {
        let off = (backend.share_got - backend.share_wanted).abs() / backend.share_wanted.max(1e-9);
        if backend.spec.weight == Weight::ZERO {
            assert_eq!(backend.counts.picked, 0, "{name}: weight 0 takes nothing");
        } else {
            assert!(
                off <= within,
                "{name} {weights:?}, {at_once} at once: {} got {:.4}, wanted {:.4}",
                backend.id,
                backend.share_got,
                backend.share_wanted
            );
        }
    }
}

/// Each policy, and by how much of it a share may be off.
fn rows() -> Vec<(PolicyChoice, f64)> {
    use PolicyChoice::{
        Adaptive, Bounded, HealthBased, LeastConnections, LeastTime, PeakEwma, PowerOfTwo, Random,
        RoundRobin, WeightedByLoad,
    };
    let rows = vec![
        (RoundRobin, 0.01),
        (Random, 0.05),
        (LeastConnections, 0.05),
        (PowerOfTwo, 0.05),
        (Adaptive, 0.05),
        (PeakEwma, 0.05),
        (LeastTime, 0.05),
        (HealthBased, 0.05),
        (WeightedByLoad, 0.01),
        (PolicyChoice::Hash(HashMethod::Maglev), 0.05),
        (PolicyChoice::Hash(HashMethod::Rendezvous), 0.05),
        // Four standard deviations of 160 points.
        (PolicyChoice::Hash(HashMethod::Ring), 0.35),
        // Parts are rounded up, and what is too much for one goes to the others.
        (Bounded(HashMethod::Maglev, LoadBound::DEFAULT), 0.1),
        (Bounded(HashMethod::Rendezvous, LoadBound::DEFAULT), 0.1),
        (Bounded(HashMethod::Ring, LoadBound::DEFAULT), 0.35),
    ];
    let names = |policies: &[PolicyChoice]| -> BTreeSet<String> {
        policies.iter().map(|one| one.name().to_owned()).collect()
    };
    let have: Vec<_> = rows.iter().map(|(policy, _)| policy.clone()).collect();
    assert_eq!(names(&have), names(&PolicyChoice::BUILT_IN));
    rows
}

#[test]
fn shares_follow_weights() {
    let even: &[u32] = &[1; 20];
    let skew: &[u32] = &[5, 1, 1, 0, 3];
    for (policy, within) in rows() {
        for at_once in [1, 100] {
            check(policy.clone(), even, at_once, within);
            check(policy.clone(), skew, at_once, within);
        }
    }
}

/// Members of one part of a service: its tier and zone, and their weights.
type Part = (u16, &'static str, &'static [u32]);

/// What each part is to get of asks of which half prefer each zone: the first tier has lost half of its weight.
const PARTS: [(Part, f64); 3] = [
    ((0, "a", &[5, 1, 1, 0, 3]), 0.35),
    ((0, "b", &[1; 10]), 0.35),
    ((1, "a", &[2, 4, 1]), 0.3),
];

fn of_part((tier, zone, weights): Part) -> impl Iterator<Item = BackendSpec> {
    weights.iter().enumerate().map(move |(at, weight)| {
        let id = format!("{tier}-{zone}-{at}");
        let weight = Weight::new(*weight).unwrap();
        BackendSpec::new(id).weight(weight).tier(tier).zone(zone)
    })
}

fn check_parts(policy: PolicyChoice, at_once: usize, within: f64) {
    let name = format!("{}, {at_once} at once", policy.name());
    let settings = ServiceSettings::with_policy(policy)
        .slow_start(Duration::ZERO)
        .zones(ZoneSettings::default());
    let lost = BackendSpec::new("lost").weight(Weight::new(20).unwrap());
    let backends = PARTS.iter().flat_map(|(part, _)| of_part(*part));
    let backends = backends.chain([lost]).collect();
    let service = Service::new("fair", settings, backends, Arc::new(()), Instant::ZERO).unwrap();
    let down = service.mark(&"lost".into(), Some(false), None, Instant::ZERO);
    down.unwrap();
    let mut under_way = VecDeque::new();
    for exchange in 0..100_000 {
        let now = Instant::from_nanos(exchange * 1_000_000);
        let zone = match hashing::mix(9, exchange) % 2 {
            0 => "a",
            _ => "b",
        };
        let ask = Ask::new(hashing::mix(7, exchange)).key(hashing::mix(8, exchange));
        let pick = service.pick(&ask.zone(ZoneId::named(zone)), now).unwrap();
        under_way.push_back(pick);
        if under_way.len() == at_once {
            let oldest = under_way.pop_front().unwrap();
            oldest.finish(Outcome::Completed, now);
        }
        if exchange % 100 == 0 {
            service.tick(now);
        }
    }
    drop(under_way);
    service.laws().unwrap();
    let all = service.snapshot(Instant::ZERO).backends;
    for (part, share) in PARTS {
        let picked = |spec: &BackendSpec| {
            let found = all.iter().find(|one| one.id == spec.id).unwrap();
            f64::from(u32::try_from(found.counts.picked).unwrap())
        };
        let counts: Vec<f64> = of_part(part).map(|spec| picked(&spec)).collect();
        let (got, weighed) = (counts.iter().sum::<f64>(), part.2.iter().sum::<u32>());
        // Six standard deviations of its coin.
        assert!((got / 1e5 - share).abs() <= 0.01, "{name}: {part:?}, {got}");
        for (&count, &weight) in counts.iter().zip(part.2) {
            let wanted = got * f64::from(weight) / f64::from(weighed);
            assert!(
                (count - wanted).abs() <= within * wanted,
                "{name}: a weight of {weight} in {part:?} got {count}, not {wanted:.0}"
            );
        }
    }
}

/// Within a tier and a zone weights count as they do in a service of those alone.
#[test]
fn shares_follow_weights_within_tiers_and_zones() {
    for (policy, within) in rows() {
        for at_once in [1, 300] {
            check_parts(policy.clone(), at_once, within);
        }
    }
}

/// Of more than 64, a policy that looks at some sees all of them as often, wherever the heavy ones stand.
#[test]
fn shares_follow_weights_among_many() {
    let mut zones = [1_u32; 200];
    zones[30..70].fill(10);
    check(PolicyChoice::Adaptive, &zones, 10_000, 0.1);
    check(PolicyChoice::Adaptive, &[1; 65], 1, 0.1);
    check(PolicyChoice::Adaptive, &[1; 100], 1, 0.1);
}

/// Whoever may not be picked, its turns are everybody's: no neighbour gets more of them than others do.
#[test]
fn nobody_inherits_the_turns_of_who_is_full_or_was_tried() {
    use PolicyChoice::{HealthBased, PowerOfTwo, Random, RoundRobin};
    let weights = [1_u32, 1, 2, 1, 1, 2, 1, 1];
    for policy in [RoundRobin, Random, HealthBased, PowerOfTwo] {
        for out in 0..weights.len() {
            for full in [true, false] {
                let name = policy.name().to_owned();
                let limit = |at: usize| u32::from(full && at == out);
                let spec = |(at, weight): (usize, &u32)| {
                    BackendSpec::new(format!("backend-{at}"))
                        .weight(Weight::new(*weight).unwrap())
                        .max_in_flight(limit(at))
                };
                let service = Service::new(
                    "fair",
                    ServiceSettings::with_policy(policy.clone()),
                    weights.iter().enumerate().map(spec).collect(),
                    Arc::new(()),
                    Instant::ZERO,
                )
                .unwrap();
                // One attempt holds the one that is out for as long as all others take; the rest has it tried.
                let mut drawn = (0..).map(|chance| Ask::new(hashing::mix(9, chance)));
                let hold = loop {
                    let pick = service.pick(&drawn.next().unwrap(), Instant::ZERO).unwrap();
                    if pick.backend().id().as_str() == format!("backend-{out}") {
                        break pick;
                    }
                };
                let mut tried = Tried::default();
                if !full {
                    tried.insert(hold.backend());
                }
                let mut counts = [0.0_f64; 8];
                for ask in drawn.by_ref().take(40_000) {
                    let pick = service.pick(&ask.tried(&tried), Instant::ZERO).unwrap();
                    let id = pick.backend().id().as_str();
                    let at: usize = id.strip_prefix("backend-").unwrap().parse().unwrap();
                    counts[at] += 1.0;
                    pick.finish(Outcome::Completed, Instant::ZERO);
                }
                let others: u32 = weights.iter().sum::<u32>() - weights[out];
                for (at, (got, weight)) in counts.iter().zip(weights).enumerate() {
                    let part = match at == out {
                        true => 0.0,
                        false => f64::from(weight) / f64::from(others),
                    };
                    let share = got / 40_000.0;
                    assert!(
                        (share - part).abs() <= 0.1 * part,
                        "{name}, {out} {}: {at} got {share:.4}, not {part:.4}",
                        if full { "full" } else { "tried" }
                    );
                }
            }
        }
    }
}
