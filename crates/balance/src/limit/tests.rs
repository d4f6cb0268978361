#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small positive numbers of a model"
)]

use super::*;

const TICK: Duration = Duration::from_millis(100);

/// A backend that works on `knee` at once in `ease` each, and on more of them each in its part; so many want to be there at once. What it
/// answers in a tick is of those that were there in the last one.
struct Model {
    limit: Limit,
    settings: AdaptiveLimit,
    now: Instant,
    ease: f64,
    knee: f64,
    lost: f64,
    /// What has ended but for the rest of one.
    ended: f64,
}

fn settings(min: u32, start: u32, max: u32) -> AdaptiveLimit {
    let count = |number: u32| number.try_into().expect("not zero");
    AdaptiveLimit {
        min: count(min),
        max: count(max),
        start: count(start),
        tolerance: 0.5,
    }
}

impl Model {
    fn new(settings: AdaptiveLimit, knee: f64) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            limit: Limit::new(&settings, now),
            settings,
            now,
            ease: 1.0,
            knee,
            lost: 0.0,
            ended: 0.0,
        }
    }

    /// So many seconds in which `wanted` would be there at once if they might. What is one of relative latency takes 50 ms.
    fn pass(&mut self, seconds: f64, wanted: f64) -> f64 {
        let ticks = (seconds * 10.0).round() as usize;
        let mut worst = f64::INFINITY;
        for _ in 0..ticks {
            self.now = self.now + TICK;
            let there = wanted.min(f64::from(self.limit.in_use()));
            let took = self.ease * (there / self.knee).max(1.0);
            self.ended += there * 2.0 / took;
            let ended = self.ended.floor();
            self.ended -= ended;
            let lost = (ended * self.lost).round();
            let heard = Heard {
                answers: (ended - lost) as u64,
                took: (ended - lost) * took,
                lost: lost as u64,
                most: there as u32,
            };
            let latency = Some(Duration::from_secs_f64(took * 0.05));
            let load = (there as u32, latency);
            self.limit.tick(heard, load, &self.settings, self.now);
            let limit = f64::from(self.limit.in_use());
            assert!(limit >= f64::from(self.settings.min.get()));
            assert!(limit <= f64::from(self.settings.max.get()));
            worst = worst.min(limit);
        }
        worst
    }

    #[track_caller]
    fn is(&self, from: f64, to: f64) {
        let (limit, ease) = (self.limit.wanted, self.limit.ease);
        assert!(
            (from..=to).contains(&limit),
            "{limit}, not {from} to {to}; ease {ease:?}"
        );
    }
}

/// Where it comes to, above and below where it began: somewhat beyond the knee, so that nobody is idle.
#[test]
fn it_finds_the_knee() {
    for (start, knee) in [
        (20, 20.0),
        (20, 100.0),
        (20, 400.0),
        (200, 20.0),
        (500, 50.0),
    ] {
        let mut model = Model::new(settings(5, start, 1000), knee);
        model.pass(40.0, 1e6);
        for _ in 0..30 {
            model.pass(10.0, 1e6);
            model.is(knee, knee * 2.5);
        }
    }
}

/// It doubles while it is asked for more and all is well: what is there at the start is there soon.
#[test]
fn it_climbs_to_what_is_asked_for() {
    let mut model = Model::new(settings(5, 20, 1000), 1e9);
    model.pass(1.5, 300.0);
    model.is(300.0, 1000.0);
    // And one that is asked for little stays as it is.
    let mut model = Model::new(settings(5, 20, 1000), 1e9);
    assert!(model.pass(60.0, 3.0) >= 20.0);
    model.is(20.0, 20.0);
    // At its most it says so, once.
    let mut model = Model::new(settings(5, 20, 100), 1e9);
    model.pass(10.0, 300.0);
    assert_eq!(model.limit.news(), Some(LimitEnd::Most));
    model.pass(10.0, 300.0);
    model.is(100.0, 100.0);
    assert_eq!(model.limit.news(), None);
}

/// A backend that is slower for another reason than their number is not limited for it, but for a moment.
#[test]
fn slower_is_not_overloaded() {
    for ease in [1.3, 2.0, 4.0, 20.0] {
        let mut model = Model::new(settings(5, 20, 1000), 1e9);
        model.pass(10.0, 60.0);
        model.ease = ease;
        // As many requests a second as before: more of them are there at once.
        let wanted = 60.0 * ease;
        model.pass(60.0, wanted);
        let worst = model.pass(120.0, wanted);
        assert!(worst >= wanted.min(500.0), "{ease}: {worst} of {wanted}");
    }
}

