use std::collections::BTreeMap;

use evenkeel_balance::event::Listener;
use evenkeel_config::{Source, load};
use evenkeel_wire::ResponseHead;
use evenkeel_wire::altered::Altered;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::http1::{HeadEnd, HeadLimits, request, response};

use super::*;
use crate::live::Live;

const TTL: u64 = 1000;
const NOW: u64 = 1_000_000;

/// A service that keeps its clients so.
struct Scene(Live);

impl Scene {
    fn new(affinity: &str) -> Self {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [a:1], affinity: {affinity} }} }}\n"
        );
        let name = "keel.yaml".into();
        let loaded = load(&[Source { name, text }], &BTreeMap::new());
        let plan = loaded.plan.unwrap();
        let events: Arc<dyn Listener> = Arc::new(());
        Self(Live::join(plan, None, 1, &events, Instant::ZERO))
    }

    fn by_cookie(ttl: u64) -> Self {
        Self::new(&format!("{{ cookie: {{ name: keel, ttl: {ttl}s }} }}"))
    }

    fn affinity(&self) -> &Affinity {
        self.0.services[0].affinity.as_ref().unwrap()
    }

    fn sealed(&self, backend: u64, issued: u64) -> String {
        let issued = u32::try_from(issued).unwrap();
        let (text, _) = self.affinity().sealer.seal(backend, issued, 7).unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// What is known of a client that shows these cookies.
    fn shows(&self, cookies: &str, today: u64, shown: &Shown) -> Stay {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookies}\r\n\r\n");
        let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
        let read = request::parse(
            text.as_bytes(),
            &mut end,
            &BOUNDS,
            PathForm::Normalize,
            &mut head,
        );
        assert_eq!(read, Ok(Some(text.len())));
        let (state, client) = (&self.0.services[0].state, Ipv6Addr::LOCALHOST.into());
        let times = (Instant::ZERO, Duration::from_secs(today));
        self.affinity()
            .of_request(state, &head, client, times, Some(shown))
    }

    /// The cookies that a client with this stay is told where this backend answers so. None: nothing is known of it.
    fn told(&self, stay: &Stay, served: (u64, bool), answer: &str) -> Option<String> {
        let text = format!("HTTP/1.1 {answer}\r\n\r\n");
        let (mut head, mut end) = (ResponseHead::new(), HeadEnd::default());
        let read = response::parse(text.as_bytes(), &mut end, &BOUNDS, false, &mut head);
        assert_eq!(read, Ok(Some(text.len())));
        let (affinity, state) = (self.affinity(), &self.0.services[0].state);
        let today = Duration::from_secs(NOW);
        let (backend, spilled) = served;
        let served = Served { backend, spilled };
        let times = (Instant::ZERO, today);
        let mut altered = Altered::default();
        match affinity.follows(state, stay, served, Some(&head), times) {
            Follows::Nothing => return None,
            Follows::Known => {}
            Follows::Tell(attributes) => {
                let how = (today, 1, false);
                affinity.tell(&mut altered, (backend, attributes), how, &Shown::default());
            }
            Follows::TakeBack(attributes) => affinity.take_back(&mut altered, attributes),
        }
        Some(String::from_utf8(altered.cookie_line().to_vec()).unwrap())
    }

    fn rows(&self) -> u64 {
        let counts = self.0.services[0].state.clients_counts();
        counts.unwrap_or_default().clients
    }
}

const BOUNDS: HeadLimits = HeadLimits {
    bytes: 10_000,
    fields: 10,
    target: 100,
};

/// Name, value and attributes of the one cookie that is told.
fn one(told: &str) -> (&str, &str, &str) {
    let line = told.strip_prefix("Set-Cookie: ").unwrap();
    let line = line.strip_suffix("\r\n").unwrap();
    assert!(!line.contains('\n'), "{line}");
    let (pair, attributes) = line.split_at(line.find(';').unwrap_or(line.len()));
    let (name, value) = pair.split_once('=').unwrap();
    (name, value, attributes)
}

