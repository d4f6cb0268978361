//! Owns accepting: the sockets of a listener, one of its own per worker, and the loop that takes connections from it.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::plan::Bind;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::sync::Notify;

use crate::connection::{Admitted, Door, slots};
use crate::live::DoorState;
use crate::net::OsNet;
use crate::room::Place;
use crate::runner::Runners;
use crate::worker::Worker;
use begun::{Taking, one_after_another};
pub use ear::Ear;
use ear::{Registered, Taken};
pub use spread::Spread;
use spread::{Charge, Hearing};

/// Connections by client's address.
pub mod addresses;

/// One worker's socket.
mod ear;

/// From a connection that was taken to one that is served.
mod begun;

/// Which worker has a connection.
mod spread;

/// Connections that the kernel keeps until they are accepted; it takes its own limit (`net.core.somaxconn`) where that is lower.
const BACKLOG: i32 = 4096;

/// Connections that a socket takes at most before it closes; as many as can wait in its queue.
const LAST: usize = 4096;

/// How long accepting rests when the process has no descriptor left, or the listener no place.
const REST: Duration = Duration::from_millis(20);

/// A bound address, ready for workers.
#[derive(Debug)]
pub enum Bound {
    /// One socket per worker; the kernel spreads connections over them.
    Tcp(SocketAddr, Vec<std::net::TcpListener>),
    /// One socket for all, and its file, if that goes with it.
    Unix(StdUnixListener, Option<SocketFile>),
}

/// Sockets of another process, or of one before this.
pub mod inherited;

/// Who may have the port already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Nobody: a second process would take half of the first one's connections in silence.
    Alone,
    /// This process: a listener that goes when this one has come.
    Ours,
}

/// Binds an address for so many workers.
///
/// # Errors
/// Whatever the operating system says: in use, not permitted, not an address of this machine.
pub fn bind(to: &Bind, workers: usize, port: Port) -> io::Result<Bound> {
    match to {
        Bind::Tcp(address) => {
            // Listens without sharing, which the kernel refuses while another listens, and lets ours in once it has the port. It
            // goes when they listen: never is the port free between.
            let guard = match port {
                Port::Alone => Some(guard(*address)?),
                Port::Ours => None,
            };
            let address = guard
                .as_ref()
                .and_then(|guard| guard.local_addr().ok()?.as_socket())
                .unwrap_or(*address);
            let first = bind_tcp(address)?;
            let bound = first.local_addr()?;
            let mut all = vec![first];
            for _ in 1..workers {
                all.push(bind_tcp(bound)?);
            }
            Ok(Bound::Tcp(bound, all))
        }
        Bind::Unix(path) => {
            let (socket, file) = bind_unix(path)?;
            Ok(Bound::Unix(socket, Some(file)))
        }
    }
}

fn guard(address: SocketAddr) -> io::Result<Socket> {
    let socket = tcp(address)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(1)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = tcp(address)?;
    socket.set_reuse_port(true)?;
    // Inherited by what is accepted: no call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // One family per socket, so that `[::]` and `0.0.0.0` stand side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// The file of a Unix socket that was bound here; removed with its owner, if it is still this one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and number.
    node: (u64, u64),
    /// Another process's.
    left: bool,
}

