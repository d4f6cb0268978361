//! Memory, counted: a pick allocates nothing, and a member costs little.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

mod counting;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::ask::{Ask, ClassId, Tried};
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::load::LoadReport;
use evenkeel_balance::rate::{Limit, RateSettings, Secret, Together};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{AdaptiveLimit, PolicyChoice, ServiceSettings, ZoneSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_balance::zone::Zone;

fn members(count: usize) -> Vec<BackendSpec> {
    (0..count)
        .map(|at| {
            BackendSpec::new(format!("10.0.{}.{}:8080", at / 256, at % 256)).max_in_flight(1000)
        })
        .collect()
}

/// The same, in three tiers and four zones.
fn parted(count: usize) -> Vec<BackendSpec> {
    let all = members(count).into_iter().enumerate();
    let placed = all.map(|(at, spec)| {
        let tier = u16::try_from(at % 3).unwrap();
        spec.tier(tier).zone(["a", "b", "c", "d"][at % 4])
    });
    placed.collect()
}

/// Sends attempts of every kind and says how often memory was asked for meanwhile.
fn allocations(settings: ServiceSettings, backends: Vec<BackendSpec>) -> usize {
    let service = Service::new("lean", settings, backends, Arc::new(()), Instant::ZERO).unwrap();
    let handle = service.handle(7);
    let subset: Vec<BackendId> = members(3).into_iter().map(|spec| spec.id).collect();
    let report = LoadReport {
        cpu: Some(0.5),
        rps: Some(100.0),
        ..LoadReport::default()
    };
    let once = |exchange: u64| {
        let now = Instant::from_nanos(exchange * 1000);
        let later = now + Duration::from_millis(1);
        let mut tried = Tried::default();
        let ask = Ask::new(exchange.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .key(exchange)
            .class(ClassId(3));
        let mut pick = service.pick(&ask, now).unwrap();
        tried.insert(pick.backend());
        pick.backend().report_load(&report, later);
        pick.answered(Verdict::Failure(Fault::Status(500)), later);
        pick.finish(Outcome::Completed, later);
        let mut again = handle.pick(&ask.tried(&tried), now).unwrap();
        again.answered(Verdict::Success, later);
        again.finish(Outcome::Completed, later);
        drop(service.pick(&ask.subset(&subset), now));
        assert!(
            handle.pick(&ask.subset(&[]), now).is_err(),
            "an empty subset has no members"
        );
    };
    // A thread's first look at a published table sets its debt list up.
    once(0);
    counting::allocations(|| (1..1000).for_each(once))
}

#[test]
fn a_pick_allocates_nothing() {
    let near = ZoneSettings::default().local(Zone::from("b"));
    for policy in PolicyChoice::BUILT_IN {
        for backends in [3, 100] {
            let name = policy.name().to_owned();
            for (members, zones) in [
                (members(backends), None),
                (parted(backends), None),
                (parted(backends), Some(near.clone())),
            ] {
                let by_zone = zones.is_some();
                let settings = ServiceSettings::with_policy(policy.clone()).zones(zones);
                assert_eq!(
                    allocations(settings, members),
                    0,
                    "{name} with {backends} backends, by zone {by_zone}"
                );
            }
        }
    }
}

/// Keys that are known, keys that are new, and keys that drive others out.
#[test]
fn a_rate_limit_allocates_once() {
    let allow = NonZeroU32::new(10).unwrap();
    let settings = RateSettings::new(allow, Duration::from_secs(1))
        .burst(NonZeroU32::new(100).unwrap())
        .keys(NonZeroUsize::new(100_000).unwrap());
    let mut made = None;
    let kept = counting::bytes_kept(|| made = Some(Limit::new(settings, Secret::new([1, 2]))));
    let limit = made.unwrap();
    // Two places for each key, in sets of seven.
    reached(kept, 3_657_256, "bytes for 100,000 keys");
    assert!(limit.bytes() <= kept, "{} bytes", limit.bytes());
    let small = Limit::new(settings.keys(NonZeroUsize::MIN), Secret::new([3, 4]));
    let asked = counting::allocations(|| {
        for number in 0..100_000_u64 {
            let key = |limit: &Limit, number: u64| {
                let bytes = number.to_le_bytes();
                limit.keying().part(Some(&bytes)).part(None).key()
            };
            let mut together = Together::default();
            assert!(together.add(&limit, key(&limit, number % 1_000), false));
            assert!(together.add(&small, key(&small, number), true));
            std::hint::black_box(together.take(Instant::from_nanos(number)));
        }
    });
    assert_eq!(asked, 0);
    assert!(small.evicted() > 90_000, "{}", small.evicted());
}

/// Bytes are those that were reached, to a twentieth: more is dearer, and less is a limit that holds nothing.
#[track_caller]
fn reached(found: usize, figure: usize, what: &str) {
    assert!(
        found.abs_diff(figure) <= figure / 20,
        "{found} {what}, {figure} were reached"
    );
}

/// Nor does one whose answer a limit learns from.
#[test]
fn an_adaptive_limit_allocates_nothing() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let settings = ServiceSettings::with_policy(policy).adaptive_limit(AdaptiveLimit::DEFAULT);
        assert_eq!(allocations(settings, members(20)), 0, "{name}");
    }
}

