//! Bytes of whoever means harm, whose sum is right: they are refused, or what they say can be worked with and is said again.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::alert::Alerts;
use crate::controller::{Controller, ControllerSettings, Seen};
use crate::interval::Interval;
use crate::latencies::Latencies;
use crate::series::{Series, WINDOWS};
use crate::service::{ServiceWatch, WatchSettings};

const START: u64 = 1_795_305_600;

/// The same bytes with another behind the head, and a sum that is right.
fn signed(head: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.extend(behind);
    let sum = sum(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

fn tick(requests: u32) -> Interval {
    let mut latencies = Latencies::default();
    latencies.add(20_000_000, requests - requests / 5);
    Interval {
        millis: 1000,
        requests,
        errors: requests / 5,
        latencies,
        up: true,
    }
}

fn watch(mut watch: ServiceWatch, seconds: u64) -> ServiceWatch {
    for at in 0..seconds {
        let backend = tick(30);
        let each = [("a", &backend), ("b", &backend), ("c", &backend)];
        let settings = WatchSettings {
            objective: Some(0.999),
            ..WatchSettings::default()
        };
        watch.tick(Moment::from_secs(START + at), &tick(90), &each, &settings);
    }
    watch
}

fn control(mut controller: Controller, intervals: u64) -> Controller {
    let (fast, slow) = (tick(500).latencies, {
        let mut latencies = Latencies::default();
        latencies.add(60_000_000, 500);
        latencies
    });
    for _ in 0..intervals {
        let seen = ["a", "b", "c"].map(|id| Seen {
            id,
            weight: 1.0,
            serving: true,
            requests: 500,
            errors: 0,
            latencies: if id == "b" { &slow } else { &fast },
        });
        controller.step(&seen, &ControllerSettings::default());
        assert!((0.25..=2.0).contains(&controller.factor("b")));
    }
    controller
}

/// What one kind of bytes comes to; `Some` where they were taken, with what is said again.
fn taken(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match &bytes[..4] {
        b"ekse" => {
            let mut series = Series::from_bytes(bytes).ok()?;
            let said = series.to_bytes();
            series.feed(Moment::from_secs(START), &tick(10));
            for window in WINDOWS {
                let found = series.over(window);
                assert!(found.errors <= found.requests);
            }
            Some((said.clone(), Series::from_bytes(&said).unwrap().to_bytes()))
        }
        b"eksv" => {
            let one = ServiceWatch::from_bytes(bytes).ok()?;
            let said = one.to_bytes();
            watch(one, 30);
            Some((
                said.clone(),
                ServiceWatch::from_bytes(&said).unwrap().to_bytes(),
            ))
        }
        b"ekct" => {
            let one = Controller::from_bytes(bytes).ok()?;
            let said = one.to_bytes();
            control(one, 4);
            Some((
                said.clone(),
                Controller::from_bytes(&said).unwrap().to_bytes(),
            ))
        }
        _ => {
            let mut one = Alerts::from_bytes(bytes).ok()?;
            let said = one.to_bytes();
            one.expire(Moment::from_secs(START));
            Some((said.clone(), Alerts::from_bytes(&said).unwrap().to_bytes()))
        }
    }
}

/// What each kind looks like when it was made by us.
fn ours() -> [Vec<u8>; 4] {
    let mut series = Series::default();
    for at in 0..130 {
        series.feed(Moment::from_secs(START + at), &tick(7));
    }
    let alerts = {
        let mut alerts = Alerts::default();
        let settings = WatchSettings::default();
        let (mut one, down) = (
            ServiceWatch::default(),
            Interval {
                millis: 1000,
                ..Interval::default()
            },
        );
        for at in 0..30 {
            let now = Moment::from_secs(START + at);
            for change in one.tick(now, &down, &[("a", &down)], &settings) {
                alerts.take("api", &change, now).unwrap();
            }
        }
        assert_eq!(alerts.raised().count(), 2);
        alerts
    };
    let service = watch(ServiceWatch::default(), 20).to_bytes();
    [
        series.to_bytes(),
        service,
        control(Controller::default(), 6).to_bytes(),
        alerts.to_bytes(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: RngSeed::Fixed(50), ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_hold(kind in 0_usize..4, behind in proptest::collection::vec(any::<u8>(), 0..300)) {
        let kinds = [b"ekse\x01", b"eksv\x01", b"ekct\x01", b"ekal\x01"];
        if let Some((said, again)) = taken(&signed(kinds[kind], &behind)) {
            prop_assert_eq!(said, again);
        }
    }
}

/// Bytes of ours in which one was changed, or a run of them is another's.
#[test]
fn changed_bytes_are_refused_or_hold() {
    let mut chance = fastrand::Rng::with_seed(50);
    println!("seed 50");
    let (mut held, mut refused) = (0, 0);
    for bytes in ours() {
        assert!(taken(&bytes).is_some());
        for _ in 0..4000 {
            let mut behind = bytes[5..bytes.len() - 8].to_vec();
            let at = chance.usize(..behind.len());
            let run = if chance.bool() { 1 } else { chance.usize(1..9) };
            for byte in behind.iter_mut().skip(at).take(run) {
                *byte = chance.u8(..);
            }
            match taken(&signed(&bytes[..5], &behind)) {
                Some((said, again)) => {
                    assert_eq!(said, again);
                    held += 1;
                }
                None => refused += 1,
            }
        }
    }
    println!("{held} held, {refused} refused");
    assert!(held > 100 && refused > 100);
}

#[test]
fn names_are_cut_at_a_character() {
    let mut to = Writer::new(*b"test", 1);
    let long = "ü".repeat(200);
    to.text(&long);
    let bytes = to.finish();
    let mut from = Reader::new(&bytes, *b"test", 1).unwrap();
    assert_eq!(from.text(), Ok("ü".repeat(128)));
    assert_eq!(from.finish(), Ok(()));
}

#[test]
fn counts_have_64_bits_and_no_more() {
    for value in [0, 127, 128, u64::MAX - 1, u64::MAX] {
        let mut to = Writer::new(*b"test", 1);
        to.count(value);
        let bytes = to.finish();
        assert_eq!(Reader::new(&bytes, *b"test", 1).unwrap().count(), Ok(value));
    }
    let eleven = signed(b"test\x01", &[0xff; 11]);
    assert_eq!(
        Reader::new(&eleven, *b"test", 1).unwrap().count(),
        Err(Unreadable::OutOfRange("a count"))
    );
}
