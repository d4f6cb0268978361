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

/// What the response head said, and how the attempt ended.
pub mod verdict;

/// What is remembered of past attempts: means, windows, distributions.
pub mod learn;
