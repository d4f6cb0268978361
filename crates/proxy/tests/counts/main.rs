//! What the engine asks of the machine for one plain exchange, counted over connections in memory: calls, memory, bytes held.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

#[path = "../../../balance/tests/allocations/counting.rs"]
mod counting;
mod kinds;
#[path = "../exchange/plan.rs"]
mod plan;
mod sealed;
mod tls;
#[path = "../tls/made.rs"]
mod tls_made;
mod world;

/// Requests with bodies.
mod bodies;

/// Requests that a rate limit counts.
mod limited;

/// Clients of HTTP/2.
mod http2;

/// Clients that go while their backend thinks.
mod going;

/// One connection over sockets, with nobody beside it.
#[cfg(target_os = "linux")]
mod alone;

/// Services whose slow attempts have others beside them.
mod hedged;

/// Deadlines, in a time that tests move, and other ends of what takes too long.
mod late;

/// What follows a change of protocol.
mod tunnels;

/// Plans that are replaced.
mod reloads;

/// Exchanges that are written down.
mod recorded;

use std::sync::Arc;

use counting::{allocations, bytes_kept};
use evenkeel_balance::settings::PolicyChoice;
use evenkeel_config::plan::{LoadPlan, LoadSource};
use evenkeel_proxy::deadline::SWEEP_EVERY;
use evenkeel_proxy::rules::Rules;
use world::World;

const REQUEST: &[u8] = b"GET /some/path?with=query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: counts\r\nAccept: */*\r\n\r\n";
const LAST_REQUEST: &[u8] =
    b"GET /some/path?with=query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: counts\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_plain_exchange_allocates_nothing() {
    let mut world = World::new();
    let mut client = world.connect();
    // Buffers, tables and slots grow once.
    for _ in 0..10 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    let asked = allocations(|| {
        for _ in 0..100 {
            world.exchange(&mut client, REQUEST, ANSWER);
        }
    });
    assert_eq!(asked, 0, "allocations in 100 exchanges");
}

#[test]
fn a_plain_exchange_is_two_reads_and_two_writes() {
    let mut world = World::new();
    let mut client = world.connect();
    world.exchange(&mut client, REQUEST, ANSWER);
    let before = world.calls();
    for _ in 0..100 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    assert_eq!(world.calls() - before, 400);
}

/// Bytes are those that were reached, to a twentieth: more is dearer, and less is a limit that holds nothing.
#[track_caller]
pub(crate) fn reached(found: usize, figure: usize, what: &str) {
    assert!(
        found.abs_diff(figure) <= figure / 20,
        "{found} {what}, {figure} were reached"
    );
}

/// A client that is kept costs no call more, and no memory.
#[test]
fn an_exchange_of_a_client_that_is_kept_is_as_many_calls() {
    let (mut world, request) = world::keeping(REQUEST, ANSWER);
    let mut client = world.connect();
    for _ in 0..10 {
        world.exchange(&mut client, &request, ANSWER);
    }
    let before = world.calls();
    let asked = allocations(|| {
        for _ in 0..100 {
            world.exchange(&mut client, &request, ANSWER);
        }
    });
    assert_eq!(world.calls() - before, 400);
    assert_eq!(asked, 0, "allocations in 100 exchanges");
}

/// A service that goes by what its backends report of their load.
fn weighing() -> World {
    let mut plan = plan::plan(&[([127, 0, 0, 1], 1).into()]);
    plan.services[0].settings.policy = PolicyChoice::WeightedByLoad;
    plan.services[0].load = Some(LoadPlan {
        from: LoadSource::Header,
        keeps: false,
        metrics: Arc::from([Arc::from("named_metrics.queue")]),
    });
    World::over(world::published(plan))
}

/// In each spelling, also of one that is wrong; nor is there a call more.
#[test]
fn an_answer_with_a_report_allocates_nothing() {
    for report in [
        "TEXT application_utilization=0.5,rps_fractional=120,named_metrics.queue=0.7",
        "JSON {\"cpuUtilization\":\"0.5\",\"named_metrics\":{\"queue\":0.7}}",
        "BIN CTMzMzMzM9M/",
        "TEXT cpu_utilization=NaN",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nendpoint-load-metrics: {report}\r\n");
        let answer = [head.as_bytes(), b"Content-Length: 5\r\n\r\nhello"].concat();
        let mut world = weighing();
        let mut client = world.connect();
        for _ in 0..10 {
            world.exchange(&mut client, REQUEST, &answer);
        }
        let before = world.calls();
        let asked = allocations(|| {
            for _ in 0..100 {
                world.exchange(&mut client, REQUEST, &answer);
            }
        });
        assert_eq!((asked, world.calls() - before), (0, 400), "{report}");
        let told = String::from_utf8_lossy(&world.room);
        assert!(!told.contains("endpoint-load"), "{told}");
    }
}

