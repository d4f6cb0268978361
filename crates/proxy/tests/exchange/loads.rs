use std::sync::Arc;

use evenkeel_balance::settings::PolicyChoice;
use evenkeel_balance::snapshot::LoadSnapshot;
use evenkeel_config::plan::{LoadPage, LoadPlan, LoadSource, Plan};
use evenkeel_proxy::observation::reports;

use crate::calls::call;
use crate::world::{Backend, Proxy, plan};

/// How the one service goes by reports.
fn weighing(plan: &mut Plan, change: impl FnOnce(&mut LoadPlan)) {
    let service = plan.services.first_mut().unwrap();
    service.settings.policy = PolicyChoice::WeightedByLoad;
    let mut load = LoadPlan {
        from: LoadSource::Header,
        keeps: false,
        metrics: Arc::from([Arc::from("named_metrics.queue")]),
    };
    change(&mut load);
    service.load = Some(load);
}

fn started(backend: &Backend, change: impl FnOnce(&mut LoadPlan)) -> Proxy {
    let mut plan = plan(&[backend.address]);
    weighing(&mut plan, change);
    Proxy::start(plan, 1)
}

/// What the core has of the only backend.
fn load(proxy: &Proxy) -> Option<LoadSnapshot> {
    let service = proxy.published.load().services[0].state.service.clone();
    service.snapshot(proxy.now()).backends[0].load
}

