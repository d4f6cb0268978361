//! Parts of the example `webhook` that its run does not show: what a signature is over, and who goes first.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the example uses more of its parts; helpers of tests"
)]

use std::time::Duration;

use queue::{Class, Message, Queue};
use signature::{TOLERANCE, holds, signature};

#[path = "../examples/webhook/clock.rs"]
mod clock;
#[path = "../examples/webhook/queue.rs"]
mod queue;
#[path = "../examples/webhook/signature.rs"]
mod signature;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[test]
fn a_signature_is_of_one_id_and_body_and_of_its_time() {
    let (secret, time) = (b"between the two".as_slice(), 1_000_000);
    let signed = signature(secret, "7", time, "{}");
    let check = |text: &str, (secret, id, body): (&[u8], &str, &str), now: u64, expect: bool| {
        let held = holds(secret, text, id, body, now);
        assert_eq!(held, expect, "{text}, {id} {body} at {now}");
    };
    let own = (secret, "7", "{}");
    check(&signed, own, time, true);
    check(&signed, (b"another", "7", "{}"), time, false);
    check(&signed, (secret, "8", "{}"), time, false);
    check(&signed, (secret, "7", "[]"), time, false);
    // Whose clock goes wrong by as much as is tolerated, either way.
    for (off, expect) in [(TOLERANCE, true), (TOLERANCE + 1, false)] {
        check(&signed, own, time + off, expect);
        check(&signed, own, time - off, expect);
    }
    assert_eq!(TOLERANCE, 300);
    // Nobody makes it younger.
    let younger = signed.replace("t=1000000,", "t=1000001,");
    check(&younger, own, time, false);
    for none in ["", "t=1000000", &signed[2..], "t=1000000,v1="] {
        check(none, own, time, false);
    }
}

#[test]
fn the_urgent_go_first_and_of_one_class_who_came_first() {
    use Class::{Low, Normal, Urgent};
    let mut queue = Queue::new(6);
    let message = |customer: &str, class, text: &str| {
        Message::new(customer, class, text, Duration::from_secs(60)).unwrap()
    };
    for (class, text) in [
        (Low, "1"),
        (Normal, "2"),
        (Urgent, "3"),
        (Normal, "4"),
        (Urgent, "5"),
    ] {
        queue.push(message("a", class, text)).unwrap();
    }
    queue.push(message("b", Low, "6")).unwrap();
    let full = queue.push(message("b", Urgent, "7")).unwrap_err();
    assert_eq!(full.to_string(), "b 7: refused, 6 wait already");
    // Whose customer is busy lets others by.
    let mut order = vec![queue.pop(|customer| customer == "b").unwrap().body];
    order.extend(std::iter::from_fn(|| queue.pop(|_| true)).map(|one| one.body));
    assert_eq!(order, ["6", "3", "5", "2", "4", "1"]);
}
