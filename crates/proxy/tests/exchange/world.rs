//! Owns the world of these tests: real workers over a plan, clients and backends of plain sockets that record every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_config::Plan;
use evenkeel_proxy::clock::Clock;
use evenkeel_proxy::listener::{Bound, Ear, Listening, Port, SocketFile, Spread, bind};
use evenkeel_proxy::live::{Live, Published};
use evenkeel_proxy::thread::{Command, WorkerThread, spawn};

pub(crate) use crate::plan::plan;

/// So long a test waits for what must come; never decides a test that passes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Workers over a plan.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) published: Arc<Published>,
    clock: Clock,
    workers: Vec<WorkerThread>,
    /// How many connections each worker has is read here.
    pub(crate) spread: Arc<Spread>,
    _file: Option<SocketFile>,
}

impl Proxy {
    pub(crate) fn start(plan: Plan, workers: usize) -> Self {
        let clock = Clock::start();
        let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
        let live = Live::join(plan, None, workers, &events, clock.now());
        let (state, to) = (
            live.doors[0].clone(),
            live.plan.listeners[0].binds[0].clone(),
        );
        let published = Arc::new(Published::new(live));
        let bound = bind(&to, workers, Port::Alone).unwrap();
        let (address, ears, file): (_, Vec<_>, _) = match bound {
            Bound::Tcp(address, sockets) => {
                (address, sockets.into_iter().map(Ear::Tcp).collect(), None)
            }
            Bound::Unix(socket, file) => (([0, 0, 0, 0], 0).into(), vec![Ear::Unix(socket)], file),
        };
        let spread = Spread::over(workers);
        let workers = ears
            .into_iter()
            .enumerate()
            .map(|(index, ear)| {
                let worker = spawn(index, published.clone(), clock, Arc::default()).unwrap();
                let listening = Listening {
                    name: "web".into(),
                    key: "web".into(),
                    bind: to.clone(),
                    port: address.port(),
                    ear,
                    state: state.clone(),
                    spread: spread.clone(),
                };
                assert!(worker.listen(listening));
                worker
            })
            .collect();
        Self {
            address,
            published,
            clock,
            workers,
            spread,
            _file: file,
        }
    }

    /// Over these backends, with one worker and all defaults.
    pub(crate) fn over(backends: &[&Backend]) -> Self {
        let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
        Self::start(plan(&addresses), 1)
    }

    pub(crate) fn client(&self) -> Client {
        // The control plane's part, as often as there are clients: the retry budget lives by it.
        for service in &self.published.load().services {
            service.state.service.tick(self.clock.now());
        }
        Client::to(self.address)
    }

    /// Takes no more connections, and ends those that are open with their exchange.
    pub(crate) fn drain(&self) {
        self.tell(|| Command::Drain(Duration::ZERO));
    }

    pub(crate) fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.commands.blocking_send(command()).unwrap();
        }
    }

    /// The workers' time.
    pub(crate) fn now(&self) -> evenkeel_balance::time::Instant {
        self.clock.now()
    }

    /// One exchange on a connection of its own: everything that came until the proxy closed.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut client = self.client();
        client.send(request);
        client.end();
        client.rest()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for worker in self.workers.drain(..) {
            let _ = worker.commands.blocking_send(Command::Stop);
            worker.thread.join().unwrap();
        }
    }
}

