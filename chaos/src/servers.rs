//! Owns many servers in one process: `evenkeel-chaos servers COUNT MEAN_US SLOW NEIGHBOURS [everywhere | computing CORE STEPS]`, each with
//! an address of its own; or one at every address of the machine. NEIGHBOURS is 0 for none, or what they are drawn from.
//!
//! Work is time that passes on one of four slots, in the order of coming, so that it is the balancer that a race is about and not the
//! machine. The end of an exchange is known when it comes, which makes a server exactly as fast as it is said to be however late a
//! timer is. Where they compute, each is a thread that does one thing after another, so many steps for a millisecond of work, and all
//! share one core: how fast one is, the others and the kernel decide. Standard input is the control line (see `life.rs`).

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::clock::Start;
use crate::cores;
use crate::fleet;
use crate::wire;

/// Exchanges that a server works on at once; the rest waits.
pub(crate) const SLOTS: usize = 4;

/// The speed of servers that are slow, and of any while its neighbour is busy.
pub(crate) const SLOW: f64 = 0.5;
pub(crate) const DISTURBED: f64 = 0.3;

/// How long a neighbour is busy, and idle, on average.
pub(crate) const BUSY: f64 = 1.0;
pub(crate) const IDLE: f64 = 4.0;

/// Largest head that is read.
const HEAD_MOST: usize = 16 * 1024;

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Fine,
    /// Answers 500 at once, but well to checks.
    Errors,
    /// Reads and says nothing.
    Silent,
}

/// When a neighbour takes most of a server's speed: drawn ahead, so that each balancer's servers suffer alike.
struct Neighbour {
    chance: fastrand::Rng,
    /// Changes from idle to busy and back, in order.
    changes: Vec<Duration>,
}

impl Neighbour {
    fn is_busy(&mut self, at: Duration) -> bool {
        while self.changes.last().is_none_or(|last| *last <= at) {
            let mean = [IDLE, BUSY][self.changes.len() % 2];
            let lasts = Duration::from_secs_f64(-(1.0 - self.chance.f64()).ln() * mean);
            self.changes
                .push(self.changes.last().copied().unwrap_or_default() + lasts);
        }
        self.changes.partition_point(|change| *change <= at) % 2 == 1
    }
}

/// Steps to compute, and who waits for their end.
type Job = (u64, oneshot::Sender<()>);

/// Jobs that wait for a thread: more than come within a client's patience. Beyond them a server says nothing.
const JOBS_MOST: usize = 10_000;

/// A thread that computes, and how many of its steps are a millisecond of work.
struct Computes {
    jobs: SyncSender<Job>,
    steps: u64,
}

impl Computes {
    /// It ends with its server.
    fn begin(steps: u64) -> io::Result<Self> {
        let (jobs, coming) = sync_channel::<Job>(JOBS_MOST);
        std::thread::Builder::new().spawn(move || {
            while let Ok((steps, done)) = coming.recv() {
                cores::compute(steps);
                // Its client may have gone.
                let _ = done.send(());
            }
        })?;
        Ok(Self { jobs, steps })
    }

    /// Waits until so many seconds of work are done.
    async fn work(&self, seconds: f64) {
        let (done, ended) = oneshot::channel();
        let steps = seconds * 1e3 * self.steps as f64;
        match self.jobs.try_send((steps as u64, done)) {
            Ok(()) => drop(ended.await),
            Err(_) => std::future::pending().await,
        }
    }
}

struct Server {
    address: SocketAddr,
    /// Seconds.
    mean: f64,
    speed: f64,
    neighbour: Option<RefCell<Neighbour>>,
    computes: Option<Computes>,
    chance: RefCell<fastrand::Rng>,
    /// Since the start of the process.
    start: Start,
    /// When the race began.
    began: Cell<Duration>,
    /// When each slot is free.
    free: RefCell<[Duration; SLOTS]>,
    /// How long it stood still, in all.
    stood: Cell<Duration>,
    /// Until when it stands still.
    stands: Cell<Duration>,
    mode: watch::Sender<Mode>,
    /// Raised when connections that wait for a request shall close.
    closing: watch::Sender<u64>,
    accepting: RefCell<Option<JoinHandle<()>>>,
    asked: Cell<u64>,
    in_flight: Cell<u32>,
}

impl Server {
    fn speed_at(&self, at: Duration) -> f64 {
        let neighbour = self.neighbour.as_ref();
        let since = at.saturating_sub(self.began.get());
        match neighbour.is_some_and(|one| one.borrow_mut().is_busy(since)) {
            true => self.speed * DISTURBED,
            false => self.speed,
        }
    }

    /// `mean x .92 (1 + N(0, 1))`, at least a hundredth of the mean: the distribution of the Prequal paper, as the simulator has it.
    fn work(&self) -> f64 {
        let mut chance = self.chance.borrow_mut();
        let (one, two) = (1.0 - chance.f64(), chance.f64());
        let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos();
        self.mean * (0.92 * (1.0 + normal)).max(0.01)
    }

