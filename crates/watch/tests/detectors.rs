//! The detectors judged as a whole, on series with known faults: precision at least .95, recall at least .9, a step found within a
//! minute, and in quiet weeks at most one false alarm a week and service. Seeds print themselves.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test outside of its own function, too, fails by unwrapping and says its seed"
)]

use evenkeel_watch::alert::{Change, Kind};
use evenkeel_watch::buckets::spread;
use evenkeel_watch::condition::Turn;
use evenkeel_watch::interval::Interval;
use evenkeel_watch::latencies::{Latencies, nanos};
use evenkeel_watch::service::{ServiceWatch, WIDE_BUCKETS, WatchSettings};
use evenkeel_watch::time::Moment;

const START: u64 = 1_795_305_600;

/// The bounds of what an instance counts, in seconds: of its own times of answers it knows no more than these buckets and a sum.
const BOUNDS: [f64; 18] = [
    0.0001,
    0.000_25,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    f64::INFINITY,
];

/// What an instance has counted of one within a second.
#[derive(Clone, Default)]
struct Counted {
    counts: [u32; BOUNDS.len()],
    sum: f64,
}

impl Counted {
    fn add(&mut self, seconds: f64) {
        let at = BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts[at.unwrap()] += 1;
        self.sum += seconds;
    }

    fn join(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own += other;
        }
        self.sum += other.sum;
    }

    fn latencies(&self, place: &mut f64) -> Latencies {
        let rows: Vec<_> = BOUNDS.into_iter().zip(self.counts).collect();
        spread(&rows, self.sum, place)
    }
}

/// What may be wrong, with one backend (`b1`) or the whole service.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// A backend takes twice as long.
    Slow,
    /// A fifth of a backend's answers takes four times as long.
    Gray,
    /// A backend fails so much more.
    Fails(f64),
    Down,
    /// Everybody takes so many times as long.
    AllSlow(f64),
    /// Everybody fails so much more.
    AllFail(f64),
}

const FAULTS: [Fault; 9] = [
    Fault::Slow,
    Fault::AllFail(0.005),
    Fault::Gray,
    Fault::Down,
    Fault::Fails(0.05),
    Fault::AllSlow(1.17),
    Fault::Fails(0.01),
    Fault::AllFail(0.02),
    Fault::AllSlow(1.5),
];

impl Fault {
    /// Is this what it should be told as: the one whose fault it is. That the whole service has become slower or fails more, too, is
    /// true of any of them, but does not count as having found who it is.
    fn is_told_by(self, change: &Change) -> bool {
        let of_one = change.backend.as_deref() == Some("b1");
        match self {
            Self::None => false,
            Self::Slow | Self::Gray => {
                of_one && matches!(change.kind, Kind::SlowerThanPeers | Kind::SlowerThanBefore)
            }
            Self::Fails(_) => of_one && change.kind == Kind::FailsMoreThanPeers,
            Self::Down => of_one && change.kind == Kind::Down,
            Self::AllSlow(_) => change.backend.is_none() && change.kind == Kind::SlowerThanBefore,
            Self::AllFail(_) => {
                change.backend.is_none() && change.kind == Kind::FailsMoreThanBefore
            }
        }
    }

    fn follows_from_it(self, change: &Change) -> bool {
        let slower =
            matches!(self, Self::Slow | Self::Gray) && change.kind == Kind::SlowerThanBefore;
        let fails = matches!(self, Self::Fails(_)) && change.kind == Kind::FailsMoreThanBefore;
        change.backend.is_none() && (slower || fails)
    }
}

/// A service of some backends with 40 requests a second each, of which a day's swing takes and adds half; latencies of 20 ms whose
/// logarithm scatters by a half, that wobble together from second to second by `wobble` and swing by 15 % over the day; one failure
/// in a thousand.
struct World {
    watch: ServiceWatch,
    settings: WatchSettings,
    chance: fastrand::Rng,
    /// Quantiles of the scatter, to draw from.
    scatter: Vec<f64>,
    ids: Vec<String>,
    wobble: f64,
    at: u64,
    /// Waves of load that last for some 20 s, a stall of a second of one backend every ten minutes, and thirty failures at once every
    /// hour: what nobody wants to be told of.
    rough: bool,
    wave: f64,
    /// Where in their bucket the most lay, of each backend and of all, where times come as an instance counts them. None: as they are.
    places: Option<Vec<f64>>,
}

