//! Owns the upgrade: another process, of a newer binary perhaps, takes this one's place with its sockets and what it knows, and no
//! connection is lost. Decision 17 has the reasons. Below, the modules in the order of an upgrade.

use std::time::Duration;

/// `upgrade`, the command.
pub(crate) mod command;

/// Where the command is heard.
pub(crate) mod door;

/// What is under way.
pub(crate) mod under_way;

/// The process that is to take over, as this one sees it.
pub(crate) mod successor;

/// What goes over, as text.
pub(crate) mod manifest;

/// Text and sockets from process to process.
mod passing;

/// Those before it.
pub(crate) mod predecessors;

/// The process that takes over, as it sees itself.
pub(crate) mod heir;

/// By this name in its environment a process knows that it takes another one's place, and finds that one on its standard input.
const HANDOVER: &str = "EVENKEEL_HANDOVER";

/// A new process that has not said by then that it serves is ended. Names that it looks up take up to ten seconds.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Another binary than the one that runs.
    pub(crate) binary: Option<std::path::PathBuf>,
    /// How long it may take until it serves.
    pub(crate) within: Duration,
}
