//! Owns as much of HTTP/2 as a backend here has to say: frames apart, and heads that are a status alone.

/// What a client begins with (RFC 9113 section 3.4).
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// One end of a connection that is asked.
#[derive(Default)]
pub(crate) struct Asked {
    greeted: bool,
}

/// What is to be done about what came.
pub(crate) enum Came {
    /// These bytes are to be said.
    Told(Vec<u8>),
    /// This stream has all of its request.
    Request(u32),
    /// This stream is not wanted any more, with the code for that.
    TakenBack(u32, u32),
}

impl Asked {
    /// Takes the first thing that is whole off what came.
    pub(crate) fn take(&mut self, input: &mut Vec<u8>) -> Option<Came> {
        if !self.greeted && input.len() >= PREFACE {
            input.drain(..PREFACE);
            self.greeted = true;
            return Some(Came::Told(frame(SETTINGS, 0, 0, b"")));
        }
        while self.greeted && input.len() >= 9 {
            let length = usize::from(input[1]) << 8 | usize::from(input[2]);
            let (kind, flags) = (input[3], input[4]);
            let stream = u32::from_be_bytes(input[5..9].try_into().unwrap());
            if input.len() < 9 + length {
                return None;
            }
            let whole: Vec<u8> = input.drain(..9 + length).collect();
            match kind {
                RST_STREAM => {
                    let code = u32::from_be_bytes(whole[9..13].try_into().unwrap());
                    return Some(Came::TakenBack(stream, code));
                }
                SETTINGS if flags & ACK == 0 => {
                    return Some(Came::Told(frame(SETTINGS, ACK, 0, b"")));
                }
                HEADERS | DATA if flags & END_STREAM != 0 => return Some(Came::Request(stream)),
                _ => {}
            }
        }
        None
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [0, length[0], length[1], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// An answer that is a status alone.
pub(crate) fn answer(stream: u32, status: &str) -> Vec<u8> {
    // A literal that nobody remembers, by the name of the static table's 8th (RFC 7541 section 6.2.2).
    let block = [&[8, 3], status.as_bytes()].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// It goes, and has seen nothing above this stream.
pub(crate) fn goes(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// It has not looked at this stream.
pub(crate) fn refuses(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes())
}
