//! Owns when a name is asked for. Pure: time and chance are arguments, so that thousands of names and years are a test.
//!
//! ```text
//! waiting (due) --start--> running --done--> waiting (due after what its records or its failures say)
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::Question;

/// Look-ups that are begun at once, so that each turn of the one writer begins as many at most: some 1,280 in a second.
pub(crate) const RUNNING_MOST: usize = 128;

/// A wait is shorter by up to one part in so many, so that names that were asked together do not stay together.
const JITTER: u32 = 10;

/// Failures in a row double the wait up to so many times; the longest wait of a name ends it sooner mostly.
const DOUBLED_MOST: u32 = 16;

/// When each name is asked for.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// No name is asked for more often.
    floor: Duration,
    names: HashMap<Question, Name>,
    /// Those that wait, by when they are due.
    waiting: BTreeSet<(Instant, Question)>,
    running: usize,
}

#[derive(Debug)]
struct Name {
    /// None: it is being asked for.
    due: Option<Instant>,
    /// It is asked for no less often.
    refresh: Duration,
    /// In a row.
    failures: u32,
}

impl Schedule {
    pub(crate) fn new(floor: Duration) -> Self {
        Self {
            floor,
            names: HashMap::new(),
            waiting: BTreeSet::new(),
            running: 0,
        }
    }

    /// Goes on with these names and their longest waits: new ones are due now, and those that fail, whose servers may be others
    /// now; the rest are as they were.
    pub(crate) fn follow(
        &mut self,
        floor: Duration,
        wanted: &BTreeMap<Question, Duration>,
        now: Instant,
    ) {
        self.floor = floor;
        self.names.retain(|name, _| wanted.contains_key(name));
        for (question, &refresh) in wanted {
            let name = self.names.entry(question.clone()).or_insert(Name {
                due: Some(now),
                refresh,
                failures: 0,
            });
            name.refresh = refresh;
            let latest = if name.failures > 0 {
                now
            } else {
                now + refresh
            };
            name.due = name.due.map(|due| due.min(latest));
        }
        let due = |(question, name): (&Question, &Name)| Some((name.due?, question.clone()));
        self.waiting = self.names.iter().filter_map(due).collect();
    }

