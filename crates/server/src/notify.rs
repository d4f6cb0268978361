//! Owns what the system's manager of services is told (sd_notify(3)): one datagram each, and nothing where nobody asked for it.

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::clock::monotonic_usec;
use crate::inputs::variable;

/// Who is told. Nobody, where the environment names nobody.
pub(crate) struct Notify {
    socket: Option<(UnixDatagram, OsString)>,
    /// How often it wants to hear that this process lives.
    pub(crate) watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says.
    pub(crate) fn from_environment() -> Self {
        let named = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = named.and_then(|name| {
            let socket = UnixDatagram::unbound().ok()?;
            // Who asks may be gone or busy: this process has other things to do.
            socket.set_nonblocking(true).ok()?;
            Some((socket, name))
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let of_another =
            number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
        let every = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && !of_another);
        Self {
            watchdog: every
                .filter(|_| socket.is_some())
                .map(|usec| Duration::from_micros(usec) / 2),
            socket,
        }
    }

    /// It serves.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serves\n");
    }

    /// It reads its configuration again; [`ready`](Self::ready) ends that.
    pub(crate) fn reloading(&self) {
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reads its configuration\n",
            monotonic_usec()
        ));
    }

    /// It drains, and ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=drains\n");
    }

    /// It lives.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    /// Another process is the service now.
    pub(crate) fn succeeded_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}\n"));
    }

    fn tell(&self, text: &str) {
        let Some((socket, name)) = &self.socket else {
            return;
        };
        // Untold is no reason to serve less.
        let _ = send(socket, name, text.as_bytes());
    }
}

#[cfg(target_os = "linux")]
fn send(socket: &UnixDatagram, name: &OsString, text: &[u8]) -> std::io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::SocketAddr;

    match name.as_bytes().strip_prefix(b"@") {
        Some(rest) => socket.send_to_addr(text, &SocketAddr::from_abstract_name(rest)?),
        None => socket.send_to(text, name),
    }
}

#[cfg(not(target_os = "linux"))]
fn send(socket: &UnixDatagram, name: &OsString, text: &[u8]) -> std::io::Result<usize> {
    socket.send_to(text, name)
}
