//! Owns `run`: the life of the process, from its first signal to its last.

use std::future::pending;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_balance::event::Listener;
use evenkeel_config::Plan;
use evenkeel_control::Control;
use evenkeel_control::control::handover::Inherited;
use evenkeel_control::control::{StartError, TICK_EVERY};
use evenkeel_control::told::{self, Told};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::admin::Served;
use crate::inputs::{Arguments, Read};
use crate::log::Format;
use crate::notify::Notify as SystemNotify;
use crate::overlay::{self, Kept};
use crate::privileges::Target;
use crate::upgrade::door::{self, Asked};
use crate::upgrade::heir::{self, Heir};
use crate::upgrade::manifest::Given;
use crate::upgrade::under_way::{Succeeded, UnderWay};
use crate::upgrade::{Ask, WITHIN};
use crate::watch::{LOOK_EVERY, Watch};
use crate::{activation, admin, log, say, warned};

/// What was asked for cannot be understood.
const USAGE: u8 = 2;

/// The drain's deadline passed with work unfinished.
const UNFINISHED: u8 = 3;

/// Lines of one tick about names.
const NEWS_LINES: usize = 10;

/// Workers count their connections ten times a second; one that is stuck is not waited for.
const COUNTED: Duration = Duration::from_secs(1);

/// What `run` is told.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    inputs: Arguments,
    #[command(flatten)]
    overlay: overlay::Flags,
}

pub(crate) fn run(flags: &Flags) -> ExitCode {
    let arguments = &flags.inputs;
    let format = match arguments.log.begin() {
        Ok(format) => format,
        Err(error) => {
            say::log(&error);
            return ExitCode::from(USAGE);
        }
    };
    let mut heir = None;
    match heir::given().and_then(|given| started(flags, format, given, &mut heir)) {
        Ok(code) => code,
        Err(why) => {
            error!("not started: {why}");
            if let Some(heir) = heir {
                heir.failed(&why);
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs until it ends. What another process gave is kept in `heir` while it waits for this one to serve.
///
/// # Errors
/// It could not start, in words.
fn started(
    flags: &Flags,
    format: Format,
    given: Option<(Heir, Given)>,
    heir: &mut Option<Heir>,
) -> Result<ExitCode, String> {
    let given = given.map(|(from, given)| {
        *heir = Some(from);
        given
    });
    let arguments = &flags.inputs;
    let read = arguments.read()?;
    problems(format, &read);
    let plan = read.loaded.plan.ok_or("the configuration has errors")?;
    let mut given = given.map_or_else(|| found(flags, &plan), Ok)?;
    raise_open_files();
    warned::of_files(&plan);
    let said = |error: std::io::Error| error.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(said)?;
    runtime.block_on(async {
        let drain = plan.drain;
        let told = Arc::new(Told::default());
        let wanted = told.wanted();
        let events: Arc<dyn Listener> = told;
        let target = Target::of(&plan, heir.is_some())?;
        let signals = Signals::new().map_err(said)?;
        let admin = admin::bind(&plan.admin, &mut given.admin)?;
        let drop = |made: Option<BorrowedFd<'_>>| match &target {
            Some(target) => target.own(made).and_then(|()| target.drop_privileges()),
            None => Ok(()),
        };
        let control = Control::inherit(plan, events, &mut given.heritage, drop);
        let mut control = control.map_err(|error| error.to_string())?;
        if heir.is_some() {
            look_names_up(&mut control).await;
        }
        control.begin();
        let admin = admin.serve(&control.watch()).map_err(said)?;
        if let Some(target) = &target {
            dropped(target, arguments);
        }
        for one in given.heritage.listeners.iter().chain(&given.admin) {
            warn!("a socket that was passed to this process is at {}, where nothing listens: it is closed", one.place());
        }
        let instance = Instance {
            control,
            admin,
            drain,
            arguments,
            format,
            user: target.map(|target| target.user),
            notify: SystemNotify::from_environment(),
            upgrade: UnderWay::default(),
            kept: flags.overlay.keep(heir.is_some()),
        };
        instance.kept.say(&instance.control);
        warned::of_running(&instance.control);
        instance.say_ready();
        match heir.take() {
            Some(heir) => alone(heir, &given.heritage.listeners).map_err(said)?,
            None => instance.notify.ready(),
        }
        std::mem::drop(given);
        Ok(serve(instance, signals, &wanted).await)
    })
}

/// What a process finds that takes nobody's place.
fn found(flags: &Flags, plan: &Plan) -> Result<Given, String> {
    Ok(activation::given(&plan.admin).wanting(flags.overlay.read()?))
}

/// Says what is wrong with a configuration.
fn problems(format: Format, read: &Read) {
    log::problems(format, &read.shown, &read.loaded.problems, &read.sources);
}

/// An instance begins when what its names stand for is known, or after ten seconds: until then the one before it serves.
async fn look_names_up(control: &mut Control) {
    let watch = control.watch();
    while watch.is_looking_up() {
        control.tick();
        sleep(TICK_EVERY).await;
    }
}

/// Tells the process before this one that this one serves all but what is left, and the manager of services when that one has told
/// it whom to hear.
fn alone(heir: Heir, left: &[Inherited]) -> std::io::Result<()> {
    heir.ready(left);
    let waiting = std::thread::Builder::new().name("heir".into());
    waiting.spawn(move || {
        heir.wait_until_alone();
        SystemNotify::from_environment().ready();
    })?;
    Ok(())
}

/// What runs.
struct Instance<'a> {
    control: Control,
    admin: Served,
    /// How long it drains.
    drain: Duration,
    arguments: &'a Arguments,
    format: Format,
    /// Whom the process has become.
    user: Option<String>,
    notify: SystemNotify,
    upgrade: UnderWay,
    kept: Kept,
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
    upgrade: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }
}

/// Ticks before their time are at least this far apart.
const SPACING: Duration = Duration::from_millis(5);

async fn serve(mut this: Instance<'_>, mut signals: Signals, wanted: &Notify) -> ExitCode {
    let mut ticks = interval(TICK_EVERY);
    // A tick that comes late makes the next ones no earlier: the core counts time itself.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive = this.notify.watchdog.map(interval);
    let mut watch = Watch::begin(&this.control.live().plan);
    let mut asked = this.questions();
    let succeeded = loop {
        tokio::select! {
            _ = looks.tick(), if !this.upgrade.is_begun() => watch.look(&mut this.control),
            () = wanted.notified() => {
                this.control.settle();
                // A service whose backends all fail must not keep this thread busy.
                sleep(SPACING).await;
            }
            _ = ticks.tick() => {
                this.control.hold(this.upgrade.is_begun());
                if this.control.tick() {
                    error!("a worker died and was replaced");
                }
                names(&mut this.control);
                this.kept.follow(&this.control);
            }
            () = next(alive.as_mut()) => this.notify.alive(),
            _ = signals.hangup.recv() => this.reload(),
            _ = signals.reopen.recv() => this.control.reopen(),
            _ = signals.upgrade.recv() => {
                let ask = Ask { binary: None, within: WITHIN };
                this.upgrade.begin(&this.control, &this.admin, ask, None);
            }
            Some((ask, reply)) = asked.recv() => {
                this.upgrade.begin(&this.control, &this.admin, ask, Some(reply));
            }
            succeeded = this.upgrade.outcome() => {
                if succeeded.is_some() {
                    break succeeded;
                }
            }
            _ = signals.terminate.recv() => break None,
            _ = signals.quit.recv() => break None,
            _ = signals.interrupt.recv() => break None,
        }
    };
    // Who asks now is told that this process ends.
    drop(asked);
    this.end(succeeded, signals, ticks).await
}

async fn next(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => _ = interval.tick().await,
        None => pending().await,
    }
}

