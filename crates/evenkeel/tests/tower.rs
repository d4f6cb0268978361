//! The tower service: readiness that is true, a charge that follows the response, and nothing kept of who left.

#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::balance::affinity::ClientsSettings;
use evenkeel::balance::backend::Counts;
use evenkeel::balance::hashing;
use evenkeel::balance::settings::HashMethod;
use evenkeel::tower::{Asking, Balance, BalanceLayer, CallError, Http, Reading};
use evenkeel::{
    Ask, BackendSpec, Error, Fault, LoadBalancer, Outcome, PolicyChoice, QueueSettings, Refusal,
    ServiceHandle, ServiceSettings, Verdict,
};
use http::Response;
use http_body_util::{BodyExt, Full};
use tower_layer::Layer;
use tower_service::Service;

fn service(backends: &[&str], change: impl FnOnce(&mut ServiceSettings)) -> ServiceHandle {
    let balancer = LoadBalancer::new();
    let mut settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
    change(&mut settings);
    let backends = backends.iter().copied();
    balancer.register("api", settings, backends).unwrap();
    balancer.service("api").unwrap()
}

fn counts(service: &ServiceHandle, id: &str) -> Counts {
    service.backend(id).unwrap().counts
}

/// Says its name. Ready when it was told so, broken while it is told so.
#[derive(Clone)]
struct Echo {
    id: String,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    shut: AtomicBool,
    broken: AtomicBool,
    hangs: AtomicBool,
    made: AtomicUsize,
}

impl Service<u64> for Echo {
    type Response = String;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<String, &'static str>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if self.gate.broken.load(Ordering::Relaxed) {
            return Poll::Ready(Err("no connection"));
        }
        match self.gate.shut.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let id = self.id.clone();
        let hangs = self.gate.hangs.load(Ordering::Relaxed);
        Box::pin(async move {
            if hangs {
                pending::<()>().await;
            }
            match request {
                0 => Err("asked for nothing"),
                _ => Ok(id),
            }
        })
    }
}

type Gates = Arc<Mutex<HashMap<String, Arc<Gate>>>>;

/// Makes an echo of each backend, and what opens and shuts it.
fn echoes() -> (Gates, impl Fn(&BackendSpec) -> Echo + Clone) {
    let gates = Gates::default();
    let all = gates.clone();
    let make = move |spec: &BackendSpec| {
        let id = spec.id.to_string();
        let gate = all.lock().unwrap().entry(id.clone()).or_default().clone();
        gate.made.fetch_add(1, Ordering::Relaxed);
        Echo { id, gate }
    };
    (gates, make)
}

fn gate(gates: &Gates, id: &str) -> Arc<Gate> {
    gates
        .lock()
        .unwrap()
        .entry(id.to_owned())
        .or_default()
        .clone()
}

async fn call<S: Service<Req>, Req>(
    balance: &mut S,
    request: Req,
) -> Result<S::Response, S::Error> {
    poll_fn(|cx| balance.poll_ready(cx)).await?;
    balance.call(request).await
}

/// Whether it is ready now.
fn is_ready<S: Service<u64>>(balance: &mut S) -> bool {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    matches!(balance.poll_ready(&mut cx), Poll::Ready(Ok(())))
}

#[tokio::test]
async fn calls_are_balanced_over_inner_services_made_once_each() {
    let service = service(&["a", "b"], |_| ());
    let (gates, make) = echoes();
    let mut balance = BalanceLayer::new(service.clone()).layer(make);
    let mut went = Vec::new();
    for _ in 0..4 {
        let mut clone = balance.clone();
        went.push(call(&mut clone, 1).await.unwrap());
    }
    went.sort();
    assert_eq!(went, ["a", "a", "b", "b"]);
    assert_eq!(
        call(&mut balance, 0).await,
        Err(CallError::Inner("asked for nothing"))
    );
    for id in ["a", "b"] {
        assert_eq!(gate(&gates, id).made.load(Ordering::Relaxed), 1);
        assert_eq!(counts(&service, id).in_flight, 0);
    }
    let stats = service.stats();
    assert_eq!((stats.requests.succeeded, stats.requests.failed), (4, 1));
    assert_eq!((stats.attempts.succeeded, stats.attempts.failed), (4, 1));
}

