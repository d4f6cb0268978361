//! Owns the demo's backends: real HTTP/1.1 over loopback, each as fast as it is, and one whose health has a schedule.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_control::clock::Clock;
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::told::Told;

/// One of them.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// A request takes half of this to one and a half.
    pub(crate) takes: Duration,
}

/// All of them; the last has a schedule.
pub(crate) const CAST: [Kind; 5] = [
    Kind::new("fast-1", 2),
    Kind::new("fast-2", 2),
    Kind::new("medium", 8),
    Kind::new("slow", 40),
    Kind::new(SHAKY, 2),
];

/// The one with a schedule.
pub(crate) const SHAKY: &str = "shaky";

/// Requests that one works at; more of them queue there.
const PLACES: usize = 4;

/// The most bytes of a request's head.
const HEAD_MOST: usize = 16 * 1024;

impl Kind {
    const fn new(name: &'static str, millis: u64) -> Self {
        Self {
            name,
            takes: Duration::from_millis(millis),
        }
    }
}

/// How the one with a schedule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// 500, at once: the quickest answer of all.
    Fails,
    Refuses,
}

/// The schedule, which repeats.
const CYCLE: [(Mood, Duration); 4] = [
    (Mood::Well, Duration::from_secs(2)),
    (Mood::Fails, Duration::from_secs(2)),
    (Mood::Refuses, Duration::from_secs(2)),
    (Mood::Well, Duration::from_secs(6)),
];

impl Mood {
    /// How it is so long after the start.
    pub(crate) fn after(since: Duration) -> Self {
        let whole: Duration = CYCLE.iter().map(|(_, lasts)| *lasts).sum();
        let mut left = Duration::from_nanos(
            u64::try_from(since.as_nanos() % whole.as_nanos()).unwrap_or_default(),
        );
        for (mood, lasts) in CYCLE {
            if left < lasts {
                return mood;
            }
            left -= lasts;
        }
        Self::Well
    }

    fn words(self) -> &'static str {
        match self {
            Self::Well => "is well again",
            Self::Fails => "begins to answer 500, at once",
            Self::Refuses => "refuses connections",
        }
    }
}

/// A port that stays ours while nobody listens on it.
pub(crate) struct Port {
    listener: Option<TcpListener>,
    /// Bound and not listening: the kernel refuses who connects, and gives the port to nobody else.
    spare: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// Any free one of loopback. Needs a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let first = bound(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = first.local_addr()?;
        Ok(Self {
            listener: Some(first.listen(1024)?),
            spare: bound(address)?,
            address,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn listen(&mut self) -> io::Result<()> {
        let next = bound(self.address)?;
        let spare = std::mem::replace(&mut self.spare, next);
        self.listener = Some(spare.listen(1024)?);
        Ok(())
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What the connections of one backend share.
struct Desk {
    kind: &'static Kind,
    places: Semaphore,
    rng: RefCell<Rng>,
    clock: Clock,
    start: Instant,
}

impl Desk {
    fn mood(&self) -> Mood {
        if self.kind.name == SHAKY {
            Mood::after(self.clock.now().since(self.start))
        } else {
            Mood::Well
        }
    }
}

/// Serves for good.
pub(crate) async fn serve(ports: Vec<Port>, clock: Clock, told: Arc<Told>) {
    let mut all = JoinSet::new();
    for (seed, (port, kind)) in (1..).zip(ports.into_iter().zip(&CAST)) {
        let desk = Rc::new(Desk {
            kind,
            places: Semaphore::new(PLACES),
            rng: RefCell::new(Rng::with_seed(seed)),
            clock,
            start: clock.now(),
        });
        all.spawn_local(stand(port, desk, told.clone()));
    }
    while all.join_next().await.is_some() {}
}

async fn stand(mut port: Port, desk: Rc<Desk>, told: Arc<Told>) {
    let mut ticks = interval(Duration::from_millis(20));
    let mut connections = JoinSet::new();
    let mut before = Mood::Well;
    loop {
        let came = async {
            match &port.listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            came = came => {
                if let Ok((stream, _)) = came {
                    connections.spawn_local(answer_all(stream, desk.clone()));
                }
                // Those that have ended.
                while connections.try_join_next().is_some() {}
            }
            _ = ticks.tick() => {}
        }
        let mood = desk.mood();
        if mood != before {
            told.say(&format!("{} {}", desk.kind.name, mood.words()));
        }
        before = mood;
        if mood == Mood::Refuses {
            port.listener = None;
            connections.abort_all();
        } else if port.listener.is_none() {
            // A failure is tried again at the next tick.
            let _ = port.listen();
        }
    }
}

/// Answers every request of a connection. Its clients send heads only.
async fn answer_all(mut stream: TcpStream, desk: Rc<Desk>) {
    let mut came = Vec::new();
    while stream.read_buf(&mut came).await.is_ok_and(|more| more > 0) && came.len() < HEAD_MOST {
        if !came.ends_with(b"\r\n\r\n") {
            continue;
        }
        let answer = answer(came.starts_with(b"GET /health "), &desk).await;
        came.clear();
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

async fn answer(checked: bool, desk: &Desk) -> &'static [u8] {
    const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    const FAULT: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nfault\n";
    if desk.mood() == Mood::Fails {
        return FAULT;
    }
    // A check is answered beside the queue, so that a busy backend is not said to be down.
    if !checked && let Ok(_place) = desk.places.acquire().await {
        let factor = 0.5 + desk.rng.borrow_mut().f64();
        sleep(desk.kind.takes.mul_f64(factor)).await;
    }
    FINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule() {
        for (millis, mood) in [
            (0, Mood::Well),
            (1_999, Mood::Well),
            (2_000, Mood::Fails),
            (3_999, Mood::Fails),
            (4_000, Mood::Refuses),
            (6_000, Mood::Well),
            (11_999, Mood::Well),
            (14_000, Mood::Fails),
            (17_000, Mood::Refuses),
        ] {
            assert_eq!(Mood::after(Duration::from_millis(millis)), mood, "{millis}");
        }
    }
}
