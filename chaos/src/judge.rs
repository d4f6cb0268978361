//! Owns what a run comes to: the figures of its row, and whether each target holds.
//!
//! Pure: a `Run` in, a `Row` out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bench::{Run, Sample};
use crate::client::Class;
use crate::faults::{Fault, Target};
use crate::load::Record;
use crate::setup::Who;

/// A share of picks is taken over so long.
const WINDOW: Duration = Duration::from_secs(1);

/// The budget's floor, in retries per second, and for how many seconds it is kept.
const FLOOR: f64 = 3.0;
const KEPT: f64 = 10.0;

/// The figures of one fault and one balancer.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) who: Who,
    pub(crate) offered: usize,
    pub(crate) answered: usize,
    /// Idempotent, and no answer had begun.
    pub(crate) needless: usize,
    /// Not idempotent, and no answer had begun.
    pub(crate) unsafe_failed: usize,
    /// An answer had begun, and was cut visibly.
    pub(crate) begun: usize,
    pub(crate) wrong: usize,
    pub(crate) raced: usize,
    pub(crate) classes: BTreeMap<String, usize>,
    pub(crate) retried: Option<u64>,
    /// What backends were asked per request while the fault lasted.
    pub(crate) amplification: f64,
    /// Milliseconds to the response head while the fault lasted.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Seconds; None: not within the fault, or nobody in particular has it.
    pub(crate) out: Option<f64>,
    /// Seconds; None: not within the run.
    pub(crate) fair: Option<f64>,
    pub(crate) kib: (u64, u64),
    pub(crate) descriptors: (u64, u64),
    pub(crate) notes: Vec<String>,
    pub(crate) missed: Vec<String>,
}

/// Reads what was seen.
pub(crate) fn row(fault: &Fault, who: Who, run: &Run) -> Row {
    let counted = |wanted: &dyn Fn(&Record) -> bool| {
        run.records.iter().filter(|record| wanted(record)).count()
    };
    let mut classes = BTreeMap::new();
    for record in &run.records {
        if record.class != Class::Answered {
            let method = if record.kind.is_idempotent() {
                "GET"
            } else {
                "POST"
            };
            let word = format!("{method} {}", record.class.word());
            *classes.entry(word).or_insert(0) += 1;
        }
    }
    let during: Vec<&Record> = run
        .records
        .iter()
        .filter(|record| record.intended >= run.injected && record.intended < run.healed)
        .collect();
    let mut waits: Vec<Duration> = during.iter().map(|record| record.latency).collect();
    waits.sort_unstable();
    let unsafe_failed = |record: &Record| {
        !record.kind.is_idempotent() && record.class != Class::Answered && !record.class.had_begun()
    };
    let mut row = Row {
        fault: fault.name,
        who,
        offered: run.records.len(),
        answered: counted(&|record| record.class == Class::Answered),
        needless: counted(&|record| record.failed_needlessly()),
        unsafe_failed: counted(&unsafe_failed),
        begun: counted(&|record| record.class.had_begun()),
        wrong: counted(&|record| record.class == Class::Wrong),
        raced: counted(&|record| record.raced),
        classes,
        retried: run.retried,
        amplification: asked(run) / (during.len().max(1) as f64),
        p50: percentile(&waits, 0.5),
        p99: percentile(&waits, 0.99),
        p999: percentile(&waits, 0.999),
        out: share_falls(fault, run),
        fair: share_returns(fault, run),
        kib: (run.before.kib, run.after.kib),
        descriptors: (run.before.descriptors, run.after.descriptors),
        notes: Vec::new(),
        missed: Vec::new(),
    };
    judge(fault, run, during.len(), &mut row);
    row
}

fn judge(fault: &Fault, run: &Run, during: usize, row: &mut Row) {
    let mut missed = Vec::new();
    if row.wrong > 0 {
        missed.push(format!("{} answers looked whole and were not", row.wrong));
    }
    missed.extend(run.broken_laws.iter().map(|law| format!("a law: {law}")));
    if row.who == Who::Evenkeel {
        for exit in [Some(run.exit), run.exit_within].into_iter().flatten() {
            if exit != Some(0) {
                missed.push(format!("exit code {exit:?} after SIGTERM"));
            }
        }
    }
    for target in fault.targets {
        missed.extend(miss(target, fault, run, during, row));
    }
    row.missed = missed;
    if row.who == Who::Evenkeel {
        notes(fault, run, row);
    }
}

