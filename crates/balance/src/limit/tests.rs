#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small positive numbers of a model"
)]

use super::*;
use crate::hashing;

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
    /// Nobody waits longer.
    deadline: f64,
    /// So many that are there do not end.
    stay: f64,
    may_look: bool,
    /// Means are those of exponential times, drawn by this; none: they are what is to be expected.
    chance: Option<u64>,
    /// What has ended but for the rest of one.
    ended: f64,
    /// Ticks, those above three times the knee, and the sum of the shares of the knee that were in use.
    ticks: u32,
    above: u32,
    used: f64,
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
            deadline: f64::INFINITY,
            stay: 0.0,
            may_look: true,
            chance: None,
            ended: 0.0,
            ticks: 0,
            above: 0,
            used: 0.0,
        }
    }

    /// So many seconds in which `wanted` would be there at once if they might. What is one of relative latency takes 50 ms.
    fn pass(&mut self, seconds: f64, wanted: f64) -> f64 {
        let ticks = (seconds * 10.0).round() as usize;
        let mut worst = f64::INFINITY;
        for _ in 0..ticks {
            self.now = self.now + TICK;
            let room = f64::from(self.limit.in_use()) - self.stay;
            let there = wanted.min(room).max(0.0);
            let took = self.ease * (there / self.knee).max(1.0);
            self.ended += there * 2.0 / took;
            let ended = self.ended.floor();
            self.ended -= ended;
            let lost = match took > self.deadline {
                true => ended,
                false => (ended * self.lost).round(),
            };
            let answers = ended - lost;
            self.ticks += 1;
            self.above += u32::from(there > 3.0 * self.knee);
            self.used += there.min(self.knee) / self.knee;
            let mean = took * self.by_chance(answers);
            let heard = Heard {
                answers: answers as u64,
                took: answers * mean,
                squares: answers * mean * mean,
                lost: lost as u64,
                most: (there + self.stay) as u32,
            };
            let around = Around {
                in_flight: (there + self.stay) as u32,
                latency: Duration::from_secs_f64(took * 0.05),
                may_look: self.may_look,
            };
            self.limit.tick(heard, around, &self.settings, self.now);
            let limit = f64::from(self.limit.in_use());
            assert!(limit >= f64::from(self.settings.min.get()));
            assert!(limit <= f64::from(self.settings.max.get()));
            worst = worst.min(limit);
        }
        worst
    }

    /// What the mean of so many exponential times is of theirs.
    fn by_chance(&self, count: f64) -> f64 {
        let Some(seed) = self.chance else { return 1.0 };
        let seed = hashing::mix(seed, self.ticks.into());
        let unit = |draw: u64| (hashing::mix(seed, draw) >> 11) as f64 / (1_u64 << 53) as f64;
        let normal = (0..12).map(unit).sum::<f64>() - 6.0;
        (1.0 + normal / count.max(1.0).sqrt()).max(0.05)
    }

    #[track_caller]
    fn is(&self, from: f64, to: f64) {
        let (limit, ease) = (self.limit.wanted, self.limit.carried().ease);
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

/// Nor does chance carry it away: half an hour of overload, in which the backend becomes slower for another reason, and fast again, every few
/// minutes. Half a minute of 1800 s at the least limit would be seen in what is used.
#[test]
fn chance_does_not_carry_it_away() {
    for seed in 1..=10 {
        for knee in [20.0, 200.0] {
            let mut model = Model::new(settings(5, 20, 1000), knee);
            model.chance = Some(seed);
            for ease in [1.0, 4.0, 1.0, 2.0, 8.0, 1.5, 1.0, 3.0, 0.5, 1.0] {
                model.ease = ease;
                model.pass(180.0, 1e6);
            }
            let ticks = f64::from(model.ticks);
            let (used, above) = (model.used / ticks, f64::from(model.above) / ticks);
            let told =
                format!("seed {seed}, {knee}: {used:.3} used, {above:.3} of the time far above");
            println!("{told}");
            assert!(used >= 0.95 && above <= 0.05, "{told}");
        }
    }
}

/// An overload that was there from the beginning is seen in the end: half as many are as good. Target 90 s: missed, it takes 138. The first
/// look takes 20 s and is held against a mean that still rises, and no next one comes before four times that.
#[test]
fn ease_is_not_what_an_overload_makes_of_it() {
    let mut model = Model::new(settings(2, 500, 1000), 10.0);
    model.pass(150.0, 1e6);
    model.is(10.0, 25.0);
}

/// One of which nobody asks for more than its limit has no reason to look. Where it is overloaded all the same, its next pause shows what ease is.
#[test]
fn an_overload_that_holds_nobody_up_is_seen_after_a_pause() {
    let mut model = Model::new(settings(2, 500, 1000), 10.0);
    model.pass(120.0, 200.0);
    model.is(400.0, 1000.0);
    model.pass(30.0, 8.0);
    model.pass(30.0, 200.0);
    model.is(10.0, 25.0);
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
    // With half as many no fewer are lost: it is not their number.
    check(0.3, 40.0, 200.0);
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

/// One that begins so deep in an overload that nobody is answered in time comes out of it: who is lost is not taken for fast, nor what
/// remains for ease.
#[test]
fn deadlines_do_not_hide_an_overload() {
    let mut model = Model::new(settings(2, 500, 1000), 10.0);
    model.deadline = 20.0;
    model.pass(90.0, 1e6);
    model.is(10.0, 25.0);
}

/// Tunnels do not end because nobody comes: a look that waits for them is given up soon, and the next is later.
#[test]
fn a_look_does_not_wait_for_tunnels() {
    let mut model = Model::new(settings(5, 200, 200), 1e9);
    model.stay = 150.0;
    let ticks = (0..600).filter(|_| model.pass(0.1, 1e6) <= 150.0);
    let shut = ticks.count();
    assert!((1..=60).contains(&shut), "shut for {shut} of 600 ticks");
}

/// Where answers take a second, a look takes ten: most of the time there is none.
#[test]
fn looks_are_rare_where_answers_are_slow() {
    let mut model = Model::new(settings(5, 20, 20), 1e9);
    model.ease = 20.0;
    let looking = (0..1000).filter(|_| model.pass(0.1, 1e6) < 20.0).count();
    assert!(
        (100..=300).contains(&looking),
        "{looking} of 1000 ticks with half"
    );
}

/// Not while too many others do.
#[test]
fn it_looks_only_where_it_may() {
    let worst = |may_look: bool| {
        let mut model = Model::new(settings(5, 100, 100), 1e9);
        model.may_look = may_look;
        model.pass(60.0, 1e6)
    };
    assert!((worst(true) - 50.0).abs() < 1e-9, "{}", worst(true));
    assert!((worst(false) - 100.0).abs() < 1e-9, "{}", worst(false));
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
            assert!(
                limit.carried().ease.is_none_or(|ease| ease > 0.0),
                "{carried:?}"
            );
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
            squares: took * took * answers as f64,
            lost: 0,
            most: 10,
        };
        let around = Around {
            in_flight: 10,
            latency: Duration::from_secs(5),
            may_look: true,
        };
        model.limit.tick(heard, around, &model.settings, model.now);
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

/// Of tunnels come heads, which are too few to know a class by, and then nothing: those that are full of them let more in, until enough is known.
#[test]
fn what_is_answered_and_does_not_end_fills_no_limit_for_ever() {
    let after = |latency: u64, there: u32, seconds: u32| {
        let settings = settings(10, 20, 1000);
        let mut now = Instant::from_nanos(1_000_000_000);
        let mut limit = Limit::new(&settings, now);
        for _ in 0..seconds * 10 {
            now = now + TICK;
            let around = Around {
                in_flight: limit.in_use().min(there),
                latency: Duration::from_millis(latency),
                may_look: true,
            };
            limit.tick(Heard::default(), around, &settings, now);
        }
        limit.in_use()
    };
    assert_eq!(after(5, 1_000, 1), 20);
    assert_eq!(after(5, 1_000, 2), 40);
    assert_eq!(after(5, 1_000, 60), 160, "what is known by then is heeded");
    assert_eq!(after(5, 19, 60), 20, "nobody was held up");
    assert_eq!(after(0, 1_000, 60), 20, "it has not answered");
    // Those that end would have told.
    assert_eq!(after(1_000, 1_000, 40), 20);
}
