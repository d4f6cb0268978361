//! Owns the order in which a worker's exchanges take their turns.

use std::future::poll_fn;
use std::task::Poll;

/// Lets everybody else who is ready go first, once.
///
/// Taken between reading a request and asking a backend: a worker reads all that is there before it writes the first byte to a backend.
/// The kernel then wakes clients and backends in runs rather than one by one, which with 64 and 512 busy connections is a tenth and more of
/// a worker's time (`docs/findings.md`, "What TLS costs a small exchange"). Costs no system call. No buffer is held meanwhile, if it can be
/// helped: of 512 that are ready each would fill another. No pick is either: who waits for its turn keeps no backend from others.
pub(crate) async fn give_way() {
    let mut gave = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
