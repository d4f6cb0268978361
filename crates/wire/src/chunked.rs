//! Owns a chunked body on its way through (RFC 9112 section 7.1): checked byte by byte, extensions dropped, trailers cleaned.
//!
//! ```text
//! Size -> Extension* -> SizeEnd -> Data -> DataCr -> DataLf -> Size ...
//!   size 0: SizeEnd -> TrailerStart -> (Trailer -> TrailerStart)* -> EndLf -> Done
//! ```
//! What is passed on stands in place: the bytes that came, moved together where something was dropped. A body without
//! extensions is not moved at all.

use self::extension::Extension;
use crate::bytes::digit;
use crate::known::is_forbidden_in_trailers;
use crate::malformed::Malformed;

/// What stands behind a size.
mod extension;

/// Bytes of extensions in one message.
const EXTENSIONS_MOST: usize = 1024;

/// Hexadecimal digits of a size.
const DIGITS_MOST: u8 = 16;

/// The longest chunk. A size that a signed number cannot hold is -1 to somebody.
const SIZE_MOST: u64 = i64::MAX as u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension(Extension),
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    EndLf,
    Done,
}

/// What the next hop gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Chunks: sizes and line ends stay.
    Chunks,
    /// Only the data, for a peer that knows no chunks.
    Data,
    /// The data, and the trailers apart from it.
    Apart,
}

/// What became of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// So many bytes of the input belonged to the body.
    pub consumed: usize,
    /// So many bytes at the begin of the input go on.
    pub kept: usize,
    /// The body has ended; what is behind `consumed` belongs to the next message. [`Chunked::tail`] goes on too.
    pub ended: bool,
}

/// One chunked body.
#[derive(Debug)]
pub struct Chunked {
    state: State,
    keep: Keep,
    digits: u8,
    /// Of the chunk: the size while it is read, what is missing while its data is.
    left: u64,
    last: bool,
    extensions: usize,
    /// Trailers as they came, line by line.
    trailers: Vec<u8>,
    trailers_most: usize,
    fields_most: usize,
    tail: Vec<u8>,
}

