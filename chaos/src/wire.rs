//! Owns what both ends of a run need of HTTP/1.1: heads, fields, what a path asks for.
//!
//! Both ends are ours, so this reads what they and honest balancers write; it judges nothing.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The byte of which all bodies are made.
pub(crate) const FILL: u8 = b'k';

/// Reads a head. `held` has what was read beyond the last one, and then what was read beyond this one. None: the other end
/// closed before it began one.
pub(crate) async fn head(
    stream: &mut (impl AsyncRead + Unpin),
    held: &mut Vec<u8>,
    most: usize,
) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&held[..end]).into_owned();
            held.drain(..end + 4);
            return Ok(Some(text));
        }
        if held.len() > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(held).await? == 0 {
            return match held.is_empty() {
                true => Ok(None),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// The value of a field, whose name is given in small letters.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The status of a response head; 0 when it has none.
pub(crate) fn status(head: &str) -> u16 {
    let word = head.split(' ').nth(1);
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// How many bytes a path asks for.
pub(crate) fn size_of(path: &str) -> Option<usize> {
    path.rsplit('/').next()?.parse().ok()
}
