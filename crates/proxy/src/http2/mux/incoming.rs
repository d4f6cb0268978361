//! Owns frames as they come, in whatever pieces, and what each of them changes (RFC 9113 sections 5 and 6).

use evenkeel_wire::http2::frame::{self, Fault, FrameHeader, HEADER, code, flag, kind};
use evenkeel_wire::sniff::HTTP2_PREFACE;

use super::{Fatal, Inner, PAYLOAD, Reading, Role};

/// What a block may be, beside what a head may: one that says much in few bytes is read to its end all the same.
const BLOCK: usize = 32 * 1024;

/// Frames that a block may come in, beside those that are full.
const PIECES: usize = 64;

/// What is kept of the room for a frame in pieces.
const KEPT: usize = 1024;

/// What came and is not whole.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Bytes of the preface that are still to come.
    preface: usize,
    /// A frame that is not whole, with its header.
    held: Vec<u8>,
    /// A frame of DATA that is taken as it comes.
    data: Option<Data>,
    /// A block whose end is still to come.
    block: Option<Block>,
    /// The peer has said how it is to be spoken to.
    settled: bool,
    /// It has said that it goes.
    goes: bool,
}

/// A frame of DATA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) id: u32,
    /// Somebody wanted it when it began.
    pub(super) wanted: bool,
    pub(super) left: usize,
    pub(super) ends: bool,
}

#[derive(Debug)]
struct Block {
    id: u32,
    ends: bool,
    bytes: Vec<u8>,
    pieces: usize,
}

impl From<Fault> for Fatal {
    fn from(fault: Fault) -> Self {
        Self(fault.code)
    }
}

const PROTOCOL: Fatal = Fatal(code::PROTOCOL_ERROR);

impl Incoming {
    pub(super) fn of(role: Role) -> Self {
        Self {
            preface: match role {
                Role::Answers => HTTP2_PREFACE.len(),
                Role::Asks => 0,
            },
            ..Self::default()
        }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.preface == 0 && self.settled
    }

    pub(super) const fn peer_goes(&self) -> bool {
        self.goes
    }

    /// Gives memory back that was needed for a frame in pieces.
    pub(super) fn rest(&mut self) {
        if self.held.is_empty() && self.held.capacity() > KEPT {
            self.held = Vec::new();
        }
    }

    /// Takes in what came.
    pub(super) fn came(
        &mut self,
        mut bytes: &[u8],
        of: &mut Inner,
        reading: &Reading,
        opened: &mut Vec<usize>,
    ) -> Result<(), Fatal> {
        bytes = self.take_preface(bytes)?;
        while !bytes.is_empty() {
            if let Some(data) = &mut self.data {
                let (part, rest) = bytes.split_at(bytes.len().min(data.left));
                bytes = rest;
                data.left -= part.len();
                let data = *data;
                of.data(&data, part);
                if data.left == 0 {
                    self.data = None;
                    of.data_ends(&data)?;
                }
                continue;
            }
            if self.held.is_empty()
                && let Some(header) = bytes.first_chunk::<HEADER>()
            {
                let header = self.header(header, of)?;
                let payload = &bytes[HEADER..];
                if is_taken_as_it_comes(header) {
                    bytes = payload;
                    self.begin_data(header, of)?;
                } else if let Some(whole) = payload.get(..header.length) {
                    bytes = &payload[header.length..];
                    self.frame(header, whole, of, reading, opened)?;
                } else {
                    self.held.extend_from_slice(bytes);
                    return Ok(());
                }
                continue;
            }
            bytes = self.fill(bytes, of, reading, opened)?;
        }
        Ok(())
    }

    fn take_preface<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fatal> {
        let (part, rest) = bytes.split_at(bytes.len().min(self.preface));
        let from = HTTP2_PREFACE.len() - self.preface;
        if !HTTP2_PREFACE[from..].starts_with(part) {
            return Err(PROTOCOL);
        }
        self.preface -= part.len();
        Ok(rest)
    }

