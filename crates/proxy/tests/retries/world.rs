//! Owns a worker whose clients and backends are pipes. A backend does what stands next in its row, once a request is whole or as soon
//! as it says; time goes by only when nobody has anything to do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_config::plan::{BackendAddress, Protocol, UpstreamPlan};
use evenkeel_proxy::connection::{Admitted, Door, serve, slots};
use evenkeel_proxy::deadline::SWEEP_PARTS;
use evenkeel_proxy::failed::TryOutcome;
use evenkeel_proxy::live::{Live, Published, ServiceState};
use evenkeel_proxy::net::Net;
use evenkeel_proxy::observation::{refused_retries, retries};
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;
use evenkeel_proxy::tls::upstream::Towards;
use evenkeel_proxy::worker::Worker;

use crate::frames::{self, Asked, Came};

/// What a pipe holds.
const ROOM: usize = 256 * 1024;

/// Virtual time goes by in such steps.
const STEP: Duration = Duration::from_millis(5);

/// How long an answer takes that is late.
const LATE: Duration = Duration::from_millis(100);

/// How long Linux asks who has an address.
const ARP: Duration = Duration::from_millis(3_070);

/// What a backend does with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// Answers, and keeps the connection.
    Say(&'static str),
    /// Answers as soon as it has the head.
    SayEarly(&'static str),
    /// Says that as soon as it has the head, and closes.
    SayEarlyClose(&'static str),
    /// Answers and closes.
    SayClose(&'static str),
    /// Answers after [`LATE`].
    SayLate(&'static str),
    /// Takes no connection.
    Refuse,
    /// Nobody has its address, which is known after [`ARP`].
    SwitchedOff,
    /// This machine has no descriptor for one.
    NoDescriptors,
    /// Takes the connection, and is never done with that.
    Black,
    /// Ends the connection when it has the request.
    Reset,
    /// The same when it has so many bytes of it.
    ResetAt(usize),
    /// Says nothing.
    Silence,
    /// Says `100 Continue` at once, then this when it has the request.
    Continue(&'static str),
    /// The same, but ends the connection instead.
    ContinueReset,
    /// The same, but says nothing more.
    ContinueSilence,
    /// Says that it goes, and has not seen the request (HTTP/2).
    Goes,
    /// Says that it has not looked at the request (HTTP/2).
    RefuseStream,
}

/// A backend, and what it got.
#[derive(Default)]
pub(crate) struct Backend {
    deeds: RefCell<VecDeque<Deed>>,
    /// What it does when its row is at its end.
    then: Option<Deed>,
    /// Its row begins anew instead.
    anew: bool,
    links: RefCell<Vec<Link>>,
    /// Requests, or what it read of them.
    got: RefCell<Vec<String>>,
    /// Connections that it took.
    took: Cell<usize>,
}

struct Link {
    pipe: Pipe,
    input: Vec<u8>,
    deed: Option<Deed>,
    continued: bool,
    /// Since when a request waits for its answer.
    since: Option<Instant>,
    /// It speaks HTTP/2.
    streams: Option<Asked>,
}

impl Backend {
    /// One that does these, and is well after them.
    pub(crate) fn doing(deeds: &[Deed]) -> Self {
        Self {
            deeds: RefCell::new(deeds.iter().copied().collect()),
            ..Self::default()
        }
    }

    /// One that does nothing else.
    pub(crate) fn always(deed: Deed) -> Self {
        Self {
            then: Some(deed),
            ..Self::default()
        }
    }

    /// One that does these over and over.
    pub(crate) fn over_and_over(deeds: &[Deed]) -> Self {
        Self {
            anew: true,
            ..Self::doing(deeds)
        }
    }

    fn next(&self) -> Deed {
        let mut deeds = self.deeds.borrow_mut();
        let next = deeds.pop_front();
        if self.anew {
            deeds.extend(next);
        }
        next.or(self.then).unwrap_or(Deed::Say(OK))
    }

    /// Does what is to be done now. Whether that was anything.
    fn turn(&self, now: Instant) -> bool {
        let mut moved = false;
        let mut links = self.links.borrow_mut();
        let mut room = vec![0; ROOM];
        links.retain_mut(|link| {
            while let Poll::Ready(read) = link.pipe.poll_read(&mut cx(), &mut room) {
                let Some(read) = read.ok().filter(|read| *read > 0) else {
                    // Whoever left a request behind has sent it all the same.
                    if !link.input.is_empty() && link.streams.is_none() {
                        self.got.borrow_mut().push(text(&link.input));
                    }
                    return false;
                };
                link.input.extend_from_slice(&room[..read]);
                moved = true;
            }
            match link.streams.is_some() {
                true => link.act_on_streams(self, &mut moved),
                false => link.act(self, now, &mut moved),
            }
        });
        moved
    }
}

impl Link {
    /// False: the connection has ended.
    fn act(&mut self, backend: &Backend, now: Instant, moved: &mut bool) -> bool {
        if self.input.is_empty() {
            return true;
        }
        let deed = *self.deed.get_or_insert_with(|| backend.next());
        let whole = whole(&self.input);
        let has_head = self.input.windows(4).any(|four| four == b"\r\n\r\n");
        let early = match deed {
            Deed::Continue(_) | Deed::ContinueReset | Deed::ContinueSilence
                if has_head && !self.continued =>
            {
                self.continued = true;
                self.say(GO_ON.as_bytes());
                *moved = true;
                false
            }
            Deed::SayEarly(_) | Deed::SayEarlyClose(_) => has_head,
            Deed::ResetAt(bytes) => self.input.len() >= bytes,
            _ => false,
        };
        if matches!(deed, Deed::Silence | Deed::ContinueSilence) || !early && whole.is_none() {
            return true;
        }
        if matches!(deed, Deed::SayLate(_)) && *self.since.get_or_insert(now) + LATE > now {
            return true;
        }
        self.since = None;
        let length = whole.unwrap_or(self.input.len());
        let request: Vec<u8> = self.input.drain(..length).collect();
        backend.got.borrow_mut().push(text(&request));
        (self.deed, self.continued, *moved) = (None, false, true);
        match deed {
            Deed::Say(answer)
            | Deed::SayEarly(answer)
            | Deed::SayLate(answer)
            | Deed::Continue(answer) => {
                self.say(answer.as_bytes());
                true
            }
            Deed::SayClose(answer) | Deed::SayEarlyClose(answer) => {
                self.say(answer.as_bytes());
                let _ = self.pipe.poll_shutdown(&mut cx());
                false
            }
            _ => {
                self.pipe.cut();
                false
            }
        }
    }

    /// The same where each request has a stream.
    fn act_on_streams(&mut self, backend: &Backend, moved: &mut bool) -> bool {
        let Some(mut streams) = self.streams.take() else {
            return false;
        };
        let mut stays = true;
        while stays && let Some(came) = streams.take(&mut self.input) {
            *moved = true;
            let stream = match came {
                Came::Told(bytes) => {
                    self.say(&bytes);
                    continue;
                }
                Came::Request(stream) => stream,
                Came::TakenBack(stream, code) => {
                    let back = format!("stream {stream} is taken back for {code}");
                    backend.got.borrow_mut().push(back);
                    continue;
                }
            };
            backend.got.borrow_mut().push(format!("stream {stream}"));
            match backend.next() {
                // Its status alone.
                Deed::Say(answer) => self.say(&frames::answer(stream, &answer[9..12])),
                Deed::Goes => self.say(&frames::goes(stream - 1)),
                Deed::RefuseStream => self.say(&frames::refuses(stream)),
                Deed::Silence => {}
                _ => {
                    self.pipe.cut();
                    stays = false;
                }
            }
        }
        self.streams = Some(streams);
        stays
    }

    fn say(&mut self, answer: &[u8]) {
        let mut left = answer;
        while let Poll::Ready(Ok(wrote)) = self.pipe.poll_write(&mut cx(), left) {
            left = &left[wrote..];
            if left.is_empty() {
                return;
            }
        }
    }
}

/// How many bytes the first request of these has, if it is whole.
fn whole(input: &[u8]) -> Option<usize> {
    let head = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let lower = text(&input[..head]).to_ascii_lowercase();
    if let Some((_, behind)) = lower.split_once("\r\ncontent-length: ") {
        let length: usize = behind.split("\r\n").next()?.parse().ok()?;
        return (input.len() >= head + length).then_some(head + length);
    }
    if lower.contains("\r\ntransfer-encoding: chunked") {
        let body = &input[head..];
        // Trailers are fields.
        let last = body.windows(3).position(|three| three == b"0\r\n")?;
        let end = body[last..]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")?;
        return Some(head + last + end + 4);
    }
    Some(head)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// What tells a client to send its body.
pub(crate) const GO_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Whether it was woken: who gives way to others wants another turn, though nothing moved.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Memory {
    backends: Rc<Vec<Backend>>,
    now: Rc<Cell<Instant>>,
    /// Those of connections of HTTP/2.
    tasks: Rc<RefCell<Vec<Task>>>,
}

impl Net for Memory {
    type Sock = Pipe;

    async fn connect(
        &self,
        to: &BackendAddress,
        how: &UpstreamPlan,
        _: Option<&Towards>,
        _: &[u8],
    ) -> io::Result<Pipe> {
        let BackendAddress::Tcp(to) = to else {
            unreachable!("an address")
        };
        // The last address is asked first, by this seed.
        let backend = &self.backends[self.backends.len() - usize::from(to.port())];
        let front = backend.deeds.borrow().front().copied().or(backend.then);
        if let Some(deed @ (Deed::Refuse | Deed::SwitchedOff | Deed::NoDescriptors | Deed::Black)) =
            front
        {
            backend.next();
            backend.got.borrow_mut().push(format!("{deed:?}"));
            match deed {
                Deed::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
                Deed::NoDescriptors => return Err(rustix::io::Errno::MFILE.into()),
                Deed::SwitchedOff => {
                    let known = self.now() + ARP;
                    let passed = || (self.now() >= known).then_some(()).ok_or(());
                    poll_fn(|_| passed().map_or(Poll::Pending, Poll::Ready)).await;
                    return Err(io::ErrorKind::HostUnreachable.into());
                }
                _ => std::future::pending().await,
            }
        }
        let (ours, theirs) = Pipe::pair(ROOM);
        backend.took.set(backend.took.get() + 1);
        backend.links.borrow_mut().push(Link {
            pipe: theirs,
            input: Vec::new(),
            deed: None,
            continued: false,
            since: None,
            streams: (how.protocol == Protocol::Http2).then(Asked::default),
        });
        Ok(ours)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(Box::pin(task));
    }

    fn now(&self) -> Instant {
        self.now.get()
    }

    /// Sun, 06 Nov 1994 08:49:37 GMT, and what went by.
    fn since_1970(&self) -> Duration {
        Duration::from_secs(784_111_777) + self.now.get().since(NOW)
    }
}

const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// Addresses of so many backends.
pub(crate) fn addresses(backends: usize) -> Vec<SocketAddr> {
    let ports = 1..=u16::try_from(backends).unwrap();
    ports
        .map(|port| (Ipv4Addr::LOCALHOST, port).into())
        .collect()
}

pub(crate) struct World {
    backends: Rc<Vec<Backend>>,
    pub(crate) state: Arc<ServiceState>,
    published: Arc<Published>,
    worker: Rc<Worker<Memory>>,
    now: Rc<Cell<Instant>>,
    tasks: Rc<RefCell<Vec<Task>>>,
    connect: Box<dyn Fn(Pipe) -> Task>,
}

/// A client of one connection.
pub(crate) struct Client {
    pub(crate) pipe: Pipe,
    served: Task,
    pub(crate) heard: String,
    ended: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, backends: Vec<Backend>) -> Self {
        let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
        let live = Live::join(plan, None, 1, &events, NOW);
        let state = live.services[0].state.clone();
        let door_state = live.doors[0].clone();
        let (backends, now) = (Rc::new(backends), Rc::new(Cell::new(NOW)));
        let memory = Memory {
            backends: backends.clone(),
            now: now.clone(),
            tasks: Rc::default(),
        };
        let tasks = memory.tasks.clone();
        let published = Arc::new(Published::new(live));
        let worker = Rc::new(Worker::new(memory, 0, published.clone(), 7));
        let door = Rc::new(Door::new("web".into(), 80, door_state.clone()));
        let slots = slots(&worker);
        let serving = worker.clone();
        let connect = move |sock| {
            let admitted = Admitted::take(&door_state, usize::MAX).unwrap();
            let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
            let (worker, door) = (serving.clone(), door.clone());
            Box::pin(serve(worker, door, sock, peer, admitted, slots.clone())) as Task
        };
        Self {
            backends,
            state,
            published,
            worker,
            now,
            tasks,
            connect: Box::new(connect),
        }
    }

    pub(crate) fn client(&self) -> Client {
        let (ours, theirs) = Pipe::pair(ROOM);
        Client {
            pipe: ours,
            served: (self.connect)(theirs),
            heard: String::new(),
            ended: false,
        }
    }

    /// Another plan runs from now on.
    pub(crate) fn reload(&self, plan: Plan) {
        let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
        let before = self.published.load();
        let live = Live::join(plan, Some(&before), 1, &events, self.now.get());
        self.published.store(live);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now.get().since(NOW)
    }

    pub(crate) fn pass(&self, time: Duration) {
        let before = self.elapsed().as_millis() / 100;
        self.now.set(self.now.get() + time);
        for _ in 1..SWEEP_PARTS {
            if self.worker.has_more_to_sweep() {
                self.worker.sweep_part();
            }
        }
        self.worker.sweep();
        self.worker.ring();
        if self.elapsed().as_millis() / 100 > before {
            self.state.service.tick(self.now.get());
        }
    }

    /// Polls everybody until nobody moves.
    pub(crate) fn settle(&self, client: &mut Client) {
        loop {
            self.move_frames();
            let mut moved = client.turn();
            self.move_frames();
            for backend in self.backends.iter() {
                moved |= backend.turn(self.now.get());
            }
            let mut room = vec![0; ROOM];
            while let Poll::Ready(Ok(read @ 1..)) = client.pipe.poll_read(&mut cx(), &mut room) {
                client.heard.push_str(&text(&room[..read]));
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    fn move_frames(&self) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain_mut(|task| task.as_mut().poll(&mut cx()).is_pending());
    }

    /// One request on a connection of its own, written in pieces; what its client heard within two minutes.
    pub(crate) fn ask(&self, pieces: &[&str]) -> String {
        let mut client = self.client();
        for piece in pieces {
            client.write(piece);
            self.settle(&mut client);
        }
        self.hear(&mut client);
        client.heard
    }

    /// The same of a client that sends the body so long after it is told to, and not before.
    pub(crate) fn ask_first(&self, head: &str, body: &str, after: Duration) -> String {
        let mut client = self.client();
        client.write(head);
        self.until(&mut client, |heard| heard.contains(GO_ON));
        if client.heard.contains(GO_ON) {
            self.settle(&mut client);
            self.pass(after);
            self.settle(&mut client);
            client.write(body);
            self.hear(&mut client);
        }
        client.heard
    }

    /// Lets time pass until an answer is whole, or the connection has ended.
    pub(crate) fn hear(&self, client: &mut Client) {
        self.until(client, |_| false);
    }

    /// The same, or until so much was heard.
    fn until(&self, client: &mut Client, enough: impl Fn(&str) -> bool) {
        let until = self.elapsed() + Duration::from_secs(120);
        while self.elapsed() < until {
            self.settle(client);
            let last = client.heard.rsplit(GO_ON).next().unwrap();
            if client.ended || answered(last.as_bytes()) || enough(&client.heard) {
                return;
            }
            self.pass(STEP);
        }
    }

    /// What each backend got.
    pub(crate) fn got(&self) -> Vec<Vec<String>> {
        let all = self.backends.iter();
        all.map(|backend| backend.got.take()).collect()
    }

    /// Connections that each backend took so far, and how many of them stand.
    pub(crate) fn connected(&self) -> Vec<(usize, usize)> {
        let all = self.backends.iter();
        all.map(|backend| (backend.took.get(), backend.links.borrow().len()))
            .collect()
    }

    /// What is remembered of the last exchange that failed: the ports of the backends of its attempts, and how each ended.
    pub(crate) fn failed(&self) -> Vec<(String, TryOutcome)> {
        let shelves = self.published.shelves.all();
        let last = shelves[0].all().pop().unwrap();
        let tries = last.trail().tries();
        tries.map(|one| (text(one.backend), one.outcome)).collect()
    }

    /// Retries that were made, by fault.
    pub(crate) fn retried(&self) -> Vec<(&'static str, u64)> {
        retries(self.state.counters.iter().map(|row| &row.retries))
    }

    /// Retries that were not made, by reason.
    pub(crate) fn not_retried(&self) -> Vec<(&'static str, u64)> {
        refused_retries(self.state.counters.iter().map(|row| &row.retries))
    }
}

fn answered(heard: &[u8]) -> bool {
    whole(heard).is_some_and(|length| length <= heard.len())
}

impl Client {
    /// Polls what serves it until it waits for somebody, and nobody else.
    pub(crate) fn serve(&mut self) {
        while self.turn() {}
    }

    /// A turn of whoever serves it. True: it is over, or wants another.
    fn turn(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        self.ended = self.served.as_mut().poll(&mut cx).is_ready();
        self.ended || woken.0.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&mut self, piece: &str) {
        let wrote = self.pipe.poll_write(&mut cx(), piece.as_bytes());
        if let Poll::Ready(Ok(wrote)) = wrote {
            assert_eq!(wrote, piece.len(), "more than a pipe holds");
        }
    }
}
