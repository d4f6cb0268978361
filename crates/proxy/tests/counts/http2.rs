//! What an exchange by a stream of HTTP/2 asks for, and what a connection that rests holds; HTTP/1.1 behind.

use crate::counting::{allocations, bytes_kept};
use crate::world::{Http2, World};
use crate::{ANSWER, reached};

/// For one exchange: what a stream needs is used again.
const ALLOCATIONS: usize = 0;

/// What a connection holds that rests, its client's end in memory with it: tables of fields, most of it.
const BYTES: usize = 5_806;

#[test]
fn an_exchange_by_a_stream_asks_for_what_is_stated() {
    let mut world = World::new();
    let mut client = Http2::new(world.connect());
    for _ in 0..20 {
        world.exchange_http2(&mut client, ANSWER);
    }
    let calls = world.calls();
    let asked = allocations(|| {
        for _ in 0..100 {
            world.exchange_http2(&mut client, ANSWER);
        }
    });
    assert_eq!(world.calls() - calls, 400, "two reads and two writes each");
    assert_eq!(asked, ALLOCATIONS, "{asked} in 100 exchanges");
}

#[test]
fn a_connection_of_http2_that_rests_holds_what_is_stated() {
    let mut world = World::new();
    let mut warm: Vec<_> = (0..3).map(|_| Http2::new(world.connect())).collect();
    for client in &mut warm {
        world.exchange_http2(client, ANSWER);
    }
    let mut clients = Vec::with_capacity(100);
    let kept = bytes_kept(|| {
        for _ in 0..100 {
            let mut client = Http2::new(world.connect());
            world.exchange_http2(&mut client, ANSWER);
            clients.push(client);
        }
    });
    let each = kept / 100;
    reached(each, BYTES, "bytes for a connection of HTTP/2 that rests");
}
