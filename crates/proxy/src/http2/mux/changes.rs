//! Owns what frames change: windows, bodies, heads, and which streams there are (RFC 9113 sections 5 and 6).

use evenkeel_wire::Framing;
use evenkeel_wire::http2::fields;
use evenkeel_wire::http2::frame::{self, FrameHeader, code, flag};

use super::incoming::Data;
use super::streams::Broken;
use super::{FAREWELL, Fatal, Inner, Reading, Role};

/// Streams that somebody still holds, beside those that are under way.
const HELD: usize = 512;

impl Inner {
    /// A frame of DATA begins, of so many bytes without its padding.
    pub(super) fn begin_data(&mut self, header: FrameHeader, length: usize) -> Result<Data, Fatal> {
        let (id, whole) = (
            header.stream,
            u32::try_from(header.length).unwrap_or(u32::MAX),
        );
        if !self.was_opened(id) {
            return Err(Fatal(code::PROTOCOL_ERROR));
        }
        if self.inward.came(whole).is_err() {
            return Err(Fatal(code::FLOW_CONTROL_ERROR));
        }
        let data = |wanted| Data {
            id,
            wanted,
            left: length,
            ends: header.has(flag::END_STREAM),
        };
        let Some(at) = self.streams.find(id) else {
            let taken_back = self.taken_back.iter_mut().find(|taken| taken.id == id);
            match taken_back.map(|taken| taken.may_have_sent(whole)) {
                // Many streams that are refused with their bodies on the way are no flood.
                Some(true) if length > 0 => {}
                Some(_) => self.watch.saw_nothing(),
                None => self.fault(id, code::STREAM_CLOSED)?,
            }
            return Ok(data(false));
        };
        let stream = self.streams.at(at);
        if stream.broken.is_some() {
            return Ok(data(false));
        }
        let missing = stream
            .missing
            .map(|missing| missing.checked_sub(length as u64));
        let fault = if stream.ended {
            Some(code::STREAM_CLOSED)
        } else if stream.inward.came(whole).is_err() {
            Some(code::FLOW_CONTROL_ERROR)
        } else if missing == Some(None) {
            // More than its length says (RFC 9113 section 8.1.1).
            Some(code::PROTOCOL_ERROR)
        } else {
            None
        };
        if let Some(fault) = fault {
            self.fault(id, fault)?;
            return Ok(data(false));
        }
        stream.missing = missing.flatten();
        Ok(data(true))
    }

    /// The place of the stream that a frame is for, if somebody still wants it.
    pub(super) fn wants(&self, data: &Data) -> Option<usize> {
        let at = self.streams.find(data.id).filter(|_| data.wanted)?;
        let whole = self.streams.get(at).broken.is_none();
        whole.then_some(at)
    }

