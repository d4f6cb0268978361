use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::Counts;
use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, Quantile};
use evenkeel_balance::settings::AffinitySettings;
use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_config::plan::{AffinityBy, AffinityPlan, CookiePlan, Protocol};
use evenkeel_proxy::failed::TryOutcome;
use evenkeel_proxy::observation::{hedges, refused_hedges};
use evenkeel_proxy::reason::Reason;
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;

use crate::plan::plan;
use crate::world::{Backend, Client, Deed, GO_ON, OK, World, addresses};
use Deed::{Black, ContinueSilence, Goes, Reset, Say, SayLate, Silence};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbody!";
const PUT: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbody!";
const CHUNKS: &str = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nbo\r\n3\r\ndy!\r\n0\r\nX-Sum: 7\r\n\r\n";

const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
const TWO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo";
const BAD: &str = "HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nits words";
const ODD: &str = "HTTP/1.1 500 Odd\r\nContent-Length: 3\r\n\r\nodd";
const GONE: &str = "HTTP/1.1 404 Gone\r\nContent-Length: 4\r\n\r\ngone";
const HINTS: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo";
const SWITCH: &str = "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Hedges after 20 ms, as many as there are exchanges.
const SOON: HedgeSettings = HedgeSettings::at(HedgeAt::After(ms(20))).most_permille(1000);

/// Each backend answers once, which pays for as many hedges, and then does these.
fn world(deeds: &[&[Deed]], tune: impl Fn(&mut Plan)) -> World {
    let mut plan = plan(&addresses(deeds.len()));
    let settings = &mut plan.services[0].settings;
    (settings.breaker, settings.hedge) = (None, Some(SOON));
    plan.listeners[0].attempts_header = Some("x-attempts".into());
    tune(&mut plan);
    let backends = deeds
        .iter()
        .map(|deeds| Backend::doing(&[&[Say(OK)], *deeds].concat()));
    let world = World::new(plan, backends.collect());
    for _ in deeds {
        assert!(world.ask(&[GET]).starts_with("HTTP/1.1 200 "));
    }
    // The tick that counts them.
    world.pass(ms(100));
    world.got();
    world
}

