//! Two real backends, checked over HTTP: one dies, and the picks go on with the other.
//!
//! `cargo run --example healthy`. Ends by itself: 0 when all went as told here, 1 when not.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io;
use std::time::Duration;

use evenkeel::balance::settings::ActiveSettings;
use evenkeel::balance::standing::Standing;
use evenkeel::{
    CheckerSettings, EventKind, Events, HttpProbe, LoadBalancer, ServiceSettings, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Long enough for any machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    tokio::time::timeout(PATIENCE, story()).await?
}

async fn story() -> Result<(), Failure> {
    let (one, _one) = backend().await?;
    let (two, dies) = backend().await?;
    let balancer = LoadBalancer::new();
    let mut events = balancer.subscribe();
    // One failed check is enough here; three in a row are the default.
    let settings = ServiceSettings::default()
        .health(ActiveSettings::default().fall(1))
        .slow_start(Duration::ZERO);
    balancer.register("api", settings, [one.as_str(), two.as_str()])?;
    let every = CheckerSettings::default().interval(Duration::from_millis(200));
    let _checker = balancer.spawn_health_checker(every, HttpProbe::get("/health")?)?;

    let (mut seen_one, mut seen_two) = (false, false);
    while !(seen_one && seen_two) {
        let (backend, to) = standing(&mut events).await?;
        println!("{} is {to}", name(&backend, &one));
        seen_one |= backend == one && to == Standing::Serving;
        seen_two |= backend == two && to == Standing::Serving;
    }
    let (first, second) = send(&balancer, &one).await?;
    println!("20 calls: one {first}, two {second}");
    if first == 0 || second == 0 {
        return Err("both should have been called".into());
    }

    dies.abort();
    println!("two dies");
    loop {
        let (backend, to) = standing(&mut events).await?;
        println!("{} is {to}", name(&backend, &one));
        if backend == two && to == Standing::Down {
            break;
        }
    }
    let (first, second) = send(&balancer, &one).await?;
    println!("20 calls: one {first}, two {second}");
    if (first, second) != (20, 0) {
        return Err("only the living backend should have been called".into());
    }
    Ok(())
}

/// Sends 20 calls and counts where they went.
async fn send(balancer: &LoadBalancer, one: &str) -> Result<(u32, u32), Failure> {
    let mut went = (0, 0);
    for _ in 0..20 {
        let mut pick = balancer.select("api")?;
        let mut stream = TcpStream::connect(pick.id().as_str()).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        pick.answered(Verdict::Success);
        if pick.id().as_str() == one {
            went.0 += 1;
        } else {
            went.1 += 1;
        }
        pick.succeeded();
    }
    Ok(went)
}

/// Waits for the next change of a standing.
async fn standing(events: &mut Events) -> Result<(String, Standing), Failure> {
    while let Some(event) = events.recv().await {
        if let EventKind::StandingChanged { backend, to, .. } = event.kind {
            return Ok((backend.to_string(), to));
        }
    }
    Err("the balancer is gone".into())
}

fn name(backend: &str, one: &str) -> &'static str {
    if backend == one { "one" } else { "two" }
}

/// A backend on a free port that answers everything with 200; aborting its task closes the port.
async fn backend() -> io::Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What one client does must not end the backend.
            let _ = answer(stream).await;
        }
    });
    Ok((address, task))
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        .await
}
