//! Owns what gRPC adds to HTTP: deadlines, statuses, the message of a refusal, the one call that a health check makes (gRPC's
//! `doc/PROTOCOL-HTTP2.md`, `statuscodes.md`, `http-grpc-status-mapping.md`, `health-checking.md`).
//!
//! Knows nothing of streams or of what is in a message; a proxy passes those on as they are.

pub use self::outcome::{in_head, in_trailers, is_grpc};
pub use self::status::Status;

/// How long a call may take.
pub mod timeout;

/// The codes, and what stands for other signs.
mod status;

/// What a response says of its call.
mod outcome;

/// Texts that go with a status.
pub mod message;

/// The health checking protocol.
pub mod health;

/// What `content-type` begins with.
pub const CONTENT_TYPE: &str = "application/grpc";
