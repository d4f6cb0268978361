//! What these tests ask with, asked of servers that are known: nginx, and the `h2` crate. A client that is wrong proves nothing.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;

use super::Connection;
use super::frames::*;
use super::hpack::{indexed, kept, value};
use super::recorder::pattern;
use crate::process::{Folder, PATIENCE, Server, nobodys};
use crate::tls::Authority;

/// A connection over TLS whose client knows this issuer and speaks HTTP/2 alone.
pub(crate) fn secure(address: SocketAddr, ca: &std::path::Path, host: &str) -> Connection {
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls::pki_types::CertificateDer::from_pem_file(ca).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = host.to_owned().try_into().unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = rustls::StreamOwned::new(client, stream);
    while wire.conn.is_handshaking() {
        wire.conn.complete_io(&mut wire.sock).unwrap();
    }
    assert_eq!(wire.conn.alpn_protocol(), Some(&b"h2"[..]));
    Connection::over(Box::new(wire), &[])
}

fn speaks(client: &mut Connection, body: &[u8]) {
    let got = client.get("/small");
    assert_eq!((got.status(), &*got.body), (200, &b"small\n"[..]));
    assert_eq!(value(got.head().unwrap(), "server"), Some("nginx"));
    let got = client.get("/large");
    assert!(got.body == body, "{} bytes", got.body.len());
    assert!(client.settled());
    assert_eq!(client.get("/none").status(), 404);
    // Both tables, ours and theirs.
    let stream = client.stream();
    let get = super::hpack::block(&asks("GET", "/small", &[]));
    let bytes = [get, kept(&[("x", "y")]), indexed(62)].concat();
    client.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &bytes));
    assert_eq!(client.answer(stream).status(), 200);
    for _ in 0..20 {
        assert_eq!(client.get("/small").status(), 200);
    }
    let stream = client.ask(0, &asks("PUT", "/put", &[]));
    client.send(stream, body, true);
    assert_eq!(client.answer(stream).status() / 100, 2);
}

#[test]
fn nginx_plain_and_over_tls() {
    let folder = Folder::new("http2-known");
    let body = pattern(3_000_000);
    folder.write("small", "small\n");
    folder.write("large", &String::from_utf8(body.clone()).unwrap());
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let root = folder.path().display();
    // Its main address is HTTP/1.1.
    let (plain, sealed) = (nobodys(), nobodys());
    let rest = format!(
        "server_tokens off; root {root}; client_max_body_size 10m; location /put {{ dav_methods PUT; }}"
    );
    let _server = Server::nginx(
        &folder,
        &format!(
            "}} server {{ listen {plain} http2; {rest} }} server {{ listen {sealed} ssl http2; ssl_certificate {root}/site.pem; ssl_certificate_key {root}/site.key; {rest}"
        ),
    );
    let mut client = Connection::to(plain, &[]);
    speaks(&mut client, &body);
    assert_eq!(std::fs::read(folder.path().join("put")).unwrap(), body);
    // What is wrong is told with its code.
    client.write(&frame(PING, 0, 1, b"abcdefgh"));
    client.until(|own| own.closed);
    assert_eq!(client.goaway.map(|(_, code)| code), Some(PROTOCOL_ERROR));
    let ca = folder.path().join("authority.ca");
    let mut client = secure(sealed, &ca, "a.example");
    speaks(&mut client, &body);
}

/// The raw client and the raw backend, against each other's counterpart in the `h2` crate.
#[test]
fn the_h2_crate_on_either_side() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let raw = std::thread::spawn(move || {
        let mut client = Connection::to(address, &[]);
        let stream = client.ask(0, &asks("POST", "/", &[("te", "trailers")]));
        let body = pattern(300_000);
        client.send(stream, &body, false);
        client.write(&headers(stream, END_STREAM, &[("x-late", "1")]));
        let got = client.answer(stream);
        assert!(got.body == body, "{} bytes", got.body.len());
        assert_eq!(
            got.trailers().and_then(|fields| value(fields, "x-late")),
            Some("1")
        );
        assert_eq!(
            value(got.head().unwrap(), "x-\u{7e}own"),
            Some("[\\]^{|}<>&@ \u{7e}")
        );
        // A window of nothing more.
        client.write(&window_update(0, 0));
        client.until(|own| own.closed);
        assert_eq!(client.goaway.map(|(_, code)| code), Some(PROTOCOL_ERROR));
    });
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        let serve = async move {
            let mut body = request.into_body();
            let head = http::Response::builder()
                .header("x-\u{7e}own", "[\\]^{|}<>&@ \u{7e}")
                .body(())
                .unwrap();
            let mut answer = respond.send_response(head, false).unwrap();
            while let Some(data) = body.data().await {
                let data: bytes::Bytes = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                answer.send_data(data, false).unwrap();
            }
            let trailers = body.trailers().await.unwrap().unwrap();
            answer.send_trailers(trailers).unwrap();
        };
        let driven = async { while server.accept().await.is_some_and(|one| one.is_ok()) {} };
        tokio::join!(serve, driven);
    });
    raw.join().unwrap();

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let raw = std::thread::spawn(move || {
        let mut behind = Connection::accepted(listener.accept().unwrap().0, &[]).unwrap();
        behind.until(|own| own.streams.get(&1).is_some_and(|got| got.ended));
        let got = behind.streams[&1].clone();
        assert_eq!(value(&got.heads[0], ":path"), Some("/a"));
        assert_eq!(got.body, b"body");
        behind.write(&headers(1, 0, &[(":status", "200")]));
        behind.write(&frame(DATA, PADDED | END_STREAM, 1, b"\x02ok\0\0"));
        behind.until(|own| own.closed);
    });
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let ask = async move {
            let request = http::Request::post("http://a/a").body(()).unwrap();
            let (answer, mut body) = client.send_request(request, false).unwrap();
            body.send_data(bytes::Bytes::from_static(b"body"), true)
                .unwrap();
            let mut answer = answer.await.unwrap().into_body();
            assert_eq!(answer.data().await.unwrap().unwrap(), "ok");
        };
        let (ended, ()) = tokio::join!(connection, ask);
        ended.unwrap();
    });
    raw.join().unwrap();
}
