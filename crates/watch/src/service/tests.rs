use super::*;
use crate::alert::Alerts;
use crate::latencies::Latencies;
use crate::metric::Metric;

const START: u64 = 1_795_305_600;

/// A backend's second: so many answers of about so many milliseconds, so many of them failed.
#[derive(Clone, Copy)]
struct Second(u32, u64, u32);

impl Second {
    fn interval(self) -> Interval {
        let Self(requests, millis, errors) = self;
        let mut latencies = Latencies::default();
        for part in 0..4 {
            latencies.add(millis * (800_000 + part * 130_000), (requests - errors) / 4);
        }
        Interval {
            millis: 1000,
            requests,
            errors,
            latencies,
            up: true,
        }
    }
}

/// A world of backends `b0`, `b1` and so on, a tick a second.
struct World {
    watch: ServiceWatch,
    settings: WatchSettings,
    at: u64,
    told: Vec<(u64, Change)>,
}

impl World {
    fn new(settings: WatchSettings) -> Self {
        Self {
            watch: ServiceWatch::default(),
            settings,
            at: 0,
            told: Vec::new(),
        }
    }

    fn run(&mut self, seconds: u64, backends: &[Second]) -> &mut Self {
        let ticks: Vec<Interval> = backends.iter().map(|one| one.interval()).collect();
        self.fed(seconds, &ticks)
    }

    fn fed(&mut self, seconds: u64, ticks: &[Interval]) -> &mut Self {
        let ids: Vec<String> = (0..ticks.len()).map(|at| format!("b{at}")).collect();
        let each: Vec<(&str, &Interval)> = ids.iter().map(String::as_str).zip(ticks).collect();
        let mut all = Interval {
            millis: 1000,
            up: ticks.iter().any(|tick| tick.up),
            ..Interval::default()
        };
        for tick in ticks {
            all.requests += tick.requests;
            all.errors += tick.errors;
            all.latencies.merge(&tick.latencies);
        }
        for _ in 0..seconds {
            let now = Moment::from_secs(START + self.at);
            let changes = self.watch.tick(now, &all, &each, &self.settings);
            self.told
                .extend(changes.into_iter().map(|change| (self.at, change)));
            self.at += 1;
        }
        self
    }

    /// What was told since the last time: `+` raised or `-` cleared, the backend, the kind.
    fn told(&mut self) -> Vec<String> {
        let line = |change: &Change| {
            let sign = if matches!(change.turn, Turn::Raised { .. }) {
                '+'
            } else {
                '-'
            };
            format!(
                "{sign}{} {}",
                change.backend.as_deref().unwrap_or("*"),
                change.kind.name()
            )
        };
        std::mem::take(&mut self.told)
            .iter()
            .map(|(_, change)| line(change))
            .collect()
    }
}

const FINE: Second = Second(40, 20, 0);

#[test]
fn who_is_slower_than_its_peers_is_told_of_once_and_when_it_heals() {
    let mut world = World::new(WatchSettings::default());
    assert_eq!(world.run(700, &[FINE; 4]).told(), [""; 0]);
    let mut ill = [FINE; 4];
    ill[2] = Second(40, 60, 0);
    let told = world.run(60, &ill).told();
    assert!(
        told.contains(&"+b2 slower_than_peers".to_owned()),
        "{told:?}"
    );
    assert!(
        told.iter()
            .all(|line| line.starts_with("+b2") || line.starts_with("+*")),
        "{told:?}"
    );
    let mut healed = world.run(200, &[FINE; 4]).told();
    let mut raised: Vec<_> = told.iter().map(|line| line.replace('+', "-")).collect();
    healed.sort();
    raised.sort();
    assert_eq!(healed, raised);
}

#[test]
fn who_fails_more_than_its_peers_is_told_of() {
    let mut world = World::new(WatchSettings::default());
    assert_eq!(world.run(700, &[FINE; 4]).told(), [""; 0]);
    let mut ill = [FINE; 4];
    ill[1] = Second(40, 20, 4);
    let told = world.run(30, &ill).told();
    assert!(
        told.contains(&"+b1 fails_more_than_peers".to_owned()),
        "{told:?}"
    );
    let evidence = world.watch.backends["b1"].surge.found().unwrap();
    assert!(evidence.reference < 0.01, "{evidence:?}");
    world.run(300, &[FINE; 4]);
    assert!(
        world
            .told()
            .contains(&"-b1 fails_more_than_peers".to_owned())
    );
}

#[test]
fn trouble_that_all_have_is_the_services() {
    let mut world = World::new(WatchSettings::default());
    world.run(700, &[FINE; 4]);
    let told = world.run(120, &[Second(40, 80, 20); 4]).told();
    assert_eq!(told, ["+* fails_more_than_before", "+* slower_than_before"]);
}

