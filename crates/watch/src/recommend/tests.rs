use super::facts::{Backend, Certificate, Checks, Limit, Service};
use super::*;
use crate::time::Moment;

const NOW: Moment = Moment::from_secs(1_795_305_600);

fn backend(id: &str) -> Backend {
    Backend {
        id: id.to_owned(),
        host: format!("10.0.0.{id}"),
        weight: 10,
        serving: true,
        requests: 10_000,
        errors: 10,
        mean: Some(0.02),
        max_in_flight: Some(100),
        falls: 1,
    }
}

fn checks() -> Checks {
    Checks {
        interval: 5.0,
        interval_unsure: 1.0,
        timeout: 1.0,
        rise: 2,
        fall: 3,
        p99: Some(0.02),
        failed_before: 5,
    }
}

/// An instance of which there is nothing to say.
fn fine() -> Facts {
    let service = Service {
        name: "api".to_owned(),
        backends: ["1", "2", "3"].map(backend).into(),
        sees_latency: false,
        requests: 30_000,
        errors: 30,
        p99: Some(0.1),
        per_try: Some(1.0),
        timeouts: 3,
        peak_in_flight: 150,
        queued: 0,
        retries: 500,
        retries_denied: 10,
        retry_ratio: Some(0.2),
        checks: Some(checks()),
        kept: Some(25_000),
    };
    let limit = Limit {
        name: "connections".to_owned(),
        path: vec![
            "listeners".to_owned(),
            "web".to_owned(),
            "limits".to_owned(),
            "connections".to_owned(),
        ],
        peak: 700,
        limit: 1000,
        refused: 0,
    };
    Facts {
        now: NOW,
        services: vec![service],
        certificates: vec![Certificate {
            name: "example.com".to_owned(),
            until: Moment::from_secs(1_795_305_600 + 40 * 86_400),
        }],
        limits: vec![limit],
        workers: vec![10_000, 11_000, 9000, 12_000],
    }
}

/// What is said when the fine instance is changed so.
fn said(change: impl FnOnce(&mut Facts)) -> Vec<Recommendation> {
    let mut facts = fine();
    change(&mut facts);
    let all = recommend(&facts);
    for one in &all {
        assert!((0.0..=1.0).contains(&one.confidence), "{one:?}");
        assert!(
            !one.reason.is_empty() && one.figures.iter().all(|figure| figure.value.is_finite()),
            "{one:?}"
        );
    }
    all
}

/// One row: whether a change of the fine instance provokes this code, and no other.
fn check(code: Code, expect: bool, change: impl FnOnce(&mut Facts)) {
    let all = said(change);
    let codes: Vec<Code> = all.iter().map(|one| one.code).collect();
    assert_eq!(
        codes,
        if expect { vec![code] } else { Vec::new() },
        "{all:?}"
    );
}

