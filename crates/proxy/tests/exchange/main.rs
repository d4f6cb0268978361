//! Exchanges through real workers, told as a client and a backend see them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

/// The plan that tests begin with.
mod accepting;
mod plan;
mod world;

/// Requests and answers that go through.
mod served;

/// Requests and answers that do not.
mod failed;

/// Answers that speak of failing, and what follows them.
mod retried;

/// Calls of gRPC.
mod calls;

/// What answers say of their backend's load.
mod loads;

/// Unix sockets.
mod unix;

/// Connections to backends.
mod upstream;

/// Configured answers.
mod pages;

/// Clients that go before they are answered.
mod leaving;

/// Who waits for a full service.
mod queued;

/// Requests that somebody made up to do harm.
mod corpus;
