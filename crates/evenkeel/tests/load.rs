//! What a backend measures of itself over paused time, and the layer that reports it.

#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::convert::Infallible;
use std::future::{Future, Ready, pending, poll_fn, ready};
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel::load::{LoadMeter, Measured};
use evenkeel::tower::ReportLayer;
use evenkeel::{Error, LoadBalancer, LoadReport, PolicyChoice, ServiceSettings};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower_layer::Layer;
use tower_service::Service;

fn of_capacity(at_once: u32) -> LoadMeter {
    LoadMeter::of_capacity(NonZeroU32::new(at_once).unwrap())
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[track_caller]
fn near(got: Option<f64>, expect: f64) {
    let got = got.unwrap();
    assert!((got - expect).abs() < 0.01, "{got}, not {expect}");
}

#[tokio::test(start_paused = true)]
async fn requests_over_time() {
    let meter = of_capacity(4);
    assert_eq!(meter.measured(), Measured::default());
    assert_eq!(
        (meter.measured().text(), meter.measured().json()),
        (None, "{}".into())
    );
    // Two for half of the time, of four: a quarter. Three end, one badly.
    let (one, two) = (meter.begin(), meter.begin());
    assert_eq!(meter.in_flight(), 2);
    pass(1.0).await;
    drop((one, two));
    meter.begin().failed();
    assert_eq!(meter.in_flight(), 0);
    pass(1.0).await;
    let measured = meter.measured();
    near(measured.application, 0.25);
    near(measured.rps, 1.5);
    near(measured.eps, 0.5);
    assert_eq!(measured.cpu, None);
    assert_eq!(
        measured.text().as_deref(),
        Some("TEXT application_utilization=0.2500,rps_fractional=1.5000,eps=0.5000")
    );
    assert_eq!(
        measured.json(),
        r#"{"application_utilization":0.2500,"rps_fractional":1.5000,"eps":0.5000}"#
    );
    // The same until another window is over; one in which nothing was is one.
    pass(0.5).await;
    assert_eq!(meter.measured(), measured);
    pass(0.5).await;
    let idle = meter.measured();
    assert_eq!((idle.application, idle.rps), (Some(0.0), Some(0.0)));
    // One that lasts over windows counts in each of them.
    let long = meter.begin();
    pass(2.0).await;
    near(meter.measured().application, 0.25);
    pass(2.0).await;
    near(meter.measured().application, 0.25);
    drop(long);
}

#[tokio::test(start_paused = true)]
async fn other_words_for_utilization() {
    for (said, expect) in [
        (0.7, Some(0.7)),
        (0.0, Some(0.0)),
        (f64::NAN, None),
        (-1.0, None),
    ] {
        let meter = LoadMeter::told(move || said);
        pass(1.0).await;
        assert_eq!(meter.measured().application, expect, "{said}");
        assert!(meter.measured().rps.is_some());
    }
    let meter = LoadMeter::of_processors();
    pass(1.0).await;
    // Paused time passes faster than processors work, so that only bounds are known.
    let cpu = meter.measured().cpu;
    let sound = cpu.is_none_or(|cpu| cpu.is_finite() && cpu >= 0.0);
    assert!(
        sound && cpu.is_some() == cfg!(target_os = "linux"),
        "{cpu:?}"
    );
}

/// Answers with the status that its path names.
#[derive(Clone)]
struct Echo;

impl Service<Request<()>> for Echo {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = &'static str;
    type Future = Ready<Result<Self::Response, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        ready(match path.parse::<u16>() {
            Ok(status) => {
                let mut response = Response::new(Full::from("hello"));
                *response.status_mut() = status.try_into().unwrap();
                Ok(response)
            }
            Err(_) => Err("no answer"),
        })
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn answers_carry_reports() {
    let meter = of_capacity(4);
    let mut service = ReportLayer::new(meter.clone()).layer(Echo);
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let first = service.call(get("/200")).await.unwrap();
    // Its first second is not over, and its body is not read.
    assert!(!first.headers().contains_key("endpoint-load-metrics"));
    assert_eq!(meter.in_flight(), 1);
    pass(1.0).await;
    let whole = first.into_body().collect().await.unwrap().to_bytes();
    assert_eq!((&*whole, meter.in_flight()), (&b"hello"[..], 0));
    let second = service.call(get("/200")).await.unwrap();
    let report = second.headers()["endpoint-load-metrics"].to_str().unwrap();
    assert_eq!(
        report,
        "TEXT application_utilization=0.2500,rps_fractional=1.0000,eps=0.0000"
    );
    // Whoever leaves ends it too.
    drop(second);
    assert_eq!(meter.in_flight(), 0);
    drop(service.call(get("/503")).await.unwrap());
    assert_eq!(service.call(get("/x")).await.err(), Some("no answer"));
    drop(service.call(get("/404")).await.unwrap());
    pass(1.0).await;
    near(meter.measured().rps, 4.0);
    near(meter.measured().eps, 2.0);
}

#[tokio::test(start_paused = true)]
async fn the_page_and_who_asks() {
    let meter = of_capacity(4);
    let asked = HeaderName::from_static("x-load");
    let layer = ReportLayer::new(meter.clone())
        .page(Some("/my/load"))
        .if_asked(asked);
    let mut service = layer.layer(Echo);
    drop(meter.begin());
    pass(1.0).await;
    let page = service.call(get("/my/load?x=1")).await.unwrap();
    assert_eq!(page.headers()[CONTENT_TYPE], "application/json");
    let body = page.into_body().collect().await.unwrap().to_bytes();
    let text = r#"{"application_utilization":0.0000,"rps_fractional":1.0000,"eps":0.0000}"#;
    assert_eq!(body, text);
    // The page is none of its requests; what is no GET of it is.
    pass(1.0).await;
    near(meter.measured().rps, 0.0);
    let post = Request::builder().method(Method::POST).uri("/my/load");
    assert!(service.call(post.body(()).unwrap()).await.is_err());
    let plain = service.call(get("/200")).await.unwrap();
    assert!(!plain.headers().contains_key("endpoint-load-metrics"));
    let asks = Request::get("/200").header("x-load", "1").body(()).unwrap();
    let told = service.call(asks).await.unwrap();
    assert!(told.headers().contains_key("endpoint-load-metrics"));
    let mut none = ReportLayer::new(meter).page(None).layer(Echo);
    assert!(none.call(get("/load")).await.is_err());
}

/// A call that is dropped before it is answered has ended.
#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_answer() {
    #[derive(Clone)]
    struct Never;

    impl Service<Request<()>> for Never {
        type Response = Response<Full<bytes::Bytes>>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            pending()
        }
    }

    let meter = of_capacity(1);
    let mut service = ReportLayer::new(meter.clone()).layer(Never);
    let call = service.call(get("/"));
    {
        let mut call = pin!(call);
        let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
        assert!(polled && meter.in_flight() == 1);
    }
    assert_eq!(meter.in_flight(), 0);
}

/// By hand, and with a pick: half as able, half as much.
#[tokio::test(start_paused = true)]
async fn a_balancer_goes_by_reports() {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::WeightedByLoad);
    balancer
        .register("api", settings, ["slow", "fast"])
        .unwrap();
    let service = balancer.service("api").unwrap();
    let report = |utilization, rps| LoadReport {
        application: Some(utilization),
        rps: Some(rps),
        ..LoadReport::default()
    };
    let mut counts = [0_u32; 2];
    for second in 0..60 {
        service.report_load("slow", &report(0.5, 100.0)).unwrap();
        for _ in 0..30 {
            let pick = service.select().unwrap();
            let fast = pick.id().as_str() == "fast";
            if fast {
                pick.report_load(&report(0.5, 200.0));
            }
            counts[usize::from(fast)] += u32::from(second >= 40);
            pick.succeeded();
        }
        pass(1.0).await;
    }
    let ratio = f64::from(counts[1]) / f64::from(counts[0]);
    assert!((1.85..=2.15).contains(&ratio), "{counts:?}");
    let stranger = service.report_load("who", &report(0.5, 1.0));
    assert!(
        matches!(stranger, Err(Error::Membership(_))),
        "{stranger:?}"
    );
}