#[tokio::test]
async fn ready_is_a_charge_and_a_ready_inner_service() {
    let service = service(&["a"], |_| ());
    let (gates, make) = echoes();
    gate(&gates, "a").shut.store(true, Ordering::Relaxed);
    let mut balance = Balance::new(service.clone(), make);
    assert!(!is_ready(&mut balance));
    assert_eq!(counts(&service, "a").in_flight, 1);
    gate(&gates, "a").shut.store(false, Ordering::Relaxed);
    assert!(is_ready(&mut balance) && is_ready(&mut balance));
    assert_eq!(counts(&service, "a").in_flight, 1);
    // A clone holds nothing; what is dropped ready gives back what it holds.
    let clone = balance.clone();
    drop(balance);
    assert_eq!(
        (
            counts(&service, "a").in_flight,
            counts(&service, "a").failed
        ),
        (0, 0)
    );
    drop(clone);
}

/// What the caller does between the two is not the backend's time.
#[tokio::test(start_paused = true)]
async fn the_attempt_begins_with_the_call() {
    let service = service(&["a"], |_| ());
    let mut balance = Balance::new(service.clone(), echoes().1);
    assert!(is_ready(&mut balance));
    tokio::time::sleep(Duration::from_secs(9)).await;
    balance.call(1).await.unwrap();
    assert_eq!(service.backend("a").unwrap().latency, Some(Duration::ZERO));
}

#[tokio::test]
async fn readiness_waits_in_the_queue_of_a_full_service() {
    let service = service(&["a"], |settings| {
        settings.max_in_flight = NonZeroU32::new(1);
        settings.queue = Some(QueueSettings::default());
    });
    let mut balance = Balance::new(service.clone(), echoes().1);
    let held = service.select().unwrap();
    assert!(!is_ready(&mut balance));
    let waits = tokio::spawn(async move { call(&mut balance, 1).await });
    tokio::task::yield_now().await;
    assert_eq!(service.snapshot().queue.waiting, 1);
    held.succeeded();
    assert_eq!(waits.await.unwrap(), Ok("a".to_owned()));
}

#[tokio::test]
async fn a_refusal_is_the_answer_of_the_call_and_never_the_end_of_the_service() {
    let service = service(&["a"], |settings| {
        settings.max_in_flight = NonZeroU32::new(1);
    });
    let mut balance = Balance::new(service.clone(), echoes().1);
    let held = service.select().unwrap();
    let full = call(&mut balance, 1).await;
    assert_eq!(
        full,
        Err(CallError::NoPick(Error::Refused(Refusal::AllFull)))
    );
    held.succeeded();
    assert_eq!(call(&mut balance, 1).await, Ok("a".to_owned()));
    assert_eq!(service.stats().requests.failed, 1);
}