    pub(super) fn data(&mut self, data: &Data, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.wants(data) {
            Some(at) => {
                let stream = self.streams.at(at);
                stream.put(bytes);
                stream.wake();
            }
            None => self.give_back(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        }
    }

    /// Padding is out of the way at once.
    pub(super) fn give_back_padding(&mut self, data: &Data, length: usize) {
        match self.wants(data) {
            Some(at) if length > 0 => self.was_taken(at, length),
            _ => self.give_back(u32::try_from(length).unwrap_or(u32::MAX)),
        }
    }

    pub(super) fn data_ends(&mut self, data: &Data) -> Result<(), Fatal> {
        match self.wants(data) {
            Some(at) if data.ends => self.ends(at),
            _ => Ok(()),
        }
    }

    /// The peer's direction of a stream ends.
    pub(super) fn ends(&mut self, at: usize) -> Result<(), Fatal> {
        let stream = self.streams.at(at);
        if stream.broken.is_some() {
            return Ok(());
        }
        if stream.missing.is_some_and(|missing| missing > 0) {
            let id = stream.id;
            return self.fault(id, code::PROTOCOL_ERROR);
        }
        stream.ended = true;
        stream.wake();
        self.closed(at);
        Ok(())
    }

    /// A whole block: a head, or trailers.
    pub(super) fn headers(
        &mut self,
        id: u32,
        ends: bool,
        block: &[u8],
        reading: &Reading,
        opened: &mut Vec<usize>,
    ) -> Result<(), Fatal> {
        if let Some(at) = self.streams.find(id) {
            let stream = self.streams.get(at);
            return match self.role == Role::Asks && !stream.begun {
                true => self.response(at, ends, block, reading),
                false => self.trailers(at, ends, block, reading),
            };
        }
        if id.is_multiple_of(2) || self.role == Role::Asks && id > self.highest {
            return Err(Fatal(code::PROTOCOL_ERROR));
        }
        let known = id <= self.highest;
        self.highest = self.highest.max(id);
        let crowded =
            self.open >= self.terms.streams || self.streams.len() >= self.terms.streams + HELD;
        let unheard = self.last.is_some_and(|last| id > last);
        if known || crowded || unheard {
            self.read_over(block)?;
            self.watch.saw_nothing();
            match () {
                () if known && !self.taken_back.iter().any(|taken| taken.id == id) => {
                    return Err(Fatal(code::STREAM_CLOSED));
                }
                () if known || unheard => {}
                // It may not know yet how many it may open.
                () => self.say_taken_back(id, code::REFUSED_STREAM),
            }
            return Ok(());
        }
        if self.last.is_some() {
            self.unheard += 1;
            if self.unheard >= 2 * self.terms.streams {
                self.say_last();
            }
        }
        let mut head = self.stock.requests.take().unwrap_or_default();
        let taken = fields::request(
            &mut self.decoder,
            block,
            ends,
            &reading.bounds,
            reading.form,
            &mut head,
        )
        .map_err(|_| Fatal(code::COMPRESSION_ERROR))?;
        let at = self.streams.add(id, self.terms.stream_window, self.initial);
        self.open += 1;
        let stream = self.streams.at(at);
        stream.ended = ends;
        // The end of a tunnel is said by it alone.
        stream.missing = match head.framing() {
            Framing::Exact(length) => Some(length),
            Framing::Empty if head.upgrade().is_none() => Some(0),
            _ => None,
        };
        stream.head = Some(taken.map(|()| head));
        opened.push(at);
        Ok(())
    }

    pub(super) fn trailers(
        &mut self,
        at: usize,
        ends: bool,
        block: &[u8],
        reading: &Reading,
    ) -> Result<(), Fatal> {
        let stream = self.streams.at(at);
        let mut lines = std::mem::take(&mut stream.trailers);
        lines.clear();
        let (id, late, broken) = (stream.id, stream.ended, stream.broken.is_some());
        let taken = fields::trailers_of(&mut self.decoder, block, &reading.bounds, &mut lines)
            .map_err(|_| Fatal(code::COMPRESSION_ERROR))?;
        self.streams.at(at).trailers = lines;
        match () {
            () if broken => Ok(()),
            () if late => self.fault(id, code::STREAM_CLOSED),
            () if !ends || taken.is_err() => self.fault(id, code::PROTOCOL_ERROR),
            () => self.ends(at),
        }
    }

    /// A block that nobody wants changes the table all the same.
    pub(super) fn read_over(&mut self, block: &[u8]) -> Result<(), Fatal> {
        (self.decoder.decode(block, 0, |_| {}))
            .map(drop)
            .map_err(|_| Fatal(code::COMPRESSION_ERROR))
    }

    pub(super) fn was_taken_back(&mut self, id: u32, code: u32) -> Result<(), Fatal> {
        if !self.was_opened(id) {
            return Err(Fatal(code::PROTOCOL_ERROR));
        }
        if let Some(at) = self.streams.find(id) {
            let stream = self.streams.at(at);
            if stream.begun && stream.ended {
                // It wants no more of a request that it has answered; what it answered stands.
                stream.over = true;
                stream.wake();
                self.closed(at);
            } else {
                self.break_off(at, Broken::TakenBack(code));
            }
        }
        Ok(())
    }

    pub(super) fn settings(&mut self, settings: frame::Settings) -> Result<(), Fatal> {
        if let Some(most) = settings.header_table_size {
            self.encoder.resize(most);
        }
        if let Some(tunnels) = settings.enable_connect_protocol {
            self.tunnels = tunnels;
        }
        self.takes = (settings.max_concurrent_streams).or(self.takes.or(Some(u32::MAX)));
        if let Some(initial) = settings.initial_window_size {
            let by = i64::from(initial) - i64::from(self.initial);
            self.initial = initial;
            let mut granted = Ok(());
            self.streams.each(|stream| {
                granted = granted.and(stream.outward.granted(by));
                stream.wake();
            });
            granted.map_err(|_| Fatal(code::FLOW_CONTROL_ERROR))?;
        }
        frame::put_settings_ack(self.output.frames());
        Ok(())
    }

    /// The peer goes. What it has not seen is told so.
    pub(super) fn goes(&mut self, last: u32) {
        if self.role == Role::Asks {
            for at in self.streams.above(last) {
                let stream = self.streams.get(at);
                // What it answered it has seen, whatever it says.
                if !(stream.begun && stream.ended) {
                    self.break_off(at, Broken::Unseen);
                }
            }
        }
    }

    pub(super) fn ping(&mut self, held: [u8; 8], ack: bool) {
        if !ack {
            frame::put_ping(self.output.frames(), held, true);
        } else if held == FAREWELL {
            // What it opened before it heard that we go has come.
            self.say_last();
        }
    }

    /// What it opens from here on is not looked at.
    fn say_last(&mut self) {
        if self.last == Some(frame::MOST_31) {
            self.last = Some(self.highest);
            frame::put_goaway(self.output.frames(), self.highest, code::NO_ERROR, b"");
        }
    }

    /// Whether such a stream is, or was: clients' are odd.
    fn was_opened(&self, id: u32) -> bool {
        !id.is_multiple_of(2) && id <= self.highest
    }

    pub(super) fn widened(&mut self, id: u32, by: u32) -> Result<(), Fatal> {
        if id == 0 {
            if by == 0 {
                return Err(Fatal(code::PROTOCOL_ERROR));
            }
            let granted = self.outward.granted(by.into());
            return granted.map_err(|_| Fatal(code::FLOW_CONTROL_ERROR));
        }
        if !self.was_opened(id) {
            return Err(Fatal(code::PROTOCOL_ERROR));
        }
        let Some(at) = self.streams.find(id) else {
            return Ok(());
        };
        let stream = self.streams.at(at);
        if stream.broken.is_some() {
            return Ok(());
        }
        if by == 0 {
            return self.fault(id, code::PROTOCOL_ERROR);
        }
        if stream.outward.granted(by.into()).is_err() {
            return self.fault(id, code::FLOW_CONTROL_ERROR);
        }
        stream.wake();
        Ok(())
    }
}
