//! Owns a backend that answers with its name and what it was asked, a client that reads answers one by one, and a gate that
//! holds answers back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::process::PATIENCE;

/// Holds answers back until it is opened once; then it is shut again for the next.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<(usize, usize)>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        let (mut state, _) = changed
            .wait_timeout_while(state, PATIENCE, |state| state.1 == 0)
            .unwrap();
        state.1 = state.1.saturating_sub(1);
    }

    /// Waits until somebody stands before it.
    pub(crate) fn reached(&self) {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap();
        let (mut state, waited) = changed
            .wait_timeout_while(state, PATIENCE, |state| state.0 == 0)
            .unwrap();
        assert!(!waited.timed_out(), "nobody came");
        state.0 -= 1;
    }

    /// Lets one pass.
    pub(crate) fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().1 += 1;
        changed.notify_all();
    }
}

/// A backend that says who it is and what it was asked, and sets the cookies that `X-Set` asks it to.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Echo {
    pub(crate) fn start(name: &'static str) -> Self {
        Self::new(name, "own=1", None)
    }

    /// One whose answers wait at a gate.
    pub(crate) fn gated(name: &'static str, gate: Gate) -> Self {
        Self::new(name, "own=1", Some(gate))
    }

    /// One that sets this cookie, unless it is shown one.
    pub(crate) fn setting(name: &'static str, cookie: &'static str) -> Self {
        Self::new(name, cookie, None)
    }

    fn new(name: &'static str, cookie: &'static str, gate: Option<Gate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (counted, gate) = (counted.clone(), gate.clone());
                std::thread::spawn(move || {
                    let mut client = Client {
                        stream,
                        come: Vec::new(),
                    };
                    while let Some(asked) = client.next() {
                        counted.fetch_add(1, Ordering::SeqCst);
                        if let Some(gate) = &gate {
                            gate.pass();
                        }
                        let body = format!("{name}\n{}{}", asked.head, asked.body);
                        let length = body.len();
                        let shown = asked
                            .all("cookie")
                            .iter()
                            .any(|one| one.contains("JSESSIONID"));
                        let set = match shown && cookie.starts_with("JSESSIONID") {
                            true => String::new(),
                            false => format!("Set-Cookie: {cookie}\r\n"),
                        };
                        let wanted = asked.all("x-set").into_iter();
                        let wanted = wanted.map(|one| format!("Set-Cookie: {one}\r\n"));
                        let set: String = std::iter::once(set).chain(wanted).collect();
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nServer: echo\r\nX-Powered-By: echo\r\n{set}Content-Length: {length}\r\n\r\n{body}"
                        );
                        if client.stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// How many requests reached it.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A message: its head, with the empty line, and its body.
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A message that is all there is.
pub(crate) fn head_of(text: &str) -> Message {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Message {
        head: format!("{head}\r\n\r\n"),
        body: body.to_owned(),
    }
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The values of all fields of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    /// The last of them: ours stand behind the backend's.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.all(name).pop()
    }
}

/// One end of a connection with messages that say how long they are.
pub(crate) struct Client {
    stream: TcpStream,
    come: Vec<u8>,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            come: Vec::new(),
        }
    }

    /// An answer to this request.
    pub(crate) fn get(&mut self, target: &str, fields: &str) -> Message {
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: www.example.com\r\n{fields}\r\n"
        ))
    }

    pub(crate) fn send(&mut self, request: &str) -> Message {
        self.write(request);
        self.read()
    }

    pub(crate) fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    pub(crate) fn read(&mut self) -> Message {
        self.next().unwrap_or_else(|| panic!("no answer"))
    }

    /// The next message. None: the connection has ended.
    fn next(&mut self) -> Option<Message> {
        let end = self.until(|come| come.windows(4).position(|window| window == b"\r\n\r\n"))?;
        let head = self.take(end + 4);
        let message = Message {
            head,
            body: String::new(),
        };
        let length = message.all("content-length").pop();
        let length = length.map_or(0, |length| length.parse().unwrap());
        self.until(|come| (come.len() >= length).then_some(length))?;
        Some(Message {
            body: self.take(length),
            ..message
        })
    }

    fn take(&mut self, length: usize) -> String {
        let rest = self.come.split_off(length);
        let taken = std::mem::replace(&mut self.come, rest);
        String::from_utf8_lossy(&taken).into_owned()
    }

    fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(found) = found(&self.come) {
                return Some(found);
            }
            let mut buffer = [0; 16_384];
            match self.stream.read(&mut buffer) {
                Ok(length) if length > 0 => self.come.extend_from_slice(&buffer[..length]),
                _ => return None,
            }
        }
    }
}
