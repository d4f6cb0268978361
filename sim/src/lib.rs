//! The real decision core in a virtual world: a deterministic discrete-event simulation.
//!
//! Who doubts a policy runs it here and sees the numbers; who doubts the world runs its proofs (`tests/proof.rs`).
#![forbid(unsafe_code)]

/// What a world is like.
pub mod scenario;

/// Randomness, one stream per purpose.
pub mod chance;

/// One server.
pub mod server;

/// The running world.
pub mod world;

/// What is measured of a run.
pub mod report;

/// The closed formulas that the world must reproduce.
pub mod theory;

/// Policies against scenarios.
pub mod table;
