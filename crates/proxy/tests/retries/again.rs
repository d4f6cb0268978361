use std::time::Duration;

use evenkeel_config::Plan;
use evenkeel_config::limits::{REPLAY_BYTES, REPLAY_WORKER_BYTES};
use evenkeel_config::plan::Protocol;
use evenkeel_proxy::observation::bodies_unkept;

use crate::plan::plan;
use crate::world::{Backend, Deed, GO_ON, OK, World, addresses};
use Deed::{
    Black, Continue, ContinueReset, ContinueSilence, Goes, Refuse, RefuseStream, Reset, ResetAt,
    Say, SayClose, SayEarly, SayEarlyClose, Silence, SwitchedOff,
};

const GET: &[&str] = &["GET / HTTP/1.1\r\nHost: a\r\n\r\n"];
const POST: &[&str] = &[
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    "body!",
];
const PUT: &[&str] = &[
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbo",
    "dy!",
];
const CHUNKS: &[&str] = &[
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2;a=b\r\nbo\r\n",
    "3\r\ndy!\r\n",
    "0\r\nX-Sum: 7\r\n\r\n",
];
const EXPECT: &[&str] = &[
    "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "body!",
];

const BAD: &str = "HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nits words";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nits words";

/// Deeds of backends in order; a plan beyond the usual one.
fn world(deeds: &[&[Deed]], tune: impl Fn(&mut Plan)) -> World {
    let mut plan = plan(&addresses(deeds.len()));
    plan.services[0].settings.breaker = None;
    tune(&mut plan);
    let backends = deeds.iter().map(|deeds| Backend::doing(deeds));
    World::new(plan, backends.collect())
}

/// The answer begins and ends so, and so many requests came to each backend.
#[track_caller]
fn check(deeds: &[&[Deed]], request: &[&str], (start, end): (&str, &str), asked: &[usize]) {
    let world = world(deeds, |_| ());
    let heard = world.ask(request);
    let told = format!("{deeds:?} {request:?}: {heard}");
    let heard = heard.strip_prefix(GO_ON).unwrap_or(&heard);
    assert!(heard.starts_with(&format!("HTTP/1.1 {start} ")), "{told}");
    assert!(heard.ends_with(end), "{told}");
    let got = world.got();
    let counts: Vec<_> = got.iter().map(Vec::len).collect();
    assert_eq!(counts, asked, "{told}");
    world.state.service.laws().unwrap();
}

const HELLO: (&str, &str) = ("200", "hello");

#[test]
fn what_is_safe_is_asked_again() {
    // Another backend first; who is alone, or when all were asked, again.
    check(&[&[Reset], &[]], GET, HELLO, &[1, 1]);
    check(&[&[Reset]], GET, HELLO, &[2]);
    check(&[&[Reset, Reset]], GET, HELLO, &[3]);
    check(
        &[&[Reset, Reset, Reset]],
        GET,
        ("502", "backend_reset\n"),
        &[3],
    );
    check(&[&[Reset], &[Reset]], GET, HELLO, &[2, 1]);
    check(&[&[Refuse], &[]], GET, HELLO, &[1, 1]);
    check(&[&[Refuse]], GET, HELLO, &[2]);
    check(&[&[Black], &[]], GET, HELLO, &[1, 1]);
    check(&[&[Silence], &[]], GET, HELLO, &[1, 1]);
    // Of a POST no byte may have been written.
    check(&[&[Refuse], &[]], POST, HELLO, &[1, 1]);
    check(&[&[Refuse]], POST, HELLO, &[2]);
    check(&[&[Reset], &[]], POST, ("502", "backend_reset\n"), &[1, 0]);
    check(
        &[&[ResetAt(1)], &[]],
        POST,
        ("502", "backend_reset\n"),
        &[1, 0],
    );
    check(&[&[Say(BUSY)], &[]], POST, ("503", "its words"), &[1, 0]);
    check(
        &[&[Silence], &[]],
        POST,
        ("504", "backend_timeout\n"),
        &[1, 0],
    );
    // What is none is not in the settings.
    check(
        &[&[Say("what?\r\n\r\n")], &[]],
        GET,
        ("502", "backend_start_line\n"),
        &[1, 0],
    );
}

