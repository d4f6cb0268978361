//! Who waits for a full service: order, bounds, deadlines, and that nobody waits while there is room.
#![cfg(not(shuttle))]
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{Admin, BackendId, BackendSpec};
use evenkeel_balance::event::{Event, EventKind, Listener};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::policy::{Candidates, Policy};
use evenkeel_balance::queue::{Entry, Waiting};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{OnAllDown, PolicyChoice, QueueSettings, ServiceSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Times that somebody was woken.
#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Asker {
    waiting: Option<Waiting>,
    bell: Arc<Bell>,
    pick: Option<Pick>,
    refused: Option<Refusal>,
}

/// A service over virtual time, and those who ask it, by name.
struct Stage {
    service: Service,
    now: Instant,
    askers: BTreeMap<char, Asker>,
}

const TIMEOUT: Duration = Duration::from_secs(1);

fn settings(limit: u32, length: u32) -> ServiceSettings {
    ServiceSettings::with_policy(PolicyChoice::LeastConnections)
        .max_in_flight(limit)
        .queue((length > 0).then_some(QueueSettings::default().length(length).timeout(TIMEOUT)))
        .slow_start(Duration::ZERO)
}

impl Stage {
    /// Backends as `name:limit`, 0 for none.
    fn new(settings: ServiceSettings, backends: &str) -> Self {
        let specs = specs(backends);
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            service: Service::new("queue", settings, specs, Arc::new(()), now).unwrap(),
            now,
            askers: BTreeMap::new(),
        }
    }

    fn ask(&mut self, name: char, ask: Ask<'_>) {
        let entry = (self.service).pick_or_wait(&ask, self.now + TIMEOUT * 9, self.now);
        let mut asker = Asker {
            waiting: None,
            bell: Arc::default(),
            pick: None,
            refused: None,
        };
        match entry {
            Ok(Entry::Picked(pick)) => asker.pick = Some(pick),
            Ok(Entry::Waiting(waiting)) => asker.waiting = Some(waiting),
            Err(refusal) => asker.refused = Some(refusal),
        }
        self.askers.insert(name, asker);
        self.look(name);
    }

    fn look(&mut self, name: char) {
        let asker = self.askers.get_mut(&name).unwrap();
        let waker = Waker::from(asker.bell.clone());
        if let Some(waiting) = &mut asker.waiting
            && let Poll::Ready(called) = waiting.poll(&waker, self.now)
        {
            asker.waiting = None;
            match called {
                Ok(pick) => asker.pick = Some(pick.lasting()),
                Err(refusal) => asker.refused = Some(refusal),
            }
        }
    }

    /// Those who were woken look, and nobody else: a wake-up that is missing shows.
    fn answer(&mut self) {
        let names: Vec<char> = self.askers.keys().copied().collect();
        for name in names {
            if self.askers[&name].bell.0.swap(0, Ordering::Relaxed) > 0 {
                self.look(name);
            }
        }
    }

    /// One step: `a` asks, `A` asks in class 5, `+1.5` lets time pass, `!x` finishes, `-x` drops or leaves, `~x` looks, `=2` sets the
    /// limit, `@9:0.5` the queue's length and time, `*x:1` the backends.
    fn step(&mut self, step: &str) {
        let name = |at: usize| step.chars().nth(at).unwrap();
        let chance = u64::from(name(0) as u32);
        match name(0) {
            '+' => self.now = self.now + Duration::from_secs_f64(step[1..].parse().unwrap()),
            '!' => {
                let asker = self.askers.get_mut(&name(1)).unwrap();
                let pick = asker.pick.take().unwrap();
                pick.finish(Outcome::Completed, self.now);
            }
            '-' => drop(self.askers.remove(&name(1))),
            '~' => self.look(name(1)),
            '=' => {
                let limit = step[1..].parse().unwrap();
                let length = self
                    .service
                    .settings()
                    .queue
                    .map_or(0, |queue| queue.length);
                self.service.set_settings(settings(limit, length), self.now);
            }
            '@' => {
                let (length, timeout) = step[1..].split_once(':').unwrap();
                let mut settings = self.service.settings();
                settings.queue = Some(
                    QueueSettings::default()
                        .length(length.parse().unwrap())
                        .timeout(Duration::from_secs_f64(timeout.parse().unwrap())),
                );
                settings.queue = settings.queue.filter(|queue| queue.length > 0);
                self.service.set_settings(settings, self.now);
            }
            '*' => self.service.replace(specs(&step[1..]), self.now).unwrap(),
            asker if asker.is_uppercase() => {
                self.ask(asker, Ask::new(chance).queue_class(5));
            }
            asker => self.ask(asker, Ask::new(chance)),
        }
        self.answer();
    }

    /// Who has a pick, who waits, who was refused.
    fn shown(&self) -> String {
        let mut lists = [String::new(), String::new(), String::new()];
        let mut words = String::new();
        for (name, asker) in &self.askers {
            match (&asker.pick, &asker.waiting, asker.refused) {
                (Some(_), ..) => lists[0].push(*name),
                (_, Some(_), _) => lists[1].push(*name),
                (.., Some(refusal)) => {
                    words.push_str(&format!(" {name}={}", refusal.word()));
                }
                _ => {}
            }
        }
        format!("{}|{}|{}", lists[0], lists[1], words.trim_start())
    }
}

