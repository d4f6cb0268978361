//! Owns the admin addresses: bound at the start, served beside the control plane.

use std::io;
use std::sync::Arc;

use evenkeel_admin::guests::Counts;
use evenkeel_admin::pages::{Listener, Pages, serve};
use evenkeel_config::plan::{AdminPlan, Bind};
use evenkeel_control::{SocketFile, Watch, bind_unix};

/// An admin address that is bound and not served yet.
pub(crate) struct Bound(Vec<(Listener, Pages)>, Vec<SocketFile>);

/// Binds what the plan names.
///
/// # Errors
/// What cannot be bound, in words.
pub(crate) fn bind(plan: &AdminPlan) -> Result<Bound, String> {
    let (mut bound, mut files) = (Vec::new(), Vec::new());
    for (to, pages) in [(&plan.bind, Pages::All), (&plan.metrics, Pages::Metrics)] {
        let Some(to) = to else { continue };
        let listener = match to {
            Bind::Tcp(address) => tcp(*address).map_err(|error| format!("cannot listen on {address} for admin: {error}; another instance may run, or name another `admin` address"))?,
            Bind::Unix(path) => {
                let (socket, file) = bind_unix(path).map_err(|error| {
                    format!("cannot listen on unix:{} for admin: {error}", path.display())
                })?;
                files.push(file);
                Listener::Unix(socket)
            }
        };
        bound.push((listener, pages));
    }
    Ok(Bound(bound, files))
}

fn tcp(address: std::net::SocketAddr) -> io::Result<Listener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Tcp(socket))
}

impl Bound {
    /// Serves them as long as the runtime lives; files of sockets go with what is returned.
    #[must_use]
    pub(crate) fn serve(self, watch: &Watch) -> Vec<SocketFile> {
        let counts = Arc::new(Counts::default());
        for (listener, pages) in self.0 {
            if let Listener::Tcp(socket) = &listener
                && let Ok(address) = socket.local_addr()
            {
                let what = match pages {
                    Pages::All => "admin",
                    Pages::Metrics => "metrics",
                };
                let to = address.to_string();
                tracing::info!(said.address = to, "{what} is at {address}");
            }
            let (watch, counts) = (watch.clone(), counts.clone());
            tokio::spawn(async move {
                if let Err(error) = serve(listener, pages, watch, counts).await {
                    tracing::error!("the admin address is not served: {error}");
                }
            });
        }
        self.1
    }
}
