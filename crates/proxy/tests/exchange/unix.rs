//! Unix sockets on both sides. They know no reset: whoever dies is seen to end, so that only a length or a last chunk tells a whole
//! body from a begin of one.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use evenkeel_config::plan::{BackendAddress, Bind};
use evenkeel_proxy::listener::{Bound, Port, bind, bind_unix};
use evenkeel_proxy::observation::by_reason;

use crate::world::{Backend, Proxy, plan};

fn path(name: &str) -> PathBuf {
    let file = format!("{name}-{}.sock", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let _ = std::fs::remove_file(&path);
    path
}

/// A backend at a path that reads one head, says this, and closes; `leave`: with bytes of a body unread.
fn backend(name: &str, says: &'static str, leave: bool) -> PathBuf {
    let path = path(name);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut come = Vec::new();
            while !come.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                come.push(byte[0]);
            }
            // Of two bytes of a body, one may stay.
            let mut body = [0; 2];
            let _ = stream.read_exact(&mut body[usize::from(leave)..]);
            let _ = stream.write_all(says.as_bytes());
        }
    });
    path
}

/// What a client of TCP gets of a backend on a Unix socket, and whether the end was a clean one.
fn got(name: &str, says: &'static str, leave: bool) -> (String, bool) {
    let path = backend(name, says, leave);
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    std::sync::Arc::make_mut(&mut plan.services[0].backends)[0].address =
        BackendAddress::Unix(path.clone());
    let proxy = Proxy::start(plan, 1);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
    let got = client.try_rest();
    let _ = std::fs::remove_file(path);
    got
}

#[test]
fn answers_that_break_off_do_not_look_whole() {
    for (number, says) in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let (got, clean) = got(&format!("cut-{number}"), says, false);
        let refused = got.starts_with("HTTP/1.1 502 ") && got.ends_with("body_broken\n");
        assert!(refused || !clean, "{says:?}: a clean end after {got}");
    }
    for (number, says) in ["", "HTTP/1.1 200 OK\r\nContent-Le"]
        .into_iter()
        .enumerate()
    {
        let (got, _) = got(&format!("head-{number}"), says, false);
        assert!(got.ends_with("backend_reset\n"), "{says:?}: {got}");
    }
}

#[test]
fn a_close_with_bytes_unread_is_an_error_even_here() {
    let says = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    let (got, clean) = got("unread", says, true);
    let refused = got.starts_with("HTTP/1.1 502 ");
    assert!(refused || !clean, "a clean end after {got}");
}

/// The one thing that cannot be told: a body that ends with its connection.
#[test]
fn a_body_that_ends_with_its_connection_is_taken_as_whole() {
    let (got, clean) = got("close", "HTTP/1.0 200 OK\r\n\r\nhalf?", false);
    assert!(clean && got.ends_with("5\r\nhalf?\r\n0\r\n\r\n"), "{got}");
}

#[test]
fn requests_that_break_off_reach_no_backend_whole() {
    for (number, request) in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nonly",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let backend = Backend::scripted(|_, client, seen| {
            let (all, clean) = client.try_rest();
            let _ = seen.send(format!("{clean} {all}"));
        });
        let path = path(&format!("door-{number}"));
        let mut plan = plan(&[backend.address]);
        plan.listeners[0].binds = vec![Bind::Unix(path.clone())];
        let proxy = Proxy::start(plan, 1);
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        drop(client);
        let seen = backend.saw();
        assert!(!seen.contains("\r\n0\r\n"), "{seen}");
        // Its end was taken for a broken body, not for the end of one.
        let live = proxy.published.load();
        let counters = &live.services[0].state.counters;
        while by_reason(counters).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(by_reason(counters), [("client_left", 1)]);
        drop(proxy);
        let _ = std::fs::remove_file(path);
    }
}

#[test]
fn a_unix_socket_has_no_port_to_tell() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let path = path("port");
    let mut plan = plan(&[backend.address]);
    plan.listeners[0].binds = vec![Bind::Unix(path.clone())];
    let _proxy = Proxy::start(plan, 1);
    let mut client = UnixStream::connect(&path).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let saw = backend.saw();
    assert!(saw.contains("X-Forwarded-Proto"), "{saw}");
    assert!(!saw.contains("X-Forwarded-Port"), "{saw}");
}

#[test]
fn only_a_socket_that_nobody_listens_on_is_replaced_and_ours_goes_with_us() {
    let path = path("left");
    // Left over.
    drop(UnixListener::bind(&path).unwrap());
    let (_socket, file) = bind_unix(&path).unwrap();
    // Listened on, its queue full or not.
    assert!(bind_unix(&path).is_err());
    drop(file);
    assert!(!path.exists());
    // Another's by now.
    let (_socket, file) = bind_unix(&path).unwrap();
    let other = path.with_extension("other");
    let _other = UnixListener::bind(&other).unwrap();
    std::fs::rename(&other, &path).unwrap();
    drop(file);
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    // No socket at all.
    std::fs::write(&path, "kept").unwrap();
    assert!(bind_unix(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_port_is_shared_with_nobody_but_ourselves() {
    let any = Bind::Tcp(([127, 0, 0, 1], 0).into());
    let Bound::Tcp(address, sockets) = bind(&any, 3, Port::Alone).unwrap() else {
        unreachable!("it is TCP")
    };
    assert_eq!(sockets.len(), 3);
    let same = Bind::Tcp(address);
    let error = bind(&same, 1, Port::Alone).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(bind(&same, 1, Port::Ours).is_ok());
    drop(sockets);
    assert!(bind(&same, 2, Port::Alone).is_ok(), "it is free again");
}
