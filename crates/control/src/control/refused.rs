//! Owns why an instance does not start, or a plan is not taken.

use std::fmt;
use std::io;
use std::sync::Arc;

use evenkeel_config::plan::{Bind, LogTarget};

/// Why an instance does not start, or a plan is not taken.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be bound.
    Bind(Bind, io::Error),
    /// Its sockets take so many descriptors, of so many that the process may have.
    Descriptors(usize, usize),
    /// No thread for a worker.
    Thread(io::Error),
    /// Where the access log goes cannot be opened.
    AccessLog(LogTarget, io::Error),
    /// TLS of this listener or service cannot be loaded.
    Tls(Arc<str>, String),
    /// A service cannot be checked as planned.
    Check(Arc<str>, String),
    /// What was to be done once everything is bound could not be.
    Bound(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(Bind::Tcp(address), error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: {error}; another process, perhaps another instance, listens there"
                )
            }
            Self::Bind(Bind::Tcp(address), error) => {
                write!(f, "cannot listen on {address}: {error}")
            }
            Self::Bind(Bind::Unix(path), error) => {
                write!(f, "cannot listen on unix:{}: {error}", path.display())
            }
            Self::Descriptors(taken, files) => write!(
                f,
                "cannot listen: the sockets take {taken} descriptors, two for each address and worker, and {files} open files are allowed: raise the limit (ulimit -n, LimitNOFILE=)"
            ),
            Self::Thread(error) => write!(f, "cannot start a worker: {error}"),
            Self::AccessLog(LogTarget::File(path), error) => {
                write!(
                    f,
                    "cannot write the access log to {}: {error}",
                    path.display()
                )
            }
            Self::AccessLog(_, error) => write!(f, "cannot write the access log: {error}"),
            Self::Bound(why) => f.write_str(why),
            Self::Tls(name, why) => write!(f, "cannot load the TLS of {name}: {why}"),
            Self::Check(service, why) => write!(f, "cannot check service {service}: {why}"),
        }
    }
}

impl std::error::Error for StartError {}
