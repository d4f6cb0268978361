//! Owns HTTP/2 on both sides: connections of many streams, each of which carries one exchange as a connection of HTTP/1 does.
//!
//! Both sides are ends of one kind ([`mux`]); what frames cost is counted ([`watch`]). Who decides
//! about a request, and what goes on of it, does not know that it came by a stream: see [`carrier`](crate::carrier).

/// What a peer's frames cost, and whether it may go on.
mod watch;

/// Where connections are read to.
mod room;

/// How much may wait on a client's streams.
pub(crate) mod allowance;

/// One end of a connection.
pub(crate) mod mux;

/// Clients' connections.
pub(crate) mod front;

/// The tasks that serve their streams.
pub(crate) mod runner;

/// Connections to backends.
pub(crate) mod back;

/// What a peer may have us remember of its heads (RFC 7541 section 4.2).
const TABLE: u32 = 4096;

/// How long a connection that was told to end may take to hear it.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);
