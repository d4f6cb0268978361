//! Owns HTTP/2's frames and messages (RFC 9113, RFC 7541): into the heads that every protocol has here, and out of the texts that go
//! on.
//!
//! What stands in a head here may be written to a backend as HTTP/1.1. What goes out is made of the same text that HTTP/1.1 gets, so
//! that what is left out for the next hop is decided in one place ([`forward`](crate::forward)).

/// Frames.
pub mod frame;

/// Fields, out of blocks into heads, and out of lines into blocks.
pub mod fields;

/// Fields, compressed.
pub mod hpack;
