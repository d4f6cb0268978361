//! Owns what the core remembers of past attempts, in bounded memory.
//!
//! Never decides: the policies, the breaker and the snapshots read it. A request pays for one store or one
//! `fetch_add`; everything that costs more is done by the tick.

/// What traffic teaches the `adaptive` policy of one backend.
pub mod speed;

/// What it teaches the `peak_ewma` policy.
pub(crate) mod peak;

/// What it teaches an adaptive limit.
pub(crate) mod pace;

/// A mean that forgets, in one word.
pub mod ewma;

/// Counts of the last seconds, made from totals by the tick.
pub mod window;

/// A latency distribution in 4 KiB.
pub mod histogram;
