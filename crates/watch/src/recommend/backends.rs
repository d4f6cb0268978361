//! Owns what is said of backends beside each other.

use std::collections::BTreeSet;

use super::facts::{Backend, Facts, Service};
use super::{Code, Recommendation, Value, figure, path, set, sure};
use crate::metric::Unit;
use crate::number::{float, length, median, whole};
use crate::threshold::Severity;

/// Of fewer requests a backend's latency says nothing.
const FEWEST: u64 = 500;
/// Weights are off where one takes so many times as long as its peers, or as much less.
const OFF: f64 = 1.5;
/// The largest weight that is proposed: per cents are fine enough.
const LARGEST: f64 = 100.0;
/// So many falls in an hour.
const FLAPS: u64 = 6;
/// A backend that gets so many times its share is too much.
const UNEVEN: f64 = 1.5;

/// Where the policy goes by weights alone, and backends are as fast as those do not say.
pub(super) fn weights(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in facts
        .services
        .iter()
        .filter(|service| !service.sees_latency)
    {
        let weighed = || {
            let all = service.backends.iter();
            all.filter(|one| one.weight > 0)
        };
        let measured: Vec<(&Backend, f64)> = weighed()
            .filter(|one| one.serving && one.requests >= FEWEST)
            .filter_map(|one| Some((one, one.mean.filter(|mean| *mean > 0.0)?)))
            .collect();
        // What is proposed is on a scale of its own: who keeps a weight of before would get another share by it.
        if measured.len() < weighed().count() {
            continue;
        }
        let Some(middle) = median(&mut measured.iter().map(|(_, mean)| *mean).collect::<Vec<_>>())
        else {
            continue;
        };
        let off = |mean: f64| (mean / middle).max(middle / mean);
        let Some((worst, mean)) = measured
            .iter()
            .copied()
            .max_by(|left, right| off(left.1).total_cmp(&off(right.1)))
        else {
            continue;
        };
        if measured.len() < 2 || off(mean) < OFF {
            continue;
        }
        let wanted = |(one, mean): &(&Backend, f64)| f64::from(one.weight) * middle / mean;
        let most = measured.iter().map(wanted).fold(0.0, f64::max);
        let patch = measured.iter().map(|one| {
            let weight = whole(wanted(one) / most * LARGEST).max(1);
            set(
                &["services", &service.name, "backends", &one.0.id, "weight"],
                Value::Count(weight),
            )
        });
        all.push(Recommendation {
            code: Code::WrongWeights,
            severity: Severity::Warning,
            subject: path(&["services", &service.name, "backends", &worst.id]),
            reason: format!("its answers take {:.1} times what they take in the middle, and the policy goes by weights alone", mean / middle),
            figures: vec![
                figure("mean", mean, Some(Unit::Seconds)),
                figure("median_of_peers", middle, Some(Unit::Seconds)),
                figure("weight", f64::from(worst.weight), None),
            ],
            confidence: sure(worst.requests, 2 * FEWEST),
            patch: patch.collect(),
        });
    }
}

/// Where a backend goes and comes.
pub(super) fn flapping(facts: &Facts, all: &mut Vec<Recommendation>) {
    for (service, backend) in each(facts).filter(|(_, backend)| backend.falls >= FLAPS) {
        let patch = service.checks.iter().map(|checks| {
            let rise = checks.rise.saturating_mul(2).clamp(1, 1000);
            set(
                &["services", &service.name, "health", "rise"],
                Value::Count(rise),
            )
        });
        all.push(Recommendation {
            code: Code::Flapping,
            severity: Severity::Warning,
            subject: path(&["services", &service.name, "backends", &backend.id]),
            reason: format!("it left {} times within an hour; more passed checks before it returns keep it away until it is well", backend.falls),
            figures: vec![figure("falls", float(backend.falls), None)],
            confidence: sure(backend.falls, FLAPS / 2),
            patch: patch.collect(),
        });
    }
}

/// Where one machine is all that serves.
pub(super) fn single_point(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in facts.services.iter().filter(|service| service.requests > 0) {
        let serving = service
            .backends
            .iter()
            .filter(|one| one.serving && one.weight > 0);
        let hosts: BTreeSet<&str> = serving.clone().map(|one| one.host.as_str()).collect();
        let Some(host) = hosts.first().filter(|_| hosts.len() == 1) else {
            continue;
        };
        let count = serving.count();
        all.push(Recommendation {
            code: Code::SinglePointOfFailure,
            severity: Severity::Warning,
            subject: path(&["services", &service.name]),
            reason: match count {
                1 => "one backend serves all of it; when it goes, so does the service".to_owned(),
                _ => format!("all {count} backends that serve are on {host}; when it goes, so does the service"),
            },
            figures: vec![figure("serving", length(count), None), figure("hosts", 1.0, None)],
            confidence: 1.0,
            patch: Vec::new(),
        });
    }
}

/// Where kept clients have one backend carry much more than its share.
pub(super) fn affinity(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in &facts.services {
        let kept = service.kept.unwrap_or(0);
        let serving: Vec<&Backend> = service
            .backends
            .iter()
            .filter(|one| one.serving && one.weight > 0)
            .collect();
        let requests: u64 = serving.iter().map(|one| one.requests).sum();
        let weights: f64 = serving.iter().map(|one| f64::from(one.weight)).sum();
        // What is not kept goes where there is room: then it is not affinity.
        if serving.len() < 2 || requests < FEWEST * 2 || kept * 2 < requests {
            continue;
        }
        let times = |one: &Backend| {
            float(one.requests) / float(requests) / (f64::from(one.weight) / weights)
        };
        let Some(most) = serving
            .iter()
            .max_by(|left, right| times(left).total_cmp(&times(right)))
        else {
            continue;
        };
        if times(most) < UNEVEN {
            continue;
        }
        all.push(Recommendation {
            code: Code::AffinityUnbalances,
            severity: Severity::Warning,
            subject: path(&["services", &service.name, "backends", &most.id]),
            reason: format!("clients that are kept give it {:.1} times its share; a shorter time to keep them, or a backend more, spreads them", times(most)),
            figures: vec![
                figure("share", float(most.requests) / float(requests), Some(Unit::Share)),
                figure("wanted_share", f64::from(most.weight) / weights, Some(Unit::Share)),
                figure("kept", float(kept) / float(requests), Some(Unit::Share)),
            ],
            confidence: sure(requests, 2 * FEWEST),
            patch: Vec::new(),
        });
    }
}

fn each(facts: &Facts) -> impl Iterator<Item = (&Service, &Backend)> {
    facts.services.iter().flat_map(|service| {
        service
            .backends
            .iter()
            .map(move |backend| (service, backend))
    })
}
