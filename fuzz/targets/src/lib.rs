//! What must hold for any bytes: one module per target, called by libFuzzer (`fuzz/fuzz_targets`) and, over the committed
//! corpora, by the gate (`tests/corpora.rs`).
//!
//! A target judges by more than "it did not panic": it compares with a second reading that was written for this purpose only,
//! feeds the same bytes in other pieces, or reads again what was written. A law that does not hold is a panic. Inputs are
//! text where the subject is, so that a corpus can be written and read by hand. Below, in the order of an exchange.
#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a target tells what it found by panicking"
)]

/// Configurations.
pub mod config;

/// What stands before a connection's first byte, and what it begins with.
pub mod proxy_protocol;

/// Certificates and keys.
pub mod pem;

/// What a client says first over TLS.
pub mod client_hello;

/// Heads of requests, and what goes on to a backend.
pub mod request;

/// The same, and trailers, by HTTP/2.
pub mod http2;

/// Blocks of fields, compressed.
pub mod hpack;

/// Hosts and ports.
pub mod authority;

/// Spellings of a path.
pub mod path;

/// Which rule a request meets.
pub mod rules;

/// Bodies in chunks.
pub mod chunked;

/// Heads of responses, and what goes on to a client.
pub mod response;

/// Cases, and what is explained of them.
pub mod cases;

/// What gRPC adds.
pub mod grpc;

/// Reports of load.
pub mod load;

/// Distributions of latencies.
pub mod histogram;

/// Heads by a second, plain reading.
mod plainly;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its module, its program and the folder of its corpus.
    pub name: &'static str,
    /// Checks its laws on one input. Whether the input was taken (read whole, or understood) and not refused: a corpus that
    /// only holds refused inputs shows little.
    pub check: fn(&[u8]) -> bool,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "authority",
        check: authority::check,
    },
    Target {
        name: "cases",
        check: cases::check,
    },
    Target {
        name: "chunked",
        check: chunked::check,
    },
    Target {
        name: "client_hello",
        check: client_hello::check,
    },
    Target {
        name: "config",
        check: config::check,
    },
    Target {
        name: "grpc",
        check: grpc::check,
    },
    Target {
        name: "histogram",
        check: histogram::check,
    },
    Target {
        name: "hpack",
        check: hpack::check,
    },
    Target {
        name: "http2",
        check: http2::check,
    },
    Target {
        name: "load",
        check: load::check,
    },
    Target {
        name: "path",
        check: path::check,
    },
    Target {
        name: "pem",
        check: pem::check,
    },
    Target {
        name: "proxy_protocol",
        check: proxy_protocol::check,
    },
    Target {
        name: "request",
        check: request::check,
    },
    Target {
        name: "response",
        check: response::check,
    },
    Target {
        name: "rules",
        check: rules::check,
    },
];

/// Bytes as people read them, for messages.
fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
