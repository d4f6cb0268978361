use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use evenkeel_balance::event::{Event, EventKind};
use evenkeel_config::edits::{Edit, Place, compose};
use evenkeel_config::limits::{CHANGES, CHANGES_BYTES};
use evenkeel_config::{Source, load, quick};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::handover::CarriedClient;
use super::*;
use crate::command::{Change, Refused};
use crate::texts::{Edits, Ground, Read as Texted, Texts, Value};

/// So long a test waits for what must come; never decides a test that passes.
const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The text of one worker, one listener and these services.
fn source(services: &str) -> Source {
    Source {
        name: "f.yaml".into(),
        text: format!(
            "admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ {services} }}\nrules: [{{ forward: api }}]\n"
        ),
    }
}

fn plan(services: &str) -> Plan {
    let loaded = load(&[source(services)], &BTreeMap::new());
    loaded.plan.unwrap()
}

/// Who reads texts, without a disk.
struct Reader;

impl Texts for Reader {
    fn read(&self) -> Result<Vec<Source>, String> {
        Err("there is no disk".to_owned())
    }

    fn compose(
        &self,
        ground: &Ground,
        edits: &Edits,
        change: Option<&Change>,
        _: Option<&Plan>,
    ) -> Texted {
        let no_files = |_: &std::path::Path| Err("there is no disk".to_owned());
        let composed = compose(ground, edits, change, &BTreeMap::new(), no_files);
        Texted {
            sources: composed.sources(),
            plan: composed.loaded.plan,
            problems: composed.loaded.problems,
            edits: composed.edits,
            dropped: composed.dropped,
        }
    }

    fn effective(&self, _: &[Source], _: &Edits, _: Option<&Plan>) -> Option<Vec<Value>> {
        None
    }
}

/// An entry that lies beside the text, with so much space behind it.
fn beside(at: usize, space: usize) -> (Place, Edit) {
    let text = format!("{{\"id\": \"b{at}\", \"address\": \"127.0.0.1:1\"}}");
    let edit = Edit::new(Some((text + &" ".repeat(space)).into()), None);
    (Place::backend("api", &format!("b{at}")), edit)
}

/// So many entries are changed beside the text, and so many bytes; the next is refused, and changes nothing.
#[test]
fn what_is_changed_has_an_end() {
    const SPACE: usize = 1024 * 1024;
    let runtime = runtime();
    let _inside = runtime.enter();
    let services = "api: { backends: [127.0.0.1:1] }";
    let small = (0..CHANGES - 1).map(|at| beside(at, 0)).collect();
    let large = || (0..CHANGES_BYTES / SPACE - 1).map(|at| beside(at, SPACE));
    // The last of them fills it to the byte.
    let bytes = |all: Edits| all.bytes();
    let last = bytes([beside(CHANGES, 0)].into_iter().collect());
    let rest = CHANGES_BYTES - bytes(large().collect()) - last;
    let large = large().chain([beside(CHANGES, rest)]).collect();
    let put = |id: &str| Change::PutBackend {
        service: "api".into(),
        id: id.into(),
        text: "\"127.0.0.1:1\"".into(),
    };
    let patch = Change::PatchBackend {
        service: "api".into(),
        id: "b0".into(),
        text: format!("{{\"labels\": {{\"a\": \"{}\"}}}}", "x".repeat(200)),
    };
    let by: Arc<str> = "api".into();
    for (edits, room) in [(small, 1), (large, 0)] {
        let edits: Edits = edits;
        let mut control = start(services);
        let ground = Ground::new([source(services)].into());
        control.speaks(Arc::new(Reader), Arc::new(ground));
        control.overlay.edit(edits);
        // As at a start, which has them laid over its text.
        let none = Change::Policy {
            service: "api".into(),
            text: None,
        };
        control.edit(&none, &by).unwrap();
        for at in 0..room {
            control.edit(&put(&format!("new{at}")), &by).unwrap();
        }
        let count = |control: &Control| control.published.load().plan.services[0].backends.len();
        let before = (
            control.book.current(),
            control.overlay.wanted().1,
            count(&control),
        );
        for change in [&put("one-more"), &patch] {
            assert_eq!(control.edit(change, &by), Err(Refused::TooManyEdits));
        }
        let after = (
            control.book.current(),
            control.overlay.wanted().1,
            count(&control),
        );
        assert_eq!(before, after);
        let gone = Change::RemoveBackend {
            service: "api".into(),
            id: "b0".into(),
        };
        control.edit(&gone, &by).unwrap();
        control.edit(&put("one-more"), &by).unwrap();
    }
}

fn start(services: &str) -> Control {
    Control::start(plan(services), Arc::new(())).unwrap()
}

fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn probed(listener: &TcpListener) -> tokio::net::TcpStream {
    let accepted = timeout(PATIENCE, listener.accept()).await;
    accepted.expect("it is probed").unwrap().0
}

#[test]
fn a_worker_that_dies_is_replaced_on_its_sockets() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut control = start("api: { backends: [127.0.0.1:1] }");
    let (_, address) = control.addresses()[0].clone();
    assert!(ask(address).starts_with("HTTP/1.1 502 "));
    control.workers[0].commands.try_send(Command::Stop).unwrap();
    while !control.workers[0].thread.is_finished() {
        std::thread::yield_now();
    }
    let state = control.workers[0].state.clone();
    state.panics.store(3, Ordering::Relaxed);
    state.connections.store(1000, Ordering::Relaxed);
    // Who comes meanwhile waits in the queue of a socket that is still there.
    let asking = std::thread::spawn(move || ask(address));
    assert!(control.tick());
    assert!(!control.tick());
    assert!(asking.join().unwrap().starts_with("HTTP/1.1 502 "));
    assert!(ask(address).starts_with("HTTP/1.1 502 "));
    // The new one says what it knows: of the one before it, too.
    let now = control.clock;
    let begun = now.now();
    while state.connections.load(Ordering::Relaxed) >= 1000 {
        assert!(now.now().since(begun) < PATIENCE, "it says nothing");
        std::thread::yield_now();
    }
    assert_eq!(control.watch().snapshot().contained_panics, 3);
}

#[test]
fn a_reload_probes_those_who_joined_and_nobody_else() {
    runtime().block_on(async {
        let (one, first) = listening().await;
        let (two, second) = listening().await;
        let services = |backends: &str| {
            format!(
                "api: {{ backends: [{backends}], health: {{ http: {{}}, interval: 1000s, timeout: 900s }} }}"
            )
        };
        let mut control = start(&services(&first.to_string()));
        let mut check = probed(&one).await;
        control
            .reload(plan(&services(&format!("{first}, {second}"))))
            .unwrap();
        let _stalled = probed(&two).await;
        // What was under way goes on and counts, and nothing else was begun.
        check
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        let watch = control.watch();
        let passes = async {
            while watch.snapshot().services[0].backends[0].checks != [("passed", 1)] {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, passes).await.expect("the check passes");
        let more = one.into_std().unwrap().accept();
        assert!(more.is_err(), "{first} was probed again");
        // A plan that checks otherwise is another matter.
        let otherwise = services(&second.to_string()).replace("900s", "800s");
        control.reload(plan(&otherwise)).unwrap();
        probed(&two).await;
    });
}

#[test]
fn a_new_address_under_the_same_identity_is_used_and_probed() {
    runtime().block_on(async {
        let (one, first) = listening().await;
        let (two, second) = listening().await;
        let services = |address: SocketAddr| {
            format!(
                "api: {{ backends: [{{ id: same, address: \"{address}\" }}], health: {{ tcp: {{}}, interval: 1000s, interval_unsure: 1000s }} }}"
            )
        };
        let mut control = start(&services(first));
        probed(&one).await;
        control.reload(plan(&services(second))).unwrap();
        probed(&two).await;
        let address = control.addresses()[0].1;
        let asking = std::thread::spawn(move || ask(address));
        let mut asked = probed(&two).await;
        let mut head = [0; 3];
        asked.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"GET");
        asked
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
            .await
            .unwrap();
        assert!(asking.join().unwrap().ends_with("two"));
    });
}

