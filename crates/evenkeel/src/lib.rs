//! The embeddable library.
#![forbid(unsafe_code)]

/// The one that asks for time.
pub mod clock;

/// Where a backend is reached.
pub mod address;

/// One check of one backend.
pub mod probe;

/// Checks of all backends, over and over.
pub mod sweep;