    /// One exchange: waits until it has had a slot for as long as its work takes.
    async fn serve(&self) {
        if self.mean == 0.0 {
            return;
        }
        if let Some(computes) = &self.computes {
            // One that is slow needs more for the same.
            return computes.work(self.work() / self.speed).await;
        }
        let now = self.start.passed();
        let ends = {
            let mut free = self.free.borrow_mut();
            let slot = free.iter_mut().min_by_key(|free| **free);
            let Some(slot) = slot else { return };
            let begins = now.max(*slot);
            *slot = begins + Duration::from_secs_f64(self.work() / self.speed_at(begins));
            *slot
        };
        let stood = self.stood.get();
        loop {
            let late = self.stood.get() - stood;
            self.start.until(ends + late).await;
            if self.stood.get() - stood == late {
                return;
            }
        }
    }

    /// From now on it stands still for so long, as in a collection of garbage: what it works on and what waits ends so much later.
    fn stand(&self, lasts: Duration) {
        let now = self.start.passed();
        self.stood.set(self.stood.get() + lasts);
        self.stands.set(now + lasts);
        for free in self.free.borrow_mut().iter_mut() {
            *free = (*free).max(now) + lasts;
        }
    }
}

/// Runs until its control line ends.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let numbers: Vec<u64> = words.iter().map_while(|word| word.parse().ok()).collect();
    let [count, mean_us, slow, neighbours] = numbers[..] else {
        return Err(
            "servers COUNT MEAN_US SLOW NEIGHBOURS [everywhere | computing CORE STEPS]".to_owned(),
        );
    };
    let everywhere = words.get(4).is_some_and(|word| word == "everywhere");
    let computing = computing(words.get(4..).unwrap_or_default())?;
    if let Some((core, _)) = computing {
        // With the threads that it will have.
        cores::stay_on(core)?;
    }
    let start = Start::now();
    let server = |number: u64, address| Server {
        address,
        mean: mean_us as f64 / 1e6,
        speed: if number < slow { SLOW } else { 1.0 },
        neighbour: (neighbours > 0).then(|| {
            RefCell::new(Neighbour {
                chance: fastrand::Rng::with_seed(100 * neighbours + number),
                changes: Vec::new(),
            })
        }),
        computes: None,
        chance: RefCell::new(fastrand::Rng::with_seed(number)),
        start,
        began: Cell::new(Duration::ZERO),
        free: RefCell::default(),
        stood: Cell::default(),
        stands: Cell::default(),
        mode: watch::Sender::new(Mode::Fine),
        closing: watch::Sender::new(0),
        accepting: RefCell::default(),
        asked: Cell::new(0),
        in_flight: Cell::new(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let begun = async {
        let mut servers: Vec<Rc<Server>> = Vec::new();
        for number in 0..count {
            let port = servers.first().map_or(0, |first| first.address.port());
            let own = fleet::own(number as u8 + 1);
            let own = if everywhere {
                Ipv4Addr::UNSPECIFIED
            } else {
                own
            };
            let listener = TcpListener::bind((own, port)).await?;
            let mut one = server(number, listener.local_addr()?);
            let steps = computing.map(|(_, steps)| steps);
            one.computes = steps.map(Computes::begin).transpose()?;
            let one = Rc::new(one);
            *one.accepting.borrow_mut() = Some(spawn_local(accept(listener, one.clone())));
            servers.push(one);
        }
        command(&servers).await
    };
    LocalSet::new()
        .block_on(&runtime, begun)
        .map_err(|error: io::Error| format!("servers: {error}"))
}

/// The core and the steps of `computing CORE STEPS`, where that is asked for.
fn computing(words: &[String]) -> Result<Option<(usize, u64)>, String> {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match (words.first().map(String::as_str), number(1), number(2)) {
        (Some("computing"), Some(core), Some(steps)) => Ok(Some((core as usize, steps))),
        (Some("computing"), ..) => Err("computing CORE STEPS".to_owned()),
        _ => Ok(None),
    }
}

/// Does what its control line says.
async fn command(servers: &[Rc<Server>]) -> io::Result<()> {
    let addresses: Vec<String> = servers.iter().map(|one| one.address.to_string()).collect();
    println!("{}", addresses.join(" "));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| {
            words
                .get(at)
                .and_then(|word| word.parse().ok())
                .unwrap_or(0)
        };
        let one = servers.get(number(1));
        match (words[0], one) {
            ("read", _) => {
                let each = servers
                    .iter()
                    .map(|one| format!("{} {}", one.asked.get(), one.in_flight.get()));
                println!("{}", each.collect::<Vec<_>>().join(" "));
                continue;
            }
            ("begin", _) => {
                for one in servers {
                    one.began.set(one.start.passed());
                }
            }
            ("stand", Some(one)) => one.stand(Duration::from_millis(number(2) as u64)),
            ("errors", Some(one)) => drop(one.mode.send_replace(Mode::Errors)),
            ("silent", Some(one)) => drop(one.mode.send_replace(Mode::Silent)),
            ("refuse", Some(one)) => {
                stop(one).await;
                // Who waits for a request is closed, as by a server that ends; who has one is answered.
                one.closing.send_modify(|times| *times += 1);
            }
            ("listen", Some(one)) => {
                stop(one).await;
                let listener = TcpListener::bind(one.address).await?;
                *one.accepting.borrow_mut() = Some(spawn_local(accept(listener, one.clone())));
            }
            _ => {
                println!("not understood");
                continue;
            }
        }
        println!("done");
    }
    Ok(())
}

