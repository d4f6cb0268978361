//! The smallest Pingora balancer: round robin over BACKENDS, one thread, upstream keep-alive.
//! Configured by PORT, TLS_PORT, BACKENDS, CERT and KEY.

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;
use std::{env, sync::Arc};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HASH_STEPS: usize = 16; // how many backends `select` may look at before it gives up

struct Balancer(Arc<LoadBalancer<RoundRobin>>);

#[async_trait]
impl ProxyHttp for Balancer {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let backend = self
            .0
            .select(b"", HASH_STEPS)
            .expect("backends without health checks are always ready");
        Ok(Box::new(HttpPeer::new(backend, false, String::new())))
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn one_worker() -> ServerConf {
    let mut conf = ServerConf::default();
    conf.threads = 1;
    conf.upstream_keepalive_pool_size = 1024;
    conf.work_stealing = false;
    conf
}

fn backends() -> Arc<LoadBalancer<RoundRobin>> {
    let addresses = required("BACKENDS");
    Arc::new(
        LoadBalancer::try_from_iter(addresses.split_whitespace())
            .expect("BACKENDS holds HOST:PORT pairs"),
    )
}

fn tls_settings() -> TlsSettings {
    let mut settings =
        TlsSettings::intermediate(&required("CERT"), &required("KEY")).expect("CERT and KEY");
    settings.enable_h2();
    settings
}

fn main() {
    let mut server = Server::new_with_opt_and_conf(None, one_worker());
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Balancer(backends()));
    proxy.threads = Some(1);
    proxy.add_tcp(&format!("127.0.0.1:{}", required("PORT")));
    proxy.add_tls_with_settings(
        &format!("127.0.0.1:{}", required("TLS_PORT")),
        None,
        tls_settings(),
    );
    server.add_service(proxy);
    server.run_forever();
}
