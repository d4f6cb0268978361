//! Requests that a rate limit counts: what that costs, and what is answered when time goes by.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use evenkeel_balance::rate::RateSettings;
use evenkeel_config::Plan;
use evenkeel_config::plan::{RateBy, RatePlan};
use evenkeel_proxy::live::{Live, Published};
use evenkeel_proxy::sock::Sock;

use crate::counting::allocations;
use crate::plan::plan;
use crate::world::{Client, NOW, World, published, ready, turn};
use crate::{ANSWER, REQUEST};

/// So many a second of each of these.
fn rate(per: &[RateBy], allow: u32, burst: u32) -> RatePlan {
    RatePlan {
        name: "limit".into(),
        per: per.to_vec(),
        settings: RateSettings::new(NonZeroU32::new(allow).unwrap(), Duration::from_secs(1))
            .burst(NonZeroU32::new(burst).unwrap())
            .keys(NonZeroUsize::new(1_000).unwrap()),
        ipv6_prefix: 64,
        shadow: false,
        fields: false,
    }
}

fn limited(rates: Vec<RatePlan>) -> Plan {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    plan.rules[0].rates = Some(rates.into());
    plan
}

/// An exchange that is refused here, and what the client got.
fn refused(world: &mut World, client: &mut Client) -> String {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(client.pipe.poll_write(&mut cx, REQUEST).is_ready());
    assert!(turn(&mut client.served).is_pending());
    assert_eq!(world.answer_all(ANSWER), 0, "a backend was asked");
    let read = ready(client.pipe.poll_read(&mut cx, &mut world.room));
    String::from_utf8_lossy(&world.room[..read]).into_owned()
}

#[test]
fn an_exchange_that_passes_allocates_nothing() {
    let by = [
        RateBy::Client,
        RateBy::Header("user-agent".into()),
        RateBy::Cookie("none".into()),
        RateBy::Path(None),
    ];
    let one = rate(&by, 1_000_000, 1_000_000);
    for (fields, many) in [(false, 1), (false, 8), (true, 8)] {
        let all = vec![
            RatePlan {
                fields,
                ..one.clone()
            };
            many
        ];
        let mut world = World::over(published(limited(all)));
        let mut client = world.connect();
        for _ in 0..10 {
            world.exchange(&mut client, REQUEST, ANSWER);
        }
        let before = world.calls();
        let asked = allocations(|| {
            for _ in 0..100 {
                world.exchange(&mut client, REQUEST, ANSWER);
            }
        });
        assert_eq!(
            asked, 0,
            "allocations in 100 exchanges by {many}, fields: {fields}"
        );
        assert_eq!(world.calls() - before, 400);
        let text = String::from_utf8_lossy(&world.room).into_owned();
        assert_eq!(
            text.contains("\r\nRateLimit: \"limit\";r="),
            fields,
            "{text}"
        );
    }
}

#[test]
fn a_token_comes_back_with_time() {
    let mut world = World::over(published(limited(vec![rate(&[RateBy::Client], 4, 2)])));
    let mut client = world.connect();
    for _ in 0..2 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    let got = refused(&mut world, &mut client);
    assert!(
        got.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{got}"
    );
    for line in [
        "Retry-After: 1",
        "RateLimit-Policy: \"limit\";q=4;w=1",
        "RateLimit: \"limit\";r=0;t=1",
    ] {
        assert!(got.contains(&format!("\r\n{line}\r\n")), "{line} in {got}");
    }
    assert!(
        got.ends_with("\r\n\r\n429 Too Many Requests: rate_limited\n"),
        "{got}"
    );
    world.pass(Duration::from_millis(249));
    refused(&mut world, &mut client);
    // The connection lives, and one more may pass.
    world.pass(Duration::from_millis(1));
    world.exchange(&mut client, REQUEST, ANSWER);
    refused(&mut world, &mut client);
    // Full, and no fuller: shorter than a connection to a backend rests.
    world.pass(Duration::from_secs(3));
    for _ in 0..2 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    refused(&mut world, &mut client);
}

fn reload(published: &Published, next: Plan) {
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    published.store(Live::join(next, Some(&published.load()), 1, &events, NOW));
}

#[test]
fn a_reload_forgets_nobody_who_is_counted_as_before() {
    let one = rate(&[RateBy::Client], 4, 2);
    let published = published(limited(vec![one.clone()]));
    let mut world = World::over(published.clone());
    let mut client = world.connect();
    for _ in 0..2 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    refused(&mut world, &mut client);
    // The same, and at another pace: the buckets stay.
    reload(&published, limited(vec![one.clone()]));
    refused(&mut world, &mut client);
    reload(&published, limited(vec![rate(&[RateBy::Client], 1, 1)]));
    let got = refused(&mut world, &mut client);
    assert!(
        got.contains("RateLimit-Policy: \"limit\";q=1;w=1\r\n"),
        "{got}"
    );
    // Counted by something else it begins anew.
    reload(&published, limited(vec![rate(&[RateBy::Path(None)], 1, 1)]));
    world.exchange(&mut client, REQUEST, ANSWER);
    refused(&mut world, &mut client);
    // And without a limit there is none.
    reload(&published, plan(&[([127, 0, 0, 1], 1).into()]));
    for _ in 0..9 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    let live = published.load();
    assert!(live.rates.is_none());
    let reasons = evenkeel_proxy::observation::by_reason(&live.services[0].state.counters);
    assert_eq!(reasons, [("served", 12)], "no refusal is a service's");
}