/// What became of hedges: begun, won, and those that were not begun.
fn counted(world: &World) -> (u64, u64, Vec<(&'static str, u64)>) {
    let rows = || world.state.counters.iter().map(|row| &row.hedges);
    let (begun, won) = hedges(rows());
    (begun, won, refused_hedges(rows()))
}

fn counts(world: &World) -> Vec<Counts> {
    let now = Instant::from_nanos(1_000_000_000) + world.elapsed();
    let all = world.state.service.snapshot(now).backends;
    all.iter().map(|one| one.counts).collect()
}

/// What a client hears, how many requests came to each backend, hedges that were begun and won; nothing is left under way.
#[track_caller]
fn check(deeds: &[&[Deed]], request: &str, ends: &str, asked: &[usize], hedged: (u64, u64)) {
    let world = world(deeds, |_| ());
    let heard = world.ask(&[request]);
    let told = format!("{deeds:?} {request:?}: {heard}");
    assert!(heard.ends_with(ends), "{told}");
    // What is given up ends.
    let mut other = world.client();
    world.settle(&mut other);
    let got: Vec<_> = world.got().iter().map(Vec::len).collect();
    assert_eq!(got, asked, "{told}");
    let (begun, won, refused) = counted(&world);
    assert_eq!((begun, won), hedged, "{told}");
    assert_eq!(refused, [], "{told}");
    world.state.service.laws().unwrap();
    assert!(
        counts(&world).iter().all(|one| one.in_flight == 0),
        "{told}"
    );
}

#[test]
fn whoever_answers_first_is_heard() {
    // Nobody is slow.
    check(&[&[Say(ONE)], &[]], GET, "one", &[1, 0], (0, 0));
    // The first says nothing; it is slower; it takes no connection.
    check(&[&[Silence], &[Say(TWO)]], GET, "two", &[1, 1], (1, 1));
    check(&[&[SayLate(ONE)], &[Say(TWO)]], GET, "two", &[1, 1], (1, 1));
    check(&[&[Silence], &[SayLate(TWO)]], GET, "two", &[1, 1], (1, 1));
    // The second is slower, or says nothing.
    check(
        &[&[SayLate(ONE)], &[SayLate(TWO)]],
        GET,
        "one",
        &[1, 1],
        (1, 0),
    );
    check(&[&[SayLate(ONE)], &[Silence]], GET, "one", &[1, 1], (1, 0));
    // What the application says is an answer.
    check(&[&[Silence], &[Say(GONE)]], GET, "gone", &[1, 1], (1, 1));
}

#[test]
fn a_failure_does_not_win_while_the_other_may_do_well() {
    check(&[&[SayLate(ONE)], &[Say(BAD)]], GET, "one", &[1, 1], (1, 0));
    // A kept connection that had ended is no failure: it is asked once more, and then it is one.
    check(&[&[SayLate(ONE)], &[Reset]], GET, "hello", &[1, 2], (1, 1));
    check(
        &[&[SayLate(ONE)], &[Reset, Reset]],
        GET,
        "one",
        &[1, 2],
        (1, 0),
    );
    check(
        &[&[SayLate(ONE)], &[Say(SWITCH)]],
        GET,
        "one",
        &[1, 1],
        (1, 0),
    );
    check(
        &[&[SayLate(BAD)], &[SayLate(TWO)]],
        GET,
        "two",
        &[1, 1],
        (1, 1),
    );
    check(
        &[&[SayLate(SWITCH)], &[SayLate(TWO)]],
        GET,
        "two",
        &[1, 1],
        (1, 1),
    );
    // Both fail: another follows, as after any failure, and it is the third of three.
    check(
        &[&[SayLate(BAD), Say(ONE)], &[Say(BAD)]],
        GET,
        "one",
        &[2, 1],
        (1, 0),
    );
    check(
        &[&[SayLate(BAD), Say(BAD)], &[Say(BAD)]],
        GET,
        "its words",
        &[2, 1],
        (1, 0),
    );
}

/// A failure that is not named among those to be tried again is one all the same.
/// What is remembered of a race that failed whole: each backend once; the first is given up last, as it waits for the other.
#[test]
fn each_backend_of_a_lost_race_is_remembered_once() {
    let check = |deeds: &[&[Deed]], expect: &[(&str, TryOutcome)]| {
        let world = world(deeds, |plan| {
            plan.services[0].settings.retry.attempts = 2;
            plan.services[0].limits.per_try = ms(300);
        });
        let heard = world.ask(&[GET]);
        assert!(heard.starts_with("HTTP/1.1 50"), "{deeds:?}: {heard}");
        let expect: Vec<_> = (expect.iter())
            .map(|(port, outcome)| (format!("127.0.0.1:{port}"), *outcome))
            .collect();
        assert_eq!(world.failed(), expect, "{deeds:?}");
    };
    let late = TryOutcome::Failed(Reason::BackendTimeout);
    let reset = TryOutcome::Failed(Reason::BackendReset);
    // The last address is the first backend of this world.
    check(
        &[&[Silence], &[Say(BAD)]],
        &[("1", TryOutcome::Answered(502)), ("2", late)],
    );
    check(&[&[Silence], &[Reset, Reset]], &[("1", reset), ("2", late)]);
    check(&[&[Silence], &[Silence]], &[("1", late), ("2", late)]);
}

#[test]
fn a_failure_that_is_not_tried_again_does_not_win_either() {
    check(&[&[SayLate(ONE)], &[Say(ODD)]], GET, "one", &[1, 1], (1, 0));
    check(
        &[&[SayLate(ODD)], &[SayLate(TWO)]],
        GET,
        "two",
        &[1, 1],
        (1, 1),
    );
    check(&[&[SayLate(ODD)], &[Say(ODD)]], GET, "odd", &[1, 1], (1, 0));
}

/// Whose kept connection had ended is asked anew, and may be slow then as ever.
#[test]
fn who_is_asked_anew_may_be_outrun() {
    for request in [GET, PUT] {
        check(
            &[&[Reset, Silence], &[Say(TWO)]],
            request,
            "two",
            &[2, 1],
            (1, 1),
        );
    }
}

/// What one connection has carried carries the next: of the client, and of who won. That of the other ends.
#[test]
fn connections_go_on_behind_a_race() {
    for (request, wins, deeds) in [
        (GET, 1, [&[Silence][..], &[Say(TWO), Say(TWO)]]),
        (PUT, 1, [&[Silence][..], &[Say(TWO), Say(TWO)]]),
        (GET, 0, [&[SayLate(ONE)][..], &[Silence]]),
        (PUT, 0, [&[SayLate(ONE)][..], &[Silence]]),
    ] {
        let world = world(&deeds, |_| ());
        let mut client = world.client();
        client.write(request);
        world.hear(&mut client);
        world.settle(&mut client);
        let told = format!("{request:?}: {}", client.heard);
        assert_eq!(counted(&world).0, 1, "{told}");
        let closes = told.to_ascii_lowercase().contains("connection: close");
        assert!(!closes, "{told}");
        let before: usize = world.got().iter().map(Vec::len).sum();
        assert_eq!(before, 2, "{told}");
        let mut expect = [(1, 0), (1, 0)];
        expect[wins].1 = 1;
        assert_eq!(world.connected(), expect, "{told}");
        // Another one, on the same connection.
        client.heard.clear();
        client.write(GET);
        world.hear(&mut client);
        assert!(client.heard.starts_with("HTTP/1.1 200 "), "{told}");
        assert_eq!(client.heard.matches("HTTP/1.1").count(), 1, "{told}");
    }
}

/// Requests that are to be made once more as they came, in whatever they are framed.
#[test]
fn the_second_gets_the_same_request() {
    for (request, body) in [
        (GET, "\r\n\r\n"),
        (PUT, "\r\n\r\nbody!"),
        (CHUNKS, "\r\n\r\n5\r\nbody!\r\n0\r\nX-Sum: 7\r\n\r\n"),
    ] {
        let world = world(&[&[Silence], &[Say(TWO)]], |_| ());
        let heard = world.ask(&[request]);
        assert!(heard.contains("\r\nx-attempts: 2\r\n"), "{heard}");
        let mut other = world.client();
        world.settle(&mut other);
        let [first, second] = <[_; 2]>::try_from(world.got()).unwrap();
        let head = |got: &[String]| got[0].split_once("\r\n\r\n").unwrap().0.to_owned();
        assert_eq!(head(&first), head(&second));
        assert!(second[0].ends_with(body), "{second:?}");
    }
}

#[test]
fn it_comes_at_its_time_and_goes_where_nobody_was_asked() {
    let world = world(&[&[Silence], &[SayLate(TWO)]], |_| ());
    let before = world.elapsed();
    assert!(world.ask(&[GET]).ends_with("two"));
    let took = (world.elapsed() - before).as_millis();
    assert!((120..=130).contains(&took), "{took} ms");
    // A backend that takes no connection is known by its silence, too.
    let black = world_of_black();
    let before = black.elapsed();
    assert!(black.ask(&[GET]).ends_with("two"));
    let took = (black.elapsed() - before).as_millis();
    assert!((20..=30).contains(&took), "{took} ms");
    assert_eq!(counted(&black), (1, 1, vec![]));
    let all = counts(&black);
    assert!(all.iter().all(|one| one.in_flight == 0 && one.failed == 0));
    black.state.service.laws().unwrap();
}

/// Nothing is kept, so that each attempt connects.
fn world_of_black() -> World {
    world(&[&[Black], &[Say(TWO)]], |plan| {
        plan.services[0].upstream.idle_most = 0;
    })
}

/// What is said of each backend: of one that was outrun neither success nor failure, but that it is slow.
#[test]
fn who_is_outrun_has_not_failed_and_does_not_look_fast() {
    let world = world(&[&[Silence], &[Say(TWO)]], |_| ());
    let known = || {
        let now = Instant::from_nanos(1_000_000_000) + world.elapsed();
        let all = world.state.service.snapshot(now).backends;
        all.iter()
            .map(|one| one.learned.slowness)
            .collect::<Vec<_>>()
    };
    let (before, slowness) = (counts(&world), known());
    assert!(world.ask(&[GET]).ends_with("two"));
    let (after, slower) = (counts(&world), known());
    // The last address is asked first.
    let moved = |at: usize| {
        let (before, after) = (before[at], after[at]);
        (
            after.finished - before.finished,
            after.succeeded - before.succeeded,
            after.failed - before.failed,
        )
    };
    assert_eq!([moved(1), moved(0)], [(1, 0, 0), (1, 1, 0)]);
    assert!(slower[1] > slowness[1], "{slower:?} {slowness:?}");
}

#[test]
fn who_must_not_or_cannot_has_none() {
    let refused = |deeds: &[&[Deed]], request: &str, tune: &dyn Fn(&mut Plan)| {
        let world = world(deeds, tune);
        let mut client = world.client();
        client.write(request);
        world.settle(&mut client);
        for _ in 0..10 {
            world.pass(ms(5));
            world.settle(&mut client);
        }
        let (begun, won, refused) = counted(&world);
        assert_eq!((begun, won), (0, 0), "{request}");
        let asked: usize = world.got().iter().map(Vec::len).sum();
        assert_eq!(asked, 0, "no other was asked, and the first says nothing");
        <[_; 1]>::try_from(refused).unwrap()[0]
    };
    let two: &[&[Deed]] = &[&[Silence], &[Say(TWO)]];
    let as_it_is = |_: &mut Plan| ();
    assert_eq!(refused(two, POST, &as_it_is), ("not_safe", 1));
    let tunnel = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    assert_eq!(refused(two, tunnel, &as_it_is), ("not_safe", 1));
    assert_eq!(refused(&[&[Silence]], GET, &as_it_is), ("no_other", 1));
    let attempts = |plan: &mut Plan| plan.services[0].settings.retry.attempts = 1;
    assert_eq!(refused(two, GET, &attempts), ("attempts_exhausted", 1));
    let most = |plan: &mut Plan| {
        plan.services[0].settings.hedge = Some(SOON.most_permille(499));
    };
    assert_eq!(refused(two, GET, &most), ("budget_exhausted", 1));
    let budget = |plan: &mut Plan| {
        let budget = &mut plan.services[0].settings.retry.budget;
        (budget.ratio_permille, budget.floor_per_second) = (0, 0);
    };
    assert_eq!(refused(two, GET, &budget), ("budget_exhausted", 1));
    let late = |plan: &mut Plan| {
        plan.rules[0].exchange = Some(ms(60));
        let at = HedgeAt::After(ms(49));
        plan.services[0].settings.hedge = Some(HedgeSettings::at(at).most_permille(1000));
    };
    // Nothing is known to take longer than what is left: it is asked.
    let world = world(two, late);
    assert!(world.ask(&[GET]).ends_with("two"));
}

/// Of a body that is on its way nobody knows whether it comes.
#[test]
fn a_body_is_waited_for_and_one_that_is_not_kept_goes_once() {
    let world_of = |body: usize| {
        let world = world(&[&[Silence], &[Say(TWO)]], |_| ());
        let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {body}\r\n\r\n");
        let mut client = world.client();
        client.write(&head);
        world.settle(&mut client);
        world.pass(ms(200));
        world.settle(&mut client);
        assert_eq!(counted(&world), (0, 0, vec![]), "it is the client's turn");
        client.write(&"x".repeat(body));
        world.settle(&mut client);
        world.pass(ms(15));
        world.settle(&mut client);
        assert_eq!(counted(&world), (0, 0, vec![]), "it has 20 ms from here on");
        world.pass(ms(5));
        world.settle(&mut client);
        (counted(&world), client.heard)
    };
    let (counts, heard) = world_of(1000);
    assert_eq!(counts, (1, 1, vec![]));
    assert!(heard.ends_with("two"));
    let (counts, _) = world_of(65 * 1024);
    assert_eq!(counts, (0, 0, vec![("not_replayable", 1)]));
}

#[test]
fn a_client_that_is_kept_is_not_taken_away() {
    let world = world(&[&[Silence], &[Say(TWO)]], |plan| {
        plan.services[0].settings.affinity = Some(AffinitySettings::default());
        plan.services[0].affinity = Some(AffinityPlan {
            by: AffinityBy::Source { ipv6_prefix: 64 },
            clients: <_>::default(),
        });
    });
    let mut client = world.client();
    client.write(GET);
    for _ in 0..10 {
        world.settle(&mut client);
        world.pass(ms(5));
    }
    let (begun, _, refused) = counted(&world);
    assert_eq!((begun, refused), (0, vec![("kept", 1)]));
}

/// A client that comes anew is kept by whoever answers it first: not by who serves only where others lack, for one pause of those.
#[test]
fn a_client_that_is_new_stays_in_its_tier() {
    let by_cookie = || AffinityPlan {
        by: AffinityBy::Cookie(CookiePlan {
            name: "keel".into(),
            ttl: Duration::ZERO,
            attributes: "; Path=/".into(),
            secure: false,
        }),
        clients: <_>::default(),
    };
    // Both of the first two requests go to the first tier.
    let first: &[Deed] = &[Say(OK), SayLate(ONE)];
    for (keeps, ends, hedged, refused) in [
        (true, "one", (0, 0), vec![("no_other", 1)]),
        (false, "hello", (1, 1), vec![]),
    ] {
        let world = world(&[first, &[]], |plan| {
            let service = &mut plan.services[0];
            // The last address is that of the first of these.
            Arc::make_mut(&mut service.backends)[0].spec.tier = 1;
            if keeps {
                service.settings.affinity = Some(AffinitySettings::default());
                service.affinity = Some(by_cookie());
            }
        });
        let heard = world.ask(&[GET]);
        assert!(heard.ends_with(ends), "{heard}");
        assert_eq!(heard.contains("\r\nSet-Cookie: keel="), keeps, "{heard}");
        let (begun, won, not_begun) = counted(&world);
        assert_eq!(((begun, won), not_begun), (hedged, refused));
    }
}

/// Sends, and lets time go by until a second attempt is under way.
fn racing(world: &World) -> Client {
    let mut client = world.client();
    client.write(GET);
    world.settle(&mut client);
    world.pass(ms(20));
    world.settle(&mut client);
    assert_eq!(counted(world).0, 1);
    client
}

#[test]
fn a_client_that_goes_ends_both() {
    let world = world(&[&[Silence], &[Silence]], |_| ());
    let mut client = racing(&world);
    assert_eq!(
        counts(&world).iter().map(|one| one.in_flight).sum::<u32>(),
        2
    );
    let (before, slowness) = (counts(&world), slow(&world));
    client.pipe.cut();
    client.pipe = Pipe::pair(1).0;
    world.settle(&mut client);
    let after = counts(&world);
    assert!(after.iter().all(|one| one.in_flight == 0));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (before.failed, before.succeeded),
            (after.failed, after.succeeded)
        );
    }
    assert_eq!(
        slow(&world),
        slowness,
        "a client that leaves says nothing of anybody"
    );
    world.state.service.laws().unwrap();
    let asked: usize = world.got().iter().map(Vec::len).sum();
    assert_eq!(asked, 2, "both connections ended");
}

