use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use evenkeel_proxy::clock::Clock;
use evenkeel_proxy::connection::{Admitted, Door, serve, slots};
use evenkeel_proxy::net::OsNet;
use evenkeel_proxy::sock::os::OsSock;
use evenkeel_proxy::tls::channel::Channel;
use evenkeel_proxy::worker::Worker;
use tokio::task::LocalSet;

use crate::plan::plan;
use crate::world::published;
use crate::{ANSWER, REQUEST};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Reads until the end of what ends so.
fn read(sock: &mut TcpStream, end: &[u8]) -> bool {
    let (mut came, mut room) = (Vec::new(), [0; 4096]);
    while !came.ends_with(end) {
        match sock.read(&mut room).unwrap() {
            0 => return false,
            length => came.extend_from_slice(&room[..length]),
        }
    }
    true
}

/// A backend that answers on one connection until that ends.
fn backend() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let serves = thread::spawn(move || {
        let (mut sock, _) = listener.accept().unwrap();
        while read(&mut sock, b"\r\n\r\n") {
            sock.write_all(ANSWER).unwrap();
        }
    });
    (address, serves)
}

/// Writes of a thread that go to no socket: those to the eventfd by which its runtime is woken.
fn wakings(thread: &Path) -> u64 {
    let counted = std::fs::read_to_string(thread.join("io")).unwrap();
    let row = counted.lines().find_map(|row| row.strip_prefix("syscw: "));
    row.unwrap().parse().unwrap()
}

#[test]
fn an_exchange_that_gives_way_to_nobody_wakes_nobody() {
    let (address, backend) = backend();
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let front = listener.local_addr().unwrap();
    let worker_thread =
        PathBuf::from("/proc").join(std::fs::read_link("/proc/thread-self").unwrap());
    let client = thread::spawn(move || {
        let mut sock = TcpStream::connect(front).unwrap();
        let mut exchanges = |count| {
            for _ in 0..count {
                sock.write_all(REQUEST).unwrap();
                assert!(read(&mut sock, b"hello"));
            }
        };
        exchanges(10);
        let before = wakings(&worker_thread);
        exchanges(1000);
        (before, wakings(&worker_thread))
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let published = published(plan(&[address]));
        let state = published.load().doors[0].clone();
        let admitted = Admitted::take(&state, 1).unwrap();
        let worker = Rc::new(Worker::new(OsNet::new(Clock::start()), 0, published, 7));
        let door = Rc::new(Door::new("web".into(), front.port(), state));
        let (sock, peer) = listener.accept().unwrap();
        sock.set_nonblocking(true).unwrap();
        let sock = Channel::Plain(OsSock::fresh(sock));
        let slots = slots(&worker);
        // A task, as listeners have it.
        let served = serve(worker, door, sock, peer.ip(), admitted, slots);
        tokio::task::spawn_local(served).await.unwrap();
    });
    drop(runtime);
    let (before, after) = client.join().unwrap();
    backend.join().unwrap();
    // No sweep runs here, and nobody else is ready.
    assert_eq!(before, after, "writes to the worker's own eventfd");
}
