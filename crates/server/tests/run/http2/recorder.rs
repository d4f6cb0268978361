//! A backend for HTTP/1.1 that takes whatever comes and writes it down, so that nothing is hidden behind a refusal of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A request, byte by byte as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) head: String,
    /// Without what frames it.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Recorded {
    /// The values of all fields of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        let own = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value).collect()
    }

    /// Of `GET /path?query HTTP/1.1`.
    pub(crate) fn path(&self) -> &str {
        let target = self.head.split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default()
    }
}

/// More are counted, not kept.
const KEPT: usize = 20_000;

#[derive(Default)]
pub(crate) struct Told {
    requests: AtomicUsize,
    heads: AtomicUsize,
    kept: Mutex<Vec<Recorded>>,
    unread: Mutex<Vec<TcpStream>>,
    /// Connections that the other side ended under an answer that waited.
    pub(crate) left: AtomicUsize,
    /// Of those, cut rather than ended.
    pub(crate) cut: AtomicUsize,
    /// Bytes of long answers that found room.
    pub(crate) written: AtomicUsize,
}

pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    pub(crate) told: Arc<Told>,
}

impl Recorder {
    /// One that answers as [`answers`] has it.
    pub(crate) fn start() -> Self {
        Self::with(answers)
    }

    pub(crate) fn with(
        answer: impl Fn(&Recorded, &mut TcpStream, &Told) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Told::default());
        let (own, answer) = (told.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, answer) = (own.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &told, &*answer));
            }
        });
        Self { address, told }
    }

    /// How many whole requests came.
    pub(crate) fn requests(&self) -> usize {
        self.told.requests.load(Ordering::SeqCst)
    }

    /// How many heads came, whole requests or not.
    pub(crate) fn heads(&self) -> usize {
        self.told.heads.load(Ordering::SeqCst)
    }

    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        self.told.kept.lock().unwrap().clone()
    }

    /// The newest.
    pub(crate) fn last(&self) -> Recorded {
        self.recorded().pop().unwrap()
    }
}

fn serve(
    stream: TcpStream,
    told: &Told,
    answer: &dyn Fn(&Recorded, &mut TcpStream, &Told) -> bool,
) {
    let mut own = Incoming {
        stream,
        come: Vec::new(),
    };
    own.stream.set_nodelay(true).unwrap();
    while let Some(end) = own.until(b"\r\n\r\n") {
        let mut request = Recorded {
            head: String::from_utf8_lossy(&own.taken(end)).into_owned(),
            body: Vec::new(),
            trailers: String::new(),
        };
        told.heads.fetch_add(1, Ordering::SeqCst);
        if request.path() == "/unread" {
            // Nobody reads its body: it stays in the kernel, and where it comes from.
            told.unread.lock().unwrap().push(own.stream);
            return;
        }
        if request.all("expect") == ["100-continue"] && request.path() != "/decline" {
            let _ = own.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if own.body(&mut request).is_none() {
            return;
        }
        told.requests.fetch_add(1, Ordering::SeqCst);
        let mut kept = told.kept.lock().unwrap();
        if kept.len() < KEPT {
            kept.push(request.clone());
        }
        drop(kept);
        if !answer(&request, &mut own.stream, told) {
            return;
        }
    }
}

struct Incoming {
    stream: TcpStream,
    come: Vec<u8>,
}

impl Incoming {
    fn until(&mut self, mark: &[u8]) -> Option<usize> {
        let mut from = 0;
        loop {
            let found = self.come[from..]
                .windows(mark.len())
                .position(|at| at == mark);
            if let Some(at) = found {
                return Some(from + at + mark.len());
            }
            from = self.come.len().saturating_sub(mark.len());
            self.more()?;
        }
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(length) if length > 0 => self.come.extend_from_slice(&buffer[..length]),
            _ => return None,
        }
        Some(())
    }

    fn taken(&mut self, length: usize) -> Vec<u8> {
        self.come.drain(..length).collect()
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.come.len() < length {
            self.more()?;
        }
        Some(self.taken(length))
    }

    /// The body, as its fields frame it.
    fn body(&mut self, request: &mut Recorded) -> Option<()> {
        if request.all("transfer-encoding") == ["chunked"] {
            loop {
                let end = self.until(b"\r\n")?;
                let line = self.taken(end);
                let digits = String::from_utf8_lossy(&line[..end - 2]).into_owned();
                let size = usize::from_str_radix(&digits, 16).ok()?;
                if size == 0 {
                    break;
                }
                request.body.extend(self.exactly(size)?);
                self.exactly(2)?;
            }
            loop {
                let end = self.until(b"\r\n")?;
                let line = self.taken(end);
                if end == 2 {
                    return Some(());
                }
                request.trailers.push_str(&String::from_utf8_lossy(&line));
            }
        }
        let length = request.all("content-length").pop();
        let length = length.map_or(Some(0), |length| length.parse().ok())?;
        request.body = self.exactly(length)?;
        Some(())
    }
}

/// Bytes that are never the same for long, so that what is lost or twice shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let line = |number: usize| format!("{number:07}\n").into_bytes();
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(line).collect();
    bytes.truncate(length);
    bytes
}

/// Answers by path. False: the connection has ended.
pub(crate) fn answers(request: &Recorded, stream: &mut TcpStream, told: &Told) -> bool {
    let mut say = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    match request.path() {
        // Waits until the other side leaves.
        "/hold" => {
            let _ = stream.read(&mut [0]);
            told.left.fetch_add(1, Ordering::SeqCst);
            false
        }
        "/none" => say("HTTP/1.1 204 No Content\r\n\r\n"),
        "/same" => say("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 700\r\n\r\n"),
        "/early" => say(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        "/trailers" => say(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
        ),
        "/hop" => say(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Upper: Kept\r\nContent-Length: 2\r\n\r\nok",
        ),
        "/decline" => {
            let _ = say(
                "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            false
        }
        "/broken" => {
            let _ = say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
            false
        }
        "/echo" => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                request.body.len()
            );
            say(&head) && stream.write_all(&request.body).is_ok()
        }
        // Without an end but the other side's.
        "/endless" => {
            if !say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") {
                return false;
            }
            let chunk = [b"4000\r\n", &*vec![b'x'; 16_384], b"\r\n"].concat();
            while stream.write_all(&chunk).is_ok() {
                told.written.fetch_add(16_384, Ordering::SeqCst);
            }
            told.left.fetch_add(1, Ordering::SeqCst);
            false
        }
        path => {
            let size = path
                .strip_prefix("/bytes/")
                .and_then(|size| size.parse().ok());
            let body = size.map_or_else(|| b"ok".to_vec(), pattern);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            // A HEAD has no body whatever its fields say.
            let none = request.head.starts_with("HEAD ");
            say(&head) && (none || stream.write_all(&body).is_ok())
        }
    }
}
