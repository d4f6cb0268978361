//! Probes against real sockets on loopback. Servers say one thing and are as slow as they like: no finding hangs on time,
//! but for the silent one, which is silent for ever.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel::balance::health::{CheckFault, CheckResult};
use evenkeel::balance::settings::ActiveSettings;
use evenkeel::balance::standing::Standing;
use evenkeel::probe::{Finding, HttpCheck, HttpProbe, Probe, ProbeError, Target, TcpProbe};
use evenkeel::{BackendSpec, CheckerSettings, LoadBalancer, ServiceSettings, Whom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Reads one request head.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) {
    let _ = request(&mut stream).await;
    // The probe may have heard enough before the end.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

/// A server on a free port of loopback; `serve` gets each connection.
async fn server<Served>(serve: impl Fn(TcpStream) -> Served + Send + 'static) -> SocketAddr
where
    Served: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    at
}

/// A server that answers every request with these bytes.
async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer: Arc<Vec<u8>> = Arc::new(answer.into());
    server(move |stream| {
        let answer = answer.clone();
        async move { say(stream, &answer).await }
    })
    .await
}

/// An address that is taken and where nobody listens, while the socket is held.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

async fn ask(probe: &impl Probe, address: impl ToString) -> Finding {
    let target = Target {
        service: "api".into(),
        backend: "a".into(),
        address: address.to_string().into(),
    };
    probe.check(target).await
}

fn wanting(body: &str) -> HttpProbe {
    HttpProbe::new(HttpCheck::default().body(body)).unwrap()
}

fn checked() -> ServiceSettings {
    ServiceSettings::default().health(ActiveSettings::default().rise(2).fall(1))
}

#[tokio::test]
async fn answers_and_what_is_found() {
    let failed = CheckResult::Failed;
    let long_head = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(20_000));
    let ok = "HTTP/1.1 200 OK\r\n";
    let rows = [
        (
            format!("{ok}Content-Length: 5\r\n\r\nready"),
            CheckResult::Passed,
        ),
        (
            format!("{ok}Transfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"),
            CheckResult::Passed,
        ),
        (format!("{ok}\r\nall is ready."), CheckResult::Passed),
        (
            format!("{ok}Content-Length: 4\r\n\r\nread"),
            failed(CheckFault::Mismatch),
        ),
        (
            format!("{ok}Content-Length: 9\r\n\r\nread"),
            failed(CheckFault::Malformed),
        ),
        (
            "HTTP/1.1 503 Busy\r\n\r\n".to_owned(),
            failed(CheckFault::Status(503)),
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".to_owned(),
            failed(CheckFault::Status(302)),
        ),
        (
            "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
            failed(CheckFault::Malformed),
        ),
        (
            "HTTP/1.1 200 OK\r\nA:".to_owned(),
            failed(CheckFault::Malformed),
        ),
        (long_head, failed(CheckFault::Malformed)),
        (String::new(), failed(CheckFault::Malformed)),
    ];
    let probe = wanting("ready");
    for (answer, expect) in rows {
        let at = answering(answer.clone()).await;
        let found = ask(&probe, at).await;
        assert_eq!(found.result(), expect, "{:.60}: {found:?}", answer);
    }
}

#[tokio::test]
async fn a_connection_that_is_taken_and_cut_is_no_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Closing over what was not read resets.
            stream.readable().await.unwrap();
            drop(stream);
        }
    });
    let found = ask(&HttpProbe::get("/").unwrap(), at).await;
    let reset = CheckResult::Failed(CheckFault::Reset);
    assert_eq!(found.result(), reset, "{found:?}");
}

