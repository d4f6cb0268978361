//! Owns which picks are out, until when, and by which ids they are known. Plain: what time it is comes in, what leaves is handed out.
//!
//! A place is used again, each time with another number, so that an id which is over is told from one that never was. Ends are swept, not sorted:
//! nearly all picks are reported long before theirs, and an order of ends would be kept for nothing.

use std::fmt;

use evenkeel_balance::time::Instant;

/// By what a pick is known to who was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickId {
    /// Of this process, as far as a number tells.
    epoch: u32,
    place: u32,
    /// So many picks had this place before, this one included.
    turn: u64,
}

/// In hexadecimal digits, as it is read.
impl fmt::Display for PickId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}-{:x}", self.epoch, self.place, self.turn)
    }
}

impl PickId {
    /// None: it is no id.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |most: usize| {
            let part = parts.next()?;
            let digits = part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let fits = digits && (1..=most).contains(&part.len());
            u64::from_str_radix(part, 16).ok().filter(|_| fits)
        };
        let (epoch, place, turn) = (part(8)?, part(8)?, part(16)?);
        let id = Self {
            epoch: u32::try_from(epoch).ok()?,
            place: u32::try_from(place).ok()?,
            turn,
        };
        parts.next().is_none().then_some(id)
    }
}

/// Why there is no pick of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// This process has given none of this id.
    Unknown,
    /// It was reported before, or its time is over.
    Over,
}

/// A place, empty or not.
struct Place<T> {
    turn: u64,
    held: Option<T>,
}

/// Picks that are out.
pub(super) struct Table<T> {
    epoch: u32,
    places: Vec<Place<T>>,
    /// Until when, by place; [`NEVER`] where there is none. Apart from the places, so that a sweep reads little.
    ends: Vec<u64>,
    free: Vec<u32>,
    /// Places that are promised and not taken yet.
    promised: usize,
    most: usize,
    /// No end is before this.
    soonest: u64,
}

const NEVER: u64 = u64::MAX;

impl<T> Table<T> {
    pub(super) const fn new(epoch: u32, most: usize) -> Self {
        Self {
            epoch,
            places: Vec::new(),
            ends: Vec::new(),
            free: Vec::new(),
            promised: 0,
            most,
            soonest: NEVER,
        }
    }

    /// How many are out.
    pub(super) const fn out(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Promises so many places. False: there are not so many.
    pub(super) const fn promise(&mut self, places: usize) -> bool {
        let fits = self.out() + self.promised + places <= self.most;
        if fits {
            self.promised += places;
        }
        fits
    }

    /// Takes a promise back.
    pub(super) const fn unpromise(&mut self, places: usize) {
        self.promised -= places;
    }

    /// Takes a place that was promised.
    #[expect(
        clippy::expect_used,
        reason = "there are no more places than `most`, a number of 32 bits"
    )]
    pub(super) fn put(&mut self, held: T, until: Instant) -> PickId {
        self.promised -= 1;
        let until = until.as_nanos();
        self.soonest = self.soonest.min(until);
        let place = self.free.pop().unwrap_or_else(|| {
            let held = None;
            self.places.push(Place { turn: 0, held });
            self.ends.push(NEVER);
            u32::try_from(self.places.len() - 1).expect("fewer places than 2^32")
        });
        let at = place as usize;
        self.ends[at] = until;
        self.places[at].turn += 1;
        self.places[at].held = Some(held);
        PickId {
            epoch: self.epoch,
            place,
            turn: self.places[at].turn,
        }
    }

    /// Gives one out, for good.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn take(&mut self, id: &str) -> Result<T, Lost> {
        let id = PickId::parse(id).filter(|id| id.epoch == self.epoch);
        let id = id.ok_or(Lost::Unknown)?;
        let at = id.place as usize;
        let place = self.places.get_mut(at).ok_or(Lost::Unknown)?;
        if id.turn == 0 || id.turn > place.turn {
            return Err(Lost::Unknown);
        }
        let current = id.turn == place.turn;
        let held = place.held.take_if(|_| current).ok_or(Lost::Over)?;
        self.ends[at] = NEVER;
        self.free.push(id.place);
        Ok(held)
    }

    /// Gives out those whose time is over. Cost: a look at the end of each place, where one may be over.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<T> {
        let (now, mut over) = (now.as_nanos(), Vec::new());
        if now < self.soonest {
            return over;
        }
        self.soonest = NEVER;
        for ((at, end), place) in (0_u32..).zip(&mut self.ends).zip(&mut self.places) {
            if *end <= now
                && let Some(held) = place.held.take()
            {
                *end = NEVER;
                self.free.push(at);
                over.push(held);
            }
            self.soonest = self.soonest.min(*end);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn put(table: &mut Table<&'static str>, held: &'static str, until: u64) -> String {
        assert!(table.promise(1));
        table.put(held, at(until)).to_string()
    }

    #[test]
    fn an_id_is_good_once() {
        let mut table = Table::new(0xAB, 2);
        let first = put(&mut table, "first", 9);
        assert_eq!(first, "000000ab-0-1");
        assert_eq!(table.take(&first), Ok("first"));
        assert_eq!(table.take(&first), Err(Lost::Over));
        // Its place has another now.
        let second = put(&mut table, "second", 9);
        assert_eq!(second, "000000ab-0-2");
        assert_eq!(table.take(&first), Err(Lost::Over));
        for strange in [
            "",
            "-",
            "000000ab-0",
            "000000ab-0-3",
            "000000ab-0-0",
            "000000ab-1-1",
            "000000ac-0-2",
            "000000ab-0-2-",
            "000000ab-0-+2",
            "000000ab-0-00000000000000002",
            "000000ab-ffffffff-1",
            "0000000ab-0-2",
            "\u{663}-0-2",
        ] {
            assert_eq!(table.take(strange), Err(Lost::Unknown), "{strange}");
        }
        assert_eq!(table.take(&second), Ok("second"));
        assert_eq!(table.out(), 0);
    }

    #[test]
    fn no_more_are_out_than_may_be() {
        let mut table = Table::new(1, 3);
        assert!(table.promise(2));
        assert!(!table.promise(2));
        table.put("one", at(5));
        assert!(!table.promise(2));
        // The other was not picked after all.
        table.unpromise(1);
        assert!(table.promise(2));
        let two = table.put("two", at(5)).to_string();
        table.put("three", at(5));
        assert!(!table.promise(1));
        assert_eq!(table.take(&two), Ok("two"));
        assert_eq!(table.out(), 2);
        assert!(table.promise(1));
    }

    #[test]
    fn what_nobody_reports_comes_back_in_its_time() {
        let mut table = Table::new(1, 9);
        let late = put(&mut table, "late", 30);
        let early = put(&mut table, "early", 10);
        let told = put(&mut table, "told", 10);
        assert!(table.take_over(at(9)).is_empty());
        assert_eq!(table.take(&told), Ok("told"));
        assert_eq!(table.take_over(at(10)), ["early"]);
        assert_eq!(table.take(&early), Err(Lost::Over));
        // A place that was given back and taken again has the end of who has it now.
        put(&mut table, "new", 40);
        assert!(table.take_over(at(29)).is_empty());
        assert_eq!(table.take_over(at(30)), ["late"]);
        assert_eq!(table.take(&late), Err(Lost::Over));
        assert_eq!(table.take_over(at(99)), ["new"]);
        assert_eq!(table.out(), 0);
    }
}
