//! Owns what a disturbance makes requests wait: steady load through an instance with 10,000 backends, half of it over these, in short windows that
//! are calm or disturbed in one way, in pairs whose order is drawn.
//!
//! The same generator asks a server past the balancer at the same time. What that sees too is the machine's doing and nobody else's. How windows are
//! judged: `tail/pairs.rs`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::Class;
use crate::clock::Start;
use crate::judge::percentile;
use crate::life::Life;
use crate::load::{Load, Mix, Record, Terms};
use crate::machine::Busy;
use crate::race::figures::median;
use crate::report;

/// The instance that is disturbed.
mod instance;

/// What windows in pairs say.
mod pairs;

use instance::Instance;
use pairs::{Added, Verdict};

/// Requests in a second, through the balancer and past it.
const RATE: f64 = 1_000.0;

/// A wait that counts as one, in milliseconds.
const LONG: f64 = 5.0;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(2);

/// Between two of them: so long what was done in the one before may last, as backends that came warm up for a second.
const GAP: Duration = Duration::from_millis(1_200);

/// The same where a reload turns checks on or off there, and all are checked for the first time.
const GAP_OF_CHECKS: Duration = Duration::from_secs(3);

/// Draws the order within the pairs.
const SEED: u64 = 13;

const USAGE: &str =
    "evenkeel-chaos tail --evenkeel PROGRAM [disturbance ...] [--quick] [--write FILE]";

/// What is done to the instance while it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    Nothing,
    /// Half of the backends are others, each second.
    Reload,
    /// Each backend is asked each five seconds.
    Checks,
    /// `/metrics` is read twice a second.
    Scrape,
    /// The access log is renamed and opened anew ten times a second.
    Rotate,
}

const ALL: [(&str, Disturbance, &str); 5] = [
    ("nothing", Disturbance::Nothing, "nothing is done"),
    (
        "reload",
        Disturbance::Reload,
        "each second a reload, by which half of 10,000 backends are others",
    ),
    (
        "checks",
        Disturbance::Checks,
        "10,000 backends are checked by HTTP each 5 s",
    ),
    (
        "scrape",
        Disturbance::Scrape,
        "`/metrics` with 10,000 backends is read each 0.5 s",
    ),
    (
        "rotate",
        Disturbance::Rotate,
        "the access log, of every request, is renamed and opened anew each 0.1 s",
    ),
];

/// The waits of one phase, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    p999: f64,
    most: f64,
    /// How many in a thousand were long.
    long: f64,
    failed: f64,
}

impl Waits {
    fn of<'r>(records: impl Iterator<Item = &'r Record>) -> Self {
        let (mut waits, mut failed) = (Vec::new(), 0.0);
        for record in records {
            waits.push(record.latency);
            failed += f64::from(u8::from(record.class != Class::Answered));
        }
        waits.sort_unstable();
        let long = waits.iter().filter(|wait| wait.as_secs_f64() * 1e3 > LONG);
        Self {
            p999: percentile(&waits, 0.999),
            most: waits.last().map_or(0.0, |most| most.as_secs_f64() * 1e3),
            long: long.count() as f64 * 1e3 / waits.len().max(1) as f64,
            failed,
        }
    }
}

/// One window, through the balancer and past it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    through: Waits,
    past: Waits,
}

/// One calm, one disturbed.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    calm: Seen,
    disturbed: Seen,
}

/// All windows of one disturbance.
#[derive(Clone, Debug, Default)]
struct Run {
    pairs: Vec<Pair>,
    busy: f64,
}

impl Run {
    /// What is added to a figure.
    fn added(&self, figure: fn(&Waits) -> f64) -> Added {
        let own = |seen: &Seen| figure(&seen.through) - figure(&seen.past);
        let added = |pair: &Pair| own(&pair.disturbed) - own(&pair.calm);
        Added::of(self.pairs.iter().map(added).collect())
    }

    /// A figure of one kind of windows.
    fn of(&self, window: fn(&Pair) -> &Waits, figure: fn(&Waits) -> f64) -> Vec<f64> {
        let windows = self.pairs.iter().map(window);
        windows.map(figure).collect()
    }

    fn failed(&self) -> f64 {
        let failed = |seen: &Seen| seen.through.failed;
        let both = |pair: &Pair| failed(&pair.calm) + failed(&pair.disturbed);
        self.pairs.iter().map(both).sum()
    }

    fn verdict(&self) -> Verdict {
        let calm = mean(&self.of(|pair| &pair.calm.through, |waits| waits.long));
        match () {
            () if self.failed() > 0.0 => Verdict::Missed,
            () if calm > pairs::CROWDED => Verdict::Open,
            () => self.added(|waits| waits.long).verdict(pairs::MOST),
        }
    }
}

