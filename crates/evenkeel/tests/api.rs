//! What the types of the library promise to a compiler: what may go to another thread, and what may be told by methods.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use evenkeel::balance::rate::RateSettings;
use evenkeel::probe::{Finding, ProbeError};
use evenkeel::sweep::{Check, Checks};
use evenkeel::{
    ActiveSettings, AdaptiveLimit, AffinitySettings, Ask, Attempt, BackendSpec, BalancerSettings,
    BreakerSettings, BudgetSettings, CheckReport, CheckResult, CheckerSettings, ClientsSettings,
    Decision, Error, Event, Events, Exchange, ExchangeError, Failure, Fault, Followed,
    HealthChecker, HedgeAt, HedgeSettings, HttpCheck, HttpProbe, LoadBalancer, LoadSettings,
    MinHealthy, OnAllDown, Pick, PolicyChoice, Progress, QueueSettings, RetryOn, RetrySettings,
    ServiceHandle, ServiceSettings, ServiceStats, Subscription, Target, TcpProbe, WeakLoadBalancer,
};

/// What is held and handed around goes anywhere; errors can be boxed as any.
#[test]
fn everything_may_go_to_another_thread_and_be_seen_from_there() {
    fn free<T: Send + Sync + 'static>() {}
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    free::<LoadBalancer>();
    free::<WeakLoadBalancer>();
    free::<ServiceHandle>();
    free::<Pick>();
    free::<Followed<Vec<u8>>>();
    free::<Events>();
    free::<Event>();
    free::<Subscription>();
    free::<HealthChecker>();
    free::<Checks>();
    free::<Check>();
    free::<Finding>();
    free::<Ask<'static>>();
    free::<Exchange<'static>>();
    free::<Target>();
    free::<ServiceSettings>();
    free::<ServiceStats>();
    free::<HttpProbe>();
    free::<TcpProbe>();
    error::<Error>();
    error::<ExchangeError<std::io::Error>>();
    error::<ExchangeError<Failure<std::io::Error>>>();
    error::<Failure<std::io::Error>>();
    error::<ProbeError>();
    error::<evenkeel::probe::HttpCheckError>();
    error::<evenkeel::sweep::CheckerError>();
    error::<evenkeel::sweep::CheckNowError>();
    error::<evenkeel::address::AddressError>();
    error::<evenkeel::events::NoEvent>();
}

/// The futures that a program waits for can be spawned.
#[tokio::test]
async fn its_futures_may_go_to_another_thread() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let balancer = LoadBalancer::new();
    balancer
        .register("api", ServiceSettings::default(), ["a:80"])
        .unwrap();
    let api = balancer.service("api").unwrap();
    let second = Duration::from_secs(1);
    drop(sent(balancer.acquire("api", second)).await.unwrap());
    drop(sent(api.acquire(second)).await.unwrap());
    let terms = Exchange::new().per_try(second).deadline(second);
    let attempt = async |_: Target| Ok::<(), Fault>(());
    sent(api.exchange(&terms, attempt)).await.unwrap();
    drop(sent(balancer.check_now(evenkeel::Whom::All)));
    drop(sent(balancer.subscribe().recv()));
}

#[tokio::test]
async fn what_an_error_says_it_says_once() {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default();
    balancer.register("api", settings, ["a:80"]).unwrap();
    let broke = async |_: Target| {
        Err::<(), _>(Failure::new(
            Fault::Reset,
            std::io::Error::other("it broke"),
        ))
    };
    let failed = balancer.exchange("api", &Exchange::new(), broke).await;
    let failed = failed.unwrap_err();
    let words = "it broke (attempts: 1, the last by a:80; no other: not_safe)";
    assert_eq!(failed.to_string(), words);
    assert!(std::error::Error::source(&failed).is_none());
    let attempt = async |_: Target| Ok::<(), std::io::Error>(());
    let nobody = balancer.exchange("web", &Exchange::new(), attempt).await;
    assert!(std::error::Error::source(&nobody.unwrap_err()).is_none());
    let nobody = LoadBalancer::new().select("api").unwrap_err();
    assert_eq!(nobody.to_string(), "no service is named \"api\"");
    let failed = Failure::new(Fault::Reset, std::io::Error::other("it broke"));
    assert_eq!(failed.to_string(), "it broke");
    let source = std::error::Error::source(&failed);
    assert!(source.is_none(), "its words are the error's own");
}

