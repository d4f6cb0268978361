//! What was meant: configuration text and named inputs in, a checked [`Plan`] or all its problems out.
//!
//! Opens nothing itself: no file, no socket, no environment. Below, the modules in the order of the way.
#![forbid(unsafe_code)]

/// Text into a tree whose nodes know where they stand.
pub mod tree;

/// What is wrong, where, and what to do.
pub mod problem;

/// What somebody may have meant.
pub mod nearest;

/// Every key that there is.
mod keys;

/// Keys and values out of a tree.
mod read;

/// Trees into a plan.
mod lower;

/// What only the whole can have wrong.
mod check;

/// What is changed beside the texts.
pub mod edits;

/// Every value that holds, and where it comes from.
pub mod effective;

/// The JSON Schema.
mod schema;

/// The table of keys, in words.
mod reference;

/// Every limit and deadline of the data plane.
pub mod limits;

/// A checked configuration, without anything left to interpret.
pub mod plan;

/// Requests, and what each is to meet: tables for tests of a configuration.
pub mod cases;

/// A plan without a file: addresses to listen on, addresses to forward to.
pub mod quick;

pub use lower::{Loaded, files, load, load_asking, load_for, load_with};
pub use plan::Plan;
pub use problem::{Problem, Severity, Source, render};
pub use read::{Files, duration};
pub use reference::{Row, Section, reference};
pub use schema::{entries, schema};