/// A cookie of this age says where its client is, until its time is over; it is told anew when a tenth of that is.
#[test]
fn a_cookie_has_its_time() {
    let check = |ttl: u64, issued: u64, home: Option<u64>, renew: bool| {
        let scene = Scene::by_cookie(ttl);
        let show =
            |value: &str, today| scene.shows(&format!("keel={value}"), today, &Shown::default());
        let stay = show(&scene.sealed(7, issued), NOW);
        let ignored = home.is_none().then_some(Ignored::Expired);
        assert_eq!(
            (stay.home, stay.renew, stay.ignored),
            (home, renew, ignored),
            "{issued}"
        );
        let told = scene.told(&stay, (7, false), "200 OK").unwrap();
        assert_eq!(told.is_empty(), !renew && home.is_some(), "{issued}");
        // What is set says it from now on.
        if !told.is_empty() {
            let (name, value, attributes) = one(&told);
            let age = if ttl > 0 { "; Max-Age=1000" } else { "" };
            let plain = "; Path=/; HttpOnly; SameSite=Lax";
            assert_eq!((name, attributes), ("keel", &*format!("{age}{plain}")));
            let anew = show(value, NOW + ttl.saturating_sub(1));
            assert_eq!(anew.home, Some(7));
        }
        // Elsewhere it is always told, but where its own is full.
        let elsewhere = |spilled| scene.told(&stay, (8, spilled), "200 OK").unwrap();
        assert!(!elsewhere(false).is_empty() && elsewhere(true).is_empty());
    };
    check(TTL, NOW, Some(7), false);
    check(TTL, NOW - 99, Some(7), false);
    check(TTL, NOW - 100, Some(7), true);
    check(TTL, NOW - TTL, Some(7), true);
    check(TTL, NOW - TTL - 1, None, false);
    // By a clock that is ahead of ours.
    check(TTL, NOW + 5000, Some(7), false);
    // Until the browser is closed.
    check(0, NOW - 100, Some(7), false);
    check(0, 0, Some(7), false);
}

/// So many are looked into: the one that says something may stand behind three that do not, and texts that cannot be ours cost nothing.
#[test]
fn few_cookies_are_looked_into() {
    let scene = Scene::by_cookie(TTL);
    let sealed = scene.sealed(7, NOW);
    let check = |wrong: &str, before: usize, home: Option<u64>| {
        let wrong = format!("keel={wrong}; ").repeat(before);
        let cookies = format!("{wrong}keel={sealed}");
        let stay = scene.shows(&cookies, NOW, &Shown::default());
        assert_eq!(stay.home, home, "{wrong}");
        assert_eq!(stay.ignored, home.is_none().then_some(Ignored::Invalid));
    };
    let other = format!("1{}", "A".repeat(43));
    check(&other, 0, Some(7));
    check(&other, AFFINITY_TOLD - 1, Some(7));
    check(&other, AFFINITY_TOLD, None);
    check(&other, 100, None);
    check("short", 100, Some(7));
    // Of several that say something, the newest.
    let older = scene.sealed(6, NOW - 9);
    check(&older, 3, Some(7));
    let cookies = format!("keel={sealed}; keel={older}");
    let stay = scene.shows(&cookies, NOW, &Shown::default());
    assert_eq!(stay.home, Some(7));
}

/// What a connection was shown it is not told again, and nothing else is taken for it.
#[test]
fn a_connection_knows_what_it_was_shown() {
    let scene = Scene::by_cookie(TTL);
    let (one, two) = (scene.sealed(7, NOW), scene.sealed(8, NOW));
    let (shown, none) = (Shown::default(), Shown::default());
    let number = scene.affinity().number;
    let home = |scene: &Scene, value: &str, shown: &Shown| {
        scene.shows(&format!("keel={value}"), NOW, shown).home
    };
    assert!(shown.says(number, one.as_bytes()).is_none());
    for value in [&one, &one, &two, &one] {
        assert_eq!(home(&scene, value, &shown), home(&scene, value, &none));
        let said = shown.says(number, value.as_bytes()).unwrap();
        assert_eq!(Some(said.backend), home(&scene, value, &none));
    }
    assert!(shown.says(number, two.as_bytes()).is_none());
    // Not a wrong one in its place, nor what begins like it.
    let mut wrong = one.clone().into_bytes();
    wrong[30] ^= 1;
    let wrong = String::from_utf8(wrong).unwrap();
    assert_eq!(home(&scene, &wrong, &shown), None);
    assert_eq!(home(&scene, &one[..43], &shown), None);
    assert_eq!(home(&scene, &one, &shown), Some(7));
    // Other keys, as after a rotation: nothing said to another counts.
    let other = Scene::by_cookie(TTL);
    assert_eq!(home(&other, &one, &shown), None);
    // Its time ends all the same.
    let cookies = format!("keel={one}");
    assert_eq!(scene.shows(&cookies, NOW + TTL + 1, &shown).home, None);
    // What is looked at beside it says what it said.
    let both = format!("keel={two}; keel={one}");
    assert_eq!(scene.shows(&both, NOW, &shown).home, Some(8));
}