    /// Who is asked for now: the longest due first, and no more than may run at once.
    pub(crate) fn start(&mut self, now: Instant) -> Vec<Question> {
        let mut started = Vec::new();
        while self.running < RUNNING_MOST
            && self.waiting.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, question)) = self.waiting.pop_first()
        {
            if let Some(name) = self.names.get_mut(&question) {
                name.due = None;
            }
            self.running += 1;
            started.push(question);
        }
        started
    }

    /// What was started has ended: with records that live so long, or in vain. `chance` is any number.
    pub(crate) fn done(
        &mut self,
        question: &Question,
        lives: Option<Duration>,
        now: Instant,
        chance: u32,
    ) {
        self.running = self.running.saturating_sub(1);
        let Some(name) = self.names.get_mut(question) else {
            return;
        };
        // Who was removed and came back meanwhile waits already.
        if name.due.is_some() {
            return;
        }
        let wait = match lives {
            Some(lives) => {
                name.failures = 0;
                lives
            }
            None => {
                let doubled = 1 << name.failures.min(DOUBLED_MOST);
                name.failures = name.failures.saturating_add(1);
                self.floor.saturating_mul(doubled)
            }
        };
        let wait = wait.min(name.refresh);
        let off = (wait / JITTER).mul_f64(f64::from(chance) / f64::from(u32::MAX));
        let due = now + wait.saturating_sub(off).max(self.floor);
        name.due = Some(due);
        self.waiting.insert((due, question.clone()));
    }

    /// Forgets all names.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn named(count: usize, refresh: Duration) -> BTreeMap<Question, Duration> {
        let name = |at| (Question::Addresses(format!("n{at:05}").into()), refresh);
        (0..count).map(name).collect()
    }

    fn following(wanted: &BTreeMap<Question, Duration>) -> Schedule {
        let mut schedule = Schedule::new(SECOND);
        schedule.follow(SECOND, wanted, Instant::ZERO);
        schedule
    }

    /// One name, whose look-ups end as these say one after another: the waits in milliseconds.
    #[track_caller]
    fn waits(refresh: Duration, chance: u32, ends: &[Option<u64>], expect: &[u64]) {
        let mut schedule = following(&named(1, refresh));
        let (mut now, mut got) = (Instant::ZERO, Vec::new());
        for lives in ends {
            let [question] = &schedule.start(now)[..] else {
                panic!("it is due");
            };
            schedule.done(question, lives.map(Duration::from_millis), now, chance);
            let (due, _) = schedule.waiting.first().cloned().unwrap();
            let before = Instant::from_nanos(due.as_nanos() - 1);
            assert_eq!(schedule.start(before), [], "it is not due yet");
            got.push(due.nanos_since(now) / 1_000_000);
            now = due;
        }
        assert_eq!(got, expect);
    }

    #[test]
    fn a_ttl_is_followed_between_the_floor_and_the_refresh() {
        waits(
            60 * SECOND,
            0,
            &[Some(30_000), Some(0), Some(200), Some(1_000_000_000)],
            &[30_000, 1_000, 1_000, 60_000],
        );
        // Chance makes it sooner, never later, and never below the floor.
        waits(
            60 * SECOND,
            u32::MAX,
            &[Some(30_000), Some(1_000), Some(1_000_000)],
            &[27_000, 1_000, 54_000],
        );
    }

    #[test]
    fn failures_wait_longer_and_longer_and_no_longer_than_the_refresh() {
        let failed = [None; 6];
        let ends = [&failed[..], &[Some(5_000), None]].concat();
        let expect = [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 5_000, 1_000];
        waits(10 * SECOND, 0, &ends, &expect);
        let expect = [1_000, 1_800, 3_600, 7_200, 9_000, 9_000, 4_500, 1_000];
        waits(10 * SECOND, u32::MAX, &ends, &expect);
    }

    /// All at once and each as fast as it can: so many run at once, and what waits longest comes first.
    #[test]
    fn five_thousand_names_come_one_crowd_after_another_and_part() {
        let wanted = named(5_000, 30 * SECOND);
        let mut schedule = following(&wanted);
        let mut chance = 1_u32;
        let mut asked = BTreeMap::<Question, u32>::new();
        let (mut ticks, mut by_second) = (0, [0_usize; 60]);
        // Every look-up takes one tick of 100 ms.
        let mut running = Vec::new();
        while ticks < 600 {
            let now = at(ticks * 100);
            for question in running.drain(..) {
                chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                schedule.done(&question, Some(30 * SECOND), now, chance);
            }
            running = schedule.start(now);
            assert!(running.len() <= RUNNING_MOST && schedule.running == running.len());
            by_second[usize::try_from(ticks / 10).unwrap()] += running.len();
            for question in &running {
                *asked.entry(question.clone()).or_default() += 1;
            }
            ticks += 1;
        }
        let all: usize = by_second[..4].iter().sum();
        assert_eq!((asked.len(), all), (5_000, 5_000), "each within 4 s");
        assert!(asked.values().all(|count| (2..=3).contains(count)));
        // The second round takes longer than the first: they part.
        let second = by_second[20..45].iter().filter(|count| **count > 0);
        assert!(second.count() > 6, "{by_second:?}");
    }

    #[test]
    fn what_stays_is_left_alone_and_what_goes_is_forgotten() {
        let two = named(2, 60 * SECOND);
        let mut schedule = following(&two);
        let started = schedule.start(at(0));
        schedule.done(&started[0], Some(50 * SECOND), at(0), 0);
        // The second one is still asked for: it goes, and comes back before it ends.
        let first = named(1, 60 * SECOND);
        schedule.follow(SECOND, &first, at(1_000));
        assert_eq!(schedule.start(at(49_999)), []);
        schedule.follow(SECOND, &two, at(2_000));
        assert_eq!(schedule.start(at(2_000)), [started[1].clone()]);
        schedule.done(&started[1], None, at(2_000), 0);
        assert_eq!(schedule.running, 1);
        // Who fails is asked for when others may answer.
        for _ in 0..5 {
            schedule.follow(SECOND, &two, at(2_000));
            assert_eq!(schedule.start(at(2_000)), [started[1].clone()]);
            schedule.done(&started[1], None, at(2_000), 0);
        }
        // A shorter refresh holds at once.
        schedule.follow(SECOND, &named(1, 5 * SECOND), at(3_000));
        assert_eq!(schedule.start(at(7_999)), []);
        assert_eq!(schedule.start(at(8_000)), [started[0].clone()]);
    }
}
