use super::*;

fn sockets(count: usize) -> Vec<OwnedFd> {
    let socket = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();
    (0..count).map(|_| socket()).collect()
}

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
        warming: Some(Duration::from_secs(1)),
        reason,
        since: Duration::from_secs(600),
    }
}

#[test]
fn what_is_written_is_read() {
    let reasons = Reason::ALL.into_iter().chain([
        Reason::ChecksFailed(CheckFault::Status(503)),
        Reason::ChecksFailed(CheckFault::Timeout),
    ]);
    let learned = CarriedService {
        classes: vec![Some(0.5), None],
        backends: reasons.map(backend).collect(),
    };
    let wanted = vec![
        ("a".to_owned(), Admin::Draining),
        ("b".to_owned(), Admin::Disabled),
    ];
    let tickets = CarriedTickets {
        all: vec![[7; _], [8; _]],
        sealed: Duration::from_secs(60),
    };
    let state = CarriedState {
        services: vec![(
            "api".into(),
            Known {
                learned: learned.clone(),
                wanted: wanted.clone(),
                drains: true,
            },
        )],
        tickets: vec![("web".into(), tickets.clone())],
        away: vec!["side".into()],
    };
    let one = |name: &str, bind: Bind, count, file| Inherited {
        listener: Some(name.into()),
        bind,
        sockets: sockets(count),
        file,
    };
    let address = Bind::Tcp("[::1]:443".parse().unwrap());
    let path = Bind::Unix("/run/a b".into());
    let (text, all) = write(
        vec![
            one("web", address.clone(), 3, false),
            one("x", path.clone(), 1, true),
        ],
        vec![one("admin", address.clone(), 1, false)],
        &state,
    );
    assert_eq!(all.len(), 5);
    let given = read(&text, all).unwrap();
    let [web, x] = &given.heritage.listeners[..] else {
        unreachable!()
    };
    assert_eq!(
        (web.listener.as_deref(), web.sockets.len(), web.file),
        (Some("web"), 3, false)
    );
    assert_eq!((&web.bind, &x.bind, x.file), (&address, &path, true));
    assert_eq!(given.admin.len(), 1);
    let CarriedState {
        services,
        tickets: read,
        away,
    } = given.heritage.state;
    assert_eq!(services[0].1.learned, learned);
    assert_eq!(
        (&services[0].1.wanted, services[0].1.drains),
        (&wanted, true)
    );
    assert_eq!(away, ["side"]);
    assert!(read[0].0 == "web" && read[0].1 == tickets);
}

/// An older or a newer process: what is not known is passed over, what is missing is nothing, sockets must be right.
#[test]
fn another_version_is_understood_as_far_as_it_goes() {
    let group = r#"{"name":"web","bind":"127.0.0.1:1","sockets":1,"colour":"red"}"#;
    let check = |state: &str, services: usize, backends: usize| {
        let text = format!(r#"{{"listeners":[{group}],"more":[1],"state":{state}}}"#);
        let given = read(text.as_bytes(), sockets(1)).unwrap();
        assert_eq!(given.heritage.listeners.len(), 1, "{state}");
        let read = given.heritage.state.services;
        let all: usize = read.iter().map(|(_, one)| one.learned.backends.len()).sum();
        assert_eq!((read.len(), all), (services, backends), "{state}");
    };
    check("null", 0, 0);
    check("7", 0, 0);
    check(r#"{"services":{"api":{"backends":7}}}"#, 0, 0);
    let good = r#"{"id":"a","checked":"up","gate":"open","reason":"joined","more":1}"#;
    check(
        &format!(r#"{{"services":{{"api":{{"backends":[{good}]}}}}}}"#),
        1,
        1,
    );
    for bad in [
        good.replace("open", "ajar"),
        good.replace("joined", "whim"),
        good.replace("\"up\"", "\"sideways\""),
        good.replace("\"more\":1", "\"next_s\":-1"),
        good.replace("\"more\":1", "\"since_s\":1e300"),
        good.replace("\"more\":1", "\"hand\":true,\"hand_left_s\":-5"),
    ] {
        check(
            &format!(r#"{{"services":{{"api":{{"backends":[{bad},{good}]}}}}}}"#),
            1,
            1,
        );
    }
    for (text, count) in [
        ("", 0),
        ("{", 0),
        (r#"{"listeners":[{"bind":"127.0.0.1:1","sockets":2}]}"#, 1),
        (r#"{"listeners":[{"bind":"127.0.0.1:1","sockets":0}]}"#, 1),
        (r#"{"listeners":[{"bind":"nowhere","sockets":1}]}"#, 1),
        (r#"{"listeners":{"bind":"127.0.0.1:1"}}"#, 1),
    ] {
        assert!(read(text.as_bytes(), sockets(count)).is_err(), "{text}");
    }
}
