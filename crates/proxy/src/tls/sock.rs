//! Owns a connection over TLS: rustls's states over any [`Sock`], so that it runs over TCP, Unix sockets and pipes alike.
//!
//! What is written is sealed at once and may wait here until the connection takes it (at most [`SEALED_MOST`] and its
//! records' heads); nothing more is sealed meanwhile. What comes is read into the thread's own buffer and opened into the caller's: an idle connection
//! holds rustls's state and 4 KiB of its reading buffer, nothing of ours. An end without `close_notify` is an error, so that what
//! ends with its connection cannot be cut short unnoticed (RFC 8446 section 6.1).

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker, ready};

use rustls::pki_types::CertificateDer;
use rustls::{Connection, Error};

use super::fault::Fault;
use super::secured::Secured;
use crate::sock::Sock;

/// Bytes that are sealed and wait; four records.
const SEALED_MOST: usize = 64 * 1024;

/// Sealed bytes read with one call; two whole records.
const READ: usize = 34 * 1024;

/// Opened bytes that rustls may hold before it is given more.
const OPENED_MOST: usize = 16 * 1024;

thread_local! {
    /// Where sealed bytes are read to. Empty while it is lent.
    static SEALED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One end of a connection over TLS.
#[derive(Debug)]
pub struct TlsSock<S: Sock> {
    sock: S,
    tls: Connection,
    /// Sealed bytes that rustls had no room for.
    spare: Vec<u8>,
    /// Opened bytes that rustls holds.
    opened: usize,
    /// The peer has ended its direction, as it should.
    ended: bool,
    /// Nothing more can be read.
    failed: Option<io::ErrorKind>,
    /// Our direction is ended.
    closed: bool,
    cut: bool,
    /// rustls may hold more memory than an idle connection needs.
    grown: bool,
    /// None until the handshake has ended.
    secured: Option<Secured>,
}

/// Hands what is sealed to a connection.
struct Sending<'a, 'b, S> {
    sock: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: Sock> Write for Sending<'_, '_, S> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        now(self.sock.poll_write(self.cx, from))
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        now(match from {
            [only] => self.sock.poll_write(self.cx, only),
            all => self.sock.poll_write_vectored(self.cx, all),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waiting, as rustls wants to be told of it.
fn now(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Nothing to read now.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// What reading sealed bytes came to.
enum Pulled {
    /// So many opened bytes are in the caller's buffer; none does not mean that none came.
    Some(usize),
    /// The connection ended.
    End,
}

impl<S: Sock> TlsSock<S> {
    /// Before its handshake; `first` has come already.
    pub(super) fn new(sock: S, mut tls: Connection, first: Vec<u8>) -> Self {
        tls.set_buffer_limit(Some(SEALED_MOST));
        Self {
            sock,
            tls,
            spare: first,
            opened: 0,
            ended: false,
            failed: None,
            closed: false,
            cut: false,
            grown: false,
            secured: None,
        }
    }

    /// Goes on with the handshake. Ready: nothing of it is left, on this side.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            match self.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::PeerLeft)),
                Poll::Pending if !self.tls.is_handshaking() => return Poll::Pending,
                _ => {}
            }
            if !self.tls.is_handshaking() {
                self.secured = Some(Secured::of(&self.tls));
                return Poll::Ready(Ok(()));
            }
            let fault = match ready!(self.pull(cx, &mut [])) {
                Ok(Pulled::Some(_)) => continue,
                Ok(Pulled::End) => Fault::PeerLeft,
                Err(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
                    Some(error) => Fault::of(error),
                    None => Fault::PeerLeft,
                },
            };
            // The alert, if it can be told.
            let _ = self.poll_flush(cx);
            self.closed = true;
            return Poll::Ready(Err(fault));
        }
    }

    /// Whether the peer's hello was whole.
    pub(super) fn has_heard(&self) -> bool {
        self.tls.protocol_version().is_some()
    }

    /// What the peer has shown, its own certificate first.
    pub(super) fn shown(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Opens sealed bytes into `into`, as many as there is room for. How many were taken, and how many came out.
    fn open(&mut self, mut sealed: &[u8], into: &mut [u8]) -> io::Result<(usize, usize)> {
        let (all, mut filled) = (sealed.len(), 0);
        self.grown |= all > 0;
        loop {
            if self.opened > 0 && filled < into.len() {
                let read = self.tls.reader().read(&mut into[filled..])?;
                self.opened -= read;
                filled += read;
            }
            if sealed.is_empty() || self.opened > OPENED_MOST {
                return Ok((all - sealed.len(), filled));
            }
            // Behind its end a peer may say what it likes.
            if self.tls.read_tls(&mut sealed)? == 0 {
                return Ok((all, filled));
            }
            match self.tls.process_new_packets() {
                Ok(state) => {
                    self.opened = state.plaintext_bytes_to_read();
                    self.ended |= state.peer_has_closed();
                }
                Err(error) if filled == 0 => return Err(broken(error)),
                // What came before it is good.
                Err(_) => {
                    self.failed = Some(io::ErrorKind::InvalidData);
                    return Ok((all, filled));
                }
            }
        }
    }

    /// Reads sealed bytes and opens them.
    fn pull(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<Pulled>> {
        if !self.spare.is_empty() {
            let spare = std::mem::take(&mut self.spare);
            let (taken, filled) = self.open(&spare, into)?;
            self.spare.extend_from_slice(&spare[taken..]);
            return Poll::Ready(Ok(Pulled::Some(filled)));
        }
        let mut sealed = SEALED.take();
        sealed.resize(READ, 0);
        // No more than there is room for: opened bytes are fewer than sealed ones.
        let most = into.len().clamp(4096, READ);
        let pulled = match self.sock.poll_read(cx, &mut sealed[..most]) {
            Poll::Ready(Ok(0)) => {
                self.failed = (!self.ended).then_some(io::ErrorKind::UnexpectedEof);
                self.ended = true;
                Poll::Ready(Ok(Pulled::End))
            }
            Poll::Ready(Ok(length)) => {
                let opened = self.open(&sealed[..length], into);
                if let Ok((taken, _)) = opened {
                    self.spare.extend_from_slice(&sealed[taken..length]);
                }
                Poll::Ready(opened.map(|(_, filled)| Pulled::Some(filled)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
        };
        SEALED.set(sealed);
        pulled
    }

    /// Gives back what an idle connection does not need.
    fn rest(&mut self) {
        if std::mem::take(&mut self.grown) {
            // Asked for bytes, rustls brings its buffer to its smallest size where nothing is in it.
            let _ = self.tls.read_tls(&mut Nothing);
        }
    }

    /// Hands on what is sealed, as far as the connection takes it.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let sock = &mut self.sock;
            match self.tls.write_tls(&mut Sending { sock, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Seals with `seal` once nothing that was sealed before waits.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        seal: impl FnOnce(&mut Connection) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.send(cx))?;
        let sealed = seal(&mut self.tls)?;
        match self.send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(sealed)),
        }
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: Sock> Sock for TlsSock<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.opened > 0 {
                let read = self.tls.reader().read(into)?;
                self.opened -= read;
                return Poll::Ready(Ok(read));
            }
            if let Some(kind) = self.failed {
                return Poll::Ready(Err(kind.into()));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            let pulled = self.pull(cx, into);
            if self.tls.wants_write() {
                // What reading asks to be said: an alert, another key. It goes with the next call at the latest.
                let _ = self.send(cx);
            }
            match ready!(pulled) {
                Ok(Pulled::Some(filled)) if filled > 0 => return Poll::Ready(Ok(filled)),
                Ok(_) => {}
                Err(error) => {
                    self.failed = Some(error.kind());
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |tls| tls.writer().write(from))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |tls| tls.writer().write_vectored(from))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        self.sock.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closed, true) {
            self.tls.send_close_notify();
        }
        ready!(self.send(cx))?;
        self.sock.poll_shutdown(cx)
    }

    fn poll_shutdown_unsaid(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed = true;
        ready!(self.send(cx))?;
        self.sock.poll_shutdown(cx)
    }

    fn has_input(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        loop {
            if self.opened > 0 || self.ended || self.failed.is_some() {
                return true;
            }
            // What comes may be a ticket, which says nothing of the connection.
            match self.pull(cx, &mut []) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.failed = Some(error.kind()),
                Poll::Pending => return false,
            }
        }
    }

    async fn broken(&self) {
        self.sock.broken().await;
    }

    async fn ended(&self) {
        self.sock.ended().await;
    }

    fn local(&self) -> Option<SocketAddr> {
        self.sock.local()
    }

    fn cut(&mut self) {
        self.cut = true;
        self.sock.cut();
    }

    fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }
}

impl<S: Sock> Drop for TlsSock<S> {
    /// Says that the end is meant, where that was not said and can be said without waiting.
    fn drop(&mut self) {
        if !self.cut && !self.closed && self.secured.is_some() {
            self.tls.send_close_notify();
            let _ = self.send(&mut Context::from_waker(Waker::noop()));
        }
    }
}
