//! handshakes HOST:PORT CONNECTIONS THREADS SECONDS full|resumed
//!
//! Load of TLS 1.3 handshakes: each connection shakes hands, asks `GET /` once, reads the answer to its end and makes
//! place for the next. Certificates are not verified, so that the client is cheap and the server the bottleneck.
//! Prints one JSON object; times in microseconds.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, client, version,
};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const BODY: usize = 13; // what the harness's backend answers to `GET /`
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct TrustAnything(Vec<SignatureScheme>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[derive(Clone)]
struct Plan {
    address: String,
    connections: usize,
    seconds: Duration,
    resumed: bool,
}

#[derive(Default)]
struct Tally {
    errors: u64,
    latencies_us: Vec<u128>,
    last_error: String,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.errors += other.errors;
        self.latencies_us.extend(other.latencies_us);
        if !other.last_error.is_empty() {
            self.last_error = other.last_error;
        }
    }

    fn quantile(&self, q: f64) -> u128 {
        let rank = (self.latencies_us.len() as f64 * q) as usize;
        self.latencies_us.get(rank).copied().unwrap_or(0)
    }

    fn print(mut self, elapsed: Duration) {
        self.latencies_us.sort_unstable();
        println!(
            "{{\"reqs\":{},\"errs\":{},\"rps\":{:.1},\"p50\":{},\"p99\":{},\"last_error\":\"{}\"}}",
            self.latencies_us.len(),
            self.errors,
            self.latencies_us.len() as f64 / elapsed.as_secs_f64(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.last_error.replace(['"', '\\', '\n'], "'")
        );
    }
}

fn config(resumed: bool) -> Arc<ClientConfig> {
    let mut provider: CryptoProvider = aws_lc_rs::default_provider();
    let schemes = provider
        .signature_verification_algorithms
        .supported_schemes();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519]; // one group for every peer, whatever each prefers
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider supports TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnything(schemes)))
        .with_no_client_auth();
    if !resumed {
        config.resumption = client::Resumption::disabled();
    }
    Arc::new(config)
}

/// One connection. Whether its handshake was resumed.
async fn exchange(address: &str, tls: &TlsConnector) -> io::Result<bool> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a constant name");
    let mut tls = tls.connect(name, socket).await?;
    tls.write_all(REQUEST).await?;
    let mut answer = Vec::with_capacity(1024);
    let whole = |answer: &[u8]| {
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        head.is_some_and(|head| answer.len() >= head + 4 + BODY)
    };
    while !whole(&answer) {
        if tls.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other("status is not 200"));
    }
    Ok(tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed))
}

/// One connection after another. Each client has tickets of its own, and its first handshake is a full one.
async fn client(plan: Plan, end: Instant, tally: Rc<RefCell<Tally>>) {
    let tls = TlsConnector::from(config(plan.resumed));
    let mut known = false;
    while Instant::now() < end {
        let started = Instant::now();
        let done = tokio::time::timeout(PATIENCE, exchange(&plan.address, &tls)).await;
        let failed = match done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(resumed) if resumed == (plan.resumed && known) => None,
            Ok(true) => Some("resumed, though nothing was kept".to_owned()),
            Ok(false) => Some("not resumed".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        known = true;
        let mut tally = tally.borrow_mut();
        match failed {
            None => tally.latencies_us.push(started.elapsed().as_micros()),
            Some(why) => {
                tally.errors += 1;
                tally.last_error = why;
            }
        }
    }
}

fn thread(plan: Plan) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let end = Instant::now() + plan.seconds;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let clients = tokio::task::LocalSet::new();
    for _ in 0..plan.connections {
        clients.spawn_local(client(plan.clone(), end, tally.clone()));
    }
    runtime.block_on(clients);
    tally.take()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, threads, seconds, mode] = words.as_slice() else {
        eprintln!("usage: handshakes HOST:PORT CONNECTIONS THREADS SECONDS full|resumed");
        std::process::exit(2);
    };
    let threads: usize = threads.parse().expect("THREADS is a number");
    let plan = Plan {
        address: address.clone(),
        connections: connections
            .parse::<usize>()
            .expect("CONNECTIONS is a number")
            / threads,
        seconds: Duration::from_secs_f64(seconds.parse().expect("SECONDS is a number")),
        resumed: mode == "resumed",
    };
    let start = Instant::now();
    let running: Vec<_> = (0..threads)
        .map(|_| plan.clone())
        .map(|plan| std::thread::spawn(move || thread(plan)))
        .collect();
    let mut total = Tally::default();
    for one in running {
        total.add(one.join().expect("a thread does not panic"));
    }
    total.print(start.elapsed());
}
