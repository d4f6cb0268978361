//! Owns how text and sockets go from process to process: a head, the text, then the sockets in portions, each with a byte. What else
//! comes goes over the same stream behind them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// What it begins with; another layout has another number.
const MAGIC: [u8; 8] = *b"EVKLHND2";

/// The longest text: names of sockets, and a wish for each of 100,000 backends, with identities of 500 bytes.
pub(super) const TEXT_MOST: usize = 64 * 1024 * 1024;

/// The most sockets: as many descriptors as a process may have, unless somebody has raised `fs.nr_open`.
const SOCKETS_MOST: usize = 1024 * 1024;

/// So many in one portion; the kernel takes 253.
const PORTION: usize = 64;

#[cfg(target_os = "linux")]
const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;

#[cfg(not(target_os = "linux"))]
const FLAGS: RecvFlags = RecvFlags::empty();

/// Sends them; how long that may take is the stream's to say.
///
/// # Errors
/// Too much of either, or the other end does not take it.
pub(super) fn send(mut to: &UnixStream, text: &[u8], sockets: &[OwnedFd]) -> io::Result<()> {
    if text.len() > TEXT_MOST {
        return Err(wrong(&format!(
            "what is to be handed over takes {} MiB, of at most {}",
            text.len() / 1024 / 1024,
            TEXT_MOST / 1024 / 1024
        )));
    }
    if sockets.len() > SOCKETS_MOST {
        let count = sockets.len();
        return Err(wrong(&format!(
            "{count} sockets are to be handed over, of at most {SOCKETS_MOST}"
        )));
    }
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    to.write_all(&MAGIC)?;
    to.write_all(&length(text.len()))?;
    to.write_all(&length(sockets.len()))?;
    to.write_all(text)?;
    for portion in sockets.chunks(PORTION) {
        let portion: Vec<BorrowedFd<'_>> = portion.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PORTION))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&portion));
        sendmsg(to, &[IoSlice::new(b"S")], &mut control, SendFlags::empty())?;
    }
    Ok(())
}

/// Receives them; how long that may take is the stream's to say.
///
/// # Errors
/// Another layout, too much, or fewer sockets than were announced.
pub(super) fn receive(mut from: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut head = [0; 16];
    from.read_exact(&mut head)?;
    let [magic, lengths] = [&head[..8], &head[8..]];
    if magic != MAGIC {
        return Err(wrong("the other process hands over in another way"));
    }
    let (length, count) = lengths.split_at(4);
    let number = |bytes: &[u8]| {
        let bytes = bytes.first_chunk().copied().map(u32::from_be_bytes);
        bytes
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(usize::MAX)
    };
    let (length, count) = (number(length), number(count));
    if length > TEXT_MOST || count > SOCKETS_MOST {
        return Err(wrong("the other process hands over too much"));
    }
    let mut text = Vec::new();
    // As it comes, and not as it is announced.
    let read = from.take(length as u64).read_to_end(&mut text)?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PORTION))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, FLAGS)?;
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(portion) = message {
                sockets.extend(portion);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC)
            || sockets.len() == before
            || sockets.len() > count
        {
            let got = sockets.len();
            return Err(wrong(&format!(
                "{got} of {count} sockets came: the limit of open files may be too low"
            )));
        }
    }
    Ok((text, sockets))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// More than one message takes, of several kinds, and as many as a thousand addresses have with five workers; behind them the
    /// stream goes on.
    #[test]
    fn text_and_sockets_arrive_in_order_and_close_at_exec() {
        crate::files::raise_open_files();
        let (one, two) = UnixStream::pair().unwrap();
        let datagrams = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let kinds: [OwnedFd; 3] = [
            datagrams(),
            datagrams(),
            File::open("/dev/null").unwrap().into(),
        ];
        let again = |at: usize| kinds[at % 3].try_clone().unwrap();
        let sent: Vec<OwnedFd> = (0..5_000).map(again).collect();
        let node = |socket: &OwnedFd| {
            File::from(socket.try_clone().unwrap())
                .metadata()
                .unwrap()
                .ino()
        };
        let text = vec![b'x'; 300_000];
        let nodes: Vec<_> = sent.iter().map(node).collect();
        let copy = text.clone();
        let sending = std::thread::spawn(move || {
            send(&one, &copy, &sent).unwrap();
            (&one).write_all(b"more").unwrap();
        });
        let (got, sockets) = receive(&two).unwrap();
        let mut more = String::new();
        (&two).read_to_string(&mut more).unwrap();
        sending.join().unwrap();
        assert!(got == text && more == "more");
        assert_eq!(sockets.iter().map(node).collect::<Vec<_>>(), nodes);
        for socket in &sockets {
            let flags = rustix::io::fcntl_getfd(socket).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn what_is_not_whole_or_too_much_is_refused() {
        let head = |magic: &[u8], text: u32, sockets: u32| {
            [magic, &text.to_be_bytes(), &sockets.to_be_bytes()].concat()
        };
        for (bytes, why) in [
            (b"".to_vec(), "nothing"),
            (head(&MAGIC, 0, 0)[..15].to_vec(), "half a head"),
            (head(b"EVKLHND9", 0, 0), "another layout"),
            (head(&MAGIC, u32::MAX, 0), "a long text"),
            (head(&MAGIC, 0, u32::MAX), "many sockets"),
            (head(&MAGIC, 5, 0), "no text"),
            (head(&MAGIC, 0, 1), "no socket"),
            (
                [head(&MAGIC, 0, 1), b"S".to_vec()].concat(),
                "a byte without one",
            ),
        ] {
            let (mut one, two) = UnixStream::pair().unwrap();
            one.write_all(&bytes).unwrap();
            drop(one);
            assert!(receive(&two).is_err(), "{why}");
        }
    }
}
