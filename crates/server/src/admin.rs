//! Owns the admin addresses: bound at the start or inherited, served by a thread of their own, left to the process that takes over.
//!
//! A page of a thousand backends is milliseconds of work, and 64 may ask for it at once: the control plane's ticks do not wait for them. What is
//! to be changed goes to it by its line of orders, as from any other thread.

use std::future::pending;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::{io, thread};

use evenkeel_admin::gate::Gate;
use evenkeel_admin::pages::{Listener, Pages, serve};
use evenkeel_config::plan::admin::SocketPlan;
use evenkeel_config::plan::{AdminPlan, Bind};
use evenkeel_control::control::handover::Inherited;
use evenkeel_control::{Bound as Taken, FileAccess, SocketFile, Watch, bind_unix_for};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::yield_now;

use crate::explain::WORDS;
use crate::privileges::socket_owner;

/// An admin address that is bound and not served yet.
struct Address {
    listener: Listener,
    pages: Pages,
    bind: Bind,
    file: Option<SocketFile>,
}

/// Admin addresses that are bound and not served yet.
pub(crate) struct Bound(Vec<Address>, Arc<Gate>);

/// Admin addresses that are served.
pub(crate) struct Served(Vec<Place>, Arc<Gate>);

/// One of them.
type Place = (
    Pages,
    Bind,
    OwnedFd,
    Option<SocketFile>,
    watch::Sender<bool>,
);

/// What is served there, in logs and between processes.
const fn name(pages: Pages) -> &'static str {
    match pages {
        Pages::All => "admin",
        Pages::Metrics => "metrics",
    }
}

/// Binds what the plan names, or takes it from what is inherited.
///
/// # Errors
/// What cannot be bound, or who may ask there cannot be said, in words.
pub(crate) fn bind(plan: &AdminPlan, inherited: &mut Vec<Inherited>) -> Result<Bound, String> {
    let mut bound = Vec::new();
    for (to, pages) in [(&plan.bind, Pages::All), (&plan.metrics, Pages::Metrics)] {
        let Some(to) = to else { continue };
        let is_for = |one: &Inherited| {
            let named = one.listener.as_deref();
            one.bind == *to && named.is_none_or(|named| named == name(pages))
        };
        let (listener, file) = match inherited.iter().position(is_for) {
            Some(at) => take(inherited.remove(at))?,
            None => bind_one(to, (pages == Pages::All).then_some(&plan.socket))?,
        };
        bound.push(Address {
            listener,
            pages,
            bind: to.clone(),
            file,
        });
    }
    Ok(Bound(bound, Gate::new(plan)?))
}

fn take(one: Inherited) -> Result<(Listener, Option<SocketFile>), String> {
    match one.take(1) {
        Ok(Taken::Tcp(address, mut sockets)) => {
            let socket = sockets
                .pop()
                .ok_or_else(|| format!("{address} has no socket"))?;
            Ok((Listener::Tcp(socket), None))
        }
        Ok(Taken::Unix(socket, file)) => Ok((Listener::Unix(socket), file)),
        Err(error) => Err(format!("the admin address cannot be taken over: {error}")),
    }
}

fn bind_one(
    to: &Bind,
    file: Option<&SocketPlan>,
) -> Result<(Listener, Option<SocketFile>), String> {
    match to {
        Bind::Tcp(address) => {
            let socket = tcp(*address).map_err(|error| format!("cannot listen on {address} for admin: {error}; another instance may run, or name another `admin` address"))?;
            Ok((socket, None))
        }
        Bind::Unix(path) => {
            let access = file.map(access).transpose()?;
            let (socket, file) = bind_unix_for(path, access).map_err(|error| {
                format!(
                    "cannot listen on unix:{} for admin: {error}",
                    path.display()
                )
            })?;
            Ok((Listener::Unix(socket), Some(file)))
        }
    }
}

fn access(plan: &SocketPlan) -> Result<FileAccess, String> {
    let (user, group) = socket_owner(plan.user.as_deref(), plan.group.as_deref())?;
    Ok(FileAccess {
        mode: plan.mode,
        user,
        group,
    })
}

fn tcp(address: std::net::SocketAddr) -> io::Result<Listener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Tcp(socket))
}

impl Bound {
    /// Where the API is, over TCP.
    pub(crate) fn address(&self) -> Option<std::net::SocketAddr> {
        let all = self.0.iter().filter(|one| one.pages == Pages::All);
        let mut bound = all.filter_map(|one| match &one.listener {
            Listener::Tcp(socket) => socket.local_addr().ok(),
            Listener::Unix(_) => None,
        });
        bound.next()
    }

    /// Serves them as long as the process lives; files of sockets go with what is returned. Where there is none, there is no thread either.
    ///
    /// # Errors
    /// No descriptor left, or no thread.
    pub(crate) fn serve(self, watch: &Watch) -> io::Result<Served> {
        let Self(addresses, gate) = self;
        if addresses.is_empty() {
            return Ok(Served(Vec::new(), gate));
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let serve = |address| address_served(address, &runtime, watch, &gate);
        let served = addresses.into_iter().map(serve).collect::<Result<_, _>>()?;
        let (begun, begins) = sync_channel(1);
        thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                // Behind the tasks that serve.
                yield_now().await;
                let _ = begun.send(());
                pending::<()>().await;
            });
        })?;
        // Who is ready is asked, and has taken the memory for that.
        let _ = begins.recv();
        Ok(Served(served, gate))
    }
}

fn address_served(
    address: Address,
    runtime: &Runtime,
    watch: &Watch,
    gate: &Arc<Gate>,
) -> io::Result<Place> {
    let Address {
        listener,
        pages,
        bind,
        mut file,
    } = address;
    let kept = match &listener {
        Listener::Tcp(socket) => {
            let address = socket.local_addr()?;
            let (what, to) = (name(pages), address.to_string());
            tracing::info!(said.address = to, "{what} is at {address}");
            socket.as_fd().try_clone_to_owned()?
        }
        Listener::Unix(socket) => socket.as_fd().try_clone_to_owned()?,
    };
    if let Some(file) = &mut file {
        file.take();
    }
    let (watch, gate) = (watch.clone(), gate.clone());
    let (close, closing) = watch::channel(false);
    runtime.spawn(async move {
        if let Err(error) = serve(listener, pages, watch, gate, WORDS, closing).await {
            tracing::error!("the admin address is not served: {error}");
        }
    });
    Ok((pages, bind, kept, file, close))
}

impl Served {
    /// The sockets, for another process.
    ///
    /// # Errors
    /// No descriptor left.
    pub(crate) fn hand_over(&self) -> io::Result<Vec<Inherited>> {
        let one = |(pages, bind, socket, file, _): &Place| {
            Ok(Inherited {
                listener: Some(name(*pages).into()),
                bind: bind.clone(),
                sockets: vec![socket.try_clone()?],
                file: file.is_some(),
            })
        };
        self.0.iter().map(one).collect()
    }

    /// Takes no more questions; another process answers them. Those that are asked are answered.
    pub(crate) fn give_up(&mut self) {
        for (_, _, _, file, close) in self.0.drain(..) {
            close.send_replace(true);
            if let Some(mut file) = file {
                file.leave();
            }
        }
    }

    /// Whether nobody waits for an answer.
    pub(crate) fn has_answered(&self) -> bool {
        self.1.counts().asking() == 0
    }
}