impl SocketFile {
    /// The file of a socket that was inherited with it: left alone until it is [taken](Self::take). None: there is none.
    #[must_use]
    pub fn inherited(path: &Path) -> Option<Self> {
        let node = node(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            node,
            left: true,
        })
    }

    /// From here on it goes with its owner.
    pub fn take(&mut self) {
        self.left = false;
    }

    /// Leaves it to whoever has the socket now.
    pub fn leave(&mut self) {
        self.left = true;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        if node(&self.path).is_ok_and(|node| node == self.node) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn node(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Binds a Unix socket, which does not block. One left over from a process that is gone is replaced; one that somebody listens on
/// is not, nor is any other file.
///
/// # Errors
/// Whatever the operating system says.
pub fn bind_unix(path: &Path) -> io::Result<(StdUnixListener, SocketFile)> {
    bind_unix_for(path, None)
}

/// Whose the file of a socket is, and who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileAccess {
    /// Its permissions.
    pub mode: u32,
    /// Its user. None: who makes it.
    pub user: Option<u32>,
    /// Its group. None: that of who makes it.
    pub group: Option<u32>,
}

/// The same for these alone: they are looked at before anybody can connect.
///
/// # Errors
/// Whatever the operating system says, of the file's owner too.
pub fn bind_unix_for(
    path: &Path,
    access: Option<FileAccess>,
) -> io::Result<(StdUnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if !is_left_over(path) {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    // Goes with this if anything below fails.
    let file = SocketFile {
        path: path.to_owned(),
        node: node(path)?,
        left: false,
    };
    if let Some(FileAccess { mode, user, group }) = access {
        std::os::unix::fs::lchown(path, user, group)?;
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    // Until it listens, whoever connects is refused.
    socket.listen(BACKLOG)?;
    Ok((socket.into(), file))
}

/// Whether it is a socket that nobody listens on. Any other failure than a refusal (a full queue, a lack of permission) says that
/// somebody may.
fn is_left_over(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Not waiting: who listens may have a full queue.
    let asked = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .and_then(|socket| socket.connect(&SockAddr::unix(path)?));
    is_socket && asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// What a worker is to listen on.
#[derive(Debug)]
pub struct Listening {
    /// The listener's name.
    pub name: Arc<str>,
    /// What it is closed by: a listener may have several sockets.
    pub key: Arc<str>,
    /// Where it is bound, as the plan says it.
    pub bind: Bind,
    /// Its port; 0 for a Unix socket.
    pub port: u16,
    /// The socket.
    pub ear: Ear,
    /// What all workers count of it.
    pub state: Arc<DoorState>,
    /// The workers that listen there; the same for all of them.
    pub spread: Arc<Spread>,
}

/// Takes connections until it is told to end, and serves each in a task of its own. Before it ends it takes what the kernel has
/// accepted: closing the socket over them would reset them.
///
/// # Errors
/// The socket cannot be registered with the runtime.
pub async fn accept(
    worker: Rc<Worker<OsNet>>,
    door: Rc<Door>,
    (ear, spread): (Ear, Arc<Spread>),
    end: Rc<Notify>,
) -> io::Result<()> {
    let ear = Registered::new(ear)?;
    let mut hearing = Hearing::begin(spread, worker.index);
    let slots = slots(&worker);
    learn(&worker, &door);
    let tasks = Rc::new(Runners::default());
    worker.sweeps(Rc::<Runners<Taking>>::downgrade(&tasks));
    let serve = async |taken: Taken, charge: Charge| {
        let Ok((sock, arrival)) = taken.served() else {
            return door.state().counters.accept_failed();
        };
        // Who comes while there is no place waits here, those behind it in the kernel's queue.
        let admitted = admitted(&worker, &door).await;
        let place = place(&worker).await;
        let taking = Taking {
            sock,
            arrival,
            admitted,
            held: (place, charge),
        };
        if let Some(runner) = tasks.hand(taking) {
            let (worker, door, slots) = (worker.clone(), door.clone(), slots.clone());
            let tasks = Rc::downgrade(&tasks);
            tokio::task::spawn_local(one_after_another(runner, tasks, worker, door, slots));
        }
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = end.notified() => break,
            () = hearing.given(), if hearing.is_shared() => {
                for (taken, charge) in hearing.come() {
                    serve(taken, charge).await;
                }
                continue;
            }
            accepted = ear.accept() => accepted,
        };
        let Some(taken) = counted(&worker, &door, accepted).await else {
            continue;
        };
        match hearing.give(taken) {
            Some((taken, charge)) => serve(taken, charge).await,
            None => door.state().counters.given(),
        }
    }
    for (taken, charge) in hearing.leave() {
        serve(taken, charge).await;
    }
    // One that the other process has no use for is closed first.
    if worker.is_handed_over() && !door.is_closing() {
        return Ok(());
    }
    for taken in last(&worker, &door, ear).await {
        serve(taken, hearing.keep()).await;
    }
    // Served at least once, so that they are counted as open when this has ended.
    tokio::task::yield_now().await;
    Ok(())
}

/// What its clients are held to, while a plan has its listener.
fn learn(worker: &Worker<OsNet>, door: &Door) {
    let view = worker.view();
    door.held(&view.live, view.version);
    door.is_tcp(&view.live, view.version);
    door.expected(&view.live, view.version);
}

/// What waits at a socket, which is closed.
async fn last(worker: &Worker<OsNet>, door: &Door, ear: Registered) -> Vec<Taken> {
    let last = ear.into_last();
    let mut waiting = Vec::new();
    // Bounded: who comes without end cannot keep the socket open.
    while waiting.len() < LAST {
        let accepted = last.accept();
        if matches!(&accepted, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            break;
        }
        waiting.extend(counted(worker, door, accepted).await);
    }
    waiting
}

/// A connection, once it is counted. None: there is none.
async fn counted<T>(worker: &Worker<OsNet>, door: &Door, accepted: io::Result<T>) -> Option<T> {
    let view = worker.view();
    // Finds out whose it is now.
    door.plan(&view.live, view.version);
    let state = door.state();
    drop(view);
    match accepted {
        Ok(connection) => {
            state.counters.accepted();
            return Some(connection);
        }
        // The client gave up before it was accepted.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
        // No descriptor or no memory left: those that serve go on, and free some.
        Err(_) => {
            state.counters.accept_failed();
            worker.deadlines.end_oldest_idle(worker.now());
            tokio::time::sleep(REST).await;
        }
    }
    None
}

/// A place under the listener's limit, once there is one.
async fn admitted(worker: &Worker<OsNet>, door: &Door) -> Admitted {
    loop {
        let view = worker.view();
        let most = door
            .plan(&view.live, view.version)
            // Its listener has left the plan: who came before is served.
            .map_or(usize::MAX, |(_, plan)| plan.limits.connections);
        drop(view);
        match Admitted::take(&door.state(), most) {
            Some(admitted) => return admitted,
            None => tokio::time::sleep(REST).await,
        }
    }
}

/// A place that the open-files limit leaves. While there is none, the oldest idle connections make some: here at once, those of
/// other workers with their next sweep.
async fn place(worker: &Worker<OsNet>) -> Place {
    if let Some(place) = worker.room.take() {
        return place;
    }
    let _waiting = worker.room.wait();
    loop {
        if worker.deadlines.end_oldest_idle(worker.now()) {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(REST).await;
        }
        if let Some(place) = worker.room.take() {
            return place;
        }
    }
}
