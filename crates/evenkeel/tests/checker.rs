//! The health checker in paused time: probes are closures, so every instant is exact.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::balance::backend::BackendId;
use evenkeel::balance::health::{CheckFault, CheckReport, CheckResult};
use evenkeel::balance::service::Service;
use evenkeel::balance::settings::ActiveSettings;
use evenkeel::balance::snapshot::{BackendSnapshot, Changes, ServiceSnapshot};
use evenkeel::balance::standing::Standing;
use evenkeel::balance::time::Instant;
use evenkeel::probe::{Finding, Probe, ProbeError, Target};
use evenkeel::sweep::{self, CheckNowError, Checked, CheckerError, Now, Services};
use evenkeel::{
    Admin, BackendSpec, CheckerSettings, EventKind, Events, LoadBalancer, ServiceSettings, Verdict,
    Weight, Whom,
};
use tokio::sync::Notify;
use tokio::time::{advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn checked() -> ServiceSettings {
    ServiceSettings::default().health(ActiveSettings::default().rise(2).fall(1))
}

fn balancer(backends: &[&str]) -> LoadBalancer {
    let balancer = LoadBalancer::new();
    let backends = backends.iter().map(|&id| BackendSpec::new(id));
    balancer.register("api", checked(), backends).unwrap();
    balancer
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("b{at:03}")).collect()
}

fn standing(balancer: &LoadBalancer, backend: &str) -> Standing {
    let group = balancer.group_snapshot("api").unwrap();
    group.backend(backend).unwrap().standing
}

/// A service whose looks are counted.
struct Watched {
    service: Service,
    looks: AtomicUsize,
}

impl Checked for Watched {
    fn name(&self) -> &str {
        self.service.name()
    }

    fn snapshot(&self, now: Instant) -> ServiceSnapshot {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.service.snapshot(now)
    }

    fn changes(&self) -> Option<Changes> {
        Some(self.service.changes())
    }

    fn changed(&self, since: Changes, now: Instant) -> Option<Vec<BackendSnapshot>> {
        self.service.changed(since, now)
    }

    fn check(&self, backend: &BackendId, report: CheckReport, now: Instant) -> bool {
        self.service.check(backend, report, now).is_ok()
    }
}

/// Nothing but such a service, in the runtime's time.
struct Alone(Arc<Watched>, tokio::time::Instant);

impl Services for Alone {
    fn services(&self) -> Option<Vec<Arc<dyn Checked>>> {
        Some(vec![self.0.clone()])
    }

    fn now(&self) -> Now {
        let began = self.1;
        Arc::new(move || Instant::ZERO + paused().duration_since(began))
    }
}

#[expect(clippy::disallowed_methods, reason = "it is paused")]
fn paused() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// When each backend was checked, in milliseconds.
type Log = Arc<Mutex<BTreeMap<String, Vec<u128>>>>;

/// A probe that notes when it was called, takes `takes`, and passes.
fn noting(balancer: &LoadBalancer, takes: Duration) -> (Log, impl Probe + 'static) {
    let log = Log::default();
    let (noted, clock) = (log.clone(), balancer.clone());
    let probe = move |target: Target| {
        let at = Duration::from_nanos(clock.now().as_nanos()).as_millis();
        let mut log = noted.lock().unwrap();
        log.entry(target.backend.to_string()).or_default().push(at);
        async move {
            sleep(takes).await;
            Finding::passed(None)
        }
    };
    (log, probe)
}

fn silent() -> impl Probe {
    |_: Target| async { std::future::pending::<Finding>().await }
}

