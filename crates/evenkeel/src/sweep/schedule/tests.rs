//! Rows of what is due when. Times are in milliseconds.

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn schedule(calm: u64, unsure: u64, down: u64) -> Schedule {
    Schedule::new(&CheckerSettings {
        interval: Duration::from_millis(calm),
        interval_unsure: Some(Duration::from_millis(unsure)),
        interval_down: Some(Duration::from_millis(down)),
        ..CheckerSettings::default()
    })
}

fn key(backend: &str) -> Key {
    Key {
        service: "api".into(),
        backend: backend.into(),
    }
}

fn seen(backends: &[(&str, Need)]) -> Vec<Seen> {
    let row = |&(backend, need): &(&str, Need)| Seen {
        key: key(backend),
        address: backend.into(),
        need,
        fresh: false,
    };
    backends.iter().map(row).collect()
}

/// Begins and ends all that is due; who it was.
fn sweep(schedule: &mut Schedule, now: Instant) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(begun) = schedule.begin(now) {
        names.push(begun.key.backend.to_string());
        schedule.end(&begun.key, true, now);
    }
    names
}

fn due(schedule: &Schedule, backend: &str) -> u64 {
    schedule.slots[&key(backend)].due.as_nanos() / 1_000_000
}

#[test]
fn all_are_due_when_first_seen_then_within_one_interval_then_on_a_grid() {
    let mut schedule = schedule(1_000, 1_000, 1_000);
    schedule.see(seen(&[("a", Need::Calm), ("b", Need::Calm)]), at(50));
    assert_eq!(sweep(&mut schedule, at(50)), ["a", "b"]);
    let (a, b) = (due(&schedule, "a"), due(&schedule, "b"));
    assert!(a != b && (50..=1_050).contains(&a) && (50..=1_050).contains(&b));
    assert_eq!(sweep(&mut schedule, at(1_050)).len(), 2);
    assert_eq!(
        (due(&schedule, "a"), due(&schedule, "b")),
        (a + 1_000, b + 1_000),
        "late begins move no grid"
    );
}

#[test]
fn grid_points_that_pass_while_a_check_runs_are_passed_over() {
    let mut schedule = schedule(1_000, 1_000, 1_000);
    schedule.see(seen(&[("a", Need::Calm)]), at(0));
    sweep(&mut schedule, at(0));
    let grid = due(&schedule, "a");
    let begun = schedule.begin(at(grid + 1)).expect("due");
    assert!(
        schedule.begin(at(grid + 5_000)).is_none(),
        "never twice at once"
    );
    schedule.end(&begun.key, true, at(grid + 3_500));
    assert_eq!(due(&schedule, "a"), grid + 4_000);
}

#[test]
fn another_need_moves_the_next_check_to_its_interval() {
    let rows = [
        (Need::Calm, 10_000..=10_000),
        (Need::Unsure, 1_000..=1_000),
        // Longer than the one before: spread anew.
        (Need::Down, 0..=60_000),
    ];
    for (need, within) in rows {
        let other = if need == Need::Calm {
            Need::Down
        } else {
            Need::Calm
        };
        let mut schedule = schedule(10_000, 1_000, 60_000);
        schedule.see(seen(&[("a", other)]), at(0));
        sweep(&mut schedule, at(0));
        let second = at(due(&schedule, "a") + 1);
        sweep(&mut schedule, second);
        schedule.see(seen(&[("a", need)]), second + Duration::from_millis(10));
        let rest = at(due(&schedule, "a")).since(second).as_millis();
        // Milliseconds round up to one away.
        assert!(
            within.contains(&rest) || within.contains(&(rest + 1)),
            "{need:?}: {rest} ms"
        );
    }
}

#[test]
fn checks_spread_anew_where_need_lengthens_the_interval() {
    let mut schedule = schedule(10_000, 1_000, 1_000);
    let names: Vec<String> = (0..40).map(|number| format!("b{number}")).collect();
    let rows = |need| {
        names
            .iter()
            .map(|name| (name.as_str(), need))
            .collect::<Vec<_>>()
    };
    schedule.see(seen(&rows(Need::Unsure)), at(0));
    let (mut now, mut checks) = (0, 0);
    for begun_before in [1, 2, 10] {
        while checks < 40 * begun_before {
            checks += sweep(&mut schedule, at(now)).len();
            now += 10;
        }
        schedule.see(seen(&rows(Need::Calm)), at(now));
        let early = |name: &&String| due(&schedule, name) < now + 5_000;
        let early = names.iter().filter(early).count();
        assert!(
            (10..=30).contains(&early),
            "{early} of 40 in the first half"
        );
        schedule.see(seen(&rows(Need::Unsure)), at(now));
    }
}

