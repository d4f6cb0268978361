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

/// How much work comes, and how often.
mod arrivals;

/// The real core, and what the world knows of it.
mod balancer;

/// What can happen, and in which order.
mod happening;

/// The running world.
pub mod world;

/// What is measured of a run.
pub mod report;

/// The closed formulas that the world must reproduce.
pub mod theory;

/// Policies against scenarios.
pub mod table;

/// The real engine in a virtual world.
pub mod traffic;