fn specs(backends: &str) -> Vec<BackendSpec> {
    let each = backends.split(',').filter(|one| !one.is_empty());
    each.map(|one| {
        let (name, limit) = one.split_once(':').unwrap();
        BackendSpec::new(name).max_in_flight(limit.parse().unwrap())
    })
    .collect()
}

/// Steps over a service with `limit` of its own and a queue of `length`; then who has a pick, who waits, who was refused.
fn check(limit: u32, length: u32, backends: &str, steps: &str, expect: &str) {
    let mut stage = Stage::new(settings(limit, length), backends);
    for step in steps.split_whitespace() {
        stage.step(step);
        stage.service.laws().unwrap();
        law(&stage.service, stage.now);
    }
    assert_eq!(stage.shown(), expect, "{backends} limit {limit}: {steps}");
}

fn law(service: &Service, now: Instant) {
    let seen = service.snapshot(now);
    let queue = seen.queue;
    let ended = queue.served + queue.refused + queue.left + queue.waiting as u64;
    assert_eq!(queue.entered, ended, "{queue:?}");
    if let Some((taken, most)) = seen.places {
        let in_flight: u32 = seen.backends.iter().map(|one| one.counts.in_flight).sum();
        assert!(
            in_flight <= taken || taken > most,
            "{taken} places, {in_flight} in flight"
        );
    }
}

#[test]
fn who_is_full_refuses_or_lets_wait() {
    // Without a queue, at the service's limit and at its backends'.
    check(2, 0, "x:0", "a b c", "ab||c=all_full");
    check(0, 0, "x:1,y:1", "a b c", "ab||c=all_full");
    // With one.
    check(2, 9, "x:0", "a b c", "ab|c|");
    check(0, 9, "x:1,y:1", "a b c", "ab|c|");
    // Nobody is waited for who cannot come.
    check(2, 9, "", "a", "||a=no_backends");
    // Both limits hold.
    check(2, 9, "x:1,y:5", "a b c", "ab|c|");
    check(5, 9, "x:1,y:1", "a b c d", "ab|cd|");
}

#[test]
fn a_place_that_comes_free_goes_to_who_came_first() {
    check(1, 9, "x:0", "a b c !a", "b|c|");
    check(1, 9, "x:0", "a b c !a !b", "c||");
    check(0, 9, "x:1", "a b c -a", "b|c|");
    check(1, 9, "x:0", "a b c -a -b", "c||");
    // Who leaves while it waits takes nobody's place along.
    check(1, 9, "x:0", "a b c -b !a", "c||");
    // Who comes later does not overtake.
    check(2, 9, "x:0", "a b c !a d", "bc|d|");
}

