//! Owns the laws of bodies in chunks. The input is a body, and what comes behind it.

use evenkeel_balance::hashing;
use evenkeel_wire::Malformed;
use evenkeel_wire::chunked::{ChunkLine, Chunked, Keep, LAST_CHUNK};
use evenkeel_wire::known::is_forbidden_in_trailers;

use crate::{plainly, show};

/// Bytes and number of trailers, small enough to be reached.
const TRAILERS: (usize, usize) = (96, 4);

/// For what was written here: a space behind each colon may have been added.
const ROOMY: (usize, usize) = (TRAILERS.0 + TRAILERS.1, TRAILERS.1);

/// The documented limit of extensions in one body.
const EXTENSIONS_MOST: usize = 1024;

/// Passes a body on whole, byte by byte and in pieces by chance: all must say the same, the same as a plain reading, and what
/// goes on must say it again.
pub fn check(input: &[u8]) -> bool {
    let plain = plainly_read(input, TRAILERS);
    for keep in [Keep::Chunks, Keep::Data, Keep::Apart] {
        let whole = pass(input, keep, TRAILERS, std::iter::repeat(input.len().max(1)));
        let bytewise = pass(input, keep, TRAILERS, std::iter::repeat(1));
        assert_eq!(whole, bytewise, "cut into bytes: {}", show(input));
        let mut chance = fastrand::Rng::with_seed(hashing::key(input));
        for _ in 0..2 {
            let pieces = std::iter::repeat_with(|| chance.usize(1..24));
            let cut = pass(input, keep, TRAILERS, pieces);
            assert_eq!(whole, cut, "cut by chance: {}", show(input));
        }
        let Ok(Went {
            on,
            consumed,
            ended: true,
        }) = whole
        else {
            assert_eq!(plain, None, "refused or not whole: {}", show(input));
            continue;
        };
        let plain = plain
            .as_ref()
            .unwrap_or_else(|| panic!("taken: {}", show(input)));
        assert_eq!(consumed, plain.length, "{}", show(input));
        match keep {
            Keep::Data => assert_eq!(on, plain.data, "{}", show(input)),
            Keep::Apart => {
                let mut expect = plain.data.clone();
                let trailers = plain.trailers.iter();
                for (name, value) in trailers.filter(|(name, _)| !is_forbidden_in_trailers(name)) {
                    expect.extend([name, &b": "[..], value, b"\r\n"].concat());
                }
                assert_eq!(on, expect, "{}", show(input));
            }
            Keep::Chunks => says_the_same_again(&on, plain),
        }
    }
    if let Some(plain) = &plain {
        written_anew(&plain.data);
    }
    plain.is_some()
}

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
struct Went {
    /// What the next hop gets.
    on: Vec<u8>,
    consumed: usize,
    ended: bool,
}

fn pass(
    input: &[u8],
    keep: Keep,
    most: (usize, usize),
    mut pieces: impl Iterator<Item = usize>,
) -> Result<Went, Malformed> {
    let mut body = Chunked::new(keep, most.0, most.1);
    let (mut on, mut consumed) = (Vec::new(), 0);
    while consumed < input.len() {
        let length = pieces.next().unwrap_or(1).min(input.len() - consumed);
        let came = &input[consumed..consumed + length];
        let mut piece = came.to_vec();
        let passed = body.pass(&mut piece)?;
        assert!(passed.kept <= passed.consumed && passed.consumed <= length);
        assert_eq!(passed.ended, body.is_done());
        assert!(passed.ended || passed.consumed == length, "left over");
        assert_eq!(
            piece[passed.consumed..],
            came[passed.consumed..],
            "touched what is behind the body: {}",
            show(input)
        );
        on.extend_from_slice(&piece[..passed.kept]);
        consumed += passed.consumed;
        if passed.ended {
            on.extend_from_slice(body.tail());
            let nothing = body.pass(&mut piece)?;
            assert_eq!((nothing.consumed, nothing.kept), (0, 0));
            break;
        }
        assert!(body.tail().is_empty());
    }
    Ok(Went {
        on,
        consumed,
        ended: body.is_done(),
    })
}

/// The data, the trailers and the length of a body that is whole and sound.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    data: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    length: usize,
}