/// Routers want a service that they can clone on any thread, seen from several: also over inner services that are each one thread's.
#[test]
fn a_balance_may_be_seen_from_other_threads() {
    fn free<T: Clone + Send + Sync + 'static>(_: &T) {}
    #[derive(Clone)]
    struct Alone(#[expect(dead_code, reason = "that it is here counts")] std::cell::Cell<u8>);

    let service = service(&["a"], |_| ());
    let alone = |_: &BackendSpec| Alone(std::cell::Cell::new(0));
    free(&Balance::new(service.clone(), alone));
    free(&Balance::new(service, alone).keyed(|user: &u64| *user));
}

#[tokio::test]
async fn readiness_that_waits_ends_with_its_service() {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default()
        .max_in_flight(1)
        .queue(QueueSettings::default());
    balancer.register("api", settings, ["a"]).unwrap();
    let service = balancer.service("api").unwrap();
    let _held = service.select().unwrap();
    let mut balance = Balance::new(service, echoes().1);
    assert!(!is_ready(&mut balance));
    balancer.unregister("api").unwrap();
    let gone = Error::UnknownService("api".into());
    assert_eq!(call(&mut balance, 1).await, Err(CallError::NoPick(gone)));
}

/// Fails with an error in a box, as clients over hyper do.
#[derive(Clone)]
struct Boxing;

impl Service<u64> for Boxing {
    type Response = ();
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = std::future::Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Self::Future {
        ready(Err("no connection".into()))
    }
}

/// Tower's middleware wants errors that go into a box; one that is in a box already goes on as it is, and a refusal as what it is.
#[tokio::test]
async fn errors_go_into_a_box_whatever_those_within_are() {
    let service = service(&["a"], |settings| settings.breaker = None);
    let mut balance = Balance::new(service.clone(), |_: &BackendSpec| Boxing);
    let broke = call(&mut balance, 1).await.map_err(CallError::into_boxed);
    assert_eq!(broke.unwrap_err().to_string(), "no connection");
    service.remove_backend("a").unwrap();
    let refused = call(&mut balance, 1).await.map_err(CallError::into_boxed);
    let refused = refused.unwrap_err();
    let expect = Error::Refused(Refusal::NoBackends);
    assert_eq!(refused.downcast_ref::<Error>(), Some(&expect));
}

#[tokio::test]
async fn an_inner_service_that_breaks_is_made_anew_and_another_is_asked() {
    let service = service(&["a", "b"], |settings| settings.breaker = None);
    let (gates, make) = echoes();
    gate(&gates, "a").broken.store(true, Ordering::Relaxed);
    let mut balance = Balance::new(service.clone(), make);
    for _ in 0..4 {
        assert_eq!(call(&mut balance, 1).await, Ok("b".to_owned()));
    }
    assert_eq!(
        (
            counts(&service, "a").failed,
            counts(&service, "a").in_flight
        ),
        (4, 0)
    );
    gate(&gates, "b").broken.store(true, Ordering::Relaxed);
    let none = call(&mut balance, 1).await;
    assert_eq!(
        none,
        Err(CallError::NoPick(Error::Refused(Refusal::AllTried)))
    );
    gate(&gates, "a").broken.store(false, Ordering::Relaxed);
    assert_eq!(call(&mut balance, 1).await, Ok("a".to_owned()));
    assert!(gate(&gates, "a").made.load(Ordering::Relaxed) > 1);
}

/// More are broken than a pick remembers as tried.
#[tokio::test]
async fn a_call_looks_through_sixteen_that_are_broken_and_no_more() {
    let ids: Vec<String> = (0..40).map(|at| format!("b{at}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let service = service(&ids, |settings| settings.breaker = None);
    let (gates, make) = echoes();
    for id in &ids {
        gate(&gates, id).broken.store(true, Ordering::Relaxed);
    }
    let mut balance = Balance::new(service.clone(), make);
    for calls in 1..=2 {
        let none = call(&mut balance, 1).await;
        let all_tried = Error::Refused(Refusal::AllTried);
        assert_eq!(none, Err(CallError::NoPick(all_tried)));
        let attempts = service.stats().attempts;
        assert_eq!((attempts.failed, attempts.in_flight), (16 * calls, 0));
    }
}

#[tokio::test]
async fn a_dropped_call_gives_its_charge_back_and_blames_nobody() {
    let service = service(&["a"], |_| ());
    let (gates, make) = echoes();
    gate(&gates, "a").hangs.store(true, Ordering::Relaxed);
    let mut balance = Balance::new(service.clone(), make);
    poll_fn(|cx| Service::<u64>::poll_ready(&mut balance, cx))
        .await
        .unwrap();
    let mut under_way = balance.call(1);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(Pin::new(&mut under_way).poll(&mut cx).is_pending());
    assert_eq!(counts(&service, "a").in_flight, 1);
    assert_eq!(service.stats().requests.under_way, 1);
    drop(under_way);
    let counts = counts(&service, "a");
    assert_eq!(
        (counts.in_flight, counts.abandoned, counts.failed),
        (0, 1, 0)
    );
    assert_eq!(service.stats().requests.left, 1);
}

#[tokio::test]
async fn keyed_calls_go_where_their_key_belongs() {
    let service = service(&["a", "b", "c"], |settings| {
        settings.policy = PolicyChoice::Hash(HashMethod::Maglev);
    });
    let by = |request: &u64| hashing::key(&request.to_le_bytes());
    let mut balance = Balance::new(service.clone(), echoes().1).keyed(by);
    let mut all = HashMap::new();
    for request in 1..60 {
        let first = call(&mut balance, request).await.unwrap();
        assert_eq!(call(&mut balance, request).await.unwrap(), first);
        *all.entry(first).or_insert(0) += 1;
    }
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(service.stats().attempts.in_flight, 0);
}

/// By the key of the request: the future of the call does what readiness does without one.
#[tokio::test]
async fn a_keyed_call_whose_inner_service_breaks_makes_it_anew_and_asks_another() {
    let service = service(&["a", "b", "c"], |settings| {
        settings.policy = PolicyChoice::Hash(HashMethod::Maglev);
        settings.breaker = None;
    });
    let (gates, make) = echoes();
    let mut balance = Balance::new(service.clone(), make).keyed(|_: &u64| 7);
    let home = call(&mut balance, 1).await.unwrap();
    gate(&gates, &home).broken.store(true, Ordering::Relaxed);
    let next = call(&mut balance, 1).await.unwrap();
    assert_ne!(next, home);
    assert_eq!(counts(&service, &home).failed, 1);
    gate(&gates, &home).broken.store(false, Ordering::Relaxed);
    assert_eq!(call(&mut balance, 1).await.unwrap(), home);
    assert_eq!(gate(&gates, &home).made.load(Ordering::Relaxed), 2);
    for id in ["a", "b", "c"] {
        gate(&gates, id).broken.store(true, Ordering::Relaxed);
    }
    let none = call(&mut balance, 1).await;
    let all_tried = Error::Refused(Refusal::AllTried);
    assert_eq!(none, Err(CallError::NoPick(all_tried)));
    assert_eq!(service.stats().attempts.in_flight, 0);
}

#[tokio::test]
async fn a_keyed_call_waits_in_the_queue_of_a_full_service() {
    let service = service(&["a"], |settings| {
        settings.max_in_flight = NonZeroU32::new(1);
        settings.queue = Some(QueueSettings::default());
    });
    let mut balance = Balance::new(service.clone(), echoes().1).keyed(|_: &u64| 7);
    let held = service.select().unwrap();
    let waits = tokio::spawn(async move { call(&mut balance, 1).await });
    tokio::task::yield_now().await;
    assert_eq!(service.snapshot().queue.waiting, 1);
    held.succeeded();
    assert_eq!(waits.await.unwrap(), Ok("a".to_owned()));
}

/// Who waits in the queue behind one that broke is not given that one again.
#[tokio::test]
async fn who_waits_is_not_given_what_broke_for_it() {
    let one_each = |id: &str| BackendSpec::new(id).max_in_flight(1);
    let service = service(&[], |settings| {
        settings.breaker = None;
        settings.queue = Some(QueueSettings::default());
    });
    service
        .update_backends([one_each("a"), one_each("b")])
        .unwrap();
    let (gates, make) = echoes();
    gate(&gates, "a").broken.store(true, Ordering::Relaxed);
    let mut balance = Balance::new(service.clone(), make);
    let only_b = [evenkeel::BackendId::from("b")];
    let held = service.select_with(&Ask::new().subset(&only_b)).unwrap();
    // a breaks, b is full: it waits for b.
    assert!(!is_ready(&mut balance));
    assert_eq!(service.snapshot().queue.waiting, 1);
    held.succeeded();
    assert_eq!(call(&mut balance, 1).await, Ok("b".to_owned()));
    assert_eq!(counts(&service, "a").failed, 1);
}

#[tokio::test]
async fn requests_ask_for_what_they_like() {
    let service = service(&["a", "b", "c"], |_| ());
    let east = [evenkeel::BackendId::from("b")];
    let mut balance = BalanceLayer::new(service.clone())
        .asking(move |request: &u64| match request {
            1 => Ask::new(),
            _ => Ask::new().queue_class(7),
        })
        .layer(echoes().1);
    call(&mut balance, 1).await.unwrap();

    #[derive(Clone)]
    struct Wants([evenkeel::BackendId; 1]);
    impl Asking<u64> for Wants {
        fn ask<'a>(&'a self, request: &'a u64) -> Ask<'a> {
            match request {
                9 => Ask::new().subset(&self.0),
                _ => Ask::new(),
            }
        }
        fn client<'a>(&'a self, request: &'a u64) -> Option<&'a [u8]> {
            (*request < 9).then_some(b"somebody")
        }
    }
    service.keep_clients(ClientsSettings::default()).unwrap();
    let mut balance = Balance::new(service.clone(), echoes().1).asked_by(Wants(east));
    for _ in 0..3 {
        assert_eq!(call(&mut balance, 9).await.unwrap(), "b");
    }
    let home = call(&mut balance, 1).await.unwrap();
    for _ in 0..3 {
        assert_eq!(call(&mut balance, 2).await.unwrap(), home);
    }
    let kept = service.client_backend("somebody").unwrap();
    assert_eq!(kept.to_string(), home);
}

/// What `make` panics with is the call's; the next one goes on.
#[tokio::test]
async fn what_panics_as_it_is_made_leaves_nothing_half_done() {
    let service = service(&["a"], |settings| {
        settings.max_in_flight = NonZeroU32::new(1);
        settings.queue = Some(QueueSettings::default());
    });
    let (_, make) = echoes();
    let first = AtomicBool::new(true);
    let panics = move |spec: &BackendSpec| {
        assert!(
            !first.swap(false, Ordering::Relaxed),
            "it panics as it is made"
        );
        make(spec)
    };
    let mut balance = Balance::new(service.clone(), panics);
    let held = service.select().unwrap();
    assert!(!is_ready(&mut balance));
    held.succeeded();
    let poll = std::panic::AssertUnwindSafe(|| is_ready(&mut balance));
    assert!(std::panic::catch_unwind(poll).is_err());
    assert_eq!(counts(&service, "a").in_flight, 0);
    assert_eq!(call(&mut balance, 1).await, Ok("a".to_owned()));
}

#[tokio::test]
#[should_panic(expected = "polled after its end")]
async fn a_call_that_has_ended_is_not_polled_again() {
    let service = service(&["a"], |_| ());
    let mut balance = Balance::new(service, echoes().1);
    let mut sent = Service::<u64>::call(&mut balance, 1);
    assert!((&mut sent).await.is_ok());
    drop(sent.await);
}

#[tokio::test]
async fn members_that_leave_or_move_are_made_anew() {
    let service = service(&["a"], |_| ());
    let (gates, make) = echoes();
    let mut balance = Balance::new(service.clone(), make);
    let made = |id: &str| gate(&gates, id).made.load(Ordering::Relaxed);
    call(&mut balance, 1).await.unwrap();
    service
        .set_weights([("a", evenkeel::Weight::new(5).unwrap())])
        .unwrap();
    call(&mut balance, 1).await.unwrap();
    assert_eq!(made("a"), 1);
    service
        .update_backend(BackendSpec::new("a").label("address", "10.0.0.9:80"))
        .unwrap();
    call(&mut balance, 1).await.unwrap();
    assert_eq!(made("a"), 2);
    service.update_backends(["b"]).unwrap();
    assert_eq!(call(&mut balance, 1).await.unwrap(), "b");
    service.update_backends(["a"]).unwrap();
    call(&mut balance, 1).await.unwrap();
    assert_eq!(made("a"), 3);
}

/// Answers with this status and body.
#[derive(Clone)]
struct Web(u16);

/// Two frames, of which the second may be an error.
mod frames {
    use super::*;
    use http_body::Frame;

    pub(crate) struct Frames(pub(crate) Vec<Result<Frame<Bytes>, &'static str>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.pop())
        }
    }
}

impl Service<u64> for Web {
    type Response = Response<frames::Frames>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, breaks: u64) -> Self::Future {
        let data = || Ok(http_body::Frame::data(Bytes::from_static(b"x")));
        let last = if breaks == 2 { Err("cut") } else { data() };
        let body = frames::Frames(vec![last, data()]);
        ready(Ok(Response::builder().status(self.0).body(body).unwrap()))
    }
}

/// What one answer of this status teaches: succeeded, failed, by the head alone and after the body.
async fn check(status: u16, request: u64, head: (u64, u64), body: (u64, u64)) {
    let service = service(&["a"], |_| ());
    let mut balance = Balance::new(service.clone(), move |_| Web(status)).reading(Http);
    let response = call(&mut balance, request).await.unwrap();
    assert_eq!(response.status(), status);
    let learned = || {
        let counts = counts(&service, "a");
        (counts.succeeded, counts.failed)
    };
    assert_eq!(
        (learned(), counts(&service, "a").in_flight),
        (head, 1),
        "{status}"
    );
    drop(
        response
            .into_body()
            .collect()
            .await
            .map(|all| all.to_bytes()),
    );
    let counts = counts(&service, "a");
    assert_eq!(
        (learned(), counts.in_flight, counts.finished),
        (body, 0, 1),
        "{status}"
    );
}

#[tokio::test]
async fn http_answers_teach_by_status_and_hold_the_charge_to_the_last_frame() {
    check(200, 1, (0, 0), (1, 0)).await;
    check(404, 1, (0, 0), (0, 0)).await;
    check(500, 1, (0, 1), (0, 1)).await;
    check(501, 1, (0, 0), (0, 0)).await;
    check(503, 1, (0, 1), (0, 1)).await;
    check(200, 2, (0, 0), (0, 1)).await;
}

#[test]
fn a_rest_is_read_in_seconds_and_as_a_date() {
    let check = |said: &str, rest: Option<u64>| {
        let busy = Response::builder().status(503).header("retry-after", said);
        let response = busy.body(Full::<Bytes>::default()).unwrap();
        let verdict = Reading::<_, Infallible>::answered(&Http, &response);
        let retry_after = rest.map(Duration::from_secs);
        let overloaded = Verdict::Failure(Fault::Overloaded { retry_after });
        assert_eq!(verdict, overloaded, "{said}");
    };
    check("7", Some(7));
    check(" 120 ", Some(120));
    check("0", Some(0));
    let year = 365 * 24 * 60 * 60;
    check("99999999999999999999999", Some(year));
    check("+7", None);
    check("", None);
    check("soon", None);
    // What is past, and what lies ahead of every clock.
    check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
    check("Fri, 31 Dec 9999 23:59:59 GMT", Some(year));
    check("Fri, 31 Dec 9999", None);
}

#[tokio::test]
async fn a_body_that_says_its_end_needs_no_further_poll() {
    let service = service(&["a"], |_| ());
    let pick = || service.select().unwrap();
    let mut body = pick().follow(Full::new(Bytes::from_static(b"whole")));
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "whole");
    assert!(body.pick().is_none());
    let held = pick().follow(Full::new(Bytes::from_static(b"x")));
    assert_eq!(counts(&service, "a").in_flight, 1);
    held.finish(Outcome::Completed);

    // An empty body is never polled by who looks before.
    #[derive(Clone)]
    struct Empty;
    impl Service<u64> for Empty {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: u64) -> Self::Future {
            ready(Ok(Response::new(Full::default())))
        }
    }
    let mut balance = Balance::new(service.clone(), |_: &BackendSpec| Empty).reading(Http);
    let response = call(&mut balance, 1).await.unwrap();
    assert_eq!(counts(&service, "a").in_flight, 0);
    drop(response);
    assert_eq!(counts(&service, "a").finished, 3);
}
