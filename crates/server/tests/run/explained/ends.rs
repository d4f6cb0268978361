//! Owns both ends: backends that tell who they are and what they got, and clients that connect from an address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use crate::process::PATIENCE;

/// Backends that name themselves and what they got, for as long as the test runs.
pub(super) fn backends(count: usize) -> Vec<SocketAddr> {
    let one = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || serve(&stream.unwrap(), address));
            }
        });
        address
    };
    (0..count).map(one).collect()
}

fn serve(stream: &TcpStream, address: SocketAddr) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut writer = stream;
    while let Some(first) = lines.next() {
        // Nobody waits for a body here.
        let fields: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let body = format!("backend {address}\n{first}\n{}", fields.join("\n"));
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: so\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|(known, _)| known == name);
        fields.map(|(_, value)| &**value).collect()
    }
}

/// A client's connection, made anew when the proxy has ended it.
pub(super) struct Client {
    pub(super) from: IpAddr,
    pub(super) to: SocketAddr,
    pub(super) stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn ask(&mut self, request: &[u8]) -> Answer {
        let (from, to) = (self.from, self.to);
        let stream = self
            .stream
            .get_or_insert_with(|| BufReader::new(connect(from, to)));
        stream.get_mut().write_all(request).unwrap();
        let mut first = String::new();
        assert!(stream.read_line(&mut first).unwrap() > 0, "no answer");
        let mut answer = Answer {
            status: first[9..12].parse().unwrap(),
            fields: Vec::new(),
            body: String::new(),
        };
        loop {
            let mut line = String::new();
            assert!(stream.read_line(&mut line).unwrap() > 0, "half an answer");
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            let row = (name.to_ascii_lowercase(), value.trim().to_owned());
            answer.fields.push(row);
        }
        let length = answer.all("content-length").concat();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        let owes = b"Content-Length: 6\r\n";
        if answer.all("connection") == ["close"] {
            self.stream = None;
        } else if request.windows(owes.len()).any(|line| line == owes) {
            // Answered without it, it is passed over, and the next request stands behind it.
            stream.get_mut().write_all(b"a body").unwrap();
        }
        answer
    }
}

/// A connection that comes from there: the standard library binds none.
fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
