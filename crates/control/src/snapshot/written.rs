//! Owns what is said of an instance's revisions and of the values that hold by one.

use std::sync::Arc;

use super::{Paged, Span, Watch};
use crate::command::{Refused, Tag};
use crate::revisions::Revision;
use crate::texts::{Difference, Texts, Value, between, veiled};

impl Watch {
    /// Which revision runs.
    #[must_use]
    pub fn revision(&self) -> Tag {
        self.book.current()
    }

    /// Those that are remembered, the newest first.
    ///
    /// # Errors
    /// There is none of the number that the span begins behind.
    pub fn revisions(&self, span: &Span) -> Result<Paged<Arc<Revision>>, Refused> {
        let number = span.after.as_deref().and_then(|after| after.parse().ok());
        let forgotten = || Refused::Forgotten(number.unwrap_or_default());
        self.book.list(span).ok_or_else(forgotten)
    }

    /// One that is remembered.
    ///
    /// # Errors
    /// None of this number is.
    pub fn revision_of(&self, number: u64) -> Result<Arc<Revision>, Refused> {
        self.book.find(number).ok_or(Refused::Forgotten(number))
    }

    /// Every value that held by a revision, without secrets. Cost: all of it is read: milliseconds for some hundred backends, and not for an
    /// event loop.
    ///
    /// # Errors
    /// It is not remembered, or the files that it names are others now.
    pub fn values(&self, number: u64) -> Result<Vec<Value>, Refused> {
        self.all_values(number).map(veiled)
    }

    /// What lies between two revisions, without secrets. Cost: as above, twice.
    ///
    /// # Errors
    /// As above.
    pub fn between(&self, from: u64, to: u64) -> Result<Vec<Difference>, Refused> {
        let before = self.all_values(from)?;
        Ok(between(&before, &self.all_values(to)?))
    }

    fn all_values(&self, number: u64) -> Result<Vec<Value>, Refused> {
        let made_of = &self.revision_of(number)?.made_of;
        let live = self.published.load();
        let reads = self.reads.as_ref();
        let read = |reads: &Arc<dyn Texts>| {
            reads.effective(&made_of.texts, &made_of.wanted.edits, Some(&live.plan))
        };
        let values = reads.and_then(read).ok_or_else(|| {
            Refused::Unread(format!(
                "revision {number} cannot be read any more: a file that it names is another one"
            ))
        })?;
        Ok(crate::overlay::shown_over(
            values,
            &made_of.wanted,
            &live.plan,
        ))
    }
}