#[test]
fn a_lower_class_goes_first() {
    check(1, 9, "x:0", "a b C d E !a", "C|Ebd|");
    check(1, 9, "x:0", "a b C d E !a !C !E", "b|d|");
    // To a full queue it comes in the place of the last, who is refused; one of the same class is refused itself.
    check(1, 2, "x:0", "a b c d", "a|bc|d=queue_full");
    check(1, 2, "x:0", "a b c D", "a|Db|c=queue_full");
    check(1, 2, "x:0", "a B C d", "a|BC|d=queue_full");
}

#[test]
fn waiting_ends() {
    check(1, 9, "x:0", "a b +0.9 ~b", "a|b|");
    check(1, 9, "x:0", "a b +1 ~b", "a||b=queue_timeout");
    // Whose time is over is not served, though it has not looked.
    check(1, 9, "x:0", "a b +0.5 c +0.5 !a", "c||b=queue_timeout");
}

/// Who waits waits by the settings that are in force.
#[test]
fn other_settings_are_followed_by_who_waits() {
    check(1, 9, "x:0", "a b c @0:1", "a||b=all_full c=all_full");
    check(0, 9, "x:1", "a b c @0:1", "a||b=all_full c=all_full");
    check(1, 9, "x:0", "a b c D @2:1", "a|Db|c=queue_full");
    check(
        1,
        9,
        "x:0",
        "a b +0.4 c +0.2 @9:0.5 ~b ~c",
        "a|c|b=queue_timeout",
    );
    check(
        1,
        9,
        "x:0",
        "a b +0.4 c +0.2 @9:0.5 +0.3 ~c",
        "a||b=queue_timeout c=queue_timeout",
    );
    check(1, 9, "x:0", "a b @9:2 +1.9 ~b !a", "b||");
    check(1, 9, "x:0", "a b @9:2 +2 ~b", "a||b=queue_timeout");
    // No longer than its caller waits.
    check(1, 9, "x:0", "a b @9:100 +8.9 ~b", "a|b|");
    check(1, 9, "x:0", "a b @9:100 +9 ~b", "a||b=queue_timeout");
    // What comes free by the same change is theirs first.
    check(1, 9, "x:0", "a b c @9:1 =2 @0:1", "ab||c=all_full");
}

#[test]
fn whatever_makes_room_lets_go() {
    check(1, 9, "x:0", "a b c =2", "ab|c|");
    check(1, 9, "x:0", "a b c =0", "abc||");
    check(2, 9, "x:0", "a b c =1 !a", "b|c|");
    check(0, 9, "x:1", "a b c *x:1,y:1", "ab|c|");
    check(0, 9, "x:1", "a b c *x:2", "ab|c|");
    // Nobody is left to wait for.
    check(0, 9, "x:1", "a b c *", "a||b=no_backends c=no_backends");
}

#[test]
fn a_backend_that_comes_back_is_room() {
    let mut stage = Stage::new(settings(0, 9).on_all_down(OnAllDown::FailClosed), "x:1,y:1");
    let (y, now) = (BackendId::from("y"), stage.now);
    stage.service.set_admin(&y, Admin::Draining, now).unwrap();
    stage.step("a");
    stage.step("b");
    assert_eq!(stage.shown(), "a|b|");
    stage.service.set_admin(&y, Admin::Enabled, now).unwrap();
    stage.answer();
    assert_eq!(stage.shown(), "ab||");
}