/// The first patch of the one recommendation, as path and value.
fn patch(change: impl FnOnce(&mut Facts)) -> String {
    let all = said(change);
    let [one] = &all[..] else { panic!("{all:?}") };
    let lines = one.patch.iter().map(|patch| match &patch.value {
        Some(Value::Count(count)) => format!("{}={count}", patch.path.join(".")),
        Some(Value::Text(text)) => format!("{}={text}", patch.path.join(".")),
        None => format!("-{}", patch.path.join(".")),
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn first(facts: &mut Facts) -> &mut Service {
    &mut facts.services[0]
}

#[test]
fn of_what_is_fine_nothing_is_said() {
    assert_eq!(said(|_| {}), []);
    assert_eq!(recommend(&Facts::default()), []);
}

#[test]
fn wrong_weights() {
    let mean =
        |seconds: f64| move |facts: &mut Facts| first(facts).backends[1].mean = Some(seconds);
    for (seconds, expect) in [(0.031, true), (0.029, false), (0.013, true), (0.014, false)] {
        check(Code::WrongWeights, expect, mean(seconds));
    }
    check(Code::WrongWeights, false, |facts| {
        first(facts).sees_latency = true;
        first(facts).backends[1].mean = Some(0.2);
    });
    check(Code::WrongWeights, false, |facts| {
        first(facts).backends[1].requests = 499;
        first(facts).backends[1].mean = Some(0.2);
    });
    // Weights that are proposed are of another scale than those that would stay.
    check(Code::WrongWeights, false, |facts| {
        first(facts).backends[0].requests = 499;
        first(facts).backends[1].mean = Some(0.2);
    });
    let weights = patch(mean(0.04));
    assert_eq!(
        weights,
        "services.api.backends.1.weight=100 services.api.backends.2.weight=50 services.api.backends.3.weight=100"
    );
}

#[test]
fn flapping() {
    check(Code::Flapping, true, |facts| {
        first(facts).backends[0].falls = 6;
    });
    check(Code::Flapping, false, |facts| {
        first(facts).backends[0].falls = 5;
    });
    assert_eq!(
        patch(|facts| first(facts).backends[0].falls = 9),
        "services.api.health.rise=4"
    );
}

#[test]
fn single_points_of_failure() {
    let serving = |count: usize| {
        move |facts: &mut Facts| {
            first(facts).kept = None;
            first(facts).peak_in_flight = 1;
            first(facts).backends[count..]
                .iter_mut()
                .for_each(|one| one.serving = false);
        }
    };
    check(Code::SinglePointOfFailure, true, serving(1));
    check(Code::SinglePointOfFailure, false, serving(2));
    check(Code::SinglePointOfFailure, true, |facts| {
        first(facts)
            .backends
            .iter_mut()
            .for_each(|one| one.host = "10.0.0.9".to_owned());
    });
    check(Code::SinglePointOfFailure, false, |facts| {
        serving(1)(facts);
        first(facts).requests = 0;
    });
}

#[test]
fn affinity_that_unbalances() {
    let first_gets = |requests: u64, kept: u64| {
        move |facts: &mut Facts| {
            first(facts).backends[0].requests = requests;
            first(facts).kept = Some(kept);
        }
    };
    check(Code::AffinityUnbalances, true, first_gets(25_000, 40_000));
    check(Code::AffinityUnbalances, false, first_gets(18_000, 38_000));
    check(Code::AffinityUnbalances, false, first_gets(25_000, 9000));
    check(Code::AffinityUnbalances, false, |facts| {
        first_gets(25_000, 40_000)(facts);
        first(facts).backends[0].weight = 30;
    });
}

#[test]
fn deadlines_against_what_is_measured() {
    let of = |p99: f64, per_try: f64, timeouts: u64| {
        move |facts: &mut Facts| {
            (
                first(facts).p99,
                first(facts).per_try,
                first(facts).timeouts,
            ) = (Some(p99), Some(per_try), timeouts);
        }
    };
    check(Code::DeadlineTooShort, true, of(0.9, 1.0, 60));
    check(Code::DeadlineTooShort, false, of(0.9, 1.0, 3));
    check(Code::DeadlineTooShort, false, of(0.7, 1.0, 60));
    check(Code::DeadlineTooLong, true, of(0.1, 10.0, 0));
    check(Code::DeadlineTooLong, false, of(0.3, 10.0, 0));
    check(Code::DeadlineTooLong, false, of(0.01, 1.9, 0));
    check(Code::DeadlineTooLong, false, |facts| {
        of(0.1, 10.0, 0)(facts);
        first(facts).requests = 999;
    });
    assert_eq!(
        patch(of(0.9, 1.0, 60)),
        "services.api.timeouts.per_try=2000ms"
    );
    assert_eq!(
        patch(of(0.1, 10.0, 0)),
        "services.api.timeouts.per_try=500ms"
    );
    assert_eq!(
        patch(of(3.0, 200.0, 0)),
        "services.api.timeouts.per_try=20s"
    );
}

#[test]
fn checks_slower_than_failures() {
    let of = |change: fn(&mut Checks)| {
        move |facts: &mut Facts| first(facts).checks.iter_mut().for_each(change)
    };
    check(
        Code::ChecksTooSlow,
        true,
        of(|checks| checks.failed_before = 20),
    );
    check(
        Code::ChecksTooSlow,
        false,
        of(|checks| checks.failed_before = 19),
    );
    check(
        Code::ChecksTooSlow,
        false,
        of(|checks| (checks.failed_before, checks.interval) = (900, 1.0)),
    );
    // What is slow is that many must fail, each late: a shorter interval does not help.
    check(
        Code::ChecksTooSlow,
        false,
        of(|checks| {
            (
                checks.failed_before,
                checks.interval,
                checks.interval_unsure,
            ) = (900, 0.5, 9.0);
        }),
    );
    assert_eq!(
        patch(of(|checks| checks.failed_before = 100)),
        "services.api.health.interval=2000ms"
    );
    check(
        Code::CheckTimeoutTooShort,
        true,
        of(|checks| checks.p99 = Some(0.81)),
    );
    check(
        Code::CheckTimeoutTooShort,
        false,
        of(|checks| checks.p99 = Some(0.79)),
    );
    check(
        Code::CheckTimeoutTooShort,
        false,
        of(|checks| checks.p99 = None),
    );
    let both = "services.api.health.timeout=2000ms services.api.health.interval=2000ms";
    assert_eq!(
        patch(of(|checks| (checks.p99, checks.interval) = (Some(0.9), 1.5))),
        both
    );
}

#[test]
fn a_pool_that_is_too_small() {
    check(Code::PoolTooSmall, true, |facts| {
        first(facts).peak_in_flight = 201;
    });
    check(Code::PoolTooSmall, false, |facts| {
        first(facts).peak_in_flight = 200;
    });
    check(Code::PoolTooSmall, false, |facts| {
        first(facts).peak_in_flight = 201;
        first(facts).backends[0].max_in_flight = None;
    });
    let wanted = said(|facts| first(facts).peak_in_flight = 350);
    assert!(
        wanted[0]
            .figures
            .contains(&figure("backends_wanted", 5.0, None)),
        "{wanted:?}"
    );
    let queued = said(|facts| (first(facts).peak_in_flight, first(facts).queued) = (300, 9));
    assert_eq!(queued[0].severity, Severity::Critical);
}

#[test]
fn a_retry_budget_that_is_spent() {
    let denied = |denied: u64, errors: u64| {
        move |facts: &mut Facts| {
            (first(facts).retries_denied, first(facts).errors) = (denied, errors);
        }
    };
    check(Code::RetryBudgetSpent, true, denied(100, 30));
    check(Code::RetryBudgetSpent, false, denied(40, 30));
    check(Code::RetryBudgetSpent, false, |facts| {
        (first(facts).retries, first(facts).retries_denied) = (0, 19);
    });
    assert_eq!(
        patch(denied(100, 30)),
        "services.api.retry.budget.ratio=30%"
    );
    // More retries are no help where everything fails.
    assert_eq!(patch(denied(100, 6000)), "");
}

#[test]
fn workers_that_are_uneven() {
    check(Code::WorkerSkew, true, |facts| {
        facts.workers = vec![30_000, 10_000, 10_000];
    });
    check(Code::WorkerSkew, false, |facts| {
        facts.workers = vec![14_000, 10_000, 10_000];
    });
    check(Code::WorkerSkew, false, |facts| {
        facts.workers = vec![900, 10, 10];
    });
    check(Code::WorkerSkew, false, |facts| {
        facts.workers = vec![90_000];
    });
}

#[test]
fn certificates_that_end() {
    let of = |days: u64| {
        move |facts: &mut Facts| {
            facts.certificates[0].until = Moment::from_secs(1_795_305_600 + days * 86_400);
        }
    };
    check(Code::CertificateExpires, false, of(21));
    check(Code::CertificateExpires, true, of(20));
    assert_eq!(
        (said(of(20))[0].severity, said(of(6))[0].severity),
        (Severity::Warning, Severity::Critical)
    );
    let ended = said(|facts| facts.certificates[0].until = Moment::from_secs(9));
    assert_eq!(ended[0].reason, "it has ended: clients refuse it");
}

#[test]
fn limits_that_are_near() {
    let of = |peak: u64, refused: u64| {
        move |facts: &mut Facts| (facts.limits[0].peak, facts.limits[0].refused) = (peak, refused)
    };
    check(Code::LimitNear, true, of(800, 0));
    check(Code::LimitNear, false, of(799, 0));
    check(Code::LimitNear, true, of(10, 1));
    assert_eq!(patch(of(900, 0)), "listeners.web.limits.connections=2000");
    assert_eq!(said(of(1000, 5))[0].severity, Severity::Critical);
}

#[test]
fn what_matters_most_comes_first_and_each_code_has_its_name() {
    let all = said(|facts| {
        facts.workers = vec![90_000, 9000, 9000, 9000];
        facts.limits[0].refused = 5;
        first(facts).backends[0].falls = 9;
    });
    let codes: Vec<Code> = all.iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::LimitNear, Code::Flapping, Code::WorkerSkew]);
    let names: std::collections::BTreeSet<&str> =
        Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn what_a_watch_has_seen_is_what_is_advised_on() {
    use crate::interval::Interval;
    use crate::service::{ServiceWatch, WatchSettings};

    let slow_is = |slow: u64| {
        let mut watch = ServiceWatch::default();
        let tick = |nanos: u64| {
            let mut one = Interval {
                millis: 1000,
                requests: 20,
                errors: 1,
                up: true,
                ..Interval::default()
            };
            one.latencies.add(nanos, 19);
            one
        };
        let (fast, slow) = (tick(20_000_000), tick(slow));
        for second in 0..60 {
            let now = Moment::from_secs(1_795_305_600 + second);
            let each = [("a", &fast), ("b", &fast), ("c", &slow), ("gone", &slow)];
            let _ = watch.tick(now, &fast, &each, &WatchSettings::default());
        }
        let backend = |id: &str| Backend {
            id: id.to_owned(),
            host: id.to_owned(),
            weight: 1,
            serving: true,
            ..Backend::default()
        };
        let mut service = Service {
            name: "api".to_owned(),
            backends: ["a", "b", "c", "new"].map(backend).to_vec(),
            ..Service::default()
        };
        service.measure(&watch);
        service
    };
    let advised = |service: &Service| {
        let facts = Facts {
            services: vec![service.clone()],
            ..Facts::default()
        };
        recommend(&facts)
    };

    let service = slow_is(80_000_000);
    assert_eq!((service.requests, service.errors), (1200, 60));
    let counts: Vec<_> = (service.backends.iter())
        .map(|one| (one.requests, one.errors))
        .collect();
    assert_eq!(counts, [(1200, 60), (1200, 60), (1200, 60), (0, 0)]);
    // Who is new has nothing to be weighed by, and beside its weight those of the others cannot be proposed.
    assert_eq!(advised(&service), []);
    let mut service = service;
    service.backends.pop();
    let said = advised(&service);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].code, Code::WrongWeights);
    assert_eq!(said[0].subject, ["services", "api", "backends", "c"]);
    assert_eq!(advised(&slow_is(20_000_000)), []);
}
