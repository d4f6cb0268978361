//! One exchange over its attempts: who is tried, when it is tried again, what is counted. Time is paused.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::sync::Mutex;
use std::time::Duration;

use evenkeel::balance::backend::Counts;
use evenkeel::balance::retry::{Reason, RetrySettings};
use evenkeel::exchange::{Cause, Stopped};
use evenkeel::{
    Ask, BackendId, Error, EventKind, Exchange, ExchangeError, Failure, Fault, LoadBalancer,
    Outcome, PolicyChoice, Progress, QueueSettings, Refusal, ServiceHandle, ServiceSettings, Tried,
};
use tokio::time::Instant;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[expect(clippy::disallowed_methods, reason = "it is paused")]
fn now() -> Instant {
    Instant::now()
}

/// Round robin over these, four attempts, waits of 40 ms doubling to 100 ms; nothing else stops a retry.
fn service(backends: &[&str]) -> ServiceHandle {
    with(backends, |_| ())
}

fn with(backends: &[&str], change: impl FnOnce(&mut ServiceSettings)) -> ServiceHandle {
    let balancer = LoadBalancer::new();
    let mut settings = ServiceSettings::default()
        .policy(PolicyChoice::RoundRobin)
        .breaker(None)
        .retry(
            RetrySettings::default()
                .attempts(4)
                .backoff_base(ms(40))
                .backoff_max(ms(100)),
        );
    change(&mut settings);
    let backends = backends.iter().copied();
    balancer.register("api", settings, backends).unwrap();
    balancer.service("api").unwrap()
}

/// What was seen of one exchange whose attempts end so, in turn; the last of them again and again.
struct Seen {
    result: Result<u32, ExchangeError<Failure<&'static str>>>,
    /// Where the attempts went, and how long after the begin.
    went: Vec<(String, Duration)>,
}

type Answer = Result<u32, Failure<&'static str>>;

async fn run(service: &ServiceHandle, terms: &Exchange<'_>, answers: &[Answer]) -> Seen {
    let began = now();
    let went = Mutex::new(Vec::new());
    let result = service
        .exchange(terms, async |to| {
            let mut went = went.lock().unwrap();
            went.push((to.id.to_string(), (now() - began)));
            assert_eq!(to.attempt as usize, went.len());
            answers[(went.len() - 1).min(answers.len() - 1)].clone()
        })
        .await;
    Seen {
        result,
        went: went.into_inner().unwrap(),
    }
}

fn reset() -> Answer {
    Err(Failure::new(Fault::Reset, "reset"))
}

fn counts(service: &ServiceHandle, id: &str) -> Counts {
    service.backend(id).unwrap().counts
}

