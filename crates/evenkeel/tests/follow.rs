//! Z2: the original gave the charge back at the response head; here it is held until the body ends.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use evenkeel::balance::backend::Counts;
use evenkeel::{EventKind, Events, Fault, LoadBalancer, Outcome, Pick, ServiceSettings, Verdict};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, duplex};

/// A balancer of one backend, a listener of its exchanges, and a pick whose head was answered.
fn answered() -> (LoadBalancer, Events, Pick) {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default();
    balancer.register("api", settings, ["a:80"]).unwrap();
    let events = balancer.subscribe_exchanges();
    let mut pick = balancer.select("api").unwrap();
    pick.answered(Verdict::Success);
    (balancer, events, pick)
}

fn counts(balancer: &LoadBalancer) -> Counts {
    balancer.group_snapshot("api").unwrap().backends[0].counts
}

/// The charge was held until now, and is given back with exactly this outcome.
fn ended(balancer: &LoadBalancer, events: &mut Events, expected: Outcome) {
    let counts = counts(balancer);
    assert_eq!(
        (counts.in_flight, counts.finished, counts.abandoned),
        (0, 1, 0)
    );
    let outcomes: Vec<Outcome> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event.kind {
            EventKind::Finished { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [expected]);
}

fn held(balancer: &LoadBalancer) {
    assert_eq!(counts(balancer).in_flight, 1);
}

#[tokio::test]
async fn the_end_of_the_body_ends_the_charge() {
    let (balancer, mut events, pick) = answered();
    let (mut backend, here) = duplex(64);
    let mut body = pick.follow(here);
    backend.write_all(b"half").await.unwrap();
    let mut half = [0; 4];
    body.read_exact(&mut half).await.unwrap();
    assert_eq!(&half, b"half");
    // A read into no room is not the end.
    assert_eq!(body.read(&mut []).await.unwrap(), 0);
    held(&balancer);
    backend.write_all(b"rest").await.unwrap();
    drop(backend);
    let mut rest = String::new();
    body.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "rest");
    assert!(body.pick().is_none());
    ended(&balancer, &mut events, Outcome::Completed);
    // Neither another read nor the drop ends it twice.
    assert_eq!(body.read(&mut half).await.unwrap(), 0);
    drop(body);
    assert_eq!(counts(&balancer).finished, 1);
}

/// Gives one byte, then breaks.
struct Breaks(bool);

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buf.put_slice(b"x");
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_a_failure_of_the_backend() {
    let (balancer, mut events, pick) = answered();
    let mut body = pick.follow(Breaks(false));
    assert_eq!(body.read_u8().await.unwrap(), b'x');
    held(&balancer);
    let broken = body.read_u8().await.unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(counts(&balancer).failed, 1);
    ended(&balancer, &mut events, Outcome::Broken(Fault::Reset));
}

#[tokio::test]
async fn a_body_that_is_dropped_says_that_the_client_left() {
    let (balancer, mut events, pick) = answered();
    let (mut backend, here) = duplex(64);
    let mut body = pick.follow(here);
    backend.write_all(b"x").await.unwrap();
    assert_eq!(body.read_u8().await.unwrap(), b'x');
    held(&balancer);
    drop(body);
    assert_eq!(counts(&balancer).failed, 0);
    ended(&balancer, &mut events, Outcome::ClientLeft);
}

#[tokio::test]
async fn a_cancelled_reader_gives_the_charge_back() {
    let (balancer, mut events, pick) = answered();
    let (_backend, here) = duplex(64);
    let mut body = pick.follow(here);
    let reader = tokio::spawn(async move { body.read_u8().await });
    tokio::task::yield_now().await;
    held(&balancer);
    reader.abort();
    assert!(reader.await.unwrap_err().is_cancelled());
    ended(&balancer, &mut events, Outcome::ClientLeft);
}

#[tokio::test]
async fn a_tunnel_is_followed_both_ways() {
    let (balancer, mut events, pick) = answered();
    let (mut backend, here) = duplex(64);
    let mut body = pick.follow(here);
    body.write_all(b"ping").await.unwrap();
    body.flush().await.unwrap();
    let mut ping = [0; 4];
    backend.read_exact(&mut ping).await.unwrap();
    assert_eq!(&ping, b"ping");
    held(&balancer);
    drop(backend);
    assert!(body.write_all(b"more").await.is_err());
    ended(&balancer, &mut events, Outcome::Broken(Fault::Reset));
}

#[test]
fn a_body_that_is_no_reader_is_ended_by_hand_or_untied() {
    let (balancer, mut events, pick) = answered();
    let (body, pick) = pick.follow(vec![1, 2]).into_inner();
    assert_eq!(body, [1, 2]);
    held(&balancer);
    let mut body = pick.expect("nothing ended it").follow(body);
    body.body_mut().push(3);
    assert_eq!(body.body().len(), 3);
    held(&balancer);
    assert_eq!(body.finish(Outcome::Completed), [1, 2, 3]);
    ended(&balancer, &mut events, Outcome::Completed);
}
