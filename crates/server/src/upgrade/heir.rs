//! Owns the process that takes over, as it sees itself: what it is given, and what it says to the one before it.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use evenkeel_control::control::handover::Inherited;
use tracing::warn;

use crate::inputs::variable;

use super::manifest::{Given, learned, read};
use super::successor::Answer;
use super::{HANDOVER, passing};

/// The one before has everything at hand when it starts this.
const GIVEN_WITHIN: Duration = Duration::from_secs(10);

/// The way back to the process before this one.
pub(crate) struct Heir {
    stream: UnixStream,
    /// What stood where, by descriptor: places are what the other knows.
    places: Vec<i32>,
}

/// What the process before this one gives. None: there is none.
///
/// # Errors
/// It cannot be understood, in words.
pub(crate) fn given() -> Result<Option<(Heir, Given)>, String> {
    if variable(HANDOVER).is_none() {
        return Ok(None);
    }
    let said = |error: std::io::Error| format!("nothing is handed over: {error}");
    let stream = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(said)?;
    let nothing = File::open("/dev/null").map_err(said)?;
    rustix::stdio::dup2_stdin(&nothing).map_err(|error| said(error.into()))?;
    let stream = UnixStream::from(stream);
    stream.set_read_timeout(Some(GIVEN_WITHIN)).map_err(said)?;
    stream.set_write_timeout(Some(GIVEN_WITHIN)).map_err(said)?;
    let (text, sockets) = passing::receive(&stream).map_err(said)?;
    let mut given = read(&text, sockets)?;
    let mut lines = BufReader::new(&stream);
    let learned::Came { lost, whole } = learned::read(&mut lines, &mut given.heritage.state);
    if lost > 0 {
        warn!("{lost} entries of what the process before this one learned are not understood");
    }
    if !whole {
        warn!("what the process before this one learned did not come whole");
    }
    let places = given.heritage.listeners.iter().map(descriptor).collect();
    Ok(Some((Heir { stream, places }, given)))
}

fn descriptor(one: &Inherited) -> i32 {
    one.sockets.first().map_or(-1, AsRawFd::as_raw_fd)
}

impl Heir {
    /// What tells when the process before this one has ended.
    ///
    /// # Errors
    /// No descriptor left.
    pub(crate) fn predecessor(&self) -> std::io::Result<OwnedFd> {
        self.stream.as_fd().try_clone_to_owned()
    }

    /// Says that this process serves all but what is left over. Who does not hear it has ended, and nobody else has the sockets; one
    /// that has given this process up ends it.
    pub(crate) fn ready(&self, left: &[Inherited]) {
        let left: Vec<_> = left.iter().map(descriptor).collect();
        let places = self.places.iter().enumerate();
        let unwanted = places
            .filter(|(_, one)| left.contains(one))
            .map(|(at, _)| at);
        let said = self.say(&Answer {
            ready: true,
            unwanted: unwanted.collect(),
            failed: String::new(),
        });
        if let Err(error) = said {
            warn!("the process before this one has ended meanwhile ({error}): this one serves");
        }
    }

    /// Says why it does not.
    pub(crate) fn failed(&self, why: &str) {
        // Who does not hear it sees this process end.
        let _ = self.say(&Answer {
            failed: why.to_owned(),
            ..Answer::default()
        });
    }

    fn say(&self, answer: &Answer) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        (&self.stream).write_all(&line)
    }

    /// Waits until the process before this one has left the service to it.
    pub(crate) fn wait_until_alone(mut self) {
        let mut byte = [0];
        let _ = self.stream.read(&mut byte);
    }
}
