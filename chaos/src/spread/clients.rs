//! Owns the clients of one run: how they come, which of them leave before anything counts, and how they ask.
//!
//! Closed loops: who was answered asks again. A client of HTTP/2 has several under way on its one connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Clients, SETTLED};
use crate::client::{Class, Conn, Kind, exchange};
use crate::clock::Start;

/// What is counted: answers between these.
pub(super) type Window = (Duration, Duration);

/// One client that has come.
pub(super) enum Client {
    /// One thing after another; with a connection of its own for each, or not.
    Plain(Conn, bool),
    /// So many streams, each one thing after another.
    Streams(SendRequest<Bytes>, usize),
}

/// Those of this case, in the order and with the leavers that this seed draws.
pub(super) async fn come(
    clients: Clients,
    to: SocketAddr,
    seed: u64,
) -> Result<Vec<Client>, String> {
    // One after another, as clients come.
    let mut came = Vec::new();
    if let Clients::Streams(each) = clients {
        for streams in drawn(each.to_vec(), seed) {
            came.push(Client::Streams(open_http2(to).await?, streams));
        }
        return Ok(came);
    }
    let (count, anew) = match clients {
        Clients::Anew(count) => (count, true),
        _ => (clients.count(), false),
    };
    for _ in 0..count {
        came.push(Client::Plain(open(to).await?, anew));
    }
    if let Clients::Halved(_) | Clients::Refilled(_) = clients {
        came = half(came, seed).await?;
    }
    if let Clients::Refilled(_) = clients {
        while came.len() < count {
            came.push(Client::Plain(open(to).await?, anew));
        }
    }
    Ok(came)
}

/// Closes half of them once each was answered, and so has its worker; returns when the workers have had time to see it.
async fn half(came: Vec<Client>, seed: u64) -> Result<Vec<Client>, String> {
    let start = Start::now();
    let mut known = Vec::new();
    for client in came {
        let Client::Plain(conn, anew) = client else {
            continue;
        };
        let came = exchange(conn, Kind::SMALL, start, &mut None).await;
        let conn = came.conn.ok_or_else(|| came.class.word())?;
        known.push(Client::Plain(conn, anew));
    }
    let mut stay = drawn(known, seed);
    stay.truncate(stay.len() / 2);
    start.until(start.passed() + SETTLED).await;
    Ok(stay)
}

/// In an order by chance.
pub(super) fn drawn<T>(mut all: Vec<T>, seed: u64) -> Vec<T> {
    fastrand::Rng::with_seed(seed).shuffle(&mut all);
    all
}

async fn open(to: SocketAddr) -> Result<Conn, String> {
    Conn::open(&[to]).await.map_err(|error| error.to_string())
}

async fn open_http2(to: SocketAddr) -> Result<SendRequest<Bytes>, String> {
    let stream = TcpStream::connect(to).await;
    let stream = stream.map_err(|error| error.to_string())?;
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let (client, connection) = h2::client::handshake(stream)
        .await
        .map_err(|error| why(&error))?;
    // It ends with the last of its clients.
    tokio::spawn(connection);
    Ok(client)
}

fn why(error: &h2::Error) -> String {
    error.to_string()
}

impl Client {
    /// Asks until the window is over, and says how many answers came within it.
    pub(super) async fn ask(
        self,
        to: SocketAddr,
        start: Start,
        window: Window,
    ) -> Result<u32, String> {
        match self {
            Self::Plain(conn, anew) => plain(conn, to, start, window, anew).await,
            Self::Streams(client, streams) => {
                let mut all = JoinSet::new();
                for _ in 0..streams {
                    all.spawn(stream(client.clone(), start, window));
                }
                let mut answered = 0;
                while let Some(one) = all.join_next().await {
                    answered += one.map_err(|error| error.to_string())??;
                }
                Ok(answered)
            }
        }
    }
}

async fn plain(
    conn: Conn,
    to: SocketAddr,
    start: Start,
    (from, until): Window,
    anew: bool,
) -> Result<u32, String> {
    let (mut conn, mut answered) = (Some(conn), 0);
    while start.passed() < until {
        let one = match conn.take() {
            Some(conn) => conn,
            None => open(to).await?,
        };
        let came = exchange(one, Kind::SMALL, start, &mut None).await;
        if came.class != Class::Answered {
            return Err(came.class.word());
        }
        answered += u32::from(start.passed() >= from);
        conn = came.conn.filter(|_| !anew);
    }
    Ok(answered)
}

/// One stream after another.
async fn stream(
    client: SendRequest<Bytes>,
    start: Start,
    (from, until): Window,
) -> Result<u32, String> {
    let size = Kind::SMALL.size;
    let address = format!("http://chaos.example/g/{size}");
    let (mut client, mut answered) = (client, 0);
    while start.passed() < until {
        let request = Request::get(&address).body(());
        let request = request.map_err(|error| error.to_string())?;
        client = client.ready().await.map_err(|error| why(&error))?;
        let (answer, _) = client
            .send_request(request, true)
            .map_err(|error| why(&error))?;
        let answer = answer.await.map_err(|error| why(&error))?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut length = 0;
        while let Some(part) = body.data().await {
            let part = part.map_err(|error| why(&error))?;
            length += part.len();
            body.flow_control()
                .release_capacity(part.len())
                .map_err(|error| why(&error))?;
        }
        if status != 200 || length != size {
            return Err(format!("{status} with {length} bytes"));
        }
        answered += u32::from(start.passed() >= from);
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_is_drawn_anew_each_time_and_alike_for_all_programs() {
        let half = |seed| {
            let mut stay = drawn((0..16).collect(), seed);
            stay.truncate(8);
            stay.sort_unstable();
            stay
        };
        let of_runs: Vec<Vec<i32>> = (0..7).map(half).collect();
        assert_eq!(half(3), of_runs[3]);
        let mut all = of_runs.clone();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 7, "{of_runs:?}");
        // Neither those that came first nor those that came last.
        assert!(!of_runs.contains(&(0..8).collect()) && !of_runs.contains(&(8..16).collect()));
    }
}
