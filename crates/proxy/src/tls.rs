//! Owns TLS: what a certificate is worth, who gets which, what was agreed on, and connections over it.
//!
//! The only module that names rustls, so that another version or another library stays within it. Policies are Mozilla's. Never
//! decides who a request goes to. Below, the modules in the order of a connection.

/// Certificates and keys out of files.
pub mod load;

/// Certificates that were revoked.
mod crl;

/// What a listener's clients are held to.
pub mod terms;

/// Which certificate a client gets.
mod names;

/// Tickets, by which clients come back without a whole handshake.
pub mod tickets;

/// Until when they may.
pub mod expiry;

/// Who may be at it.
pub(crate) mod places;

/// The handshake.
pub mod accept;

/// What a client asks for whose TLS is not ended here.
pub mod hello;

/// Why a handshake fails.
pub mod fault;

/// What was agreed on.
pub mod secured;

/// A connection whose bytes nobody else reads.
pub mod sock;

/// A connection that may be over TLS.
pub mod channel;

/// To backends.
pub mod upstream;

/// Digests that other protocols ask for.
pub(crate) mod digest;
