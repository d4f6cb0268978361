//! `evenkeel-chaos`: the shipped binary under load, and what users see of it. `cargo xtask` builds and calls it.
//!
//! One program in several roles. `race` has policies of several balancers beside each other, `tail` has windows that are disturbed beside
//! calm ones and asks what requests wait more, `spread` looks for workers that idle; without such a word it runs the table of faults. `backend` and
//! `servers` are what stands behind. It knows the balancer as a user does: by its files, signals, ports and pages.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool answers on the terminal"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "figures of a run are far below what any of their types holds"
)]

mod faults;
mod setup;

mod balancer;
mod bench;
mod fleet;
mod isolation;
mod life;
mod names;

mod client;
mod load;

mod race;
mod servers;
mod spread;
mod tail;

mod judge;
mod report;

mod backend;
mod clock;
mod cores;
mod machine;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use bench::{Pace, Stage};
use faults::{Act, FAULTS, Fault, Needs};
use judge::Row;
use setup::Who;

/// So long a client waits; in the gate, where no time decides, so long that only what hangs for ever is seen.
const DEADLINE: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(60);

/// The faults of the gate: those whose outcome no clock decides.
const GATE: &[&str] = &["kill", "refused", "rst", "reload"];

/// Requests in a second there: so few that a machine that stands still for a second piles up no more than the retry budget bears.
const GATE_RATE: f64 = 150.0;

const USAGE: &str =
    "evenkeel-chaos --evenkeel PROGRAM [fault ...] [--quick] [--peers] [--gate] [--write FILE]";

/// What is asked for.
struct Asked {
    evenkeel: PathBuf,
    faults: Vec<&'static Fault>,
    quick: bool,
    peers: bool,
    gate: bool,
    isolated: bool,
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((first, rest)) if first == "backend" => backend::run(rest).map(|()| ExitCode::SUCCESS),
        Some((first, rest)) if first == "servers" => servers::run(rest).map(|()| ExitCode::SUCCESS),
        Some((first, rest)) if first == "race" => {
            in_folder(async |folder| race::run(rest, folder).await.map(code))
        }
        Some((first, rest)) if first == "spread" => {
            in_folder(async |folder| spread::run(rest, folder).await.map(code))
        }
        Some((first, rest)) if first == "tail" => {
            in_folder(async |folder| tail::run(rest, folder).await.map(code))
        }
        _ => asked(&words).and_then(|asked| begin(&words, &asked)),
    };
    done.unwrap_or_else(|why| {
        eprintln!("{why}");
        ExitCode::from(2)
    })
}

fn asked(words: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        evenkeel: PathBuf::new(),
        faults: Vec::new(),
        quick: false,
        peers: false,
        gate: false,
        isolated: false,
        page: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut path = || words.next().map(PathBuf::from).ok_or(USAGE);
        match word.as_str() {
            "--evenkeel" => asked.evenkeel = path()?,
            "--write" => asked.page = Some(path()?),
            "--quick" => asked.quick = true,
            "--peers" => asked.peers = true,
            "--gate" => asked.gate = true,
            isolation::MARK => asked.isolated = true,
            name => {
                let fault = FAULTS.iter().find(|fault| fault.name == name);
                let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
                let names = names.join(", ");
                asked.faults.push(
                    fault.ok_or_else(|| {
                        format!("`{name}` is no fault. There are: {names}\n{USAGE}")
                    })?,
                );
            }
        }
    }
    if asked.faults.is_empty() {
        let wanted = |fault: &&Fault| !asked.gate || GATE.contains(&fault.name);
        asked.faults = FAULTS.iter().filter(wanted).collect();
    }
    match asked.evenkeel.exists() {
        true => Ok(asked),
        false => Err(format!(
            "`{}` is no program\n{USAGE}",
            asked.evenkeel.display()
        )),
    }
}

/// In namespaces of our own where that can be; the gate needs none of them.
fn begin(words: &[String], asked: &Asked) -> Result<ExitCode, String> {
    let mut why = String::new();
    if !asked.gate && !asked.isolated {
        match isolation::enter(words) {
            Ok(code) => return Ok(code),
            Err(error) => why = error,
        }
    }
    in_folder(async |folder| all(asked, folder, &why).await)
}

