//! Owns a worker in memory: its clients and its backend are pipes, time stands still unless a test moves it, and every call is counted.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use evenkeel_balance::affinity::ClientsSettings;
use evenkeel_balance::settings::AffinitySettings;
use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_config::plan::{AffinityBy, AffinityPlan, BackendAddress, CookiePlan, UpstreamPlan};
use evenkeel_proxy::connection::{Admitted, Door, serve, slots};
use evenkeel_proxy::deadline::SWEEP_PARTS;
use evenkeel_proxy::live::{Live, Published};
use evenkeel_proxy::net::Net;
use evenkeel_proxy::outlet::{Outlet, Told};
use evenkeel_proxy::record::Record;
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;
use evenkeel_proxy::tls::upstream::Towards;
use evenkeel_proxy::worker::Worker;

use crate::plan::plan;

/// What a pipe holds: a body of 64 KiB and a head at once.
pub(crate) const ROOM: usize = 80 * 1024;

/// A pipe that counts what would be a system call on a socket: whatever did something.
pub(crate) struct Counted {
    pub(crate) pipe: Pipe,
    pub(crate) calls: Rc<Cell<usize>>,
    /// No runtime would know the socket.
    pub(crate) fresh: bool,
}

impl Counted {
    fn counted(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        // Who is told when there is something to do asks for nothing else.
        self.call(polled.is_ready() || self.fresh);
        if polled.is_pending() {
            self.watch();
        }
        polled
    }

    fn call(&self, made: bool) {
        self.calls.set(self.calls.get() + usize::from(made));
    }
}

impl Sock for Counted {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let polled = self.pipe.poll_read(cx, into);
        self.counted(polled)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.pipe.poll_write(cx, from);
        self.counted(polled)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.pipe.poll_write_vectored(cx, from);
        self.counted(polled)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_shutdown(cx)
    }

    fn is_fresh(&self) -> bool {
        self.fresh
    }

    fn watch(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.call(fresh);
    }

    fn has_input(&mut self) -> bool {
        self.call(self.fresh);
        self.pipe.has_input()
    }

    async fn broken(&self) {
        self.pipe.broken().await;
    }

    async fn ended(&self) {
        self.pipe.ended().await;
    }

    fn cut(&mut self) {
        self.pipe.cut();
    }
}

/// The other ends of connections to the backend.
pub(crate) type Ends = Rc<RefCell<Vec<Pipe>>>;

/// What runs beside connections: the exchanges of HTTP/2.
type Tasks = Rc<RefCell<Vec<Served>>>;

pub(crate) struct Memory {
    backend: Ends,
    tasks: Tasks,
    calls: Rc<Cell<usize>>,
    now: Rc<Cell<Instant>>,
}

impl Net for Memory {
    type Sock = Counted;

    async fn connect(
        &self,
        _: &BackendAddress,
        _: &UpstreamPlan,
        _: Option<&Towards>,
        _: &[u8],
    ) -> io::Result<Counted> {
        let (ours, theirs) = Pipe::pair(ROOM);
        self.backend.borrow_mut().push(theirs);
        Ok(Counted {
            pipe: ours,
            calls: self.calls.clone(),
            fresh: false,
        })
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(Box::pin(task));
    }

    fn now(&self) -> Instant {
        self.now.get()
    }