#[test]
fn a_breaker_that_closes_is_room() {
    let mut stage = Stage::new(settings(0, 9), "x:1,y:1");
    let only = [BackendId::from("y")];
    for _ in 0..5 {
        let ask = Ask::new(1).subset(&only);
        let mut pick = stage.service.pick(&ask, stage.now).unwrap();
        pick.answered(Verdict::Failure(Fault::Reset), stage.now);
        pick.finish(Outcome::Broken(Fault::Reset), stage.now);
    }
    stage.service.tick(stage.now);
    stage.step("a");
    stage.step("b");
    assert_eq!(stage.shown(), "a|b|", "y is ejected");
    stage
        .service
        .mark(&only[0], Some(true), None, stage.now)
        .unwrap();
    stage.answer();
    assert_eq!(stage.shown(), "ab||");
}

/// Room that the first has no use for is not kept from those behind, nor from who does not wait at all.
#[test]
fn room_that_the_first_cannot_use_goes_on() {
    let mut stage = Stage::new(settings(0, 9), "x:1,y:2");
    stage.step("a");
    stage.step("b");
    stage.step("c");
    let (x, y) = ([BackendId::from("x")], [BackendId::from("y")]);
    stage.ask('d', Ask::new(1).subset(&x));
    stage.ask('e', Ask::new(1).subset(&y));
    assert_eq!(stage.shown(), "abc|de|");
    let on_y = *stage
        .askers
        .iter()
        .find(|(_, asker)| (asker.pick.as_ref()).is_some_and(|pick| pick.backend().id() == &y[0]))
        .unwrap()
        .0;
    stage.step(&format!("!{on_y}"));
    assert!(stage.askers[&'e'].pick.is_some() && stage.askers[&'d'].waiting.is_some());
    stage.step("-e");
    let pick = stage.service.pick(&Ask::new(1), stage.now).unwrap();
    assert_eq!(pick.backend().id(), &y[0]);
}

#[test]
fn one_place_wakes_one() {
    let mut stage = Stage::new(settings(1, 9), "x:0");
    for step in ["a", "b", "c", "d"] {
        stage.step(step);
    }
    let pick = stage.askers.get_mut(&'a').unwrap().pick.take().unwrap();
    pick.finish(Outcome::Completed, stage.now);
    let woken = |name: char| stage.askers[&name].bell.0.load(Ordering::Relaxed);
    assert_eq!(['b', 'c', 'd'].map(woken), [1, 0, 0]);
}

/// What was called, and left before it looked, passes the place on.
#[test]
fn a_turn_that_is_not_taken_is_passed_on() {
    let mut stage = Stage::new(settings(1, 9), "x:0");
    for step in ["a", "b", "c"] {
        stage.step(step);
    }
    let pick = stage.askers.get_mut(&'a').unwrap().pick.take().unwrap();
    drop(pick);
    drop(stage.askers.remove(&'b'));
    stage.answer();
    assert_eq!(stage.shown(), "c||");
    let queue = stage.service.snapshot(stage.now).queue;
    assert_eq!((queue.entered, queue.served, queue.left), (2, 2, 0));
    stage.service.laws().unwrap();
}

#[test]
fn what_is_refused_is_counted_once() {
    let mut stage = Stage::new(settings(1, 1), "x:0");
    for step in ["a", "b", "c", "+1", "~b"] {
        stage.step(step);
    }
    let counts = Refusal::ALL.map(|refusal| stage.service.refusals(refusal));
    assert_eq!(counts, [0, 0, 0, 0, 0, 1, 1]);
}

#[test]
fn explaining_says_that_it_would_wait() {
    let mut stage = Stage::new(settings(1, 9), "x:0");
    stage.step("a");
    stage.step("b");
    let told = stage.service.explain(&Ask::new(1), stage.now);
    assert_eq!(told.result, Err(Refusal::AllFull));
    assert_eq!(told.queue.unwrap().0, 1);
    assert_eq!(stage.service.snapshot(stage.now).places, Some((1, 1)));
}

