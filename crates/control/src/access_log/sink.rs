//! Owns where rows go: opening it, and writing without waiting for a reader.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use evenkeel_config::plan::LogTarget;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// A pipe takes so many bytes at once, or none of them (POSIX, `PIPE_BUF`): rows in it are whole among those of others, and a
/// pipe that has room at all takes them without waiting.
const PIPE_BYTES: usize = 4096;

/// How long a reader is waited for before other things are looked at.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Who may read a file that is made here: its owner and its group.
const MODE: u32 = 0o640;

/// A place for rows that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    /// It was made just now.
    made: bool,
}

impl Opened {
    /// The file that was made for rows, so that it can be given to whom the process becomes.
    pub(crate) fn made(&self) -> Option<BorrowedFd<'_>> {
        self.made.then(|| self.file.as_fd())
    }
}

/// Where rows go.
#[derive(Debug)]
pub(super) struct Sink {
    to: File,
    /// So many bytes at once.
    most: usize,
}

/// How writing went.
#[derive(Debug)]
pub(super) enum Wrote {
    /// So many bytes.
    Bytes(usize),
    /// Nobody reads.
    Waits,
    /// It cannot be written.
    Failed(io::Error),
}

/// Opens it.
///
/// # Errors
/// Whatever the operating system says.
pub(super) fn open(target: &LogTarget) -> io::Result<Opened> {
    let own = match target {
        LogTarget::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
        LogTarget::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
        LogTarget::File(path) => {
            return open_file(path).map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::NXIO) => io::Error::new(error.kind(), "nobody reads this pipe"),
                _ => error,
            });
        }
    };
    Ok(Opened {
        file: own.into(),
        made: false,
    })
}

/// Waits for nobody: a pipe without a reader cannot be opened (`ENXIO`), where it would hold up whoever opens it.
fn open_file(path: &Path) -> io::Result<Opened> {
    let mut how = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    how.append(true)
        .mode(MODE)
        .custom_flags(flags.bits().cast_signed());
    match how.clone().create_new(true).open(path) {
        Ok(file) => Ok(Opened { file, made: true }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // It may be gone again: then it is made after all.
            let file = how.create(true).open(path)?;
            Ok(Opened { file, made: false })
        }
        Err(error) => Err(error),
    }
}

impl Sink {
    pub(super) fn new(Opened { file: to, .. }: Opened) -> Self {
        let file = to.metadata().is_ok_and(|to| to.is_file());
        let most = if file { usize::MAX } else { PIPE_BYTES };
        Self { to, most }
    }

    /// Writes whole rows, each of which ends with a line feed; waits a little where nobody reads.
    pub(super) fn write(&mut self, rows: &[u8]) -> Wrote {
        let mut ready = [PollFd::new(&self.to, PollFlags::OUT)];
        match poll(&mut ready, Some(&PATIENCE)) {
            Ok(0) => return Wrote::Waits,
            Ok(_) => {}
            Err(error) => return Wrote::Failed(error.into()),
        }
        match self.to.write(&rows[..whole_rows(rows, self.most)]) {
            Ok(0) => Wrote::Failed(ErrorKind::WriteZero.into()),
            Ok(length) => Wrote::Bytes(length),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Wrote::Bytes(0),
                // Somebody made it so for all who have it.
                ErrorKind::WouldBlock => Wrote::Waits,
                _ => Wrote::Failed(error),
            },
        }
    }
}

/// So many bytes are whole rows and no more than that, or the first row alone.
fn whole_rows(rows: &[u8], most: usize) -> usize {
    if rows.len() <= most {
        return rows.len();
    }
    let end = |row: &[u8]| row.iter().position(|&byte| byte == b'\n');
    let last = rows[..most].iter().rposition(|&byte| byte == b'\n');
    last.or_else(|| end(rows)).map_or(rows.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_between_them() {
        for (rows, most, expect) in [
            ("a\nb\n", 4, 4),
            ("a\nb\n", 3, 2),
            ("a\nb\n", 2, 2),
            ("a\nb\n", 1, 2),
            ("long\nb\n", 2, 5),
            ("a\nlong\n", 6, 2),
        ] {
            assert_eq!(whole_rows(rows.as_bytes(), most), expect, "{rows:?} {most}");
        }
    }
}
