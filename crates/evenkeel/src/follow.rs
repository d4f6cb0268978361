//! Owns the charge that ends with a body: an attempt is under way until its last byte, not until its response head.
//!
//! ```text
//! held --end of file--> Completed     held --error--> Broken(Reset)     held --dropped--> ClientLeft
//! ```
//! Passes bytes through and never looks at them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use evenkeel_balance::verdict::{Fault, Outcome};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pick::Pick;

/// HTTP bodies.
#[cfg(feature = "tower")]
mod body;

/// A body, and the charge that ends with it. Made by [`Pick::follow`].
///
/// Reads as the body does. The end of file finishes the attempt as completed, an error as broken, a drop before
/// either says that the client left. Writes pass through, so that a tunnel can be followed: an error of a write
/// breaks the attempt too, the end of file of the read side ends it. A body that is not `Unpin` goes in a
/// `Pin<Box<_>>`.
#[must_use = "dropping it ends the attempt: the client left"]
#[derive(Debug)]
pub struct Followed<B> {
    body: B,
    held: Held,
}

/// Apart from the body, so that the body can be taken out of a `Followed`.
#[derive(Debug)]
struct Held(Option<Pick>);

impl Held {
    fn finish(&mut self, outcome: Outcome) {
        if let Some(pick) = self.0.take() {
            pick.finish(outcome);
        }
    }

    /// The backend's connection failed: what it failed with says nothing about why.
    fn broke(&mut self) {
        self.finish(Outcome::Broken(Fault::Reset));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.finish(Outcome::ClientLeft);
    }
}

impl<B> Followed<B> {
    pub(crate) fn new(body: B, pick: Pick) -> Self {
        Self {
            body,
            held: Held(Some(pick)),
        }
    }

    /// The body.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// The body. What is read past the `Followed` does not end the charge.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// The pick, until it ended.
    #[must_use]
    pub fn pick(&self) -> Option<&Pick> {
        self.held.0.as_ref()
    }

    /// Ends the attempt, if it has not ended by itself, and gives the body back.
    pub fn finish(mut self, outcome: Outcome) -> B {
        self.held.finish(outcome);
        self.body
    }

    /// Unties the two. The pick is `None` when the attempt ended; else its charge is held on.
    #[must_use = "dropping the pick counts as abandoned"]
    pub fn into_inner(mut self) -> (B, Option<Pick>) {
        (self.body, self.held.0.take())
    }
}

impl<B: AsyncRead + Unpin> AsyncRead for Followed<B> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // A read into no room yields nothing without being the end.
        let room = buf.remaining() > 0;
        let result = ready!(Pin::new(&mut self.body).poll_read(cx, buf));
        match &result {
            Ok(()) if room && buf.filled().len() == before => self.held.finish(Outcome::Completed),
            Ok(()) => {}
            Err(_) => self.held.broke(),
        }
        Poll::Ready(result)
    }
}

impl<B: AsyncWrite + Unpin> Followed<B> {
    fn write<T>(
        mut self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut B>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let result = ready!(poll(Pin::new(&mut self.body)));
        if result.is_err() {
            self.held.broke();
        }
        Poll::Ready(result)
    }
}

impl<B: AsyncWrite + Unpin> AsyncWrite for Followed<B> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|body| body.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|body| body.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|body| body.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|body| body.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.body.is_write_vectored()
    }
}