/// Each field by its name: what is told is what it becomes.
#[test]
fn settings_are_told_by_methods() {
    let second = Duration::from_secs(1);
    let on = RetryOn::none()
        .connect(true)
        .reset(true)
        .timeout(true)
        .protocol(true)
        .overloaded(true)
        .statuses(vec![500])
        .grpc(vec![14]);
    let budget = BudgetSettings::default()
        .ratio_permille(7)
        .floor_per_second(8)
        .keep(second)
        .keep_earned(second * 2);
    let retry = RetrySettings::default()
        .attempts(9)
        .on(on.clone())
        .backoff_base(second)
        .backoff_max(second * 2)
        .retry_after_max(second * 3)
        .budget(budget);
    assert_eq!((retry.attempts, &retry.on), (9, &on));
    assert!(on.connect && on.reset && on.timeout && on.protocol && on.overloaded);
    assert_eq!((on.statuses, on.grpc), (vec![500], vec![14]));
    assert_eq!((budget.ratio_permille, budget.floor_per_second), (7, 8));
    assert_eq!((budget.keep, budget.keep_earned), (second, second * 2));
    let waits = [retry.backoff_base, retry.backoff_max, retry.retry_after_max];
    assert_eq!(waits, [second, second * 2, second * 3]);

    let breaker = BreakerSettings::default()
        .consecutive(1)
        .failure_rate(0.25)
        .slow(second)
        .slow_rate(0.75)
        .least(2)
        .window(second * 2)
        .open(second * 3)
        .open_max(second * 4)
        .trials(3)
        .cap(0.125);
    assert_eq!(
        (breaker.consecutive, breaker.least, breaker.trials),
        (1, 2, 3)
    );
    let rates = [breaker.failure_rate, breaker.slow_rate, breaker.cap];
    assert_eq!(rates, [0.25, 0.75, 0.125]);
    let times = [breaker.window, breaker.open, breaker.open_max];
    assert_eq!(times, [second * 2, second * 3, second * 4]);
    assert_eq!(breaker.slow, Some(second));
    assert_eq!(breaker.slow(None).slow, None);

    let settings = ServiceSettings::with_policy(PolicyChoice::Random)
        .policy(PolicyChoice::RoundRobin)
        .slow_start(second)
        .on_all_down(OnAllDown::FailOpen)
        .min_healthy(MinHealthy::default().count(2).share(0.25))
        .retry(retry.clone())
        .histograms(true)
        .classes(5)
        .max_backends(6)
        .max_in_flight(7)
        .health(ActiveSettings::default().rise(1).fall(2))
        .breaker(breaker)
        .queue(QueueSettings::default().length(3).timeout(second))
        .affinity(AffinitySettings::default().draining(second));
    assert_eq!(settings.policy.name(), "round_robin");
    assert_eq!((settings.slow_start, settings.histograms), (second, true));
    assert_eq!(settings.on_all_down, OnAllDown::FailOpen);
    let least = settings.min_healthy;
    assert_eq!((least.count, least.share), (2, 0.25));
    assert_eq!((settings.classes, settings.max_backends), (5, 6));
    assert_eq!(settings.max_in_flight.map(|most| most.get()), Some(7));
    assert_eq!(settings.retry, retry);
    assert_eq!(settings.breaker, Some(breaker));
    let health = settings.health.unwrap();
    assert_eq!((health.rise, health.fall), (1, 2));
    let queue = settings.queue.unwrap();
    assert_eq!((queue.length, queue.timeout), (3, second));
    assert_eq!(settings.affinity.unwrap().draining, second);
    let none = settings
        .health(None)
        .breaker(None)
        .queue(None)
        .max_in_flight(0);
    assert!(none.health.is_none() && none.breaker.is_none() && none.queue.is_none());
    assert!(none.affinity(None).max_in_flight.is_none());
}

