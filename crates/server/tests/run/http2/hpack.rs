//! HPACK (RFC 7541) for tests: a writer that says everything in full, so that any bytes can stand in a field, and a reader of
//! what others write, Huffman codes and tables included.

use std::collections::VecDeque;

/// Names and values, in their order.
pub(crate) type Fields = Vec<(String, String)>;

/// The value of the first field of this name.
pub(crate) fn value<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(own, _)| own == name);
    found.map(|(_, value)| &**value)
}

/// A block of fields, each a literal without indexing (section 6.2.2).
pub(crate) fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        text(&mut out, name.as_ref());
        text(&mut out, value.as_ref());
    }
    out
}

/// The same, each kept in the reader's table (section 6.2.1).
pub(crate) fn kept(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0x40);
        text(&mut out, name.as_bytes());
        text(&mut out, value.as_bytes());
    }
    out
}

/// A field of the tables (section 6.1).
pub(crate) fn indexed(index: usize) -> Vec<u8> {
    let mut out = Vec::new();
    integer(&mut out, 0x80, 7, index);
    out
}

/// A change of the table's size (section 6.3).
pub(crate) fn resized(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    integer(&mut out, 0x20, 5, size);
    out
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    integer(out, 0, 7, bytes.len());
    out.extend_from_slice(bytes);
}

/// A number whose first byte has room for so many bits (section 5.1).
fn integer(out: &mut Vec<u8>, mark: u8, bits: u32, number: usize) {
    let most = (1 << bits) - 1;
    if number < most {
        out.push(mark | u8::try_from(number).unwrap());
        return;
    }
    out.push(mark | u8::try_from(most).unwrap());
    let mut rest = number - most;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// What one side has been told, and may be told again by its number.
pub(crate) struct Reader {
    kept: VecDeque<(String, String)>,
    bytes: usize,
    most: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            most: 4096,
        }
    }

    /// The fields of a block.
    pub(crate) fn read(&mut self, block: &[u8]) -> Fields {
        let mut rest = block;
        let mut fields = Fields::new();
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = number(&mut rest, 7);
                fields.push(self.at(index));
            } else if first & 0xc0 == 0x40 {
                let field = self.literal(&mut rest, 6);
                self.keep(field.clone());
                fields.push(field);
            } else if first & 0xe0 == 0x20 {
                self.most = number(&mut rest, 5);
                self.evict();
            } else {
                fields.push(self.literal(&mut rest, 4));
            }
        }
        fields
    }

    fn literal(&self, rest: &mut &[u8], bits: u32) -> (String, String) {
        let index = number(rest, bits);
        let name = match index {
            0 => string(rest),
            index => self.at(index).0,
        };
        (name, string(rest))
    }

    fn at(&self, index: usize) -> (String, String) {
        match STATIC.get(index - 1) {
            Some((name, value)) => ((*name).to_owned(), (*value).to_owned()),
            None => self.kept[index - 1 - STATIC.len()].clone(),
        }
    }

    fn keep(&mut self, field: (String, String)) {
        self.bytes += field.0.len() + field.1.len() + 32;
        self.kept.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.most {
            let gone = self.kept.pop_back().unwrap();
            self.bytes -= gone.0.len() + gone.1.len() + 32;
        }
    }
}

fn number(rest: &mut &[u8], bits: u32) -> usize {
    let most = (1 << bits) - 1;
    let mut value = usize::from(rest[0]) & most;
    *rest = &rest[1..];
    if value < most {
        return value;
    }
    let mut shift = 0;
    loop {
        let byte = usize::from(rest[0]);
        *rest = &rest[1..];
        value += (byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            return value;
        }
    }
}

fn string(rest: &mut &[u8]) -> String {
    let coded = rest[0] & 0x80 != 0;
    let length = number(rest, 7);
    let (bytes, behind) = rest.split_at(length);
    *rest = behind;
    let bytes = if coded {
        decoded(bytes)
    } else {
        bytes.to_vec()
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes of a Huffman code (section 5.2). The code is canonical: those of one length follow each other in the order of their
/// bytes, so the lengths say it all.
fn decoded(coded: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut code, mut length) = (0_u32, 0_u8);
    let (mut first, mut below) = (0_u32, 0_u32);
    for bit in coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        // The first code of the next length follows the last of this one.
        first = (first + below) << 1;
        code = code << 1 | u32::from(bit);
        length += 1;
        let of_length = || (0..=255_u8).filter(|byte| LENGTHS[usize::from(*byte)] == length);
        below = u32::try_from(of_length().count()).unwrap();
        if let Some(at) = code.checked_sub(first).filter(|at| *at < below) {
            out.extend(of_length().nth(at as usize));
            (code, length, first, below) = (0, 0, 0, 0);
        }
    }
    out
}

/// How many bits stand for each byte (Appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[test]
fn the_examples_of_the_rfc() {
    // Appendix C.4.1 to C.4.3.
    let mut reader = Reader::new();
    for (block, last) in [
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            (":authority", "www.example.com"),
        ),
        ("828684be5886a8eb10649cbf", ("cache-control", "no-cache")),
        (
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ("custom-key", "custom-value"),
        ),
    ] {
        let hex = |at: usize| u8::from_str_radix(&block[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..block.len()).step_by(2).map(hex).collect();
        let fields = reader.read(&bytes);
        let (name, value) = fields.last().unwrap();
        assert_eq!((&**name, &**value), last, "{fields:?}");
    }
    // What is written in full is read as it was.
    let long = "x".repeat(5000);
    let own = [("a", &*long), ("b", "\0\r\n")];
    let read = reader.read(&block(&own));
    assert_eq!(
        read,
        own.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}
