//! WHO gets the request: the decision core of Evenkeel.
#![forbid(unsafe_code)]

/// Time, as the caller tells it.
pub mod time;

/// Atomics and the one publication, from `std` or from the model checker.
#[allow(
    dead_code,
    unused_imports,
    reason = "the shared tables that publish through it land beside this"
)]
mod sync;

/// The one pinned key hash: which client belongs to which backend.
pub mod hashing;

/// Weighted random picks in constant time.
pub mod alias;

/// Weighted round robin without a lock.
pub mod stride;

/// Consistent hashing by a look-up table.
pub mod maglev;

/// Consistent hashing by the highest score.
pub mod rendezvous;

/// What the response head said, and how the attempt ended.
pub mod verdict;

/// What is remembered of past attempts: means, windows, distributions.
pub mod learn;

/// May a failed attempt be made again, and when.
pub mod retry;