fn slow(world: &World) -> Vec<f32> {
    let now = Instant::from_nanos(1_000_000_000) + world.elapsed();
    let all = world.state.service.snapshot(now).backends;
    all.iter().map(|one| one.learned.slowness).collect()
}

/// The same where the first has come to nothing, and the other is waited for.
#[test]
fn a_client_that_goes_ends_the_one_that_is_left() {
    for first in [SayLate(BAD), Silence] {
        let world = world(&[&[first], &[Silence]], |plan| {
            plan.services[0].limits.per_try = ms(200);
            plan.services[0].upstream.idle_most = 0;
        });
        let mut client = racing(&world);
        for _ in 0..19 {
            world.pass(ms(10));
            world.settle(&mut client);
        }
        assert_eq!(client.heard, "", "{first:?}: the other is waited for");
        client.pipe.cut();
        client.pipe = Pipe::pair(1).0;
        world.settle(&mut client);
        let after = counts(&world);
        assert!(after.iter().all(|one| one.in_flight == 0), "{first:?}");
        world.state.service.laws().unwrap();
        assert!(world.connected().iter().all(|(_, stand)| *stand == 0));
    }
}

/// A client that waits for a word before it sends its body gets one word; and the second attempt, which begins behind the body, has it all.
#[test]
fn a_body_that_was_asked_for_is_with_both() {
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    for second in [Say(TWO), Deed::Continue(TWO)] {
        let world = world(&[&[ContinueSilence], &[second]], |_| ());
        let heard = world.ask_first(head, "body!", ms(300));
        assert!(heard.ends_with("two"), "{heard}");
        assert_eq!(heard.matches(GO_ON).count(), 1, "{heard}");
        assert_eq!(counted(&world), (1, 1, vec![]));
        let got = world.got();
        assert!(got[1][0].ends_with("\r\n\r\nbody!"), "{got:?}");
        world.state.service.laws().unwrap();
    }
    // Who is not told so owes nobody a body, and is not slow.
    let world = world(&[&[Silence], &[Say(TWO)]], |_| ());
    let mut client = world.client();
    client.write(head);
    for _ in 0..20 {
        world.settle(&mut client);
        world.pass(ms(10));
    }
    assert_eq!(counted(&world), (0, 0, vec![]));
}

