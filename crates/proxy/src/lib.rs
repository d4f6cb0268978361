//! How bytes move: listeners, connections, exchanges, upstream connections.
//!
//! Decides nothing about who gets a request (`evenkeel-balance`) and nothing about what bytes say (`evenkeel-wire`). Below, the
//! modules in the order of an exchange.
#![forbid(unsafe_code)]

/// What the engine asks of a connection.
pub mod sock;

/// What carries an exchange on one side.
mod carrier;

/// Connections of many streams.
mod http2;

/// Connections that nobody else reads.
pub mod tls;

/// What the engine asks of the world: connections to backends, time, chance.
pub mod net;

/// Time and chance of the operating system.
pub mod clock;

/// The running plan joined to running state.
pub mod live;

/// The threads, and what they are told.
pub mod thread;

/// One thread's own things: buffers, idle connections, deadlines.
pub mod worker;

/// What is kept for the next use.
mod spare;

/// Tasks that serve one thing after another.
mod runner;

/// Buffers, lent and given back.
mod buffers;

/// Pipes of the kernel, lent and given back.
mod conduits;

/// When waiting ends.
pub mod deadline;

/// Accepting.
pub mod listener;

/// How many connections the process may have.
pub mod room;

/// Whose connection it is, as a proxy in front says it, and as backends are told.
pub mod proxy_protocol;

/// Requests of one connection, one after another.
pub mod connection;

/// Which rule a request meets.
pub mod rules;

/// What is decided of a request: client, rule, what it sticks to.
pub mod decide;

/// How many requests of whom may pass.
pub mod rates;

/// Keeping a client on its backend.
pub mod affinity;

/// Waiting for a full service.
mod queue;

/// Between an attempt that failed and the next.
mod again;

/// The order of decisions of one request.
pub mod exchange;

/// The order of decisions of one flow.
mod flow;

/// What would be done with a request, and why.
pub mod explain;

/// Connections to backends.
pub mod upstream;

/// Bodies and tunnels on their way.
mod relay;

/// What follows a change of protocol.
mod tunnel;

/// What is counted of tunnels and flows as they go.
mod account;

/// Whose turn it is.
mod turn;

/// Why an answer is what it is.
pub mod reason;

/// What backends report of their load.
pub mod load;

/// What is remembered of an exchange.
pub mod observation;

/// The same with its texts, for an access log.
pub mod record;

/// The way there.
pub mod outlet;

/// What is remembered of those that failed.
pub mod failed;

/// What is written down of some: whom each attempt could have gone to, and why it went where it did.
pub mod recorded;

/// Dates as they are written.
pub use evenkeel_wire::date;