/// Who reached nobody has had no attempt, and looks further at once: to so many, and to none twice.
#[test]
fn who_reaches_nobody_looks_further() {
    let look = |dead: usize, alive: &[Deed], request: &[&str]| {
        let refuses = [Refuse; 3];
        let mut deeds = vec![&refuses as &[Deed]; dead];
        deeds.extend(alive.chunks(1));
        let world = world(&deeds, |plan| {
            plan.services[0].settings.retry.budget.floor_per_second = 0;
        });
        let heard = world.ask(request);
        let asked: Vec<usize> = world.got().iter().map(Vec::len).collect();
        let counts = world.retried();
        assert!(asked.iter().all(|asked| *asked <= 1), "{asked:?}");
        let end = heard.rsplit("\r\n\r\n").next().unwrap().to_owned();
        (end, asked.iter().sum::<usize>(), counts, world.elapsed())
    };
    for request in [GET, POST] {
        for dead in 1..=8 {
            let (end, asked, counts, elapsed) = look(dead, &[Say(OK)], request);
            assert_eq!((&*end, elapsed), ("hello", Duration::ZERO), "{dead}");
            let further = asked as u64 - 1;
            let expected = (further > 0).then_some(("connect", further));
            assert_eq!(counts, Vec::from_iter(expected), "{dead}");
        }
    }
    // Then the budget is asked, which has nothing here.
    let (end, asked, ..) = look(20, &[], GET);
    let nobody = "502 Bad Gateway: connect_failed\n";
    assert_eq!((&*end, asked), (nobody, 9));
    // With one they count: eight, and three attempts.
    let refuses: &[Deed] = &[Refuse];
    let all = world(&[refuses; 20], |_| ());
    assert!(all.ask(GET).ends_with("connect_failed\n"));
    assert_eq!(all.got().concat().len(), 11);
    // What is known late is an attempt.
    let off: &[Deed] = &[SwitchedOff];
    let late = world(&[off; 20], |plan| {
        plan.services[0].limits.connect = Duration::from_secs(5);
    });
    assert!(late.ask(GET).ends_with("connect_failed\n"));
    assert_eq!(late.got().concat().len(), 3);
    // What has reached somebody is an attempt like any other.
    let (end, asked, ..) = look(0, &[Reset, Reset], GET);
    assert_eq!((&*end, asked), ("502 Bad Gateway: backend_reset\n", 1));
}

#[test]
fn named_statuses_are_given_up() {
    check(&[&[Say(BAD)], &[]], GET, HELLO, &[1, 1]);
    check(&[&[SayClose(BUSY)], &[]], GET, HELLO, &[1, 1]);
    check(&[&[Say(BUSY), Say(BUSY)]], GET, HELLO, &[3]);
    // Of what cannot be hidden the last answer is the client's.
    check(
        &[&[Say(BUSY), Say(BUSY)], &[Say(BUSY), Say(BUSY)]],
        GET,
        ("503", "its words"),
        &[2, 1],
    );
    let failed = Say("HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\noh");
    check(&[&[failed], &[]], GET, ("500", "oh"), &[1, 0]);
    let many = Say("HTTP/1.1 429 Many\r\nContent-Length: 2\r\n\r\noh");
    check(&[&[many], &[]], GET, ("429", "oh"), &[1, 0]);
    // A head that came is an answer, whatever becomes of its body.
    let half = SayClose("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this");
    let world = world(&[&[half], &[]], |_| ());
    assert!(!world.ask(GET).contains("hello"));
    let named = |word: u16| {
        crate::again::world(&[&[failed, many], &[many]], move |plan| {
            plan.services[0].settings.retry.on.statuses = vec![word];
        })
    };
    let world = named(500);
    assert!(world.ask(GET).starts_with("HTTP/1.1 429 "));
    assert_eq!(world.retried(), [("status", 1)]);
    // One that says nothing of the backend may be named all the same.
    let world = named(429);
    assert!(world.ask(GET).starts_with("HTTP/1.1 500 "));
    assert!(world.ask(GET).starts_with("HTTP/1.1 200 "));
}

