//! What a service sees of itself, over paused time: figures that are known beforehand.

use std::time::Duration;

use evenkeel::balance::backend::BackendSpec;
use evenkeel::watching::watch::alert::Kind;
use evenkeel::watching::watch::controller::{ControllerSettings, Frozen, Why};
use evenkeel::watching::watch::metric::Metric;
use evenkeel::watching::watch::overall::Health;
use evenkeel::watching::watch::recommend::Code;
use evenkeel::watching::watch::series::Span;
use evenkeel::watching::watch::service::WatchSettings;
use evenkeel::watching::watch::threshold::Threshold;
use evenkeel::{
    Ask, BreakerSettings, Fault, HashMethod, LoadBalancer, PolicyChoice, ServiceSettings, Verdict,
    WatchingSettings,
};

const ALL: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

fn balancer(policy: PolicyChoice) -> LoadBalancer {
    let balancer = LoadBalancer::new();
    let mut settings = ServiceSettings::default();
    settings.policy = policy;
    settings.histograms = true;
    settings.breaker = None;
    let registered = balancer.register("api", settings, ALL);
    assert_eq!(registered, Ok(()));
    balancer
}

/// One attempt each 10 ms, so long on each backend, for so many seconds.
async fn load(balancer: &LoadBalancer, seconds: u64, takes: impl Fn(&str) -> (u64, bool)) {
    for _ in 0..seconds * 100 {
        let mut pick = balancer.select("api").expect("somebody serves");
        let (millis, good) = takes(pick.id().as_str());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            match good {
                true => {
                    pick.answered(Verdict::Success);
                    pick.finish(evenkeel::Outcome::Completed);
                }
                false => pick.failed(Fault::Connect),
            }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn figures_of_what_ended_and_how_it_was_spread() {
    let balancer = balancer(PolicyChoice::RoundRobin);
    balancer.watch("api", WatchingSettings::default()).unwrap();
    load(&balancer, 60, |_| (20, true)).await;
    let seen = balancer.monitor_performance("api").unwrap();
    let minute = seen.service.over(Span::Minute).unwrap();
    assert!((5_800..=6_000).contains(&minute.requests), "{minute:?}");
    assert_eq!(minute.errors, 0);
    for figure in [minute.mean, minute.p50, minute.p95, minute.p99] {
        let figure = figure.unwrap();
        assert!((0.018..0.024).contains(&figure), "{minute:?}");
    }
    assert!((minute.availability().unwrap() - 1.0).abs() < 1e-9);
    assert_eq!(seen.backends.len(), 3);
    let shares = &seen.distribution.shares;
    for (sum, name) in [
        (shares.iter().map(|one| one.wanted).sum::<f64>(), "wanted"),
        (shares.iter().map(|one| one.got).sum(), "got"),
    ] {
        assert!((sum - 100.0).abs() < 1e-6, "{name}: {sum}");
    }
    assert!(seen.distribution.most_off < 1.0, "{:?}", seen.distribution);
    let health = balancer.monitor_health("api").unwrap();
    assert_eq!(health.health, Health::Healthy, "{:?}", health.alerts);
    assert!(health.alerts.is_empty() && seen.alerts.is_empty());
    let balanced = balancer.balance("api", &Ask::new()).unwrap();
    assert_eq!(balanced.health().health, Health::Healthy);
    assert_eq!(balanced.distribution().shares.len(), 3);
    balanced.pick.succeeded();
}

#[tokio::test(start_paused = true)]
async fn who_stands_out_is_an_alert_and_degrades_and_is_right_again() {
    let balancer = balancer(PolicyChoice::RoundRobin);
    balancer.watch("api", WatchingSettings::default()).unwrap();
    load(&balancer, 120, |_| (20, true)).await;
    load(&balancer, 120, |id| (20, id != ALL[1])).await;
    let health = balancer.monitor_health("api").unwrap();
    assert_eq!(health.health, Health::Degraded);
    let of = |id: &str| {
        let own = health.backends.iter().find(|one| one.id.as_str() == id);
        own.unwrap().health
    };
    assert_eq!(
        ALL.map(of),
        [Health::Healthy, Health::Degraded, Health::Healthy]
    );
    let alert = health.alerts.iter().find(|one| one.cleared.is_none());
    let alert = alert.unwrap();
    assert_eq!(alert.kind, Kind::FailsMoreThanPeers, "{:?}", health.alerts);
    assert_eq!(alert.backend.as_deref(), Some(ALL[1]));
    load(&balancer, 600, |_| (20, true)).await;
    let health = balancer.monitor_health("api").unwrap();
    assert_eq!(health.health, Health::Healthy, "{:?}", health.alerts);
    assert!(health.alerts.iter().all(|one| one.cleared.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_looked_at_and_without_anomalies_nothing_else() {
    let balancer = balancer(PolicyChoice::RoundRobin);
    let limit = Threshold::new(Metric::P95, 0.01);
    let look_for = WatchSettings {
        thresholds: vec![limit],
        anomalies: false,
        ..WatchSettings::default()
    };
    let settings = WatchingSettings::default().look_for(look_for);
    balancer.watch("api", settings).unwrap();
    load(&balancer, 120, |id| (20, id != ALL[1])).await;
    let seen = balancer.monitor_performance("api").unwrap();
    let kinds: Vec<_> = seen.alerts.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [Kind::Threshold(Metric::P95)]);
}

#[tokio::test(start_paused = true)]
async fn shares_follow_speed_within_bounds_and_come_back() {
    let balancer = balancer(PolicyChoice::RoundRobin);
    let adjust = ControllerSettings {
        interval_ms: 10_000,
        ..ControllerSettings::default()
    };
    let settings = WatchingSettings::default().adjust(adjust);
    balancer.watch("api", settings.clone()).unwrap();
    let factor = || {
        let seen = balancer.adjust("api").unwrap();
        let own = seen.factors.iter().find(|(id, _)| id.as_str() == ALL[2]);
        own.unwrap().1
    };
    load(&balancer, 30, |_| (20, true)).await;
    assert!((factor() - 1.0).abs() < 1e-9);
    let mut factors = vec![1.0];
    for _ in 0..12 {
        load(&balancer, 10, |id| {
            (if id == ALL[2] { 40 } else { 20 }, true)
        })
        .await;
        factors.push(factor());
    }
    let steps = factors.windows(2).map(|two| two[1] / two[0]);
    assert!(
        steps.clone().all(|step| (0.899..=1.101).contains(&step)),
        "{factors:?}"
    );
    // Settled at its part of the speed within eight intervals, and stays.
    let late = &factors[9..];
    assert!(
        late.iter().all(|one| (0.42..=0.6).contains(one)),
        "{factors:?}"
    );
    let seen = balancer.group_snapshot("api").unwrap();
    let slow = seen.backends.iter().find(|one| one.id.as_str() == ALL[2]);
    assert!(slow.unwrap().share_wanted < 0.25, "{slow:?}");
    for _ in 0..12 {
        load(&balancer, 10, |_| (20, true)).await;
    }
    assert!((0.9..=1.1).contains(&factor()), "{}", factor());
    // Switched off, all have their weights at once.
    balancer.watch("api", WatchingSettings::default()).unwrap();
    assert!((factor() - 1.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn where_keys_stay_where_they_are_it_is_told_and_not_done() {
    let balancer = balancer(PolicyChoice::Hash(HashMethod::Maglev));
    let adjust = ControllerSettings {
        interval_ms: 10_000,
        ..ControllerSettings::default()
    };
    let settings = WatchingSettings::default().adjust(adjust);
    balancer.watch("api", settings).unwrap();
    let mut told = Vec::new();
    for _ in 0..6 {
        load(&balancer, 10, |id| {
            (if id == ALL[2] { 60 } else { 20 }, id != ALL[0])
        })
        .await;
        told.extend(balancer.adjust("api").unwrap().step.adjustments);
    }
    let seen = balancer.group_snapshot("api").unwrap();
    assert!(
        seen.backends
            .iter()
            .all(|one| one.factor.to_bits() == 1.0_f32.to_bits())
    );
    assert!(
        !told.is_empty() && told.iter().all(|one| !one.applied),
        "{told:?}"
    );
    assert!(told.iter().any(|one| matches!(one.why, Why::FailsMore(_))));
}

#[tokio::test(start_paused = true)]
async fn of_few_requests_nothing_is_moved() {
    let balancer = balancer(PolicyChoice::RoundRobin);
    let adjust = ControllerSettings {
        interval_ms: 1_000,
        ..ControllerSettings::default()
    };
    balancer
        .watch("api", WatchingSettings::default().adjust(adjust))
        .unwrap();
    load(&balancer, 3, |id| {
        (if id == ALL[2] { 90 } else { 20 }, true)
    })
    .await;
    let seen = balancer.adjust("api").unwrap();
    assert_eq!(seen.step.frozen, Some(Frozen::Thin));
    assert!(seen.factors.iter().all(|(_, one)| (one - 1.0).abs() < 1e-9));
}

#[tokio::test(start_paused = true)]
async fn what_to_do_is_recommended_unless_it_is_switched_off() {
    let balancer = LoadBalancer::new();
    let mut settings = ServiceSettings::default();
    settings.breaker = Some(BreakerSettings::default());
    let alone = [BackendSpec::new("10.0.0.1:80")];
    balancer.register("api", settings, alone).unwrap();
    load(&balancer, 60, |_| (20, true)).await;
    let codes = |balancer: &LoadBalancer| {
        let health = balancer.monitor_health("api").unwrap();
        let codes = health.recommendations.iter().map(|one| one.code);
        codes.collect::<Vec<_>>()
    };
    balancer.watch("api", WatchingSettings::default()).unwrap();
    load(&balancer, 60, |_| (20, true)).await;
    assert_eq!(codes(&balancer), [Code::SinglePointOfFailure]);
    let settings = WatchingSettings::default().recommendations(false);
    balancer.watch("api", settings).unwrap();
    assert!(codes(&balancer).is_empty());
    balancer.service("api").unwrap().unwatch();
    assert!(
        balancer
            .monitor_performance("api")
            .unwrap()
            .service
            .over(Span::Hour)
            .is_none_or(|hour| hour.requests == 0)
    );
    assert!(balancer.monitor_health("gone").is_err());
}