    fn since_1970(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) struct Client {
    pub(crate) pipe: Pipe,
    pub(crate) served: Served,
}

/// A connection, being served.
pub(crate) type Served = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct World {
    connect: Box<dyn Fn(Counted) -> Served>,
    pub(crate) backend: Ends,
    tasks: Tasks,
    calls: Rc<Cell<usize>>,
    pub(crate) worker: Rc<Worker<Memory>>,
    pub(crate) now: Rc<Cell<Instant>>,
    pub(crate) room: Box<[u8]>,
}

/// What a body ends with.
const LAST: &[u8] = b"!";

/// A request with a body of so many bytes.
pub(crate) fn posted(length: usize) -> Vec<u8> {
    let head = format!(
        "POST /some/path HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: counts\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + length - LAST.len(), b'x');
    request.extend_from_slice(LAST);
    request
}

/// When it is, to begin with.
pub(crate) const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// A plan that runs.
pub(crate) fn published(plan: Plan) -> Arc<Published> {
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    Arc::new(Published::new(Live::join(plan, None, 1, &events, NOW)))
}

/// A plan that runs, and whose exchanges are written down.
pub(crate) fn recorded(plan: Plan) -> (Arc<Published>, Recorded) {
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    let mut live = Live::join(plan, None, 1, &events, NOW);
    let (outlet, told) = Outlet::open();
    live.outlet = Some(outlet.clone());
    (Arc::new(Published::new(live)), Recorded { outlet, told })
}

/// The end where records come out.
pub(crate) struct Recorded {
    pub(crate) outlet: Arc<Outlet>,
    told: Receiver<Told>,
}

impl Recorded {
    /// Looks at each record that has been handed on, and gives the batches back.
    pub(crate) fn each(&self, mut look: impl FnMut(Record<'_>)) -> usize {
        let mut batches = 0;
        while let Ok(told) = self.told.try_recv() {
            if let Told::Rows(batch) = told {
                batch.records().for_each(&mut look);
                self.outlet.give_back(batch);
                batches += 1;
            }
        }
        batches
    }
}

/// A service that keeps its clients by a cookie, and a request of a client that was told one.
pub(crate) fn keeping(request: &[u8], answer: &[u8]) -> (World, Vec<u8>) {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    plan.services[0].settings.affinity = Some(AffinitySettings::default());
    plan.services[0].affinity = Some(AffinityPlan {
        by: AffinityBy::Cookie(CookiePlan {
            name: "keel".into(),
            ttl: Duration::ZERO,
            attributes: "; Path=/".into(),
            secure: false,
        }),
        clients: ClientsSettings::default(),
    });
    let mut world = World::over(published(plan));
    let mut client = world.connect();
    world.exchange(&mut client, request, answer);
    let told = String::from_utf8_lossy(&world.room);
    let told = told.split_once("\r\nSet-Cookie: ").unwrap().1;
    let cookie = told.split(';').next().unwrap();
    let head = request.strip_suffix(b"\r\n").unwrap();
    let request = [head, b"Cookie: ", cookie.as_bytes(), b"\r\n\r\n"].concat();
    (world, request)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(published(plan(&[([127, 0, 0, 1], 1).into()])))
    }

    pub(crate) fn recording() -> (Self, Recorded) {
        let (published, recorded) = recorded(plan(&[([127, 0, 0, 1], 1).into()]));
        (Self::over(published), recorded)
    }

    pub(crate) fn over(published: Arc<Published>) -> Self {
        let backend = Ends::default();
        let calls = Rc::new(Cell::new(0));
        let now = Rc::new(Cell::new(NOW));
        let tasks = Tasks::default();
        let memory = Memory {
            backend: backend.clone(),
            tasks: tasks.clone(),
            calls: calls.clone(),
            now: now.clone(),
        };
        let state = published.load().doors[0].clone();
        let worker = Rc::new(Worker::new(memory, 0, published, 7));
        let door = Rc::new(Door::new("web".into(), 80, state.clone()));
        let slots = slots(&worker);
        let serving = worker.clone();
        let connect = move |sock| {
            let admitted = Admitted::take(&state, usize::MAX).unwrap();
            let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
            let served = serve(
                serving.clone(),
                door.clone(),
                sock,
                peer,
                admitted,
                slots.clone(),
            );
            Box::pin(served) as Served
        };
        Self {
            connect: Box::new(connect),
            backend,
            tasks,
            calls,
            worker,
            now,
            room: vec![0; ROOM].into_boxed_slice(),
        }
    }

    pub(crate) fn connect(&self) -> Client {
        self.connected(Pipe::pair(ROOM), false)
    }

    /// A client over these; `fresh`: as it comes from a listener.
    pub(crate) fn connected(&self, (ours, theirs): (Pipe, Pipe), fresh: bool) -> Client {
        let sock = Counted {
            pipe: theirs,
            calls: self.calls.clone(),
            fresh,
        };
        Client {
            pipe: ours,
            served: (self.connect)(sock),
        }
    }

    /// So much time goes by, and deadlines are looked at.
    pub(crate) fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
        for _ in 1..SWEEP_PARTS {
            if self.worker.has_more_to_sweep() {
                self.worker.sweep_part();
            }
        }
        self.worker.sweep();
        self.worker.ring();
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.get()
    }

    /// What both lanes of a pipe hold once an exchange went through.
    pub(crate) fn bytes_of_a_pipe(&self) -> usize {
        // Two lanes of a few words, and what their queues grew to: the request and the answer, rounded up to powers of two.
        2 * 128 + 128 + 128
    }

    /// One request, one answer.
    pub(crate) fn exchange(&mut self, client: &mut Client, request: &[u8], answer: &[u8]) {
        self.ask(client, request);
        assert_eq!(self.answer_all(answer), 1);
        self.hear(client);
    }

    /// One request and one answer, over these, and the end.
    pub(crate) fn connection(&mut self, pipes: (Pipe, Pipe), request: &[u8], answer: &[u8]) {
        let mut client = self.connected(pipes, true);
        self.ask(&mut client, request);
        assert_eq!(self.answer_all(answer), 1);
        assert!(turn(&mut client.served).is_ready());
        let mut cx = Context::from_waker(Waker::noop());
        let read = ready(client.pipe.poll_read(&mut cx, &mut self.room));
        assert!(self.room[..read].ends_with(b"hello"));
        assert_eq!(ready(client.pipe.poll_read(&mut cx, &mut self.room)), 0);
    }

    /// The pipes of so many clients.
    pub(crate) fn pipes(&self, count: usize) -> Vec<(Pipe, Pipe)> {
        (0..count).map(|_| Pipe::pair(ROOM)).collect()
    }

    /// One request.
    pub(crate) fn ask(&self, client: &mut Client, request: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(
            ready(client.pipe.poll_write(&mut cx, request)),
            request.len()
        );
        assert!(turn(&mut client.served).is_pending());
    }

    /// Answers all that was asked, and says how much that was.
    pub(crate) fn answer_all(&mut self, answer: &[u8]) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let mut ends = self.backend.borrow_mut();
        let mut answered = 0;
        for end in ends
            .iter_mut()
            .filter_map(|end| end.has_input().then_some(end))
        {
            let read = ready(end.poll_read(&mut cx, &mut self.room));
            let ended = self.room[..read].ends_with(b"\r\n\r\n");
            assert!(ended || self.room[..read].ends_with(LAST));
            assert_eq!(ready(end.poll_write(&mut cx, answer)), answer.len());
            answered += 1;
        }
        answered
    }

