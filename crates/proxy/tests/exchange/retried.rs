//! Answers that speak of failing: relayed when nobody else can be asked, given up at once when somebody can.

use std::time::Duration;

use crate::failed::NOBODYS;
use crate::world::{Backend, Proxy, plan};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 20\r\nContent-Length: 9\r\n\r\nits words";
const BAD: &str = "HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nits words";

/// A proxy for which no wait is short: no answer comes of a wait. It asks each backend once at most.
fn proxy(backends: &[&Backend]) -> Proxy {
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let mut plan = plan(&addresses);
    let settings = &mut plan.services[0].settings;
    settings.breaker = None;
    settings.retry.attempts = u32::try_from(backends.len()).unwrap();
    settings.retry.backoff_base = Duration::from_secs(3600);
    settings.retry.backoff_max = Duration::from_secs(3600);
    plan.services[0].limits.exchange = Duration::from_secs(7200);
    Proxy::start(plan, 1)
}

fn get(proxy: &Proxy) -> String {
    proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// The backend's own answer comes whole, and every backend was asked once.
#[track_caller]
fn relayed(answers: &[&'static str], start: &str) {
    let backends: Vec<_> = answers
        .iter()
        .map(|answer| Backend::answering(answer))
        .collect();
    let proxy = proxy(&backends.iter().collect::<Vec<_>>());
    for _ in 0..2 {
        let got = get(&proxy);
        assert!(got.starts_with(start), "{answers:?}: {got}");
        assert!(got.ends_with("\r\n\r\nits words"), "{answers:?}: {got}");
        for backend in &backends {
            backend.saw();
            assert!(backend.saw_nothing(), "{answers:?}: asked twice");
        }
    }
}

#[test]
fn an_answer_is_given_up_for_another_backend_alone() {
    relayed(&[BUSY], "HTTP/1.1 503 Busy\r\n");
    relayed(&[BAD], "HTTP/1.1 502 Bad\r\n");
    // The second is asked at once, whatever rest the first asked for; its answer is the last there is.
    relayed(&[BUSY, BUSY], "HTTP/1.1 503 Busy\r\n");
    relayed(&[BAD, BAD], "HTTP/1.1 502 Bad\r\n");
}

#[test]
fn a_rest_that_one_asks_for_does_not_delay_another() {
    let (busy, other) = (Backend::answering(BUSY), Backend::answering(OK));
    let proxy = proxy(&[&busy, &other]);
    for _ in 0..2 {
        assert!(get(&proxy).ends_with("hello"));
    }
}

#[test]
fn a_backend_that_cannot_be_picked_is_no_other_backend() {
    let (bad, off) = (Backend::answering(BAD), Backend::answering(OK));
    let mut plan = plan(&[bad.address, off.address]);
    std::sync::Arc::make_mut(&mut plan.services[0].backends)[1].spec =
        evenkeel_balance::backend::BackendSpec::new("off")
            .admin(evenkeel_balance::backend::Admin::Disabled);
    plan.services[0].settings.breaker = None;
    plan.services[0].settings.retry.budget.floor_per_second = 1;
    plan.services[0].settings.retry.budget.ratio_permille = 0;
    let proxy = Proxy::start(plan, 1);
    for _ in 0..3 {
        let got = get(&proxy);
        assert!(
            got.starts_with("HTTP/1.1 502 Bad") && got.ends_with("its words"),
            "{got}"
        );
        for _ in 0..3 {
            bad.saw();
        }
        assert!(bad.saw_nothing());
    }
    assert!(off.saw_nothing());
    let live = proxy.published.load();
    let snapshot = live.services[0].state.service.snapshot(proxy.now());
    assert_eq!(
        snapshot.retry_budget,
        10 - 3 * 2,
        "a retry that nobody else could take costs nothing"
    );
}

#[test]
fn a_wait_that_does_not_fit_is_not_begun() {
    let mut plan = plan(&[NOBODYS]);
    plan.services[0].settings.retry.backoff_base = Duration::from_secs(36_000);
    plan.services[0].settings.retry.backoff_max = Duration::from_secs(36_000);
    let got = get(&Proxy::start(plan, 1));
    assert!(got.ends_with("connect_failed\n"), "{got}");
}