/// What a target says when it is missed.
fn miss(target: &Target, fault: &Fault, run: &Run, during: usize, row: &mut Row) -> Option<String> {
    match *target {
        Target::NoneFailed { ends } => {
            if row.needless > 0 {
                return Some(format!("{} idempotent requests failed", row.needless));
            }
            let cut = !ends && row.raced > 0;
            cut.then(|| format!("{} kept connections ended under a request", row.raced))
        }
        Target::Out { seconds } => match row.out {
            Some(took) if took <= seconds => None,
            Some(took) => Some(format!(
                "under 1 % of picks after {took:.1} s, not {seconds} s"
            )),
            None => Some("not under 1 % of picks while the fault lasted".to_owned()),
        },
        Target::Tail { ms } => {
            (row.p999 > ms).then(|| format!("p99.9 is {:.0} ms, not {ms:.0} ms at most", row.p999))
        }
        Target::Amplified { times } => {
            let seconds = (run.healed - run.injected).as_secs_f64();
            let floor = FLOOR * (seconds + KEPT) / (during.max(1) as f64);
            // What the requests of the second before have earned; and a reading may be a tenth of a second old.
            let before = (times - 1.0 + 0.1) * fault.rate / (during.max(1) as f64);
            let most = times + floor + before;
            (row.amplification > most)
                .then(|| format!("amplification {:.3}, not {most:.3}", row.amplification))
        }
        Target::Normal { seconds } => {
            let last = run
                .records
                .iter()
                .rev()
                .find(|record| record.class != Class::Answered);
            let took = last.map_or(0.0, |record| {
                record.intended.saturating_sub(run.healed).as_secs_f64()
            });
            row.notes
                .push(format!("the last failure is {took:.2} s after healing"));
            (took > seconds).then(|| format!("failures for {took:.1} s after healing"))
        }
        Target::Failed { share } => {
            let safe = run
                .records
                .iter()
                .filter(|record| record.kind.is_idempotent());
            let failed = row.needless as f64 / (safe.count().max(1) as f64);
            (failed > share).then(|| {
                format!(
                    "{:.4} % of idempotent requests failed, not {:.4} %",
                    failed * 100.0,
                    share * 100.0
                )
            })
        }
        Target::InFlight { times } => {
            let most = newcomer(fault, run)?;
            row.notes.push(format!(
                "the newcomer had at most {most:.2} times the others' mean in flight"
            ));
            (most > times).then(|| format!("{most:.2} times the others' mean in flight"))
        }
    }
}

/// What else it says of itself that a reader of this fault wants.
fn notes(fault: &Fault, run: &Run, row: &mut Row) {
    for (wanted, name) in [
        (fault.wants.log, "evenkeel_access_log_written_total"),
        (fault.wants.log, "evenkeel_access_log_dropped_total"),
        (fault.wants.log, "evenkeel_access_log_failures_total"),
        (
            fault.wants.descriptors.is_some(),
            "evenkeel_listener_accept_failures_total",
        ),
        (fault.wants.names, "evenkeel_dns_lookups_total"),
    ] {
        let found = run
            .figures
            .iter()
            .filter(|(key, value)| wanted && key.starts_with(name) && **value > 0.0);
        row.notes
            .extend(found.map(|(key, value)| format!("{key} {value}")));
    }
}

/// What the fleet was asked while the fault lasted.
fn asked(run: &Run) -> f64 {
    let total = |sample: &Sample| sample.backends.iter().map(|said| said.asked).sum::<u64>();
    let at = |when: Duration| {
        let before = run.samples.iter().rfind(|sample| sample.at <= when);
        before.map_or(0, total)
    };
    at(run.healed).saturating_sub(at(run.injected)) as f64
}

/// The share of the faulty ones in the picks from a reading until a window later; with the window's end.
fn share(fault: &Fault, run: &Run, from: usize) -> Option<(f64, Duration)> {
    let first = run.samples.get(from)?;
    let last = run
        .samples
        .iter()
        .find(|sample| sample.at >= first.at + WINDOW)?;
    let grown = |number: usize| {
        let at = |sample: &Sample| sample.picks.get(number).copied().unwrap_or(0);
        at(last).saturating_sub(at(first))
    };
    let total: u64 = (0..last.picks.len()).map(grown).sum();
    let faulty: u64 = fault.faulty.iter().map(|number| grown(*number)).sum();
    (total > 0).then(|| (faulty as f64 / total as f64, last.at))
}

fn first_after(
    fault: &Fault,
    run: &Run,
    (from, until): (Duration, Duration),
    wanted: impl Fn(f64) -> bool,
) -> Option<f64> {
    if fault.faulty.is_empty() {
        return None;
    }
    (0..run.samples.len())
        .filter(|at| run.samples[*at].at >= from)
        .find(|at| share(fault, run, *at).is_some_and(|(share, end)| end <= until && wanted(share)))
        .map(|at| (run.samples[at].at - from).as_secs_f64())
}

fn share_falls(fault: &Fault, run: &Run) -> Option<f64> {
    first_after(fault, run, (run.injected, run.healed), |share| share < 0.01)
}

/// Half of its equal share: what is drawn by chance is seldom exactly fair.
fn share_returns(fault: &Fault, run: &Run) -> Option<f64> {
    let fair = fault.faulty.len() as f64 / fault.backends as f64;
    let whole = (run.healed, Duration::MAX);
    first_after(fault, run, whole, |share| share >= 0.5 * fair)
}

