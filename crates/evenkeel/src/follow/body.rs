//! Owns following an HTTP body: its last frame ends the charge, also where nobody asks for more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use evenkeel_balance::verdict::Outcome;
use http_body::{Body, Frame, SizeHint};

use super::Followed;

impl<B> Followed<B> {
    /// The body has nothing to give.
    pub(crate) fn completed(&mut self) {
        self.held.finish(Outcome::Completed);
    }
}

/// Frames pass as they are. The end finishes the attempt as completed, an error as broken. A body that says that its end has
/// come is at its end: who reads by `Content-Length` asks for no more.
impl<B: Body + Unpin> Body for Followed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.held.finish(Outcome::Completed),
            Some(Err(_)) => self.held.broke(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
