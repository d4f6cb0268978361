//! Owns the byte form of what a controller has learned. A step that was not judged yet is not kept: whoever serves after a restart
//! is not who served before.

use super::{Controller, MOST_BACKENDS, Model};
use crate::bytes::{Reader, Unreadable, Writer};

const KIND: [u8; 4] = *b"ekct";
const VERSION: u8 = 1;

impl Controller {
    /// What is to be kept over a restart: some 100 bytes a backend.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(KIND, VERSION);
        to.count(u64::from(self.hold));
        to.count(u64::from(self.undone));
        to.count(self.judged);
        to.number(self.gained);
        to.size(self.models.len());
        for (id, model) in &self.models {
            to.text(id);
            model.write(&mut to);
        }
        to.finish()
    }

    /// What [`Controller::to_bytes`] made.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader::new(bytes, KIND, VERSION)?;
        let hold = u32::try_from(from.up_to(16, "a count of intervals")?).unwrap_or(16);
        let undone = u32::try_from(from.up_to(4, "a count of steps")?).unwrap_or(4);
        let judged = from.up_to(u64::MAX / 2, "a count of steps")?;
        let gained = from.number(-50.0, 50.0, "a sum")?;
        let mut all = Self {
            hold,
            undone,
            judged,
            gained,
            ..Self::default()
        };
        for _ in 0..from.size(MOST_BACKENDS, "backends")? {
            all.models.insert(from.text()?, Model::read(&mut from)?);
        }
        from.finish()?;
        Ok(all)
    }
}
