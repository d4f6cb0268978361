//! An HTTP client over hyper that balances: the pick follows each body to its last byte.
//!
//! `cargo run --example hyper_client`. Two real backends on free ports, of which one dies; ends by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::tower::{Balance, CallError, Http};
use evenkeel::{
    Address, BackendSpec, BreakerSettings, LoadBalancer, PolicyChoice, ServiceSettings,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower_service::Service;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What talks to one backend: a connection for each request. A pool would be another such service.
#[derive(Clone)]
struct Client {
    address: Result<Address, evenkeel::address::AddressError>,
}

impl Client {
    fn to(backend: &BackendSpec) -> Self {
        Self {
            address: Address::of(backend),
        }
    }
}

impl Service<Request<Empty<Bytes>>> for Client {
    type Response = Response<Incoming>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let address = self.address.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address?.as_str()).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // It ends with the body.
            tokio::spawn(connection);
            Ok(sender.send_request(request).await?)
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let (one, _one) = backend("one").await?;
    let (two, dies) = backend("two").await?;
    let balancer = LoadBalancer::new();
    // Longer than this takes on any machine.
    let breaker = BreakerSettings::default().open(Duration::from_secs(60));
    let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin).breaker(breaker);
    balancer.register("api", settings, [one.as_str(), two.as_str()])?;
    let service = balancer.service("api").ok_or("it was registered")?;
    let mut api = Balance::new(service.clone(), Client::to).reading(Http);

    for path in ["/a", "/b"] {
        println!("{path}: {}", get(&mut api, path).await?);
    }
    dies.abort();
    // Its port is closed when its task is gone.
    drop(dies.await);
    let mut failed = 0;
    for path in [
        "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k", "/l", "/m", "/n",
    ] {
        failed += u32::from(get(&mut api, path).await.is_err());
    }
    // After five failures in a row its breaker is open, and it gets nothing more.
    println!("two is dead: {failed} of 12 failed");
    let stats = service.stats();
    println!(
        "requests: {}, failed: {}",
        stats.requests.started, stats.requests.failed
    );
    println!("in flight: {}", stats.attempts.in_flight);
    Ok(())
}

/// One request, its body read to the end.
async fn get<S>(api: &mut S, path: &str) -> Result<String, Failure>
where
    S: Service<
            Request<Empty<Bytes>>,
            Response = Response<evenkeel::Followed<Incoming>>,
            Error = CallError<Failure>,
        >,
{
    let ready = poll_fn(|cx| api.poll_ready(cx)).await;
    ready.map_err(CallError::into_boxed)?;
    let request = Request::get(path)
        .header("Host", "api")
        .body(Empty::new())?;
    let response = api.call(request).await.map_err(CallError::into_boxed)?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// A backend on a free port that says its name; aborting its task closes the port.
async fn backend(name: &'static str) -> io::Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What one client does must not end the backend.
            let _ = answer(stream, name).await;
        }
    });
    Ok((address, task))
}

async fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let length = name.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}");
    stream.write_all(answer.as_bytes()).await
}
