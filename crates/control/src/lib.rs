//! What is true, and the one writer of it: ticks, checks, reloads, draining.
//!
//! Runs on threads of its own, never on a worker's. Opens no file and reads no text of the operator's: plans come in checked, and
//! the resolver alone reads the system's own. Below, the modules in the order of a process's life.
#![forbid(unsafe_code)]

/// What may be asked of it.
pub mod command;

/// The running instance, and what can be asked of it.
pub mod control;

/// What is said of it at one moment.
pub mod snapshot;

/// Which configuration ran when.
pub mod revisions;

/// Picks of other programs.
pub mod picks;

/// Who reads configurations.
pub mod texts;

/// What operators want otherwise than the configuration says.
mod overlay;

/// What drains, and for how long.
mod drains;

/// What a reload changed.
pub mod changes;

/// Checks of backends.
mod checks;

/// What exchanges were, row by row.
mod access_log;

/// Messages to others over HTTP.
mod post;

/// Where traces go.
pub mod traces;

/// Who is told of alerts.
pub mod webhooks;

/// Names that stand for backends.
pub mod names;

/// What happened, by number.
pub mod events;

/// What is logged of events.
pub mod told;

/// What the instance sees of itself over time.
pub mod monitor;

/// Weights that follow what backends do.
pub mod adjust;

/// The words of what is seen.
pub mod sight {
    pub use evenkeel_watch::alert::{Alert, Kind, Silence};
    pub use evenkeel_watch::metric::{Metric, Unit};
    pub use evenkeel_watch::overall::{Distribution, Health};
    pub use evenkeel_watch::recommend::{Figure, Patch, Recommendation, Value};
    pub use evenkeel_watch::series::{Span, Summary};
    pub use evenkeel_watch::threshold::{Evidence, Severity};
    pub use evenkeel_watch::time::Moment;
    pub use evenkeel_watch::trend::{Direction, Over, Trend};
}

/// Certificates over time.
mod certificates;

pub use certificates::problems as certificate_problems;

pub use changes::Changes;
pub use command::Command;
pub use control::{Control, StartError};
/// What time it is for an instance.
pub use evenkeel_proxy::clock;
/// Unix sockets and their files.
pub use evenkeel_proxy::listener::{Bound, FileAccess, SocketFile, bind_unix_for};
/// TLS of who asks the instance about itself.
pub mod secure {
    pub use evenkeel_proxy::sock::{Sock, os::OsSock};
    pub use evenkeel_proxy::tls::fault::Fault;
    pub use evenkeel_proxy::tls::secured::Identity;
    pub use evenkeel_proxy::tls::sock::TlsSock;
    pub use evenkeel_proxy::tls::terms::Terms;
}

/// How many connections the process may have.
pub use evenkeel_proxy::room;
/// Dates, and the time that they tell.
pub use evenkeel_proxy::{clock::since_1970, date};
pub use snapshot::{Snapshot, Watch};