/// With nobody answering, the first fails at its time and the second at its own; then the exchange's time is over.
#[test]
fn deadlines_hold_for_both() {
    let silent: &[Deed] = &[Silence; 3];
    let world = world(&[silent, silent], |plan| {
        plan.services[0].limits.per_try = ms(500);
        plan.services[0].limits.exchange = ms(900);
    });
    let before = world.elapsed();
    let heard = world.ask(&[GET]);
    assert!(heard.ends_with("backend_timeout\n"), "{heard}");
    let took = (world.elapsed() - before).as_millis();
    assert!((500..1100).contains(&took), "{took} ms");
    assert!(counts(&world).iter().all(|one| one.in_flight == 0));
    world.state.service.laws().unwrap();
}

#[test]
fn what_comes_before_the_second_answer_comes_with_it() {
    let world = world(&[&[Silence], &[Say(HINTS)]], |_| ());
    let mut client = racing(&world);
    for _ in 0..10 {
        world.settle(&mut client);
        world.pass(ms(5));
    }
    let heard = &client.heard;
    assert!(heard.starts_with("HTTP/1.1 103 "), "{heard}");
    assert!(
        heard.contains("\r\n\r\nHTTP/1.1 200 OK\r\n") && heard.ends_with("two"),
        "{heard}"
    );
}