fn plainly_read(input: &[u8], trailers_most: (usize, usize)) -> Option<Plain> {
    let (mut data, mut rest, mut extensions) = (Vec::new(), input, 0);
    loop {
        let (line, after) = line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (digits, extension) = line.split_at(digits.count());
        if !(1..=16).contains(&digits.len()) || !extension_is_sound(extension) {
            return None;
        }
        extensions += extension.len();
        let size = i64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if extensions > EXTENSIONS_MOST {
            return None;
        }
        if size == 0 {
            rest = after;
            break;
        }
        let size = usize::try_from(size).ok()?;
        data.extend_from_slice(after.get(..size)?);
        rest = after[size..].strip_prefix(b"\r\n")?;
    }
    let (trailers, rest) = plain_trailers(rest, trailers_most)?;
    Some(Plain {
        data,
        trailers,
        length: input.len() - rest.len(),
    })
}

/// By splitting, where the decoder goes byte by byte.
fn extension_is_sound(mut extension: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let token = |text: &[u8]| {
        let sound = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.iter().all(sound)
    };
    let skip = |text: &[u8]| text.iter().take_while(|byte| blank(byte)).count();
    while let Some(rest) = extension.strip_prefix(b";") {
        let rest = &rest[skip(rest)..];
        let name = rest.iter().take_while(|&&byte| token(&[byte])).count();
        let (name, rest) = rest.split_at(name);
        if name.is_empty() {
            return false;
        }
        let behind = &rest[skip(rest)..];
        extension = match behind.first() {
            None => return rest.is_empty(),
            Some(b';') => behind,
            Some(b'=') => {
                let value = &behind[1 + skip(&behind[1..])..];
                let Some(rest) = behind_value(value) else {
                    return false;
                };
                let behind = &rest[skip(rest)..];
                match behind.first() {
                    None => return rest.is_empty(),
                    Some(b';') => behind,
                    Some(_) => return false,
                }
            }
            Some(_) => return false,
        };
    }
    extension.is_empty()
}

/// What stands behind a token or a text in quotes.
fn behind_value(value: &[u8]) -> Option<&[u8]> {
    let Some(mut quoted) = value.strip_prefix(b"\"") else {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let length = value.iter().take_while(|&&byte| token(byte)).count();
        return (length > 0).then_some(&value[length..]);
    };
    loop {
        let (&byte, rest) = quoted.split_first()?;
        let visible = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        quoted = match byte {
            b'"' => return Some(rest),
            b'\\' => {
                let (&escaped, rest) = rest.split_first()?;
                visible(escaped).then_some(rest)?
            }
            _ => visible(byte).then_some(rest)?,
        };
    }
}

/// The next line and what is behind it.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&text[..end], &text[end + 2..]))
}

type Trailers = Vec<(Vec<u8>, Vec<u8>)>;

fn plain_trailers(mut rest: &[u8], most: (usize, usize)) -> Option<(Trailers, &[u8])> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        bytes += line.len() + 2;
        let value = |&byte: &u8| byte >= b' ' && byte != 0x7f || byte == b'\t';
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if colon == 0 || !line[..colon].iter().all(name) || !line[colon + 1..].iter().all(value) {
            return None;
        }
        let (name, value) = plainly::field(line);
        all.push((name.to_vec(), value.to_vec()));
    }
    let within = bytes <= most.0 && all.len() <= most.1;
    within.then_some((all, rest))
}

/// What went on is a body with the same data and the trailers that may, has no extensions, and goes on as it is.
fn says_the_same_again(on: &[u8], plain: &Plain) {
    let again = plainly_read(on, ROOMY).unwrap_or_else(|| panic!("went on: {}", show(on)));
    assert_eq!(again.length, on.len(), "{}", show(on));
    assert_eq!(again.data, plain.data, "{}", show(on));
    let may: Vec<_> = plain
        .trailers
        .iter()
        .filter(|(name, _)| !is_forbidden_in_trailers(name))
        .collect();
    assert_eq!(again.trailers.iter().collect::<Vec<_>>(), may);
    let twice = pass(on, Keep::Chunks, ROOMY, std::iter::repeat(on.len()));
    assert_eq!(twice.map(|went| went.on).as_deref(), Ok(on));
}

/// Data that came without chunks, as one chunk.
fn written_anew(data: &[u8]) {
    let mut chunk = Vec::new();
    if !data.is_empty() {
        chunk.extend_from_slice(ChunkLine::before(data.len()).as_bytes());
        chunk.extend_from_slice(data);
        chunk.extend_from_slice(b"\r\n");
    }
    chunk.extend_from_slice(LAST_CHUNK);
    chunk.extend_from_slice(b"\r\n");
    let read = plainly_read(&chunk, TRAILERS);
    assert_eq!(read.map(|read| read.data).as_deref(), Some(data));
}
