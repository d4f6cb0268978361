//! Rows of servers that speak HTTP/2 well or oddly, and what a check of each comes to.

use std::collections::BTreeMap;

use bytes::Bytes;
use evenkeel_config::{Source, load};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::snapshot::fault_word;

/// What a check asks, as a file has it.
fn asked(health: &str) -> Result<Asks, String> {
    let text = format!(
        "listeners: {{ web: {{ bind: \"127.0.0.1:1\" }} }}\nservices: {{ api: {{ backends: [a:1], health: {{ {health} }} }} }}\n"
    );
    let name = "f.yaml".into();
    let plan = load(&[Source { name, text }], &BTreeMap::new())
        .plan
        .unwrap();
    asks(&plan.services[0]).map(Option::unwrap)
}

/// What one check of a server comes to, and how the server's own future ended.
async fn found<Serving, Served, T>(health: &str, serve: Serving) -> (String, T)
where
    Serving: FnOnce(TcpStream) -> Served,
    Served: Future<Output = T>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (asks, to) = (asked(health).unwrap(), at.to_string().parse().unwrap());
    let backend = BackendAddress::Tcp(at);
    let left = || Duration::from_millis(1500);
    let check = asks.over(&Secured::Off, &to, &backend, b"", left);
    let served = async { serve(listener.accept().await.unwrap().0).await };
    let (found, served) = tokio::join!(check, served);
    let found = found.unwrap_or_else(Finding::from);
    let word = match found.error {
        None => format!("passed {:?}", found.status),
        Some(error) => fault_word(error.fault()),
    };
    (word, served)
}

type Server = Connection<TcpStream, Bytes>;

/// The first request, and the connection it came over.
async fn first(stream: TcpStream) -> (Server, Request<RecvStream>, SendResponse<Bytes>) {
    let mut server = h2::server::handshake(stream).await.unwrap();
    let (request, respond) = server.accept().await.unwrap().unwrap();
    (server, request, respond)
}

/// Lets what was answered be sent, until the other side goes.
async fn rest(mut server: Server) {
    while let Some(Ok(_)) = server.accept().await {}
}

/// An answer in parts: its head, its body if it has one, its trailers.
async fn answer(stream: TcpStream, head: Fields<'_>, body: Option<&[u8]>, trailers: Fields<'_>) {
    let (server, _, mut respond) = first(stream).await;
    let mut response = Response::new(());
    for (name, value) in head {
        match *name {
            ":status" => *response.status_mut() = value.parse().unwrap(),
            name => drop(response.headers_mut().append(name, value.parse().unwrap())),
        }
    }
    let mut sends = respond.send_response(response, body.is_none()).unwrap();
    if let Some(body) = body {
        let only = trailers.is_empty();
        sends.send_data(Bytes::copy_from_slice(body), only).unwrap();
        if !only {
            let mut map = HeaderMap::new();
            for (name, value) in trailers {
                map.append(*name, value.parse().unwrap());
            }
            sends.send_trailers(map).unwrap();
        }
    }
    rest(server).await;
}

type Fields<'a> = &'a [(&'static str, &'a str)];

const GRPC: Fields<'static> = &[("content-type", "application/grpc")];
const OK: Fields<'static> = &[("grpc-status", "0")];

