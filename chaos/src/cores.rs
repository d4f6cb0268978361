//! Owns which cores a race's servers compute on when they do, that nothing else runs there meanwhile, and how much one core computes.
//!
//! Work is counted in steps, so that it is the same for each contender whatever else goes on; how many a millisecond holds is asked of
//! the machine once, with all of these cores at work, as cores may share what computes.

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::clock::Start;

/// The cores of this machine as a race of servers that compute has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// Each has the servers of one contender.
    pub(crate) servers: Vec<usize>,
    /// For balancers, generator and all else.
    rest: Vec<usize>,
}

/// Everything of this process and what it starts is kept off the servers' cores for as long as this lives.
pub(crate) struct Confined(Vec<usize>);

/// How long it is looked how much a core computes.
const LOOK: Duration = Duration::from_millis(200);

/// Steps between two looks at the clock: some tens of microseconds.
const BATCH: u64 = 20_000;

impl Cores {
    /// Those that this process may use. None: too few for two contenders beside all else.
    pub(crate) fn now() -> Option<Self> {
        Self::of(&allowed())
    }

    /// Three of four for servers, from the last on: the first has the kernel's own work, too.
    pub(crate) fn of(all: &[usize]) -> Option<Self> {
        let (rest, servers) = all.split_at(all.len() - all.len() * 3 / 4);
        (servers.len() >= 2).then(|| Self {
            servers: servers.to_vec(),
            rest: rest.to_vec(),
        })
    }

    /// From now on nothing else of ours runs on the servers' cores.
    pub(crate) fn confine(&self) -> Confined {
        let all = allowed();
        for thread in threads() {
            put(Some(thread), &self.rest);
        }
        Confined(all)
    }

    /// Steps that one of these cores computes in a millisecond while all of them do.
    pub(crate) fn per_ms(&self) -> u64 {
        let each = std::thread::scope(|scope| {
            let look = |core: usize| {
                move || {
                    put(None, &[core]);
                    // Until it has its highest frequency.
                    pace(LOOK / 2);
                    pace(LOOK)
                }
            };
            let started = self.servers.iter().map(|core| scope.spawn(look(*core)));
            let started: Vec<_> = started.collect();
            let ended = started.into_iter().filter_map(|one| one.join().ok());
            ended.collect::<Vec<u64>>()
        });
        let sum: u64 = each.iter().sum();
        (sum / (each.len() as u64).max(1)).max(1)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        for thread in threads() {
            put(Some(thread), &self.0);
        }
    }
}

/// Has this thread, and those that it starts, run on one core alone.
///
/// # Errors
/// The kernel does not have it there: what it computes would be measured on somebody else's core.
pub(crate) fn stay_on(core: usize) -> Result<(), String> {
    sched_setaffinity(None, &set(&[core])).map_err(|error| format!("core {core}: {error}"))
}

/// Computes so many steps, of which a compiler can leave none out.
pub(crate) fn compute(steps: u64) {
    let mut value = steps;
    for _ in 0..steps {
        value = black_box(
            value
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

/// Steps in a millisecond of this thread's own time: what others take of the core meanwhile is not slowness of it.
fn pace(look: Duration) -> u64 {
    let (start, before, mut steps) = (Start::now(), spent(), 0);
    while start.passed() < look {
        compute(BATCH);
        steps += BATCH;
    }
    let had = spent().saturating_sub(before);
    // Not every kernel counts it.
    per_millisecond(steps, if had.is_zero() { look } else { had })
}

fn per_millisecond(steps: u64, spent: Duration) -> u64 {
    (steps as f64 / (spent.as_secs_f64() * 1e3).max(1.0)) as u64
}

/// What this thread has computed, as the kernel counts it.
fn spent() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().map(str::parse);
    Duration::from_nanos(nanos.and_then(Result::ok).unwrap_or(0))
}

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect()
}

/// A thread that has just ended needs no place; where the kernel allows none of these cores, all stays as it was.
fn put(thread: Option<Pid>, cores: &[usize]) {
    let _ = sched_setaffinity(thread, &set(cores));
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    set
}

/// Those of this process.
fn threads() -> Vec<Pid> {
    let each = fs::read_dir("/proc/self/task").into_iter().flatten();
    let numbers = each.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_four_cores_compute_and_two_contenders_need_three() {
        let check = |all: &[usize], wanted: Option<(&[usize], &[usize])>| {
            let wanted = wanted.map(|(rest, servers)| Cores {
                servers: servers.to_vec(),
                rest: rest.to_vec(),
            });
            assert_eq!(Cores::of(all), wanted, "{all:?}");
        };
        check(&[], None);
        check(&[0, 1], None);
        check(&[0, 1, 2], Some((&[0], &[1, 2])));
        check(&[0, 1, 2, 3], Some((&[0], &[1, 2, 3])));
        // Of a machine that others have cores of, too.
        check(
            &[4, 5, 8, 9, 10, 11, 12, 13],
            Some((&[4, 5], &[8, 9, 10, 11, 12, 13])),
        );
    }

    #[test]
    fn a_pace_is_of_the_time_that_a_thread_had() {
        let half_of_the_core = LOOK / 2;
        assert_eq!(per_millisecond(50_000_000, half_of_the_core), 500_000);
        // A thread's own: this one computed long before the other began.
        compute(1_000 * BATCH);
        let (own, other) = (spent(), std::thread::spawn(spent).join().unwrap());
        assert!(own > other, "{own:?} {other:?}");
    }

    #[test]
    fn who_is_confined_is_so_with_all_threads_and_free_again() {
        let all = allowed();
        let Some(cores) = Cores::of(&all) else { return };
        let (ask, asked) = std::sync::mpsc::sync_channel::<()>(0);
        let (answer, answered) = std::sync::mpsc::sync_channel(0);
        let other = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                answer.send(allowed()).unwrap();
            }
        });
        let elsewhere = || {
            ask.send(()).unwrap();
            answered.recv().unwrap()
        };
        let confined = cores.confine();
        assert_eq!((allowed(), elsewhere()), (cores.rest.clone(), cores.rest));
        drop(confined);
        assert_eq!((allowed(), elsewhere()), (all.clone(), all));
        drop(ask);
        other.join().unwrap();
    }

    #[test]
    fn a_core_that_is_not_ours_is_no_place() {
        let none = (0..CpuSet::MAX_CPU).rev();
        let mut none = none.filter(|core| !allowed().contains(core));
        let said = stay_on(none.next().unwrap()).unwrap_err();
        assert!(said.starts_with("core "), "{said}");
    }
}
