//! What TLS adds to an exchange and to a connection that rests, on our end of it.

use std::task::{Context, Poll, Waker};

use evenkeel_config::plan::tls::Policy;
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::tls::sock::TlsSock;

use crate::counting::{allocations, bytes_kept};
use crate::sealed::{ends, read, write};
use crate::world::Counted;
use crate::{ANSWER, REQUEST, reached};

/// What a pipe between them holds.
const ROOM: usize = 300_000;

#[test]
fn an_exchange_asks_for_what_rustls_asks_for_each_record() {
    for policy in [Policy::Modern, Policy::Intermediate] {
        let (mut client, mut server, calls) = ends(policy, ROOM)();
        let mut room = vec![0; 64 * 1024];
        let mut once = || {
            write(&mut client, REQUEST);
            let asked = allocations(|| {
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(server.poll_read(cx, &mut room).is_ready());
                assert!(server.poll_write(cx, ANSWER).is_ready());
            });
            read(&mut client, &mut room, ANSWER.len());
            asked
        };
        once();
        let before = calls.get();
        let asked: usize = (0..100).map(|_| once()).sum();
        assert_eq!(calls.get() - before, 200, "one read and one write each");
        assert_eq!(asked, 200, "allocations in 100 exchanges: one per record");
    }
}

#[test]
fn long_bodies_take_few_calls() {
    let (mut client, mut server, calls) = ends(Policy::Modern, ROOM)();
    let mut room = vec![0; 256 * 1024];
    let body = vec![7; 256 * 1024];
    let before = calls.get();
    write(&mut server, &body);
    // 64 KiB each.
    assert_eq!(calls.get() - before, 4);
    read(&mut client, &mut room, body.len());
    assert_eq!(room, body);
    write(&mut client, &body);
    let before = calls.get();
    read(&mut server, &mut room, body.len());
    assert_eq!(calls.get() - before, 8);
}

/// Passes so many bytes on, however little goes at once.
fn pass(from: &mut TlsSock<Counted>, to: &mut TlsSock<Counted>, length: usize) {
    let cx = &mut Context::from_waker(Waker::noop());
    let (bytes, mut room) = (vec![7; length], vec![0; length]);
    let (mut sent, mut came) = (0, 0);
    while came < length {
        if sent < length {
            if let Poll::Ready(written) = from.poll_write(cx, &bytes[sent..]) {
                sent += written.unwrap();
            }
        } else {
            let _ = from.poll_flush(cx);
        }
        if let Poll::Ready(read) = to.poll_read(cx, &mut room[came..]) {
            came += read.unwrap();
        }
    }
}

#[test]
fn a_connection_that_rests_holds_little_more() {
    // Pipes so narrow that what they hold counts for nothing.
    let make = ends(Policy::Modern, 500);
    let exchanged = || {
        let (mut client, mut server, _) = make();
        // More than one record, so that every buffer has grown.
        pass(&mut client, &mut server, 40_000);
        pass(&mut server, &mut client, 40_000);
        assert!(!server.has_input());
        (client, server)
    };
    drop(exchanged());
    let mut servers = Vec::with_capacity(100);
    let kept = bytes_kept(|| {
        for _ in 0..100 {
            let (client, server) = exchanged();
            drop(client);
            servers.push(server);
        }
    });
    let each = kept / 100;
    reached(each, 6_498, "bytes for a connection over TLS that rests");
}
