//! Owns the longest wait: steady load through an instance with 10,000 backends, half of it over these, first left alone, then disturbed in one way.
//!
//! The same generator asks a server past the balancer at the same time. What that sees too is the machine's doing and nobody else's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::balancer::{free, lines, page};
use crate::client::Class;
use crate::clock::Start;
use crate::judge::percentile;
use crate::life::Life;
use crate::load::{Load, Mix, Record, Terms};
use crate::machine::Busy;
use crate::race::figures::median;
use crate::report;

/// Backends beside those that are asked.
const BACKENDS: usize = 10_000;

/// Requests in a second, through the balancer and past it.
const RATE: f64 = 1_000.0;

/// What a disturbance may add to the longest wait, in milliseconds.
const MOST: f64 = 5.0;

/// So long the instance may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

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
    p50: f64,
    p999: f64,
    most: f64,
    /// How many were longer than what may be added.
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
        let long = waits.iter().filter(|wait| wait.as_secs_f64() * 1e3 > MOST);
        Self {
            p50: percentile(&waits, 0.5),
            p999: percentile(&waits, 0.999),
            most: waits.last().map_or(0.0, |most| most.as_secs_f64() * 1e3),
            long: long.count() as f64,
            failed,
        }
    }

    fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure).collect());
        Self {
            p50: of(|one| one.p50),
            p999: of(|one| one.p999),
            most: of(|one| one.most),
            long: of(|one| one.long),
            failed: of(|one| one.failed),
        }
    }
}

/// Both phases, through the balancer and past it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    quiet: Waits,
    disturbed: Waits,
    quiet_past: Waits,
    disturbed_past: Waits,
    busy: f64,
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
    let (times, lasts) = if quick { (1, 4) } else { (3, 8) };
    let lasts = Duration::from_secs(lasts);
    let command = if quick {
        "cargo xtask tail --quick"
    } else {
        "cargo xtask tail"
    };
    let facts = report::facts(command, &[(&program, &["version"])]);
    println!("{facts}");
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); wanted.len()];
    for time in 0..times {
        for (at, (name, disturbance, _)) in wanted.iter().enumerate() {
            let one = once(&program, *disturbance, lasts, folder).await?;
            println!("{}", line(name, &one));
            if time == 0 {
                println!("  ({:.0} % of the machine busy)", one.busy * 100.0);
            }
            seen[at].push(one);
        }
    }
    let (text, held) = table(&wanted, &seen, &facts);
    println!("\n{text}");
    if let Some(page) = page {
        std::fs::write(&page, &text).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    Ok(held || quick)
}

/// The instance of a run.
struct Instance {
    child: Child,
    pid: Pid,
    file: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
    log: Option<PathBuf>,
    /// Those that answer.
    servers: Vec<SocketAddr>,
    /// The port at which everybody else answers.
    port: u16,
}

impl Instance {
    /// How many reloads it has taken.
    async fn reloads(&self) -> Result<f64, String> {
        let page = page(self.admin, "/metrics").await;
        let figures = lines(&page.map_err(|error| format!("its page: {error}"))?);
        let taken = figures.get("evenkeel_reloads_total{result=\"taken\"}");
        Ok(taken.copied().unwrap_or(0.0))
    }

