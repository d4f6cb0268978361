//! Owns the threads of the data plane: one worker each, told what to do by the control plane, respawned when one dies.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, LocalSet};

use crate::clock::{Clock, seed};
use crate::connection::Door;
use crate::deadline::SWEEP_EVERY;
use crate::listener::{Listening, accept};
use crate::live::Published;
use crate::net::OsNet;
use crate::worker::Worker;

/// Commands that wait to be heard by one worker.
const COMMANDS_KEPT: usize = 256;

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Take connections here too.
    Listen(Listening),
    /// Take no more connections from the sockets of this key; those that came from them end with their exchange.
    Close(Arc<str>),
    /// Take no more connections at all, and end those that are open with the exchange that they carry.
    Drain,
    /// End now.
    Stop,
}

/// What is known of a worker outside it.
#[derive(Debug, Default)]
pub struct WorkerState {
    /// Connections of clients that are open, as of the last sweep.
    pub connections: AtomicUsize,
    /// Whether it has taken its last connection and counted since.
    pub closed: AtomicBool,
    /// Panics that ended one connection and nothing else.
    pub panics: AtomicU64,
}

/// A running worker.
#[derive(Debug)]
pub struct WorkerThread {
    /// Where it is told.
    pub commands: mpsc::Sender<Command>,
    /// What is known of it.
    pub state: Arc<WorkerState>,
    /// Ends with the worker.
    pub thread: JoinHandle<()>,
}

/// Starts a worker of this number. `state` is what was known of the one before it, if one died.
///
/// # Errors
/// The operating system gives no thread.
pub fn spawn(
    index: usize,
    published: Arc<Published>,
    clock: Clock,
    state: Arc<WorkerState>,
) -> io::Result<WorkerThread> {
    let (commands, told) = mpsc::channel(COMMANDS_KEPT);
    let shared = state.clone();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            // A thread that cannot have a runtime ends, and is seen to have ended.
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            let local = LocalSet::new();
            local.block_on(&runtime, run(index, published, clock, told, shared));
        })?;
    Ok(WorkerThread {
        commands,
        state,
        thread,
    })
}

async fn run(
    index: usize,
    published: Arc<Published>,
    clock: Clock,
    mut told: mpsc::Receiver<Command>,
    state: Arc<WorkerState>,
) {
    let worker = Rc::new(Worker::new(OsNet::new(clock), index, published, seed()));
    let sweeping = worker.clone();
    tokio::task::spawn_local(async move {
        let mut closing = false;
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            sweeping.sweep();
            state
                .connections
                .store(sweeping.connections(), Ordering::Relaxed);
            state.panics.store(sweeping.panics.get(), Ordering::Relaxed);
            // One sweep later: what was accepted just before may not have begun when this one came.
            if closing {
                state.closed.store(true, Ordering::Release);
            }
            closing = sweeping.is_closing();
        }
    });
    let mut doors: HashMap<Arc<str>, Vec<(Rc<Door>, AbortHandle)>> = HashMap::new();
    while let Some(command) = told.recv().await {
        match command {
            Command::Listen(listening) => {
                let door = Rc::new(Door::new(
                    listening.name.clone(),
                    listening.port,
                    listening.state,
                ));
                let worker = worker.clone();
                let accepting = tokio::task::spawn_local({
                    let door = door.clone();
                    async move {
                        if accept(worker, door.clone(), listening.ear).await.is_err() {
                            door.state().counters.accept_failed();
                        }
                    }
                });
                doors
                    .entry(listening.key)
                    .or_default()
                    .push((door, accepting.abort_handle()));
            }
            Command::Close(key) => {
                for (door, accepting) in doors.remove(&key).unwrap_or_default() {
                    door.close();
                    accepting.abort();
                }
                // Idle ones look again and see that their listener is closed; the others lose nothing by looking.
                worker.deadlines.end_idle();
            }
            Command::Drain => {
                for (_, accepting) in doors.drain().flat_map(|(_, doors)| doors) {
                    accepting.abort();
                }
                worker.close();
            }
            Command::Stop => return,
        }
    }
}
