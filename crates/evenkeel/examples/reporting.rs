//! Backends that report their load, and a client that goes by it: the one that can do twice as much gets twice as much.
//!
//! `cargo run --example reporting`. Two backends in this program, over paused time; ends by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::load::{FIELD, LoadMeter};
use evenkeel::tower::{Report, ReportLayer};
use evenkeel::{LoadBalancer, LoadReport, PolicyChoice, ServiceSettings};
use http::{Request, Response};
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

/// What a backend does: nothing, for 20 ms.
#[derive(Clone)]
struct Work;

impl Service<Request<()>> for Work {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Response::new(Full::from("done")))
        })
    }
}

/// A backend that does so many at once.
fn backend(at_once: u32) -> Report<Work> {
    let meter = LoadMeter::of_capacity(NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN));
    ReportLayer::new(meter).layer(Work)
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut small, mut large) = (backend(4), backend(8));
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::WeightedByLoad);
    balancer.register("api", settings, ["small", "large"])?;
    let service = balancer.service("api").ok_or("it was registered")?;

    let mut counts = [0_u32; 2];
    for request in 0..4_000 {
        let pick = service.select()?;
        let is_large = pick.id().as_str() == "large";
        let backend = if is_large { &mut large } else { &mut small };
        let asked = Request::get("/").body(())?;
        let answer = backend.call(asked).await?;
        if let Some(report) = answer.headers().get(FIELD) {
            pick.report_load(&read(report.to_str()?));
        }
        pick.succeeded();
        // Of the last ten seconds.
        counts[usize::from(is_large)] += u32::from(request >= 3_500);
    }
    println!("small: {}, large: {}", counts[0], counts[1]);

    poll_fn(|cx| large.poll_ready(cx)).await?;
    let page = large.call(Request::get("/load").body(())?).await?;
    let kind = page.headers()[http::header::CONTENT_TYPE].to_str()?;
    println!("/load is {kind}");
    Ok(())
}

/// As much of a report as these backends write.
fn read(text: &str) -> LoadReport {
    let number = |name: &str| {
        let rows = text.trim_start_matches("TEXT ").split(',');
        let mut pairs = rows.filter_map(|row| row.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then(|| value.parse().ok())?)
    };
    LoadReport {
        application: number("application_utilization"),
        rps: number("rps_fractional"),
        eps: number("eps"),
        ..LoadReport::default()
    }
}