impl Chunked {
    /// A body whose trailers are limited like a head. Allocates nothing until there are trailers.
    #[must_use]
    pub fn new(keep: Keep, trailers_most: usize, fields_most: usize) -> Self {
        Self {
            state: State::Size,
            keep,
            digits: 0,
            left: 0,
            last: false,
            extensions: 0,
            trailers: Vec::new(),
            trailers_most,
            fields_most,
            tail: Vec::new(),
        }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What goes on after the kept bytes once the body has ended: the trailers that may, and with [`Keep::Chunks`] the empty line.
    /// Empty when the body had no trailers.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Checks what came and moves what goes on to the begin of it.
    ///
    /// # Errors
    /// What is malformed. Nothing of this input may go on; the connection cannot be read on.
    pub fn pass(&mut self, input: &mut [u8]) -> Result<Passed, Malformed> {
        let (mut at, mut kept) = (0, 0);
        while at < input.len() && self.state != State::Done {
            let (taken, keep) = match self.state {
                State::Data => {
                    let here = usize::try_from(self.left).unwrap_or(usize::MAX);
                    let taken = here.min(input.len() - at);
                    self.left -= taken as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    (taken, true)
                }
                _ => (1, self.byte(input[at])? && self.keep == Keep::Chunks),
            };
            if keep {
                if kept != at {
                    input.copy_within(at..at + taken, kept);
                }
                kept += taken;
            }
            at += taken;
        }
        Ok(Passed {
            consumed: at,
            kept,
            ended: self.state == State::Done,
        })
    }

    /// Takes one byte that is not data. Whether it goes on to a peer that knows chunks.
    fn byte(&mut self, byte: u8) -> Result<bool, Malformed> {
        match self.state {
            State::Size => self.size(byte),
            State::Extension(place) => self.extension(place, byte),
            State::SizeEnd => self.size_end(byte),
            State::DataCr => self.expect(byte, b'\r', State::DataLf),
            State::DataLf => {
                self.digits = 0;
                self.expect(byte, b'\n', State::Size)
            }
            State::TrailerStart if byte == b'\r' => {
                self.state = State::EndLf;
                Ok(self.trailers.is_empty())
            }
            State::TrailerStart | State::Trailer => self.trailer(byte),
            State::EndLf => {
                let kept = self.trailers.is_empty();
                self.expect(byte, b'\n', State::Done)?;
                self.clean_trailers()?;
                Ok(kept)
            }
            State::Data | State::Done => Ok(false),
        }
    }

    fn expect(&mut self, byte: u8, expected: u8, next: State) -> Result<bool, Malformed> {
        if byte != expected {
            return Err(Malformed::Chunk);
        }
        self.state = next;
        Ok(true)
    }

    fn size(&mut self, byte: u8) -> Result<bool, Malformed> {
        if let Some(value) = digit(byte) {
            self.digits += 1;
            if self.digits > DIGITS_MOST {
                return Err(Malformed::Chunk);
            }
            self.left = if self.digits == 1 { 0 } else { self.left << 4 } | u64::from(value);
            if self.left > SIZE_MOST {
                return Err(Malformed::Chunk);
            }
            return Ok(true);
        }
        match byte {
            b'\r' | b';' if self.digits == 0 => Err(Malformed::Chunk),
            b'\r' => {
                self.state = State::SizeEnd;
                Ok(true)
            }
            b';' => {
                self.state = State::Extension(Extension::Begin);
                self.extensions += 1;
                Ok(false)
            }
            _ => Err(Malformed::Chunk),
        }
    }

    fn extension(&mut self, place: Extension, byte: u8) -> Result<bool, Malformed> {
        if byte == b'\r' && place.may_end() {
            self.state = State::SizeEnd;
            return Ok(true);
        }
        self.extensions += 1;
        let next = place
            .next(byte)
            .filter(|_| self.extensions <= EXTENSIONS_MOST);
        self.state = State::Extension(next.ok_or(Malformed::ChunkExtension)?);
        Ok(false)
    }

    fn size_end(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.last = self.left == 0;
        let next = if self.last {
            State::TrailerStart
        } else {
            State::Data
        };
        self.expect(byte, b'\n', next)
    }

    fn trailer(&mut self, byte: u8) -> Result<bool, Malformed> {
        if self.trailers.len() == self.trailers_most {
            return Err(Malformed::TrailersTooLarge);
        }
        self.trailers.push(byte);
        self.state = match byte {
            b'\n' if self.trailers.ends_with(b"\r\n") => State::TrailerStart,
            b'\n' => return Err(Malformed::Trailer),
            _ => State::Trailer,
        };
        Ok(false)
    }

    /// Leaves out of the trailers what may not stand there, and ends them.
    fn clean_trailers(&mut self) -> Result<(), Malformed> {
        if self.trailers.is_empty() {
            return Ok(());
        }
        self.trailers.extend_from_slice(b"\r\n");
        let mut fields = [httparse::EMPTY_HEADER; super::http1::FIELDS_MOST];
        let parsed = match httparse::parse_headers(&self.trailers, &mut fields) {
            Ok(httparse::Status::Complete((_, parsed))) => parsed,
            Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TrailersTooLarge),
            _ => return Err(Malformed::Trailer),
        };
        if parsed.len() > self.fields_most {
            return Err(Malformed::TrailersTooLarge);
        }
        if self.keep == Keep::Data {
            return Ok(());
        }
        for field in parsed {
            if !is_forbidden_in_trailers(field.name.as_bytes()) {
                for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                    self.tail.extend_from_slice(part);
                }
            }
        }
        if self.keep == Keep::Chunks {
            self.tail.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// What the next hop gets.
    #[must_use]
    pub fn keeps(&self) -> Keep {
        self.keep
    }
}

/// The line before a chunk of `length` bytes, for a body that came without chunks; at most 18 bytes.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLine {
    bytes: [u8; 18],
    start: usize,
}

impl ChunkLine {
    /// Before so many bytes of data; 0 would end the body.
    #[must_use]
    pub fn before(length: usize) -> Self {
        let mut bytes = [0; 18];
        bytes[16..].copy_from_slice(b"\r\n");
        let (mut start, mut left) = (16, length);
        loop {
            start -= 1;
            bytes[start] = b"0123456789abcdef"[left & 15];
            left >>= 4;
            if left == 0 {
                return Self { bytes, start };
            }
        }
    }

    /// Its text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// What ends a chunked body; trailers and an empty line follow.
pub const LAST_CHUNK: &[u8] = b"0\r\n";

#[cfg(test)]
mod tests;
