//! What the bytes say: request and response heads, where a body ends, what goes on to the next hop.
//!
//! Decides strictly: what two parsers could read differently is refused. Opens no socket, waits for nothing, knows no time.
//! Below, the modules in the order of an exchange.
#![forbid(unsafe_code)]

/// Why bytes are refused, each with its status and its word.
pub mod malformed;

/// What a connection begins with.
pub mod sniff;

/// Who is at the other end of a connection, as a proxy before us tells it, or as we tell a backend.
pub mod proxy_protocol;

/// Bytes by what they may be part of.
mod bytes;

/// The heads of requests and responses: offset tables over one recycled buffer.
pub mod head;

/// Fields that mean something to a proxy.
pub mod known;

/// HTTP/1.1 text into heads.
pub mod http1;

/// HTTP/2 into the same heads, and out of what goes on.
pub mod http2;

/// Host and port.
pub mod authority;

/// The normal form of a path.
pub mod path;

/// Where a body ends.
pub mod framing;

/// A chunked body on its way through.
pub mod chunked;

/// Who the client is.
pub mod client;

/// What a rule makes of heads.
pub mod altered;

/// What a `Set-Cookie` says of one cookie.
pub mod set_cookie;

/// Heads as they go on to the next hop.
pub mod forward;

/// What gRPC adds to HTTP: deadlines, statuses, messages, checks.
pub mod grpc;

/// What backends report of their load.
pub mod load;

/// Bytes as text.
pub mod base64;

/// Dates as they are written.
pub mod date;

/// How long a backend asks to be left alone.
pub mod retry_after;

pub use framing::Framing;
pub use head::{RequestHead, ResponseHead, Version};
pub use malformed::Malformed;
