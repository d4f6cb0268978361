//! Owns several limits of one request: all of them let it pass, or none has taken anything for it.

use crate::rate::{Key, Limit, Room};
use crate::time::Instant;

/// Limits of one request.
pub const LIMITS_MOST: usize = 8;

/// What one of them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it lets the request pass, or would.
    pub passes: bool,
    /// What its bucket has: behind what was taken, where something was.
    pub room: Room,
}

/// What they say together.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Whether all let it pass that are not only looked at.
    pub passes: bool,
    said: [Option<Said>; LIMITS_MOST],
}

impl Verdict {
    /// What each says, in the order in which they were added.
    pub fn said(&self) -> impl Iterator<Item = Said> + Clone {
        self.said.into_iter().flatten()
    }
}

#[derive(Clone, Copy, Debug)]
struct Asked<'l> {
    limit: &'l Limit,
    key: Key,
    shadow: bool,
}

/// Several limits of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Together<'l>([Option<Asked<'l>>; LIMITS_MOST]);

impl<'l> Together<'l> {
    /// One more, and whom it counts. `shadow`: what it says is told, and refuses nobody. False: there are as many as may be, and it is
    /// left out.
    pub fn add(&mut self, limit: &'l Limit, key: Key, shadow: bool) -> bool {
        let free = self.0.iter_mut().find(|place| place.is_none());
        let asked = Asked { limit, key, shadow };
        free.map(|place| *place = Some(asked)).is_some()
    }

    /// What they would say; nothing is taken.
    #[must_use]
    pub fn look(&self, now: Instant) -> Verdict {
        let mut verdict = Verdict {
            passes: true,
            said: [None; LIMITS_MOST],
        };
        for (asked, said) in self.0.iter().zip(&mut verdict.said) {
            let Some(asked) = asked else { break };
            let room = asked.limit.look(asked.key, now);
            let passes = room.left > 0;
            verdict.passes &= passes || asked.shadow;
            *said = Some(Said { passes, room });
        }
        verdict
    }

    /// Takes a token of each, or none. A look first: else a request that one refuses would for a moment have others refused by those
    /// before it. What another worker takes between is given back.
    #[must_use]
    pub fn take(&self, now: Instant) -> Verdict {
        let alone = self.0[1].is_none();
        let mut verdict = match alone {
            true => Verdict {
                passes: true,
                said: [None; LIMITS_MOST],
            },
            false => self.look(now),
        };
        if !verdict.passes {
            return verdict;
        }
        let mut taken = [None; LIMITS_MOST];
        for (at, asked) in self.0.iter().enumerate() {
            let Some(asked) = asked else { break };
            let took = asked.limit.take(asked.key, now);
            let (passes, room) = match took {
                Ok(took) => (true, took.room),
                Err(room) => (false, room),
            };
            verdict.said[at] = Some(Said { passes, room });
            if !passes && !asked.shadow {
                verdict.passes = false;
                break;
            }
            taken[at] = took.ok();
        }
        if !verdict.passes {
            for (asked, taken) in self.0.iter().zip(taken) {
                if let (Some(asked), Some(taken)) = (asked, taken) {
                    asked.limit.give_back(taken, now);
                }
            }
        }
        verdict
    }
}