async fn stop(one: &Server) {
    let task = one.accepting.borrow_mut().take();
    if let Some(task) = task {
        task.abort();
        let _ = task.await;
    }
}

async fn accept(listener: TcpListener, one: Rc<Server>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let one = one.clone();
            spawn_local(async move {
                // A client that goes away is nothing to report.
                let _ = talk(stream, &one).await;
            });
        }
    }
}

/// One connection, request by request.
async fn talk(mut stream: TcpStream, one: &Server) -> io::Result<()> {
    let mut closing = one.closing.subscribe();
    let mut held = Vec::new();
    loop {
        let head = tokio::select! {
            head = wire::head(&mut stream, &mut held, HEAD_MOST) => head?,
            _ = closing.changed() => return Ok(()),
        };
        let Some(head) = head else { return Ok(()) };
        let path = head.split(' ').nth(1).unwrap_or("/");
        let checked = path == "/health";
        let size = wire::size_of(path).unwrap_or(2);
        let mut modes = one.mode.subscribe();
        let mode = *modes.borrow_and_update();
        let _flying = (!checked).then(|| Flying::new(one));
        // A check is answered by a thread of its own in most servers, but by none while all stand still.
        if one.stands.get() > one.start.passed() {
            one.start.until(one.stands.get()).await;
        }
        match mode {
            Mode::Silent => {
                let _ = modes.wait_for(|mode| *mode != Mode::Silent).await;
            }
            Mode::Fine if !checked => one.serve().await,
            Mode::Fine | Mode::Errors => {}
        }
        let failed = mode == Mode::Errors && !checked;
        let (status, size) = if failed { (500, 0) } else { (200, size) };
        let closes = match closing.has_changed() {
            Ok(false) => "",
            _ => "Connection: close\r\n",
        };
        let head =
            format!("HTTP/1.1 {status} So\r\n{closes}Content-Length: {size}\r\nX-From: b\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len() + size, wire::FILL);
        stream.write_all(&bytes).await?;
        if !closes.is_empty() {
            return Ok(());
        }
    }
}

/// In flight for as long as it lives.
struct Flying<'s>(&'s Server);

impl<'s> Flying<'s> {
    fn new(one: &'s Server) -> Self {
        one.asked.set(one.asked.get() + 1);
        one.in_flight.set(one.in_flight.get() + 1);
        Self(one)
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_computes_has_a_core_and_steps() {
        let check = |words: &str, wanted: Option<(usize, u64)>| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            assert_eq!(computing(&words), Ok(wanted), "{words:?}");
        };
        check("computing 3 250000", Some((3, 250_000)));
        check("everywhere", None);
        check("", None);
        assert!(computing(&["computing".to_owned()]).is_err());
    }

    #[test]
    fn work_is_computed_and_whoever_waits_hears_of_its_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (jobs, coming) = sync_channel::<Job>(1);
        let computes = Computes { jobs, steps: 3_000 };
        runtime.block_on(async {
            let mut work = std::pin::pin!(computes.work(0.002));
            // Two milliseconds of three thousand steps each; nothing has ended before it is said.
            assert!(
                tokio::time::timeout(Duration::ZERO, &mut work)
                    .await
                    .is_err()
            );
            let (steps, done) = coming.try_recv().unwrap();
            assert_eq!(steps, 6_000);
            done.send(()).unwrap();
            work.await;
            // A thread of its own does it, and ends with its server.
            Computes::begin(1).unwrap().work(0.001).await;
        });
    }

    #[test]
    fn a_neighbour_is_busy_a_fifth_of_the_time_and_alike_for_all() {
        let neighbour = || Neighbour {
            chance: fastrand::Rng::with_seed(1),
            changes: Vec::new(),
        };
        let (mut one, mut two) = (neighbour(), neighbour());
        let mut busy = 0;
        for tenth in 0..100_000 {
            let at = Duration::from_millis(100 * tenth);
            busy += u64::from(one.is_busy(at));
            // Asked in another order.
            assert!(tenth % 1000 != 0 || two.is_busy(at) == one.is_busy(at));
        }
        assert!((18_000..22_000).contains(&busy), "{busy}");
    }
}