#[test]
fn bodies_go_with_it() {
    let got = |deeds: &[&[Deed]], request: &[&str]| {
        let world = world(deeds, |_| ());
        let heard = world.ask(request);
        assert!(heard.ends_with("hello"), "{deeds:?} {request:?}: {heard}");
        let bodies = world.got().concat();
        let body = bodies.last().unwrap().split_once("\r\n\r\n").unwrap().1;
        (heard.matches("100 Continue").count(), body.to_owned())
    };
    let exact = (0, "body!".to_owned());
    assert_eq!(got(&[&[Reset], &[]], PUT), exact);
    assert_eq!(got(&[&[Reset]], PUT), exact);
    assert_eq!(got(&[&[Reset, Say(BAD)]], PUT), exact);
    // While it still comes.
    assert_eq!(got(&[&[ResetAt(1)], &[]], PUT), exact);
    assert_eq!(got(&[&[SayEarly(BUSY)], &[]], PUT), exact);
    assert_eq!(got(&[&[Refuse], &[]], POST), exact);
    assert_eq!(got(&[&[Silence], &[]], PUT), exact);
    // Chunks are made anew: as data, with its trailers.
    let chunks = |sizes: &str| (0, format!("{sizes}0\r\nX-Sum: 7\r\n\r\n"));
    assert_eq!(got(&[&[Reset], &[]], CHUNKS), chunks("5\r\nbody!\r\n"));
    assert_eq!(
        got(&[&[ResetAt(1)], &[]], CHUNKS),
        chunks("2\r\nbo\r\n3\r\ndy!\r\n")
    );
    assert_eq!(got(&[&[]], CHUNKS), chunks("2\r\nbo\r\n3\r\ndy!\r\n"));
    // Who waited for a word has it once.
    let once = (1, "body!".to_owned());
    assert_eq!(got(&[&[Continue(OK)]], EXPECT), once);
}

#[test]
fn a_client_is_told_to_go_on_once() {
    let world = world(&[&[ContinueReset], &[Continue(OK)]], |_| ());
    let heard = world.ask(EXPECT);
    assert_eq!(heard.matches("100 Continue").count(), 1, "{heard}");
    assert!(heard.ends_with("hello"), "{heard}");
}