/// A policy that looks at its service each time and breaks at its second choice, and who hears of that and does what it likes.
#[derive(Default)]
struct Meddles {
    service: Mutex<Option<Service>>,
    choices: AtomicU32,
    heard: Mutex<Vec<String>>,
}

const THEN: Instant = Instant::from_nanos(2_000_000_000);

impl Meddles {
    fn service(&self) -> Option<Service> {
        self.service.lock().unwrap().clone()
    }

    fn heard(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }
}

impl Policy for Meddles {
    fn name(&self) -> &'static str {
        "meddles"
    }

    fn choose(&self, view: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> {
        if let Some(service) = self.service() {
            let waiting = service.snapshot(THEN).queue.waiting;
            self.heard(format!("chooses, {waiting} wait"));
        }
        let choices = self.choices.fetch_add(1, Ordering::Relaxed);
        assert_ne!(choices, 1, "on purpose");
        view.iter().next()
    }
}

impl Listener for Meddles {
    fn hear(&self, event: &Event) {
        let (Some(service), EventKind::PolicyFailed { .. }) = (self.service(), &event.kind) else {
            return;
        };
        let queue = service.snapshot(THEN).queue;
        let refused = service.pick(&Ask::new(1), THEN).unwrap_err();
        let weight = evenkeel_balance::backend::Weight::ONE;
        service
            .set_weight(&BackendId::from("x"), weight, THEN)
            .unwrap();
        let (served, waiting) = (queue.served, queue.waiting);
        self.heard(format!(
            "failed, {served} served, {waiting} wait, {refused:?}"
        ));
    }

    fn tick_wanted(&self) {
        if let Some(service) = self.service() {
            service.tick(THEN);
            self.heard("ticked".to_owned());
        }
    }
}

/// What breaks while those who wait are chosen for is told when the line is held no more: a listener may ask for it.
#[test]
fn a_policy_that_breaks_under_the_line_is_told_outside_it() {
    let (done, waits) = sync_channel(1);
    std::thread::spawn(move || {
        let meddles = Arc::new(Meddles::default());
        let settings = settings(1, 9).policy(PolicyChoice::Custom(meddles.clone()));
        let backends = specs("x:0");
        let service = Service::new("queue", settings, backends, meddles.clone(), THEN).unwrap();
        *meddles.service.lock().unwrap() = Some(service.clone());
        let ask = |chance| service.pick_or_wait(&Ask::new(chance), THEN + TIMEOUT, THEN);
        let (Ok(Entry::Picked(first)), Ok(Entry::Waiting(mut second)), Ok(Entry::Waiting(third))) =
            (ask(1), ask(2), ask(3))
        else {
            panic!("one place, and two wait for it");
        };
        first.finish(Outcome::Completed, THEN);
        let Poll::Ready(Ok(pick)) = second.poll(Waker::noop(), THEN) else {
            panic!("the stand-in chose for it");
        };
        drop((pick, third));
        service.laws().unwrap();
        let _ = done.send(std::mem::take(&mut *meddles.heard.lock().unwrap()));
    });
    // Nothing is decided by the time: it only ends a test that hangs.
    let heard = waits.recv_timeout(Duration::from_secs(10));
    let heard = heard.expect("a lock was asked for by who held it");
    assert_eq!(
        heard,
        [
            "chooses, 0 wait",
            "chooses, 2 wait",
            "failed, 1 served, 1 wait, AllFull",
            "ticked"
        ]
    );
}

