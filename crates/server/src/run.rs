//! Owns `run`: the life of the process, from its first signal to its last.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::event::Listener;
use evenkeel_config::Plan;
use evenkeel_control::control::{StartError, TICK_EVERY};
use evenkeel_control::told::{self, Told};
use evenkeel_control::{Control, room};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::inputs::{Arguments, Read};
use crate::log::Format;
use crate::privileges::Target;
use crate::watch::{LOOK_EVERY, Watch};
use crate::{admin, log, say};

/// What was asked for cannot be understood.
const USAGE: u8 = 2;

/// The drain's deadline passed with work unfinished.
const UNFINISHED: u8 = 3;

/// Lines of one tick about names.
const NEWS_LINES: usize = 10;

/// Workers count their connections ten times a second; one that is stuck is not waited for.
const COUNTED: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let format = match arguments.log.begin() {
        Ok(format) => format,
        Err(error) => {
            say::log(&error);
            return ExitCode::from(USAGE);
        }
    };
    let read = match arguments.read() {
        Ok(read) => read,
        Err(error) => {
            error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    problems(format, &read);
    let Some(plan) = read.loaded.plan else {
        error!("not started: the configuration has errors");
        return ExitCode::FAILURE;
    };
    raise_open_files();
    warn_of_files(&plan);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            error!("not started: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let drain = plan.drain;
        let told = Arc::new(Told::default());
        let wanted = told.wanted();
        let events: Arc<dyn Listener> = told;
        let start = || -> Result<_, String> {
            let target = Target::of(&plan)?;
            let signals = Signals::new().map_err(|error| error.to_string())?;
            let admin = admin::bind(&plan.admin)?;
            let drop = |made: Option<BorrowedFd<'_>>| match &target {
                Some(target) => target.own(made).and_then(|()| target.drop_privileges()),
                None => Ok(()),
            };
            let control =
                Control::start_once_bound(plan, events, drop).map_err(|error| error.to_string())?;
            Ok((control, signals, admin, target))
        };
        match start() {
            Ok((control, signals, admin, target)) => {
                let _files = admin.serve(&control.watch());
                if let Some(target) = &target {
                    dropped(target, arguments);
                }
                let rest = Rest {
                    arguments,
                    format,
                    user: target.map(|target| target.user),
                };
                serve(control, signals, &rest, (drain, &wanted)).await
            }
            Err(error) => {
                error!("not started: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// Says what is wrong with a configuration.
fn problems(format: Format, read: &Read) {
    log::problems(format, &read.shown, &read.loaded.problems, &read.sources);
}

/// What a reload needs to know.
struct Rest<'a> {
    arguments: &'a Arguments,
    format: Format,
    /// Whom the process has become.
    user: Option<String>,
}

/// Says whom the process has become, and what that user cannot do.
fn dropped(target: &Target, arguments: &Arguments) {
    info!(said.user = target.user, "runs as user {}", target.user);
    if let Err(error) = arguments.read() {
        warn!(
            "user {} cannot read the configuration, so that it cannot be reloaded: {error}",
            target.user
        );
    }
}

struct Signals {
    hangup: Signal,
    reopen: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }
}

/// Ticks before their time are at least this far apart.
const SPACING: Duration = Duration::from_millis(5);

async fn serve(
    mut control: Control,
    mut signals: Signals,
    rest: &Rest<'_>,
    (mut drain, wanted): (Duration, &Notify),
) -> ExitCode {
    for (name, address) in control.addresses() {
        let (listener, to) = (&*name, address.to_string());
        info!(
            said.listener = listener,
            said.address = to,
            "listener {name} listens on {address}"
        );
    }
    info!("ready");
    let mut ticks = interval(TICK_EVERY);
    // A tick that comes late makes the next ones no earlier: the core counts time itself.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::begin(&control.live().plan);
    loop {
        tokio::select! {
            _ = looks.tick() => watch.look(&mut control),
            () = wanted.notified() => {
                control.settle();
                // A service whose backends all fail must not keep this thread busy.
                sleep(SPACING).await;
            }
            _ = ticks.tick() => {
                if control.tick() {
                    error!("a worker died and was replaced");
                }
                names(&mut control);
            }
            _ = signals.hangup.recv() => {
                if let Some(next) = reload(&mut control, rest) {
                    drain = next;
                }
            }
            _ = signals.reopen.recv() => control.reopen(),
            _ = signals.terminate.recv() => break,
            _ = signals.quit.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    info!("draining, at most {drain:?}");
    control.drain();
    let deadline = ticks.tick().await + drain;
    loop {
        tokio::select! {
            now = ticks.tick() => {
                control.tick();
                if let Some(code) = drained(&control, now, deadline) {
                    return code;
                }
            }
            _ = signals.reopen.recv() => control.reopen(),
            // Who asks twice does not want to wait.
            _ = signals.interrupt.recv() => return ExitCode::from(UNFINISHED),
        }
    }
}

/// Says what happened to names that stand for backends; when much happens at once, the first of it.
fn names(control: &mut Control) {
    let (news, untold) = control.news();
    for one in news.iter().take(NEWS_LINES) {
        told::name(one);
    }
    match news.len().saturating_sub(NEWS_LINES) + untold {
        0 => {}
        more => warn!(more, "more happened to names; see the metrics"),
    }
}

fn drained(control: &Control, now: Instant, deadline: Instant) -> Option<ExitCode> {
    let open = match control.left() {
        Some(0) => {
            info!("drained");
            return Some(ExitCode::SUCCESS);
        }
        Some(open) if now >= deadline => format!("{open} connections"),
        None if now >= deadline + COUNTED => "connections of a worker that does not answer".into(),
        _ => return None,
    };
    warn!("{open} are cut: the drain's deadline has passed");
    Some(ExitCode::from(UNFINISHED))
}

/// Reads the configuration again. Some: it was taken, and drains so long. Whatever is wrong with it changes nothing.
fn reload(control: &mut Control, rest: &Rest<'_>) -> Option<Duration> {
    let read = match rest.arguments.read() {
        Ok(read) => read,
        Err(error) => {
            control.refused();
            error!("not reloaded: {error}");
            return None;
        }
    };
    problems(rest.format, &read);
    let Some(plan) = read.loaded.plan else {
        control.refused();
        error!("not reloaded: the configuration has errors; the old one goes on");
        return None;
    };
    let drain = plan.drain;
    match control.reload(plan) {
        Ok(changes) => {
            info!("reloaded: {}", changes.to_string().replace('\n', "; "));
            Some(drain)
        }
        Err(error) => {
            let why = denied(&error, rest.user.as_deref());
            error!("not reloaded: {error}{why}; the old configuration goes on");
            None
        }
    }
}

/// What a process that has dropped its privileges cannot bind any more.
fn denied(error: &StartError, user: Option<&str>) -> String {
    match (error, user) {
        (StartError::Bind(_, error), Some(user)) if error.kind() == ErrorKind::PermissionDenied => {
            format!(
                " to user {user}, which this process has become: only a new start, as root, can bind it"
            )
        }
        _ => String::new(),
    }
}

/// Every connection is two descriptors: takes as many as the process may have.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        warn!("the limit of open files could not be raised");
    }
}

/// Says where listeners may have more connections than descriptors allow.
fn warn_of_files(plan: &Plan) {
    let files = room::open_files();
    let most = room::clients_most(files);
    let asked = plan.listeners.iter().fold(0_usize, |sum, listener| {
        sum.saturating_add(listener.limits.connections)
    });
    if asked > most {
        warn!(
            "`limits.connections` of all listeners are {asked} together, but {files} open files allow {most} connections of clients: raise the limit of open files (ulimit -n, LimitNOFILE=)"
        );
    }
}
