//! One end of an HTTP/2 connection (RFC 9113) that writes whatever frames a test wants, right or wrong, and keeps what comes,
//! stream by stream.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::hpack::{Fields, Reader, block, value};
use crate::process::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// Settings (section 6.5.2).
pub(crate) const TABLE_SIZE: u16 = 1;
pub(crate) const MAX_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW: u16 = 4;
pub(crate) const CONNECT_PROTOCOL: u16 = 8;

/// Codes of errors (section 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes of one frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A SETTINGS frame with these.
pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<u8> = values.iter().flat_map(one).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn goaway(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// A whole HEADERS frame with these fields.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

/// The fields that each request has, and more.
pub(crate) fn asks<'a>(
    method: &'a str,
    path: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "www.example.com"),
        (":path", path),
    ];
    fields.extend(more);
    fields
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number that stands there in the payload.
    fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    /// Each block of fields: interim answers, the answer, trailers.
    pub(crate) heads: Vec<Fields>,
    pub(crate) body: Vec<u8>,
    pub(crate) data_frames: usize,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
}

impl Got {
    /// The first head that is no interim one.
    pub(crate) fn head(&self) -> Option<&Fields> {
        let interim =
            |head: &&Fields| value(head, ":status").is_some_and(|status| status.starts_with('1'));
        self.heads.iter().find(|head| !interim(head))
    }

    pub(crate) fn status(&self) -> u16 {
        let status = self.head().and_then(|head| value(head, ":status"));
        status.map_or(0, |status| status.parse().unwrap())
    }

