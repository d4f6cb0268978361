//! Owns the threads of the data plane: one worker each, told what to do by the control plane, respawned when one dies.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

use crate::clock::{Clock, seed};
use crate::connection::Door;
use crate::deadline::{SWEEP_EVERY, SWEEP_PARTS};
use crate::listener::{Listening, accept};
use crate::live::Published;
use crate::net::OsNet;
use crate::worker::Worker;

/// Commands that wait to be heard by one worker: one for each socket that a process may have comes at a start. The line takes room
/// for as many as wait.
const COMMANDS_KEPT: usize = 1024 * 1024;

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Take connections here too.
    Listen(Listening),
    /// Take what waits at the sockets of this key and no more; connections that came from them end with their exchange, and who is idle
    /// may begin one within so long.
    Close(Arc<str>, Duration),
    /// The same for all sockets, and for every connection.
    Drain(Duration),
    /// The same, but leave what waits at all sockets to another process that has them too.
    HandOver(Duration),
    /// The time of all that drains is over: whoever waits for an answer is told so, the rest is cut.
    Cut,
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
    /// Sockets that it takes connections from, or was told to. Those that it took are among `connections` when this falls.
    pub listening: AtomicUsize,
}

impl WorkerThread {
    /// Has it take connections from a socket too. False: it has ended, or has too many commands to hear.
    #[must_use]
    pub fn listen(&self, listening: Listening) -> bool {
        self.state.listening.fetch_add(1, Ordering::Relaxed);
        let told = self.commands.try_send(Command::Listen(listening)).is_ok();
        if !told {
            self.state.listening.fetch_sub(1, Ordering::Relaxed);
        }
        told
    }
}

/// Takes back what [`WorkerThread::listen`] added.
struct Listened(Rc<Worker<OsNet>>, Arc<WorkerState>);

impl Drop for Listened {
    fn drop(&mut self) {
        let Self(worker, state) = self;
        state
            .connections
            .store(worker.connections(), Ordering::Relaxed);
        state.listening.fetch_sub(1, Ordering::Release);
    }
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

/// The sockets of each key, and how each is told to end.
type Doors = HashMap<Arc<str>, Vec<(Rc<Door>, Rc<Notify>)>>;

fn end_all(doors: &mut Doors) {
    for (_, end) in doors.drain().flat_map(|(_, doors)| doors) {
        end.notify_one();
    }
}

/// Sweeps at its times, for ever, and lets others see what it saw.
async fn keep_sweeping(worker: Rc<Worker<OsNet>>, state: Arc<WorkerState>) {
    let mut closing = false;
    loop {
        let began = worker.now();
        let until = |part| {
            let until = began + SWEEP_EVERY * part / SWEEP_PARTS;
            tokio::time::sleep(until.since(worker.now()))
        };
        for part in 1..SWEEP_PARTS {
            if !worker.has_more_to_sweep() {
                break;
            }
            until(part).await;
            worker.sweep_part();
        }
        until(SWEEP_PARTS).await;
        worker.sweep();
        state.panics.store(worker.panics.get(), Ordering::Relaxed);
        state
            .connections
            .store(worker.connections(), Ordering::Relaxed);
        // One sweep later: what was accepted just before may not have begun when this one came.
        if closing {
            state.closed.store(true, Ordering::Release);
        }
        closing = worker.is_closing();
    }
}

async fn run(
    index: usize,
    published: Arc<Published>,
    clock: Clock,
    mut told: mpsc::Receiver<Command>,
    state: Arc<WorkerState>,
) {
    let worker = Rc::new(Worker::new(OsNet::new(clock), index, published, seed()));
    // Those of the worker in whose place it comes are counted on.
    worker.panics.set(state.panics.load(Ordering::Relaxed));
    tokio::task::spawn_local(keep_sweeping(worker.clone(), state.clone()));
    let ringing = worker.clone();
    tokio::task::spawn_local(async move {
        ringing.keep_ringing(tokio::time::sleep).await;
    });
    let mut doors = Doors::new();
    while let Some(command) = told.recv().await {
        match command {
            Command::Listen(listening) => {
                let door = Door::new(listening.name, listening.port, listening.state);
                let door = Rc::new(door.bound(listening.bind));
                let listened = Listened(worker.clone(), state.clone());
                let end = Rc::new(Notify::new());
                let (worker, accepting, told) = (worker.clone(), door.clone(), end.clone());
                tokio::task::spawn_local(async move {
                    let _listened = listened;
                    let hears = (listening.ear, listening.spread);
                    let ended = accept(worker, accepting.clone(), hears, told).await;
                    if ended.is_err() {
                        accepting.state().counters.accept_failed();
                    }
                });
                doors.entry(listening.key).or_default().push((door, end));
            }
            Command::Close(key, patience) => {
                for (door, end) in doors.remove(&key).unwrap_or_default() {
                    door.close(worker.now(), patience);
                    end.notify_one();
                }
                // Idle ones look again and see that their listener is closed; the others lose nothing by looking.
                worker.deadlines.end_idle();
            }
            Command::Drain(patience) => {
                end_all(&mut doors);
                worker.close(patience);
            }
            Command::HandOver(patience) => {
                end_all(&mut doors);
                worker.hand_over(patience);
            }
            Command::Cut => worker.cut(),
            Command::Stop => return,
        }
    }
}
