//! A second attempt beside one that is slow: when it is made, whose result counts, what is said of the other. Time is paused.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::cell::RefCell;
use std::time::Duration;

use evenkeel::balance::affinity::ClientsSettings;
use evenkeel::balance::backend::{BackendSpec, Counts};
use evenkeel::balance::retry::RetrySettings;
use evenkeel::{
    Exchange, ExchangeError, Failure, Fault, HedgeAt, HedgeSettings, LoadBalancer, PolicyChoice,
    Quantile, ServiceHandle, ServiceSettings, Target,
};
use tokio::time::Instant;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[expect(clippy::disallowed_methods, reason = "it is paused")]
fn now() -> Instant {
    Instant::now()
}

/// Hedges after 20 ms, as many as there are exchanges.
const SOON: HedgeSettings = HedgeSettings::at(HedgeAt::After(ms(20))).most_permille(1000);

/// Round robin over these, each of which has answered once.
async fn service(backends: &[&str], hedge: HedgeSettings) -> ServiceHandle {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default()
        .policy(PolicyChoice::RoundRobin)
        .breaker(None)
        .retry(RetrySettings::default().backoff_base(Duration::ZERO))
        .hedge(hedge);
    let all = backends.iter().copied();
    balancer.register("api", settings, all).unwrap();
    let service = balancer.service("api").unwrap();
    for _ in backends {
        let quick = async |_| Ok::<_, Fault>(());
        service.exchange(&Exchange::new(), quick).await.unwrap();
    }
    // The tick that counts them.
    tokio::time::sleep(ms(200)).await;
    service
}

fn counts(service: &ServiceHandle, id: &str) -> Counts {
    service.backend(id).unwrap().counts
}

type Answer = Result<u32, Failure<&'static str>>;

/// What an attempt comes to, and when.
type Deed = (u64, Answer);

fn bad() -> Answer {
    Err(Failure::new(Fault::Status(503), "bad"))
}

/// Notes who is dropped before its end.
struct Runs<'a>(Option<u32>, &'a RefCell<Vec<u32>>);

impl Runs<'_> {
    /// As a whole, so that whoever ends it holds all of it.
    fn end(&mut self) {
        self.0 = None;
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.0 {
            self.1.borrow_mut().push(attempt);
        }
    }
}

/// What was seen of one exchange.
struct Seen {
    result: Result<u32, ExchangeError<Failure<&'static str>>>,
    took: Duration,
    /// Where attempts went, and how long after the begin.
    went: Vec<(String, u64)>,
    /// Those that were dropped before they had ended.
    dropped: Vec<u32>,
}

async fn run(service: &ServiceHandle, terms: &Exchange<'_>, deeds: &[Deed]) -> Seen {
    let (began, dropped) = (now(), RefCell::default());
    let went: RefCell<Vec<(String, u64)>> = RefCell::default();
    let attempt = |to: Target| {
        let after = u64::try_from((now() - began).as_millis()).unwrap();
        went.borrow_mut().push((to.id.to_string(), after));
        let (takes, answer) = deeds[to.attempt as usize - 1].clone();
        let mut runs = Runs(Some(to.attempt), &dropped);
        async move {
            tokio::time::sleep(ms(takes)).await;
            runs.end();
            answer
        }
    };
    let result = service.exchange(terms, attempt).await;
    Seen {
        result,
        took: now() - began,
        went: went.into_inner(),
        dropped: dropped.into_inner(),
    }
}