#[test]
fn settings_of_hedges_limits_loads_and_rates_are_told_by_methods() {
    let second = Duration::from_secs(1);
    let number = |number| NonZeroU32::new(number).unwrap();
    let hedge = HedgeSettings::at(HedgeAt::After(second)).most_permille(7);
    assert_eq!((hedge.at, hedge.most_permille), (HedgeAt::After(second), 7));
    let limit = AdaptiveLimit::default()
        .min(number(2))
        .max(number(3))
        .start(number(4))
        .tolerance(0.25);
    let told = (limit.min, limit.max, limit.start, limit.tolerance);
    assert_eq!(told, (number(2), number(3), number(4), 0.25));
    let load = LoadSettings::default()
        .blackout(second)
        .expiry(second * 2)
        .penalty(0.5)
        .bound(3.0);
    let told = (load.blackout, load.expiry, load.penalty, load.bound);
    assert_eq!(told, (second, second * 2, 0.5, 3.0));
    let settings = ServiceSettings::default()
        .hedge(hedge)
        .adaptive_limit(limit)
        .load(load);
    let told = (settings.hedge, settings.adaptive_limit, settings.load);
    assert_eq!(told, (Some(hedge), Some(limit), load));
    let none = settings.hedge(None).adaptive_limit(None);
    assert!(none.hedge.is_none() && none.adaptive_limit.is_none());
    let rate = RateSettings::new(number(10), second);
    let told = (rate.allow, rate.per, rate.burst, rate.keys.get());
    assert_eq!(told, (number(10), second, number(10), 100_000));
    let rate = rate.burst(number(3)).keys(NonZeroUsize::MIN);
    assert_eq!((rate.burst, rate.keys), (number(3), NonZeroUsize::MIN));
}

#[test]
fn what_is_told_of_checks_clients_and_attempts_is_told_by_methods_too() {
    let second = Duration::from_secs(1);
    let clients = ClientsSettings::default().most(32).ttl(second);
    assert_eq!((clients.most, clients.ttl), (32, second));
    let told = BalancerSettings::default()
        .events_kept(8)
        .seed(7)
        .tick_by_hand(true);
    assert_eq!((told.events_kept, told.seed), (8, Some(7)));
    assert!(told.tick_by_hand && told.seed(None).seed.is_none());
    let checks = CheckerSettings::default()
        .interval(second)
        .timeout(second * 2)
        .at_once(3)
        .interval_unsure(second * 4)
        .interval_down(second * 5)
        .services(["api"])
        .seed(6);
    assert_eq!((checks.interval, checks.timeout), (second, second * 2));
    assert_eq!((checks.at_once, checks.seed), (3, 6));
    assert_eq!(checks.interval_unsure, Some(second * 4));
    assert_eq!(checks.interval_down, Some(second * 5));
    assert_eq!(checks.services, Some(vec!["api".to_owned()]));
    let check = HttpCheck::default()
        .method("POST")
        .path("/health")
        .host("api")
        .header("x-check", "1")
        .expect("204".parse().unwrap())
        .body("well");
    assert_eq!(
        (check.method.as_str(), check.path.as_deref()),
        ("POST", Some("/health"))
    );
    assert_eq!(
        (check.host.as_deref(), check.body.as_deref()),
        (Some("api"), Some("well"))
    );
    assert_eq!(check.headers, [("x-check".to_owned(), "1".to_owned())]);
    assert!(check.expect.contains(204) && !check.expect.contains(200));

    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default().retry(RetrySettings::default().attempts(2));
    balancer.register("api", settings, ["a:80"]).unwrap();
    let api = balancer.service("api").unwrap();
    let report = CheckReport::new(CheckResult::Passed, balancer.now())
        .latency(second)
        .status(204);
    api.check("a:80", report).unwrap();
    let last = api.backend("a:80").unwrap().last_check;
    assert_eq!(last, None, "checks decide nothing here");
    assert_eq!((report.latency, report.status), (second, Some(204)));

    let first = Attempt::new(Fault::Connect).progress(Progress::Unsent);
    let retry = |attempt: Attempt| matches!(api.retry(&attempt).unwrap(), Decision::Again { .. });
    assert!(retry(first));
    assert!(!retry(first.made(2)), "as many as the settings allow");
    assert!(!retry(first.progress(Progress::Sent)) && retry(first.idempotent(true)));
    assert!(!retry(first.replayable(false)));
    assert!(!retry(first.deadline_left(Duration::ZERO)));
    let rests = first.rest(second * 1_000).untried(false);
    assert!(!retry(rests) && retry(rests.rest(None)));
    let spec = BackendSpec::new("b:80").max_in_flight(1).label("zone", "a");
    api.add_backend(spec).unwrap();
}
