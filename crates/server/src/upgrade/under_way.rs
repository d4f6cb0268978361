//! Owns an upgrade that is under way: one at a time.

use std::future::pending;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use evenkeel_control::events::{Chronicle, What};
use evenkeel_control::{Control, room};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::predecessors::Predecessors;
use super::successor::{Order, Successor, Upgrading};
use super::{Ask, manifest};
use crate::admin::Served;

/// Why one that ends upgrades nothing.
pub(crate) const ENDS: &str = "this process ends";

/// Where is heard what came of it.
pub(crate) type Reply = Option<oneshot::Sender<Result<u32, String>>>;

/// One that is under way, or none.
#[derive(Default)]
pub(crate) struct UnderWay(Option<Begun>);

struct Begun {
    upgrading: Upgrading,
    /// What its sockets are called here.
    keys: Vec<Arc<str>>,
    reply: Reply,
    chronicle: Arc<Chronicle>,
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
        signal(&self.successor.child, Signal::HUP);
    }

    /// How it ended, if it has and was not to: one that drains ends well, or when its time is over.
    pub(crate) fn has_failed(&mut self) -> Option<ExitStatus> {
        let ended = self.successor.child.try_wait().ok().flatten();
        ended.filter(|status| !matches!(status.code(), Some(0 | 3)))
    }
}

/// Who asks a process that drains to read its configuration has not heard of the one that serves.
pub(crate) fn reload_elsewhere(succeeded: Option<&Succeeded>) {
    match succeeded {
        Some(succeeded) => {
            info!("not reloaded: the process that serves is asked to");
            succeeded.hang_up();
        }
        None => error!("not reloaded: {ENDS}"),
    }
}

/// A process that had taken over when this one was told to end: it drains, too. None: there is none.
#[derive(Default)]
pub(crate) struct Late(Option<Child>);

impl Late {
    /// Whether it has not ended.
    pub(crate) fn drains(&mut self) -> bool {
        let late = self.0.as_mut();
        late.is_some_and(|late| matches!(late.try_wait(), Ok(None)))
    }

    /// Ends it: it has had as long as this one.
    pub(crate) fn end(&mut self) {
        if let Some(late) = &mut self.0 {
            let _ = late.kill();
            let _ = late.wait();
        }
    }
}

/// Says that nothing comes of it, and why.
pub(crate) fn refused(reply: Reply, why: &str) {
    let goes_on = if why == ENDS {
        ""
    } else {
        "; this process goes on"
    };
    error!("not upgraded: {why}{goes_on}");
    if let Some(reply) = reply {
        let _ = reply.send(Err(why.to_owned()));
    }
}

impl UnderWay {
    pub(crate) fn is_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Begins one, unless one is under way; the process is started when `written` has ended, or takes too long.
    pub(crate) fn begin(
        &mut self,
        control: &Control,
        sockets: (&Served, &Predecessors),
        (ask, reply): (Ask, Reply),
        written: Receiver<()>,
    ) {
        if self.is_begun() {
            return refused(reply, "another upgrade is under way");
        }
        let chronicle = control.chronicle();
        match order(control, sockets, ask) {
            Ok((order, keys)) => {
                chronicle.write(What::UpgradeBegun);
                info!("upgrade: {} is started", order.binary.display());
                self.0 = Some(Begun {
                    upgrading: Upgrading::begin(order, written),
                    keys,
                    reply,
                    chronicle,
                });
            }
            Err(why) => {
                refused(reply, &why);
                chronicle.write(What::UpgradeRefused(why));
            }
        }
    }

    /// What came of it: for as long as nothing is under way, nothing comes. None: this process goes on.
    pub(crate) async fn outcome(&mut self) -> Option<Succeeded> {
        let Some(begun) = &mut self.0 else {
            return pending().await;
        };
        let outcome = (&mut begun.upgrading.outcome).await;
        let Begun {
            keys,
            reply,
            chronicle,
            ..
        } = self.0.take()?;
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
                refused(reply, &why);
                chronicle.write(What::UpgradeRefused(why));
                None
            }
        }
    }

    /// This process ends: what was started ends with it. Returned is one that serves already: it is told to drain, since it may have
    /// taken requests.
    pub(crate) async fn cancel(&mut self) -> Late {
        let Some(Begun {
            upgrading, reply, ..
        }) = self.0.take()
        else {
            return Late::default();
        };
        upgrading.cancel();
        refused(reply, ENDS);
        match upgrading.outcome.await {
            Ok(Ok(late)) => {
                signal(&late.child, Signal::TERM);
                Late(Some(late.child))
            }
            _ => Late::default(),
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let process = i32::try_from(child.id()).ok();
    if let Some(process) = process.and_then(Pid::from_raw) {
        let _ = kill_process(process, signal);
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// One that serves when this process is told to end may have taken requests: it is told, not killed.
    #[test]
    fn one_that_serves_already_drains_too() {
        let says = "trap 'exit 7' TERM; echo; while :; do sleep 0.01; done";
        let mut command = Command::new("sh");
        let mut child = command
            .args(["-c", says])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut from = BufReader::new(child.stdout.take().unwrap());
        from.read_line(&mut line).unwrap();
        let (told, _its) = UnixStream::pair().unwrap();
        let successor = Successor {
            child,
            unwanted: Vec::new(),
            told,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut late = runtime.unwrap().block_on(async {
            let (reply, heard) = oneshot::channel();
            let mut under_way = UnderWay(Some(Begun {
                upgrading: Upgrading::ended(Ok(successor)),
                keys: Vec::new(),
                reply: Some(reply),
                chronicle: Chronicle::begin(Duration::ZERO).into(),
            }));
            let late = under_way.cancel().await;
            assert!(!under_way.is_begun());
            assert_eq!(heard.await.unwrap(), Err(ENDS.into()));
            late
        });
        while late.drains() {
            std::thread::yield_now();
        }
        let status = late.0.as_mut().unwrap().wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(7), None));
        late.end();
    }
}