#[tokio::test]
async fn answers_of_grpc() {
    let serving = &[0, 0, 0, 0, 2, 8, 1][..];
    let long = [&[0, 0, 0, 4, 0][..], &[0; 1024]].concat();
    let endless = [0; 70_000];
    let huge = "x".repeat(20_000);
    let rows: [(_, Fields<'_>, _, Fields<'_>); 22] = [
        ("passed None", GRPC, Some(serving), OK),
        ("grpc NOT_SERVING", GRPC, Some(&[0, 0, 0, 0, 2, 8, 2]), OK),
        (
            "grpc SERVICE_UNKNOWN",
            GRPC,
            Some(&[0, 0, 0, 0, 2, 8, 3]),
            OK,
        ),
        (
            "grpc SERVING_STATUS_UNKNOWN",
            GRPC,
            Some(&[0, 0, 0, 0, 0]),
            OK,
        ),
        // The status says more than the message.
        (
            "grpc INTERNAL",
            GRPC,
            Some(serving),
            &[("grpc-status", "13")],
        ),
        ("grpc UNKNOWN", GRPC, Some(serving), &[("x", "y")]),
        ("grpc UNKNOWN", GRPC, Some(serving), &[]),
        (
            "grpc UNAVAILABLE",
            GRPC,
            Some(b""),
            &[("grpc-status", "14")],
        ),
        (
            "grpc UNIMPLEMENTED",
            &[("content-type", "application/grpc"), ("grpc-status", "12")],
            None,
            &[],
        ),
        (
            "grpc NOT_FOUND",
            &[(":status", "404"), ("grpc-status", "5")],
            None,
            &[],
        ),
        (
            "malformed",
            &[("content-type", "application/grpc"), ("grpc-status", "0")],
            None,
            &[],
        ),
        ("malformed", GRPC, Some(b""), OK),
        ("malformed", GRPC, Some(&[0, 0, 0, 0]), OK),
        ("malformed", GRPC, Some(&[1, 0, 0, 0, 2, 8, 1]), OK),
        (
            "malformed",
            GRPC,
            Some(&[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1]),
            OK,
        ),
        ("malformed", GRPC, Some(&long), OK),
        ("malformed", GRPC, Some(&endless), OK),
        (
            "malformed",
            &[("content-type", "text/html")],
            Some(b"<p>"),
            &[],
        ),
        ("malformed", &[], None, &[]),
        ("status 503", &[(":status", "503")], None, &[]),
        (
            "status 404",
            &[(":status", "404"), ("content-type", "application/grpc")],
            None,
            &[],
        ),
        ("malformed", &[("x", &huge)], None, &[]),
    ];
    for (at, (expect, head, body, trailers)) in rows.into_iter().enumerate() {
        let serve = |stream| answer(stream, head, body, trailers);
        assert_eq!(found("grpc: {}", serve).await.0, expect, "row {at}");
    }
}

