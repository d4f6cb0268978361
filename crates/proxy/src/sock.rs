//! Owns what the engine asks of a connection, and the adapters: TCP and Unix sockets, and a pipe in memory.
//!
//! The engine names no runtime's type; it runs over anything that keeps this contract. `tests/contract.rs` holds every
//! implementation to it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use self::os::OsSock;
use crate::tls::secured::Secured;

/// Two ends in memory, for tests and simulations.
pub mod pipe;

/// Pipes of the kernel between two such sockets.
pub(crate) mod conduit;

/// Sockets of the operating system.
pub mod os;

/// One end of a connection: bytes in, bytes out, each direction closed by itself.
pub trait Sock {
    /// Reads what there is into `into`, which is not empty. 0: the peer has closed its direction.
    ///
    /// # Errors
    /// Whatever ended the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `from`, which is not empty.
    ///
    /// # Errors
    /// Whatever ended the connection.
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `from`, behind which the connection ends at once: it may wait here for the end, and go with it.
    ///
    /// # Errors
    /// Whatever ended the connection.
    #[inline]
    fn poll_write_last(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write(cx, from)
    }

    /// Writes some of `from`, as one.
    ///
    /// # Errors
    /// Whatever ended the connection.
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Ready once all that was written is on its way; until then some of it may wait here, and moves with this or with another
    /// call. Where writing hands over at once, nothing is to be done.
    ///
    /// # Errors
    /// Whatever ended the connection.
    #[inline]
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Says that the message which was written is whole, with these trailers: lines of text. Where its bytes say so, nothing is to
    /// be done.
    ///
    /// # Errors
    /// Whatever ended the connection.
    #[inline]
    fn end(&mut self, _trailers: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// The trailers that came behind a message whose end was read: lines of text. Where they come among its bytes, none.
    #[inline]
    fn trailers(&self) -> &[u8] {
        b""
    }

    /// Closes the direction of writing; what was written arrives before.
    ///
    /// # Errors
    /// Whatever ended the connection.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The same without the word that it is meant, where there is one (`close_notify` of TLS): who reads it knows that what came need
    /// not be the whole.
    ///
    /// # Errors
    /// Whatever ended the connection.
    fn poll_shutdown_unsaid(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown(cx)
    }

    /// Whether nobody told the system to say when something happens to it. Who has to wait for it while reading or writing is heard; to
    /// read only to see whether the peer has gone is worth it after a while.
    #[inline]
    fn is_fresh(&self) -> bool {
        false
    }

    /// Has the system say so from here on.
    fn watch(&mut self) {}

    /// Whether bytes, an end or an error wait to be read. On a connection that nobody owes anything this means that it is of
    /// no more use. Costs no system call when nothing has happened, unless it is [fresh](Self::is_fresh).
    fn has_input(&mut self) -> bool;

    /// Ready once the connection is cut. Reads nothing: what waits to be read stays, and a direction that ended is no cut. For
    /// who cannot read, or has read to the end.
    fn broken(&self) -> impl Future<Output = ()>;

    /// Ready once the peer has ended its direction, or the connection is cut. Reads nothing, and is told although bytes that nobody
    /// has read stand before the end; not before the end has come, which waits at the peer while more was sent than the system
    /// takes in. Where the system does not tell (others than Linux): as [`broken`](Self::broken).
    fn ended(&self) -> impl Future<Output = ()>;

    /// Makes dropping it cut the connection (RST) rather than end it, so that what was sent cannot look whole. A Unix socket knows
    /// no cut: there only the framing of what was sent tells.
    fn cut(&mut self);

    /// The address of this end. None: it has none, or none that is known. Costs a system call.
    fn local(&self) -> Option<SocketAddr> {
        None
    }

    /// The operating system's socket, where bytes may pass between it and another such one within the kernel: those of this
    /// connection are its, as they are, none of them waits here, and the system can. None: they are read and written.
    #[inline]
    fn bare(&mut self) -> Option<&mut OsSock> {
        None
    }

    /// What was agreed on in its handshake. None: its bytes go as they are.
    #[inline]
    fn secured(&self) -> Option<&Secured> {
        None
    }
}

/// Lent.
impl<S: Sock> Sock for &mut S {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        (**self).poll_write(cx, from)
    }

    #[inline]
    fn poll_write_last(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        (**self).poll_write_last(cx, from)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write_vectored(cx, from)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(cx)
    }

    fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        (**self).end(trailers)
    }

    fn trailers(&self) -> &[u8] {
        (**self).trailers()
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown(cx)
    }

    fn poll_shutdown_unsaid(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown_unsaid(cx)
    }

    #[inline]
    fn is_fresh(&self) -> bool {
        (**self).is_fresh()
    }

    fn watch(&mut self) {
        (**self).watch();
    }

    fn has_input(&mut self) -> bool {
        (**self).has_input()
    }

    async fn broken(&self) {
        (**self).broken().await;
    }

    async fn ended(&self) {
        (**self).ended().await;
    }

    fn cut(&mut self) {
        (**self).cut();
    }

    fn local(&self) -> Option<SocketAddr> {
        (**self).local()
    }

    fn bare(&mut self) -> Option<&mut OsSock> {
        (**self).bare()
    }

    fn secured(&self) -> Option<&Secured> {
        (**self).secured()
    }
}
