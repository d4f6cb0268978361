//! Owns `run`: the life of the process, from its first signal to its last.

use std::future::pending;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_balance::event::Listener;
use evenkeel_config::Plan;
use evenkeel_config::edits::{Edits, Ground};
use evenkeel_control::Control;
use evenkeel_control::control::TICK_EVERY;
use evenkeel_control::control::handover::{Inherited, Wanted};
use evenkeel_control::told::{self, Told};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};
use tracing::{error, info, warn};

use crate::admin::Served;
use crate::files::raise_open_files;
use crate::inputs::{self, Arguments};
use crate::log::Format;
use crate::notify::Notify as SystemNotify;
use crate::overlay::{self, Kept};
use crate::privileges::Target;
use crate::reload::{dropped, problems, reload};
use crate::texts::Reader;
use crate::upgrade::door::{self, Asked};
use crate::upgrade::heir::{self, Heir};
use crate::upgrade::manifest::Given;
use crate::upgrade::predecessors::Predecessors;
use crate::upgrade::under_way::{self, Late, UnderWay};
use crate::upgrade::{Ask, WITHIN};
use crate::watch::{LOOK_EVERY, Watch};
use crate::{activation, admin, say, warned};

/// Its end.
mod drain;

/// What was asked for cannot be understood.
const USAGE: u8 = 2;

/// Lines of one tick about names.
const NEWS_LINES: usize = 10;

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
    let given = given.map(|(from, given)| (*heir = Some(from), given).1);
    let arguments = &flags.inputs;
    let wanted = match &given {
        Some(given) => given.heritage.state.wanted.clone(),
        None => flags.overlay.read()?,
    };
    let (ground, plan, edits) = planned(flags, format, &wanted)?;
    let mut given = given.map_or_else(|| found(flags, &plan, wanted), Ok)?;
    given.heritage.state.wanted.edits = edits;
    raise_open_files();
    warned::of_files(&plan);
    let said = |error: std::io::Error| error.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(said)?;
    runtime.block_on(async {
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
        let mut control = Control::inherit(plan, events, &mut given.heritage, drop)
            .map_err(|error| error.to_string())?;
        control.speaks(Arc::new(Reader(arguments.clone())), ground);
        if heir.is_some() {
            look_names_up(&mut control).await;
        }
        control.begin();
        let admin = admin.serve(&control.watch()).map_err(said)?;
        if let Some(target) = &target {
            dropped_privileges(target, arguments);
        }
        given.say_unused();
        let before = Predecessors::of(std::mem::take(&mut given.before), heir.as_ref());
        let instance = Instance {
            control,
            admin,
            format,
            user: target.map(|target| target.user),
            notify: SystemNotify::from_environment(),
            upgrade: UnderWay::default(),
            kept: flags.overlay.keep(heir.is_some()),
            before: before.map_err(said)?,
            again: false,
            late: Late::default(),
        };
        instance.kept.say(&instance.control);
        instance.kept.remember(&instance.control);
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

/// Texts, the plan that they make with what is changed beside them, and as much of that as holds. A change that does not fit the texts any
/// more keeps nobody from starting, and is not lost.
fn planned(
    flags: &Flags,
    format: Format,
    wanted: &Wanted,
) -> Result<(Arc<Ground>, Plan, Edits), String> {
    let ground = Ground::new(flags.inputs.sources()?.into());
    let mut edits = wanted.edits.clone();
    let mut aside = Edits::default();
    let mut read = inputs::lower(&ground, &edits);
    problems(format, &read);
    while read.loaded.plan.is_none() && !edits.is_empty() {
        // Where none of them is to blame alone, it is all of them together.
        aside.extend(match read.faulty.is_empty() {
            true => std::mem::take(&mut edits),
            false => edits.take(&read.faulty),
        });
        read = inputs::lower(&ground, &edits);
    }
    dropped(&read.dropped);
    let plan = read.loaded.plan.ok_or("the configuration has errors")?;
    if !aside.is_empty() {
        let places: Vec<_> = aside.iter().map(|(place, _)| place.to_string()).collect();
        let file = flags.overlay.set_aside(aside).map_err(|why| {
            let places = places.join(", ");
            format!("the configuration has errors with what was changed beside it ({places}), and that cannot be set aside: {why}; --no-overlay starts without it")
        })?;
        for place in places {
            error!(
                "{place} was changed beside the configuration and is in error with it now: it is set aside in {}",
                file.display()
            );
        }
    }
    Ok((Arc::new(ground), plan, read.edits))
}

/// What a process finds that takes nobody's place.
fn found(flags: &Flags, plan: &Plan, wanted: Wanted) -> Result<Given, String> {
    let mut given = activation::given(&plan.admin).wanting(wanted);
    given.heritage.state.affinity = flags.overlay.affinity_key();
    Ok(given)
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
struct Instance {
    control: Control,
    admin: Served,
    format: Format,
    /// Whom the process has become.
    user: Option<String>,
    notify: SystemNotify,
    upgrade: UnderWay,
    kept: Kept,
    /// Processes before this one that still drain.
    before: Predecessors,
    /// A reload was asked for while an upgrade is under way.
    again: bool,
    /// A process that took over when this one was to end: it drains, too.
    late: Late,
}

/// Says whom the process has become, and what that user cannot do.
fn dropped_privileges(target: &Target, arguments: &Arguments) {
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
    end: Ends,
}

/// Those that ask for the end.
struct Ends {
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
            end: Ends {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
            },
        })
    }
}

