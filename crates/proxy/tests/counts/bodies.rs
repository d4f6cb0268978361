//! What a request with a body asks for: as little as one without, up to 64 KiB.

use crate::ANSWER;
use crate::counting::allocations;
use crate::world::{World, posted};

/// Exchanges with a body of so many bytes: calls and allocations of each.
fn check(body: usize, expect: (usize, usize)) {
    let mut world = World::new();
    let mut client = world.connect();
    let request = posted(body);
    // Buffers, tables and slots grow once.
    for _ in 0..10 {
        world.exchange(&mut client, &request, ANSWER);
    }
    let before = world.calls();
    let asked = allocations(|| {
        for _ in 0..100 {
            world.exchange(&mut client, &request, ANSWER);
        }
    });
    assert_eq!(
        ((world.calls() - before) / 100, asked),
        expect,
        "calls of an exchange and allocations of 100, {body} bytes"
    );
}

#[test]
fn a_body_of_64_kib_comes_with_its_head_and_goes_with_it() {
    check(1, (4, 0));
    check(4 * 1024, (4, 0));
    check(16 * 1024, (4, 0));
    check(64 * 1024, (4, 0));
}
