//! What an exchange by a stream of HTTP/2 asks for, and what a connection that rests holds; HTTP/1.1 behind.

use crate::ANSWER;
use crate::counting::{allocations, bytes_kept};
use crate::world::{Http2, World};

/// For one exchange: the `h2` and `http` crates' for frames, fields and their texts, and ours for the stream.
const ALLOCATIONS: usize = 8;

/// What a connection holds that rests, its client's end in memory with it: buffers and tables of the `h2` crate, most of it.
const BYTES: usize = 44 * 1024;

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
    // Tables of the crate grow now and then.
    assert_eq!(asked / 100, ALLOCATIONS, "{asked} in 100 exchanges");
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
    assert!(
        (BYTES / 2..=BYTES).contains(&each),
        "{each} bytes for a connection that rests"
    );
}
