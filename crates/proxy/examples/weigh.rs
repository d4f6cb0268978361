//! What `cargo xtask counts` weighs: exchanges over connections in memory, what TLS adds to one, bringing a service to its backends, a
//! reload, and finding a rule among few and many.
//!
//! `weigh --list` names the rows; `weigh <name> <repetitions>` runs one of them.
#![expect(clippy::print_stdout, reason = "the rows are its output")]
#![expect(
    clippy::unwrap_used,
    reason = "it stops where it likes, as a test does"
)]

#[path = "../tests/counts/kinds.rs"]
mod kinds;
#[path = "../tests/exchange/plan.rs"]
mod plan;
#[path = "../tests/counts/sealed.rs"]
#[expect(dead_code, reason = "a record each way is all that is weighed")]
mod sealed;
#[path = "../tests/tls/made.rs"]
mod tls_made;
#[path = "../tests/counts/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use evenkeel_balance::event::Listener;
use evenkeel_balance::rate::RateSettings;
use evenkeel_balance::time::Instant;
use evenkeel_config::plan::tls::Policy;
use evenkeel_config::plan::{RateBy, RatePlan};
use evenkeel_config::{Source, load};
use evenkeel_proxy::deadline::SWEEP_EVERY;
use evenkeel_proxy::live::Live;
use evenkeel_proxy::rules::Rules;
use evenkeel_proxy::sock::Sock;
use world::{Http2, World, posted};

/// How many rules of a kind are weighed: few and many, and more where rules share a key.
fn list() {
    println!("exchange");
    println!("exchange-recorded");
    println!("connection");
    println!("exchange-http2");
    println!("exchange-post/64k");
    println!("sealed/20");
    println!("exchange-kept");
    println!("exchange-limited");
    println!("brought/1000");
    println!("reloaded/1000");
    for kind in kinds::KINDS {
        let counts: &[usize] = match kind {
            "same-key" | "mixture" => &[10, 1_000, 10_000],
            // Tried one by one: the price of each.
            "wildcards-without-text" | "expressions-without-text" => &[10, 100],
            _ => &[10, 1_000],
        };
        for count in counts {
            println!("rules/{kind}/{count}");
        }
    }
}

const REQUEST: &[u8] = b"GET /some/path?with=query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: counts\r\nAccept: */*\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET /some/path?with=query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: counts\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