/// Reads events until one is a check; what it was.
async fn next_check(events: &mut Events) -> (String, Option<CheckFault>) {
    loop {
        let event = events.recv().await.expect("the balancer lives");
        if let EventKind::Checked { backend, fault, .. } = event.kind {
            return (backend.to_string(), fault);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn w10_many_dead_backends_take_about_one_timeout() {
    // Nothing said of it is 64.
    for (count, at_once, timeouts) in [(64, None, 1), (200, None, 4), (10, Some(1), 10)] {
        let names = names(count);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let balancer = balancer(&names);
        let mut events = balancer.subscribe();
        let mut settings = CheckerSettings::default()
            .interval(60 * SECOND)
            .timeout(2 * SECOND);
        if let Some(at_once) = at_once {
            settings = settings.at_once(at_once);
        }
        let began = balancer.now();
        let _checker = balancer.spawn_health_checker(settings, silent()).unwrap();
        for _ in 0..count {
            assert_eq!(next_check(&mut events).await.1, Some(CheckFault::Timeout));
        }
        let took = balancer.now().since(began);
        let expect = 2 * SECOND * timeouts;
        assert!(
            took >= expect && took < expect + SECOND,
            "{count} took {took:?}"
        );
        assert_eq!(balancer.healthy_count("api"), 0);
    }
}

/// A dead backend's first check runs beside all else: picks go on, and so do the checks of others.
#[tokio::test(start_paused = true)]
async fn registering_a_dead_backend_does_not_wait_for_it() {
    let balancer = balancer(&["a"]);
    let probe = |target: Target| async move {
        if target.backend.as_str() == "dead" {
            std::future::pending::<()>().await;
        }
        Finding::passed(None)
    };
    let settings = CheckerSettings::default()
        .interval(SECOND)
        .timeout(5 * SECOND);
    let mut events = balancer.subscribe();
    let _checker = balancer.spawn_health_checker(settings, probe).unwrap();
    assert_eq!(next_check(&mut events).await, ("a".to_owned(), None));
    let began = balancer.now();
    balancer.add_backend("api", "dead").unwrap();
    for _ in 0..3 {
        assert_eq!(next_check(&mut events).await, ("a".to_owned(), None));
        assert_eq!(standing(&balancer, "dead"), Standing::Unproven);
        assert_eq!(balancer.select("api").unwrap().id().as_str(), "a");
    }
    let fault = loop {
        let (backend, fault) = next_check(&mut events).await;
        if backend == "dead" {
            break fault;
        }
    };
    assert_eq!(fault, Some(CheckFault::Timeout));
    let took = balancer.now().since(began);
    assert!(took >= 5 * SECOND && took < 6 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_period_does_not_hang_on_how_long_a_check_takes() {
    let balancer = balancer(&["a"]);
    let (log, probe) = noting(&balancer, Duration::from_millis(1_500));
    let settings = CheckerSettings::default().interval(2 * SECOND);
    let _checker = balancer.spawn_health_checker(settings, probe).unwrap();
    sleep(21 * SECOND).await;
    let times = log.lock().unwrap()["a"].clone();
    assert_eq!(times[0], 0, "the first is at once");
    assert!(times.len() >= 10, "{times:?}");
    let gaps: Vec<u128> = times[1..]
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    // The timer wakes at whole milliseconds.
    assert!(
        gaps[1..].iter().all(|gap| (1_998..=2_002).contains(gap)),
        "{times:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn first_checks_are_at_once_and_later_ones_spread_by_the_seed() {
    let names = names(50);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let balancer = balancer(&names);
        let (log, probe) = noting(&balancer, Duration::ZERO);
        let settings = CheckerSettings::default().interval(10 * SECOND).seed(seed);
        let checker = balancer.spawn_health_checker(settings, probe).unwrap();
        sleep(10 * SECOND + SECOND / 10).await;
        checker.abort();
        let log = log.lock().unwrap().clone();
        assert!(log.values().all(|times| times[0] == 0 && times.len() >= 2));
        let second: Vec<u128> = log.values().map(|times| times[1]).collect();
        for tenth in 0..5 {
            let part = tenth * 2_000..=(tenth + 1) * 2_000;
            let within = second.iter().filter(|&at| part.contains(at)).count();
            assert!(
                (3..=20).contains(&within),
                "seed {seed}, {within} in {part:?}"
            );
        }
        seen.push(second);
    }
    assert_eq!(seen[0], seen[1], "a seed fixes the spread");
    assert_ne!(seen[0], seen[2]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_is_never_checked_twice_at_once() {
    let balancer = balancer(&["a"]);
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (running.clone(), most.clone());
    let probe = move |_: Target| {
        let (now, peak) = (now.clone(), peak.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(5 * SECOND).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Finding::passed(None)
        }
    };
    let settings = CheckerSettings::default()
        .interval(SECOND)
        .timeout(10 * SECOND);
    let checker = balancer.spawn_health_checker(settings, probe).unwrap();
    sleep(SECOND).await;
    let asked = checker.check_now(Whom::Backend("api", "a"));
    let again = checker.check_now(Whom::All);
    let (asked, again) = tokio::join!(asked, again);
    assert_eq!((asked.unwrap().len(), again.unwrap().len()), (1, 1));
    sleep(30 * SECOND).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_shorter_when_unsure_and_longer_when_down() {
    let balancer = balancer(&["bad", "good"]);
    let settings = ServiceSettings::default().health(ActiveSettings::default().rise(2).fall(3));
    balancer.register("api", settings, ["bad", "good"]).unwrap();
    let (log, clock) = (Log::default(), balancer.clone());
    let noted = log.clone();
    let probe = move |target: Target| {
        let at = Duration::from_nanos(clock.now().as_nanos()).as_millis();
        let bad = target.backend.as_str() == "bad";
        noted
            .lock()
            .unwrap()
            .entry(target.backend.to_string())
            .or_default()
            .push(at);
        async move {
            if bad {
                Err(ProbeError::Mismatch)
            } else {
                Ok(())
            }
        }
    };
    let settings = CheckerSettings::default()
        .interval(10 * SECOND)
        .interval_unsure(SECOND)
        .interval_down(30 * SECOND);
    let _checker = balancer.spawn_health_checker(settings, probe).unwrap();
    sleep(90 * SECOND).await;
    let log = log.lock().unwrap().clone();
    let (bad, good) = (&log["bad"], &log["good"]);
    assert!(bad[2] <= 2_200, "three within two short intervals: {bad:?}");
    assert!(
        bad[3] - bad[2] <= 30_100,
        "then down, at some time within: {bad:?}"
    );
    assert!(bad[4] - bad[3] >= 29_900, "and rarely from there: {bad:?}");
    assert!((4..=7).contains(&bad.len()), "{bad:?}");
    assert!((9..=11).contains(&good.len()), "{good:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_probe_fails_its_check_and_ends_nothing() {
    let balancer = balancer(&["early", "good", "late"]);
    let probe = |target: Target| {
        assert!(target.backend.as_str() != "early", "before the future");
        async move {
            assert!(target.backend.as_str() != "late", "within the future");
            Ok::<(), ProbeError>(())
        }
    };
    let checker = balancer
        .spawn_health_checker(CheckerSettings::default(), probe)
        .unwrap();
    for _ in 0..2 {
        let mut checks = checker.check_now(Whom::All).await.unwrap();
        checks.sort_by(|a, b| a.backend.cmp(&b.backend));
        let results: Vec<CheckResult> = checks.iter().map(|check| check.report.result).collect();
        let other = CheckResult::Failed(CheckFault::Other);
        assert_eq!(results, [other, CheckResult::Passed, other]);
        assert!(matches!(
            checks[0].error.as_deref(),
            Some(ProbeError::Panicked)
        ));
    }
    assert!(!checker.is_finished());
}

#[tokio::test(start_paused = true)]
async fn r9_a_backend_removed_while_checked_shifts_no_result_to_another() {
    let balancer = balancer(&["a", "b", "c"]);
    let gate = Arc::new(Notify::new());
    let waits = gate.clone();
    let probe = move |target: Target| {
        let gate = waits.clone();
        async move {
            gate.notified().await;
            let bad = target.backend.as_str() == "a";
            if bad {
                Err(ProbeError::Mismatch)
            } else {
                Ok(())
            }
        }
    };
    let _checker = balancer
        .spawn_health_checker(CheckerSettings::default(), probe)
        .unwrap();
    let mut events = balancer.subscribe();
    // All three are under way when the first leaves; then they end.
    advance(Duration::from_millis(1)).await;
    balancer.remove_backend("api", "a").unwrap();
    gate.notify_waiters();
    let mut heard = [next_check(&mut events).await, next_check(&mut events).await];
    heard.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(heard, [("b".to_owned(), None), ("c".to_owned(), None)]);
    assert_eq!(standing(&balancer, "b"), Standing::Serving);
    assert_eq!(standing(&balancer, "c"), Standing::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_left_and_returned_is_not_judged_by_the_check_of_its_former_self() {
    let balancer = balancer(&["a"]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let probe = move |_: Target| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(SECOND).await;
            if call == 0 {
                Err(ProbeError::Mismatch)
            } else {
                Ok(())
            }
        }
    };
    let _checker = balancer
        .spawn_health_checker(CheckerSettings::default(), probe)
        .unwrap();
    sleep(SECOND / 4).await;
    balancer.remove_backend("api", "a").unwrap();
    sleep(SECOND / 4).await;
    balancer.add_backend("api", "a").unwrap();
    let mut events = balancer.subscribe();
    assert_eq!(next_check(&mut events).await, ("a".to_owned(), None));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn r11_a_check_by_hand_answers_for_one_or_all_and_counts_as_any_other() {
    let balancer = balancer(&["a", "b"]);
    balancer
        .add_backend("api", BackendSpec::new("off").admin(Admin::Disabled))
        .unwrap();
    let nobody = balancer.check_now(Whom::All).await;
    assert_eq!(nobody.unwrap_err(), CheckNowError::Ended);
    let probe = |target: Target| async move {
        let bad = target.backend.as_str() == "b";
        if bad {
            Err(ProbeError::Status(500))
        } else {
            Ok(())
        }
    };
    let settings = CheckerSettings::default().interval(3_600 * SECOND);
    let _checker = balancer.spawn_health_checker(settings, probe).unwrap();
    let before = balancer.now();
    let one = balancer.check_now(Whom::Backend("api", "b")).await.unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(
        one[0].report.result,
        CheckResult::Failed(CheckFault::Status(500))
    );
    assert_eq!(one[0].report.status, Some(500));
    assert_eq!(standing(&balancer, "b"), Standing::Down);
    assert_eq!(
        balancer
            .check_now(Whom::Service("api"))
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(balancer.check_now(Whom::All).await.unwrap().len(), 2);
    // Each of the three by hand counted; its first may have been the runner's own.
    let failed = balancer.group_snapshot("api").unwrap();
    let failed = failed.backend("b").unwrap().checks_failed;
    assert!((3..=4).contains(&failed), "{failed}");
    for whom in [
        Whom::Service("none"),
        Whom::Backend("api", "none"),
        Whom::Backend("api", "off"),
    ] {
        assert_eq!(
            balancer.check_now(whom).await.unwrap_err(),
            CheckNowError::Unknown
        );
    }
    assert!(
        balancer.now().since(before) < SECOND,
        "nobody waited for the interval"
    );
}

#[tokio::test(start_paused = true)]
async fn w9_disabled_backends_are_not_checked_draining_ones_are_and_changes_need_no_new_registration()
 {
    let balancer = balancer(&["on"]);
    balancer
        .add_backend("api", BackendSpec::new("off").admin(Admin::Disabled))
        .unwrap();
    balancer
        .add_backend("api", BackendSpec::new("drained").admin(Admin::Draining))
        .unwrap();
    let (log, probe) = noting(&balancer, Duration::ZERO);
    let settings = CheckerSettings::default().interval(SECOND);
    let _checker = balancer.spawn_health_checker(settings, probe).unwrap();
    sleep(5 * SECOND).await;
    let count = |backend: &str| log.lock().unwrap().get(backend).map_or(0, Vec::len);
    assert!(count("on") >= 5 && count("drained") >= 5);
    assert_eq!(count("off"), 0);

    let service = balancer.service("api").unwrap();
    service.set_admin("off", Admin::Enabled).unwrap();
    service.set_admin("on", Admin::Disabled).unwrap();
    // One last check may have been under way; from here on there is none.
    sleep(SECOND / 100).await;
    assert_eq!(count("off"), 1, "checked at once");
    let (on, off) = (count("on"), count("off"));
    sleep(5 * SECOND).await;
    assert_eq!(count("on"), on);
    assert!(count("off") >= off + 4);
}

#[tokio::test(start_paused = true)]
async fn w9_another_address_is_checked_without_a_new_registration() {
    let balancer = balancer(&["a"]);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let probe = move |target: Target| {
        noted.lock().unwrap().push(target.address.to_string());
        async { Ok::<(), ProbeError>(()) }
    };
    let checker = balancer
        .spawn_health_checker(CheckerSettings::default(), probe)
        .unwrap();
    checker.check_now(Whom::All).await.unwrap();
    let mut moved = BackendSpec::new("a");
    moved.labels.insert("address".into(), "10.0.0.9:80".into());
    balancer
        .service("api")
        .unwrap()
        .update_backend(moved)
        .unwrap();
    checker.check_now(Whom::All).await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.first().map(String::as_str), Some("a"));
    assert_eq!(asked.last().map(String::as_str), Some("10.0.0.9:80"));
}

#[tokio::test(start_paused = true)]
async fn w5_checks_touch_no_counter_of_traffic() {
    let balancer = balancer(&["a"]);
    let (_, probe) = noting(&balancer, SECOND / 2);
    let checker = balancer
        .spawn_health_checker(CheckerSettings::default(), probe)
        .unwrap();
    checker.check_now(Whom::All).await.unwrap();
    let mut picks: Vec<_> = (0..4).map(|_| balancer.select("api").unwrap()).collect();
    picks[0].answered(Verdict::Success);
    let before = balancer.group_snapshot("api").unwrap().backends[0].clone();
    for _ in 0..4 {
        checker.check_now(Whom::All).await.unwrap();
    }
    let after = balancer.group_snapshot("api").unwrap().backends[0].clone();
    assert_eq!(after.counts.in_flight, 4, "k-msg had 0 after four checks");
    assert_eq!(
        (after.counts, after.latency),
        (before.counts, before.latency)
    );
    assert_eq!(after.last_check.unwrap().latency, SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn backends_and_services_that_come_later_are_checked_at_once() {
    let balancer = balancer(&["a"]);
    let (log, probe) = noting(&balancer, Duration::ZERO);
    let settings = CheckerSettings::default().interval(3_600 * SECOND);
    let _checker = balancer.spawn_health_checker(settings, probe).unwrap();
    sleep(10 * SECOND).await;
    balancer.add_backend("api", "b").unwrap();
    balancer.register("web", checked(), ["c"]).unwrap();
    sleep(SECOND / 100).await;
    let log = log.lock().unwrap();
    assert!(log["b"][0] <= 10_005 && log["c"][0] <= 10_005, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn dropping_or_aborting_ends_the_checks_and_detaching_does_not() {
    type End = fn(evenkeel::HealthChecker, &LoadBalancer);
    let rows: [(&str, End, bool); 5] = [
        ("dropped", |checker, _| drop(checker), false),
        ("aborted", |checker, _| checker.checks().abort(), false),
        ("detached", |checker, _| drop(checker.detach()), true),
        (
            "detached, then aborted",
            |checker, _| checker.detach().abort(),
            false,
        ),
        (
            "detached, the balancer stopped",
            |checker, balancer| {
                checker.detach();
                balancer.stop();
            },
            false,
        ),
    ];
    for (what, end, goes_on) in rows {
        let balancer = balancer(&["a"]);
        let log = Log::default();
        let (noted, weak) = (log.clone(), balancer.downgrade());
        let probe = move |target: Target| {
            assert!(weak.upgrade().is_some());
            noted
                .lock()
                .unwrap()
                .entry(target.backend.to_string())
                .or_default()
                .push(0);
            async { Ok::<(), ProbeError>(()) }
        };
        let settings = CheckerSettings::default().interval(SECOND);
        let checker = balancer.spawn_health_checker(settings, probe).unwrap();
        checker.check_now(Whom::All).await.unwrap();
        let checks = checker.checks();
        end(checker, &balancer);
        sleep(SECOND / 10).await;
        let before = log.lock().unwrap()["a"].len();
        sleep(10 * SECOND).await;
        let after = log.lock().unwrap()["a"].len();
        assert_eq!(after > before, goes_on, "{what}: {before} {after}");
        assert_eq!(checks.is_finished(), !goes_on, "{what}");
        if !goes_on {
            assert_eq!(
                checks.check_now(Whom::All).await.unwrap_err(),
                CheckNowError::Ended
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_checker_ends_with_its_balancer() {
    let balancer = balancer(&["a"]);
    let probe = |_: Target| async { Ok::<(), ProbeError>(()) };
    let checks = balancer
        .spawn_health_checker(CheckerSettings::default(), probe)
        .unwrap()
        .detach();
    sleep(SECOND).await;
    drop(balancer);
    sleep(2 * SECOND).await;
    assert!(checks.is_finished());
}

#[tokio::test(start_paused = true)]
async fn only_named_services_are_checked_when_names_are_given() {
    let balancer = balancer(&["a"]);
    balancer.register("db", checked(), ["d"]).unwrap();
    let (log, probe) = noting(&balancer, Duration::ZERO);
    let settings = CheckerSettings::default().services(["db"]);
    let checker = balancer.spawn_health_checker(settings, probe).unwrap();
    assert_eq!(checker.check_now(Whom::All).await.unwrap().len(), 1);
    let log = log.lock().unwrap();
    assert!(log.contains_key("d") && !log.contains_key("a"));
}

#[test]
fn settings_out_of_range_and_no_runtime_are_refused() {
    let balancer = LoadBalancer::new();
    let probe = |_: Target| async { Ok::<(), ProbeError>(()) };
    let spawn = |settings| {
        balancer
            .spawn_health_checker(settings, probe)
            .map(drop)
            .unwrap_err()
    };
    let with = |change: fn(&mut CheckerSettings)| {
        let mut settings = CheckerSettings::default();
        change(&mut settings);
        settings
    };
    let day = 24 * 60 * 60 * SECOND;
    assert_eq!(
        spawn(with(|s| s.interval = Duration::ZERO)),
        CheckerError::Interval(Duration::ZERO)
    );
    assert_eq!(
        spawn(with(|s| s.interval_down = Some(Duration::MAX))),
        CheckerError::Interval(Duration::MAX)
    );
    assert_eq!(
        spawn(with(|s| s.timeout = Duration::ZERO)),
        CheckerError::Timeout(Duration::ZERO)
    );
    assert_eq!(spawn(with(|s| s.at_once = 0)), CheckerError::AtOnce(0));
    assert_eq!(
        spawn(with(|s| s.at_once = 5000)),
        CheckerError::AtOnce(5000)
    );
    let longest = CheckerSettings::default().interval(day).timeout(day);
    assert_eq!(spawn(longest), CheckerError::NoRuntime);
}

#[tokio::test(start_paused = true)]
async fn an_unsure_backend_is_looked_at_soon_after_the_check_that_made_it_so() {
    // The seed moves the check within the second in which the runner looks anyway.
    for seed in 0..8 {
        unsure_soon(seed).await;
    }
}

async fn unsure_soon(seed: u64) {
    let balancer = LoadBalancer::new();
    let service = ServiceSettings::default().health(ActiveSettings::default().rise(2).fall(3));
    balancer.register("api", service, ["a"]).unwrap();
    let mut events = balancer.subscribe();
    let good = Arc::new(AtomicBool::new(true));
    let asked = good.clone();
    let probe = move |_: Target| {
        let good = asked.load(Ordering::SeqCst);
        async move {
            if good {
                Ok(())
            } else {
                Err(ProbeError::Mismatch)
            }
        }
    };
    let settings = CheckerSettings::default()
        .interval(10 * SECOND)
        .interval_unsure(SECOND / 5)
        .seed(seed);
    let _checker = balancer.spawn_health_checker(settings, probe).unwrap();
    sleep(30 * SECOND).await;
    good.store(false, Ordering::SeqCst);
    while next_check(&mut events).await.1.is_none() {}
    let first = balancer.now();
    for _ in 0..2 {
        assert_eq!(next_check(&mut events).await.1, Some(CheckFault::Mismatch));
    }
    assert_eq!(standing(&balancer, "a"), Standing::Down);
    let took = balancer.now().since(first);
    assert!(
        took <= SECOND / 2,
        "two short intervals, but {took:?} with seed {seed}"
    );
}

/// Of a hundred, one answers three checks well and three badly, in turns.
#[tokio::test(start_paused = true)]
async fn one_that_flaps_is_followed_without_a_look_at_the_others() {
    let specs = names(100).into_iter().map(BackendSpec::new).collect();
    let health = ServiceSettings::default().health(ActiveSettings::default().rise(3).fall(3));
    let service = Service::new("api", health, specs, Arc::new(()), Instant::ZERO).unwrap();
    let watched = Arc::new(Watched {
        service,
        looks: AtomicUsize::new(0),
    });
    let services = Alone(watched.clone(), paused());
    let settings = CheckerSettings::default()
        .interval(5 * SECOND)
        .interval_unsure(SECOND);
    let asked = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counts = asked.clone();
    let probe = move |target: Target| {
        let count = |count: &AtomicUsize| count.fetch_add(1, Ordering::SeqCst);
        let bad = match target.backend.as_str() {
            "b007" => count(&counts.0) / 3 % 2 == 1,
            _ => count(&counts.1) == usize::MAX,
        };
        async move {
            match bad {
                true => Err(ProbeError::Mismatch),
                false => Ok(()),
            }
        }
    };
    let _checker = sweep::spawn(services, settings, probe).unwrap();
    sleep(20 * SECOND).await;
    let seen = || {
        let asked = (&asked.0, &asked.1);
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (count(asked.0), count(asked.1), count(&watched.looks))
    };
    let before = seen();
    sleep(60 * SECOND).await;
    let after = seen();
    let (it, others) = (after.0 - before.0, after.1 - before.1);
    assert!((99 * 11..=99 * 13).contains(&others), "{others}");
    // Each second, while its last checks say otherwise than it stands: two of three.
    assert!(it >= 24, "{it}");
    assert_eq!(after.2, before.2);
}

/// Says how often members were looked at, in a minute of their checks; `changing` takes a second each time that it is called.
async fn looks(unsure: Duration, failing: bool, changing: bool) -> usize {
    let specs = names(100).into_iter().map(BackendSpec::new).collect();
    let service = Service::new("api", checked(), specs, Arc::new(()), Instant::ZERO).unwrap();
    let watched = Arc::new(Watched {
        service,
        looks: AtomicUsize::new(0),
    });
    let services = Alone(watched.clone(), paused());
    let now = services.now();
    let settings = CheckerSettings::default()
        .interval(5 * SECOND)
        .interval_unsure(unsure);
    let probe = move |target: Target| async move {
        match failing && target.backend.as_str() == "b007" {
            true => Err(ProbeError::Mismatch),
            false => Ok(()),
        }
    };
    let _checker = sweep::spawn(services, settings, probe).unwrap();
    sleep(20 * SECOND).await;
    let before = watched.looks.load(Ordering::SeqCst);
    for second in 0..60 {
        sleep(SECOND).await;
        if changing {
            let weight = Weight::new(1 + second).unwrap();
            let changed = watched
                .service
                .set_weight(&BackendId::from("b003"), weight, now());
            changed.unwrap();
        }
    }
    let checks = watched.service.snapshot(now()).backends;
    assert!(
        checks
            .iter()
            .all(|one| one.checks_passed + one.checks_failed >= 15)
    );
    watched.looks.load(Ordering::SeqCst) - before
}

#[tokio::test(start_paused = true)]
async fn members_are_looked_at_when_something_changed_and_not_for_each_check() {
    assert_eq!(looks(5 * SECOND, false, false).await, 0);
    assert_eq!(
        looks(5 * SECOND, true, false).await,
        0,
        "one that stays down"
    );
    assert_eq!(
        looks(SECOND, false, false).await,
        0,
        "what is found is followed, and is the same"
    );
    let changing = looks(5 * SECOND, false, true).await;
    assert!((55..=60).contains(&changing), "{changing}");
}