/// A word to go on that nobody asked for is passed on, as one of the first is (RFC 9110 section 15.2); but to who has sent its body.
#[test]
fn a_word_that_nobody_asked_for_comes_with_the_second_answer() {
    for (request, words) in [(GET, 1), (PUT, 0)] {
        let world = world(&[&[Silence], &[Deed::Continue(TWO)]], |_| ());
        let heard = world.ask(&[request]);
        assert!(heard.ends_with("two"), "{heard}");
        assert_eq!(heard.matches(GO_ON).count(), words, "{heard}");
        assert_eq!(counted(&world), (1, 1, vec![]));
    }
}

/// A stream that is given up is taken back, and its connection goes on.
#[test]
fn a_stream_is_taken_back() {
    let world = world(&[&[Silence], &[Say(OK)]], |plan| {
        plan.services[0].upstream.protocol = Protocol::Http2;
    });
    let mut client = racing(&world);
    world.settle(&mut client);
    assert!(
        client.heard.starts_with("HTTP/1.1 200 "),
        "{}",
        client.heard
    );
    assert_eq!(counted(&world), (1, 1, vec![]));
    let got = world.got();
    let back = "stream 3 is taken back for 8".to_owned();
    assert_eq!(
        got,
        [
            vec!["stream 3".to_owned(), back],
            vec!["stream 3".to_owned()]
        ]
    );
    assert!(world.ask(&[GET]).starts_with("HTTP/1.1 200 "));
    let all = world.got();
    assert!(all.iter().flatten().all(|one| one == "stream 5"), "{all:?}");
}

