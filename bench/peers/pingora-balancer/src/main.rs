//! A small Pingora balancer: what its own documentation puts together, with upstream keep-alive.
//! Configured by PORT and BACKENDS; TLS_PORT, CERT and KEY where TLS is wanted. Round robin, one thread, one try and no checks unless these say else:
//! BIND (127.0.0.1), WORKERS, SELECTION (`round_robin`, `random`), HEALTH (a path, asked each second), TRIES, AGAIN (statuses that are tried elsewhere),
//! CONNECT_MS, PER_TRY_MS.

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::lb::Backend;
use pingora::lb::health_check::HttpHealthCheck;
use pingora::lb::selection::{BackendIter, BackendSelection, Random};
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::server::configuration::ServerConf;
use std::{env, sync::Arc, time::Duration};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HASH_STEPS: usize = 64; // how many backends `select` may look at before it gives up

struct Balancer<S: BackendSelection> {
    backends: Arc<LoadBalancer<S>>,
    tries: usize,
    again: Vec<u16>,
    connect: Option<Duration>,
    per_try: Option<Duration>,
}

impl<S> Balancer<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    /// One that was not tried; any where all were.
    fn choose(&self, tried: &[SocketAddr]) -> Result<Backend> {
        let fresh = |backend: &Backend, ready: bool| ready && !tried.contains(&backend.addr);
        let found = self.backends.select_with(b"", HASH_STEPS, fresh);
        found
            .or_else(|| self.backends.select(b"", HASH_STEPS))
            .ok_or_else(|| Error::explain(HTTPStatus(503), "no backend is ready"))
    }
}

#[async_trait]
impl<S> ProxyHttp for Balancer<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    type CTX = Vec<SocketAddr>;

    fn new_ctx(&self) -> Self::CTX {
        Vec::new()
    }

    async fn upstream_peer(&self, _: &mut Session, tried: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let backend = self.choose(tried)?;
        if self.tries > 1 {
            tried.push(backend.addr.clone());
        }
        let mut peer = HttpPeer::new(backend, false, String::new());
        peer.options.total_connection_timeout = self.connect;
        peer.options.read_timeout = self.per_try;
        Ok(Box::new(peer))
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        _: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(self.tries > 1);
        error
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        head: &mut ResponseHeader,
        tried: &mut Self::CTX,
    ) -> Result<()> {
        // The last try's answer is passed on, whatever it is.
        if tried.len() < self.tries && self.again.contains(&head.status.as_u16()) {
            return Error::e_explain(HTTPStatus(502), "answered by another")
                .map_err(Error::into_up);
        }
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        _: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        let repeatable = session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none();
        match (repeatable, self.tries > 1) {
            (false, _) => error.set_retry(false),
            (true, false) => error.retry.decide_reuse(client_reused),
            (true, true) => error.set_retry(*error.esource() != ErrorSource::Downstream),
        }
        error
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// None where it is not set.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

fn conf() -> ServerConf {
    let mut conf = ServerConf::default();
    conf.threads = number("WORKERS").unwrap_or(1) as usize;
    conf.upstream_keepalive_pool_size = 1024;
    conf.work_stealing = conf.threads > 1;
    if let Some(tries) = number("TRIES") {
        conf.max_retries = tries as usize;
    }
    conf
}

fn backends<S>() -> LoadBalancer<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    LoadBalancer::try_from_iter(required("BACKENDS").split_whitespace())
        .expect("BACKENDS holds HOST:PORT pairs")
}

/// Asked each second, out after two failures and in after two successes, as the other peers.
fn check(path: &str) -> HttpHealthCheck {
    let mut check = HttpHealthCheck::new("localhost", false);
    check.req.set_uri(path.parse().expect("HEALTH is a path"));
    (check.consecutive_failure, check.consecutive_success) = (2, 2);
    check
}

fn tls_settings() -> TlsSettings {
    let mut settings =
        TlsSettings::intermediate(&required("CERT"), &required("KEY")).expect("CERT and KEY");
    settings.enable_h2();
    settings
}

fn serve<S>()
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let mut server = Server::new_with_opt_and_conf(None, conf());
    server.bootstrap();
    let mut backends = backends::<S>();
    let backends = match env::var("HEALTH") {
        Ok(path) => {
            backends.set_health_check(Box::new(check(&path)));
            backends.health_check_frequency = Some(Duration::from_secs(1));
            backends.parallel_health_check = true;
            let checks = background_service("checks", backends);
            let backends = checks.task();
            server.add_service(checks);
            backends
        }
        Err(_) => Arc::new(backends),
    };
    let again = env::var("AGAIN").unwrap_or_default();
    let balancer = Balancer {
        backends,
        tries: number("TRIES").unwrap_or(1) as usize,
        again: again
            .split_whitespace()
            .map(|one| one.parse().expect("AGAIN holds statuses"))
            .collect(),
        connect: number("CONNECT_MS").map(Duration::from_millis),
        per_try: number("PER_TRY_MS").map(Duration::from_millis),
    };
    let mut proxy = http_proxy_service(&server.configuration, balancer);
    proxy.threads = Some(server.configuration.threads);
    let bind = env::var("BIND").unwrap_or_else(|_| "127.0.0.1".to_owned());
    proxy.add_tcp(&format!("{bind}:{}", required("PORT")));
    if env::var("TLS_PORT").is_ok() {
        proxy.add_tls_with_settings(
            &format!("{bind}:{}", required("TLS_PORT")),
            None,
            tls_settings(),
        );
    }
    server.add_service(proxy);
    server.run_forever();
}

fn main() {
    match env::var("SELECTION").as_deref() {
        Err(_) | Ok("round_robin") => serve::<RoundRobin>(),
        Ok("random") => serve::<Random>(),
        Ok(other) => panic!("SELECTION `{other}` is neither round_robin nor random"),
    }
}