/// Runs what these words ask for. False: a disturbance adds more than it may.
pub(crate) async fn run(words: &[String], folder: &Path) -> Result<bool, String> {
    let (mut program, mut page, mut quick) = (PathBuf::new(), None, false);
    let mut wanted = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--evenkeel" => program = words.next().ok_or(USAGE)?.into(),
            "--write" => page = Some(PathBuf::from(words.next().ok_or(USAGE)?)),
            "--quick" => quick = true,
            name => {
                let found = ALL.iter().find(|one| one.0 == name);
                wanted.push(*found.ok_or_else(|| format!("`{name}` is none\n{USAGE}"))?);
            }
        }
    }
    if wanted.is_empty() {
        wanted = ALL.to_vec();
    }
    let pairs = if quick { 2 } else { 10 };
    let command = if quick {
        "cargo xtask tail --quick"
    } else {
        "cargo xtask tail"
    };
    let facts = report::facts(command, &[(&program, &["version"])]);
    println!("{facts}");
    let mut seen = Vec::new();
    for (name, disturbance, _) in &wanted {
        let run = once(&program, *disturbance, pairs, folder).await?;
        println!("{}", line(name, &run));
        seen.push(run);
    }
    let (text, held) = table(&wanted, &seen, &facts);
    println!("\n{text}");
    if let Some(page) = page {
        std::fs::write(&page, &text).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    Ok(held || quick)
}