impl Instance<'_> {
    fn say_ready(&self) {
        for (name, address) in self.control.addresses() {
            let (listener, to) = (&*name, address.to_string());
            info!(
                said.listener = listener,
                said.address = to,
                "listener {name} listens on {address}"
            );
        }
        info!("ready");
    }

    /// Where it is asked for an upgrade.
    fn questions(&self) -> Receiver<Asked> {
        door::open().unwrap_or_else(|error| {
            warn!("`evenkeel upgrade` is not heard, SIGUSR2 is: {error}");
            // One whose other end is gone: nothing comes out of it.
            tokio::sync::mpsc::channel(1).1
        })
    }

    /// Drains: by a signal, or as another process serves.
    async fn end(
        mut self,
        mut succeeded: Option<Succeeded>,
        mut signals: Signals,
        mut ticks: Interval,
    ) -> ExitCode {
        let drain = self.drain;
        match &mut succeeded {
            Some(succeeded) => {
                let process = succeeded.successor.child.id();
                info!("upgraded: process {process} serves, this one drains, at most {drain:?}");
                self.notify.succeeded_by(process);
                self.control.give_up(&succeeded.unwanted, drain / 2);
                self.admin.give_up();
                self.kept.give_up();
                succeeded.reply();
                // It hears that it is alone.
                let _ = succeeded.successor.told.shutdown(Shutdown::Both);
            }
            None => {
                info!("draining, at most {drain:?}");
                self.notify.stopping();
                self.upgrade.cancel().await;
                self.control.drain();
            }
        }
        let deadline = ticks.tick().await + drain;
        loop {
            tokio::select! {
                now = ticks.tick() => {
                    self.control.tick();
                    if let Some(one) = succeeded.as_mut().and_then(Succeeded::has_failed) {
                        error!("the process that took over has ended: {one}");
                        succeeded = None;
                    }
                    self.kept.follow(&self.control);
                    if let Some(code) = drained(&self.control, now, deadline) {
                        self.kept.finish(&self.control).await;
                        return code;
                    }
                }
                _ = signals.reopen.recv() => self.control.reopen(),
                // Who asks twice does not want to wait.
                _ = signals.interrupt.recv() => {
                    self.kept.finish(&self.control).await;
                    return ExitCode::from(UNFINISHED);
                }
            }
        }
    }

    /// Reads the configuration again. Whatever is wrong with it changes nothing.
    fn reload(&mut self) {
        if self.upgrade.is_begun() {
            // The new process reads it too, and has the sockets of the old one.
            error!("not reloaded: an upgrade is under way");
            return;
        }
        self.notify.reloading();
        if let Some(drain) = reload(
            &mut self.control,
            self.arguments,
            self.format,
            self.user.as_deref(),
        ) {
            self.drain = drain;
        }
        self.notify.ready();
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
fn reload(
    control: &mut Control,
    arguments: &Arguments,
    format: Format,
    user: Option<&str>,
) -> Option<Duration> {
    let read = match arguments.read() {
        Ok(read) => read,
        Err(error) => {
            control.refused();
            error!("not reloaded: {error}");
            return None;
        }
    };
    problems(format, &read);
    let Some(plan) = read.loaded.plan else {
        control.refused();
        error!("not reloaded: the configuration has errors; the old one goes on");
        return None;
    };
    let drain = plan.drain;
    match control.reload(plan) {
        Ok(changes) => {
            info!("reloaded: {}", changes.to_string().replace('\n', "; "));
            warned::of_running(control);
            Some(drain)
        }
        Err(error) => {
            let why = denied(&error, user);
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
