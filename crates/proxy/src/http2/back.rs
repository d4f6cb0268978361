//! Owns connections of HTTP/2 to backends.

use std::rc::Rc;

use super::stream::Unheard;
use super::watch::Watch;

/// A stream's place on its connection.
#[derive(Clone)]
pub(crate) struct Held {
    watch: Rc<Watch>,
}

impl Held {
    /// What an error instead of a head means.
    pub(super) fn unheard(&self, error: &h2::Error, stream: u32) -> Unheard {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        if refused || self.watch.is_beyond(stream) {
            return Unheard::Unseen;
        }
        if error.is_library() {
            return Unheard::Malformed(evenkeel_wire::Malformed::Http2);
        }
        Unheard::Broken
    }
}
