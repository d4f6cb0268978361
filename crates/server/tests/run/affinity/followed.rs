//! Clients that are kept by a cookie of the application: as long as its instance knows it, and by ours beside it everywhere.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{Scene, metric, name, post, shown};
use crate::process::Evenkeel;
use crate::rules_actions::echo::{Client, Echo, Message};
use crate::upgrade::Line;

const KEY: &str = "12345678901234567890123456789012";

/// Each backend sets a cookie of its own where it is shown none.
fn scene(name: &str) -> Scene {
    let mut scene = Scene::new(name, "{ app_cookie: JSESSIONID }");
    scene.top = "affinity_keys: cookies.key\n";
    scene.folder.write("cookies.key", KEY);
    scene.backends = vec![
        Echo::setting("one", "JSESSIONID=of-one; Path=/; HttpOnly"),
        Echo::setting("two", "JSESSIONID=of-two; Path=/; HttpOnly"),
        Echo::setting("three", "JSESSIONID=of-three; Path=/; HttpOnly"),
    ];
    scene
}

/// A new client: who answered, the application's cookie, and ours.
fn learned(address: SocketAddr) -> (String, String, String) {
    let got = Client::to(address).get("/", "");
    let [app, own] = &pairs(&got)[..] else {
        panic!("{}", got.head)
    };
    assert!(app.starts_with("JSESSIONID=") && own.starts_with("keel-59dce8e0=1"));
    // It stands where the application's does, as long as that.
    let lines = got.all("set-cookie");
    let attributes = lines.iter().map(|line| line.split_once("; ").unwrap().1);
    assert!(attributes.eq(["Path=/; HttpOnly"; 2]), "{lines:?}");
    assert_eq!(got.all("cache-control"), ["private"]);
    (name(&got), app.clone(), own.clone())
}

fn pairs(answer: &Message) -> Vec<String> {
    let lines = answer.all("set-cookie").into_iter();
    lines
        .map(|line| line.split(';').next().unwrap().to_owned())
        .collect()
}

/// The same backend each time, and nothing is said of cookies.
fn stays(keel: &Evenkeel, cookies: &str, expect: &str) {
    let mut client = Client::to(keel.address);
    for _ in 0..10 {
        let got = client.get("/", &shown(cookies));
        assert_eq!((name(&got), pairs(&got)), (expect.to_owned(), Vec::new()));
    }
}

/// By curl with its jar: the same client on several instances, over reloads, upgrades and restarts.
#[test]
fn it_holds_wherever_the_key_is() {
    let scene = scene("affinity-app");
    let [mut keel, other] = [scene.run(&[]), scene.run(&[])];
    let jars: Vec<_> = (0..6)
        .map(|nth| scene.folder.path().join(format!("jar-{nth}")))
        .collect();
    let asked = |keel: &Evenkeel, nth: usize| {
        let jar = jars[nth].to_str().unwrap();
        let said = keel.curl(&["-b", jar, "-c", jar], "/");
        said.lines().next().unwrap().to_owned()
    };
    let homes: Vec<_> = (0..jars.len()).map(|nth| asked(&keel, nth)).collect();
    let all_stay = |keel: &Evenkeel| {
        for (nth, home) in homes.iter().enumerate() {
            assert_eq!(asked(keel, nth), *home);
        }
    };
    all_stay(&keel);
    all_stay(&other);
    scene
        .folder
        .write("keel.yaml", &scene.text().replace("random", "round_robin"));
    keel.signal("-HUP");
    keel.until_any("changes\n");
    all_stay(&keel);
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    all_stay(&keel);
    drop((line, keel));
    // One that has never heard of any of them.
    let keel = scene.run(&[]);
    all_stay(&keel);
    metric(
        &keel,
        "evenkeel_affinity_total{service=\"api\",client=\"new\"} 0",
    );
    metric(
        &keel,
        "evenkeel_affinity_total{service=\"api\",client=\"kept\"} 6",
    );
    // A client that moves there is where it was moved to here.
    post(&other, &format!("{}/disable", homes[0]));
    let next = asked(&other, 0);
    assert_ne!(next, homes[0]);
    assert_eq!(asked(&keel, 0), next);
}