    /// The fields behind the body.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        let last = self.heads.last()?;
        value(last, ":status").is_none().then_some(last)
    }

    /// No more comes.
    pub(crate) fn over(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

/// What bytes go over: TCP, or TLS on it.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

pub(crate) struct Connection {
    wire: Box<dyn Wire>,
    /// The same connection, where it is plain.
    tcp: Option<TcpStream>,
    come: Vec<u8>,
    /// So much of it has been looked at.
    at: usize,
    reader: Reader,
    /// A block that goes on in CONTINUATION frames.
    open: Option<(Frame, Vec<u8>)>,
    next: u32,
    /// What the other side sent.
    pub(crate) streams: BTreeMap<u32, Got>,
    /// The last that it said of ending: last stream, code.
    pub(crate) goaway: Option<(u32, u32)>,
    pub(crate) closed: bool,
    /// What it lets us send: on the connection, on a new stream, on each stream beside that.
    window: i64,
    first_window: i64,
    windows: BTreeMap<u32, i64>,
    /// Its settings, as they were last said.
    pub(crate) settings: BTreeMap<u16, u32>,
    /// Acknowledgements of settings that came.
    pub(crate) acknowledged: usize,
    /// Payloads of PING answers that came, in their order.
    pub(crate) pongs: Vec<Vec<u8>>,
    /// Gives back what came in DATA frames.
    pub(crate) feeds: bool,
}

impl Connection {
    fn new(wire: Box<dyn Wire>, tcp: Option<TcpStream>) -> Self {
        Self {
            wire,
            tcp,
            come: Vec::new(),
            at: 0,
            reader: Reader::new(),
            open: None,
            next: 1,
            streams: BTreeMap::new(),
            goaway: None,
            closed: false,
            window: 65_535,
            first_window: 65_535,
            windows: BTreeMap::new(),
            settings: BTreeMap::new(),
            acknowledged: 0,
            pongs: Vec::new(),
            feeds: true,
        }
    }

    fn tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let other = stream.try_clone().unwrap();
        Self::new(Box::new(stream), Some(other))
    }

    /// A client's connection, with these settings.
    pub(crate) fn to(address: SocketAddr, values: &[(u16, u32)]) -> Self {
        let mut own = Self::tcp(TcpStream::connect(address).unwrap());
        own.greet(values);
        own
    }

    /// A client's connection over TLS, or whatever else carries bytes.
    pub(crate) fn over(wire: Box<dyn Wire>, values: &[(u16, u32)]) -> Self {
        let mut own = Self::new(wire, None);
        own.greet(values);
        own
    }

    fn greet(&mut self, values: &[(u16, u32)]) {
        self.write(PREFACE);
        self.write(&settings(values));
    }

    /// A server's connection, with these settings. None: the client said no preface, as who only looks whether somebody
    /// listens.
    pub(crate) fn accepted(stream: TcpStream, values: &[(u16, u32)]) -> Option<Self> {
        let mut own = Self::tcp(stream);
        let mut preface = [0; PREFACE.len()];
        own.wire.read_exact(&mut preface).ok()?;
        assert_eq!(preface, PREFACE);
        own.next = 2;
        own.write(&settings(values));
        Some(own)
    }

    /// The other end of a plain connection, for who writes beside.
    pub(crate) fn writer(&self) -> TcpStream {
        self.tcp.as_ref().unwrap().try_clone().unwrap()
    }

    /// Writes what may no longer find a reader.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let written = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
        self.closed |= written.is_err();
    }

    /// The next stream of ours.
    pub(crate) fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Asks; what follows on the stream is the caller's when `flags` do not end it.
    pub(crate) fn ask(&mut self, flags: u8, fields: &[(&str, &str)]) -> u32 {
        let stream = self.stream();
        self.write(&headers(stream, flags, fields));
        stream
    }

    pub(crate) fn get(&mut self, path: &str) -> Got {
        let stream = self.ask(END_STREAM, &asks("GET", path, &[]));
        self.answer(stream)
    }

    /// Sends a body within the windows.
    pub(crate) fn send(&mut self, stream: u32, body: &[u8], end: bool) {
        let mut rest = body;
        while !rest.is_empty() && !self.closed {
            let most = self.may_send(stream).min(rest.len()).min(16_384);
            if most == 0 {
                if self.pump().is_none() || self.streams.get(&stream).is_some_and(Got::over) {
                    return;
                }
                continue;
            }
            let (now, later) = rest.split_at(most);
            let last = end && later.is_empty();
            self.write(&frame(DATA, u8::from(last), stream, now));
            self.spent(stream, most);
            rest = later;
        }
        if body.is_empty() && end {
            self.write(&frame(DATA, END_STREAM, stream, b""));
        }
    }

    /// How much the windows allow.
    pub(crate) fn may_send(&self, stream: u32) -> usize {
        let own = self.first_window + self.windows.get(&stream).copied().unwrap_or_default();
        usize::try_from(own.min(self.window)).unwrap_or_default()
    }

    fn spent(&mut self, stream: u32, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap();
        self.window -= bytes;
        *self.windows.entry(stream).or_default() -= bytes;
    }

    /// Reads until the stream is over, or the connection.
    pub(crate) fn answer(&mut self, stream: u32) -> Got {
        self.until(|own| own.streams.get(&stream).is_some_and(Got::over));
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    /// Reads until this holds; false: the connection is over before.
    pub(crate) fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        while !holds(self) {
            if self.pump().is_none() {
                return holds(self);
            }
        }
        true
    }

    /// Asks whether the other side has read all that was written. False: the connection is over.
    pub(crate) fn settled(&mut self) -> bool {
        let mark = (u64::from(self.next) << 32 | self.pongs.len() as u64).to_be_bytes();
        self.write(&frame(PING, 0, 0, &mark));
        self.until(|own| own.pongs.last().is_some_and(|pong| *pong == mark))
    }

    /// The next frame, kept and answered. None: no more comes.
    pub(crate) fn pump(&mut self) -> Option<Frame> {
        let frame = self.frame()?;
        self.take(&frame);
        Some(frame)
    }

    fn frame(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = &self.come[self.at..] {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                if rest.len() >= length {
                    let frame = Frame {
                        kind: *kind,
                        flags: *flags,
                        stream: u32::from_be_bytes([d & 127, *e, *f, *g]),
                        payload: rest[..length].to_vec(),
                    };
                    self.at += 9 + length;
                    return Some(frame);
                }
            }
            self.come.drain(..std::mem::take(&mut self.at));
            let mut buffer = [0; 65_536];
            match self.wire.read(&mut buffer) {
                Ok(length) if length > 0 => self.come.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing comes; so far {:?} {:?}", self.goaway, self.streams)
                }
                _ => {
                    self.closed = true;
                    return None;
                }
            }
        }
    }

    fn take(&mut self, frame: &Frame) {
        let ends = frame.flags & END_STREAM != 0;
        match frame.kind {
            DATA => {
                let padding = if frame.flags & PADDED != 0 { 1 } else { 0 };
                let end = frame.payload.len()
                    - padding
                        * usize::from(
                            frame.payload[..padding]
                                .first()
                                .copied()
                                .unwrap_or_default(),
                        );
                let got = self.streams.entry(frame.stream).or_default();
                got.body.extend_from_slice(&frame.payload[padding..end]);
                got.data_frames += 1;
                got.ended |= ends;
                if self.feeds && !frame.payload.is_empty() {
                    let length = u32::try_from(frame.payload.len()).unwrap();
                    self.write(&window_update(0, length));
                    if !ends {
                        self.write(&window_update(frame.stream, length));
                    }
                }
            }
            HEADERS => {
                let skip = if frame.flags & 0x20 != 0 { 5 } else { 0 };
                assert_eq!(frame.flags & PADDED, 0, "nobody pads heads");
                self.open = Some((frame.clone(), frame.payload[skip..].to_vec()));
                self.close_block(frame);
            }
            CONTINUATION => {
                let (_, block) = self.open.as_mut().unwrap();
                block.extend_from_slice(&frame.payload);
                self.close_block(frame);
            }
            RST_STREAM => {
                let code = frame.number(0);
                self.streams.entry(frame.stream).or_default().reset = Some(code);
            }
            SETTINGS if frame.flags & ACK != 0 => self.acknowledged += 1,
            SETTINGS => {
                for one in frame.payload.chunks(6) {
                    let id = u16::from_be_bytes([one[0], one[1]]);
                    let value = u32::from_be_bytes([one[2], one[3], one[4], one[5]]);
                    self.settings.insert(id, value);
                    if id == INITIAL_WINDOW {
                        self.first_window = value.into();
                    }
                }
                self.write(&self::frame(SETTINGS, ACK, 0, b""));
            }
            PING if frame.flags & ACK != 0 => self.pongs.push(frame.payload.clone()),
            PING => self.write(&self::frame(PING, ACK, 0, &frame.payload)),
            GOAWAY => self.goaway = Some((frame.number(0), frame.number(4))),
            WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(frame.number(0)),
            WINDOW_UPDATE => {
                *self.windows.entry(frame.stream).or_default() += i64::from(frame.number(0));
            }
            _ => {}
        }
    }

    fn close_block(&mut self, frame: &Frame) {
        if frame.flags & END_HEADERS == 0 {
            return;
        }
        let (first, block) = self.open.take().unwrap();
        let fields = self.reader.read(&block);
        let got = self.streams.entry(first.stream).or_default();
        got.heads.push(fields);
        got.ended |= first.flags & END_STREAM != 0;
    }
}
