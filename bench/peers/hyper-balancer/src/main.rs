//! The least a Rust balancer can be made of: hyper, its pooled client and rustls, on one thread.
//! It bounds what a general-purpose HTTP library costs, so it must stay minimal: no health checks, no
//! retries, no metrics. Configured by PORT, TLS_PORT, BACKENDS, CERT and KEY.

use hyper::{Request, Response, Uri, Version, body::Incoming, header, service::service_fn};
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task};
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Balancer {
    client: Client<HttpConnector, Incoming>,
    backends: Vec<String>,
    turn: AtomicUsize,
}

impl Balancer {
    fn from_env() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1024)
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_timer(TokioTimer::new())
            .build(connector);
        let backends = required("BACKENDS")
            .split_whitespace()
            .map(String::from)
            .collect();
        Balancer {
            client,
            backends,
            turn: AtomicUsize::new(0),
        }
    }

    fn next_backend(&self) -> &str {
        &self.backends[self.turn.fetch_add(1, Ordering::Relaxed) % self.backends.len()]
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        *request.uri_mut() = self.upstream_uri(request.uri());
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().remove(header::CONNECTION);
        let mut response = self.client.request(request).await?;
        response.headers_mut().remove(header::CONNECTION);
        *response.version_mut() = Version::HTTP_11;
        Ok(response)
    }

    fn upstream_uri(&self, asked: &Uri) -> Uri {
        let path = asked
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| "/".parse().expect("a constant path"));
        let parts = Uri::builder()
            .scheme("http")
            .authority(self.next_backend())
            .path_and_query(path);
        parts.build().expect("BACKENDS holds HOST:PORT pairs")
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn listen(port: &str) -> TcpListener {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().expect("a port number");
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.set_nonblocking(true).expect("O_NONBLOCK");
    socket.bind(&address.into()).expect("bind");
    socket.listen(65535).expect("listen"); // tokio's own default of 1024 drops connections at 512 reconnecting clients
    TcpListener::from_std(socket.into()).expect("a non-blocking listener")
}

fn tls_acceptor() -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(required("CERT"))
        .expect("CERT")
        .map(|c| c.expect("a certificate"))
        .collect();
    let key = PrivateKeyDer::from_pem_file(required("KEY")).expect("KEY");
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a matching key");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve_plain(listener: TcpListener, balancer: Arc<Balancer>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let balancer = balancer.clone();
        task::spawn_local(async move {
            let service = service_fn(|request| balancer.forward(request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, balancer: Arc<Balancer>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (balancer, acceptor) = (balancer.clone(), acceptor.clone());
        task::spawn_local(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http2().max_concurrent_streams(256);
            // HTTP/2 streams are spawned as tasks of their own, so this service must own its balancer
            let service = service_fn(move |request| {
                let balancer = balancer.clone();
                async move { balancer.forward(request).await }
            });
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    task::LocalSet::new().block_on(&runtime, async {
        let balancer = Arc::new(Balancer::from_env());
        let secure = listen(&required("TLS_PORT"));
        task::spawn_local(serve_tls(secure, tls_acceptor(), balancer.clone()));
        serve_plain(listen(&required("PORT")), balancer).await;
    });
}
