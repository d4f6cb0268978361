//! Owns how many files the process may have open.

use std::os::fd::RawFd;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// So many descriptors the kernel has places for from the beginning, 8 bytes each, where the process may have that many.
const PLACES: RawFd = 65_536;

/// How many it takes, once it runs.
pub(crate) fn most_open_files() -> usize {
    let most = getrlimit(Resource::Nofile).maximum;
    most.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    })
}

/// Every connection is two descriptors: takes as many as the process may have. To be called before there are other threads.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        warn!("the limit of open files could not be raised");
    }
    make_places();
}

/// Lets the kernel's table of descriptors grow now, at once. Where there are other threads, the kernel waits at each doubling until
/// no processor reads the old table (`expand_fdtable` in its `fs/file.c`), and a worker that opens its 256th connection, or its
/// 16,384th, stands for 10 to 30 ms with all that it serves.
fn make_places() {
    let most = getrlimit(Resource::Nofile).current;
    let most = most.and_then(|most| RawFd::try_from(most).ok());
    let last = most.unwrap_or(PLACES).min(PLACES) - 1;
    // What has the last place is closed again; the places stay. Without them all goes on as well, and a worker waits now and then.
    drop(fcntl_dupfd_cloexec(std::io::stderr(), last));
}
