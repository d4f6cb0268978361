//! Owns the byte form of a series.

use super::{LEVELS, Level, Points, Series, Slot, Sum};
use crate::bytes::{Reader, Unreadable, Writer};

const KIND: [u8; 4] = *b"ekse";
const VERSION: u8 = 1;

impl Series {
    /// What is to be kept over a restart: at most 32 KiB. What is not over yet is kept as if it were, as time goes on meanwhile.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(KIND, VERSION);
        self.write(&mut to);
        to.finish()
    }

    /// What [`Series::to_bytes`] made.
    ///
    /// # Errors
    ///
    /// What is wrong with them. Bytes of others and broken ones are refused, not mended.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader::new(bytes, KIND, VERSION)?;
        let series = Self::read(&mut from)?;
        from.finish()?;
        Ok(series)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.moment(self.last);
        to.maybe(self.open.as_deref(), |to, open| {
            Slot::new(super::number(self.last, 0), open).write(to);
        });
        for level in &self.levels {
            to.size(level.0.iter().flatten().count());
            for slot in level.0.iter().flatten() {
                slot.write(to);
            }
        }
        self.points.write(to);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let last = from.moment()?;
        let open = from.maybe(Slot::read)?.map(|slot| {
            let mut sum = Box::<Sum>::default();
            slot.add_to(&mut sum);
            sum
        });
        let mut levels: [Level; 5] = Default::default();
        for (at, level) in levels.iter_mut().enumerate() {
            for _ in 0..from.size(LEVELS[at].1, "slots")? {
                level.put(at, Slot::read(from)?);
            }
        }
        Ok(Self {
            last,
            open,
            levels,
            points: Points::read(from)?,
        })
    }
}
