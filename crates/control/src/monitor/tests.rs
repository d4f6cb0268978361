use std::net::Ipv4Addr;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::event::{Event, Listener};
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_config::{Source, load};
use evenkeel_proxy::observation::{HEAD_BOUNDS, Observation};
use evenkeel_proxy::reason::Reason;
use evenkeel_watch::alert::{Alert, Kind};
use evenkeel_watch::series::{Span, Summary};

use super::*;

struct Deaf;

impl Listener for Deaf {
    fn hear(&self, _: &Event) {}
}

/// Two backends, and a service that nobody asks; seconds pass as the test has it.
pub(super) struct World {
    pub(super) live: Live,
    pub(super) monitor: Monitor,
    second: u64,
    told: Vec<(u64, bool)>,
}

const BEGAN: u64 = 1_795_305_600;

fn plan(services: &str) -> evenkeel_config::Plan {
    let text = format!(
        "listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ {services} }}\nrules: [{{ forward: api }}]\n"
    );
    let source = Source {
        name: "f.yaml".into(),
        text,
    };
    let loaded = load(&[source], &BTreeMap::new());
    loaded
        .plan
        .unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

pub(super) const TWO: &str = "api: { policy: round_robin, breaker: off, backends: [{ id: a, address: \"127.0.0.1:1\" }, { id: b, address: \"127.0.0.1:2\" }] }, idle: { backends: [\"127.0.0.1:3\"] }";

impl World {
    pub(super) fn new(services: &str) -> Self {
        let events: Arc<dyn Listener> = Arc::new(Deaf);
        let now = Instant::ZERO;
        let live = Live::join(plan(services), None, 1, &events, now);
        let world = Self {
            live,
            monitor: Monitor::default(),
            second: 0,
            told: Vec::new(),
        };
        world.look();
        world
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ZERO + Duration::from_secs(self.second)
    }

    fn look(&self) -> Option<Vec<Alert>> {
        self.monitor.look(
            &self.live,
            self.now(),
            Moment::from_secs(BEGAN + self.second),
        )
    }

    /// A second in which `each` says of each exchange how long its head took, or that it failed.
    pub(super) fn second(
        &mut self,
        service: &str,
        exchanges: u64,
        each: impl Fn(&str, u64) -> Option<Duration>,
    ) {
        let live = self.live.service(service).unwrap();
        let now = self.now();
        for at in 0..exchanges {
            let ask = Ask::new(at * 77);
            let mut pick = live.state.service.pick(&ask, now).unwrap();
            let id = pick.backend().id().clone();
            let took = each(id.as_str(), at);
            let mut seen = Observation::begin(Ipv4Addr::LOCALHOST.into());
            let (verdict, outcome) = match took {
                Some(took) => {
                    let reached = live.state.reached(&id).unwrap();
                    reached.heads.row().observe(&HEAD_BOUNDS, took);
                    (seen.status, seen.reason, seen.head) = (200, Reason::Served, Some(took));
                    (Verdict::Success, Outcome::Completed)
                }
                None => {
                    (seen.status, seen.reason) = (502, Reason::BackendReset);
                    (Verdict::Failure(Fault::Reset), Outcome::Completed)
                }
            };
            pick.answered(verdict, now);
            pick.finish(outcome, now);
            live.state.counters[0].observe(&seen);
        }
        self.second += 1;
        live.state.service.tick(self.now());
        let news = self.look().unwrap();
        self.told.extend(
            news.iter()
                .map(|alert| (alert.number, alert.cleared.is_some())),
        );
    }

    fn alerts(&self) -> Vec<Alert> {
        self.monitor.state().alerts.all().to_vec()
    }

    fn over(&self, backend: Option<&str>, span: Span) -> Summary {
        let state = self.monitor.state();
        let watch = &state.services["api"].watch;
        backend
            .map_or_else(|| watch.series(), |id| watch.backend(id).unwrap())
            .over(span)
    }
}

#[test]
fn what_ends_is_seen_of_the_service_and_of_each_backend() {
    let mut world = World::new(TWO);
    for _ in 0..30 {
        world.second("api", 20, |id, at| match (id, at) {
            (_, 7) => None,
            ("a", _) => Some(Duration::from_millis(3)),
            _ => Some(Duration::from_millis(70)),
        });
    }
    let all = world.over(None, Span::Minute);
    assert_eq!((all.requests, all.errors), (600, 30), "{all:?}");
    assert!((all.throughput().unwrap() - 20.0).abs() < 1e-9, "{all:?}");
    let mean = |id| world.over(Some(id), Span::Minute).mean.unwrap();
    assert!((mean("a") - 0.003).abs() < 0.0001, "{}", mean("a"));
    assert!((mean("b") - 0.07).abs() < 0.001, "{}", mean("b"));
    let each = ["a", "b"].map(|id| world.over(Some(id), Span::Minute).requests);
    assert_eq!(each.iter().sum::<u64>(), 600);
    assert_eq!(world.monitor.counts().looks, 30);
}

/// A thousand services that nobody asks cost a thousand looks and no memory.
#[test]
fn who_has_nothing_to_do_takes_nothing() {
    let mut world = World::new(TWO);
    assert_eq!(world.monitor.counts().watched, 0);
    world.second("api", 0, |_, _| None);
    assert_eq!(world.monitor.counts().watched, 0);
    world.second("api", 1, |_, _| Some(Duration::from_millis(1)));
    assert_eq!(
        world.monitor.counts().watched,
        2,
        "the service and who was asked"
    );
    world.second("api", 1, |_, _| Some(Duration::from_millis(1)));
    assert_eq!(world.monitor.counts().watched, 3);
}

#[test]
fn a_look_comes_once_a_second() {
    let world = World::new(TWO);
    for _ in 0..9 {
        assert_eq!(world.look(), None);
    }
    assert_eq!(world.monitor.counts().looks, 0);
}

/// A verdict by hand takes a backend out: it is told once, and clears when it is back, or gone.
#[test]
fn who_is_down_is_told_once_and_clears() {
    let mut world = World::new(TWO);
    let id = evenkeel_balance::backend::BackendId::from("b");
    let seconds = |world: &mut World, count: u32| {
        for _ in 0..count {
            world.second("api", 20, |_, _| Some(Duration::from_millis(3)));
        }
    };
    let mark = |world: &World, healthy| {
        let service = &world.live.service("api").unwrap().state.service;
        service.mark(&id, Some(healthy), None, world.now()).unwrap();
    };
    seconds(&mut world, 10);
    mark(&world, false);
    seconds(&mut world, 60);
    let alerts = world.alerts();
    let of = |alert: &Alert| (alert.backend.clone(), alert.kind, alert.cleared.is_some());
    let seen: Vec<_> = alerts.iter().map(of).collect();
    assert_eq!(seen, [(Some("b".to_owned()), Kind::Down, false)]);
    mark(&world, true);
    seconds(&mut world, 90);
    let seen: Vec<_> = world.alerts().iter().map(of).collect();
    assert_eq!(seen, [(Some("b".to_owned()), Kind::Down, true)]);
    assert_eq!(
        world.told,
        [(1, false), (1, true)],
        "one word for each turn"
    );
}

#[test]
fn of_a_service_that_is_gone_nothing_is_wrong() {
    let mut world = World::new(TWO);
    let id = evenkeel_balance::backend::BackendId::from("b");
    let service = &world.live.service("api").unwrap().state.service;
    service.mark(&id, Some(false), None, world.now()).unwrap();
    for _ in 0..30 {
        world.second("api", 20, |_, _| Some(Duration::from_millis(3)));
    }
    assert!(world.alerts()[0].cleared.is_none());
    let events: Arc<dyn Listener> = Arc::new(Deaf);
    let next = plan("api: { backends: [{ id: a, address: \"127.0.0.1:1\" }] }");
    let now = world.now();
    world.live = Live::join(next, Some(&world.live), 1, &events, now);
    world.second("api", 1, |_, _| Some(Duration::from_millis(3)));
    assert!(world.alerts()[0].cleared.is_some());
    assert_eq!(world.monitor.counts().watched, 2);
    assert!(
        world.over(None, Span::Minute).requests > 600,
        "kept over a reload"
    );
}

/// A service of two, watched so.
fn watched(monitoring: &str) -> String {
    TWO.replacen("api: { ", &format!("api: {{ monitoring: {monitoring}, "), 1)
}

/// So many seconds in which each request takes 3 ms, and one of ten fails.
fn failing(world: &mut World, seconds: u32) {
    for _ in 0..seconds {
        world.second("api", 20, |_, at| {
            (at % 10 > 0).then_some(Duration::from_millis(3))
        });
    }
}

#[test]
fn limits_are_those_of_the_configuration() {
    let kinds_within = |seconds: u32, monitoring: &str| {
        let mut world = World::new(&watched(monitoring));
        failing(&mut world, seconds);
        let raised = world.alerts().into_iter().map(|alert| alert.kind.name());
        raised.collect::<Vec<_>>()
    };
    let kinds = |monitoring: &str| kinds_within(180, monitoring);
    let no_anomalies = "anomalies: false";
    assert_eq!(kinds(&format!("{{ {no_anomalies} }}")), [""; 0]);
    for (limits, raised) in [
        ("error_rate: 5%", true),
        ("error_rate: 20%", false),
        ("response_time: 1ms", true),
        ("response_time: 100ms", false),
        ("throughput: 30/s", true),
        ("throughput: 10/s", false),
    ] {
        let kinds = kinds(&format!("{{ {no_anomalies}, thresholds: {{ {limits} }} }}"));
        assert_eq!(!kinds.is_empty(), raised, "{limits}: {kinds:?}");
    }
    // Ten minutes of a tenth are more than a fiftieth of a month's thousandth.
    let burning = |objective: &str| {
        let monitoring = format!("{{ {no_anomalies}, objective: {objective} }}");
        !kinds_within(600, &monitoring).is_empty()
    };
    assert_eq!([burning("99.9%"), burning("90%")], [true, false]);
}

#[test]
fn who_is_not_watched_is_not_and_who_is_not_told_of_is_silent() {
    let mut off = World::new(&watched("off"));
    failing(&mut off, 180);
    assert_eq!((off.monitor.counts().watched, off.alerts().len()), (0, 0));
    let limits = "thresholds: { error_rate: 1% }";
    let mut quiet = World::new(&watched(&format!("{{ alerting: false, {limits} }}")));
    failing(&mut quiet, 180);
    assert_eq!(quiet.alerts().len(), 0);
    assert!(quiet.over(None, Span::Minute).errors > 0, "it is watched");
    // One that is not told of any more has nothing raised.
    let mut world = World::new(&watched(&format!("{{ {limits} }}")));
    failing(&mut world, 180);
    assert!(world.alerts().iter().any(|alert| alert.cleared.is_none()));
    let events: Arc<dyn Listener> = Arc::new(Deaf);
    let next = plan(&watched(&format!("{{ alerting: false, {limits} }}")));
    world.live = Live::join(next, Some(&world.live), 1, &events, world.now());
    failing(&mut world, 1);
    assert!(world.alerts().iter().all(|alert| alert.cleared.is_some()));
}