    async fn start(
        program: &Path,
        disturbance: Disturbance,
        folder: &Path,
        servers: &[SocketAddr],
        port: u16,
    ) -> Result<Self, String> {
        let (listen, admin) = (free()?, free()?);
        let file = folder.join(format!("tail-{}.yaml", listen.port()));
        let log = folder.join("access.log");
        let text = |of: &Self| of.text(0, false);
        let mut of = Self {
            child: Command::new("true")
                .spawn()
                .map_err(|error| error.to_string())?,
            pid: rustix::process::getpid(),
            file: file.clone(),
            listen,
            admin,
            log: (disturbance == Disturbance::Rotate).then_some(log),
            servers: servers.to_vec(),
            port,
        };
        std::fs::write(&file, text(&of)).map_err(|error| error.to_string())?;
        of.child = Command::new(program)
            .arg("run")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let pid = of.child.id().and_then(|id| Pid::from_raw(id as i32));
        of.pid = pid.ok_or("it ended at once")?;
        let start = Start::now();
        while TcpStream::connect(listen).await.is_err() {
            if start.passed() > PATIENCE {
                return Err("it does not listen".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(of)
    }

    /// Its configuration; `turn` says which half of the backends it has.
    fn text(&self, turn: usize, checked: bool) -> String {
        let mut text = format!(
            "admin: {{ bind: \"{}\" }}\nworkers: 2\nlisteners: {{ web: {{ bind: \"{}\" }} }}\n",
            self.admin, self.listen
        );
        if let Some(log) = &self.log {
            text += &format!("access_log: {{ to: \"{}\" }}\n", log.display());
        }
        let ids: Vec<String> = self.servers.iter().map(|at| format!("\"{at}\"")).collect();
        text += &format!(
            "services:\n  api: {{ backends: [{}] }}\n  many:\n",
            ids.join(", ")
        );
        if checked {
            text += "    health: { http: { path: /health } }\n";
        }
        text += "    backends:\n";
        // One half stays, the other is one of two.
        let half = BACKENDS / 2;
        let numbers = (0..half).chain((1 + turn % 2) * half..(2 + turn % 2) * half);
        for number in numbers {
            let (high, low) = (number / 250, number % 250 + 1);
            text += &format!("      - \"127.100.{high}.{low}:{}\"\n", self.port);
        }
        text + "rules: [{ name: all, forward: { api: 50, many: 50 } }]\n"
    }

    fn reload(&self, turn: usize, checked: bool) -> Result<(), String> {
        std::fs::write(&self.file, self.text(turn, checked)).map_err(|error| error.to_string())?;
        self.signal(Signal::HUP)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(self.pid, signal).map_err(|error| format!("it is gone: {error}"))
    }

    /// Disturbs it until then.
    async fn disturb(
        &self,
        disturbance: Disturbance,
        start: Start,
        until: Duration,
    ) -> Result<(), String> {
        let every = Duration::from_millis(match disturbance {
            Disturbance::Nothing | Disturbance::Checks => {
                start.until(until).await;
                return Ok(());
            }
            Disturbance::Reload => 1_000,
            Disturbance::Scrape => 500,
            Disturbance::Rotate => 100,
        });
        let mut turn = 1;
        while start.passed() < until {
            let next = start.passed() + every;
            match (disturbance, &self.log) {
                (Disturbance::Reload, _) => self.reload(turn, false)?,
                // In a process of its own: what is read here would disturb the generator.
                (Disturbance::Scrape, _) => {
                    let page = format!("http://{}/metrics", self.admin);
                    let read = Command::new("curl")
                        .args(["-s", "-f", "-o", "/dev/null", &page])
                        .status();
                    let read = read.await.map_err(|error| format!("curl: {error}"))?;
                    if !read.success() {
                        return Err("its page does not come".to_owned());
                    }
                }
                (Disturbance::Rotate, Some(log)) => {
                    std::fs::rename(log, log.with_extension("1"))
                        .map_err(|error| format!("{}: {error}", log.display()))?;
                    self.signal(Signal::USR1)?;
                }
                _ => {}
            }
            turn += 1;
            start.until(next).await;
        }
        Ok(())
    }
}

async fn once(
    program: &Path,
    disturbance: Disturbance,
    lasts: Duration,
    folder: &Path,
) -> Result<Seen, String> {
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
    let warm = Duration::from_secs(2);
    start.until(warm).await;
    start.until(warm + lasts).await;
    if disturbance == Disturbance::Checks {
        one.reload(0, true)?;
    }
    // The reload that turns checks on is no part of them, nor is what they find first.
    let from = warm + lasts + Duration::from_secs(2);
    start.until(from).await;
    let busy = Busy::now();
    one.disturb(disturbance, start, from + lasts).await?;
    let busy = busy.since();
    let (through, past) = (through.end().await, past.end().await);
    let expected = match disturbance {
        Disturbance::Reload => lasts.as_secs_f64() * 0.8,
        Disturbance::Checks => 1.0,
        _ => 0.0,
    };
    let reloads = one.reloads().await?;
    if reloads < expected {
        return Err(format!("{reloads} reloads were taken, not {expected}"));
    }
    let within = |records: &[Record], from: Duration| {
        let of = records.iter();
        Waits::of(of.filter(|one| one.intended >= from && one.intended < from + lasts))
    };
    Ok(Seen {
        quiet: within(&through, warm),
        disturbed: within(&through, from),
        quiet_past: within(&past, warm),
        disturbed_past: within(&past, from),
        busy,
    })
}

fn line(name: &str, one: &Seen) -> String {
    let waits = |waits: &Waits| {
        format!(
            "p50 {:.2} p99.9 {:.2} most {:.2} ms ({} over {MOST} ms, {} failed)",
            waits.p50, waits.p999, waits.most, waits.long, waits.failed
        )
    };
    format!(
        "{name:<8} quiet {}; disturbed {}; past it quiet {:.2}, disturbed {:.2} ms",
        waits(&one.quiet),
        waits(&one.disturbed),
        one.quiet_past.most,
        one.disturbed_past.most
    )
}

const INTRODUCTION: &str = "# The longest wait while an instance is disturbed

Generated by `cargo xtask tail`; do not edit. 1,000 requests per second in an open loop, of a few bytes, half of them over four servers that
answer at once, half over 10,000, through an instance with two workers: first left alone, then disturbed in one way. Latency counts from when a request was to be
sent to its response head; **most** is the longest of 8,000. **past** is the longest of as many that the same generator sends to a server
directly at the same time: what that has, too, is the machine's and the generator's. Medians of the runs.
";

/// The page, and whether all targets were reached.
fn table(wanted: &[(&str, Disturbance, &str)], seen: &[Vec<Seen>], facts: &str) -> (String, bool) {
    let mut text = format!(
        "{INTRODUCTION}\n{facts}\n\n| disturbed by | p50 ms | p99.9 ms | most ms | past, most ms | over 5 ms | failed | adds ms | |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|---|\n"
    );
    let mut held = true;
    for ((name, disturbance, does), runs) in wanted.iter().zip(seen) {
        let of = |figure: fn(&Seen) -> Waits| {
            Waits::median(&runs.iter().map(figure).collect::<Vec<_>>())
        };
        let (quiet, disturbed) = (of(|run| run.quiet), of(|run| run.disturbed));
        let (quiet_past, past) = (of(|run| run.quiet_past), of(|run| run.disturbed_past));
        let adds = disturbed.most - quiet.most;
        let reached = adds <= MOST && disturbed.failed == 0.0;
        held &= reached || *disturbance == Disturbance::Nothing;
        let verdict = match (disturbance, reached) {
            (Disturbance::Nothing, _) => "",
            (_, true) => "reached",
            (_, false) if past.most - quiet_past.most > MOST => "MISSED; DOUBTFUL: past it, too",
            (_, false) => "MISSED",
        };
        let row = |what: &str, waits: &Waits, past: &Waits, adds: &str, verdict: &str| {
            format!(
                "| {what} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {adds} | {verdict} |\n",
                waits.p50, waits.p999, waits.most, past.most, waits.long, waits.failed
            )
        };
        text += &row(&format!("before {name}"), &quiet, &quiet_past, "", "");
        text += &row(
            &format!("{name}: {does}"),
            &disturbed,
            &past,
            &format!("{adds:.2}"),
            verdict,
        );
    }
    (text, held)
}