impl World {
    fn new(seed: u64, backends: usize, wobble: f64) -> Self {
        println!("seed {seed}, {backends} backends, wobble {wobble}");
        let mut chance = fastrand::Rng::with_seed(seed);
        let scatter = (0..8192)
            .map(|_| (0.5 * normal(&mut chance)).exp())
            .collect();
        let ids = (0..backends).map(|at| format!("b{at}")).collect();
        Self {
            watch: ServiceWatch::default(),
            settings: WatchSettings::default(),
            chance,
            scatter,
            ids,
            wobble,
            at: 0,
            rough: false,
            wave: 0.0,
            places: None,
        }
    }

    /// The same with times as an instance counts them.
    fn counted(self) -> Self {
        Self {
            places: Some(vec![0.5; self.ids.len() + 1]),
            settings: WatchSettings {
                grain: WIDE_BUCKETS,
                ..WatchSettings::default()
            },
            ..self
        }
    }

    fn second(&mut self, fault: Fault) -> Vec<Change> {
        let day =
            (f64::from(u32::try_from(self.at).unwrap()) / 86_400.0 * std::f64::consts::TAU).sin();
        let base = 0.02 * (1.0 + 0.15 * day) * (self.wobble * normal(&mut self.chance)).exp();
        self.wave = 0.95 * self.wave + 0.3 * normal(&mut self.chance);
        let base = if self.rough {
            base * (0.05 * self.wave).exp()
        } else {
            base
        };
        let stalled = (self.rough && self.at.is_multiple_of(600))
            .then(|| self.chance.usize(..self.ids.len()));
        let burst =
            (self.rough && self.at % 3600 == 1234).then(|| self.chance.usize(..self.ids.len()));
        let rate = 40.0 * (1.0 - 0.5 * day);
        let mut all = Interval {
            millis: 1000,
            up: true,
            ..Interval::default()
        };
        let mut ticks = Vec::new();
        let mut whole = Counted::default();
        for at in 0..self.ids.len() {
            let mut counted = Counted::default();
            let ill = if at == 1 { fault } else { Fault::None };
            let fails = 0.001
                + match (ill, fault) {
                    (Fault::Fails(more), _) | (_, Fault::AllFail(more)) => more,
                    _ => 0.0,
                };
            let slow = match (ill, fault) {
                (Fault::Slow, _) => 2.0,
                (_, Fault::AllSlow(slow)) => slow,
                _ => 1.0,
            };
            let slow = if stalled == Some(at) {
                20.0 * slow
            } else {
                slow
            };
            let mut tick = Interval {
                millis: 1000,
                up: ill != Fault::Down,
                ..Interval::default()
            };
            if tick.up {
                let requests = rate + rate.sqrt() * normal(&mut self.chance);
                tick.requests = u32::try_from(nanos(requests.max(0.0) / 1e9)).unwrap();
                for _ in 0..tick.requests {
                    if self.chance.f64() < fails || (burst == Some(at) && tick.errors < 30) {
                        tick.errors += 1;
                        continue;
                    }
                    let slow = if ill == Fault::Gray && self.chance.u8(..) < 51 {
                        4.0
                    } else {
                        slow
                    };
                    let drawn = self.scatter[self.chance.usize(..self.scatter.len())];
                    match &self.places {
                        Some(_) => counted.add(base * slow * drawn),
                        None => tick.latencies.add(nanos(base * slow * drawn), 1),
                    }
                }
            }
            if let Some(places) = &mut self.places {
                whole.join(&counted);
                tick.latencies = counted.latencies(&mut places[at]);
            }
            all.requests += tick.requests;
            all.errors += tick.errors;
            all.latencies.merge(&tick.latencies);
            ticks.push(tick);
        }
        if let Some(place) = self.places.as_mut().and_then(|all| all.last_mut()) {
            all.latencies = whole.latencies(place);
        }
        let each: Vec<(&str, &Interval)> =
            self.ids.iter().map(String::as_str).zip(&ticks).collect();
        self.at += 1;
        self.watch.tick(
            Moment::from_secs(START + self.at),
            &all,
            &each,
            &self.settings,
        )
    }

    /// So many seconds of a fault: what was raised, and when after its beginning.
    fn run(&mut self, seconds: u64, fault: Fault) -> Vec<(u64, Change)> {
        let mut raised = Vec::new();
        for after in 1..=seconds {
            let changes = self
                .second(fault)
                .into_iter()
                .filter(|change| matches!(change.turn, Turn::Raised { .. }));
            raised.extend(changes.map(|change| (after, change)));
        }
        raised
    }
}

fn normal(chance: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| chance.f64()).sum::<f64>() - 6.0
}

#[test]
fn faults_are_found_by_name_within_a_minute_and_little_else() {
    judged(|world| world);
}

/// As an instance feeds it: buckets as wide as two and a half times, and a sum.
#[test]
fn faults_are_found_by_what_an_instance_counts() {
    judged(World::counted);
}

