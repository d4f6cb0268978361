//! Owns the laws of latency distributions and of the words that choose among backends. The input is numbers (nanoseconds)
//! with anything between them; a `|` begins the second distribution.

use std::time::Duration;

use evenkeel_balance::hashing::{key, mix, scale};
use evenkeel_balance::learn::histogram::{Histogram, LONGEST, SHORTEST, Snapshot};

/// Two distributions merged are one recorded together, taking the earlier one away leaves the later, and every quantile is
/// within 1/64 of the exact one.
pub fn check(input: &[u8]) -> bool {
    let (one, other) = match input.iter().position(|&byte| byte == b'|') {
        Some(at) => (numbers(&input[..at]), numbers(&input[at..])),
        None => (numbers(input), Vec::new()),
    };
    words(&one);
    let (first, second) = (Histogram::default(), Histogram::default());
    record(&first, &one);
    record(&second, &other);
    let mut merged = first.snapshot();
    merged.merge(&second.snapshot());
    let earlier = first.snapshot();
    record(&first, &other);
    let together = first.snapshot();
    assert_eq!(merged, together);
    assert_eq!(together.since(&earlier), second.snapshot());
    assert_eq!(together.since(&together), Snapshot::default());
    let mut turned = second.snapshot();
    turned.merge(&earlier);
    assert_eq!(turned, merged);
    let mut all = [one, other].concat();
    all.sort_unstable();
    assert_eq!(together.count(), all.len() as u64);
    close_to_exact(&together, &all);
    !all.is_empty()
}

fn numbers(text: &[u8]) -> Vec<u64> {
    text.split(|byte| !byte.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .take(256)
        .collect()
}

fn record(histogram: &Histogram, latencies: &[u64]) {
    for &latency in latencies {
        histogram.record(Duration::from_nanos(latency));
    }
}

fn close_to_exact(snapshot: &Snapshot, sorted: &[u64]) {
    assert_eq!(snapshot.quantile(f64::NAN), None);
    if sorted.is_empty() {
        assert_eq!((snapshot.quantile(0.5), snapshot.mean()), (None, None));
        return;
    }
    let clamped = |nanos: u64| {
        Duration::from_nanos(nanos)
            .clamp(SHORTEST, LONGEST)
            .as_secs_f64()
    };
    let close = |got: Option<Duration>, exact: f64, what: &str| {
        let got = got.unwrap_or_default().as_secs_f64();
        let off = (got - exact).abs() / exact;
        assert!(off <= 1.0 / 64.0 + 1e-9, "{what}: {got} s, exact {exact} s");
    };
    let count = sorted.len();
    // In quarters, so that ranks are worked out in whole numbers here.
    for (q, quarters) in [
        (-1.0, 0),
        (0.0, 0),
        (0.25, 1),
        (0.5, 2),
        (0.75, 3),
        (1.0, 4),
        (9.0, 4),
    ] {
        let rank = (count * quarters).div_ceil(4).max(1);
        close(snapshot.quantile(q), clamped(sorted[rank - 1]), "quantile");
    }
    let mean = sorted.iter().map(|&nanos| clamped(nanos)).sum::<f64>() / count as f64;
    close(snapshot.mean(), mean, "mean");
}

/// A scaled word stays in its range and in its order, and mixing never makes different words equal.
fn words(numbers: &[u64]) {
    for pair in numbers.windows(2) {
        let [word, bound] = *pair else { continue };
        let scaled = scale(mix(word, bound), bound);
        assert!(scaled < bound || (bound, scaled) == (0, 0));
        let (low, high) = (word.min(bound), word.max(bound));
        assert!(scale(low, 1000) <= scale(high, 1000));
        assert_eq!(mix(7, word) == mix(7, bound), word == bound);
        assert_eq!(mix(word, 7) == mix(bound, 7), word == bound);
        assert_eq!(key(&word.to_le_bytes()), key(&word.to_le_bytes()));
    }
}