fn exchanges(repetitions: u64) {
    let mut world = World::new();
    let mut client = world.connect();
    for _ in 0..repetitions {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    black_box(world.calls());
    black_box(world.bytes_of_a_pipe());
}

/// The same with a request whose body is of 64 KiB. A byte that is copied counts as an instruction here (`rep movsb`): the pipes copy
/// each four times, and the engine must not.
fn posts(repetitions: u64) {
    let mut world = World::new();
    let mut client = world.connect();
    let request = posted(64 * 1024);
    for _ in 0..repetitions {
        world.exchange(&mut client, &request, ANSWER);
    }
    black_box(world.calls());
}

/// The same, each over a connection of its own; its pipes among it.
fn connections(repetitions: u64) {
    let mut world = World::new();
    for turn in 0..repetitions {
        let pipes = world.pipes(1).remove(0);
        world.connection(pipes, LAST_REQUEST, ANSWER);
        if turn % 100 == 0 {
            world.pass(SWEEP_EVERY);
        }
    }
    black_box(world.calls());
}

/// What TLS adds to an exchange, twenty times: a record each way, sealed at one end and opened at the other. Twenty, since what gathers
/// chance before the first handshake takes as long as it likes, millions of instructions more or less.
fn sealed(repetitions: u64) {
    let (mut client, mut server, calls) = sealed::ends(Policy::Modern, world::ROOM)();
    let mut room = vec![0; 4096];
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..20 * repetitions {
        assert!(client.poll_write(cx, REQUEST).is_ready());
        assert!(server.poll_read(cx, &mut room).is_ready());
        // It comes to rest, as it does while its backend thinks.
        assert!(server.poll_read(cx, &mut room).is_pending());
        assert!(server.poll_write(cx, ANSWER).is_ready());
        assert!(client.poll_read(cx, &mut room).is_ready());
    }
    black_box(calls.get());
}

/// The same by a stream of one connection of HTTP/2; HTTP/1.1 behind.
fn by_streams(repetitions: u64) {
    let mut world = World::new();
    let mut client = Http2::new(world.connect());
    for _ in 0..repetitions {
        world.exchange_http2(&mut client, ANSWER);
    }
    black_box(world.calls());
}

/// The same, of a client that shows the cookie which it was told in the first.
fn kept(repetitions: u64) {
    let (mut world, request) = world::keeping(REQUEST, ANSWER);
    let mut client = world.connect();
    for _ in 0..repetitions {
        world.exchange(&mut client, &request, ANSWER);
    }
    black_box(world.calls());
}

/// The same, counted by a rate limit for its client, which lets all of them pass.
fn limited(repetitions: u64) {
    let mut plan = plan::plan(&[([127, 0, 0, 1], 1).into()]);
    let most = NonZeroU32::MAX;
    let rate = RatePlan {
        name: "client".into(),
        per: vec![RateBy::Client],
        settings: RateSettings::new(most, Duration::from_secs(1)).keys(NonZeroUsize::MIN),
        ipv6_prefix: 64,
        shadow: false,
        fields: false,
    };
    plan.rules[0].rates = Some([rate].into());
    let mut world = World::over(world::published(plan));
    let mut client = world.connect();
    for _ in 0..repetitions {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    black_box(world.calls());
}

/// The same, written down and taken out again, unread.
fn recorded(repetitions: u64) {
    let (mut world, recorded) = World::recording();
    let mut client = world.connect();
    for _ in 0..repetitions {
        world.exchange(&mut client, REQUEST, ANSWER);
        recorded.each(|record| assert_eq!(black_box(record.seen()).attempts, 1));
    }
    black_box(recorded.outlet.dropped());
}

/// A service is brought to its 1,000 backends, every hundredth time: what that takes may not grow with their square.
fn brought(repetitions: u64) {
    let addresses: Vec<SocketAddr> = (1..=1_000)
        .map(|port| ([127, 0, 0, 1], port).into())
        .collect();
    let events: Arc<dyn Listener> = Arc::new(());
    let live = Live::join(plan::plan(&addresses), None, 1, &events, Instant::ZERO);
    let service = &live.services[0];
    for _ in 0..repetitions / 100 {
        let members = black_box(&service.plan.backends);
        service.state.update(members, Instant::ZERO);
    }
    assert_eq!(service.state.members(), addresses.len());
}

/// A text of 1,000 backends, half of which are others each time, becomes the plan that runs, every hundredth time: all of a reload but what
/// opens sockets and says what changed.
fn reloaded(repetitions: u64) {
    let text = |first: usize| {
        let head = "listeners: { web: { bind: 127.0.0.1:1 } }\nservices:\n  api:\n    backends:\n";
        let backends = (first..first + 1_000)
            .map(|number| format!("      - 127.1.{}.{}:9000\n", number / 250, number % 250 + 1));
        let text: String = [head.to_owned()].into_iter().chain(backends).collect();
        let name = "f.yaml".into();
        [Source { name, text }]
    };
    let texts = [text(0), text(500)];
    let events: Arc<dyn Listener> = Arc::new(());
    let mut live: Option<Live> = None;
    for turn in 0..repetitions / 100 {
        let sources = &texts[usize::from(turn % 2 == 1)];
        let loaded = load(black_box(sources), &BTreeMap::new());
        let next = Live::join(
            loaded.plan.unwrap(),
            live.as_ref(),
            1,
            &events,
            Instant::ZERO,
        );
        live = Some(next);
    }
    assert_eq!(live.unwrap().services[0].state.members(), 1_000);
}

fn rules(name: &str, count: usize, repetitions: u64) {
    let kind = kinds::kind(name, count);
    let rules = Rules::new(&kind.rules);
    for _ in 0..repetitions {
        assert_eq!(black_box(&rules).find(black_box(&kind.asked())), kind.found);
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => list(),
        ["exchange", repetitions] => exchanges(repetitions.parse()?),
        ["exchange-recorded", repetitions] => recorded(repetitions.parse()?),
        ["connection", repetitions] => connections(repetitions.parse()?),
        ["exchange-http2", repetitions] => by_streams(repetitions.parse()?),
        ["exchange-post/64k", repetitions] => posts(repetitions.parse()?),
        ["sealed/20", repetitions] => sealed(repetitions.parse()?),
        ["exchange-kept", repetitions] => kept(repetitions.parse()?),
        ["exchange-limited", repetitions] => limited(repetitions.parse()?),
        ["brought/1000", repetitions] => brought(repetitions.parse()?),
        ["reloaded/1000", repetitions] => reloaded(repetitions.parse()?),
        [name, repetitions] => {
            let name = name.strip_prefix("rules/").ok_or("there is no such row")?;
            let (kind, count) = name.split_once('/').ok_or("a row is rules/kind/count")?;
            rules(kind, count.parse()?, repetitions.parse()?);
        }
        _ => {
            println!("usage: weigh --list | weigh <name> <repetitions>");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
