//! Who may ask: the pages and metrics of a running instance, and what of it may be changed.
//!
//! Knows the instance by its [`Watch`] alone. Below, the modules in the order of a question.
#![forbid(unsafe_code)]

/// The pages, and where they are.
pub mod pages;

/// Who is connected.
pub mod guests;

/// Who passes.
pub mod gate;

/// Who may do what, by tokens and certificates.
pub mod access;

/// What is written down of it.
mod audit;

/// The API below `/v1`, and its OpenAPI document.
mod contract;

/// What a browser is given.
mod dashboard;

/// The metrics as Prometheus reads them.
mod metrics;

pub use contract::openapi;
pub use pages::serve;
