use std::time::Duration;

use std::net::Ipv4Addr;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::event::{Event, Listener};
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_config::{Source, load};
use evenkeel_proxy::observation::{HEAD_BOUNDS, Observation};
use evenkeel_proxy::reason::Reason;

use super::*;

struct Deaf;

impl Listener for Deaf {
    fn hear(&self, _: &Event) {}
}

/// Backends that take so many times 20 ms, and of whose answers such a share fails.
#[derive(Clone, Copy)]
struct Is(f64, f64);

const FINE: Is = Is(1.0, 0.0);
const SLOW: Is = Is(2.0, 0.0);

/// A service over virtual minutes, its backends `b0` on.
struct World {
    live: Live,
    adjuster: Adjuster,
    now: Instant,
    chance: fastrand::Rng,
}

const BEGAN: u64 = 1_795_305_600;

fn plan(service: &str, backends: &[&str]) -> evenkeel_config::Plan {
    let mut members = String::new();
    for (port, id) in (1..).zip(backends) {
        members += &format!("{{ id: {id}, address: \"127.0.0.1:{port}\" }}, ");
    }
    let text = format!(
        "listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ {service}, breaker: off, backends: [{members}] }} }}\nrules: [{{ forward: api }}]\n"
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

const FOUR: [&str; 4] = ["b0", "b1", "b2", "b3"];
const ADJUSTED: &str = "policy: round_robin, adjust: on";

impl World {
    fn new(seed: u64, service: &str, backends: &[&str]) -> Self {
        println!("seed {seed}");
        let events: Arc<dyn Listener> = Arc::new(Deaf);
        let now = Instant::ZERO + Duration::from_secs(1);
        let world = Self {
            live: Live::join(plan(service, backends), None, 1, &events, now),
            adjuster: Adjuster::default(),
            now,
            chance: fastrand::Rng::with_seed(seed),
        };
        assert_eq!(world.turn().len(), 0);
        world
    }

    fn reload(&mut self, service: &str, backends: &[&str]) {
        let events: Arc<dyn Listener> = Arc::new(Deaf);
        let next = plan(service, backends);
        self.live = Live::join(next, Some(&self.live), 1, &events, self.now);
    }

    fn at(&self) -> Moment {
        Moment::from_millis(BEGAN * 1000 + self.now.as_nanos() / 1_000_000)
    }

    fn turn(&self) -> Vec<News> {
        self.adjuster.turn(&self.live, self.now, || self.at())
    }

    fn ask_now(&self) -> Result<(u64, Vec<News>), Refused> {
        self.adjuster
            .step_at(&self.live, "api", self.now, self.at())
    }

    fn service(&self) -> &LiveService {
        self.live.service("api").unwrap()
    }

    /// So many exchanges.
    fn exchanges(&mut self, count: u64, backends: &[Is]) {
        let live = self.live.service("api").unwrap();
        for _ in 0..count {
            let ask = Ask::new(self.chance.u64(..)).key(self.chance.u64(..));
            let mut pick = live.state.service.pick(&ask, self.now).unwrap();
            let id = pick.backend().id().clone();
            let Is(slow, fails) = backends[id.as_str()[1..].parse::<usize>().unwrap()];
            let normal = (0..12).map(|_| self.chance.f64()).sum::<f64>() - 6.0;
            let took = Duration::from_secs_f64(0.02 * slow * (0.3 * normal).exp());
            let reached = live.state.reached(&id).unwrap();
            reached.heads.row().observe(&HEAD_BOUNDS, took);
            let mut seen = Observation::begin(Ipv4Addr::LOCALHOST.into());
            let verdict = if self.chance.f64() < fails {
                (seen.status, seen.reason) = (500, Reason::Served);
                Verdict::Failure(Fault::Status(500))
            } else {
                (seen.status, seen.reason) = (200, Reason::Served);
                Verdict::Success
            };
            pick.answered(verdict, self.now);
            pick.finish(Outcome::Completed, self.now);
            live.state.counters[0].observe(&seen);
        }
    }

    /// A minute of 2000 exchanges, and what is told at its end.
    fn minute(&mut self, backends: &[Is]) -> Vec<News> {
        self.exchanges(2000, backends);
        self.now = self.now + Duration::from_secs(60);
        self.service().state.service.tick(self.now);
        self.turn()
    }

    /// The factor of the first, after each of so many minutes.
    fn minutes(&mut self, count: usize, backends: &[Is]) -> Vec<f32> {
        let each = |_| {
            self.minute(backends);
            self.factor("b0")
        };
        (0..count).map(each).collect()
    }

    fn factor(&self, id: &str) -> f32 {
        let seen = self.service().state.service.snapshot(self.now);
        seen.backend(id).unwrap().factor
    }
}

fn first_slow(count: usize) -> Vec<Is> {
    let mut all = vec![FINE; count];
    all[0] = SLOW;
    all
}

/// Through the buckets that exchanges fill, and the core's own picks.
#[test]
fn a_backend_twice_as_slow_settles_and_returns() {
    for seed in 1..=10 {
        let mut world = World::new(seed, ADJUSTED, &FOUR);
        let calm = world.minutes(5, &[FINE; 4]);
        assert!(
            calm.iter().all(|one| (one - 1.0).abs() < 1e-6),
            "nothing is wrong: {calm:?}"
        );
        let factors = world.minutes(30, &first_slow(4));
        let end = factors[20..].iter().sum::<f32>() / 10.0;
        assert!((0.42..0.6).contains(&end), "{factors:?}");
        for factor in &factors[7..] {
            assert!((factor / end - 1.0).abs() <= 0.1, "{end}: {factors:?}");
        }
        for two in factors.windows(2) {
            assert!((0.899..1.101).contains(&(two[1] / two[0])), "{factors:?}");
        }
        let back = world.minutes(20, &[FINE; 4]);
        assert!((back[19] - 1.0).abs() < 0.08, "it returns: {back:?}");
        assert!(back.iter().all(|one| *one <= 1.1), "{back:?}");
    }
}

#[test]
fn who_fails_more_loses_to_the_least_and_comes_back_slowly() {
    for seed in 1..=10 {
        let mut world = World::new(seed, ADJUSTED, &FOUR);
        world.minutes(3, &[FINE; 4]);
        let gray = [Is(1.0, 0.2), FINE, FINE, FINE];
        let down = world.minutes(20, &gray);
        assert!((down[19] - 0.25).abs() < 0.02, "{down:?}");
        let up = world.minutes(40, &[FINE; 4]);
        assert!(
            up.windows(2).all(|two| two[1] / two[0] <= 1.051),
            "slowly: {up:?}"
        );
        assert!(up[39] > 0.9, "{up:?}");
    }
}

#[test]
fn each_step_is_told_with_its_reason_and_then_with_its_effect() {
    let mut world = World::new(1, ADJUSTED, &FOUR);
    world.minutes(3, &[FINE; 4]);
    let news = world.minute(&first_slow(4));
    let [News::Adjusted(service, one)] = &news[..] else {
        panic!("{news:?}");
    };
    assert_eq!((&**service, &*one.backend), ("api", "b0"));
    assert!((one.old - 1.0).abs() < 1e-9 && (0.9..1.0).contains(&one.new));
    assert!(
        matches!(one.why, Why::Slower(times) if (1.6..2.4).contains(&times)),
        "{one:?}"
    );
    let news = world.minute(&first_slow(4));
    assert!(
        matches!(&news[..], [News::Judged(_, effect), News::Adjusted(..)] if effect.kept && effect.p99_after.is_some()),
        "{news:?}"
    );
    // Those who get more cannot bear it: it is put back.
    let overloaded = [SLOW, Is(1.0, 0.04), Is(1.0, 0.04), Is(1.0, 0.04)];
    let before = world.factor("b0");
    let news = world.minute(&overloaded);
    assert!(
        matches!(&news[..], [News::Judged(_, effect), News::Adjusted(_, one)] if !effect.kept && one.why == Why::Undone),
        "{news:?}"
    );
    assert!(world.factor("b0") > before);
    let state = world.adjuster.state();
    let one = &state.services["api"];
    let effects: Vec<_> = one
        .steps
        .iter()
        .map(|step| step.effect.as_ref().map(|effect| effect.kept))
        .collect();
    assert_eq!(effects, [Some(true), Some(false), None]);
    let expect = AdjustCounts {
        moved: 3,
        kept: 1,
        undone: 1,
    };
    assert_eq!((one.counts, one.frozen), (expect, Some(Frozen::Undone)));
}

/// A policy that looks at latency needs no help, and keys stay where they are: what would be done is remembered, and nothing is.
#[test]
fn under_policies_of_latency_it_observes() {
    for policy in ["adaptive", "least_time", "maglev"] {
        let service = format!("policy: {policy}, adjust: on");
        let mut world = World::new(1, &service, &FOUR);
        world.minutes(3, &[FINE; 4]);
        let slow = [Is(4.0, 0.0), FINE, FINE, FINE];
        for _ in 0..5 {
            assert_eq!(world.minute(&slow).len(), 0, "{policy}");
            assert!((world.factor("b0") - 1.0).abs() < 1e-6, "{policy}");
        }
        let state = world.adjuster.state();
        let one = &state.services["api"];
        let step = one.steps.back().unwrap();
        assert!(!step.adjustments[0].applied, "{policy}");
        assert_eq!(step.adjustments[0].backend, "b0");
        assert_eq!(one.counts, AdjustCounts::default());
    }
}

#[test]
fn factors_are_kept_over_reloads_and_go_with_their_backend() {
    let mut world = World::new(1, ADJUSTED, &FOUR);
    world.minutes(3, &[FINE; 4]);
    let lowered = *world.minutes(4, &first_slow(4)).last().unwrap();
    assert!(lowered < 0.8);
    world.reload(
        "policy: round_robin, adjust: { interval: 50s }, retry: off",
        &FOUR,
    );
    world.turn();
    assert!((world.factor("b0") - lowered).abs() < 1e-6);
    // Under a policy that acts too, and no longer under one that does not.
    world.reload("policy: random, adjust: on", &FOUR);
    world.turn();
    assert!((world.factor("b0") - lowered).abs() < 1e-6);
    world.reload("policy: adaptive, adjust: on", &FOUR);
    world.turn();
    assert!((world.factor("b0") - 1.0).abs() < 1e-6);
    // Who comes back within an interval is somebody else.
    world.reload(ADJUSTED, &FOUR);
    let again = *world.minutes(4, &first_slow(4)).last().unwrap();
    assert!(again < 0.8);
    world.reload(ADJUSTED, &FOUR[1..]);
    world.reload(ADJUSTED, &FOUR);
    assert!((world.factor("b0") - 1.0).abs() < 1e-6);
    world.minute(&[FINE; 4]);
    assert!((world.factor("b0") - 1.0).abs() < 1e-6);
    // Off puts all back.
    world.minutes(5, &first_slow(4));
    assert!(world.factor("b0") < 0.9);
    world.reload("policy: round_robin", &FOUR);
    world.turn();
    assert!((world.factor("b0") - 1.0).abs() < 1e-6);
    assert_eq!(world.adjuster.state().services.len(), 0);
}

#[test]
fn one_step_may_be_had_ahead_of_its_time() {
    let mut world = World::new(1, ADJUSTED, &FOUR);
    world.minutes(3, &[FINE; 4]);
    world.exchanges(2000, &first_slow(4));
    world.now = world.now + Duration::from_secs(20);
    let (moved, news) = world.ask_now().unwrap();
    assert_eq!((moved, news.len()), (1, 1), "{news:?}");
    let lowered = world.factor("b0");
    let wait = Duration::from_secs(40);
    assert_eq!(world.ask_now().unwrap_err(), Refused::TooSoon(wait));
    assert!((world.factor("b0") - lowered).abs() < 1e-6);
    world.exchanges(2000, &first_slow(4));
    assert_eq!(world.turn().len(), 0, "not before it is due");
    world.now = world.now + wait;
    assert_eq!(world.turn().len(), 2, "and then it is");
    assert!(world.ask_now().is_ok(), "then one may be had again");
    world.reload("policy: round_robin", &FOUR);
    assert!(matches!(world.ask_now(), Err(Refused::NotOfThese(_))));
}

#[test]
fn what_was_learned_comes_back_in_another_process() {
    let mut world = World::new(1, ADJUSTED, &FOUR);
    world.minutes(3, &[FINE; 4]);
    world.minutes(8, &first_slow(4));
    let lowered = world.factor("b0");
    let kept = world.adjuster.bytes();
    let mut next = World::new(2, "policy: round_robin", &FOUR);
    for (name, bytes) in &kept {
        next.adjuster.take_over(name, bytes).unwrap();
    }
    assert!(next.adjuster.take_over("api", &kept[0].1[1..]).is_err());
    next.reload(ADJUSTED, &FOUR);
    next.turn();
    assert!((next.factor("b0") - lowered).abs() < 1e-6);
    let state = next.adjuster.state();
    assert_eq!(state.services["api"].controller.learning().version, 7);
}

/// A service without `adjust` takes nothing, and more backends than there is room for are left as they are.
#[test]
fn there_is_room_for_so_many() {
    let mut world = World::new(1, "policy: round_robin", &FOUR);
    world.minute(&[FINE; 4]);
    assert_eq!(world.adjuster.state().services.len(), 0);
    world.reload(ADJUSTED, &FOUR);
    world.turn();
    assert_eq!(world.adjuster.state().taken, 4);
    world.minutes(5, &first_slow(4));
    assert!(world.factor("b0") < 0.9);
    let names: Vec<String> = (0..=MOST_ADJUSTED).map(|at| format!("b{at}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    world.reload(ADJUSTED, &names);
    world.turn();
    assert_eq!(world.adjuster.state().services.len(), 0);
    assert!((world.factor("b0") - 1.0).abs() < 1e-6);
    assert!(matches!(world.ask_now(), Err(Refused::NotOfThese(_))));
}

/// Off unless it is said; then tried, and taken back where it did not help, or kept.
#[test]
fn another_policy_is_tried_while_too_much_fails() {
    let with = "policy: random, adjust: { policy: { try: [least_connections, round_robin], threshold: 95%, patience: 3, lasts: 2, gain: 5%, rest: 4, most: 2 } }";
    let failing = [Is(1.0, 0.2); 4];
    let turns = |world: &mut World, minutes: usize, backends: &[Is]| {
        let mut turns = Vec::new();
        for minute in 1..=minutes {
            for news in world.minute(backends) {
                let News::Trial(_, turn) = news else { continue };
                // As the control plane does it.
                if let Turn::Try(policy, _) | Turn::Back(policy, _) = &turn {
                    let next = with.replacen("random", policy, 1);
                    world.reload(&next, &FOUR);
                }
                turns.push((minute, turn));
            }
        }
        turns
    };
    let mut off = World::new(1, ADJUSTED, &FOUR);
    assert_eq!(turns(&mut off, 10, &failing), []);
    let mut world = World::new(1, with, &FOUR);
    assert_eq!(turns(&mut world, 10, &[FINE; 4]), [], "nothing is wrong");
    let [own, least, round] = ["random", "least_connections", "round_robin"].map(PolicyName::from);
    let expect = [
        (3, Turn::Try(least.clone(), own.clone())),
        (5, Turn::Back(own.clone(), least.clone())),
        (12, Turn::Try(round.clone(), own.clone())),
        (14, Turn::Back(own.clone(), round)),
    ];
    assert_eq!(turns(&mut world, 60, &failing), expect, "and no more");
    // Another one, which helps.
    let mut world = World::new(1, with, &FOUR);
    assert_eq!(turns(&mut world, 3, &failing).len(), 1);
    let kept = turns(&mut world, 2, &[FINE; 4]);
    assert!(
        matches!(&kept[..], [(2, Turn::Keep(policy, _, after))] if *policy == least && *after > 0.99),
        "{kept:?}"
    );
    // Who is turned off, or leaves, while one runs has what was.
    let mut world = World::new(1, with, &FOUR);
    assert_eq!(turns(&mut world, 3, &failing).len(), 1);
    let ended = world.adjuster.end_trials();
    assert!(
        matches!(&ended[..], [News::Trial(_, Turn::Back(policy, _))] if *policy == own),
        "{ended:?}"
    );
    assert_eq!(world.adjuster.end_trials().len(), 0);
    let mut world = World::new(1, with, &FOUR);
    assert_eq!(turns(&mut world, 3, &failing).len(), 1);
    world.reload("policy: least_connections", &FOUR);
    let ended = world.turn();
    assert!(
        matches!(&ended[..], [News::Trial(_, Turn::Back(policy, _))] if *policy == own),
        "{ended:?}"
    );
}
