//! Owns `backends`, `services` and `listeners`: what an operator changes of a running instance, as a client of its API.

/// Who the backends are, and how they are held to be.
mod edits;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use evenkeel_config::problem::plainly;
use evenkeel_control::clock::Clock;
use serde_json::Value;

use crate::client::{Admin, At, part};
use crate::table::{cell, table};
use crate::{json, look, say};

/// The drain's deadline passed with work unfinished, as with `run`.
const CUT: u8 = 3;

/// How often it is looked whether anything is left.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct Waiting {
    /// Return when nothing is in flight any more, or the drain's deadline has cut what was left
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
pub(crate) struct Backend {
    /// Its service
    service: String,
    /// Its id
    backend: String,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub(crate) struct Service {
    /// Its name
    service: String,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub(crate) struct Listener {
    /// Its name
    listener: String,
    #[command(flatten)]
    at: At,
}

#[derive(Subcommand)]
pub(crate) enum Backends {
    /// Send nothing new to a backend; what is under way may take as long as `drain` of its service
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, or serves again or leaves the configuration while it is waited for, 2 wrong usage, 3
    /// with `--wait`, the deadline has cut what was left.
    Drain {
        #[command(flatten)]
        backend: Backend,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Let a backend serve, whatever the configuration says
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Enable {
        #[command(flatten)]
        backend: Backend,
    },
    /// Take a backend out: as `drain`, and who returns from it is not held to what its breaker knew
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, or serves again or leaves the configuration while it is waited for, 2 wrong usage, 3
    /// with `--wait`, the deadline has cut what was left.
    Disable {
        #[command(flatten)]
        backend: Backend,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Show backends: standing, why, tier, weight, what is in flight
    ///
    /// Exit code: 0, 1 it cannot be asked or has no such service, 2 wrong usage.
    List {
        /// Of this service only
        service: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show all that is known of one backend: standing, checks, breaker, attempts, latency, shares
    ///
    /// Exit code: 0, 1 it cannot be asked or has no such backend, 2 wrong usage.
    Show {
        #[command(flatten)]
        backend: Backend,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a backend to a service, beside what the configuration lists
    ///
    /// It holds over reloads and, with `--state-dir`, over starts, as long as the configuration does not say otherwise. Exit code: 0, 1 it cannot be
    /// asked or refuses, 2 wrong usage.
    Add(edits::Add),
    /// Take a backend away; what it has in flight may take as long as `drain` of its service
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Remove {
        #[command(flatten)]
        backend: Backend,
    },
    /// Change a backend's weight
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Weight(edits::Weight),
    /// Say by hand whether a backend is well, against checks and traffic
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Verdict(edits::Verdict),
}

#[derive(Subcommand)]
pub(crate) enum Services {
    /// Show services: policy, healthy backends, answers, retries, latency
    ///
    /// Exit code: 0, 1 it cannot be asked, 2 wrong usage.
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Drain all backends of a service, those to come too
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, or serves again or leaves the configuration while it is waited for, 2 wrong usage, 3
    /// with `--wait`, the deadline has cut what was left.
    Drain {
        #[command(flatten)]
        service: Service,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Let a service serve again
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Enable {
        #[command(flatten)]
        service: Service,
    },
    /// Check all backends of a service now
    ///
    /// Exit code: 0, 1 it cannot be asked or has no checks, 2 wrong usage.
    Check {
        #[command(flatten)]
        service: Service,
    },
}

#[derive(Subcommand)]
pub(crate) enum Listeners {
    /// Take no more connections; those that are open end with the exchange that they carry, tunnels with themselves
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Drain {
        #[command(flatten)]
        listener: Listener,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Listen again
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Enable {
        #[command(flatten)]
        listener: Listener,
    },
}

/// What is changed.
enum What<'a> {
    Backend(&'a str, &'a str),
    Service(&'a str),
    Listener(&'a str),
}

pub(crate) fn backends(command: &Backends) -> ExitCode {
    let (backend, verb, wait) = match command {
        Backends::Drain { backend, waiting } => (backend, "drain", waiting.wait),
        Backends::Disable { backend, waiting } => (backend, "disable", waiting.wait),
        Backends::Enable { backend } => (backend, "enable", false),
        Backends::List { service, json, at } => {
            return exit(list(&at.admin(), service.as_deref(), *json));
        }
        Backends::Show { backend, json } => {
            let path = What::Backend(&backend.service, &backend.backend).path();
            return exit(look::backend(&backend.at.admin(), &path, *json));
        }
        Backends::Add(wanted) => return edits::add(wanted),
        Backends::Remove { backend } => return edits::remove(backend),
        Backends::Weight(wanted) => return edits::weight(wanted),
        Backends::Verdict(wanted) => return edits::verdict(wanted),
    };
    let what = What::Backend(&backend.service, &backend.backend);
    exit(change(&backend.at.admin(), &what, verb, wait))
}

pub(crate) fn services(command: &Services) -> ExitCode {
    let (service, verb, wait) = match command {
        Services::List { json, at } => return exit(look::services(&at.admin(), *json)),
        Services::Drain { service, waiting } => (service, "drain", waiting.wait),
        Services::Enable { service } => (service, "enable", false),
        Services::Check { service } => return edits::check(service),
    };
    let what = What::Service(&service.service);
    exit(change(&service.at.admin(), &what, verb, wait))
}

pub(crate) fn listeners(command: &Listeners) -> ExitCode {
    let (listener, verb, wait) = match command {
        Listeners::Drain { listener, waiting } => (listener, "drain", waiting.wait),
        Listeners::Enable { listener } => (listener, "enable", false),
    };
    let what = What::Listener(&listener.listener);
    exit(change(&listener.at.admin(), &what, verb, wait))
}

pub(crate) fn exit(ended: Result<ExitCode, String>) -> ExitCode {
    ended.unwrap_or_else(|why| {
        say::log(&why);
        ExitCode::FAILURE
    })
}

impl What<'_> {
    fn path(&self) -> String {
        match self {
            Self::Backend(service, backend) => {
                let (service, backend) = (part(service), part(backend));
                format!("/v1/services/{service}/backends/{backend}")
            }
            Self::Service(service) => format!("/v1/services/{}", part(service)),
            Self::Listener(listener) => format!("/v1/listeners/{}", part(listener)),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Backend(service, backend) => format!("backend {backend} of {service}"),
            Self::Service(service) => format!("service {service}"),
            Self::Listener(listener) => format!("listener {listener}"),
        }
    }

    /// How it stands there, by the status.
    fn seen(&self, status: &Value) -> Seen {
        let named = |list: &Value, key: &str, name: &str| -> Option<Value> {
            let mut all = list.as_array()?.iter();
            all.find(|one| one[key] == name).cloned()
        };
        let backends = |service: &str| {
            let service = named(&status["services"], "name", service);
            service.map(|service| service["backends"].clone())
        };
        let all = match self {
            Self::Backend(service, backend) => {
                let all = backends(service);
                all.and_then(|all| named(&all, "id", backend))
                    .map(|one| vec![one])
            }
            Self::Service(service) => backends(service).and_then(|all| all.as_array().cloned()),
            Self::Listener(listener) => {
                let one = named(&status["listeners"], "name", listener);
                return one.map_or(Seen::Gone, |one| match one["draining"] == true {
                    true => Seen::Drains(one["connections"].as_u64().unwrap_or_default()),
                    false => Seen::Serves,
                });
            }
        };
        let Some(all) = all else { return Seen::Gone };
        let drains =
            |one: &Value| matches!(one["standing"].as_str(), Some("draining" | "disabled"));
        match all.iter().all(drains) {
            true => Seen::Drains(all.iter().filter_map(|one| one["in_flight"].as_u64()).sum()),
            false => Seen::Serves,
        }
    }
}

/// What is waited for, now.
enum Seen {
    /// So much is in flight.
    Drains(u64),
    /// Somebody has enabled it meanwhile.
    Serves,
    /// It has left the configuration, with what is in flight.
    Gone,
}

fn change(admin: &Admin, what: &What<'_>, verb: &str, wait: bool) -> Result<ExitCode, String> {
    let done = admin.ask("POST", &format!("{}/{verb}", what.path()))?;
    let left = done["in_flight"].as_u64().unwrap_or_default();
    let state = done["state"].as_str().unwrap_or(verb);
    let already = match done["changed"].as_bool() {
        Some(false) => " already",
        _ => "",
    };
    let within = done["cut_after_seconds"].as_f64();
    let until = within.map_or_else(String::new, |within| {
        format!("; what is left is cut in {within:.0} s")
    });
    let in_flight = match what {
        What::Listener(_) => "connections open",
        _ => "in flight",
    };
    let name = what.name();
    say::out(&plainly(&format!(
        "{name} is {state}{already}, {left} {in_flight}{until}"
    )));
    say::out("\n");
    let before = predecessors(&done);
    if before > 0 && verb != "enable" {
        let still = match before {
            1 => "a process that drains since an upgrade".into(),
            many => format!("{many} processes that drain since upgrades"),
        };
        say::out(&format!("{still} may have more there\n"));
    }
    if !wait || (left == 0 && before == 0) {
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot wait: {error}"))?;
    runtime.block_on(waited(admin, what, within))
}

/// Processes that the one that answers took over from, and that have not ended.
fn predecessors(answer: &Value) -> u64 {
    answer["predecessors"].as_u64().unwrap_or_default()
}

/// Waits until nothing is in flight, nor may be in a process that was upgraded: those end by their own deadline, and know nothing
/// of this. Past the deadline, what was left here has been cut.
async fn waited(admin: &Admin, what: &What<'_>, within: Option<f64>) -> Result<ExitCode, String> {
    let clock = Clock::start();
    let deadline = within.and_then(|within| Duration::try_from_secs_f64(within).ok());
    let deadline = deadline.map(|within| clock.now() + within);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut ended = None;
    loop {
        looks.tick().await;
        let status = admin.ask("GET", "/v1/status")?;
        let name = what.name();
        match what.seen(&status) {
            Seen::Drains(0) => ended = ended.or_else(|| Some(clock.now())),
            Seen::Drains(_) => {}
            // Nothing that is seen of it says when it is empty.
            Seen::Serves => {
                return Err(format!(
                    "{name} serves again: it was enabled meanwhile, or started anew"
                ));
            }
            Seen::Gone => {
                return Err(format!(
                    "{name} has left the configuration; what is in flight there ends, or is cut, as a drain says"
                ));
            }
        }
        if let Some(ended) = ended.filter(|_| predecessors(&status) == 0) {
            let cut = deadline.is_some_and(|deadline| ended >= deadline);
            say::out(if cut {
                "what was left has been cut\n"
            } else {
                "nothing is in flight\n"
            });
            return Ok(ExitCode::from(if cut { CUT } else { 0 }));
        }
    }
}

fn list(admin: &Admin, only: Option<&str>, as_json: bool) -> Result<ExitCode, String> {
    let status = admin.ask("GET", "/v1/status")?;
    let services = status["services"].as_array().cloned().unwrap_or_default();
    let shown = |one: &&Value| only.is_none_or(|only| one["name"] == only);
    let shown: Vec<_> = services.iter().filter(shown).collect();
    if let (Some(only), true) = (only, shown.is_empty()) {
        let known = services.iter().filter_map(|one| one["name"].as_str());
        let near = evenkeel_config::nearest::nearest(known, only);
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(format!("there is no service `{only}`{hint}"));
    }
    if as_json {
        let rows = shown.iter().map(|one| {
            let (service, backends) = (&one["name"], &one["backends"]);
            serde_json::json!({ "service": service, "backends": backends })
        });
        json::out(&rows.collect());
        return Ok(ExitCode::SUCCESS);
    }
    let heads = [
        "service",
        "backend",
        "standing",
        "why",
        "tier",
        "weight",
        "in flight",
    ];
    let mut rows = vec![heads.map(String::from)];
    for service in shown {
        for one in service["backends"].as_array().into_iter().flatten() {
            let keys = ["id", "standing", "reason", "tier", "weight", "in_flight"];
            let [id, standing, why, tier, weight, in_flight] = keys.map(|key| cell(&one[key]));
            rows.push([
                cell(&service["name"]),
                id,
                standing,
                why,
                tier,
                weight,
                in_flight,
            ]);
        }
    }
    say::out(&table(&rows));
    Ok(ExitCode::SUCCESS)
}