/// Reports by what became of them, those that came to nothing left out.
fn came(proxy: &Proxy) -> Vec<(&'static str, u64)> {
    let state = proxy.published.load().services[0].state.clone();
    let rows = state.counters.iter().map(|row| &row.reports);
    let all = reports(rows, &state.polls);
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// One exchange with a backend that says these lines: what the client gets of them, what the core hears, and what is counted.
#[track_caller]
fn check(said: &str, told: &str, utilization: Option<f32>, counted: &[(&str, u64)]) {
    check_with(|_| {}, said, told, utilization, counted);
}

#[track_caller]
fn check_with(
    change: impl FnOnce(&mut LoadPlan),
    said: &str,
    told: &str,
    utilization: Option<f32>,
    counted: &[(&str, u64)],
) {
    let answer = format!("HTTP/1.1 200 OK\r\nA: b\r\n{said}Content-Length: 2\r\n\r\nhi");
    let backend = Backend::scripted(move |_, client, seen| {
        let _ = seen.send(client.head().unwrap_or_default());
        client.send(&answer);
        client.end();
    });
    let proxy = started(&backend, change);
    let got = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let expect = format!("HTTP/1.1 200 OK\r\nA: b\r\n{told}");
    assert!(got.starts_with(&expect), "{said}: {got}");
    let behind = got[expect.len()..].to_ascii_lowercase();
    assert!(!behind.contains("endpoint-load"), "{said}: {got}");
    assert_eq!(load(&proxy).unwrap().utilization, utilization, "{said}");
    assert_eq!(came(&proxy), counted, "{said}");
}

#[test]
fn the_field_is_read_and_kept_from_the_client() {
    let text = "Endpoint-Load-Metrics: TEXT cpu_utilization=0.25,rps_fractional=7\r\n";
    check(text, "", Some(0.25), &[("read", 1)]);
    check(
        "endpoint-load-metrics: JSON {\"applicationUtilization\": 0.5, \"cpu_utilization\": 0.25}\r\n",
        "",
        Some(0.5),
        &[("read", 1)],
    );
    check(
        "endpoint-load-metrics: TEXT cpu_utilization=0.25,named_metrics.queue=0.75\r\n",
        "",
        Some(0.75),
        &[("read", 1)],
    );
    let binary = "endpoint-load-metrics-bin: CTMzMzMzM9M/\r\n";
    check(binary, "", Some(0.3), &[("read", 1)]);
    // Of two the first counts; neither goes on.
    check(&format!("{text}{binary}"), "", Some(0.25), &[("read", 1)]);
    check("", "", None, &[]);
    check(
        "Endpoint-Load-Metrics-Format: x\r\n",
        "Endpoint-Load-Metrics-Format: x\r\n",
        None,
        &[],
    );
    // Nothing of what cannot be read counts, and it does not go on either.
    check(
        "endpoint-load-metrics: TEXT cpu_utilization=NaN\r\n",
        "",
        None,
        &[("number", 1)],
    );
    check("endpoint-load-metrics: x\r\n", "", None, &[("format", 1)]);
    check(
        "endpoint-load-metrics: JSON {\r\n",
        "",
        None,
        &[("syntax", 1)],
    );
    let long = format!("endpoint-load-metrics: TEXT x={}\r\n", "1".repeat(5_000));
    check(&long, "", None, &[("long", 1)]);
}

/// What comes before the answer does not have it either; it is the answer's to say.
#[test]
fn interim_answers_keep_it_from_the_client() {
    let said = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nEndpoint-Load-Metrics: TEXT cpu_utilization=0.25\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    for keeps in [false, true] {
        let backend = Backend::answering(said);
        let proxy = started(&backend, |load| load.keeps = keeps);
        let got = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(got.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"));
        assert_eq!(got.contains("Endpoint-Load-Metrics"), keeps, "{got}");
        assert!(came(&proxy).is_empty());
    }
}

#[test]
fn who_wants_it_gets_the_field() {
    let text = "endpoint-load-metrics: TEXT cpu_utilization=0.25\r\n";
    let keeps = |load: &mut LoadPlan| load.keeps = true;
    check_with(keeps, text, text, Some(0.25), &[("read", 1)]);
}

/// Where a page says it, a field says nothing; it is nobody's all the same.
#[test]
fn a_page_is_the_only_source_of_who_has_one() {
    let text = "endpoint-load-metrics: TEXT cpu_utilization=0.25\r\n";
    let page = |load: &mut LoadPlan| {
        load.from = LoadSource::Page(LoadPage {
            path: "/load".into(),
            host: None,
            port: None,
            interval: std::time::Duration::from_secs(1),
            timeout: std::time::Duration::from_secs(1),
        });
    };
    check_with(page, text, "", None, &[]);
}

/// A service that does not go by reports reads none and takes none away.
#[test]
fn others_pass_it_on() {
    let answer = "HTTP/1.1 200 OK\r\nendpoint-load-metrics: TEXT cpu_utilization=0.25\r\nContent-Length: 2\r\n\r\nhi";
    let backend = Backend::answering(answer);
    let proxy = Proxy::over(&[&backend]);
    let got = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(got.contains("endpoint-load-metrics: TEXT"), "{got}");
    assert!(load(&proxy).is_none() && came(&proxy).is_empty());
}

/// Trailers of a call, and of an answer in chunks over HTTP/1.1 on both sides.
#[test]
fn trailers_are_read_and_kept_from_the_client() {
    let body = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\n\0\0\0\0\0\r\n0\r\nendpoint-load-metrics-bin: CTMzMzMzM9M/\r\ngrpc-status: 0\r\nx: y\r\n\r\n";
    let says = || {
        Backend::scripted(move |_, client, seen| {
            while let Some(head) = client.head() {
                if head.starts_with("POST") {
                    let _ = client.until("0\r\n\r\n");
                }
                let _ = seen.send(head);
                client.send(body);
            }
        })
    };
    for keeps in [false, true] {
        let backend = says();
        let proxy = started(&backend, |load| load.keeps = keeps);
        let (status, _, _, trailers) = call(&proxy, "/a.B/C", &[]).unwrap();
        let named = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(
            (status, named("grpc-status"), named("x")),
            (200, Some("0"), Some("y"))
        );
        assert_eq!(named("endpoint-load-metrics-bin").is_some(), keeps);
        assert_eq!(load(&proxy).unwrap().utilization, Some(0.3));
        assert_eq!(came(&proxy), [("read", 1)]);
    }
    let backend = says();
    let proxy = started(&backend, |_| {});
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    let got = client.until("x: y\r\n\r\n");
    assert!(got.contains("0\r\ngrpc-status: 0\r\nx: y"), "{got}");
}