fn judged(feed: impl Fn(World) -> World) {
    let (mut faults, mut found, mut right, mut wrong) = (0_u32, 0_u32, 0_u32, 0_u32);
    let mut slowest = Vec::new();
    for seed in 1..=12 {
        for backends in [3, 5, 10] {
            let mut world = feed(World::new(seed, backends, 0.05));
            wrong += count(&world.run(900, Fault::None));
            for fault in FAULTS {
                let raised = world.run(180, fault);
                let first = raised
                    .iter()
                    .find(|(_, change)| fault.is_told_by(change))
                    .map(|(after, _)| *after);
                faults += 1;
                found += u32::from(first.is_some_and(|after| after <= 60));
                slowest.push((first.unwrap_or(999), fault, backends));
                for (after, change) in &raised {
                    let is_right = fault.is_told_by(change) || fault.follows_from_it(change);
                    right += u32::from(is_right);
                    wrong += u32::from(!is_right);
                    if !is_right {
                        println!(
                            "  {fault:?}: {:?} {:?} after {after} s",
                            change.backend, change.kind
                        );
                    }
                }
                let after = world.run(900, Fault::None);
                wrong += count(&after);
                for (at, change) in after {
                    println!(
                        "  after {fault:?}: {:?} {:?} after {at} s",
                        change.backend, change.kind
                    );
                }
            }
        }
    }
    slowest.sort_by_key(|(after, ..)| std::cmp::Reverse(*after));
    println!("{:?}", &slowest[..10]);
    let (precision, recall) = (
        f64::from(right) / (f64::from(right) + f64::from(wrong)),
        f64::from(found) / f64::from(faults),
    );
    println!("{faults} faults: precision {precision:.3}, recall {recall:.3}");
    assert!(precision >= 0.95, "precision {precision}");
    assert!(recall >= 0.9, "recall {recall}");
}

fn count(raised: &[(u64, Change)]) -> u32 {
    u32::try_from(raised.len()).unwrap()
}

/// A week of ticks of a second in which nothing is wrong.
fn quiet_week(seed: u64, backends: usize, wobble: f64, rough: bool) {
    quiet(World {
        rough,
        ..World::new(seed, backends, wobble)
    });
}

fn quiet(mut world: World) {
    let raised = world.run(7 * 86_400, Fault::None);
    for (at, change) in &raised {
        println!(
            "  {:?} {:?} after {at} s: {:?}",
            change.backend, change.kind, change.evidence
        );
    }
    assert!(raised.len() <= 1, "{} false alarms in a week", raised.len());
}

#[test]
fn a_quiet_week_of_three_backends() {
    quiet_week(1, 3, 0.05, false);
}

#[test]
fn a_quiet_week_of_five_backends() {
    quiet_week(2, 5, 0.05, false);
}

#[test]
fn a_quiet_week_of_ten_backends() {
    quiet_week(3, 10, 0.05, false);
}

#[test]
fn a_quiet_week_that_wobbles() {
    quiet_week(4, 5, 0.1, false);
}

#[test]
fn a_quiet_week_that_hardly_wobbles() {
    quiet_week(5, 4, 0.01, false);
}

#[test]
fn a_rough_week_of_three_backends() {
    quiet_week(6, 3, 0.02, true);
}

#[test]
fn a_rough_week_of_eight_backends() {
    quiet_week(7, 8, 0.02, true);
}

/// Waves below a wobble that hides them.
#[test]
fn a_rough_week_that_wobbles() {
    quiet_week(11, 6, 0.1, true);
}

#[test]
fn a_rough_week_of_four_backends_that_wobbles() {
    quiet_week(17, 4, 0.1, true);
}

#[test]
fn a_quiet_week_by_what_an_instance_counts() {
    quiet(World::new(21, 5, 0.05).counted());
}

#[test]
fn a_rough_week_by_what_an_instance_counts() {
    let world = World::new(22, 4, 0.05).counted();
    quiet(World {
        rough: true,
        ..world
    });
}

/// A distribution that is fed is the one that is asked for: what the judgement rests on.
#[test]
fn what_is_drawn_is_what_is_seen() {
    let mut world = World::new(1, 3, 0.0);
    world.run(60, Fault::None);
    let mut all = Latencies::default();
    all.merge(
        &world
            .watch
            .series()
            .latencies(evenkeel_watch::series::Span::Minute),
    );
    let found = all.logarithms().unwrap();
    assert!(
        (found.mean - 0.02_f64.ln()).abs() < 0.05 && (found.variance - 0.25).abs() < 0.05,
        "{found:?}"
    );
}