/// Who goes, and has not seen a second request, has done no wrong: it is asked anew, once.
#[test]
fn a_backend_that_goes_is_asked_anew_beside_the_first() {
    let world = world(&[&[Silence], &[Goes, Say(OK)]], |plan| {
        plan.services[0].upstream.protocol = Protocol::Http2;
    });
    let before = counts(&world);
    let mut client = racing(&world);
    world.hear(&mut client);
    assert!(
        client.heard.starts_with("HTTP/1.1 200 "),
        "{}",
        client.heard
    );
    assert_eq!(counted(&world), (1, 1, vec![]));
    let all = counts(&world);
    for (before, after) in before.iter().zip(&all) {
        assert_eq!((before.failed, 0), (after.failed, after.in_flight));
    }
    // That of the first stays, without the stream.
    let took: Vec<_> = world.connected().iter().map(|(took, _)| *took).collect();
    assert_eq!(took, [1, 2]);
}

/// Nothing is hedged before enough was measured; then at what was measured.
#[test]
fn a_quantile_has_to_be_known() {
    let measured = |answers: usize| {
        let quick = vec![Say(OK); answers.div_ceil(2)];
        let deeds = [
            [&quick[..], &[Silence]].concat(),
            [&quick[..], &[Say(TWO)]].concat(),
        ];
        let world = world(&[&deeds[0], &deeds[1]], |plan| {
            let at = HedgeAt::Quantile(Quantile::new(950).unwrap());
            plan.services[0].settings.hedge = Some(HedgeSettings::at(at).most_permille(1000));
        });
        for _ in 0..answers {
            assert!(world.ask(&[GET]).ends_with("hello"));
        }
        (0..11).for_each(|_| world.pass(ms(100)));
        let before = world.elapsed();
        let mut client = world.client();
        client.write(GET);
        for _ in 0..20 {
            world.settle(&mut client);
            world.pass(ms(5));
        }
        (counted(&world), client.heard, world.elapsed() - before)
    };
    let (counts, heard, _) = measured(90);
    assert_eq!((counts, &*heard), ((0, 0, vec![]), ""));
    let (counts, heard, _) = measured(110);
    assert_eq!(counts, (1, 1, vec![]), "{heard}");
    assert!(heard.ends_with("two"), "{heard}");
}
