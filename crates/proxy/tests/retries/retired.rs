//! What becomes of connections that a reload leaves to nobody, where each carries many exchanges.

use std::time::Duration;

use evenkeel_config::Plan;
use evenkeel_config::plan::Protocol;

use crate::plan::plan;
use crate::world::{Backend, Deed, OK, World, addresses};
use Deed::{Say, Silence};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Two backends that speak this.
fn speaking(protocol: Protocol) -> Plan {
    let mut plan = plan(&addresses(2));
    plan.services[0].upstream.protocol = protocol;
    plan
}

/// Connections to each backend that stand.
fn standing(world: &World) -> Vec<usize> {
    let all = world.connected();
    all.iter().map(|(_, stand)| *stand).collect()
}

/// An exchange of before goes on where it is, with its view of the plan; what rests beside it ends.
#[test]
fn a_connection_of_streams_ends_though_an_exchange_of_before_goes_on() {
    let backends = [&[Silence][..], &[Say(OK)]].map(Backend::doing);
    let world = World::new(speaking(Protocol::Http2), backends.into());
    let (mut waits, mut served) = (world.client(), world.client());
    waits.write(GET);
    world.settle(&mut waits);
    served.write(GET);
    world.hear(&mut served);
    assert!(
        served.heard.starts_with("HTTP/1.1 200 "),
        "{}",
        served.heard
    );
    assert_eq!(standing(&world), [1, 1]);
    world.reload(speaking(Protocol::Http1));
    // It is told that nothing more comes, and has a second to end.
    for _ in 0..12 {
        world.pass(Duration::from_millis(100));
        world.settle(&mut waits);
    }
    assert_eq!(standing(&world), [1, 0]);
    // Nobody answers it there, and it is tried again by the plan of before: what that leaves is nobody's either.
    world.hear(&mut waits);
    for _ in 0..12 {
        world.pass(Duration::from_millis(100));
        world.settle(&mut waits);
    }
    assert!(waits.heard.starts_with("HTTP/1.1 200 "), "{}", waits.heard);
    assert_eq!(standing(&world), [0, 0]);
}