/// The result, when, where attempts went and when, and which were dropped.
async fn check(
    deeds: &[Deed],
    expect: (Result<u32, &str>, u64),
    went: &[(&str, u64)],
    dropped: &[u32],
) {
    let service = service(&["a", "b", "c"], SOON).await;
    let seen = run(&service, &Exchange::new().idempotent(), deeds).await;
    let told = format!("{deeds:?}: {:?} {:?}", seen.result, seen.went);
    let result = seen
        .result
        .map_err(|error| error.into_failed().unwrap().error);
    assert_eq!((result, seen.took), (expect.0, ms(expect.1)), "{told}");
    let at: Vec<_> = seen.went.iter().map(|(id, at)| (&**id, *at)).collect();
    assert_eq!(
        (at.as_slice(), seen.dropped.as_slice()),
        (went, dropped),
        "{told}"
    );
    let stats = service.stats().attempts;
    assert_eq!((stats.in_flight, stats.abandoned), (0, 0), "{told}");
    assert_eq!(stats.picked, 3 + went.len() as u64, "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_first_good_result_is_returned() {
    let one = [("a", 0)];
    let two = [("a", 0), ("b", 20)];
    check(&[(19, Ok(1))], (Ok(1), 19), &one, &[]).await;
    check(&[(900, Ok(1)), (5, Ok(2))], (Ok(2), 25), &two, &[1]).await;
    check(&[(30, Ok(1)), (90, Ok(2))], (Ok(1), 30), &two, &[2]).await;
    // A failure waits for the other, whichever it is.
    check(&[(90, Ok(1)), (5, bad())], (Ok(1), 90), &two, &[]).await;
    check(&[(30, bad()), (90, Ok(2))], (Ok(2), 110), &two, &[]).await;
    // Nobody's fault is an answer.
    let mine = || Err(Failure::neutral("404"));
    check(&[(900, Ok(1)), (5, mine())], (Err("404"), 25), &two, &[1]).await;
    // Both fail: the third is a retry, at once on another.
    let three = [("a", 0), ("b", 20), ("c", 40)];
    check(
        &[(30, bad()), (20, bad()), (5, Ok(3))],
        (Ok(3), 45),
        &three,
        &[],
    )
    .await;
    check(
        &[(30, bad()), (20, bad()), (5, bad())],
        (Err("bad"), 45),
        &three,
        &[],
    )
    .await;
}

/// One hedge in an exchange: what follows a failure is slow as long as it likes.
#[tokio::test(start_paused = true)]
async fn an_exchange_is_hedged_once() {
    check(
        &[(30, bad()), (20, bad()), (500, Ok(3))],
        (Ok(3), 540),
        &[("a", 0), ("b", 20), ("c", 40)],
        &[],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_outrun_has_not_failed_and_does_not_look_fast() {
    let service = service(&["a", "b"], SOON).await;
    let terms = Exchange::new().idempotent();
    for _ in 0..5 {
        let seen = run(&service, &terms, &[(900, Ok(1)), (1, Ok(2))]).await;
        assert_eq!(seen.result, Ok(2));
        tokio::time::sleep(ms(200)).await;
        let outrun = service.backend(&seen.went[0].0).unwrap();
        assert!(outrun.learned.slowness > 1.0, "{:?}", outrun.learned);
    }
    for id in ["a", "b"] {
        let counts = counts(&service, id);
        assert_eq!(
            (counts.failed, counts.in_flight, counts.abandoned),
            (0, 0, 0)
        );
    }
    let stats = service.stats();
    assert_eq!(stats.requests.succeeded, 2 + 5);
}

#[tokio::test(start_paused = true)]
async fn who_must_not_or_cannot_has_none() {
    let deeds = [(900, Ok(1)), (5, Ok(2))];
    let safe = Exchange::new().idempotent();
    let alone = async |service: ServiceHandle, terms: &Exchange<'_>| {
        let seen = run(&service, terms, &deeds).await;
        assert_eq!((seen.result, seen.went.len()), (Ok(1), 1));
        assert_eq!(seen.took, ms(900));
    };
    alone(service(&["a", "b"], SOON).await, &Exchange::new()).await;
    alone(service(&["a"], SOON).await, &safe).await;
    let few = SOON.most_permille(300);
    alone(service(&["a", "b"], few).await, &safe).await;
    let unknown = HedgeSettings::at(HedgeAt::Quantile(Quantile::new(950).unwrap()));
    alone(service(&["a", "b"], unknown).await, &safe).await;
    let kept = service(&["a", "b"], SOON).await;
    kept.keep_clients(<_>::default()).unwrap();
    let client = safe.client("somebody");
    kept.exchange(&client, async |_| Ok::<_, Fault>(()))
        .await
        .unwrap();
    tokio::time::sleep(ms(200)).await;
    alone(kept, &client).await;
}

#[tokio::test(start_paused = true)]
async fn limits_of_time_hold_for_both() {
    let service = service(&["a", "b"], SOON).await;
    let silent = [(9_000, Ok(1)), (9_000, Ok(2)), (9_000, Ok(3))];
    let terms = Exchange::new().idempotent().deadline(ms(100));
    let seen = run(&service, &terms, &silent).await;
    assert!(seen.result.is_err());
    assert_eq!((seen.took, seen.went.len()), (ms(100), 2));
    assert_eq!(service.stats().attempts.in_flight, 0);
}

/// A caller that gives up takes both along, and holds nothing against anybody.
#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_ends_both() {
    let service = service(&["a", "b"], SOON).await;
    let terms = Exchange::new().idempotent();
    let silent = [(9_000, Ok(1)), (9_000, Ok(2))];
    let left = tokio::time::timeout(ms(50), run(&service, &terms, &silent)).await;
    assert!(left.is_err());
    let all = ["a", "b"].map(|id| counts(&service, id));
    let sums = all
        .iter()
        .map(|one| (one.in_flight, one.failed, one.abandoned));
    assert_eq!(sums.collect::<Vec<_>>(), [(0, 0, 1), (0, 0, 1)]);
}

/// A client that is to be kept where it is answered has no second attempt in a lower tier, in an exchange of its own; any other one has.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_new_stays_in_its_tier() {
    let service = service(&["a"], SOON).await;
    service.add_backend(BackendSpec::new("b").tier(1)).unwrap();
    service.keep_clients(ClientsSettings::default()).unwrap();
    let deeds = [(900, Ok(1)), (5, Ok(2))];
    let terms = Exchange::new().idempotent();
    let seen = run(&service, &terms.client("one"), &deeds).await;
    assert_eq!((seen.result, seen.took), (Ok(1), ms(900)));
    assert_eq!(service.client_backend("one"), Some("a".into()));
    let seen = run(&service, &terms, &deeds).await;
    assert_eq!((seen.result, seen.took), (Ok(2), ms(25)));
}