#[tokio::test]
async fn answers_of_http() {
    let long = "x".repeat(70_000);
    let rows: [(_, _, Fields<'_>, _); 8] = [
        ("", "passed Some(200)", &[], None),
        ("", "passed Some(204)", &[(":status", "204")], None),
        ("", "status 404", &[(":status", "404")], None),
        (
            "expect: 404",
            "passed Some(404)",
            &[(":status", "404")],
            None,
        ),
        ("body: well", "passed Some(200)", &[], Some("all is well\n")),
        ("body: well", "body_mismatch", &[], Some("all is good\n")),
        ("body: well", "body_mismatch", &[], None),
        ("body: well", "body_mismatch", &[], Some(&*long)),
    ];
    for (http, expect, head, body) in rows {
        let serve = |stream| answer(stream, head, body.map(str::as_bytes), &[]);
        let health = format!("http: {{ protocol: http2, {http} }}");
        assert_eq!(found(&health, serve).await.0, expect, "{http}");
    }
}

#[tokio::test]
async fn requests_as_they_are_sent() {
    let told = |stream| async move {
        let (mut server, request, mut respond) = first(stream).await;
        let mut response = Response::new(());
        response
            .headers_mut()
            .insert("grpc-status", "0".parse().unwrap());
        respond.send_response(response, true).unwrap();
        let (head, mut body) = request.into_parts();
        let mut sent = Vec::new();
        let read = async {
            while let Some(bytes) = body.data().await {
                sent.extend_from_slice(&bytes.unwrap());
            }
        };
        tokio::join!(read, async {
            while let Some(Ok(_)) = server.accept().await {}
        });
        let host = head.uri.authority().unwrap().host().to_owned();
        let mut fields: Vec<_> = head.headers.iter().collect();
        fields.sort_by_key(|(name, _)| name.as_str());
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let (path, fields) = (head.uri.path_and_query().unwrap(), fields.join(", "));
        let sent = sent.escape_ascii();
        format!("{} {host} {path} | {fields} | {sent}", head.method)
    };
    let by = concat!("evenkeel-check/", env!("CARGO_PKG_VERSION"));
    let (_, sent) = found("grpc: { service: a.B }", told).await;
    assert_eq!(
        sent,
        format!(
            "POST 127.0.0.1 /grpc.health.v1.Health/Check | content-type: application/grpc, grpc-timeout: 1500000u, te: trailers, user-agent: {by} | \\x00\\x00\\x00\\x00\\x05\\n\\x03a.B"
        )
    );
    let (_, sent) = found("grpc: { host: \"api.internal:80\" }", told).await;
    assert!(sent.starts_with("POST api.internal /grpc"), "{sent}");
    let post = "http: { protocol: http2, method: POST, path: \"/h?a\", host: shop.example, headers: { X-Check: \"1\" } }";
    assert_eq!(
        found(post, told).await.1,
        format!(
            "POST shop.example /h?a | accept: */*, content-length: 0, user-agent: {by}, x-check: 1 | "
        )
    );
}

/// Ends that are no answer.
#[tokio::test]
async fn connections_that_end_oddly() {
    for health in ["grpc: {}", "http: { protocol: http2 }"] {
        let reset = |stream| async move {
            let (server, _, mut respond) = first(stream).await;
            respond.send_reset(Reason::REFUSED_STREAM);
            rest(server).await;
        };
        let word = found(health, reset).await.0;
        assert_eq!(word, "http2 reset refused_stream", "{health}");
        let goaway = |stream| async move {
            let (mut server, ..) = first(stream).await;
            server.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            rest(server).await;
        };
        let word = found(health, goaway).await.0;
        assert_eq!(word, "http2 goaway enhance_your_calm", "{health}");
        // What was begun before it is answered.
        let graceful = |stream| async move {
            let (mut server, _, mut respond) = first(stream).await;
            server.graceful_shutdown();
            let mut response = Response::new(());
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            respond.send_response(response, true).unwrap();
            rest(server).await;
        };
        assert_eq!(found(health, graceful).await.0, "status 503", "{health}");
        let gone = |stream| async move { drop(first(stream).await) };
        let word = found(health, gone).await.0;
        assert!(matches!(&*word, "reset" | "http2 reset cancel"), "{word}");
        let other = |mut stream: TcpStream| async move {
            let answer =
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        assert_eq!(found(health, other).await.0, "malformed", "{health}");
        let silent = |stream: TcpStream| async move { drop(stream) };
        assert_eq!(found(health, silent).await.0, "reset", "{health}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_before() {
    let long = "s".repeat(1025);
    assert!(asked("grpc: { service: a.B, host: \"[::1]:80\" }").is_ok());
    let refused = asked("grpc: { host: \"a/b\" }").err().unwrap();
    assert!(refused.contains("host"), "{refused}");
    assert!(GrpcProbe::new(&long, None).is_err());
}

/// What every check asks memory for, in bytes: the room of TLS, HTTP/2 and gRPC is asked for where they are spoken.
const ROOM_MOST_BYTES: usize = 1024;

#[test]
fn a_check_holds_no_room_for_what_it_does_not_speak() {
    let at = SocketAddr::from(([127, 0, 0, 1], 1));
    let (to, backend) = (Address::from(at), BackendAddress::Tcp(at));
    for health in ["tcp: {}", "http: { path: /health }", "grpc: {}"] {
        let asks = asked(health).unwrap();
        let check = asks.over(&Secured::Off, &to, &backend, b"", || Duration::ZERO);
        let room = size_of_val(&check);
        assert!(room <= ROOM_MOST_BYTES, "{health}: {room} bytes");
    }
}
