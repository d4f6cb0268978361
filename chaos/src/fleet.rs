//! Owns the backends of a run: processes that are started, killed, frozen and told what to do.
//!
//! What each was asked is summed over its lives: what one counted within a tenth of a second before it was killed is lost.

use std::net::{Ipv4Addr, SocketAddr};

use rustix::process::Signal;

use crate::life::Life;

/// Backends of one fleet; each has addresses of its own.
const FLEET_MOST: usize = 20;

/// An address of this run's own: nobody connects from it, and no other run has it, so that a port stays free while nobody listens.
pub(crate) fn own(number: u8) -> Ipv4Addr {
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, high.max(1), low, number)
}

/// What a backend says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    /// Requests that reached it.
    pub(crate) asked: u64,
    /// Integral of its requests in flight, in microseconds.
    pub(crate) busy: u64,
}

/// One backend, dead or alive.
pub(crate) struct Backend {
    tag: String,
    service_ms: u64,
    pub(crate) address: SocketAddr,
    life: Option<Life>,
    frozen: bool,
    /// Of earlier lives.
    earlier: Said,
    /// What it said last.
    last: Said,
}

impl Backend {
    /// Starts one of a fleet on this port, or any for 0. Its address is one that nobody connects from, so that the port stays free while it is
    /// dead.
    pub(crate) async fn start(
        fleet: usize,
        number: usize,
        port: u16,
        service_ms: u64,
    ) -> Result<Self, String> {
        let mut backend = Self {
            tag: format!("b{number}"),
            service_ms,
            address: (own((fleet * FLEET_MOST + number) as u8 + 1), port).into(),
            life: None,
            frozen: false,
            earlier: Said::default(),
            last: Said::default(),
        };
        backend.revive().await?;
        Ok(backend)
    }

    /// Starts it anew where it was.
    pub(crate) async fn revive(&mut self) -> Result<(), String> {
        let (address, service) = (self.address.to_string(), self.service_ms.to_string());
        let (life, said) = Life::begin(&["backend", &address, &self.tag, &service]).await?;
        let address = said.strip_prefix("at ").and_then(|at| at.parse().ok());
        self.address = address.ok_or("a backend does not say where it is")?;
        (self.life, self.frozen) = (Some(life), false);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        self.read().await;
        if let Some(life) = self.life.take() {
            life.kill().await?;
        }
        self.earlier.asked += self.last.asked;
        self.earlier.busy += self.last.busy;
        self.last = Said::default();
        Ok(())
    }

    /// SIGSTOP, or SIGCONT.
    pub(crate) fn freeze(&mut self, frozen: bool) -> Result<(), String> {
        let Some(life) = &self.life else {
            return Ok(());
        };
        self.frozen = frozen;
        life.signal(if frozen { Signal::STOP } else { Signal::CONT })
    }

    /// A line to its control line.
    pub(crate) async fn tell(&mut self, line: &str) -> Result<String, String> {
        match &mut self.life {
            Some(life) if !self.frozen => life.ask(line).await,
            _ => Err(format!("{} cannot be told `{line}` now", self.tag)),
        }
    }

    /// What it was asked so far; what it said last, while it cannot say.
    pub(crate) async fn read(&mut self) -> Said {
        if let Ok(line) = self.tell("read").await {
            let mut numbers = line.split(' ').map_while(|word| word.parse().ok());
            if let (Some(asked), Some(busy)) = (numbers.next(), numbers.next()) {
                self.last = Said { asked, busy };
            }
        }
        Said {
            asked: self.earlier.asked + self.last.asked,
            busy: self.earlier.busy + self.last.busy,
        }
    }
}
