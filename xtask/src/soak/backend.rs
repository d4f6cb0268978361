//! Owns the servers behind the proxy: plain threads, one per connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The pattern that bodies are made of; their beginning says their length.
pub(super) fn body(length: usize) -> Vec<u8> {
    let line = format!("{length} is the length of this. ");
    line.bytes().cycle().take(length).collect()
}

/// One that does all that it is asked.
pub(super) fn sound() -> Result<SocketAddr, String> {
    serve(None)
}

/// One that closes a connection instead of each so-manieth answer, or within it.
pub(super) fn breaking() -> Result<SocketAddr, String> {
    serve(Some(97))
}

fn serve(breaks: Option<u64>) -> Result<SocketAddr, String> {
    let fail = |error| format!("no backend can be started: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    thread::spawn(move || {
        let mut count = 0;
        for stream in listener.incoming().flatten() {
            count += 31;
            thread::spawn(move || connection(&stream, breaks, count));
        }
    });
    Ok(address)
}

/// Serves until either side ends it. What fails ends it too: that is what clients of a proxy must not notice.
fn connection(stream: &TcpStream, breaks: Option<u64>, mut count: u64) -> Option<()> {
    let mut input = BufReader::new(stream);
    loop {
        let (path, length, chunked, upgrade) = head(&mut input)?;
        count += 1;
        let breaking = breaks.filter(|every| path != "/health" && count.is_multiple_of(*every));
        let received = match (chunked, length) {
            (true, _) => chunks(&mut input)?,
            (false, length) => {
                let mut body = vec![0; length];
                input.read_exact(&mut body).ok()?;
                body
            }
        };
        if upgrade {
            return tunnel(stream, &mut input);
        }
        let answer = match path.rsplit_once('/').map(|(_, last)| last.parse::<usize>()) {
            Some(Ok(length)) => body(length),
            _ => received,
        };
        if breaking.is_some() && count.is_multiple_of(2) {
            return None;
        }
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        let mut out = text.into_bytes();
        out.extend_from_slice(&answer);
        if breaking.is_some() {
            out.truncate(out.len() - answer.len() / 2);
            let mut stream = stream;
            stream.write_all(&out).ok()?;
            return None;
        }
        let mut stream = stream;
        stream.write_all(&out).ok()?;
    }
}

/// Path, length, whether the body is chunked, whether another protocol is asked for.
fn head(input: &mut BufReader<&TcpStream>) -> Option<(String, usize, bool, bool)> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut chunked, mut upgrade) = (0, false, false);
    loop {
        line.clear();
        input.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let field = line.trim_end().to_ascii_lowercase();
        match field.split_once(": ") {
            None => return Some((path, length, chunked, upgrade)),
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("transfer-encoding", _)) => chunked = true,
            Some(("upgrade", _)) => upgrade = true,
            Some(_) => {}
        }
    }
}

fn chunks(input: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let (mut body, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        input.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let at = body.len();
        body.resize(at + length, 0);
        input.read_exact(&mut body[at..]).ok()?;
        input.read_line(&mut line).ok()?;
        if length == 0 {
            return Some(body);
        }
    }
}

/// Says what it hears.
fn tunnel(mut stream: &TcpStream, input: &mut BufReader<&TcpStream>) -> Option<()> {
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(switching.as_bytes()).ok()?;
    std::io::copy(input, &mut stream).ok().map(|_| ())
}
