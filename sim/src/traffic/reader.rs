//! Owns reading from an end: heads, and bodies by their framing, until something is missing.

use std::cell::RefCell;
use std::rc::Rc;

use evenkeel_proxy::sock::pipe::Pipe;

use super::link::read;

/// One end of a connection, given up by taking it out.
pub(super) type End = Rc<RefCell<Option<Pipe>>>;

/// Why there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The end of the connection.
    Ended,
    /// A reset, or an end that was given up here.
    Reset,
    /// What came is not what it should be.
    Malformed,
}

/// A head longer than this is none.
const HEAD_MOST: usize = 64 * 1024;

/// What came and is not used yet.
pub(super) struct Reader {
    end: End,
    come: Vec<u8>,
    room: Box<[u8]>,
}

impl Reader {
    pub(super) fn new(end: End) -> Self {
        Self {
            end,
            come: Vec::new(),
            room: vec![0; 16 * 1024].into_boxed_slice(),
        }
    }

    /// Whether nothing waits to be used.
    pub(super) fn is_empty(&self) -> bool {
        self.come.is_empty()
    }

    /// What waits to be used.
    pub(super) fn come(&self) -> &[u8] {
        &self.come
    }

    /// Waits for more.
    pub(super) async fn more(&mut self) -> Result<(), Stop> {
        match read(&self.end, &mut self.room).await {
            Ok(0) => Err(Stop::Ended),
            Ok(length) => {
                self.come.extend_from_slice(&self.room[..length]);
                Ok(())
            }
            Err(_) => Err(Stop::Reset),
        }
    }

    /// Everything up to and with the first empty line.
    pub(super) async fn head(&mut self) -> Result<Vec<u8>, Stop> {
        self.until(b"\r\n\r\n").await
    }

    async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, Stop> {
        let mut seen = 0;
        loop {
            let found = self.come[seen..]
                .windows(mark.len())
                .position(|window| window == mark);
            if let Some(at) = found {
                return Ok(self.take(seen + at + mark.len()));
            }
            if self.come.len() > HEAD_MOST {
                return Err(Stop::Malformed);
            }
            seen = self.come.len().saturating_sub(mark.len() - 1);
            self.more().await?;
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.come.split_off(length);
        std::mem::replace(&mut self.come, rest)
    }

    /// Adds exactly so many bytes to `into`; what came of them is there, whatever stops it.
    pub(super) async fn exactly(&mut self, length: usize, into: &mut Vec<u8>) -> Result<(), Stop> {
        let mut left = length;
        loop {
            let taken = self.take(left.min(self.come.len()));
            left -= taken.len();
            into.extend_from_slice(&taken);
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Adds a body in chunks to `into`.
    pub(super) async fn chunked(&mut self, into: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            let line = self.until(b"\r\n").await?;
            let text = std::str::from_utf8(&line).map_err(|_| Stop::Malformed)?;
            let length = usize::from_str_radix(text.trim_end(), 16).map_err(|_| Stop::Malformed)?;
            if length == 0 {
                // Trailers, up to an empty line.
                while self.until(b"\r\n").await?.len() > 2 {}
                return Ok(());
            }
            self.exactly(length, into).await?;
            let mut end = Vec::new();
            self.exactly(2, &mut end).await?;
            if end != b"\r\n" {
                return Err(Stop::Malformed);
            }
        }
    }

    /// Adds everything up to the end of the connection to `into`.
    pub(super) async fn until_close(&mut self, into: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            into.append(&mut self.come);
            match self.more().await {
                Ok(()) => {}
                Err(Stop::Ended) => return Ok(()),
                Err(stop) => return Err(stop),
            }
        }
    }
}
