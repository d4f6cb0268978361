//! Owns what a worker's connections of HTTP/2 use while they are busy, and pass on to each other: one that rests holds none of it.

use evenkeel_wire::{RequestHead, ResponseHead};

use super::streams::Streams;
use crate::spare::Spare;

/// The most of each that rest: heads of some 1 KiB, streams of 512 bytes each and outputs of up to 128 KiB.
const HEADS: usize = 1024;
const CONNECTIONS: usize = 64;

/// What one worker has.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(super) requests: Spare<Box<RequestHead>>,
    pub(super) responses: Spare<Box<ResponseHead>>,
    pub(super) streams: Spare<Streams>,
    pub(super) outputs: Spare<Vec<u8>>,
}

impl Default for Stock {
    fn default() -> Self {
        Self {
            requests: Spare::new(HEADS),
            responses: Spare::new(HEADS),
            streams: Spare::new(CONNECTIONS),
            outputs: Spare::new(CONNECTIONS),
        }
    }
}

impl Stock {
    /// Lets go of some that nobody needed since the last time.
    pub(crate) fn sweep(&self) {
        self.requests.sweep();
        self.responses.sweep();
        self.streams.sweep();
        self.outputs.sweep();
    }
}
