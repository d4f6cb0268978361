use std::collections::BTreeMap;

use evenkeel_config::limits;
use evenkeel_control::command::Admin;
use evenkeel_control::control::handover::{WantedBackend, WantedService};

use super::*;

fn sockets(count: usize) -> Vec<OwnedFd> {
    let socket = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();
    (0..count).map(|_| socket()).collect()
}

/// So many backends of a service are wanted otherwise.
fn wanted(count: usize, id: impl Fn(usize) -> String) -> Wanted {
    let admins = [Admin::Draining, Admin::Disabled, Admin::Enabled];
    let backend = |at: usize| {
        let (admin, entry) = (admins[at % 3], at as u64);
        (id(at), WantedBackend { admin, entry })
    };
    let service = WantedService {
        drains: true,
        backends: (0..count).map(backend).collect(),
    };
    Wanted {
        services: BTreeMap::from([("api".to_owned(), service)]),
        away: ["side".to_owned()].into(),
        ..Wanted::default()
    }
}

#[test]
fn what_is_written_is_read() {
    let wanted = wanted(3, |at| format!("10.0.0.{at}:80"));
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
        &wanted,
    )
    .unwrap();
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
    assert_eq!(given.heritage.state.wanted, wanted);
}

/// However many backends there may be, what operators want of them goes over; or nothing does, and it is said.
#[test]
fn what_operators_want_goes_over_whole_or_not_at_all() {
    let all = wanted(limits::BACKENDS, |at| format!("{at}{}", "x".repeat(253)));
    let (text, _) = write(Vec::new(), Vec::new(), &all).unwrap();
    let given = read(&text, Vec::new()).unwrap();
    assert!(given.heritage.state.wanted == all);
    let few = wanted(10, |at| format!("b{at}"));
    let most = write(Vec::new(), Vec::new(), &few).unwrap().0.len();
    assert!(write_within(most, Vec::new(), Vec::new(), &few).is_ok());
    let refused = write_within(most - 1, Vec::new(), Vec::new(), &few);
    let why = "what operators want of 10 backends take";
    assert!(refused.unwrap_err().contains(why));
}

/// An older or a newer process: what is not known of a socket is passed over, what is missing is nothing; sockets, and what operators
/// want, must be right.
#[test]
fn another_version_is_understood_as_far_as_it_goes() {
    let group = r#"{"name":"web","bind":"127.0.0.1:1","sockets":1,"colour":"red"}"#;
    let check = |wanted: &str, backends: Option<usize>| {
        let text = format!(r#"{{"listeners":[{group}],"more":[1]{wanted}}}"#);
        let read = read(text.as_bytes(), sockets(1));
        let read = read.map(|given| {
            assert_eq!(given.heritage.listeners.len(), 1, "{wanted}");
            given.heritage.state.wanted.backends()
        });
        assert_eq!(read.as_ref().ok(), backends.as_ref(), "{wanted} {read:?}");
    };
    check("", Some(0));
    check(r#","wanted":{}"#, Some(0));
    let good =
        r#","wanted":{"services":{"api":{"backends":{"a":{"state":"disabled","entry":"1f"}}}}}"#;
    check(good, Some(1));
    for (from, to) in [
        ("disabled", "resting"),
        ("1f", "1g"),
        ("1f", "10000000000000000"),
        ("\"state\":\"disabled\",", ""),
        ("\"entry\"", "\"until_s\":7,\"entry\""),
        ("\"backends\"", "\"weights\""),
        ("\"services\"", "\"tiers\""),
        ("{\"services\"", "7,\"x\":{\"services\""),
    ] {
        check(&good.replace(from, to), None);
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