/// Where attempts went, and why it ended as it did.
async fn check(
    backends: &[&str],
    terms: &Exchange<'_>,
    answers: &[Answer],
    expect: (&[&str], &str),
) {
    let service = service(backends);
    let seen = run(&service, terms, answers).await;
    let went: Vec<&str> = seen.went.iter().map(|(id, _)| id.as_str()).collect();
    let end = match &seen.result {
        Ok(_) => "ok".to_owned(),
        Err(error) => match &error.stopped {
            Some(Stopped::Not(reason)) => reason.word().to_owned(),
            Some(Stopped::NoPick(error)) => error.to_string(),
            Some(other) => format!("{other:?}"),
            None => "at once".to_owned(),
        },
    };
    assert_eq!((went.as_slice(), end.as_str()), expect, "{answers:?}");
    let stats = service.stats();
    assert_eq!(stats.attempts.picked, went.len() as u64);
    assert_eq!(stats.attempts.in_flight, 0);
    assert_eq!(stats.attempts.abandoned, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_again_and_where() {
    let any = Exchange::new();
    let safe = Exchange::new().idempotent();
    let unsent = || Err(Failure::new(Fault::Connect, "refused"));
    let status = |status| Err(Failure::new(Fault::Status(status), "status"));
    let abc = ["a", "b", "c"];
    check(&abc, &any, &[Ok(1)], (&["a"], "ok")).await;
    check(&abc, &safe, &[reset(), Ok(1)], (&["a", "b"], "ok")).await;
    check(
        &abc,
        &safe,
        &[reset(), reset(), reset(), Ok(1)],
        (&["a", "b", "c", "a"], "ok"),
    )
    .await;
    check(
        &abc,
        &safe,
        &[reset()],
        (&["a", "b", "c", "a"], "attempts_exhausted"),
    )
    .await;
    check(&abc, &any, &[reset()], (&["a"], "not_safe")).await;
    check(&abc, &any, &[unsent(), Ok(1)], (&["a", "b"], "ok")).await;
    let vouched = || Err(Failure::new(Fault::Reset, "goaway").unsent());
    check(&abc, &any, &[vouched(), Ok(1)], (&["a", "b"], "ok")).await;
    check(&abc, &safe, &[status(503), Ok(1)], (&["a", "b"], "ok")).await;
    check(&abc, &safe, &[status(500)], (&["a"], "not_retryable")).await;
    check(
        &abc,
        &safe,
        &[Err(Failure::neutral("404"))],
        (&["a"], "at once"),
    )
    .await;
    check(&["a"], &safe, &[reset(), Ok(1)], (&["a", "a"], "ok")).await;
    // Who reached nobody looks further than the settings' attempts.
    let nobody = || Err(Failure::new(Fault::Connect, "refused").unreached());
    let six = ["a", "b", "c", "d", "e", "f"];
    let answers = [nobody(), nobody(), nobody(), nobody(), nobody(), Ok(1)];
    check(&six, &any, &answers, (&six, "ok")).await;
    // Where nobody is there, it has looked at each once; from then on attempts count.
    let rounds = ["a", "b", "c", "d", "e", "f", "c", "d", "e"];
    let ends = "attempts_exhausted";
    check(&six, &any, &[nobody()], (&rounds, ends)).await;
    check(&["a"], &any, &[nobody()], (&["a"; 4], ends)).await;
    let mut tried = Tried::default();
    let other = service(&["a", "b"]);
    tried.insert(other.select().unwrap().backend());
    let terms = safe.ask(Ask::new().tried(&tried));
    check(&["a", "b"], &terms, &[Ok(1)], (&["b"], "ok")).await;
    let only = [BackendId::from("b")];
    let terms = safe.ask(Ask::new().subset(&only));
    check(&abc, &terms, &[reset(), Ok(1)], (&["b", "b"], "ok")).await;
}

/// What reached nobody, and was known late, cost time: an attempt that counts.
#[tokio::test(start_paused = true)]
async fn what_is_known_late_is_an_attempt() {
    let six = ["a", "b", "c", "d", "e", "f"];
    // All but the last of them are excused, and the four of the settings.
    for (took, most) in [(250, 9), (251, 4)] {
        let service = service(&six);
        let nobody = async |_| {
            tokio::time::sleep(ms(took)).await;
            Err::<(), _>(Failure::new(Fault::Connect, "off").unreached())
        };
        let error = service.exchange(&Exchange::new(), nobody).await;
        assert_eq!(error.unwrap_err().attempts, most, "{took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_one_attempt() {
    let one = |settings: &mut ServiceSettings| settings.retry.attempts = 1;
    let safe = Exchange::new().idempotent();
    let nobody = || Err(Failure::new(Fault::Connect, "refused").unreached());
    for answer in [reset(), nobody()] {
        let service = with(&["a", "b"], one);
        let seen = run(&service, &safe, &[answer, Ok(1)]).await;
        let error = seen.result.unwrap_err();
        let stopped = Some(Stopped::Not(Reason::AttemptsExhausted));
        assert_eq!((error.attempts, error.stopped), (1, stopped));
    }
}

/// R1: theirs waits the same each time.
#[tokio::test(start_paused = true)]
async fn r1_waits_double_up_to_the_longest_and_are_drawn_by_chance() {
    let mut all = Vec::new();
    for _ in 0..200 {
        let service = service(&["a"]);
        let seen = run(&service, &Exchange::new().idempotent(), &[reset()]).await;
        let at: Vec<Duration> = seen.went.iter().map(|(_, at)| *at).collect();
        all.push([at[1] - at[0], at[2] - at[1], at[3] - at[2]]);
    }
    // Timers of tokio count whole milliseconds.
    for (nth, most) in [ms(40), ms(80), ms(100)].into_iter().enumerate() {
        let longest = all.iter().map(|waits| waits[nth]).max().unwrap();
        let mean = all.iter().map(|waits| waits[nth]).sum::<Duration>() / 200;
        assert!(
            longest <= most + ms(1) && longest > most * 9 / 10,
            "{longest:?} of {most:?}"
        );
        assert!(
            mean > most * 4 / 10 && mean < most * 6 / 10,
            "{mean:?} of {most:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_retry_on_another_backend_does_not_wait() {
    let service = service(&["a", "b"]);
    let seen = run(&service, &Exchange::new().idempotent(), &[reset(), Ok(7)]).await;
    assert_eq!(seen.result, Ok(7));
    assert_eq!(seen.went[1].1, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_asks_for_a_rest_gets_it_and_another_is_asked_at_once() {
    let rest = || Err(Failure::new(Fault::Status(503), "busy").rest(ms(1_500)));
    let terms = Exchange::new().idempotent();
    let alone = run(&service(&["a"]), &terms, &[rest(), Ok(1)]).await;
    assert!(alone.went[1].1 >= ms(1_500), "{:?}", alone.went);
    let two = run(&service(&["a", "b"]), &terms, &[rest(), Ok(1)]).await;
    assert_eq!(two.went[1], ("b".to_owned(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn time_ends_an_attempt_and_the_exchange() {
    let service = service(&["a", "b"]);
    let began = now();
    let hung = Exchange::new().idempotent().per_try(ms(100));
    let answered = service
        .exchange(&hung, async |to| match to.attempt {
            1 => std::future::pending::<Result<u32, Fault>>().await,
            _ => Ok(2),
        })
        .await;
    assert_eq!(answered, Ok(2));
    assert_eq!((now() - began), ms(100));
    assert_eq!(counts(&service, "a").failed, 1);

    let terms = Exchange::new()
        .idempotent()
        .per_try(ms(100))
        .deadline(ms(150));
    let began = now();
    let late = service.exchange(&terms, |_| std::future::pending::<Result<u32, Fault>>());
    let late = late.await.unwrap_err();
    assert_eq!((&late.cause, late.attempts), (&Cause::TimedOut, 2));
    assert_eq!(late.stopped, Some(Stopped::Not(Reason::DeadlineTooClose)));
    assert_eq!((now() - began), ms(150));
    assert_eq!(service.stats().attempts.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_to_pick_is_said_at_once_and_after_an_attempt() {
    let service = service(&[]);
    let nobody = run(&service, &Exchange::new(), &[Ok(1)])
        .await
        .result
        .unwrap_err();
    assert_eq!(
        nobody.cause,
        Cause::NoPick(Error::Refused(Refusal::NoBackends))
    );
    assert_eq!((nobody.attempts, nobody.backend), (0, None));

    service.add_backend("a").unwrap();
    let gone = service
        .exchange(&Exchange::new().idempotent(), async |_| {
            service.remove_backend("a").unwrap();
            Err::<(), _>(Failure::new(Fault::Reset, "reset"))
        })
        .await
        .unwrap_err();
    assert_eq!(
        gone.stopped,
        Some(Stopped::NoPick(Error::Refused(Refusal::NoBackends)))
    );
    assert_eq!(
        gone.to_string(),
        "reset (attempts: 1, the last by a; no other: the service has no backends)"
    );
    assert_eq!(gone.into_failed().unwrap().error, "reset");

    let unknown = LoadBalancer::new();
    let unknown = unknown
        .exchange("web", &Exchange::new(), async |_| Ok::<(), Fault>(()))
        .await;
    assert_eq!(
        unknown.unwrap_err().cause,
        Cause::NoPick(Error::UnknownService("web".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_service_is_waited_for_where_that_is_wanted() {
    let one = |settings: &mut ServiceSettings| {
        settings.max_in_flight = std::num::NonZeroU32::new(1);
        settings.queue = Some(QueueSettings::default());
    };
    let service = with(&["a"], one);
    let held = service.select().unwrap();
    let full = run(&service, &Exchange::new(), &[Ok(1)])
        .await
        .result
        .unwrap_err();
    assert_eq!(full.cause, Cause::NoPick(Error::Refused(Refusal::AllFull)));
    let waiting = {
        let service = service.clone();
        tokio::spawn(async move {
            let terms = Exchange::new().wait(ms(500));
            service.exchange(&terms, async |_| Ok::<_, Fault>(3)).await
        })
    };
    tokio::task::yield_now().await;
    held.succeeded();
    assert_eq!(waiting.await.unwrap(), Ok(3));
}

#[tokio::test(start_paused = true)]
async fn the_budget_bounds_retries_and_what_is_not_made_is_given_back() {
    let service = with(&["a", "b"], |settings| {
        settings.retry.budget.floor_per_second = 1;
        settings.retry.budget.keep = Duration::from_secs(2);
    });
    let safe = Exchange::new().idempotent();
    let left = |service: &ServiceHandle| service.snapshot().retry_budget;
    assert_eq!(left(&service), 2);
    let spent = run(&service, &safe, &[reset()]).await.result.unwrap_err();
    assert_eq!(spent.stopped, Some(Stopped::Not(Reason::BudgetExhausted)));
    assert_eq!((spent.attempts, left(&service)), (3, 0));

    let alone = with(&["a"], |settings| {
        settings.retry.backoff_base = Duration::from_secs(60);
    });
    let before = left(&alone);
    let waits = {
        let alone = alone.clone();
        tokio::spawn(async move {
            run(&alone, &Exchange::new().idempotent(), &[reset()])
                .await
                .result
        })
    };
    while counts(&alone, "a").failed == 0 || left(&alone) == before {
        tokio::task::yield_now().await;
    }
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled());
    assert_eq!(left(&alone), before);
    assert_eq!(alone.stats().requests.left, 1);
}

#[tokio::test(start_paused = true)]
async fn a_followed_result_holds_its_charge_to_the_last_byte() {
    let service = service(&["a"]);
    let head = async |_| Ok::<_, Fault>(vec![1, 2, 3]);
    let body = service
        .exchange_followed(&Exchange::new(), head)
        .await
        .unwrap();
    assert_eq!(counts(&service, "a").in_flight, 1);
    assert_eq!(service.stats().requests.succeeded, 1);
    assert_eq!(body.finish(Outcome::Completed), [1, 2, 3]);
    assert_eq!(
        (
            counts(&service, "a").in_flight,
            counts(&service, "a").succeeded
        ),
        (0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn panics_and_dropped_futures_give_the_charge_back_and_blame_nobody() {
    let service = service(&["a"]);
    for panics in [true, false] {
        let handle = service.clone();
        let task = tokio::spawn(async move {
            let attempt = async |_| -> Result<(), Fault> {
                assert!(!panics, "the attempt panics");
                std::future::pending().await
            };
            handle.exchange(&Exchange::new(), attempt).await
        });
        tokio::task::yield_now().await;
        task.abort();
        assert_eq!(task.await.unwrap_err().is_panic(), panics);
    }
    let counts = counts(&service, "a");
    assert_eq!(
        (counts.in_flight, counts.abandoned, counts.failed),
        (0, 2, 0)
    );
    assert_eq!(service.stats().requests.left, 2);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_told_by_its_own_event() {
    let service = service(&["a", "b"]);
    let balancer = LoadBalancer::new();
    let settings = service.settings();
    balancer.register("api", settings, ["a", "b"]).unwrap();
    let mut events = balancer.subscribe_exchanges();
    let service = balancer.service("api").unwrap();
    run(&service, &Exchange::new().idempotent(), &[reset(), Ok(1)])
        .await
        .result
        .unwrap();
    let ends: Vec<_> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event.kind {
            EventKind::Finished {
                backend, failed, ..
            } => Some((backend.to_string(), failed)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [("a".to_owned(), true), ("b".to_owned(), false)]);
}

/// R8: there one failed request with three retries was 4 requests of which 1 failed.
#[tokio::test(start_paused = true)]
async fn r8_requests_and_attempts_are_told_apart() {
    let service = with(&["a", "b"], |settings| settings.histograms = true);
    let safe = Exchange::new().idempotent();
    run(&service, &safe, &[reset()]).await.result.unwrap_err();
    run(&service, &safe, &[reset(), Ok(1)])
        .await
        .result
        .unwrap();
    run(&service, &safe, &[Ok(1)]).await.result.unwrap();
    let stats = service.stats();
    let requests = &stats.requests;
    assert_eq!(
        (requests.started, requests.succeeded, requests.failed),
        (3, 2, 1)
    );
    assert_eq!((requests.left, requests.under_way), (0, 0));
    assert_eq!(requests.success_rate(), Some(2.0 / 3.0));
    assert_eq!(
        (
            stats.attempts.picked,
            stats.attempts.succeeded,
            stats.attempts.failed
        ),
        (7, 2, 5)
    );
    assert_eq!(stats.success_rate(), Some(2.0 / 7.0));
    let each = stats.backends.iter();
    assert_eq!(each.clone().map(|one| one.attempts.picked).sum::<u64>(), 7);
    assert_eq!(each.map(|one| one.attempts.succeeded).sum::<u64>(), 2);
}

#[tokio::test(start_paused = true)]
async fn statistics_of_a_service_and_of_each_backend() {
    let service = with(&["a", "b", "c"], |settings| settings.histograms = true);
    let before = service.stats();
    assert_eq!(
        (before.success_rate(), before.latency, before.quantile(0.5)),
        (None, None, None)
    );
    assert_eq!(
        (
            before.requests.success_rate(),
            before.requests.quantile(0.5)
        ),
        (None, None)
    );
    let slow = async |to: evenkeel::Target| {
        tokio::time::sleep(ms(if to.id.as_str() == "a" { 10 } else { 30 })).await;
        Ok::<_, Fault>(())
    };
    for _ in 0..2 {
        service.exchange(&Exchange::new(), slow).await.unwrap();
    }
    let held = service.select().unwrap();
    // Once more on `a`, and a failure of `b`: means are by successes, and rates know of failures.
    service.exchange(&Exchange::new(), slow).await.unwrap();
    service.select().unwrap().failed(Fault::Reset);
    service.mark_health("b", false).unwrap();
    let stats = service.stats();
    // The five fields of k-msg.
    assert_eq!(
        (stats.members, stats.healthy, stats.breakers_open),
        (3, 2, 0)
    );
    assert_eq!((stats.attempts.in_flight, stats.attempts.picked), (1, 5));
    let close = |got: Option<Duration>, wanted: u64| {
        let (got, wanted) = (got.unwrap().as_secs_f64() * 1e3, wanted as f64);
        assert!(
            (got / wanted - 1.0).abs() < 0.03,
            "{got} ms, not {wanted} ms"
        );
    };
    close(stats.latency, 17);
    close(stats.quantile(0.5), 10);
    close(stats.quantile(0.99), 30);
    close(stats.requests.quantile(1.0), 30);
    let (a, c) = (stats.backend("a").unwrap(), stats.backend("c").unwrap());
    close(a.latency, 10);
    close(a.quantile(0.99), 10);
    assert_eq!(
        (a.success_rate(), c.success_rate(), c.attempts.in_flight),
        (Some(1.0), None, 1)
    );
    let b = stats.backend("b").unwrap();
    assert_eq!(
        (b.success_rate(), stats.success_rate()),
        (Some(0.5), Some(0.75))
    );
    assert_eq!(stats.requests.success_rate(), Some(1.0));
    assert_eq!(
        (stats.refused[&Refusal::AllDown], stats.backends.len()),
        (0, 3)
    );
    drop(held);
    assert!(LoadBalancer::new().stats("api").is_none());
}

#[test]
fn errors_say_what_they_are() {
    use evenkeel::{Failed, Verdict};
    use std::io::{Error as Io, ErrorKind};
    // Bare, and as that of connecting.
    let check = |kind: ErrorKind, fault: Fault, connecting: Progress| {
        let (bare, connect) = (Io::from(kind), Failure::connecting(Io::from(kind)));
        assert_eq!(
            (bare.verdict(), bare.progress()),
            (Verdict::Failure(fault), Progress::Sent),
            "{kind}"
        );
        assert_eq!(
            (connect.verdict(), connect.progress()),
            (Verdict::Failure(Fault::Connect), connecting),
            "{kind}"
        );
        let mapped = connect.rest(ms(7)).map(|error| error.kind());
        assert_eq!(
            (mapped.error, mapped.progress(), Failed::rest(&mapped)),
            (kind, connecting, Some(ms(7)))
        );
    };
    use ErrorKind as Kind;
    use Progress::{Unreached, Unsent};
    check(Kind::ConnectionRefused, Fault::Connect, Unreached);
    check(Kind::HostUnreachable, Fault::Connect, Unreached);
    check(Kind::NetworkUnreachable, Fault::Connect, Unreached);
    check(Kind::NotFound, Fault::Reset, Unreached);
    check(Kind::TimedOut, Fault::Timeout, Unsent);
    check(Kind::InvalidData, Fault::Protocol, Unsent);
    check(Kind::ConnectionReset, Fault::Reset, Unsent);
    check(Kind::UnexpectedEof, Fault::Reset, Unsent);
}

/// Linux says so to who reads the answer of what was sent; a file that is missing has nothing to do with the backend.
#[tokio::test(start_paused = true)]
async fn an_io_error_of_any_kind_does_not_send_again_what_must_not_be_done_twice() {
    use std::io::{Error as Io, ErrorKind};
    let posted = async |kind: ErrorKind| {
        let service = service(&["a", "b", "c"]);
        let mut posts = 0;
        let any = Exchange::new();
        let posted = service.exchange(&any, |_| {
            posts += 1;
            std::future::ready(Err::<(), _>(Io::from(kind)))
        });
        let error = posted.await.unwrap_err();
        assert_eq!(error.stopped, Some(Stopped::Not(Reason::NotSafe)), "{kind}");
        posts
    };
    for kind in [
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::NotFound,
        ErrorKind::ConnectionRefused,
    ] {
        assert_eq!(posted(kind).await, 1, "{kind}");
    }
    let service = service(&["a", "b", "c", "d", "e"]);
    let refused = || Failure::connecting(Io::from(ErrorKind::ConnectionRefused));
    let any = Exchange::new();
    let connected = service.exchange(&any, async |to| match to.attempt {
        5 => Ok(to.attempt),
        _ => Err(refused()),
    });
    assert_eq!(connected.await.ok(), Some(5));
}