#[tokio::test]
async fn nobody_listens() {
    let (_held, at) = refusing();
    for found in [
        ask(&TcpProbe, at).await,
        ask(&HttpProbe::get("/").unwrap(), at).await,
    ] {
        assert_eq!(
            found.result(),
            CheckResult::Failed(CheckFault::Refused),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_silent_server_passes_tcp_and_runs_into_the_timeout_of_http() {
    let at = server(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(ask(&TcpProbe, at).await.result(), CheckResult::Passed);
    let balancer = LoadBalancer::new();
    balancer
        .register("api", checked(), [at.to_string()].map(BackendSpec::new))
        .unwrap();
    let settings = CheckerSettings::default().timeout(Duration::from_millis(50));
    let checker = balancer
        .spawn_health_checker(settings, HttpProbe::get("/").unwrap())
        .unwrap();
    let checks = checker.check_now(Whom::All).await.unwrap();
    assert_eq!(
        checks[0].report.result,
        CheckResult::Failed(CheckFault::Timeout)
    );
    assert!(checks[0].report.latency >= Duration::from_millis(50));
}

#[tokio::test]
async fn w1_each_backend_is_asked_itself_by_its_own_host_and_path() {
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let mut ports = Vec::new();
    for number in 0..3 {
        let tell = tell.clone();
        let at = server(move |mut stream| {
            let tell = tell.clone();
            async move {
                let head = request(&mut stream).await;
                tell.send((number, head)).await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 204 None\r\n\r\n").await;
            }
        })
        .await;
        ports.push(at.port());
    }
    let balancer = LoadBalancer::new();
    let mut named = BackendSpec::new("three");
    named.labels.insert(
        "address".into(),
        format!("http://localhost:{}/three", ports[2]),
    );
    let backends = [
        BackendSpec::new(format!("127.0.0.1:{}", ports[0])),
        BackendSpec::new(format!("http://127.0.0.1:{}/two?x=1", ports[1])),
        named,
    ];
    balancer.register("api", checked(), backends).unwrap();
    let probe = HttpProbe::new(HttpCheck::default()).unwrap();
    let checker = balancer
        .spawn_health_checker(CheckerSettings::default(), probe)
        .unwrap();
    checker.check_now(Whom::All).await.unwrap();
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 3 {
        let (number, head) = told.recv().await.unwrap();
        seen.insert(number, head);
    }
    let starts = [
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", ports[0]),
        format!("GET /two?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", ports[1]),
        format!("GET /three HTTP/1.1\r\nHost: localhost:{}\r\n", ports[2]),
    ];
    for (number, start) in starts.iter().enumerate() {
        let head = &seen[&number];
        assert!(head.starts_with(start.as_str()), "{head}");
        let agent = concat!(
            "User-Agent: evenkeel-check/",
            env!("CARGO_PKG_VERSION"),
            "\r\n"
        );
        assert!(head.contains(agent), "{head}");
    }
    assert_eq!(balancer.healthy_count("api"), 3);
}

/// A receiver that knows POST only, as webhooks do.
async fn post_only() -> SocketAddr {
    server(|mut stream| async move {
        let head = request(&mut stream).await;
        let answer: &[u8] = if head.starts_with("POST ") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n\r\n"
        };
        let _ = stream.write_all(answer).await;
    })
    .await
}

#[tokio::test]
async fn w6_a_405_to_head_is_told_as_such_and_method_and_statuses_can_be_chosen() {
    let at = post_only().await;
    let probe = |method: &str, expect: &str| {
        HttpProbe::new(
            HttpCheck::default()
                .method(method)
                .expect(expect.parse().unwrap()),
        )
        .unwrap()
    };
    let found = ask(&probe("HEAD", "200-299"), at).await;
    assert_eq!(found.result(), CheckResult::Failed(CheckFault::Status(405)));
    assert_eq!(found.status, Some(405));
    assert_eq!(
        ask(&probe("POST", "200-299"), at).await.result(),
        CheckResult::Passed
    );
    assert_eq!(
        ask(&probe("HEAD", "200-299,405"), at).await.result(),
        CheckResult::Passed
    );
}

#[tokio::test]
async fn r2_only_the_answer_decides_so_a_slow_answer_in_time_does_not_flap() {
    let at = server(|mut stream| async move {
        let _ = request(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" {
            tokio::task::yield_now().await;
            let _ = stream.write_all(&[*byte]).await;
        }
    })
    .await;
    let balancer = LoadBalancer::new();
    balancer
        .register("api", checked(), [at.to_string()].map(BackendSpec::new))
        .unwrap();
    let settings = CheckerSettings::default().timeout(Duration::from_secs(60));
    let checker = balancer
        .spawn_health_checker(settings, HttpProbe::get("/").unwrap())
        .unwrap();
    for _ in 0..20 {
        let checks = checker.check_now(Whom::All).await.unwrap();
        assert_eq!(checks[0].report.result, CheckResult::Passed);
        assert_eq!(balancer.healthy_count("api"), 1);
    }
}

#[tokio::test]
async fn a_backend_without_the_route_is_down_by_404_and_comes_in_after_the_set_rise() {
    let has_route = Arc::new(AtomicBool::new(false));
    let route = has_route.clone();
    let at = server(move |stream| {
        let status = if route.load(Ordering::SeqCst) {
            "200 OK"
        } else {
            "404 Not Found"
        };
        async move {
            say(
                stream,
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes(),
            )
            .await;
        }
    })
    .await;
    let good = answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let (without, with) = (at.to_string(), good.to_string());
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default().health(ActiveSettings::default().rise(3).fall(2));
    balancer
        .register(
            "api",
            settings,
            [&without, &with].map(|id| BackendSpec::new(id.as_str())),
        )
        .unwrap();
    let standing = |backend: &str| {
        balancer
            .group_snapshot("api")
            .unwrap()
            .backend(backend)
            .unwrap()
            .standing
    };
    assert_eq!(standing(&with), Standing::Unproven);
    let settings = CheckerSettings::default()
        .interval(Duration::from_secs(24 * 3_600))
        .timeout(Duration::from_secs(60));
    let checker = balancer
        .spawn_health_checker(settings, HttpProbe::get("/health").unwrap())
        .unwrap();

    // The runner may have begun its own first checks; count results rather than calls.
    let by_hand = || checker.check_now(Whom::All);
    by_hand().await.unwrap();
    assert_eq!(
        standing(&with),
        Standing::Serving,
        "an unproven one needs a single success"
    );
    by_hand().await.unwrap();
    assert_eq!(standing(&without), Standing::Down);
    let seen = balancer
        .group_snapshot("api")
        .unwrap()
        .backend(&without)
        .unwrap()
        .last_check
        .unwrap();
    assert_eq!(seen.result, CheckResult::Failed(CheckFault::Status(404)));

    has_route.store(true, Ordering::SeqCst);
    for passes in 1..=3 {
        assert_eq!(standing(&without), Standing::Down, "before pass {passes}");
        by_hand().await.unwrap();
    }
    assert_eq!(standing(&without), Standing::Serving);
}

#[tokio::test]
async fn https_is_refused_by_name_and_tcp_still_connects() {
    let at = answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let url = format!("https://{at}/");
    let found = ask(&HttpProbe::get("/").unwrap(), &url).await;
    assert_eq!(found.result(), CheckResult::Failed(CheckFault::Other));
    let error = found.error.unwrap();
    assert!(
        matches!(error, ProbeError::TlsNotYet) && error.to_string().contains("TLS comes later")
    );
    assert_eq!(ask(&TcpProbe, &url).await.result(), CheckResult::Passed);
}

#[tokio::test]
async fn texts_that_are_no_address_fail_as_such() {
    for probe in [&TcpProbe as &dyn Probe, &HttpProbe::get("/").unwrap()] {
        let target = Target {
            service: "api".into(),
            backend: "a".into(),
            address: "a".into(),
        };
        let found = probe.check(target).await;
        assert!(
            matches!(found.error, Some(ProbeError::Address(_))),
            "{found:?}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets() {
    let folder =
        std::path::Path::new("/tmp").join(format!("evenkeel-probes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.sock");
    let address = format!("unix:{}", path.display());
    for found in [
        ask(&TcpProbe, &address).await,
        ask(&HttpProbe::get("/").unwrap(), &address).await,
    ] {
        assert_eq!(
            found.result(),
            CheckResult::Failed(CheckFault::Refused),
            "{found:?}"
        );
    }
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready").await;
        }
    });
    assert_eq!(
        ask(&wanting("ready"), &address).await.result(),
        CheckResult::Passed
    );
    assert_eq!(ask(&TcpProbe, &address).await.result(), CheckResult::Passed);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn ipv6_where_there_is_some() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return;
    };
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            say(stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    });
    let probe = HttpProbe::get("/").unwrap();
    for address in [at.to_string(), format!("http://[::1]:{}/", at.port())] {
        assert_eq!(ask(&probe, address).await.result(), CheckResult::Passed);
    }
}

#[tokio::test]
async fn random_bytes_as_answers_end_in_a_finding() {
    let probe = wanting("ready");
    let mut random = fastrand::Rng::with_seed(0xA5);
    for turn in 0..60 {
        let mut bytes: Vec<u8> = (0..random.usize(0..2_000)).map(|_| random.u8(..)).collect();
        if turn % 2 == 0 {
            bytes.splice(
                0..0,
                *b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
        }
        let at = answering(bytes).await;
        let found = ask(&probe, at).await;
        assert!(
            matches!(found.result(), CheckResult::Failed(_)),
            "turn {turn}: {found:?}"
        );
    }
}
