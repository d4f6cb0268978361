//! Clients that mean harm, or are merely odd: hellos in pieces, hellos that are none, keys that are changed without end.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// More than a hello may have.
const HELLO_MOST: usize = 0x10000;

/// A client of the library alone, which does what is asked of it, and its first flight.
fn hostile(ca: &str) -> (ClientConnection, Vec<u8>) {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let hello = written(&mut client);
    (client, hello)
}

/// What a client has to say.
fn written(client: &mut ClientConnection) -> Vec<u8> {
    let mut out = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut out).unwrap();
    }
    out
}

fn site() -> (Arc<Terms>, Authority) {
    let authority = Authority::new("authority");
    let made = authority.make(&["a.example"]);
    let plan = tls_plan(Policy::Intermediate, &[&made]);
    (terms(&plan), authority)
}

/// The same handshake messages in records of so many bytes each.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let (head, message) = hello.split_at(5);
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&head[..3], &length, piece].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

async fn write(sock: &mut Pipe, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match poll_fn(|cx| sock.poll_write(cx, bytes)).await {
            Ok(length) => bytes = &bytes[length..],
            Err(_) => return false,
        }
    }
    true
}

/// What comes, until the end.
async fn all(sock: &mut Pipe) -> Vec<u8> {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    while let Ok(length @ 1..) = poll_fn(|cx| sock.poll_read(cx, &mut some)).await {
        all.extend_from_slice(&some[..length]);
    }
    all
}

/// What comes of a client that writes these bytes in pieces of so many, and ends. Whether a hello of the server came back.
fn of(terms: &Terms, bytes: &[u8], room: usize) -> (Fault, Vec<u8>) {
    let (mut client, server) = Pipe::pair(room);
    let (answer, made) = run(async {
        tokio::join!(
            async {
                write(&mut client, bytes).await;
                let _ = poll_fn(|cx| client.poll_shutdown(cx)).await;
                all(&mut client).await
            },
            terms.handshake(server, Vec::new())
        )
    });
    (made.map(drop).unwrap_err(), answer)
}

#[test]
fn a_hello_in_pieces_is_a_hello() {
    let (terms, authority) = site();
    let (_, hello) = hostile(&authority.pem);
    for size in [1, 7, 100, 16_000] {
        // The pipe takes a byte at a time, too: one packet each.
        for room in [1, 50_000] {
            let (fault, answer) = of(&terms, &in_records(&hello, size), room);
            // It ended within the handshake, behind an answer to its hello.
            assert_eq!(fault, Fault::PeerLeft, "{size} {room}");
            assert_eq!(answer.first(), Some(&0x16), "{size} {room}");
        }
    }
}

#[test]
fn what_is_no_hello_is_refused_before_much_is_read() {
    let (terms, authority) = site();
    let (_, hello) = hostile(&authority.pem);
    let longest = [
        &[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..],
        &[0; 16_380],
    ]
    .concat();
    let cut = |at: usize, byte: u8| {
        let mut changed = hello.clone();
        changed[at] ^= byte;
        changed
    };
    let empty: Vec<u8> = [0x16, 3, 1, 0, 0].repeat(50_000);
    let alerts: Vec<u8> = [0x15, 3, 3, 0, 2, 1, 90].repeat(50_000);
    for (what, bytes) in [
        ("zeros", vec![0; 300_000]),
        (
            "noise",
            (0..300_000_u32)
                .map(|at| (at * 7919).to_be_bytes()[2])
                .collect(),
        ),
        (
            "a record that is too long",
            [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 300_000]].concat(),
        ),
        ("a hello of 16 MiB", longest.repeat(20)),
        ("another message", cut(5, 3)),
        ("a length within that is not", cut(8, 1)),
        ("empty records", empty),
        ("warnings", alerts),
        ("application data", [0x17, 3, 3, 0, 1, 0].repeat(50_000)),
        ("a second hello", [&hello[..], &hello[..]].concat()),
    ] {
        let (mut client, server) = Pipe::pair(1000);
        let (left, made) = run(async {
            tokio::join!(
                async {
                    // As far as it is taken.
                    let taken = write(&mut client, &bytes).await;
                    let _ = poll_fn(|cx| client.poll_shutdown(cx)).await;
                    (taken, all(&mut client).await)
                },
                terms.handshake(server, Vec::new())
            )
        });
        let fault = made.map(drop).unwrap_err();
        assert_eq!(fault, Fault::Malformed, "{what}");
        let (taken, answer) = left;
        let mut places = answer.windows(6);
        let told = places.any(|at| at == [0x15, 3, 3, 0, 2, 2]);
        // Of two of these rustls does not tell its client, and the last is told sealed.
        let silent = ["a hello of 16 MiB", "warnings", "a second hello"].contains(&what);
        assert_eq!(told, !silent, "{what}");
        assert!(!taken || bytes.len() < HELLO_MOST, "{what}: all was read");
    }
}

/// A client that asks for new keys without end (and reads nothing) is ended, with a bounded answer.
#[test]
fn keys_are_not_changed_without_end() {
    let (terms, authority) = site();
    let (mut client, hello) = hostile(&authority.pem);
    run(async {
        let (mut near, far) = Pipe::pair(100_000);
        let mut made = std::pin::pin!(terms.handshake(far, hello));
        let mut server = loop {
            let made = poll_fn(|cx| Poll::Ready(made.as_mut().poll(cx))).await;
            if let Poll::Ready(made) = made {
                break made.unwrap();
            }
            let mut some = [0; 100_000];
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(length) = near.poll_read(cx, &mut some) {
                let mut some = &some[..length.unwrap()];
                client.read_tls(&mut some).unwrap();
                client.process_new_packets().unwrap();
            }
            assert!(write(&mut near, &written(&mut client)).await);
        };
        let mut read = [0; 100];
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut changed = 0;
        let ended = loop {
            client.refresh_traffic_keys().unwrap();
            assert!(write(&mut near, &written(&mut client)).await);
            changed += 1;
            match server.poll_read(cx, &mut read) {
                Poll::Ready(ended) => break ended,
                Poll::Pending => assert!(changed < 1000, "it goes on"),
            }
        };
        assert!(ended.is_err());
        drop(server);
        let answer = all(&mut near).await;
        assert!(answer.len() < 100 * changed, "{} bytes", answer.len());
    });
}
