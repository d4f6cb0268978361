//! Owns `demo`: the proxy as it ships, over backends and clients of its own, and what is shown of it.
//!
//! Three threads beside the proxy's workers, so that none waits for another: backends, clients, and this one, which is the
//! control plane and draws.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_balance::event::Listener;
use evenkeel_config::{Source, duration, load};
use evenkeel_control::Control;
use evenkeel_control::clock::Clock;
use evenkeel_control::control::TICK_EVERY;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::{self, Served};
use crate::{files, say};
use backends::{CAST, Port};
use frame::{Frame, Meter};
use load::Tally;
use screen::{Screen, Size};
use told::Told;

/// The backends, and the schedule of the one that fails.
mod backends;

/// The clients.
mod load;

/// What happened.
mod told;

/// The figures of one moment.
mod frame;

/// How they look.
pub(crate) mod view;

/// The terminal.
pub(crate) mod screen;

/// So many ticks from one drawing to the next, and from one line to the next.
const DRAW_EVERY: u32 = 2;
const LINE_EVERY: u32 = 10;

/// So long `--once` waits.
const ONCE_MOST: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct Arguments {
    /// How long, like `20s` or `5m`
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = duration)]
    lasts: Duration,
    /// End when the backend that fails has been out and serves again, however long that takes
    #[arg(long, conflicts_with = "lasts")]
    once: bool,
    /// Requests per second that the clients mean to send, whatever becomes of them
    #[arg(long, value_name = "NUMBER", default_value = "800", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// How backends are chosen; the hashes by the path of a request, of which there are a thousand
    #[arg(long, value_name = "POLICY", default_value = "adaptive", value_parser = POLICIES)]
    policy: String,
    /// Whether live traffic ejects a backend: on or off
    #[arg(long, value_name = "SWITCH", default_value = "on", value_parser = ["on", "off"])]
    breaker: String,
    /// Where the dashboard and the API are; by default at a free port of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Draw the live view for a terminal of this size, like `100x28`, and where there is no terminal too
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<Size>,
}

/// What `--policy` takes.
const POLICIES: [&str; 14] = [
    "adaptive",
    "peak_ewma",
    "least_time",
    "least_connections",
    "power_of_two",
    "round_robin",
    "random",
    "health_based",
    "maglev",
    "ring",
    "rendezvous",
    "maglev_bounded",
    "ring_bounded",
    "rendezvous_bounded",
];

/// Columns and rows.
fn size(text: &str) -> Result<Size, String> {
    let parse = |text: &str| {
        text.parse()
            .ok()
            .filter(|number| (1..=1000).contains(number))
    };
    text.split_once('x')
        .and_then(|(columns, rows)| Some((parse(columns)?, parse(rows)?)))
        .ok_or_else(|| "a size is columns and rows up to 1000, like `100x28`".into())
}

