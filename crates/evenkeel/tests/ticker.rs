//! The ticker under a paused clock: facts become standing at the right time, and the task ends with its balancer.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel::balance::ask::Ask as CoreAsk;
use evenkeel::balance::breaker::Gate;
use evenkeel::balance::policy::{Candidates, Policy};
use evenkeel::balance::standing::Standing;
use evenkeel::{
    Ask, BalancerSettings, Error, Fault, LoadBalancer, PolicyChoice, ServiceSettings, Tried,
};
use tokio::runtime::Handle;

const TWO: [&str; 2] = ["a:80", "b:80"];

fn settings() -> ServiceSettings {
    ServiceSettings::with_policy(PolicyChoice::RoundRobin)
}

fn standing(balancer: &LoadBalancer, id: &str) -> Standing {
    let group = balancer.group_snapshot("api").unwrap();
    group.backend(id).unwrap().standing
}

/// Sends `count` attempts to `id` that fail.
fn fail(balancer: &LoadBalancer, id: &str, count: usize) {
    let only = [id.into()];
    for _ in 0..count {
        let ask = Ask::new().subset(&only);
        let pick = balancer.select_with("api", &ask).unwrap();
        pick.failed(Fault::Connect);
    }
}

/// Lets the ticker answer a wish. No timer need fire for that, so a paused clock does not move.
async fn prompted() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_promptly_is_half_open_after_its_time_and_closes() {
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), TWO).unwrap();
    // Just after a regular tick, so that the next is far.
    tokio::time::sleep(Duration::from_millis(101)).await;
    balancer.select("api").unwrap().succeeded();
    fail(&balancer, "a:80", 4);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Serving);
    fail(&balancer, "a:80", 1);
    prompted().await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Ejected);
    for _ in 0..4 {
        let pick = balancer.select("api").unwrap();
        assert_eq!(pick.id().as_str(), "b:80");
        pick.succeeded();
    }
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Ejected);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Probing);
    // W3: the trial runs though a healthy peer exists.
    let trial = balancer.select("api").unwrap();
    assert!(trial.is_trial());
    assert_eq!(trial.id().as_str(), "a:80");
    trial.succeeded();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let group = balancer.group_snapshot("api").unwrap();
    let back = group.backend("a:80").unwrap();
    assert_eq!(
        (back.standing, back.gate),
        (Standing::Serving, Gate::Closed)
    );
}

/// Failures that go on cannot keep the thread busy: prompt ticks keep a distance.
#[tokio::test(start_paused = true)]
async fn prompt_ticks_keep_a_distance() {
    let balancer = LoadBalancer::new();
    let four = ["a:80", "b:80", "c:80", "d:80"];
    balancer.register("api", settings(), four).unwrap();
    tokio::time::sleep(Duration::from_millis(101)).await;
    fail(&balancer, "a:80", 5);
    prompted().await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Ejected);
    let first = balancer.now();
    fail(&balancer, "b:80", 5);
    prompted().await;
    assert_eq!(standing(&balancer, "b:80"), Standing::Serving);
    assert_eq!(balancer.now(), first);
    tokio::time::sleep(Duration::from_millis(7)).await;
    assert_eq!(standing(&balancer, "b:80"), Standing::Ejected);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_by_hand_ends_at_its_time() {
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), TWO).unwrap();
    let lasts = Duration::from_secs(5);
    balancer
        .mark_health_for("api", "a:80", false, lasts)
        .unwrap();
    tokio::time::sleep(Duration::from_millis(4_900)).await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Down);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Serving);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_clone_and_the_last_handle() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), TWO).unwrap();
    balancer.start().unwrap();
    assert_eq!(tasks(), before + 1, "one task, however often it is started");
    let (clone, handle, weak) = (
        balancer.clone(),
        balancer.service("api").unwrap(),
        balancer.downgrade(),
    );
    let pick = handle.select().unwrap();
    let mut events = balancer.subscribe();
    for owner in [
        Box::new(balancer) as Box<dyn std::any::Any>,
        Box::new(clone),
        Box::new(handle),
    ] {
        assert!(weak.upgrade().is_some());
        // Between two ticks, so that none is due when the last one goes.
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        assert_eq!(tasks(), before + 1);
        drop(owner);
    }
    assert!(weak.upgrade().is_none());
    prompted().await;
    assert_eq!(tasks(), before, "at once, not at the next tick");
    // The pick outlives them all.
    pick.succeeded();
    let kind = events.recv().await.unwrap().kind;
    assert!(matches!(
        kind,
        evenkeel::EventKind::ServiceStopped {
            members: 2,
            in_flight: 1
        }
    ));
    assert!(events.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn stopping_is_for_good() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), TWO).unwrap();
    let handle = balancer.service("api").unwrap();
    balancer.stop();
    balancer.stop();
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0);
    let gone = Error::UnknownService("api".into());
    assert_eq!(balancer.select("api").map(drop), Err(gone.clone()));
    assert_eq!(handle.add_backend("c:80"), Err(gone));
    let registered = balancer.register("api", settings(), TWO);
    assert_eq!(registered, Err(Error::Stopped));
    assert_eq!(balancer.start(), Err(Error::Stopped));
    assert_eq!(tasks(), 0);
}