/// A client that keeps the application's cookie alone is known by the instance that saw it set, until that ends.
#[test]
fn without_ours_its_instance_knows_it() {
    let scene = scene("affinity-app-alone");
    let mut keel = scene.run(&[]);
    let (backend, app, own) = learned(keel.address);
    stays(&keel, &app, &backend);
    stays(&keel, &format!("{app}; {own}"), &backend);
    // The application sees its own, and not ours.
    let got = Client::to(keel.address).get("/", &shown(&format!("{app}; {own}; b=2")));
    let seen = format!("\nCookie: {app}; b=2\r\n");
    assert!(
        got.body.contains(&seen) && !got.body.contains("keel-"),
        "{}",
        got.body
    );
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    stays(&keel, &app, &backend);
    // Lost: it goes on elsewhere, under the same value, and does not go back.
    post(&keel, &format!("{backend}/disable"));
    let got = Client::to(keel.address).get("/", &shown(&app));
    let next = name(&got);
    assert_ne!(next, backend);
    let moved = pairs(&got).remove(0);
    post(&keel, &format!("{backend}/enable"));
    stays(&keel, &app, &next);
    stays(&keel, &format!("{app}; {moved}"), &next);
    // Ours alone is nothing: it leads to more than one, of which that which was enabled again ramps up.
    let all: BTreeSet<_> = (0..60)
        .map(|_| name(&Client::to(keel.address).get("/", &shown(&own))))
        .collect();
    assert!(all.len() > 1, "{all:?}");
}

/// What nobody knows is learnt anew where it is answered well: after a restart of one that has no key, or where another service set it.
#[test]
fn a_value_that_nobody_knows_is_learnt() {
    let scene = scene("affinity-app-learnt");
    let keel = scene.run(&[]);
    for nth in 0..20 {
        let app = format!("JSESSIONID=other-{nth}");
        let got = Client::to(keel.address).get("/", &shown(&app));
        let own = pairs(&got);
        assert!(
            own.len() == 1 && own[0].starts_with("keel-59dce8e0=1"),
            "{own:?}"
        );
        stays(&keel, &app, &name(&got));
        stays(&keel, &format!("{app}; {}", own[0]), &name(&got));
    }
    metric(&keel, "evenkeel_affinity_clients{service=\"api\"} 20");
    metric(
        &keel,
        "evenkeel_affinity_total{service=\"api\",client=\"new\"} 20",
    );
    metric(
        &keel,
        "evenkeel_affinity_unlearned_total{service=\"api\"} 0",
    );
}

/// The answer that takes the application's cookie back takes ours, and the memory of it.
#[test]
fn an_end_is_forgotten() {
    let scene = scene("affinity-app-ends");
    let keel = scene.run(&[]);
    for (end, attributes) in [
        ("JSESSIONID=; Path=/", "Path=/; Max-Age=0"),
        ("JSESSIONID=x; Max-Age=0", "Max-Age=0; Max-Age=0"),
        (
            "JSESSIONID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/",
            "expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/; Max-Age=0",
        ),
    ] {
        let (backend, app, own) = learned(keel.address);
        metric(&keel, "evenkeel_affinity_clients{service=\"api\"} 1");
        let fields = format!("X-Set: {end}\r\n{}", shown(&format!("{app}; {own}")));
        let got = Client::to(keel.address).get("/", &fields);
        assert_eq!(name(&got), backend);
        let gone = format!("keel-59dce8e0=; {attributes}");
        assert_eq!(got.all("set-cookie"), [end.to_owned(), gone]);
        metric(&keel, "evenkeel_affinity_clients{service=\"api\"} 0");
    }
}