impl Ends {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Ticks before their time are at least this far apart.
const SPACING: Duration = Duration::from_millis(5);

async fn serve(mut this: Instance, mut signals: Signals, wanted: &Notify) -> ExitCode {
    let mut ticks = interval(TICK_EVERY);
    // A tick that comes late makes the next ones no earlier: the core counts time itself.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive = this.notify.watchdog.map(interval);
    let mut watch = Watch::begin(&this.control.live().plan);
    let mut asked = this.questions();
    let commands = this.control.commands();
    // When it drains, once it is to end.
    let mut leaves: Option<Pin<Box<Sleep>>> = None;
    let succeeded = loop {
        this.control.hold(this.upgrade.is_begun());
        this.kept.hold(this.upgrade.is_begun());
        tokio::select! {
            _ = looks.tick(), if !this.upgrade.is_begun() => watch.look(&mut this.control),
            () = wanted.notified() => {
                this.control.settle();
                // A service whose backends all fail must not keep this thread busy.
                sleep(SPACING).await;
            }
            _ = ticks.tick() => {
                this.control.preceded_by(this.before.left());
                if this.control.tick() {
                    error!("a worker died and was replaced");
                }
                names(&mut this.control);
                this.kept.follow(&this.control);
                this.control.keeps(this.kept.keeping());
            }
            () = commands.notified() => this.obey(),
            () = next(alive.as_mut()) => this.notify.alive(),
            _ = signals.hangup.recv() => match leaves {
                None => this.reload(),
                Some(_) => under_way::reload_elsewhere(None),
            },
            _ = signals.reopen.recv() => this.control.reopen(),
            _ = signals.upgrade.recv() => {
                let ask = Ask { binary: None, within: WITHIN };
                this.upgrade(ask, None, leaves.is_some());
            }
            Some((ask, reply)) = asked.recv() => this.upgrade(ask, Some(reply), leaves.is_some()),
            succeeded = this.upgrade.outcome() => {
                if succeeded.is_some() {
                    break succeeded;
                }
                if std::mem::take(&mut this.again) {
                    this.reload();
                }
            }
            () = signals.end.asked() => {
                // Who asks twice does not want to wait.
                let delay = if leaves.is_none() { this.leave().await } else { Duration::ZERO };
                if delay.is_zero() {
                    break None;
                }
                info!("ends: not ready from now on, drains in {delay:?}");
                leaves = Some(Box::pin(sleep(delay)));
            }
            () = over(leaves.as_mut()) => break None,
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

async fn over(sleep: Option<&mut Pin<Box<Sleep>>>) {
    match sleep {
        Some(sleep) => sleep.await,
        None => pending().await,
    }
}

impl Instance {
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

    /// Begins an upgrade; one that ends says so at once.
    fn upgrade(&mut self, ask: Ask, reply: under_way::Reply, ends: bool) {
        // Who takes over reads it when it begins.
        let written = self.kept.hurry(&self.control);
        match ends {
            false => {
                // Before anything of it is told: a policy on trial is no operator's choice.
                self.control.hold(true);
                self.kept.hold(true);
                let sockets = (&self.admin, &self.before);
                self.upgrade
                    .begin(&self.control, sockets, (ask, reply), written);
            }
            true => under_way::refused(reply, under_way::ENDS),
        }
    }

    /// Says that it ends, and for how long it serves all the same.
    async fn leave(&mut self) -> Duration {
        self.notify.stopping();
        self.control.announce();
        self.late = self.upgrade.cancel().await;
        self.kept.hold(false);
        self.control.live().plan.drain.delay
    }

    /// Does what was asked.
    fn obey(&mut self) {
        self.control.obey();
        self.kept.keep_affinity_key(&self.control);
    }

    /// Reads the configuration again. Whatever is wrong with it changes nothing.
    fn reload(&mut self) {
        self.notify.reloading();
        if self.upgrade.is_begun() {
            // The new process has the sockets of this one, and may have read before what is to be read now.
            info!("reloads when the upgrade is over");
            self.again = true;
            return;
        }
        reload(&mut self.control, self.format, self.user.as_deref());
        self.kept.keep_affinity_key(&self.control);
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
