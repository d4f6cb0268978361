//! A webhook dispatcher over the library: a queue of messages is delivered to real HTTP endpoints.
//!
//! `queue` holds what waits (limits, classes, time to live), `dispatcher` delivers (retries, `Retry-After`, timeouts, dead
//! letters), `signature` signs (HMAC-SHA256 with the time), `receiver` plays the other side. `cargo run --example webhook`;
//! ends by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod clock;
mod dispatcher;
mod queue;
mod receiver;
mod signature;

use std::time::Duration;

use dispatcher::{Dispatcher, Ended};
use evenkeel::{LoadBalancer, PolicyChoice, ServiceSettings};
use queue::{Class, Message, Queue};
use receiver::Receiver;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What sender and receiver share.
const SECRET: &[u8] = b"not a secret, but a word of an example";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let balancer = LoadBalancer::new();
    let well = Receiver::well(SECRET).await?;
    let busy = Receiver::busy_once(SECRET).await?;
    let hung = Receiver::hung().await?;
    let stranger = Receiver::well(b"another word").await?;
    let closed = receiver::closed_port().await?;
    // Each customer is a service; its endpoints are the backends.
    let customers: [(&str, Vec<&str>); 4] = [
        ("orders", vec![&closed, &well.address]),
        ("billing", vec![&busy.address]),
        ("stock", vec![&hung.address]),
        ("strangers", vec![&stranger.address]),
    ];
    for (customer, endpoints) in customers {
        let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
        balancer.register(customer, settings, endpoints)?;
    }

    let mut queue = Queue::new(6);
    let hour = Duration::from_secs(3600);
    let message = |customer: &str, class, text: &str, ttl| Message::new(customer, class, text, ttl);
    let wanted = [
        message("billing", Class::Low, r#"{"invoice":7}"#, hour),
        message("strangers", Class::Normal, r#"{"hello":1}"#, hour),
        message("stock", Class::Normal, r#"{"left":3}"#, hour),
        message(
            "orders",
            Class::Normal,
            r#"{"order":"late"}"#,
            Duration::ZERO,
        ),
        message("orders", Class::Urgent, r#"{"order":1}"#, hour),
        message("orders", Class::Urgent, r#"{"order":2}"#, hour),
        message("orders", Class::Low, r#"{"order":3}"#, hour),
    ];
    for message in wanted {
        if let Err(full) = queue.push(message) {
            println!("{full}");
        }
    }

    let dispatcher = Dispatcher::new(balancer.clone(), SECRET);
    let mut dead = Vec::new();
    while let Some(message) = queue.pop() {
        let said = format!("{} {}", message.customer, message.body);
        match dispatcher.deliver(message).await {
            Ended::Delivered { attempts } => println!("{said}: delivered, attempts: {attempts}"),
            Ended::Dead(letter) => {
                println!("{said}: dead, {}", letter.why);
                dead.push(letter);
            }
        }
    }
    println!("dead letters: {}", dead.len());
    println!("verified by well: {}", well.verified());
    println!("verified by busy: {}", busy.verified());
    Ok(())
}