/// A client that keeps its body back: whoever says nothing to the head alone has an attempt's time, and nothing was begun.
#[test]
fn who_owes_a_word_to_the_head_alone_has_an_attempt_s_time() {
    let head = |method: &str, length: usize| {
        format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let ask = |deeds: &[&[Deed]], method: &str, length: usize| {
        let world = world(deeds, |_| ());
        let heard = world.ask_first(&head(method, length), &"x".repeat(length), Duration::ZERO);
        world.state.service.laws().unwrap();
        (heard, world.elapsed().as_secs(), world.got())
    };
    // Long or short, the body is all there.
    for length in [5, 100_000] {
        let (heard, seconds, got) = ask(&[&[Silence], &[Continue(OK)]], "PUT", length);
        assert_eq!(heard, format!("{GO_ON}{OK}"));
        assert_eq!(seconds, 10);
        assert!(got[0][0].ends_with("\r\n\r\n"), "{got:?}");
        let body = got[1][0].split_once("\r\n\r\n").unwrap().1;
        assert_eq!(body.len(), length);
    }
    // It may have begun with the head of what must not be done twice.
    let (heard, seconds, _) = ask(&[&[Silence], &[]], "POST", 5);
    assert!(
        heard.ends_with("504 Gateway Timeout: backend_timeout\n"),
        "{heard}"
    );
    assert_eq!(seconds, 10);
    // An answer without a word is an answer.
    let (heard, seconds, got) = ask(&[&[SayEarly(BUSY)], &[SayEarly(OK)]], "PUT", 5);
    assert_eq!(
        (&*heard, seconds),
        (&*OK.replace("5\r\n", "5\r\nConnection: close\r\n"), 0)
    );
    assert_eq!(got.concat().len(), 2);
    // A word is said once, whoever says it.
    let (heard, ..) = ask(&[&[ContinueSilence, ContinueSilence]], "PUT", 5);
    assert_eq!(heard.matches(GO_ON).count(), 1, "{heard}");
    let (heard, ..) = ask(&[&[SayEarlyClose(GO_ON)], &[Continue(OK)]], "PUT", 5);
    assert_eq!(heard, format!("{GO_ON}{OK}"));
    // From then on it is the client's turn, which has longer.
    for (seconds, end) in [(50, "hello"), (61, "body_timeout\n")] {
        let world = world(&[&[Continue(OK)]], |_| ());
        let heard = world.ask_first(&head("PUT", 5), "body!", Duration::from_secs(seconds));
        assert!(heard.ends_with(end), "{seconds} {heard}");
    }
    // Chunks may have begun before the first byte of data.
    let chunked =
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    let world = world(&[&[Silence], &[Continue(OK)]], |_| ());
    let heard = world.ask_first(chunked, "1\r\nx\r\n0\r\n\r\n", Duration::ZERO);
    assert_eq!(heard, format!("{GO_ON}{OK}"));
}

#[test]
fn what_is_longer_than_is_kept_is_sent_once() {
    let put = |length: usize| {
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let world = world(&[&[Reset], &[]], |_| ());
        let body = "x".repeat(length);
        let heard = world.ask(&[head, &format!("{length:x}\r\n{body}\r\n0\r\n\r\n")]);
        (heard, world.not_retried())
    };
    let (heard, refused) = put(64 * 1024);
    assert!(heard.ends_with("hello"), "{heard}");
    assert_eq!(refused, []);
    let (heard, refused) = put(64 * 1024 + 1);
    assert!(heard.ends_with("backend_reset\n"), "{heard}");
    assert_eq!(refused, [("not_replayable", 1)]);
}

/// Of many bodies at once so many bytes are kept and no more: who finds no room is sent once, and says so.
#[test]
fn what_finds_no_room_is_sent_once() {
    let most = REPLAY_WORKER_BYTES / REPLAY_BYTES;
    let deeds = [vec![Silence; most], vec![Reset; 2]].concat();
    let world = world(&[&deeds], |plan| {
        plan.services[0].limits.per_try = Duration::from_secs(1000);
        plan.services[0].limits.exchange = Duration::from_secs(1000);
    });
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {REPLAY_BYTES}\r\n\r\n");
    let body = "x".repeat(REPLAY_BYTES);
    let clients: Vec<_> = std::iter::repeat_with(|| {
        let mut client = world.client();
        client.write(&head);
        client.write(&body);
        world.settle(&mut client);
        client
    })
    .take(most)
    .collect();
    let unkept = || bodies_unkept(world.state.counters.iter().map(|row| &row.retries));
    assert_eq!(unkept(), 0);
    let heard = world.ask(PUT);
    assert!(heard.ends_with("backend_reset\n"), "{heard}");
    assert_eq!(
        (unkept(), world.not_retried()),
        (1, vec![("not_replayable", 1)])
    );
    // What they held goes with them.
    drop(clients);
    let heard = world.ask(PUT);
    assert!(heard.ends_with("hello"), "{heard}");
    assert_eq!(unkept(), 1);
}

/// The second of two requests, to a backend that ends what it kept with it: how the answer ends, how often the backend was asked, what
/// was asked anew and what was retried.
#[track_caller]
fn stale(
    (http2, deeds): (bool, &[Deed]),
    request: &[&str],
    end: &str,
    asked: usize,
    retried: &[(&'static str, u64)],
) {
    let world = world(&[deeds], |plan| {
        if http2 {
            plan.services[0].upstream.protocol = Protocol::Http2;
        }
    });
    world.ask(GET);
    let heard = world.ask(request);
    let told = format!("{deeds:?} {request:?}: {heard}");
    assert!(heard.ends_with(end), "{told}");
    assert_eq!(world.got()[0].len(), asked, "{told}");
    assert_eq!(world.retried(), retried, "{told}");
    let snapshot = world
        .state
        .service
        .snapshot(evenkeel_balance::time::Instant::ZERO);
    // What was not excused is held against it.
    let failed = retried.iter().filter(|(word, _)| *word != "anew");
    let counts = snapshot.backends[0].counts;
    let failed = failed.map(|(_, count)| count).sum::<u64>();
    assert_eq!(counts.failed, failed, "{told}");
    world.state.service.laws().unwrap();
}

#[test]
fn a_kept_connection_that_ends_is_no_excuse() {
    const ANEW: &[(&str, u64)] = &[("anew", 1)];
    let ends = (false, &[Say(OK), ResetAt(1)] as &[Deed]);
    stale(ends, GET, "hello", 3, ANEW);
    stale(ends, PUT, "hello", 3, ANEW);
    stale(ends, CHUNKS, "hello", 3, ANEW);
    stale(ends, POST, "stale_connection\n", 2, &[]);
    // Once: who ends the next one, too, has failed.
    let twice = (false, &[Say(OK), ResetAt(1), ResetAt(1)] as &[Deed]);
    stale(twice, GET, "hello", 4, &[("reset", 1), ("anew", 1)]);
    // Who has begun to answer has not ended it before.
    let half = (false, &[Say(OK), SayClose("HTTP/1.1 200")] as &[Deed]);
    stale(half, GET, "hello", 3, &[("reset", 1)]);
    // The same of a connection that many share, and of one that goes in peace.
    let ends = (true, &[Say(OK), Reset] as &[Deed]);
    let fine = "\r\n\r\n";
    stale(ends, GET, fine, 3, ANEW);
    stale(ends, PUT, fine, 3, ANEW);
    stale(ends, POST, "stale_connection\n", 2, &[]);
    let twice = (true, &[Say(OK), Reset, Reset] as &[Deed]);
    stale(twice, GET, fine, 4, &[("reset", 1), ("anew", 1)]);
    let goes = (true, &[Say(OK), Goes] as &[Deed]);
    stale(goes, GET, fine, 3, ANEW);
    stale(goes, POST, fine, 3, ANEW);
    let twice = (true, &[Say(OK), Goes, Goes] as &[Deed]);
    stale(twice, GET, fine, 4, &[("reset", 1), ("anew", 1)]);
    stale(twice, POST, fine, 4, &[("reset", 1), ("anew", 1)]);
    // Too much to do is said, and not that it ended.
    let full = (true, &[Say(OK), RefuseStream] as &[Deed]);
    stale(full, POST, fine, 3, &[("overloaded", 1)]);
}

/// A connection that has carried nothing to its end excuses nobody, however many share it.
#[test]
fn a_fresh_connection_that_ends_is_a_failure_to_all_who_share_it() {
    let world = world(&[&[Silence, Reset]], |plan| {
        plan.services[0].upstream.protocol = Protocol::Http2;
    });
    let [mut first, mut second] = [world.client(), world.client()];
    first.write(GET[0]);
    world.settle(&mut first);
    second.write(GET[0]);
    world.hear(&mut second);
    world.hear(&mut first);
    for client in [first, second] {
        assert!(
            client.heard.starts_with("HTTP/1.1 200 "),
            "{}",
            client.heard
        );
    }
    assert_eq!(world.retried(), [("reset", 2)]);
}

/// An exchange has one connection replaced for nothing, whoever of its backends ends the next.
#[test]
fn one_connection_is_replaced_for_nothing() {
    let ends = &[Say(OK), ResetAt(1), ResetAt(1)] as &[Deed];
    for (http2, ends) in [(false, ends), (true, &[Say(OK), Goes, Goes])] {
        let world = world(&[ends, ends, ends], |plan| {
            if http2 {
                plan.services[0].upstream.protocol = Protocol::Http2;
            }
        });
        for _ in 0..3 {
            assert!(world.ask(GET).starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(world.got().concat().len(), 3);
        let heard = world.ask(GET);
        let asked = world.got().concat().len();
        assert_eq!(asked, 1 + 3, "{heard}");
        let reason = ["stale_connection\n", "backend_reset\n"][usize::from(http2)];
        assert!(heard.ends_with(reason), "{heard}");
        assert_eq!(world.retried(), [("reset", 2), ("anew", 1)]);
    }
}

#[test]
fn rests_are_kept_to() {
    let after = |field: &'static str, most: u64| {
        let answer = format!("HTTP/1.1 503 Busy\r\n{field}\r\nContent-Length: 0\r\n\r\n").leak();
        let world = world(&[&[Say(answer)]], |plan| {
            let retry = &mut plan.services[0].settings.retry;
            retry.retry_after_max = Duration::from_secs(most);
            retry.backoff_base = Duration::ZERO;
        });
        let heard = world.ask(GET);
        let seconds = world.elapsed().as_secs();
        (heard.ends_with("hello"), seconds)
    };
    assert_eq!(after("Retry-After: 7", 10), (true, 7));
    assert_eq!(after("Retry-After: 7", 6), (false, 0));
    assert_eq!(
        after("Retry-After: Sun, 06 Nov 1994 08:49:46 GMT", 10),
        (true, 9)
    );
    assert_eq!(
        after("Retry-After: Sun, 06 Nov 1994 08:49:46 GMT", 8),
        (false, 0)
    );
    assert_eq!(
        after("Retry-After: Sun, 06 Nov 1994 08:00:00 GMT", 8),
        (true, 0)
    );
    assert_eq!(
        after("Retry-After: 99999999999999999999999", 10),
        (false, 0)
    );
    assert_eq!(
        after("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", 300),
        (false, 0)
    );
    assert_eq!(after("Retry-After: soon", 0), (true, 0));
    // The exchange would be over before.
    assert_eq!(after("Retry-After: 61", 100), (false, 0));
}

/// Nobody is picked before the wait is over: who is drained meanwhile is not asked, and no place is held.
#[test]
fn who_waits_has_no_place() {
    let rests = Say("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    for first in [rests, Reset] {
        let world = world(&[&[first], &[rests]], |plan| {
            let retry = &mut plan.services[0].settings.retry;
            retry.retry_after_max = Duration::from_secs(10);
            // With such a wait, a reset costs one too.
            retry.backoff_base = Duration::from_secs(7);
            retry.backoff_max = Duration::from_secs(7);
        });
        let mut client = world.client();
        client.write(GET[0]);
        world.settle(&mut client);
        let counts = |world: &World| world.got().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&world), [1, 1], "the second at once");
        let service = &world.state.service;
        let now = evenkeel_balance::time::Instant::ZERO;
        let backends = service.snapshot(now).backends;
        assert!(backends.iter().all(|one| one.counts.in_flight == 0));
        // The one that would be asked next, which has the last address: the other was asked last.
        let drained = evenkeel_balance::backend::Admin::Draining;
        service.set_admin(&backends[1].id, drained, now).unwrap();
        world.hear(&mut client);
        assert!(client.heard.ends_with("hello"), "{}", client.heard);
        assert_eq!(counts(&world), [0, 1]);
        service.laws().unwrap();
    }
}

/// A wait that ends behind the deadline, since its worker had other things to do, has nothing follow.
#[test]
fn who_wakes_too_late_is_not_sent() {
    for (late, asked, end) in [(950, 2, "hello"), (1_001, 1, "backend_reset\n")] {
        let world = world(&[&[Reset]], |plan| {
            plan.services[0].limits.exchange = Duration::from_secs(1);
            let retry = &mut plan.services[0].settings.retry;
            (retry.backoff_base, retry.backoff_max) = (Duration::from_millis(900), Duration::MAX);
        });
        let mut client = world.client();
        client.write(GET[0]);
        world.settle(&mut client);
        world.pass(Duration::from_millis(late));
        world.hear(&mut client);
        assert!(client.heard.ends_with(end), "{late}: {}", client.heard);
        assert_eq!(world.got()[0].len(), asked, "{late}");
    }
}

/// An answer that is given up gives its place back before the next is taken: where there is but one, it is the one that is needed.
#[test]
fn an_answer_is_given_up_with_its_place() {
    let check = |deeds: &[Deed], tune: fn(&mut Plan), end: &str, asked: usize| {
        let world = world(&[deeds], |plan| {
            plan.services[0].settings.retry.backoff_base = Duration::ZERO;
            tune(plan);
        });
        let heard = world.ask(GET);
        assert!(heard.ends_with(end), "{deeds:?}: {heard}");
        assert_eq!(world.got()[0].len(), asked, "{deeds:?}");
        world.state.service.laws().unwrap();
    };
    let service: fn(&mut Plan) = |plan| {
        plan.services[0].settings.max_in_flight = std::num::NonZeroU32::new(1);
    };
    let backend: fn(&mut Plan) = |plan| {
        let backend = &mut std::sync::Arc::make_mut(&mut plan.services[0].backends)[0];
        backend.spec = backend.spec.clone().max_in_flight(1);
    };
    for limit in [service, backend] {
        check(&[Say(BUSY)], limit, "hello", 2);
        check(&[Say(BUSY); 3], limit, "its words", 3);
        check(&[Reset], limit, "hello", 2);
    }
}

/// Who waits for the place has it, and the answer is its client's, whole.
#[test]
fn an_answer_whose_place_another_has_is_its_client_s() {
    let world = world(&[&[Say(BUSY)]], |plan| {
        let settings = &mut plan.services[0].settings;
        settings.max_in_flight = std::num::NonZeroU32::new(1);
        settings.retry.backoff_base = Duration::ZERO;
        settings.queue = Some(
            evenkeel_balance::settings::QueueSettings::default()
                .length(9)
                .timeout(Duration::from_secs(100)),
        );
    });
    let [mut first, mut second] = [world.client(), world.client()];
    first.write(GET[0]);
    first.serve();
    second.write(GET[0]);
    second.serve();
    let waiting = || {
        let snapshot = world
            .state
            .service
            .snapshot(evenkeel_balance::time::Instant::ZERO);
        (snapshot.queue.waiting, snapshot.places)
    };
    assert_eq!(waiting(), (1, Some((1, 1))));
    world.hear(&mut first);
    assert!(first.heard.ends_with("its words"), "{}", first.heard);
    assert_eq!(waiting(), (0, Some((1, 1))));
    world.hear(&mut second);
    assert!(second.heard.ends_with("hello"), "{}", second.heard);
    assert_eq!(waiting(), (0, Some((0, 1))));
    assert_eq!(world.not_retried(), [("all_full", 1)]);
    world.state.service.laws().unwrap();
}

/// Called in time and awake too late: nothing could come of it, and nothing is sent.
#[test]
fn who_leaves_the_queue_too_late_is_not_sent() {
    for (late, asked, end) in [(50, 2, "hello"), (150, 1, "queue_timeout\n")] {
        let world = world(&[&[]], |plan| {
            let service = &mut plan.services[0];
            service.limits.exchange = Duration::from_secs(1);
            service.settings.max_in_flight = std::num::NonZeroU32::new(1);
            service.settings.queue = Some(
                evenkeel_balance::settings::QueueSettings::default()
                    .length(9)
                    .timeout(Duration::from_secs(100)),
            );
        });
        let [mut first, mut second] = [world.client(), world.client()];
        first.write(GET[0]);
        first.serve();
        second.write(GET[0]);
        second.serve();
        world.pass(Duration::from_millis(900));
        // It is called, and sleeps on.
        world.hear(&mut first);
        assert!(first.heard.ends_with("hello"), "{}", first.heard);
        world.pass(Duration::from_millis(late));
        world.hear(&mut second);
        assert!(second.heard.ends_with(end), "{late}: {}", second.heard);
        assert_eq!(world.got()[0].len(), asked, "{late}");
        world.state.service.laws().unwrap();
    }
}

#[test]
fn waits_and_deadlines() {
    let world = world(&[&[Silence, Silence, Silence]], |plan| {
        let limits = &mut plan.services[0].limits;
        (limits.per_try, limits.exchange) = (Duration::from_secs(2), Duration::from_secs(5));
    });
    let heard = world.ask(GET);
    assert!(heard.ends_with("backend_timeout\n"), "{heard}");
    let elapsed = world.elapsed();
    assert!(
        (Duration::from_secs(5)..Duration::from_millis(5_150)).contains(&elapsed),
        "{elapsed:?}"
    );
}

/// Connecting is a part of an attempt: who takes no connection costs no more than `per_try`, however long `connect` is.
#[test]
fn an_attempt_without_a_connection_has_its_time_and_no_more() {
    let check = |first: &'static [Deed], connect: u64, per_try: u64, ms: u64| {
        let world = world(&[first, &[Say(OK)]], |plan| {
            let limits = &mut plan.services[0].limits;
            limits.connect = Duration::from_millis(connect);
            limits.per_try = Duration::from_millis(per_try);
        });
        let heard = world.ask(GET);
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
        let (least, elapsed) = (Duration::from_millis(ms), world.elapsed());
        // Deadlines are swept ten times a second.
        assert!(
            (least..=least + Duration::from_millis(150)).contains(&elapsed),
            "{first:?}, connect {connect}, per_try {per_try}: {elapsed:?}"
        );
    };
    check(&[Black], 3_000, 1_000, 1_000);
    check(&[Black], 1_000, 3_000, 1_000);
    check(&[Silence], 3_000, 1_000, 1_000);
}

/// Whatever fails, backends see no more than a fifth more, and the floor.
#[track_caller]
fn amplified(http2: bool, deeds: &[Deed]) {
    let mut plan = plan(&addresses(3));
    let service = &mut plan.services[0];
    service.settings.retry.backoff_base = Duration::ZERO;
    if http2 {
        service.upstream.protocol = Protocol::Http2;
    }
    let backends = (0..3).map(|_| Backend::over_and_over(deeds));
    let world = World::new(plan, backends.collect());
    const REQUESTS: usize = 2_000;
    for _ in 0..REQUESTS {
        assert!(world.ask(GET).starts_with("HTTP/1.1 50"));
        world.pass(Duration::from_millis(5));
    }
    let seconds = world.elapsed().as_secs_f64();
    let got = world.got().concat();
    let nobody = got.iter().filter(|got| *got == "Refuse").count();
    let reached = got.len() - nobody;
    let told = format!("{http2} {deeds:?}: {reached} and {nobody} of {REQUESTS}");
    // What a new service has, too: ten seconds of the floor.
    let most = 1.2 * REQUESTS as f64 + 3.0 * (seconds + 10.0);
    assert!(reached as f64 <= most, "{told}, at most {most}");
    // Where nobody is, each of the three is looked for once before attempts count.
    assert!(nobody as f64 <= 2.0 * REQUESTS as f64 + most, "{told}");
    assert!(got.len() > REQUESTS + REQUESTS / 10, "{told}: it was tried");
    let refused = world.not_retried();
    assert!(
        refused
            .iter()
            .any(|(word, count)| *word == "budget_exhausted" && *count > 1_000),
        "{told}: {refused:?}"
    );
    world.state.service.laws().unwrap();
}

#[test]
fn amplification_holds_whatever_fails() {
    amplified(false, &[Say(BUSY)]);
    amplified(false, &[Refuse]);
    amplified(false, &[Refuse, SayClose(BUSY), SayClose(BUSY)]);
    amplified(false, &[Reset]);
    amplified(true, &[Say(BUSY)]);
    amplified(true, &[Refuse]);
    amplified(true, &[Reset]);
    amplified(true, &[Goes]);
    amplified(true, &[RefuseStream]);
}

#[test]
fn answers_say_how_many_attempts_they_took() {
    let tune = |plan: &mut Plan| plan.listeners[0].attempts_header = Some("x-attempts".into());
    for (deeds, expect) in [
        (&[Say(OK)] as &[Deed], "x-attempts: 1\r\n"),
        (&[Reset, Say(OK)], "x-attempts: 2\r\n"),
        (&[Refuse, Refuse, Refuse], "x-attempts: 3\r\n"),
    ] {
        let heard = world(&[deeds], tune).ask(GET);
        assert!(heard.contains(expect), "{deeds:?}: {heard}");
    }
    assert!(!world(&[&[]], |_| ()).ask(GET).contains("attempts"));
}