fn code(held: bool) -> ExitCode {
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs something that has a folder while it runs.
fn in_folder(run: impl AsyncFnOnce(&Path) -> Result<ExitCode, String>) -> Result<ExitCode, String> {
    // Each request in flight is a connection here, and one of a backend.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let folder = std::env::temp_dir().join(format!("evenkeel-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let done = runtime.block_on(run(&folder));
    let _ = std::fs::remove_dir_all(&folder);
    done
}

async fn all(asked: &Asked, folder: &Path, not_isolated: &str) -> Result<ExitCode, String> {
    let mut rows: Vec<Row> = Vec::new();
    let mut skipped: Vec<(&'static str, Who, String)> = Vec::new();
    let peers = [
        (Who::Evenkeel, asked.evenkeel.as_path()),
        (Who::Haproxy, Path::new(setup::HAPROXY_PROGRAM)),
        (Who::Nginx, Path::new(setup::NGINX_PROGRAM)),
    ];
    let several = if asked.peers { 3 } else { 1 };
    // Of the beginning: a repository may move on meanwhile.
    let facts = facts(asked);
    println!("{}", report::HEADING);
    for fault in &asked.faults {
        // At the same time, so that the same neighbours disturb them all.
        let mut runs = tokio::task::JoinSet::new();
        for (at, (who, program)) in peers[..several].iter().enumerate() {
            let stage = Stage {
                who: *who,
                program: (*program).to_owned(),
                folder: folder.join(who.word()),
                pace: pace(fault, asked),
                rate: if asked.gate { GATE_RATE } else { fault.rate },
                deadline: if asked.gate { PATIENCE } else { DEADLINE },
            };
            std::fs::create_dir_all(&stage.folder).map_err(|error| error.to_string())?;
            match missing(fault, &stage, asked, not_isolated) {
                Some(why) => {
                    println!("SKIPPED {} {}: {why}", fault.name, who.word());
                    skipped.push((fault.name, *who, why));
                }
                None => {
                    let fault = **fault;
                    runs.spawn(async move { (at, bench::run(&fault, &stage).await) });
                }
            }
        }
        let mut ended = runs.join_all().await;
        ended.sort_by_key(|(at, _)| *at);
        for (at, run) in ended {
            let who = peers[at].0;
            let row = match run {
                Ok(run) => judge::row(fault, who, &run),
                Err(why) => Row::broken(fault.name, who, why),
            };
            println!("{}", report::line(&row));
            rows.push(row);
        }
    }
    if let Some(page) = &asked.page {
        let text = report::page(&rows, &skipped, &facts);
        std::fs::write(page, text).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    let own: Vec<&Row> = rows.iter().filter(|row| row.who == Who::Evenkeel).collect();
    let missed = own.iter().filter(|row| !row.missed.is_empty()).count();
    let without = skipped
        .iter()
        .filter(|(_, who, _)| *who == Who::Evenkeel)
        .count();
    println!(
        "{missed} of {} faults missed a target, {without} skipped",
        own.len()
    );
    // What is quick is no measurement; in the gate only counts are judged.
    Ok(match missed > 0 && !asked.quick {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn facts(asked: &Asked) -> String {
    let command = match asked.quick {
        true => "cargo xtask chaos --peers --quick",
        false => "cargo xtask chaos --peers",
    };
    let said: [(&Path, &[&str]); 3] = [
        (&asked.evenkeel, &["version"]),
        (Path::new(setup::HAPROXY_PROGRAM), &["-v"]),
        (Path::new(setup::NGINX_PROGRAM), &["-v"]),
    ];
    report::facts(command, &said)
}

fn pace(fault: &Fault, asked: &Asked) -> Pace {
    if asked.gate {
        return Pace::Counts([350, 250, 150]);
    }
    let [warm, mut lasts, heals] = if asked.quick { [1, 3, 3] } else { [2, 6, 11] };
    let heals = if fault.faulty.is_empty() {
        4.min(heals)
    } else {
        heals
    };
    // A retry budget keeps up to ten seconds: what is long is to find it full.
    let warm = if fault.lasts > 0 && !asked.quick {
        12
    } else {
        warm
    };
    if fault.lasts > 0 {
        lasts = if asked.quick { 8 } else { fault.lasts };
    }
    Pace::Times([warm, lasts, heals].map(Duration::from_secs))
}

/// Why a fault cannot be tried here.
fn missing(fault: &Fault, stage: &Stage, asked: &Asked, not_isolated: &str) -> Option<String> {
    if stage.who != Who::Evenkeel && !fault.alone.is_empty() {
        return Some(fault.alone.to_owned());
    }
    let upgrades = fault
        .acts
        .iter()
        .any(|(_, act)| matches!(act, Act::Upgrade));
    if stage.who == Who::Nginx && upgrades {
        return Some("nginx in the foreground does not heed the signal".to_owned());
    }
    if !stage.program.exists() {
        return Some(format!("{} is not installed", stage.program.display()));
    }
    match fault.needs {
        Needs::Nothing => None,
        Needs::Packets | Needs::Mounts if !asked.isolated => Some(not_isolated.to_owned()),
        Needs::Packets => isolation::can_drop(stage.who.word()).err(),
        Needs::Mounts => None,
        Needs::Faketime => (!Path::new(balancer::FAKETIME).exists())
            .then(|| "libfaketime is not installed (Debian: faketime)".to_owned()),
    }
}
