//! Many threads at once: nothing is lost, counts are exact at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use evenkeel::{
    BackendSpec, BalancerSettings, Error, Events, Fault, Followed, LoadBalancer, Outcome, Pick,
    PolicyChoice, Refusal, ServiceHandle, ServiceSettings, Verdict,
};

const TASKS: u64 = 16;
const ROUNDS: u64 = 2_000;

/// What must travel between threads does, by the compiler's word.
const _: fn() = || {
    fn travels<T: Send + Sync + 'static>() {}
    travels::<LoadBalancer>();
    travels::<ServiceHandle>();
    travels::<Pick>();
    travels::<Followed<Vec<u8>>>();
    travels::<Events>();
    travels::<Error>();
};

fn quiet(policy: PolicyChoice) -> ServiceSettings {
    ServiceSettings::with_policy(policy).breaker(None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_are_exact_while_members_change_under_the_pickers() {
    let balancer = LoadBalancer::new();
    let stay = ["a", "b", "c", "d"];
    let settings = quiet(PolicyChoice::Adaptive);
    balancer.register("api", settings, stay).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let changer = tokio::spawn({
        let (balancer, done) = (balancer.clone(), done.clone());
        async move {
            let mut round = 0_u32;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                match round % 4 {
                    0 => balancer.update_backends("api", ["d", "c", "b", "a"]),
                    1 => balancer.register("api", quiet(PolicyChoice::LeastConnections), stay),
                    2 => balancer.mark_health("api", "b", round % 8 < 4),
                    _ => balancer.register(
                        &format!("other-{}", round % 64),
                        quiet(PolicyChoice::Random),
                        ["x"],
                    ),
                }
                .unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let balancer = balancer.clone();
            tokio::spawn(async move {
                let mut ends = [0_u64; 3];
                for round in 0..ROUNDS {
                    let mut pick = balancer.select("api").unwrap();
                    if round % 16 == 0 {
                        tokio::task::yield_now().await;
                    }
                    match (task + round) % 3 {
                        0 => pick.succeeded(),
                        1 => pick.failed(Fault::Timeout),
                        _ => {
                            pick.answered(Verdict::Success);
                            drop(pick);
                        }
                    }
                    ends[usize::try_from((task + round) % 3).unwrap()] += 1;
                }
                ends
            })
        })
        .collect();
    let mut ends = [0; 3];
    for task in tasks {
        for (sum, end) in ends.iter_mut().zip(task.await.unwrap()) {
            *sum += end;
        }
    }
    done.store(true, Ordering::Relaxed);
    changer.await.unwrap();
    let group = balancer.group_snapshot("api").unwrap();
    let sum = |count: fn(&evenkeel::balance::backend::Counts) -> u64| {
        group.backends.iter().map(|b| count(&b.counts)).sum::<u64>()
    };
    assert_eq!(sum(|counts| u64::from(counts.in_flight)), 0);
    assert_eq!(sum(|counts| counts.picked), TASKS * ROUNDS);
    assert_eq!(sum(|counts| counts.finished), ends[0] + ends[1]);
    assert_eq!(sum(|counts| counts.abandoned), ends[2]);
    assert_eq!(sum(|counts| counts.failed), ends[1]);
    assert_eq!(sum(|counts| counts.succeeded), ends[0] + ends[2]);
}

/// In the original, select and track_connection were two steps: two tasks could see the same count and both go to
/// the same backend. Here the limit of one attempt at once is never passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn selecting_and_counting_are_one_step() {
    let balancer = LoadBalancer::new();
    let backends = ["a", "b", "c", "d"];
    let limited = backends.map(|id| BackendSpec::new(id).max_in_flight(1));
    let settings = quiet(PolicyChoice::LeastConnections);
    balancer.register("api", settings, limited).unwrap();
    let inside: Arc<[AtomicU64; 4]> = Arc::default();
    let (served, full) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let service = balancer.service("api").unwrap();
            let (inside, served, full) = (inside.clone(), served.clone(), full.clone());
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let pick = match service.select() {
                        Ok(pick) => pick,
                        Err(refused) => {
                            assert_eq!(refused, Error::Refused(Refusal::AllFull));
                            full.fetch_add(1, Ordering::Relaxed);
                            tokio::task::yield_now().await;
                            continue;
                        }
                    };
                    let at = backends
                        .iter()
                        .position(|id| *id == pick.id().as_str())
                        .unwrap();
                    let others = inside[at].fetch_add(1, Ordering::SeqCst);
                    assert_eq!(others, 0, "two at once on {}", backends[at]);
                    tokio::task::yield_now().await;
                    inside[at].fetch_sub(1, Ordering::SeqCst);
                    pick.finish(Outcome::Completed);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (served, full) = (served.load(Ordering::Relaxed), full.load(Ordering::Relaxed));
    assert!(served > 0);
    assert_eq!(served + full, TASKS * ROUNDS);
    let group = balancer.group_snapshot("api").unwrap();
    let picked: u64 = group.backends.iter().map(|b| b.counts.picked).sum();
    assert_eq!(picked, served);
}

/// Of four idle backends each gets its part, and four held picks are four backends: the original gave ties to the first.
#[test]
fn ties_of_least_connections_go_to_everybody() {
    let balancer = LoadBalancer::with_settings(&BalancerSettings::default().seed(7));
    let settings = quiet(PolicyChoice::LeastConnections);
    balancer
        .register("api", settings, ["a", "b", "c", "d"])
        .unwrap();
    let held: Vec<Pick> = (0..4).map(|_| balancer.select("api").unwrap()).collect();
    let mut who: Vec<_> = held.iter().map(|pick| pick.id().to_string()).collect();
    who.sort();
    assert_eq!(who, ["a", "b", "c", "d"]);
    drop(held);
    for _ in 0..400 {
        balancer.select("api").unwrap().succeeded();
    }
    for backend in balancer.group_snapshot("api").unwrap().backends {
        let finished = backend.counts.finished;
        assert!((60..=140).contains(&finished), "{finished}");
    }
}

/// A pick that a panicking task held is given back.
#[tokio::test]
async fn a_panic_gives_the_charge_back() {
    let balancer = LoadBalancer::new();
    let settings = quiet(PolicyChoice::RoundRobin);
    balancer.register("api", settings, ["a"]).unwrap();
    let pick = balancer.select("api").unwrap();
    let task = tokio::spawn(async move {
        let _pick = pick;
        panic!("as a handler may");
    });
    assert!(task.await.unwrap_err().is_panic());
    let counts = balancer.group_snapshot("api").unwrap().backends[0].counts;
    assert_eq!((counts.in_flight, counts.abandoned), (0, 1));
}