/// The writer is told of commands, takes all that wait in one turn, and takes none any more once it drains.
#[test]
fn commands_are_taken_in_one_turn_and_not_by_one_that_drains() {
    let mut control = {
        let runtime = runtime();
        let _inside = runtime.enter();
        start("api: { backends: [127.0.0.1:1] }")
    };
    runtime().block_on(async {
        let (told, watch) = (control.commands(), control.watch());
        let order = |drain: bool| {
            let service = "api".to_owned();
            watch.order(crate::Command::Service { service, drain }.into())
        };
        let turn = async |control: &mut Control| {
            timeout(PATIENCE, told.notified())
                .await
                .expect("it is told");
            control.obey();
        };
        let three = async { tokio::join!(order(true), order(true), order(false)) };
        let ((one, two, three), ()) = tokio::join!(three, turn(&mut control));
        let done = |answer: Result<command::Answer, _>| {
            answer.map(|answer| match answer.came {
                command::Came::State(done) => (done.changed, done.state),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(done(one), Ok((true, "draining")));
        assert_eq!(done(two), Ok((false, "draining")));
        assert_eq!(done(three), Ok((true, "enabled")));
        // One that was given before the end is heard behind it.
        let draining = async {
            control.drain();
            turn(&mut control).await;
        };
        let (late, ()) = tokio::join!(order(true), draining);
        assert_eq!(done(late), Err(Refused::Draining));
    });
}

#[test]
fn checks_end_with_the_drain() {
    runtime().block_on(async {
        let (one, first) = listening().await;
        let mut control = start(&format!(
            "api: {{ backends: [{first}], health: {{ http: {{}}, interval: 1000s, timeout: 900s }} }}"
        ));
        let mut check = probed(&one).await;
        control.drain();
        let mut all = Vec::new();
        let ended = timeout(PATIENCE, check.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "the check goes on");
    });
}

/// Which of the intervals counts: the others are too long to be waited for.
#[test]
fn checks_come_as_the_plan_says() {
    let long = "interval: 1000s, timeout: 10s";
    for often in [
        "interval_unsure: 10ms, interval_down: 1000s, fall: 10",
        "interval_unsure: 1000s, interval_down: 10ms, fall: 1",
    ] {
        runtime().block_on(async {
            let (one, first) = listening().await;
            let _control = start(&format!(
                "api: {{ backends: [{first}], health: {{ http: {{}}, {long}, {often} }} }}"
            ));
            for _ in 0..3 {
                // Ended without an answer: the check fails.
                drop(probed(&one).await);
            }
        });
    }
    runtime().block_on(async {
        let other = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = other.local_addr().unwrap().port();
        let _control = start(&format!(
            "api: {{ backends: [\"127.0.0.1:{port}\"], health: {{ tcp: {{}}, address: 127.0.0.2, {long} }} }}"
        ));
        probed(&other).await;
    });
}

/// Which services were said to end.
#[derive(Default)]
struct Stopped(Mutex<Vec<String>>);

impl Listener for Stopped {
    fn hear(&self, event: &Event) {
        if let EventKind::ServiceStopped { .. } = event.kind {
            self.0.lock().unwrap().push(event.service.to_string());
        }
    }
}

#[test]
fn a_service_that_leaves_the_plan_is_said_to_end() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let stopped = Arc::new(Stopped::default());
    let two = "api: { backends: [127.0.0.1:1] }, gone: { backends: [127.0.0.1:1] }";
    let mut control = Control::start(plan(two), stopped.clone()).unwrap();
    control
        .reload(plan("api: { backends: [127.0.0.1:1] }"))
        .unwrap();
    assert_eq!(*stopped.0.lock().unwrap(), ["gone"]);
}

#[test]
fn a_reload_may_give_a_port_another_listener_and_a_second_instance_may_not_have_it() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let plan = |name: &str, address: &str| {
        let text = quick::source(&[address.into()], &["127.0.0.1:1".into()], Some("off"));
        let mut plan = load(&[text], &BTreeMap::new()).plan.unwrap();
        plan.workers = Workers::Fixed(std::num::NonZeroUsize::MIN);
        plan.listeners[0].name = name.into();
        plan
    };
    let mut control = Control::start(plan("one", "127.0.0.1:0"), Arc::new(())).unwrap();
    let (_, address) = control.addresses()[0].clone();
    let same = address.to_string();
    control.reload(plan("two", &same)).unwrap();
    assert_eq!(control.addresses(), [("two".into(), address)]);
    let second = Control::start(plan("one", &same), Arc::new(()));
    let error = second.err().map(|error| error.to_string()).unwrap();
    assert!(
        error.ends_with("another instance, listens there"),
        "{error}"
    );
}

/// Who remembers nobody takes no room from who does, and what one leaves is the next one's.
#[test]
fn clients_that_are_remembered_share_the_room() {
    let check = |others: &str, expect: usize| {
        let table = "{ backends: [\"127.0.0.1:1\"], affinity: { source: { clients: 1000000 } } }";
        let control = start(&format!("{others} api: {table}"));
        let (live, now) = (control.published.load(), control.clock.now());
        let one = |client| CarriedClient {
            client,
            backend: 7,
            left: Duration::from_secs(600),
        };
        let service = live.service("api").unwrap();
        let plan = &service.affinity.as_ref().unwrap().plan;
        let all = (0..210_000).map(one).collect();
        service.state.take_over_clients(plan, &live.own, all, now);
        let carried = control.hand_over().unwrap().state.clients;
        let (_, clients) = carried.iter().find(|(name, _)| name == "api").unwrap();
        assert_eq!(clients.len(), expect, "{others}");
    };
    check("", 200_000);
    check(
        "a: { backends: [\"127.0.0.1:1\"], affinity: { cookie: {} } },",
        200_000,
    );
    check(
        "a: { backends: [\"127.0.0.1:1\"], affinity: { source: true } },",
        200_000,
    );
}
