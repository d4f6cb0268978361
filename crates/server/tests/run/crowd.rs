//! Clients who come at the very moment of a change, and wait in the kernel's queue behind one who has the only place.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use crate::process::{Folder, Server, hold, rest, until};

/// Who waits in the kernel's queue while the listener has no place for them.
pub(crate) const CROWD: usize = 40;

pub(crate) const ASKS: &str = "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Says `here`, and takes what is put.
pub(crate) fn nginx(folder: &Folder) -> Server {
    folder.write("who", "here\n");
    Server::nginx(
        folder,
        "location / { client_max_body_size 1m; dav_methods PUT; }",
    )
}

/// A request that takes the one place that there is, until its body is whole.
pub(crate) fn holding(address: SocketAddr) -> TcpStream {
    let ask = "PUT /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = hold(address, ask);
    // The place is taken when the answer begins.
    until(&mut stream, "100 Continue\r\n\r\n");
    stream
}

/// Ends what holds the place; everybody behind it is answered.
pub(crate) fn all_answered(mut holding: TcpStream, crowd: Vec<TcpStream>) {
    holding.write_all(b"abcd").unwrap();
    let put = rest(holding);
    assert!(put.starts_with("HTTP/1.1 20"), "{put}");
    for (number, one) in crowd.into_iter().enumerate() {
        let answer = rest(one);
        assert!(answer.ends_with("\r\n\r\nhere\n"), "{number}: {answer}");
    }
}
