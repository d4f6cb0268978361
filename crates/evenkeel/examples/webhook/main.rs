//! A webhook dispatcher over the library: a queue of messages is delivered to real HTTP endpoints.
//!
//! `queue` holds what waits (limits, classes, time to live), `dispatcher` delivers (retries, `Retry-After`, timeouts, dead
//! letters), `signature` signs (HMAC-SHA256 over id, time and body), `receiver` plays the other side and takes nothing twice.
//! `cargo run --example webhook`; ends by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod clock;
mod dispatcher;
mod queue;
mod receiver;
mod signature;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dispatcher::{AGAIN, Dispatcher, Ended};
use evenkeel::{LoadBalancer, PolicyChoice, ServiceSettings};
use queue::{Class, Message, Queue};
use receiver::Receiver;
use tokio::task::JoinSet;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What sender and receiver share.
const SECRET: &[u8] = b"not a secret, but a word of an example";

/// So many customers at once; of each, one message after another.
const AT_ONCE: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let balancer = LoadBalancer::new();
    let well = Receiver::well(SECRET).await?;
    let busy = Receiver::busy_once(SECRET).await?;
    let hung = Receiver::hung().await?;
    let loses = Receiver::loses_the_first_answer(SECRET).await?;
    let stranger = Receiver::well(b"another word").await?;
    let closed = receiver::CLOSED.to_owned();
    // Each customer is a service; its endpoints are the backends.
    let customers: [(&str, Vec<&str>); 5] = [
        ("orders", vec![&closed, &well.address]),
        ("billing", vec![&busy.address]),
        ("stock", vec![&hung.address]),
        ("returns", vec![&loses.address]),
        ("strangers", vec![&stranger.address]),
    ];
    for (customer, endpoints) in customers {
        let mut settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
        settings.retry.on.statuses = AGAIN.to_vec();
        balancer.register(customer, settings, endpoints)?;
    }

    let mut queue = Queue::new(7);
    let hour = Duration::from_secs(3600);
    let message = |customer: &str, class, text: &str, ttl| Message::new(customer, class, text, ttl);
    let wanted = [
        message("billing", Class::Low, r#"{"invoice":7}"#, hour),
        message("strangers", Class::Normal, r#"{"hello":1}"#, hour),
        message("returns", Class::Normal, r#"{"return":5}"#, hour),
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
        if let Err(full) = queue.push(message?) {
            println!("{full}");
        }
    }

    let dispatcher = Arc::new(Dispatcher::new(balancer.clone(), SECRET));
    let mut dead = Vec::new();
    let mut busy_with = HashSet::new();
    let mut under_way = JoinSet::new();
    loop {
        // A customer that hangs keeps its own messages waiting, and nobody else's.
        while under_way.len() < AT_ONCE
            && let Some(message) = queue.pop(|customer| !busy_with.contains(customer))
        {
            busy_with.insert(message.customer.clone());
            let dispatcher = dispatcher.clone();
            under_way.spawn(async move {
                let (customer, body) = (message.customer.clone(), message.body.clone());
                (customer, body, dispatcher.deliver(message).await)
            });
        }
        let Some(ended) = under_way.join_next().await else {
            break;
        };
        let (customer, body, ended) = ended?;
        match ended {
            Ended::Delivered { attempts } => {
                println!("{customer} {body}: delivered, attempts: {attempts}");
            }
            Ended::Dead(letter) => {
                println!("{customer} {body}: dead, {}", letter.why);
                dead.push(letter);
            }
        }
        busy_with.remove(&customer);
    }
    println!("dead letters: {}", dead.len());
    for (name, receiver) in [("well", &well), ("busy", &busy), ("loses", &loses)] {
        let (taken, again) = (receiver.taken(), receiver.again());
        println!("{name} has taken {taken}, and was sent {again} again");
    }
    Ok(())
}