/// The last backend's mean in flight over the others' mean, at most, over windows.
fn newcomer(fault: &Fault, run: &Run) -> Option<f64> {
    let ratios = run.samples.iter().enumerate().filter_map(|(from, first)| {
        let last = run.samples[from..]
            .iter()
            .find(|sample| sample.at >= first.at + WINDOW)?;
        let busy = |number: usize| {
            let at = |sample: &Sample| sample.backends.get(number).map(|said| said.busy);
            Some((at(last)? - at(first)?) as f64)
        };
        let new = busy(fault.backends)?;
        let others: f64 = (0..fault.backends).filter_map(busy).sum();
        let mean = others / fault.backends as f64;
        (mean > 0.0).then(|| new / mean)
    });
    ratios.fold(None, |most, ratio| {
        Some(most.map_or(ratio, |most: f64| most.max(ratio)))
    })
}

/// In milliseconds, of a sorted row.
pub(crate) fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    let found = sorted.get(place.saturating_sub(1));
    found.map_or(0.0, |wait| wait.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::Held;
    use crate::faults::FAULTS;
    use crate::fleet::Said;

    const SECOND: Duration = Duration::from_secs(1);

    /// A run of ten seconds whose fault lasts from the second to the sixth, with a reading each tenth. `picks` says how many the faulty
    /// one and each other have had by then.
    fn run(picks: impl Fn(f64) -> [u64; 2]) -> Run {
        let samples = (0..100).map(|tenth| {
            let at = Duration::from_millis(tenth * 100);
            let [faulty, other] = picks(at.as_secs_f64());
            let picks = vec![faulty, other, other, other, other];
            let backends = picks.iter().map(|asked| Said {
                asked: *asked,
                busy: 0,
            });
            Sample {
                at,
                backends: backends.collect(),
                picks,
            }
        });
        Run {
            records: Vec::new(),
            samples: samples.collect(),
            injected: 2 * SECOND,
            healed: 6 * SECOND,
            before: Held::default(),
            after: Held::default(),
            figures: BTreeMap::new(),
            retried: None,
            exit: Some(0),
            exit_within: None,
            broken_laws: Vec::new(),
        }
    }

    #[test]
    fn when_picks_leave_and_come_back() {
        let kill = FAULTS.iter().find(|fault| fault.name == "kill").unwrap();
        let rate = 100.0;
        for (from, until, out, fair) in [
            // Gone at once, back at once.
            (2.0, 6.0, Some(0.0), Some(0.0)),
            // A second late each. Half of a share is there when half of a window has it.
            (3.0, 7.0, Some(1.0), Some(0.5)),
            // Gone for less than a window: never seen to be out.
            (5.5, 6.0, None, Some(0.0)),
            // Never back.
            (2.0, 99.0, Some(0.0), None),
        ] {
            let seen = run(|at| {
                let without = (at.min(until) - from).max(0.0);
                [(rate * (at - without)) as u64, (rate * at) as u64]
            });
            let row = row(kill, Who::Evenkeel, &seen);
            let near = |seen: Option<f64>, wanted: Option<f64>| match (seen, wanted) {
                (Some(seen), Some(wanted)) => (seen - wanted).abs() < 0.15,
                (seen, wanted) => seen == wanted,
            };
            assert!(near(row.out, out), "{from} {until}: out {:?}", row.out);
            assert!(near(row.fair, fair), "{from} {until}: fair {:?}", row.fair);
        }
    }

    /// A record at a second, and whether `kill` misses a target by it.
    fn check(class: &Class, post: bool, raced: bool, misses: bool) {
        let kill = FAULTS.iter().find(|fault| fault.name == "kill").unwrap();
        let mut seen = run(|at| [(at * 100.0) as u64, (at * 100.0) as u64]);
        let kind = crate::client::Kind::drawn(if post { 99 } else { 0 });
        seen.records.push(Record {
            intended: 3 * SECOND,
            latency: SECOND,
            kind,
            class: class.clone(),
            raced,
        });
        let row = row(kill, Who::Evenkeel, &seen);
        assert_eq!(
            !row.missed.is_empty(),
            misses,
            "{class:?}: {:?}",
            row.missed
        );
    }

    #[test]
    fn what_misses_a_target() {
        check(&Class::Answered, false, false, false);
        check(&Class::Refused, false, false, true);
        check(&Class::Timeout, false, false, true);
        check(
            &Class::Own(502, "connect_failed".into()),
            false,
            false,
            true,
        );
        check(&Class::Backend(503), false, false, true);
        // Nobody may send a POST again, and what had begun is cut visibly.
        check(
            &Class::Own(502, "stale_connection".into()),
            true,
            false,
            false,
        );
        check(&Class::Cut, false, false, false);
        // Whatever looks whole and is not.
        check(&Class::Wrong, false, false, true);
        check(&Class::Wrong, true, false, true);
        // A balancer that closes under a request hides behind its clients.
        check(&Class::Answered, false, true, true);
    }

    #[test]
    fn percentiles() {
        let row: Vec<Duration> = (1..=1000).map(Duration::from_millis).collect();
        for (part, ms) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            assert_eq!(percentile(&row, part), ms, "{part}");
        }
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
