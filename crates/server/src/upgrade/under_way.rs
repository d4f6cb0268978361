//! Owns an upgrade that is under way: one at a time.

use std::future::pending;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use evenkeel_control::{Control, room};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::predecessors::Predecessors;
use super::successor::{Order, Successor, Upgrading};
use super::{Ask, manifest};
use crate::admin::Served;

/// Where is heard what came of it.
type Reply = Option<oneshot::Sender<Result<u32, String>>>;

/// One that is under way, or none.
#[derive(Default)]
pub(crate) struct UnderWay(Option<Begun>);

struct Begun {
    upgrading: Upgrading,
    /// What its sockets are called here.
    keys: Vec<Arc<str>>,
    reply: Reply,
}

/// One that serves, and what is to be done about it.
pub(crate) struct Succeeded {
    pub(crate) successor: Successor,
    /// Sockets that it has no use for.
    pub(crate) unwanted: Vec<Arc<str>>,
    reply: Reply,
}

impl Succeeded {
    /// Says so to whoever asked for it.
    pub(crate) fn reply(&mut self) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(self.successor.child.id()));
        }
    }

    /// Has it read its configuration again.
    pub(crate) fn hang_up(&self) {
        let process = i32::try_from(self.successor.child.id()).ok();
        if let Some(process) = process.and_then(Pid::from_raw) {
            let _ = kill_process(process, Signal::HUP);
        }
    }

    /// How it ended, if it has and was not to: one that drains ends well, or when its time is over.
    pub(crate) fn has_failed(&mut self) -> Option<ExitStatus> {
        let ended = self.successor.child.try_wait().ok().flatten();
        ended.filter(|status| !matches!(status.code(), Some(0 | 3)))
    }
}

fn refused(reply: Reply, why: String) {
    error!("not upgraded: {why}; this process goes on");
    if let Some(reply) = reply {
        let _ = reply.send(Err(why));
    }
}

impl UnderWay {
    pub(crate) fn is_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Begins one, unless one is under way.
    pub(crate) fn begin(
        &mut self,
        control: &Control,
        sockets: (&Served, &Predecessors),
        ask: Ask,
        reply: Reply,
    ) {
        if self.is_begun() {
            return refused(reply, "another upgrade is under way".into());
        }
        match order(control, sockets, ask) {
            Ok((order, keys)) => {
                info!("upgrade: {} is started", order.binary.display());
                self.0 = Some(Begun {
                    upgrading: Upgrading::begin(order),
                    keys,
                    reply,
                });
            }
            Err(why) => refused(reply, why),
        }
    }

    /// What came of it: for as long as nothing is under way, nothing comes. None: this process goes on.
    pub(crate) async fn outcome(&mut self) -> Option<Succeeded> {
        let Some(begun) = &mut self.0 else {
            return pending().await;
        };
        let outcome = (&mut begun.upgrading.outcome).await;
        let Begun { keys, reply, .. } = self.0.take()?;
        match outcome.unwrap_or_else(|_| Err("there is no thread for it".into())) {
            Ok(successor) => {
                let unwanted = successor.unwanted.iter();
                let unwanted = unwanted.filter_map(|at| keys.get(*at).cloned()).collect();
                Some(Succeeded {
                    successor,
                    unwanted,
                    reply,
                })
            }
            Err(why) => {
                refused(reply, why);
                None
            }
        }
    }

    /// This process ends: what was started ends with it.
    pub(crate) async fn cancel(&mut self) {
        if let Some(begun) = &self.0 {
            begun.upgrading.cancel();
            if let Some(mut late) = self.outcome().await {
                let _ = late.successor.child.kill();
                let _ = late.successor.child.wait();
            }
        }
    }
}

fn order(
    control: &Control,
    (admin, before): (&Served, &Predecessors),
    ask: Ask,
) -> Result<(Order, Vec<Arc<str>>), String> {
    let said = |error: std::io::Error| error.to_string();
    let mut arguments = std::env::args_os();
    // As it was given, so that what stands there now is found.
    let own = arguments.next().map(PathBuf::from);
    let binary = ask
        .binary
        .or(own)
        .filter(|path| !path.as_os_str().is_empty());
    let handover = control.hand_over().map_err(|error| descriptors(&error))?;
    let (keys, listeners) = handover.listeners.into_iter().unzip();
    let admin = admin.hand_over().map_err(|error| descriptors(&error))?;
    let (manifest, mut sockets) = manifest::write(listeners, admin, &handover.state.wanted)?;
    let earlier = before.hand_over().map_err(|error| descriptors(&error))?;
    sockets.extend(earlier);
    let order = Order {
        binary: binary.map_or_else(|| std::env::current_exe().map_err(said), Ok)?,
        arguments: arguments.collect(),
        within: ask.within,
        manifest,
        sockets,
        state: handover.state,
    };
    Ok((order, keys))
}

/// Each socket takes one more descriptor on its way.
fn descriptors(error: &std::io::Error) -> String {
    let files = room::open_files();
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::MFILE) => format!(
            "handing over takes a descriptor for each socket, and of {files} open files none is left: raise the limit (ulimit -n, LimitNOFILE=)"
        ),
        _ => error.to_string(),
    }
}