    /// The answer is here.
    pub(crate) fn hear(&mut self, client: &mut Client) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(turn(&mut client.served).is_pending());
        let read = ready(client.pipe.poll_read(&mut cx, &mut self.room));
        assert!(
            self.room[..read].starts_with(b"HTTP/1.1 200 OK\r\n")
                && self.room[..read].ends_with(b"hello")
        );
    }

    /// The same by a stream of HTTP/2.
    pub(crate) fn exchange_http2(&mut self, client: &mut Http2, answer: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        client.ask();
        let (Client { pipe, served }, asked) = (&mut client.whole, &client.frame);
        assert_eq!(ready(pipe.poll_write(&mut cx, asked)), asked.len());
        self.turn_all(served);
        {
            let mut ends = self.backend.borrow_mut();
            let asked = ends.iter_mut().position(Pipe::has_input).unwrap();
            let end = &mut ends[asked];
            let read = ready(end.poll_read(&mut cx, &mut self.room));
            let head = &self.room[..read];
            assert!(head.starts_with(b"GET /some/path?with=query HTTP/1.1\r\n"));
            assert!(head.ends_with(b"\r\n\r\n"));
            assert_eq!(ready(end.poll_write(&mut cx, answer)), answer.len());
        }
        self.turn_all(served);
        let read = ready(pipe.poll_read(&mut cx, &mut self.room));
        let told = &self.room[..read];
        assert!(told.windows(5).any(|five| five == b"hello"), "{told:?}");
    }

    /// Polls a connection and what runs beside it, as long as that wakes anybody.
    fn turn_all(&self, served: &mut Served) {
        loop {
            assert!(turn(served).is_pending());
            let (mut at, mut ended) = (0, false);
            while at < self.tasks.borrow().len() {
                let mut task = self.tasks.borrow_mut().swap_remove(at);
                if turn(&mut task).is_ready() {
                    ended = true;
                    continue;
                }
                self.tasks.borrow_mut().push(task);
                let last = self.tasks.borrow().len() - 1;
                self.tasks.borrow_mut().swap(at, last);
                at += 1;
            }
            // Whoever waits for an exchange's end, or for what it wrote, is asked once more.
            if !ended {
                break;
            }
        }
        assert!(turn(served).is_pending());
    }
}

/// A client of HTTP/2 by prior knowledge that asks for the same page again and again, as one that compresses its fields does.
pub(crate) struct Http2 {
    whole: Client,
    asked: u32,
    frame: Vec<u8>,
}

impl Http2 {
    pub(crate) fn new(whole: Client) -> Self {
        Self {
            whole,
            asked: 0,
            frame: Vec::with_capacity(1024),
        }
    }

    /// The frames of the next request: its fields at length the first time, then by their places in the table (RFC 7541).
    fn ask(&mut self) {
        self.frame.clear();
        // On the stack: what a client allocates is not to be counted.
        let (mut fields, mut room) = (&[0x82, 0x86, 0xc1, 0xc0, 0xbf, 0xbe][..], Vec::new());
        if self.asked == 0 {
            self.frame.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            // Settings, and that ours are taken.
            self.frame
                .extend([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
            room.extend([0x82, 0x86]);
            for (name, value) in [
                (1, "www.example.com"),
                (4, "/some/path?with=query"),
                (58, "counts"),
                (19, "*/*"),
            ] {
                room.extend([0x40 | name, u8::try_from(value.len()).unwrap()]);
                room.extend(value.bytes());
            }
            fields = &room;
        }
        let length = u8::try_from(fields.len()).unwrap();
        // HEADERS, which end themselves and the stream.
        self.frame.extend([0, 0, length, 1, 5]);
        self.frame.extend((2 * self.asked + 1).to_be_bytes());
        self.frame.extend(fields);
        self.asked += 1;
    }
}

/// Polls as long as that wakes: an executor with one task.
pub(crate) fn turn(served: &mut Served) -> Poll<()> {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread_local! {
        static WOKEN: Arc<Woken> = Arc::new(Woken(AtomicBool::new(false)));
    }
    WOKEN.with(|woken| {
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            let polled = served.as_mut().poll(&mut cx);
            if polled.is_ready() || !woken.0.swap(false, Ordering::Relaxed) {
                return polled;
            }
        }
    })
}

pub(crate) fn ready(polled: Poll<io::Result<usize>>) -> usize {
    match polled {
        Poll::Ready(Ok(length)) => length,
        other => {
            assert!(other.is_ready(), "nothing moves");
            0
        }
    }
}