/// A client of plain sockets.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    come: Vec<u8>,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            come: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A proxy that refuses may close before it has read everything.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Closes the direction of writing.
    pub(crate) fn end(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Everything up to and with `mark`.
    pub(crate) fn until(&mut self, mark: &str) -> String {
        let mark = mark.as_bytes();
        loop {
            if let Some(at) = self
                .come
                .windows(mark.len())
                .position(|window| window == mark)
            {
                let rest = self.come.split_off(at + mark.len());
                return text(std::mem::replace(&mut self.come, rest));
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(length) if length > 0 => self.come.extend_from_slice(&buffer[..length]),
                end => panic!(
                    "{end:?} before {:?}; came {:?}",
                    String::from_utf8_lossy(mark),
                    String::from_utf8_lossy(&self.come)
                ),
            }
        }
    }

    /// Exactly so many bytes.
    pub(crate) fn exactly(&mut self, length: usize) -> String {
        let mut buffer = vec![0; 65536];
        while self.come.len() < length {
            match self.stream.read(&mut buffer) {
                Ok(read) if read > 0 => self.come.extend_from_slice(&buffer[..read]),
                end => panic!("{end:?} after {} of {length} bytes", self.come.len()),
            }
        }
        let rest = self.come.split_off(length);
        text(std::mem::replace(&mut self.come, rest))
    }

    /// Everything until the end.
    pub(crate) fn rest(&mut self) -> String {
        self.try_rest().0
    }

    /// Everything until the end, and whether it was a clean one.
    pub(crate) fn try_rest(&mut self) -> (String, bool) {
        let mut buffer = [0; 65536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return (text(std::mem::take(&mut self.come)), true),
                Ok(length) => self.come.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return (text(std::mem::take(&mut self.come)), false);
                }
                Err(error) => panic!("{error}; came {:?}", text(self.come.clone())),
            }
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    bytes.into_iter().map(char::from).collect()
}

/// What a backend does with a connection; it speaks as a client does.
type Script = dyn Fn(usize, &mut Client) + Send + Sync;

/// A lenient backend that records every byte that it reads; what it says is a script's.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<usize>>,
    seen: Receiver<String>,
}

/// Where scripts put what they saw.
pub(crate) type Seen = SyncSender<String>;

impl Backend {
    /// `script` gets the number of the connection, the connection, and where to put what it saw.
    pub(crate) fn scripted(
        script: impl Fn(usize, &mut Client, &Seen) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen_by, seen) = sync_channel(1024);
        let connections = Arc::new(Mutex::new(0));
        let counted = connections.clone();
        let script: Arc<Script> = Arc::new({
            let seen_by = Mutex::new(seen_by);
            move |number, client: &mut Client| {
                let seen_by = seen_by.lock().unwrap().clone();
                script(number, client, &seen_by);
            }
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = {
                    let mut counted = counted.lock().unwrap();
                    *counted += 1;
                    *counted - 1
                };
                let script = script.clone();
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let mut client = Client {
                        stream,
                        come: Vec::new(),
                    };
                    script(number, &mut client);
                });
            }
        });
        Self {
            address,
            connections,
            seen,
        }
    }

    /// Reads one head without a body, answers with `answer`, over and over until the connection ends.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::scripted(move |_, client, seen| {
            while let Some(head) = client.head() {
                let _ = seen.send(head);
                client.send(answer);
            }
        })
    }

    /// What it saw next.
    pub(crate) fn saw(&self) -> String {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// What it saw, if there is any left.
    pub(crate) fn try_saw(&self) -> Option<String> {
        self.seen.try_recv().ok()
    }

    /// Whether it saw nothing that was not asked for with [`saw`](Self::saw).
    pub(crate) fn saw_nothing(&self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// Connections that it accepted.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Client {
    /// Whatever comes next; nothing at the end of the connection.
    pub(crate) fn some(&mut self) -> String {
        let mut buffer = [0; 65536];
        let length = self.stream.read(&mut buffer).unwrap_or(0);
        text(buffer[..length].to_vec())
    }

    /// The next head, or none at the end of the connection.
    pub(crate) fn head(&mut self) -> Option<String> {
        loop {
            if self.come.windows(4).any(|window| window == b"\r\n\r\n") {
                return Some(self.until("\r\n\r\n"));
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(length) if length > 0 => self.come.extend_from_slice(&buffer[..length]),
                _ => return None,
            }
        }
    }
}
