use evenkeel_config::limits;

use super::*;

fn backend(reason: Reason) -> CarriedBackend {
    CarriedBackend {
        id: "10.0.0.1:80".into(),
        checked: Active::Down,
        hand: Some((false, Some(Duration::from_millis(2500)))),
        gate: Gate::HalfOpen,
        next: Duration::from_secs(3),
        openings: 2,
        consecutive: 5,
        latency: Some(0.25),
        learned: Learned {
            slowness: 2.0,
            failing: 0.5,
        },
        limit: Some(CarriedLimit {
            wanted: 37.5,
            ease: Some(1.25),
        }),
        trust: Some(0.25),
        warming: Some(Duration::from_secs(1)),
        load: Some(CarriedLoad {
            capacity: Some(250.5),
            factor: 1.5,
            reporting: Duration::from_secs(60),
            age: Duration::from_millis(500),
        }),
        reason,
        since: Duration::from_secs(600),
    }
}

fn service(name: &str, backends: Vec<CarriedBackend>) -> (String, CarriedService) {
    let classes = vec![Some(0.5), None];
    let first_classes = vec![Some(0.25), None];
    let learned = CarriedService {
        classes,
        first_classes,
        hedges: vec![None, Some(0.25)],
        backends,
    };
    (name.into(), learned)
}

fn good(id: usize) -> CarriedBackend {
    CarriedBackend {
        id: format!("10.0.0.0.{id}:65535"),
        checked: Active::Up,
        hand: None,
        gate: Gate::Closed,
        load: None,
        ..backend(Reason::ChecksPassed)
    }
}

fn written(most: usize, state: &CarriedState) -> (Vec<u8>, usize) {
    let mut text = Vec::new();
    let left_out = write_within(most, &mut text, state).unwrap();
    (text, left_out)
}

fn given(mut text: &[u8]) -> (CarriedState, usize) {
    let mut state = CarriedState::default();
    let came = read(&mut text, &mut state);
    assert!(text.is_empty() && came.whole);
    (state, came.lost)
}

fn kept(number: u32) -> CarriedClient {
    CarriedClient {
        client: u128::MAX - u128::from(number),
        backend: u64::MAX - u64::from(number),
        left: Duration::from_millis(number.into()),
    }
}

#[test]
fn what_is_written_is_read() {
    let reasons = Reason::ALL.into_iter().chain([
        Reason::ChecksFailed(CheckFault::Status(503)),
        Reason::ChecksFailed(CheckFault::Timeout),
    ]);
    let tickets = CarriedTickets {
        all: vec![[7; _], [8; _]],
        sealed: Duration::from_secs(60),
    };
    let state = CarriedState {
        then: Duration::from_millis(1_234_567),
        services: vec![
            service("api", reasons.map(backend).collect()),
            service("none", Vec::new()),
        ],
        tickets: vec![("web".into(), tickets.clone())],
        affinity: Some([5; 32]),
        clients: vec![("api".into(), (0..1500).map(kept).collect())],
        ..CarriedState::default()
    };
    let (text, left_out) = written(LEARNED_MOST, &state);
    let (read, lost) = given(&text);
    assert_eq!((left_out, lost), (0, 0));
    assert_eq!(read.services, state.services);
    assert_eq!(read.then, state.then);
    assert!(read.tickets[0].0 == "web" && read.tickets[0].1 == tickets);
    assert_eq!(read.affinity, state.affinity);
    let clients = read.clients.iter().flat_map(|(_, clients)| clients);
    assert!(clients.eq(&state.clients[0].1));
    assert!(read.clients.iter().all(|(service, _)| service == "api"));
}

/// As many backends as there may be go over. Where there is no room, those whose standing is their own go first, and it is said.
#[test]
fn there_is_room_for_all_and_what_there_is_none_for_is_said() {
    let many = (0..limits::BACKENDS).map(good).collect();
    let state = CarriedState {
        services: vec![service("api", many)],
        ..CarriedState::default()
    };
    let (text, left_out) = written(LEARNED_MOST, &state);
    assert_eq!(left_out, 0);
    assert_eq!(given(&text).0.services, state.services);
    let marked = CarriedBackend {
        gate: Gate::Open,
        ..good(50)
    };
    let backends = (0..50).map(good).chain([marked.clone()]).collect();
    let state = CarriedState {
        services: vec![service("api", backends)],
        ..CarriedState::default()
    };
    let (text, left_out) = written(text.len() / limits::BACKENDS * 10, &state);
    let read = given(&text).0.services;
    assert_eq!(read[0].1.backends[0], marked);
    assert_eq!(read[0].1.backends.len() + left_out, 51);
    assert!((35..50).contains(&left_out), "{left_out}");
}

#[test]
fn another_version_is_understood_line_by_line() {
    let check = |lines: &str, services: usize, backends: usize, lost: usize| {
        let (read, was_lost) = given(format!("{lines}\n").as_bytes());
        let all = read.services.iter();
        let all: usize = all.map(|(_, one)| one.backends.len()).sum();
        assert_eq!(
            (read.services.len(), all, was_lost),
            (services, backends, lost),
            "{lines}"
        );
    };
    check("", 0, 0, 0);
    check("7\nnull\n{\n", 0, 0, 3);
    check("{\"news\":1}\n", 0, 0, 0);
    let good = "{\"service\":\"api\",\"backend\":{\"id\":\"a\",\"checked\":\"up\",\"gate\":\"open\",\"reason\":\"joined\",\"more\":1}}\n";
    check(good, 1, 1, 0);
    for bad in [
        good.replace("open", "ajar"),
        good.replace("joined", "whim"),
        good.replace("\"up\"", "\"sideways\""),
        good.replace("\"more\":1", "\"next_s\":-1"),
        good.replace("\"more\":1", "\"since_s\":1e300"),
        good.replace("\"more\":1", "\"hand\":true,\"hand_left_s\":-5"),
    ] {
        check(&format!("{bad}{good}"), 1, 1, 1);
    }
    check("{\"tickets\":{\"sealed_s\":-1}}\n", 0, 0, 1);
    check("{\"affinity\":[1]}\n", 0, 0, 1);
    check(
        "{\"service\":\"api\",\"clients\":[[\"zz\",1,1]]}\n",
        0,
        0,
        1,
    );
    check(
        "{\"service\":\"api\",\"clients\":[[\"1\",1,-1]]}\n",
        0,
        0,
        1,
    );
    // The process before this one was killed: what came, came.
    for (unended, backends) in [
        ("", 0),
        ("7", 0),
        ("7\n", 0),
        (good, 1),
        (&good.repeat(2)[..good.len() + 9], 1),
    ] {
        let mut state = CarriedState::default();
        assert!(
            !read(&mut unended.as_bytes(), &mut state).whole,
            "{unended}"
        );
        let all = state.services.iter();
        let all: usize = all.map(|(_, one)| one.backends.len()).sum();
        assert_eq!(all, backends, "{unended}");
    }
    let long = "x".repeat(LINE_MOST);
    assert!(!read(&mut long.as_bytes(), &mut CarriedState::default()).whole);
}