async fn once(
    program: &Path,
    disturbance: Disturbance,
    pairs: usize,
    folder: &Path,
) -> Result<Run, String> {
    let (_servers, said) = Life::begin(&["servers", "4", "0", "0", "0"]).await?;
    let addresses = |said: &str| -> Vec<SocketAddr> {
        let words = said.split(' ');
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let servers = addresses(&said);
    let (_everybody, said) = Life::begin(&["servers", "1", "0", "0", "0", "everywhere"]).await?;
    let port = addresses(&said).first().map_or(0, SocketAddr::port);
    let one = Instance::start(program, disturbance, folder, &servers, port).await?;
    let start = Start::now();
    let begin = |addresses: Vec<SocketAddr>, seed| {
        let terms = Terms {
            addresses,
            rate: RATE,
            deadline: Duration::from_secs(5),
            seed,
            mix: Mix::Small,
        };
        Load::start(terms, start)
    };
    let (through, past) = (begin(vec![one.listen], 11), begin(servers.clone(), 12));
    start.until(WINDOW).await;
    let busy = Busy::now();
    let began = windows(&one, disturbance, pairs, start).await?;
    let busy = busy.since();
    let (through, past) = (through.end().await, past.end().await);
    let expected = match disturbance {
        Disturbance::Reload => pairs as f64 * WINDOW.as_secs_f64() * 0.8,
        Disturbance::Checks => 2.0 * pairs as f64,
        _ => 0.0,
    };
    let reloads = one.reloads().await?;
    if reloads < expected {
        return Err(format!("{reloads} reloads were taken, not {expected}"));
    }
    let within = |records: &[Record], from: Duration| {
        let of = records.iter();
        Waits::of(of.filter(|one| one.intended >= from && one.intended < from + WINDOW))
    };
    let seen = |from: Duration| Seen {
        through: within(&through, from),
        past: within(&past, from),
    };
    let pair = |[calm, disturbed]: &[Duration; 2]| Pair {
        calm: seen(*calm),
        disturbed: seen(*disturbed),
    };
    Ok(Run {
        pairs: began.iter().map(pair).collect(),
        busy,
    })
}

/// Goes through all windows. Says when those of each pair began: the calm one, the disturbed one.
async fn windows(
    one: &Instance,
    disturbance: Disturbance,
    pairs: usize,
    start: Start,
) -> Result<Vec<[Duration; 2]>, String> {
    let (mut chance, mut turn) = (fastrand::Rng::with_seed(SEED), 1);
    let mut began = Vec::new();
    for _ in 0..pairs {
        let mut pair = [Duration::ZERO; 2];
        let first = chance.bool();
        for disturbed in [first, !first] {
            let mut from = start.passed() + GAP;
            if disturbance == Disturbance::Checks {
                one.reload(0, disturbed)?;
                from = start.passed() + GAP_OF_CHECKS;
            }
            start.until(from).await;
            // As a window begins with what is done in it, and not with when that was to be.
            from = start.passed();
            pair[usize::from(disturbed)] = from;
            let end = from + WINDOW;
            if disturbed {
                one.disturb(disturbance, &mut turn, (start, end)).await?;
            } else if disturbance == Disturbance::Reload {
                // What this program does for it is done in both.
                one.write(turn, false)?;
            }
            start.until(end).await;
        }
        began.push(pair);
    }
    Ok(began)
}

fn line(name: &str, run: &Run) -> String {
    let added = run.added(|waits| waits.long);
    format!(
        "{name:<8} adds {} in 1,000 over {LONG} ms, {:.2} of all, {} ms to p99.9: {} ({} failed; {:.0} % of the machine busy)",
        added.shown(),
        added.all,
        run.added(|waits| waits.p999).shown(),
        run.verdict().words(),
        run.failed(),
        run.busy * 100.0
    )
}

const INTRODUCTION: &str = "# What a disturbance makes requests wait

Generated by `cargo xtask tail`; do not edit. 1,000 requests per second in an open loop, of a few bytes, half of them over four servers that
answer at once, half over 10,000 (`slow_start` 1 s), through an instance with two workers. Windows of 2 s, disturbed in one way or calm, come in pairs whose order is
drawn. Latency counts from when a request was to be sent to its response head. **past** is what the same generator sees of a server that it asks
directly at the same time: the machine's and its own. **adds** is the mean over the pairs of disturbed less calm, less the same past the balancer, without a fifth of the
pairs at either end, with its 95 % interval; **of all** is the mean with these, **worst** the largest. At most 0.1 in 1,000 requests may be made to wait for more than 5 ms: `reached` and `MISSED` are said where the whole
interval says so, and `reached` where **of all** does too; `nothing` is what the method makes of no disturbance at all. The longest waits, and p99.9, are information.
";

/// Which waits of a pair.
type Of = fn(&Pair) -> &Waits;

/// The page, and whether no target was missed.
fn table(wanted: &[(&str, Disturbance, &str)], seen: &[Run], facts: &str) -> (String, bool) {
    let mut text = format!(
        "{INTRODUCTION}\n{facts}\n\n| disturbed by | over 5 ms in 1,000: calm | past | disturbed | past | adds | of all | worst | p99.9 ms: calm | disturbed | adds | longest ms: calm | disturbed | past | failed | |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
    );
    let mut held = true;
    let calm: Of = |pair| &pair.calm.through;
    let disturbed: Of = |pair| &pair.disturbed.through;
    let calm_past: Of = |pair| &pair.calm.past;
    let past: Of = |pair| &pair.disturbed.past;
    for ((name, disturbance, does), run) in wanted.iter().zip(seen) {
        let verdict = run.verdict();
        held &= verdict != Verdict::Missed || *disturbance == Disturbance::Nothing;
        let added = run.added(|waits| waits.long);
        let long = |window| mean(&run.of(window, |waits| waits.long));
        let p999 = |window| median(run.of(window, |waits| waits.p999));
        let most = |window| {
            run.of(window, |waits| waits.most)
                .into_iter()
                .fold(0.0, f64::max)
        };
        text += &format!(
            "| {name}: {does} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.1} | {:.1} | {:.1} | {} | {} |\n",
            long(calm),
            long(calm_past),
            long(disturbed),
            long(past),
            added.shown(),
            added.all,
            added.worst,
            p999(calm),
            p999(disturbed),
            run.added(|waits| waits.p999).shown(),
            most(calm),
            most(disturbed),
            most(past),
            run.failed(),
            verdict.words()
        );
    }
    (text, held)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten pairs of windows: long waits in a thousand, calm and disturbed, through the balancer; and in all windows past it.
    fn run(calm: f64, disturbed: f64, past: f64, failed: f64) -> Run {
        let seen = |long: f64, failed: f64| Waits {
            long,
            failed,
            ..Waits::default()
        };
        let window = |long: f64| Seen {
            through: seen(long + past, failed),
            past: seen(past, 0.0),
        };
        let pair = Pair {
            calm: window(calm),
            disturbed: window(disturbed),
        };
        Run {
            pairs: vec![pair; 10],
            busy: 0.0,
        }
    }

    #[test]
    fn what_the_machine_does_to_both_is_nobodys() {
        for (calm, disturbed, past, failed, expect) in [
            (0.0, 0.0, 0.0, 0.0, Verdict::Reached),
            (1.0, 1.0, 40.0, 0.0, Verdict::Reached),
            (0.0, 3.0, 40.0, 0.0, Verdict::Missed),
            // Who is late anyway shows nothing.
            (1.0, 1.0, 90.0, 0.0, Verdict::Open),
            (900.0, 900.0, 0.0, 0.0, Verdict::Open),
            (3.0, 0.0, 0.0, 0.0, Verdict::Reached),
            (0.0, 0.0, 0.0, 1.0, Verdict::Missed),
        ] {
            assert_eq!(run(calm, disturbed, past, failed).verdict(), expect);
        }
    }

    #[test]
    fn the_page_says_what_was_missed() {
        let wanted = [ALL[0], ALL[1]];
        let quiet = run(0.0, 0.0, 0.0, 0.0);
        let (text, held) = table(&wanted, &[run(0.0, 9.0, 0.0, 0.0), quiet.clone()], "");
        assert!(held, "nothing is done to it, so that nothing can be missed");
        assert!(text.contains("| 9.00 (9.00 to 9.00) |"), "{text}");
        let (text, held) = table(&wanted, &[quiet, run(0.0, 9.0, 0.0, 0.0)], "");
        assert!(!held && text.contains("| MISSED |"), "{text}");
    }
}