pub(crate) fn demo(arguments: &Arguments) -> ExitCode {
    files::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let shown = runtime.and_then(|runtime| runtime.block_on(show(arguments)));
    match shown {
        Ok(code) => code,
        Err(error) => {
            say::log(&format!("the demo cannot run here: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What the demo's proxy is told: a configuration like any other.
fn configuration(arguments: &Arguments, addresses: &[SocketAddr]) -> String {
    let (word, bounded) = match arguments.policy.strip_suffix("_bounded") {
        Some(method) => (method, "on"),
        None => (&*arguments.policy, "off"),
    };
    let policy = match word {
        method @ ("maglev" | "ring" | "rendezvous") => {
            format!("{{ hash: {{ key: path, method: {method}, bounded: {bounded} }} }}")
        }
        word => word.into(),
    };
    // Shorter than what is usual, so that the way back is seen within seconds.
    let breaker = match &*arguments.breaker {
        "off" => "off",
        _ => "{ open: 2s }",
    };
    let mut text = format!(
        "admin: {{ bind: \"{}\" }}
listeners: {{ demo: {{ bind: \"127.0.0.1:0\" }} }}
services:
  demo:
    policy: {policy}
    breaker: {breaker}
    health: {{ http: {{ path: /health }}, interval: 500ms, timeout: 500ms }}
    backends:
",
        arguments.admin
    );
    for (kind, address) in CAST.iter().zip(addresses) {
        let _ = writeln!(
            text,
            "    - {{ id: {}, address: \"{address}\" }}",
            kind.name
        );
    }
    text
}

/// The proxy, its pages, and where those are.
fn start(text: String, told: Arc<Told>) -> io::Result<(Control, Served, SocketAddr)> {
    let sources = [Source {
        name: "demo".into(),
        text,
    }];
    let loaded = load(&sources, &BTreeMap::new());
    let Some(plan) = loaded.plan else {
        // What a user says of it is the address alone.
        let why = loaded.problems.into_iter().next();
        return Err(io::Error::other(
            why.map_or_else(String::new, |one| one.message),
        ));
    };
    let admin = admin::bind(&plan.admin, &mut Vec::new()).map_err(io::Error::other)?;
    let address = admin.address();
    let address = address.ok_or_else(|| io::Error::other("it has no admin address"))?;
    let events: Arc<dyn Listener> = told;
    let control = Control::start(plan, events);
    let control = control.map_err(|error| io::Error::other(error.to_string()))?;
    let served = admin.serve(&control.watch())?;
    Ok((control, served, address))
}

async fn show(arguments: &Arguments) -> io::Result<ExitCode> {
    let clock = Clock::start();
    let told = Arc::new(Told::new(clock));
    let ports = (0..CAST.len())
        .map(|_| Port::new())
        .collect::<io::Result<Vec<_>>>()?;
    let addresses: Vec<_> = ports.iter().map(Port::address).collect();
    let (control, served, dashboard) = start(configuration(arguments, &addresses), told.clone())?;
    let Some((_, address)) = control.addresses().first().cloned() else {
        return Err(io::Error::other("it listens nowhere"));
    };
    let heard = told.clone();
    beside("backends", move || backends::serve(ports, clock, heard))?;
    let tally = Arc::new(Tally::default());
    let (stop, stopped) = watch::channel(false);
    let (counted, rate) = (tally.clone(), arguments.rate);
    let clients = beside("clients", move || {
        load::drive(address, rate, counted, clock, stopped)
    })?;
    let mut stage = Stage {
        control,
        _served: served,
        dashboard,
        told,
        tally,
        meter: Meter::new(rate),
        shown: 0,
        screen: Screen::take(arguments.size),
        ends: Ends {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        },
    };
    if stage.screen.is_none() {
        say::out(&format!(
            "{rate} requests per second to {address}, over {} backends, policy {}\nthe dashboard is at http://{dashboard}/\n",
            CAST.len(),
            arguments.policy
        ));
    }
    stage.play(arguments).await;
    stop.send_replace(true);
    stage.rest(|| clients.is_finished()).await;
    Ok(stage.end(arguments))
}

/// Runs this on a thread of its own, to its end or the process's.
fn beside<F: Future<Output = ()>>(
    name: &str,
    make: impl FnOnce() -> F + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    let (failed, outcome) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => {
                    let _ = failed.send(Ok(()));
                    LocalSet::new().block_on(&runtime, make());
                }
                Err(error) => {
                    let _ = failed.send(Err(error));
                }
            }
        })?;
    match outcome.recv() {
        Ok(outcome) => outcome.map(|()| thread),
        Err(_) => Err(io::Error::other("a thread ended before its time")),
    }
}

/// Signals that end it.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What runs, and what is shown of it.
struct Stage {
    control: Control,
    _served: Served,
    /// Where that is.
    dashboard: SocketAddr,
    told: Arc<Told>,
    tally: Arc<Tally>,
    meter: Meter,
    /// Events that were printed.
    shown: usize,
    /// None: lines.
    screen: Option<Screen<io::Stdout>>,
    ends: Ends,
}

impl Stage {
    /// Does the control plane's work and shows what happens, until it is time.
    async fn play(&mut self, arguments: &Arguments) {
        let mut ticks = interval(TICK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let most = if arguments.once {
            ONCE_MOST
        } else {
            arguments.lasts
        };
        let commands = self.control.commands();
        for tick in 1_u32.. {
            loop {
                tokio::select! {
                    _ = ticks.tick() => break,
                    // Of who asks by the API.
                    () = commands.notified() => self.control.obey(),
                    () = self.ends.came() => return,
                }
            }
            self.control.tick();
            if tick.is_multiple_of(DRAW_EVERY) {
                self.draw(tick);
            }
            let over = self.told.elapsed() >= most;
            if over || arguments.once && self.told.returned() {
                return;
            }
        }
    }

    fn draw(&mut self, tick: u32) {
        let events = match &self.screen {
            Some(_) => self.told.after(0).0,
            None => Vec::new(),
        };
        let frame = self.frame(events);
        if let Some(screen) = &mut self.screen {
            let size = screen.size();
            screen.draw(&view::live(&frame, size), size);
            return;
        }
        self.tell();
        if tick.is_multiple_of(LINE_EVERY) {
            say::out(&view::second(&frame));
        }
    }

    /// Prints what happened since the last time, where there is no terminal.
    fn tell(&mut self) {
        if self.screen.is_none() {
            let (new, all) = self.told.after(self.shown);
            self.shown = all;
            new.iter()
                .for_each(|event| say::out(&view::event_line(event)));
        }
    }

    fn frame(&mut self, events: Vec<told::Happened>) -> Frame {
        let seen = self.control.watch().snapshot();
        let at = self.told.elapsed();
        let frame = self.meter.frame(at, &self.tally, &seen, events);
        Frame {
            dashboard: Some(self.dashboard),
            ..frame
        }
    }

    /// Goes on with the control plane's work until the clients are done with what was under way, or nobody wants to wait.
    async fn rest(&mut self, done: impl Fn() -> bool) {
        let mut ticks = interval(TICK_EVERY);
        while !done() {
            tokio::select! {
                _ = ticks.tick() => self.control.tick(),
                () = self.ends.came() => return,
            };
        }
    }

    fn end(mut self, arguments: &Arguments) -> ExitCode {
        self.tell();
        let (events, all) = self.told.after(0);
        let forgotten = all - events.len();
        let frame = self.frame(events);
        // The summary is for the screen that was there before.
        self.screen = None;
        say::out(&view::summary(&frame, forgotten));
        let unseen = arguments.once && !self.told.returned();
        if frame.well == 0 || unseen {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expect) in [
            ("100x28", Some((100, 28))),
            ("1x1000", Some((1, 1000))),
            ("0x5", None),
            ("5x1001", None),
            ("100", None),
            ("x", None),
        ] {
            assert_eq!(size(text).ok(), expect, "{text}");
        }
    }

    #[test]
    fn every_policy_makes_a_plan() {
        let addresses: Vec<SocketAddr> = (1..6).map(|port| ([127, 0, 0, 1], port).into()).collect();
        for policy in POLICIES {
            for breaker in ["on", "off"] {
                let arguments = Arguments {
                    lasts: Duration::ZERO,
                    once: false,
                    rate: 1,
                    policy: policy.into(),
                    breaker: breaker.into(),
                    admin: ([127, 0, 0, 1], 0).into(),
                    size: None,
                };
                let text = configuration(&arguments, &addresses);
                let sources = [Source {
                    name: "demo".into(),
                    text,
                }];
                let loaded = load(&sources, &BTreeMap::new());
                assert_eq!(loaded.problems, [], "{policy}");
                let service = loaded
                    .plan
                    .and_then(|plan| plan.services.into_iter().next());
                let meant = service.map(|service| service.settings.policy.name().to_owned());
                assert_eq!(meant.as_deref(), Some(policy));
            }
        }
    }
}