#[test]
fn requests_by_hand_come_first_share_a_check_and_move_no_grid() {
    let mut schedule = schedule(1_000, 1_000, 1_000);
    schedule.see(seen(&[("a", Need::Calm), ("b", Need::Calm)]), at(0));
    sweep(&mut schedule, at(0));
    let grid = due(&schedule, "b");
    assert!(schedule.want(&key("b"), 1) && schedule.want(&key("b"), 2));
    assert!(!schedule.want(&key("none"), 3));
    assert_eq!(schedule.next(at(0)), Some(at(0)));
    let begun = schedule.begin(at(0)).expect("wanted");
    assert_eq!((begun.key.clone(), begun.requests), (key("b"), vec![1, 2]));
    // Asked while it runs: what runs may have seen an older state, so another check is made.
    assert!(schedule.want(&key("b"), 4));
    assert!(schedule.begin(at(0)).is_none());
    schedule.end(&begun.key, true, at(0));
    assert_eq!(schedule.begin(at(0)).expect("wanted").requests, [4]);
    schedule.end(&key("b"), true, at(0));
    assert_eq!(due(&schedule, "b"), grid);
    assert_eq!(schedule.begin(at(0)), None);
}

#[test]
fn who_leaves_gives_its_requests_back_and_who_returns_is_another() {
    let mut schedule = schedule(1_000, 1_000, 1_000);
    schedule.see(seen(&[("a", Need::Calm)]), at(0));
    let former = schedule.begin(at(0)).expect("due");
    schedule.want(&key("a"), 7);
    assert_eq!(schedule.see(Vec::new(), at(1)), [7]);
    schedule.see(seen(&[("a", Need::Calm)]), at(2));
    assert!(!schedule.stands(&former));
    assert_eq!(
        schedule.begin(at(2)),
        None,
        "its former self is still being checked"
    );
    schedule.end(&former.key, false, at(3));
    let begun = schedule.begin(at(3)).expect("due since it was seen");
    assert!(schedule.stands(&begun));
}

#[test]
fn who_left_and_returned_between_two_looks_is_due_at_once() {
    let mut schedule = schedule(1_000, 1_000, 1_000);
    schedule.see(seen(&[("a", Need::Unsure)]), at(0));
    sweep(&mut schedule, at(0));
    let mut fresh = seen(&[("a", Need::Unsure)]);
    fresh[0].fresh = true;
    schedule.see(fresh.clone(), at(1));
    assert_eq!(sweep(&mut schedule, at(1)), ["a"]);
    // A check that never reached the service says nothing of who came since: no second one at once.
    schedule.see(fresh.clone(), at(2));
    let begun = schedule.begin(at(2)).expect("due");
    schedule.end(&begun.key, false, at(2));
    schedule.see(fresh, at(3));
    assert_eq!(sweep(&mut schedule, at(3)), [""; 0]);
}

#[test]
fn random_operations_never_run_one_backend_twice_nor_lose_one() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut schedule = schedule(100, 20, 300);
        let names = ["a", "b", "c", "d"];
        let needs = [Need::Calm, Need::Unsure, Need::Down];
        let (mut now, mut running, mut open) = (0, Vec::<Begun>::new(), 0_u64);
        for step in 0..400 {
            now += random.u64(0..40);
            match random.u8(0..4) {
                0 => {
                    let there = names.iter().filter(|_| random.u8(0..4) > 0);
                    let rows: Vec<_> = there.map(|name| (*name, needs[step % 3])).collect();
                    open -= schedule.see(seen(&rows), at(now)).len() as u64;
                }
                1 => {
                    let name = names[random.usize(0..4)];
                    open += u64::from(schedule.want(&key(name), step as u64));
                }
                2 => {
                    if let Some(begun) = schedule.begin(at(now)) {
                        assert!(
                            running.iter().all(|other| other.key != begun.key),
                            "seed {seed}"
                        );
                        open -= begun.requests.len() as u64;
                        running.push(begun);
                    }
                }
                _ => {
                    if let Some(begun) = running.pop() {
                        schedule.end(&begun.key, true, at(now));
                    }
                }
            }
            assert_eq!(schedule.running(), running.len());
            let waiting: usize = schedule
                .slots
                .values()
                .map(|slot| slot.requests.len())
                .sum();
            assert_eq!(waiting as u64, open, "seed {seed}");
            for (key, slot) in &schedule.slots {
                let queued = schedule.queue.contains(&(slot.due, key.clone()));
                assert_ne!(
                    queued,
                    schedule.running.contains(key),
                    "seed {seed}, step {step}"
                );
            }
            let waits = schedule
                .slots
                .keys()
                .filter(|key| !schedule.running.contains(*key));
            assert_eq!(
                schedule.queue.len(),
                waits.count(),
                "seed {seed}, step {step}"
            );
        }
    }
}
