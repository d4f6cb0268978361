//! Owns the demo's clients: an open loop. Requests are due on a schedule that knows nothing of answers, and a latency counts from
//! the moment a request was due, so that a proxy that stalls does not look quick because nobody asked meanwhile.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_balance::learn::histogram::Histogram;
use evenkeel_balance::time::Instant;
use evenkeel_control::clock::Clock;
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Requests under way at once; what is due beyond is counted and not sent.
const OUTSTANDING_MOST: usize = 256;

/// So long an answer is waited for after the end.
const GRACE: Duration = Duration::from_secs(2);

/// A connection that has been idle for longer is not used again: the proxy may be about to close it.
const IDLE_MOST: Duration = Duration::from_secs(30);

/// The most bytes of an answer.
const ANSWER_MOST: usize = 64 * 1024;

/// The same arrivals in every run.
const SEED: u64 = 0x5EED;

/// What became of the requests. What was due is, at the end, the sum of the four others.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) due: AtomicU64,
    /// Answered with 200.
    pub(crate) well: AtomicU64,
    /// Answered with something else.
    pub(crate) errors: AtomicU64,
    /// Begun, and never answered whole.
    pub(crate) broken: AtomicU64,
    pub(crate) unsent: AtomicU64,
    /// From the moment a request was due to its whole answer, errors too.
    pub(crate) latency: Histogram,
}

/// One at a moment.
pub(crate) fn count(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

fn add(to: &AtomicU64) {
    to.fetch_add(1, Ordering::Relaxed);
}

/// What the requests share.
struct Clients {
    address: SocketAddr,
    tally: Arc<Tally>,
    clock: Clock,
    idle: RefCell<Vec<(TcpStream, Instant)>>,
}

/// Asks until it is told to stop, then waits a little for what is under way.
pub(crate) async fn drive(
    address: SocketAddr,
    rate: u32,
    tally: Arc<Tally>,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) {
    let mut rng = Rng::with_seed(SEED);
    let clients = Rc::new(Clients {
        address,
        tally: tally.clone(),
        clock,
        idle: RefCell::default(),
    });
    let mut under_way = JoinSet::new();
    let mut due = clock.now();
    loop {
        let wait = due.since(clock.now());
        tokio::select! {
            _ = stop.changed() => break,
            () = sleep(wait) => {}
        }
        let now = clock.now();
        while under_way.try_join_next().is_some() {}
        while due <= now {
            add(&tally.due);
            if under_way.len() < OUTSTANDING_MOST {
                under_way.spawn_local(ask(clients.clone(), due, rng.u16(..1000)));
            } else {
                add(&tally.unsent);
            }
            due = due + gap(&mut rng, rate);
        }
    }
    let _ = timeout(GRACE, async {
        while under_way.join_next().await.is_some() {}
    })
    .await;
    // Those that are not answered by now.
    under_way.shutdown().await;
    let met = count(&tally.well) + count(&tally.errors) + count(&tally.broken);
    let cut = count(&tally.due).saturating_sub(met + count(&tally.unsent));
    tally.broken.fetch_add(cut, Ordering::Relaxed);
}

/// From one arrival to the next: those of many clients who know nothing of each other.
fn gap(rng: &mut Rng, rate: u32) -> Duration {
    let uniform = 1.0 - rng.f64();
    Duration::from_secs_f64(-uniform.ln() / f64::from(rate))
}

async fn ask(clients: Rc<Clients>, due: Instant, path: u16) {
    let tally = &clients.tally;
    match exchange(&clients, path).await {
        Ok(200) => add(&tally.well),
        Ok(_) => add(&tally.errors),
        Err(_) => {
            add(&tally.broken);
            return;
        }
    }
    tally.latency.record(clients.clock.now().since(due));
}

async fn exchange(clients: &Clients, path: u16) -> io::Result<u16> {
    let mut stream = match kept(clients) {
        Some(stream) => stream,
        None => TcpStream::connect(clients.address).await?,
    };
    let request = format!("GET /{path} HTTP/1.1\r\nHost: demo\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut came = Vec::new();
    loop {
        if stream.read_buf(&mut came).await? == 0 || came.len() > ANSWER_MOST {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((status, goes_on)) = whole(&came) {
            if goes_on {
                let now = clients.clock.now();
                clients.idle.borrow_mut().push((stream, now));
            }
            return Ok(status);
        }
    }
}

/// A connection that was used before, and that the proxy has not closed.
fn kept(clients: &Clients) -> Option<TcpStream> {
    let now = clients.clock.now();
    let mut idle = clients.idle.borrow_mut();
    idle.retain(|(_, since)| now.since(*since) < IDLE_MOST);
    while let Some((stream, _)) = idle.pop() {
        let open = matches!(
            stream.try_read(&mut [0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        );
        if open {
            return Some(stream);
        }
    }
    None
}

/// The status of an answer, and whether its connection goes on. None: it is not whole yet.
fn whole(came: &[u8]) -> Option<(u16, bool)> {
    let end = came.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&came[..end]).ok()?.to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let length: usize = field("content-length:")?.trim().parse().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let goes_on = field("connection:").is_none_or(|value| value.trim() != "close");
    (came.len() >= end + length).then_some((status, goes_on))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        for (came, expect) in [
            ("", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
                Some((200, true)),
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nConnection: close\r\n\r\n",
                Some((503, false)),
            ),
        ] {
            assert_eq!(whole(came.as_bytes()), expect, "{came:?}");
        }
    }

    #[test]
    fn arrivals_come_at_the_rate_that_is_meant() {
        let mut rng = Rng::with_seed(SEED);
        let took: Duration = (0..10_000).map(|_| gap(&mut rng, 1_000)).sum();
        assert!((9.7..10.3).contains(&took.as_secs_f64()), "{took:?}");
    }

    /// A proxy that never answers: what is due beyond the limit is counted, and what was begun is broken off.
    #[test]
    fn every_request_is_counted() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let tally = Arc::new(Tally::default());
        let clock = Clock::start();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = watch::channel(false);
        let driven = tokio::task::LocalSet::new();
        driven.block_on(&runtime, async {
            let load =
                tokio::task::spawn_local(drive(address, 20_000, tally.clone(), clock, stopped));
            while count(&tally.unsent) == 0 {
                tokio::task::yield_now().await;
            }
            stop.send_replace(true);
            load.await.unwrap();
        });
        assert_eq!(count(&tally.well) + count(&tally.errors), 0);
        assert_eq!(count(&tally.broken), OUTSTANDING_MOST as u64);
        assert_eq!(
            count(&tally.due),
            count(&tally.broken) + count(&tally.unsent)
        );
    }
}