    /// Fills up a frame that was not whole.
    fn fill<'a>(
        &mut self,
        mut bytes: &'a [u8],
        of: &mut Inner,
        reading: &Reading,
        opened: &mut Vec<usize>,
    ) -> Result<&'a [u8], Fatal> {
        let mut take = |held: &mut Vec<u8>, upto: usize| {
            let part;
            (part, bytes) = bytes.split_at(bytes.len().min(upto.saturating_sub(held.len())));
            held.extend_from_slice(part);
        };
        let fresh = self.held.len() < HEADER;
        take(&mut self.held, HEADER);
        let Some(header) = self.held.first_chunk::<HEADER>() else {
            return Ok(bytes);
        };
        let header = match fresh {
            true => self.header(&header.clone(), of)?,
            false => FrameHeader::parse(header),
        };
        if is_taken_as_it_comes(header) {
            self.held.clear();
            self.begin_data(header, of)?;
            return Ok(bytes);
        }
        take(&mut self.held, HEADER + header.length);
        if self.held.len() < HEADER + header.length {
            return Ok(bytes);
        }
        let held = std::mem::take(&mut self.held);
        self.frame(header, &held[HEADER..], of, reading, opened)?;
        Ok(bytes)
    }

    /// Looks at a header, once.
    fn header(&self, bytes: &[u8; HEADER], of: &Inner) -> Result<FrameHeader, Fatal> {
        let header = FrameHeader::parse(bytes);
        of.watch.saw(&header);
        if header.length > PAYLOAD {
            return Err(Fatal(code::FRAME_SIZE_ERROR));
        }
        if !self.settled && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return Err(PROTOCOL);
        }
        let goes_on =
            |block: &Block| header.kind == kind::CONTINUATION && header.stream == block.id;
        match &self.block {
            Some(block) if !goes_on(block) => Err(PROTOCOL),
            None if header.kind == kind::CONTINUATION => Err(PROTOCOL),
            _ => Ok(header),
        }
    }

    fn begin_data(&mut self, header: FrameHeader, of: &mut Inner) -> Result<(), Fatal> {
        let data = of.begin_data(header, header.length)?;
        if header.length == 0 {
            return of.data_ends(&data);
        }
        self.data = Some(data);
        Ok(())
    }

    /// Takes a whole frame.
    fn frame(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        of: &mut Inner,
        reading: &Reading,
        opened: &mut Vec<usize>,
    ) -> Result<(), Fatal> {
        let id = header.stream;
        let of_connection = matches!(header.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        let of_stream = matches!(
            header.kind,
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION
        );
        if of_connection && id != 0 || of_stream && id == 0 {
            return Err(PROTOCOL);
        }
        match header.kind {
            kind::DATA => {
                let data = frame::unpad(header.flags, payload)?;
                let begun = of.begin_data(header, data.len())?;
                if data.is_empty() && !header.has(flag::END_STREAM) {
                    of.watch.saw_nothing();
                }
                // Padding is taken at once.
                of.give_back_padding(&begun, payload.len() - data.len());
                of.data(&begun, data);
                of.data_ends(&begun)
            }
            kind::HEADERS | kind::CONTINUATION => {
                self.head_part(header, payload, of, reading, opened)
            }
            kind::PRIORITY => match frame::priority(payload) {
                Ok(_) => Ok(()),
                Err(fault) if of.streams.find(id).is_some() => of.fault(id, fault.code),
                Err(fault) => Err(fault.into()),
            },
            kind::RST_STREAM => of.was_taken_back(id, frame::reset(payload)?),
            kind::SETTINGS if header.has(flag::ACK) => match payload {
                [] => Ok(()),
                _ => Err(Fatal(code::FRAME_SIZE_ERROR)),
            },
            kind::SETTINGS => {
                self.settled = true;
                of.settings(frame::settings(payload)?)
            }
            kind::PING => {
                of.ping(frame::ping(payload)?, header.has(flag::ACK));
                Ok(())
            }
            kind::GOAWAY => {
                let (last, _) = frame::goaway(payload)?;
                self.goes = true;
                of.goes(last);
                Ok(())
            }
            kind::WINDOW_UPDATE => of.widened(id, frame::window_update(payload)?),
            // Nobody may promise us anything.
            kind::PUSH_PROMISE => Err(PROTOCOL),
            // What nobody knows is read over.
            _ => Ok(()),
        }
    }

    /// Takes a block, or part of one.
    fn head_part(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        of: &mut Inner,
        reading: &Reading,
        opened: &mut Vec<usize>,
    ) -> Result<(), Fatal> {
        if header.kind == kind::HEADERS {
            // What it depends on means nothing any more (RFC 9113 section 5.3.2).
            let (block, _) = frame::header_block(header.flags, payload)?;
            let ends = header.has(flag::END_STREAM);
            if header.has(flag::END_HEADERS) {
                return of.headers(header.stream, ends, block, reading, opened);
            }
            self.block = Some(Block {
                id: header.stream,
                ends,
                bytes: block.to_vec(),
                pieces: 0,
            });
            return Ok(());
        }
        let Some(block) = &mut self.block else {
            return Err(PROTOCOL);
        };
        block.bytes.extend_from_slice(payload);
        block.pieces += usize::from(payload.len() < PAYLOAD);
        if block.bytes.len() > reading.bounds.bytes + BLOCK || block.pieces > PIECES {
            return Err(Fatal(code::ENHANCE_YOUR_CALM));
        }
        if !header.has(flag::END_HEADERS) {
            return Ok(());
        }
        match self.block.take() {
            Some(block) => of.headers(block.id, block.ends, &block.bytes, reading, opened),
            None => Ok(()),
        }
    }
}

/// Whether a frame's payload is taken piece by piece.
const fn is_taken_as_it_comes(header: FrameHeader) -> bool {
    header.kind == kind::DATA && !header.has(flag::PADDED)
}