/// Nor is one that has become faster held to what it was.
#[test]
fn it_recovers() {
    let mut model = Model::new(settings(5, 20, 1000), 20.0);
    model.pass(60.0, 1e6);
    model.knee = 200.0;
    model.ease = 0.5;
    model.pass(30.0, 1e6);
    model.is(200.0, 500.0);
    model.knee = 20.0;
    model.ease = 1.0;
    model.pass(30.0, 1e6);
    model.is(20.0, 50.0);
}

/// An overload that was there from the beginning is seen in the end: half as many are as good.
#[test]
fn ease_is_not_what_an_overload_makes_of_it() {
    let mut model = Model::new(settings(2, 500, 1000), 10.0);
    model.pass(90.0, 1e6);
    model.is(10.0, 40.0);
}

/// Timeouts and those that the backend says are too many count, though no answer tells of them; few of them do not.
#[test]
fn what_is_lost_lowers_it() {
    let check = |lost: f64, least: f64, most: f64| {
        let mut model = Model::new(settings(10, 20, 200), 1e9);
        model.pass(10.0, 100.0);
        model.is(100.0, 200.0);
        model.lost = lost;
        model.pass(10.0, 100.0);
        model.is(least, most);
    };
    check(0.02, 100.0, 200.0);
    check(1.0, 10.0, 10.0);
    let mut model = Model::new(settings(10, 20, 200), 1e9);
    model.pass(5.0, 100.0);
    model.lost = 1.0;
    model.pass(20.0, 100.0);
    model.limit.news();
    model.lost = 0.0;
    model.pass(20.0, 100.0);
    model.is(100.0, 200.0);
}

/// Where even the fewest are slow it says so, once, and is never below; from there it comes back.
#[test]
fn its_least_is_at_least_one() {
    let mut model = Model::new(settings(1, 20, 1000), 0.2);
    model.pass(600.0, 1e6);
    model.is(1.0, 10.0);
    model.knee = 100.0;
    model.ease = 0.2;
    model.pass(60.0, 1e6);
    model.is(100.0, 350.0);
}

/// Nothing that can be heard makes it anything but a limit.
#[test]
fn what_is_no_number_cannot_stick() {
    let settings = settings(10, 20, 100);
    for wanted in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
        for ease in [None, Some(f64::NAN), Some(0.0), Some(-3.0), Some(1.0)] {
            let carried = CarriedLimit { wanted, ease };
            let limit = Limit::carried_in(carried, &settings, Instant::ZERO);
            assert!((10..=100).contains(&limit.in_use()), "{carried:?}");
            assert!(limit.ease.is_none_or(|ease| ease > 0.0), "{carried:?}");
        }
    }
}

/// Ends that cross, as a program may set them: the least holds.
#[test]
fn a_least_above_the_most_holds() {
    let mut model = Model::new(settings(50, 20, 50), 5.0);
    model.pass(20.0, 1e6);
    model.is(50.0, 50.0);
    let crossed = settings(50, 20, 30);
    let limit = Limit::new(&crossed, Instant::ZERO);
    assert_eq!(limit.in_use(), 50);
}

/// Few and slow answers are waited for, and idle time says nothing.
#[test]
fn slow_services_are_judged_by_as_many_answers() {
    let mut model = Model::new(settings(1, 10, 100), 1e9);
    let tick = |model: &mut Model, answers: u64, took: f64| {
        model.now = model.now + TICK;
        let heard = Heard {
            answers,
            took: took * answers as f64,
            lost: 0,
            most: 10,
        };
        let load = (10, Some(Duration::from_secs(5)));
        model.limit.tick(heard, load, &model.settings, model.now);
    };
    // Two answers a second: five of them are judged together.
    for _ in 0..300 {
        for at in 0..5 {
            tick(&mut model, u64::from(at == 0), 1.0);
        }
    }
    let grown = model.limit.wanted;
    assert!(grown > 12.0, "{grown}");
    for _ in 0..10_000 {
        tick(&mut model, 0, 0.0);
    }
    assert!((model.limit.wanted - grown).abs() < 1e-9);
}