/// All have failed, and one heals some seconds after the others: it is not to blame.
#[test]
fn who_heals_last_is_not_told_of() {
    let mut world = World::new(WatchSettings::default());
    world.run(700, &[FINE; 4]).run(60, &[Second(40, 20, 20); 4]);
    let mut last = [FINE; 4];
    last[0] = Second(40, 20, 20);
    world.run(8, &last).run(20, &[FINE; 4]);
    assert_eq!(world.told(), ["+* fails_more_than_before"]);
}

#[test]
fn limits_and_budgets_are_looked_at() {
    let thresholds = vec![
        Threshold::new(Metric::P95, 0.1),
        Threshold::new(Metric::Throughput, 100.0),
    ];
    let settings = WatchSettings {
        thresholds,
        objective: Some(0.999),
        anomalies: false,
        ..WatchSettings::default()
    };
    let mut world = World::new(settings);
    assert_eq!(world.run(700, &[FINE; 4]).told(), [""; 0]);
    let told = world.run(120, &[Second(40, 300, 20); 4]).told();
    assert_eq!(told, ["+* threshold", "+* burn_fast"]);
    // What is not looked for any more is cleared.
    world.settings = WatchSettings {
        anomalies: false,
        ..WatchSettings::default()
    };
    assert_eq!(
        world.run(11, &[Second(40, 300, 20); 4]).told(),
        ["-* threshold", "-* burn_fast"]
    );
}

#[test]
fn who_goes_down_is_told_of_after_a_while() {
    let mut world = World::new(WatchSettings::default());
    world.run(60, &[FINE; 2]);
    let (fine, down) = (
        FINE.interval(),
        Interval {
            millis: 1000,
            ..Interval::default()
        },
    );
    assert_eq!(world.fed(5, &[fine.clone(), down.clone()]).told(), [""; 0]);
    assert_eq!(
        world.fed(10, &[fine.clone(), down.clone()]).told(),
        ["+b1 down"]
    );
    world.fed(15, &[down.clone(), down.clone()]);
    let loud: Vec<_> = world
        .told
        .iter()
        .map(|(_, change)| change.severity)
        .collect();
    assert_eq!(loud, [Severity::Warning, Severity::Critical]);
    assert_eq!(world.told(), ["+b0 down", "+* down"]);
    assert_eq!(
        world.fed(70, &[fine.clone(), fine]).told(),
        ["-b0 down", "-b1 down", "-* down"]
    );
}

#[test]
fn who_leaves_is_forgotten_and_what_was_raised_of_it_is_cleared() {
    let mut world = World::new(WatchSettings::default());
    let (fine, down) = (
        FINE.interval(),
        Interval {
            millis: 1000,
            ..Interval::default()
        },
    );
    world.fed(20, &[fine.clone(), down]);
    let mut alerts = Alerts::default();
    for (_, change) in &world.told {
        alerts
            .take("api", change, Moment::from_secs(START))
            .unwrap();
    }
    assert_eq!(alerts.raised().count(), 1);
    world.fed(1, &[fine]);
    assert_eq!(
        world.watch.backends().map(|(id, _)| id).collect::<Vec<_>>(),
        ["b0"]
    );
    let is_there =
        |_: &str, id: Option<&str>| id.is_none_or(|id| world.watch.backend(id).is_some());
    assert_eq!(alerts.gone(is_there, Moment::from_secs(START)).len(), 1);
}

#[test]
fn so_many_backends_are_watched_and_the_rest_is_counted() {
    let ids: Vec<String> = (0..MOST_BACKENDS + 3).map(|at| at.to_string()).collect();
    let tick = Interval {
        millis: 1000,
        up: true,
        ..Interval::default()
    };
    let each: Vec<(&str, &Interval)> = ids.iter().map(|id| (id.as_str(), &tick)).collect();
    let mut watch = ServiceWatch::default();
    watch.tick(
        Moment::from_secs(START),
        &tick,
        &each,
        &WatchSettings::default(),
    );
    assert_eq!(
        (watch.backends().count(), watch.refused()),
        (MOST_BACKENDS, 3)
    );
    assert!(
        size_of::<BackendWatch>() <= BACKEND_BYTES,
        "{}",
        size_of::<BackendWatch>()
    );
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut world = World::new(WatchSettings {
        objective: Some(0.999),
        ..WatchSettings::default()
    });
    let mut ill = [FINE; 4];
    ill[2] = Second(40, 60, 6);
    world.run(700, &[FINE; 4]).run(60, &ill);
    let bytes = world.watch.to_bytes();
    let again = ServiceWatch::from_bytes(&bytes).unwrap();
    assert_eq!(again.to_bytes(), bytes);
    world.told();
    world.watch = again;
    // Nothing is raised twice, and all of it clears.
    let told = world.run(300, &[FINE; 4]).told();
    assert!(
        !told.is_empty() && told.iter().all(|line| line.starts_with('-')),
        "{told:?}"
    );
    for cut in (0..bytes.len()).step_by(37) {
        assert!(ServiceWatch::from_bytes(&bytes[..cut]).is_err());
    }
}