#[test]
fn a_worker_holds_what_it_waited_for_as_its_own() {
    let stage = Stage::new(settings(1, 9), "x:0");
    let handle = stage.service.handle(7);
    let until = stage.now + TIMEOUT;
    let Ok(Entry::Picked(first)) = handle.pick_or_wait(&Ask::new(1), until, stage.now) else {
        panic!("there is room");
    };
    let Ok(Entry::Waiting(mut second)) = handle.pick_or_wait(&Ask::new(2), until, stage.now) else {
        panic!("it is full");
    };
    first.finish(Outcome::Completed, stage.now);
    let Poll::Ready(Ok(called)) = second.poll(Waker::noop(), stage.now) else {
        panic!("its turn");
    };
    let pick = handle.seat(called);
    assert_eq!(pick.backend().id().as_str(), "x");
    assert_eq!(
        handle.pick(&Ask::new(3), stage.now).unwrap_err(),
        Refusal::AllFull
    );
    pick.finish(Outcome::Completed, stage.now);
    drop(handle.pick(&Ask::new(3), stage.now).unwrap());
    stage.service.laws().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: RngSeed::Fixed(6), failure_persistence: None, ..ProptestConfig::default() })]

    /// Never above a limit, nobody waits while there is room, and of those who wait nobody is behind who came later in no better class.
    #[test]
    fn laws_of_the_queue(
        limit in 0_u32..5,
        length in 1_u32..6,
        own in prop::collection::vec(0_u32..3, 1..4),
        moves in prop::collection::vec((0_u8..8, 0_usize..12, 0_u16..3), 1..80),
    ) {
        // A first limit does not count what began before it.
        let limit = if limit == 0 { 1000 } else { limit };
        let backends: Vec<_> = own.iter().enumerate().map(|(at, own)| format!("{at}:{own}")).collect();
        let mut stage = Stage::new(settings(limit, length), &backends.join(","));
        let (mut came, mut lined): (u32, BTreeMap<char, (u16, u32)>) = (0, BTreeMap::new());
        let mut flew = 0;
        for (kind, which, class) in moves {
            came += 1;
            let name = char::from_u32(0x4E00 + came).unwrap();
            let of = |stage: &Stage, held: bool| {
                let named = stage.askers.iter().filter(|(_, asker)| match held {
                    true => asker.pick.is_some(),
                    false => asker.waiting.is_some(),
                });
                let names: Vec<char> = named.map(|(name, _)| *name).collect();
                names.get(which % names.len().max(1)).copied()
            };
            let had = lined.clone();
            match kind {
                0..=3 => {
                    stage.ask(name, Ask::new(u64::from(came)).queue_class(class));
                    lined.insert(name, (class, came));
                }
                4 | 5 => if let Some(held) = of(&stage, true) { stage.step(&format!("!{held}")) },
                6 => if let Some(held) = of(&stage, kind == 6 && class > 0) { stage.step(&format!("-{held}")) },
                _ => stage.step(&format!("={}", limit + u32::from(class))),
            }
            stage.answer();
            stage.service.laws().unwrap();
            law(&stage.service, stage.now);
            lined.retain(|name, _| stage.askers.get(name).is_some_and(|asker| asker.waiting.is_some()));
            prop_assert!(lined.len() <= length as usize);
            // Whoever was served of those who waited had nobody before him.
            let served = had.iter().filter(|(name, _)| stage.askers.get(name).is_some_and(|one| one.pick.is_some()));
            for (_, place) in served {
                prop_assert!(lined.values().all(|other| other > place), "{place:?} before {lined:?}");
            }
            let seen = stage.service.snapshot(stage.now);
            let most = seen.places.map_or(u32::MAX, |(_, most)| most);
            let flying: u32 = seen.backends.iter().map(|one| one.counts.in_flight).sum();
            // A limit that came down takes nothing back, and lets nobody in.
            prop_assert!(flying <= most.max(flew), "{flying} of {most}");
            flew = flying;
            for (one, own) in seen.backends.iter().zip(&own) {
                prop_assert!(*own == 0 || one.counts.in_flight <= *own);
            }
            let room = seen.backends.iter().zip(&own).any(|(one, own)| *own == 0 || one.counts.in_flight < *own);
            prop_assert!(lined.is_empty() || !room || flying >= most, "{} wait, {flying} of {most}", lined.len());
        }
    }
}
