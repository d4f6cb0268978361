//! Owns `demo`: a few seconds of the proxy over backends and clients of its own. One backend is slow; one dies half-way.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::event::Listener;
use evenkeel_config::{load, quick};
use evenkeel_control::control::TICK_EVERY;
use evenkeel_control::{Control, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{interval, sleep};

use crate::say;

/// How many ticks the demo lasts, and at which the third backend dies.
const TICKS: (u32, u32) = (40, 20);

/// A table each so many ticks.
const TABLE_EVERY: u32 = 10;

/// Clients that ask one request after another.
const CLIENTS: usize = 16;

/// What the backends are, and how long each takes.
const BACKENDS: [(&str, Duration); 3] = [
    ("quick", Duration::from_millis(2)),
    ("slow", Duration::from_millis(12)),
    ("dies", Duration::from_millis(2)),
];

pub(crate) fn demo() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let shown = runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, show()));
    match shown {
        Ok(code) => code,
        Err(error) => {
            say::log(&format!("the demo cannot run here: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn show() -> io::Result<ExitCode> {
    let mut addresses = Vec::new();
    let mut backends = Vec::new();
    for (_, takes) in BACKENDS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.push(listener.local_addr()?.to_string());
        backends.push(tokio::task::spawn_local(backend(listener, takes)));
    }
    let text = quick::source(&["127.0.0.1:0".into()], &addresses, Some("off"));
    let plan = load(&[text], &std::collections::BTreeMap::new()).plan;
    let events: Arc<dyn Listener> = Arc::new(());
    let started = plan.map(|plan| Control::start(plan, events));
    let mut control = match started {
        Some(Ok(control)) => control,
        Some(Err(error)) => return Err(io::Error::other(error.to_string())),
        None => return Err(io::Error::other("its configuration has errors")),
    };
    let Some((_, address)) = control.addresses().first().cloned() else {
        return Err(io::Error::other("it listens nowhere"));
    };
    say::out(&format!(
        "{CLIENTS} clients ask {address}, which forwards to {} backends\n",
        BACKENDS.len()
    ));
    let counts = Rc::new((Cell::new(0_u64), Cell::new(0_u64)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::task::spawn_local(client(address, counts.clone())))
        .collect();
    watch(&mut control, &mut backends, &addresses).await;
    clients.iter().for_each(JoinHandle::abort);
    let (asked, failed) = (counts.0.get(), counts.1.get());
    say::out(&format!("{asked} requests, {failed} failed\n"));
    Ok(if asked > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does the control plane's work, shows a table now and then, and lets a backend die.
async fn watch(control: &mut Control, backends: &mut Vec<JoinHandle<()>>, addresses: &[String]) {
    let mut ticks = interval(TICK_EVERY);
    for tick in 1..=TICKS.0 {
        ticks.tick().await;
        control.tick();
        if tick == TICKS.1
            && let Some(dying) = backends.pop()
        {
            // With the task its listener and all its connections go.
            dying.abort();
            say::out("\nthe third backend dies\n");
        }
        if tick % TABLE_EVERY == 0 {
            say::out(&table(&control.watch().snapshot(), addresses));
        }
    }
}

fn table(seen: &Snapshot, addresses: &[String]) -> String {
    let mut out = String::from("\n backend  standing   picks   share  in flight  latency  why\n");
    for service in &seen.services {
        let all: u64 = service.backends.iter().map(|backend| backend.picked).sum();
        for backend in &service.backends {
            let name = addresses
                .iter()
                .zip(BACKENDS)
                .find(|(address, _)| **address == backend.id)
                .map_or("?", |(_, (name, _))| name);
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            let share = 100.0 * backend.picked as f64 / all.max(1) as f64;
            let latency = backend.latency.unwrap_or_default().as_secs_f64() * 1e3;
            out.push_str(&format!(
                " {name:8} {:9} {:6} {share:6.1}% {:10} {latency:6.1}ms  {}\n",
                backend.standing, backend.picked, backend.in_flight, backend.reason
            ));
        }
    }
    out
}

/// Answers every request after a while, on as many connections as come. Its connections end with it.
async fn backend(listener: TcpListener, takes: Duration) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn_local(answer(stream, takes));
    }
}

async fn answer(mut stream: TcpStream, takes: Duration) {
    let mut came = Vec::new();
    loop {
        match stream.read_buf(&mut came).await {
            Ok(length) if length > 0 => {}
            _ => return,
        }
        if !came.ends_with(b"\r\n\r\n") {
            continue;
        }
        came.clear();
        sleep(takes).await;
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Asks one request after another; anything but 200 is a failure.
async fn client(address: SocketAddr, counts: Rc<(Cell<u64>, Cell<u64>)>) {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return;
    };
    let mut came = Vec::new();
    loop {
        came.clear();
        if stream
            .write_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
            .await
            .is_err()
        {
            return;
        }
        while !came.ends_with(b"\n")
            || !came.windows(4).any(|window| window == b"\r\n\r\n")
            || came.ends_with(b"\r\n\r\n")
        {
            match stream.read_buf(&mut came).await {
                Ok(length) if length > 0 => {}
                _ => {
                    counts.1.set(counts.1.get() + 1);
                    return;
                }
            }
        }
        counts.0.set(counts.0.get() + 1);
        if !came.starts_with(b"HTTP/1.1 200 ") {
            counts.1.set(counts.1.get() + 1);
        }
    }
}