/// A cookie of the application, and ours beside it.
#[test]
fn an_application_and_its_cookie() {
    let scene = || Scene::new("{ app_cookie: SID }");
    let show = |scene: &Scene, cookies: &str| scene.shows(cookies, NOW, &Shown::default());
    let own = "keel-59dce8e0";
    let set = "200 OK\r\nSet-Cookie: SID=a; Path=/app; Secure";
    // Set: told beside it, with its attributes, and remembered.
    let of = scene();
    let told = of.told(&show(&of, "x=1"), (7, false), set).unwrap();
    let (name, value, attributes) = one(&told);
    assert_eq!(
        (name, attributes, of.rows()),
        (own, "; Path=/app; Secure", 1)
    );
    assert_eq!(show(&of, "SID=a").home, Some(7));
    // Ours alone is nothing; beside whatever the application's is, it says where, to any instance: here to one that has the key.
    assert_eq!(show(&of, &format!("{own}={value}")).home, None);
    assert_eq!(show(&of, &format!("SID=b; {own}={value}")).home, Some(7));
    // The newer word of ours is believed before the table, and the table follows.
    let newer = of.sealed(8, NOW);
    let stay = show(&of, &format!("SID=a; {own}={newer}"));
    assert_eq!((stay.home, stay.renew), (Some(8), false));
    assert_eq!(of.told(&stay, (8, false), "200 OK").as_deref(), Some(""));
    assert_eq!(show(&of, "SID=a").home, Some(8));
    // Moved: told anew, with attributes of ours.
    let told = of.told(&stay, (9, false), "200 OK").unwrap();
    assert_eq!(one(&told).2, "; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(show(&of, "SID=a").home, Some(9));
    // Spilled: it goes back, unless the application begins anew there.
    let stay = show(&of, "SID=a");
    assert_eq!(of.told(&stay, (3, true), "200 OK").as_deref(), Some(""));
    assert_eq!(of.told(&stay, (3, true), set).as_deref(), Some(""));
    assert_eq!(show(&of, "SID=a").home, Some(9));
    let anew = "200 OK\r\nSet-Cookie: SID=z";
    assert!(!of.told(&stay, (3, true), anew).unwrap().is_empty());
    assert_eq!(show(&of, "SID=z").home, Some(3));
    // Attributes that we would not write are ours.
    let odd = "200 OK\r\nSet-Cookie: SID=a; Path=/\u{fc}";
    let told = of.told(&show(&of, ""), (7, false), odd).unwrap();
    assert_eq!(one(&told).2, "; Path=/; HttpOnly; SameSite=Lax");
}

/// A value that nobody knows is learnt where it is answered well.
#[test]
fn an_unknown_value_is_learnt() {
    let check = |cookies: &str, status: &str, learnt: bool| {
        let scene = Scene::new("{ app_cookie: SID }");
        let shown = Shown::default();
        let stay = scene.shows(cookies, NOW, &shown);
        let told = scene.told(&stay, (7, false), status);
        assert_eq!(
            told.is_some_and(|told| told.starts_with("Set-Cookie: keel-")),
            learnt,
            "{cookies} {status}"
        );
        assert_eq!(scene.rows(), u64::from(learnt), "{cookies} {status}");
        let home = scene.shows(cookies, NOW, &shown).home;
        assert_eq!(home, learnt.then_some(7), "{cookies} {status}");
    };
    for status in ["200 OK", "204 No Content", "304 Not Modified"] {
        check("SID=a", status, true);
    }
    for status in ["302 Found", "401 Unauthorized", "404 Not Found", "500 Oops"] {
        check("SID=a", status, false);
    }
    check("other=a", "200 OK", false);
    check("SID=", "200 OK", false);
    check(
        &format!("SID={}", "a".repeat(AFFINITY_VALUE + 1)),
        "200 OK",
        false,
    );
    // Whose values are made up fills the table, and goes on by our cookie alone; nobody who was set goes for it.
    let scene = Scene::new("{ app_cookie: { name: SID, clients: 1000 } }");
    let none = Shown::default();
    let set = "200 OK\r\nSet-Cookie: SID=set";
    scene.told(&Stay::default(), (5, false), set).unwrap();
    for value in 0..3_000 {
        let stay = scene.shows(&format!("SID={value}"), NOW, &none);
        assert!(!scene.told(&stay, (7, false), "200 OK").unwrap().is_empty());
    }
    assert!((900..=1000).contains(&scene.rows()));
    assert_eq!(scene.shows("SID=set", NOW, &none).home, Some(5));
}

/// The answer that takes the application's cookie back has its client forgotten, and ours goes with it.
#[test]
fn a_cookie_that_is_taken_back() {
    for taken in [
        "SID=",
        "SID=; Path=/app",
        "SID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0",
        "SID=a; Max-Age=0",
        "SID=a; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/app",
    ] {
        let scene = Scene::new("{ app_cookie: SID }");
        let none = Shown::default();
        let set = "200 OK\r\nSet-Cookie: SID=a";
        let told = scene.told(&Stay::default(), (7, false), set).unwrap();
        let (name, value, _) = one(&told);
        let cookies = format!("SID=a; {name}={value}");
        let stay = scene.shows(&cookies, NOW, &none);
        let answer = format!("200 OK\r\nSet-Cookie: {taken}");
        let told = scene.told(&stay, (7, false), &answer).unwrap();
        let (gone, nothing, attributes) = one(&told);
        assert_eq!((gone, nothing), (name, ""), "{taken}");
        assert!(attributes.ends_with("; Max-Age=0"), "{attributes}");
        assert_eq!(attributes.contains("; Path=/app"), taken.contains("/app"));
        assert_eq!(scene.rows(), 0, "{taken}");
        // Of a client that keeps no cookie of ours there is none to take.
        scene.told(&Stay::default(), (7, false), set).unwrap();
        let stay = scene.shows("SID=a", NOW, &none);
        assert_eq!(scene.told(&stay, (7, false), &answer).as_deref(), Some(""));
        assert_eq!(scene.rows(), 0);
    }
}

/// An address says where its client begins, of a flow too; what anybody may make up does not.
#[test]
fn who_says_where_it_begins() {
    let begins = |affinity: &str, cookies: &str| {
        let stay = Scene::new(affinity).shows(cookies, NOW, &Shown::default());
        stay.kept().map(|kept| (kept.home, kept.client))
    };
    let source = begins("{ source: true }", "a=1").unwrap();
    assert_eq!(source.0, None);
    assert_eq!(begins("{ source: { ttl: 1h } }", "a=2"), Some(source));
    let scene = Scene::new("{ source: true }");
    let of_flow = |client: Ipv6Addr| {
        let state = &scene.0.services[0].state;
        let stay = scene
            .affinity()
            .of_flow(state, client.into(), Instant::ZERO);
        stay.kept().unwrap().client
    };
    assert_eq!(of_flow(Ipv6Addr::LOCALHOST), source.1);
    assert_ne!(of_flow("2001:db8::1".parse().unwrap()), source.1);
    assert_eq!(begins("{ cookie: { name: keel } }", "keel=x"), None);
    assert_eq!(begins("{ app_cookie: SID }", "SID=7"), None);
}

/// Requests of one client that another backend answers before any of them is through move it once; who is spilled moves nobody.
#[test]
fn of_those_that_are_answered_at_once_one_moves() {
    let scene = Scene::new("{ source: true }");
    let shown = Shown::default();
    let begins = scene.shows("a=b", NOW, &shown);
    scene.told(&begins, (7, false), "200 OK").unwrap();
    let asked = [(); 3].map(|()| scene.shows("a=b", NOW, &shown));
    let since = |spilled: bool| {
        asked.map(|stay| {
            let served = Served {
                backend: 8,
                spilled,
            };
            let (state, affinity) = (&scene.0.services[0].state, scene.affinity());
            affinity.since(state, stay, served, Instant::ZERO).home
        })
    };
    assert_eq!(since(true), [Some(7); 3]);
    assert_eq!(since(false), [Some(7), Some(8), Some(8)]);
    assert_eq!(scene.shows("a=b", NOW, &shown).home, Some(8));
}

/// What of an address is one client.
#[test]
fn addresses_are_clients_by_their_networks() {
    let check = |prefix: u8, one: &str, other: &str, same: bool| {
        let row = |address: &str| row(address.parse().unwrap(), prefix);
        assert_eq!(row(one) == row(other), same, "{one} {other} /{prefix}");
    };
    check(64, "2001:db8::1", "2001:db8::ffff:0:0:1", true);
    check(64, "2001:db8::1", "2001:db8:0:1::1", false);
    check(56, "2001:db8::1", "2001:db8:0:1::1", true);
    check(128, "2001:db8::1", "2001:db8::2", false);
    check(32, "2001:db8::1", "2001:db8:ffff::1", true);
    // IPv4 has no such part, however it comes.
    check(64, "192.0.2.1", "192.0.2.2", false);
    check(64, "::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
    check(64, "::ffff:192.0.2.1", "192.0.2.1", true);
    check(32, "2001:db8::1", "192.0.2.1", false);
}