/// Made where no runtime is, as a static would be: the first registration inside one starts the ticker.
#[test]
fn a_balancer_made_outside_a_runtime_ticks_inside_the_next_and_the_one_after() {
    let balancer = LoadBalancer::new();
    assert_eq!(balancer.start(), Err(Error::NoRuntime));
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    runtime().block_on(async {
        balancer.register("api", settings(), TWO).unwrap();
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    });
    assert!(!balancer.is_ticking(), "it ended with its runtime");
    runtime().block_on(async {
        balancer.start().unwrap();
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    });
    // The program goes on as if nothing were: the next pick finds that nobody ticks.
    runtime().block_on(async {
        assert!(!balancer.is_ticking());
        fail(&balancer, "a:80", 5);
        assert!(balancer.is_ticking());
        tokio::time::sleep(Duration::from_millis(101)).await;
        assert_eq!(standing(&balancer, "a:80"), Standing::Ejected);
    });
}

#[test]
fn a_runtime_without_timers_is_refused_in_words() {
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), TWO).unwrap();
    let timerless = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    timerless.block_on(async {
        assert_eq!(balancer.start(), Err(Error::NoTimers));
        balancer.select("api").unwrap().succeeded();
        assert!(!balancer.is_ticking());
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    });
    // It says nothing of the next one.
    let timed = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    timed.block_on(async {
        balancer.select("api").unwrap().succeeded();
        assert!(balancer.is_ticking());
    });
}

#[test]
fn without_a_runtime_the_program_ticks() {
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), TWO).unwrap();
    fail(&balancer, "a:80", 5);
    assert_eq!(standing(&balancer, "a:80"), Standing::Serving);
    balancer.tick();
    assert_eq!(standing(&balancer, "a:80"), Standing::Ejected);
}

#[tokio::test(start_paused = true)]
async fn ticks_by_hand_only_where_the_program_wants_it() {
    let balancer = LoadBalancer::with_settings(&BalancerSettings::default().tick_by_hand(true));
    balancer.register("api", settings(), TWO).unwrap();
    fail(&balancer, "a:80", 5);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Serving);
    balancer.tick();
    assert_eq!(standing(&balancer, "a:80"), Standing::Ejected);
}

/// A policy of the program's that breaks where the core does not expect it: when it is asked for its name.
struct BadName(AtomicBool);

impl Policy for BadName {
    fn name(&self) -> &'static str {
        assert!(!self.0.load(Ordering::Relaxed), "a policy that breaks");
        "bad"
    }

    fn choose(&self, _: &Candidates<'_>, _: &CoreAsk<'_>) -> Option<usize> {
        Some(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_tick_panics_does_not_keep_the_others_from_theirs() {
    let balancer = LoadBalancer::new();
    let policy = Arc::new(BadName(AtomicBool::new(false)));
    let custom = ServiceSettings::with_policy(PolicyChoice::Custom(policy.clone()));
    balancer.register("bad", custom, TWO).unwrap();
    // Who joins warms up, so each tick publishes and asks for the name.
    balancer.add_backend("bad", "c:80").unwrap();
    balancer.register("api", settings(), TWO).unwrap();
    let lasts = Duration::from_secs(1);
    balancer
        .mark_health_for("api", "a:80", false, lasts)
        .unwrap();
    policy.0.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(standing(&balancer, "a:80"), Standing::Serving);
}

/// The same seed, the same choices: what a failed test printed can be run again.
#[test]
fn a_seed_fixes_the_choices() {
    let choices = |seed| {
        let balancer = LoadBalancer::with_settings(&BalancerSettings::default().seed(seed));
        let settings = ServiceSettings::with_policy(PolicyChoice::Random);
        balancer.register("api", settings, TWO).unwrap();
        (0..32)
            .map(|_| balancer.select("api").unwrap().id().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(choices(7), choices(7));
    assert_ne!(choices(7), choices(8));
}

/// Explaining takes no chance: it names whom the next pick takes, and the choices after it are the same.
#[test]
fn explaining_draws_nothing() {
    for seed in [Some(7), None] {
        let balancer = LoadBalancer::with_settings(&BalancerSettings::default().seed(seed));
        let random = ServiceSettings::with_policy(PolicyChoice::Random);
        balancer.register("api", random, TWO).unwrap();
        for _ in 0..32 {
            let explained = balancer.explain("api", &Ask::new()).unwrap();
            let pick = balancer.select("api").unwrap();
            assert_eq!(explained.result.as_ref(), Ok(pick.id()));
        }
    }
}

/// A key keeps its backend, what was tried is passed over, and the retry decision knows the settings.
#[test]
fn asks_carry_key_tried_and_subset() {
    let balancer = LoadBalancer::new();
    let hash = PolicyChoice::Hash(evenkeel::balance::settings::HashMethod::Maglev);
    let settings = ServiceSettings::with_policy(hash);
    balancer
        .register("api", settings, ["a:80", "b:80", "c:80"])
        .unwrap();
    let ask = Ask::new().key("user-7");
    let home = balancer.select_with("api", &ask).unwrap();
    for _ in 0..20 {
        let again = balancer.select_with("api", &ask).unwrap();
        assert_eq!(again.id(), home.id());
    }
    let explained = balancer.explain("api", &ask).unwrap();
    assert_eq!(explained.result.as_ref(), Ok(home.id()));
    let mut tried = Tried::default();
    tried.insert(home.backend());
    let other = balancer.select_with("api", &ask.tried(&tried)).unwrap();
    assert_ne!(other.id(), home.id());
    let only = [home.id().clone()];
    let nobody = balancer.select_with("api", &ask.tried(&tried).subset(&only));
    let refused = Error::Refused(evenkeel::Refusal::AllTried);
    assert_eq!(nobody.map(drop), Err(refused));
}
