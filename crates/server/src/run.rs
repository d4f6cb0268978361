//! Owns `run`: the life of the process, from its first signal to its last.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::event::Listener;
use evenkeel_control::Control;
use evenkeel_control::control::TICK_EVERY;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::inputs::Arguments;
use crate::{admin, say};

/// The drain's deadline passed with work unfinished.
const UNFINISHED: u8 = 3;

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let read = match arguments.read() {
        Ok(read) => read,
        Err(error) => {
            say::log(&error);
            return ExitCode::FAILURE;
        }
    };
    say::problems(&read.shown);
    let Some(plan) = read.loaded.plan else {
        say::log("not started: the configuration has errors");
        return ExitCode::FAILURE;
    };
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            say::log(&format!("not started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let drain = plan.drain;
        let events: Arc<dyn Listener> = Arc::new(());
        let ready = Signals::new()
            .map_err(|error| error.to_string())
            .and_then(|signals| Ok((signals, admin::bind(&plan.admin)?)));
        let started = ready.and_then(|(signals, admin)| {
            let control = Control::start(plan, events).map_err(|error| error.to_string())?;
            Ok((control, signals, admin))
        });
        match started {
            Ok((control, signals, admin)) => {
                admin.serve(&control.watch());
                serve(control, signals, arguments, drain).await
            }
            Err(error) => {
                say::log(&format!("not started: {error}"));
                ExitCode::FAILURE
            }
        }
    })
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }
}

async fn serve(
    mut control: Control,
    mut signals: Signals,
    arguments: &Arguments,
    mut drain: Duration,
) -> ExitCode {
    for (name, address) in control.addresses() {
        say::log(&format!("listener {name} listens on {address}"));
    }
    say::log("ready");
    let mut ticks = interval(TICK_EVERY);
    // A tick that comes late makes the next ones no earlier: the core counts time itself.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if control.tick() {
                    say::log("a worker died and was replaced");
                }
            }
            _ = signals.hangup.recv() => {
                if let Some(next) = reload(&mut control, arguments) {
                    drain = next;
                }
            }
            _ = signals.terminate.recv() => break,
            _ = signals.quit.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    say::log(&format!("draining, at most {drain:?}"));
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
            // Who asks twice does not want to wait.
            _ = signals.interrupt.recv() => return ExitCode::from(UNFINISHED),
        }
    }
}

fn drained(control: &Control, now: Instant, deadline: Instant) -> Option<ExitCode> {
    let open = control.connections();
    if open == 0 {
        say::log("drained");
        return Some(ExitCode::SUCCESS);
    }
    if now >= deadline {
        say::log(&format!(
            "{open} connections are cut: the drain's deadline has passed"
        ));
        return Some(ExitCode::from(UNFINISHED));
    }
    None
}

/// Reads the configuration again. Some: it was taken, and drains so long. Whatever is wrong with it changes nothing.
fn reload(control: &mut Control, arguments: &Arguments) -> Option<Duration> {
    let read = match arguments.read() {
        Ok(read) => read,
        Err(error) => {
            say::log(&format!("not reloaded: {error}"));
            return None;
        }
    };
    say::problems(&read.shown);
    let Some(plan) = read.loaded.plan else {
        say::log("not reloaded: the configuration has errors; the old one goes on");
        return None;
    };
    let drain = plan.drain;
    match control.reload(plan) {
        Ok(changes) => {
            say::log(&format!(
                "reloaded: {}",
                changes.to_string().replace('\n', "; ")
            ));
            Some(drain)
        }
        Err(error) => {
            say::log(&format!(
                "not reloaded: {error}; the old configuration goes on"
            ));
            None
        }
    }
}

/// Every connection is two descriptors: takes as many as the process may have.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        say::log("the limit of open files could not be raised");
    }
}
