//! What a reload and a drain do to those who come at that very moment: nothing that they notice.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::process::{Evenkeel, Folder, PATIENCE, Server, hold, rest, until};

/// Who waits in the kernel's queue while the listener has no place for them.
const CROWD: usize = 40;

const ASKS: &str = "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn nginx(folder: &Folder) -> Server {
    folder.write("who", "here\n");
    Server::nginx(
        folder,
        "location / { client_max_body_size 1m; dav_methods PUT; }",
    )
}

fn text(listeners: &str, backend: SocketAddr) -> String {
    format!(
        "admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ {listeners} }}\nservices: {{ api: {{ backends: [\"{backend}\"] }} }}\n"
    )
}

/// A request that takes the one place that there is, until its body is whole.
fn holding(address: SocketAddr) -> TcpStream {
    let mut stream = hold(
        address,
        "PUT /late HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    // The place is taken when the answer begins.
    until(&mut stream, "100 Continue\r\n\r\n");
    stream
}

/// Ends what holds the place; everybody behind it is answered.
fn all_answered(mut holding: TcpStream, crowd: Vec<TcpStream>) {
    holding.write_all(b"abcd").unwrap();
    let put = rest(holding);
    assert!(put.starts_with("HTTP/1.1 20"), "{put}");
    for (number, one) in crowd.into_iter().enumerate() {
        let answer = rest(one);
        assert!(answer.ends_with("\r\n\r\nhere\n"), "{number}: {answer}");
    }
}

#[test]
fn who_has_connected_is_answered_by_a_drain() {
    let folder = Folder::new("drain-crowd");
    let server = nginx(&folder);
    let listeners = "web: { bind: \"127.0.0.1:0\", limits: { connections: 1 } }";
    let file = folder.write("keel.yaml", &text(listeners, server.address));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let holding = holding(keel.address);
    let crowd = (0..CROWD).map(|_| hold(keel.address, ASKS)).collect();
    keel.signal("-TERM");
    keel.until("draining, at most 30s\n");
    all_answered(holding, crowd);
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn who_has_connected_is_answered_when_the_listener_is_removed() {
    let folder = Folder::new("removed-crowd");
    let server = nginx(&folder);
    let gone = "gone: { bind: \"127.0.0.1:0\", limits: { connections: 1 } }";
    let file = folder.write("keel.yaml", &text(gone, server.address));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let holding = holding(keel.address);
    let crowd = (0..CROWD).map(|_| hold(keel.address, ASKS)).collect();
    let stays = folder.path().join("stays");
    let stays = format!("stays: {{ bind: \"unix:{}\" }}", stays.display());
    folder.write("keel.yaml", &text(&stays, server.address));
    keel.signal("-HUP");
    keel.until("listener gone is removed\n");
    all_answered(holding, crowd);
}

#[test]
fn a_renamed_listener_keeps_its_sockets_and_connections() {
    let folder = Folder::new("renamed");
    let server = nginx(&folder);
    let path = folder.path().join("keel.sock");
    let named = |name: &str| {
        let path = path.display();
        let listener = format!("{name}: {{ bind: [\"127.0.0.1:0\", \"unix:{path}\"] }}");
        text(&listener, server.address).replace("bind: off", "bind: \"127.0.0.1:0\"")
    };
    let file = folder.write("keel.yaml", &named("web"));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let asks = ASKS.replace("Connection: close\r\n", "");
    let mut kept = hold(keel.address, &asks);
    until(&mut kept, "here\n");
    folder.write("keel.yaml", &named("site"));
    keel.signal("-HUP");
    keel.until("listener site is added; listener web is removed\n");
    // The sockets are the same: port 0 would be another port, and a Unix socket in use cannot be bound again.
    assert_eq!(keel.curl(&[], "/who"), "here\n");
    let mut unix = UnixStream::connect(&path).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.write_all(ASKS.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut unix, &mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhere\n"), "{answer}");
    kept.write_all(ASKS.as_bytes()).unwrap();
    let answer = rest(kept);
    assert!(answer.ends_with("\r\n\r\nhere\n"), "{answer}");
    // What was counted under the old name is counted on under the new one.
    let metrics = keel.page("/metrics");
    let line = "evenkeel_listener_connections_accepted_total{listener=\"site\"} 3\n";
    assert!(metrics.contains(line), "{metrics}");
}
