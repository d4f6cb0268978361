//! Owns the laws of a client's first flight: what it comes to is the same however it is cut, and bounded; where TLS is ended here,
//! and where it is passed on by what is asked for.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_config::plan::tls::{CertificatePlan, ClientAuth, Material, Policy, Tickets, TlsPlan};
use evenkeel_config::plan::{FlowPlan, HelloPlan, Unknown};
use evenkeel_config::problem::At;
use evenkeel_config::{Source, load};
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;
use evenkeel_proxy::tls::fault::Fault;
use evenkeel_proxy::tls::hello::{Asked, Reader};
use evenkeel_proxy::tls::terms::Terms;

use crate::show;

/// More than any server says to a hello.
const ANSWER_MOST: usize = 64 * 1024;

/// 2026-11-21: the certificate holds for a century, and guards nothing.
const TODAY: Duration = Duration::from_secs(1_795_219_200);

static TERMS: LazyLock<Option<Arc<Terms>>> = LazyLock::new(|| {
    let material = |bytes: &[u8]| Material {
        path: "site.pem".into(),
        bytes: bytes.into(),
        at: At {
            file: 0,
            line: 1,
            column: 1,
            length: 1,
        },
    };
    let plan = TlsPlan {
        alpn: Vec::new(),
        policy: Policy::Intermediate,
        certificates: vec![CertificatePlan {
            cert: material(include_bytes!("client_hello/site.pem")),
            key: material(include_bytes!("client_hello/site.key")),
            ocsp: None,
        }],
        client_auth: ClientAuth::Off,
        tickets: Tickets::Off,
        hsts: None,
        spoken: &["h2", "http/1.1"],
    };
    Terms::new(&plan, None, TODAY).ok()
});

/// Makes a handshake of it whole, byte by byte, and with a part that came before. Taken: it was answered with a hello.
pub fn check(input: &[u8]) -> bool {
    let whole = outcome(&[], input, usize::MAX);
    let (first, rest) = input.split_at(input.len() / 2);
    for other in [outcome(&[], input, 1), outcome(first, rest, 100)] {
        assert_eq!(whole, other, "{}", show(input));
    }
    let asked = asked(input, usize::MAX);
    for piece in [1, 100, 4096] {
        assert_eq!(asked, self::asked(input, piece), "{}", show(input));
    }
    if let Some(asked) = &asked {
        let offered = asked.protocols.iter().map(|protocol| &**protocol);
        let found = NAMES.find(asked.name.as_deref(), offered);
        let found = found.map(|sides| sides.first().map(|side| side.service));
        assert_eq!(found, plainly(asked), "{}", show(input));
    }
    // Who is answered is understood where it is passed on.
    assert!(asked.is_some() || !whole.1, "{}", show(input));
    whole.1
}

/// Where who asks goes, by what it asks for; [`NAMES`] in few words.
static NAMES: LazyLock<HelloPlan> = LazyLock::new(|| {
    let text = "listeners: { tls: { bind: \"127.0.0.1:0\", protocol: tcp, sni: { a.example: one, \"*.a.example\": { alpn: { h2: two, http/1.1: one } }, default: { alpn: { h2: one }, forward: two } } } }\nservices: { one: { backends: [\"127.0.0.1:9\"] }, two: { backends: [\"127.0.0.1:9\"] } }\n";
    let source = Source {
        name: "names.yaml".into(),
        text: text.into(),
    };
    let loaded = load(&[source], &BTreeMap::new());
    let flows = loaded.plan.and_then(|mut plan| plan.listeners.pop()?.flows);
    match flows {
        Some(FlowPlan::Hello(names)) => names,
        _ => panic!("the target's plan is none: {:?}", loaded.problems),
    }
});

/// The number of a service by a second reading of the same.
fn plainly(asked: &Asked) -> Result<Option<usize>, Unknown> {
    let name = asked.name.as_deref().map(str::to_lowercase);
    let first = |known: &[&str]| {
        let mut all = asked.protocols.iter();
        all.find_map(|one| known.iter().position(|known| known.as_bytes() == &**one))
    };
    let name = name.unwrap_or_default();
    let labels: Vec<_> = name.split('.').collect();
    match &labels[..] {
        ["a", "example"] => Ok(Some(0)),
        [_, "a", "example"] => match first(&["h2", "http/1.1"]) {
            Some(0) => Ok(Some(1)),
            Some(_) => Ok(Some(0)),
            None => Err(Unknown::Protocol),
        },
        _ if first(&["h2"]).is_some() => Ok(Some(0)),
        _ => Ok(Some(1)),
    }
}

/// What is asked for in it, where it comes in pieces of so many.
fn asked(input: &[u8], piece: usize) -> Option<Asked> {
    let mut reader = Reader::default();
    let mut came = 0;
    while came < input.len() {
        came = came.saturating_add(piece).min(input.len());
        match reader.read(&input[..came]) {
            Ok(None) => {}
            Ok(asked) => return asked,
            Err(_) => return None,
        }
    }
    None
}

/// Why it fails, as it does without more, and whether a handshake's record came back.
fn outcome(first: &[u8], rest: &[u8], piece: usize) -> (Option<Fault>, bool) {
    let Some(terms) = &*TERMS else {
        panic!("the target's certificate cannot be loaded");
    };
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut client, server) = Pipe::pair(rest.len() + ANSWER_MOST);
    let mut made = pin!(terms.handshake(server, first.to_vec()));
    let mut fault = None;
    for piece in rest.chunks(piece.min(rest.len().max(1))) {
        // An end that was reached takes nothing more.
        let _ = client.poll_write(cx, piece);
        if let Poll::Ready(done) = made.as_mut().poll(cx) {
            fault = Some(done.err());
            break;
        }
    }
    let _ = client.poll_shutdown(cx);
    if fault.is_none()
        && let Poll::Ready(done) = made.as_mut().poll(cx)
    {
        fault = Some(done.err());
    }
    let Some(fault) = fault else {
        panic!("it waits for more behind the end");
    };
    let mut answer = vec![0; ANSWER_MOST + 1];
    let length = match client.poll_read(cx, &mut answer) {
        Poll::Ready(Ok(length)) => length,
        _ => 0,
    };
    assert!(length <= ANSWER_MOST, "{length} bytes");
    (fault, answer[..length].starts_with(&[0x16, 3]))
}