#[test]
fn what_allocates_is_counted() {
    assert_eq!(
        counting::allocations(|| drop(std::hint::black_box(Box::new(1)))),
        1
    );
}

#[test]
fn a_hundred_thousand_members_cost_what_was_reached() {
    let count = 100_000;
    let mut service = None;
    let bytes = counting::bytes_kept(|| {
        service = Some(
            Service::new(
                "many",
                ServiceSettings::default(),
                members(count),
                Arc::new(()),
                Instant::ZERO,
            )
            .unwrap(),
        );
    });
    // In a build with the counters of the laws, which the shipped one has not.
    reached(bytes / count, 1_532, "bytes for each of 100,000 members");
    let service = service.unwrap();
    let pick = service
        .pick(&Ask::new(u64::MAX / 3), Instant::ZERO)
        .unwrap();
    assert!(
        service
            .snapshot(Instant::ZERO)
            .backend(pick.backend().id().as_str())
            .is_some()
    );
    pick.finish(Outcome::Completed, Instant::ZERO);
}

#[test]
fn looking_at_one_member_costs_alike_among_ten_and_ten_thousand() {
    for count in [10, 10_000] {
        let settings = ServiceSettings::default();
        let service = Service::new(
            "look",
            settings,
            members(count),
            Arc::new(()),
            Instant::ZERO,
        );
        let service = service.unwrap();
        let look = || service.backend("10.0.0.7:8080", Instant::ZERO).is_some();
        assert!(look());
        let looks = counting::allocations(|| {
            std::hint::black_box((look(), service.census()));
        });
        assert_eq!(looks, 0, "of {count}");
    }
}

/// What a change of many members leaves behind is freed by who made it: a worker that did would hold up its other exchanges.
#[test]
fn a_worker_frees_nothing_of_a_table_that_was_replaced() {
    let settings = ServiceSettings::default();
    let count = 10_000;
    let service = Service::new(
        "large",
        settings,
        members(count),
        Arc::new(()),
        Instant::ZERO,
    );
    let service = service.unwrap();
    let handle = service.handle(7);
    let pick = |chance: u64| drop(handle.pick(&Ask::new(chance), Instant::ZERO).unwrap());
    pick(1);
    let others: Vec<_> = members(count + count / 2).split_off(count / 2);
    service.replace(others, Instant::ZERO).unwrap();
    // Its own count of the table, and no more.
    assert_eq!(counting::asked_and_freed(|| pick(2)).1, 1);
    assert_eq!(counting::allocations(|| pick(3)), 0);
    // The next change, or tick, frees the table, its lists and what the policy made of them.
    let (_, freed) = counting::asked_and_freed(|| service.tick(Instant::ZERO));
    assert!(freed > 3, "{freed}");
}
