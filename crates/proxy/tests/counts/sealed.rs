//! Owns both ends of a connection over TLS in memory, whose calls are counted.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;

use evenkeel_config::plan::tls::Policy;
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;
use evenkeel_proxy::tls::sock::TlsSock;

use crate::tls_made::{pair, terms};
use crate::world::Counted;

/// The client's end, ours, and the calls of ours.
pub(crate) type Ends = (TlsSock<Counted>, TlsSock<Counted>, Rc<Cell<usize>>);

fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(what)
}

/// Makes such connections over pipes that hold so much.
pub(crate) fn ends(policy: Policy, room: usize) -> impl Fn() -> Ends {
    let both = terms(policy);
    move || {
        let (one, other) = Pipe::pair(room);
        let calls = Rc::<Cell<usize>>::default();
        let counted = |pipe, calls: &Rc<Cell<usize>>| Counted {
            pipe,
            calls: calls.clone(),
            fresh: false,
        };
        let ends = (counted(one, &Rc::default()), counted(other, &calls));
        let (client, server) = run(Box::pin(pair(&both, ends)));
        (client, server, calls)
    }
}

/// All of it, for which there must be room.
pub(crate) fn write(sock: &mut TlsSock<Counted>, bytes: &[u8]) {
    let mut left = bytes;
    while !left.is_empty() {
        let written = run(poll_fn(|cx| sock.poll_write(cx, left))).unwrap();
        left = &left[written..];
    }
}

/// So many bytes, which must be there.
pub(crate) fn read(sock: &mut TlsSock<Counted>, room: &mut [u8], length: usize) {
    let mut came = 0;
    while came < length {
        came += run(poll_fn(|cx| sock.poll_read(cx, &mut room[came..]))).unwrap();
    }
}