#[test]
fn a_connection_for_one_exchange_is_five_calls() {
    let mut world = World::new();
    let mut client = world.connect();
    world.exchange(&mut client, REQUEST, ANSWER);
    let before = world.calls();
    for pipes in world.pipes(100) {
        world.connection(pipes, LAST_REQUEST, ANSWER);
    }
    // Two reads, two writes, and a look whether more has come; the system is not asked to tell of it, nor to stop that.
    assert_eq!(world.calls() - before, 500);
}

#[test]
fn a_connection_for_one_exchange_allocates_little() {
    let mut world = World::new();
    for pipes in world.pipes(100) {
        world.connection(pipes, LAST_REQUEST, ANSWER);
    }
    world.pass(SWEEP_EVERY);
    let pipes = world.pipes(100);
    let asked = allocations(|| {
        for pipes in pipes {
            world.connection(pipes, LAST_REQUEST, ANSWER);
        }
    });
    // Itself, and the future that serves it, for which listeners have tasks at rest; and the pipes' own queues.
    assert_eq!(asked, 200 + 200, "allocations in 100 connections");
}

#[test]
fn a_connection_that_goes_on_is_four_calls_for_each_exchange() {
    let mut world = World::new();
    let [pipes] = <[_; 1]>::try_from(world.pipes(1)).ok().unwrap();
    let mut client = world.connected(pipes, true);
    world.exchange(&mut client, REQUEST, ANSWER);
    // From here on it is watched.
    let before = world.calls();
    for _ in 0..100 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    assert_eq!(world.calls() - before, 400);
}

#[test]
fn an_idle_connection_holds_little() {
    let mut world = World::new();
    let mut warm: Vec<_> = (0..3).map(|_| world.connect()).collect();
    for client in &mut warm {
        world.exchange(client, REQUEST, ANSWER);
    }
    let mut clients = Vec::with_capacity(100);
    let kept = bytes_kept(|| {
        for _ in 0..100 {
            let mut client = world.connect();
            world.exchange(&mut client, REQUEST, ANSWER);
            clients.push(client);
        }
    });
    let pipes = 100 * world.bytes_of_a_pipe();
    let each = kept.saturating_sub(pipes) / 100;
    reached(each, 471, "bytes for an idle connection");
}

#[test]
fn connections_to_backends_that_rest_hold_little() {
    let mut world = World::new();
    let mut clients: Vec<_> = (0..300).map(|_| world.connect()).collect();
    let kept = bytes_kept(|| {
        for client in &mut clients {
            world.ask(client, REQUEST);
        }
        assert_eq!(world.answer_all(ANSWER), 300);
        for client in &mut clients {
            world.hear(client);
        }
        // What so many needed at once is let go of, and connections do not rest too long.
        (0..30).for_each(|_| world.pass(SWEEP_EVERY));
    });
    // Some buffers, desks and slots are ready for the next, and both lanes of all pipes; a buffer for each would be 14 MiB.
    reached(
        kept,
        557_464,
        "bytes for 300 connections and those behind them",
    );
}

#[test]
fn finding_a_rule_allocates_nothing() {
    for name in kinds::KINDS {
        let kind = kinds::kind(name, 100);
        let rules = Rules::new(&kind.rules);
        let find = || assert_eq!(rules.find(&kind.asked()), kind.found, "{name}");
        // An expression's search tables grow once.
        (0..10).for_each(|_| find());
        let asked = allocations(|| (0..100).for_each(|_| find()));
        assert_eq!(asked, 0, "allocations in 100 finds among {name}");
    }
}

/// What an index of 1,000 rules of each kind holds. Of expressions most is a handle of the engine with its pool of search tables, before any
/// of these exist; one of `many-paths-each` has 41 paths.
const KEPT: [(&str, usize); 21] = [
    ("everything", 346),
    ("hosts", 362_000),
    ("domains", 358_000),
    ("host-wildcards", 536_000),
    ("paths", 118_000),
    ("prefixes", 118_000),
    ("wildcards-by-begin", 183_000),
    ("wildcards-by-end", 185_000),
    ("expressions-by-begin", 1_951_000),
    ("methods", 24_000),
    ("listeners", 493_000),
    ("grid", 143_000),
    ("mixture", 279_000),
    ("same-key", 24_000),
    ("many-paths-each", 5_411_000),
    ("hostile", 867_000),
    ("canaries", 397_000),
    ("headers", 40_000),
    ("queries", 40_000),
    ("wildcards-without-text", 64_000),
    ("expressions-without-text", 1_832_000),
];

#[test]
fn a_rule_is_kept_in_little() {
    for (name, bytes) in KEPT {
        let kind = kinds::kind(name, 1_000);
        let mut rules = None;
        let kept = bytes_kept(|| rules = Some(Rules::new(&kind.rules)));
        reached(kept, bytes, &format!("bytes for 1,000 of {name}"));
    }
    assert_eq!(KEPT.map(|(name, _)| name), kinds::KINDS);
}
