//! Owns `grpc-timeout`: one to eight digits and a unit (`PROTOCOL-HTTP2.md`, "Requests").

use std::io::Write;
use std::time::Duration;

/// The name of the field.
pub const FIELD: &str = "grpc-timeout";

/// What eight digits hold.
const NUMBER_MOST: u128 = 99_999_999;

/// The units, the finest first, in nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// How long a call may take, by its field's value. None: the value is malformed and says nothing; whether such a call is refused is the
/// caller's to say. Zero is taken, as by grpc-go, though the text wants a positive number: the time is over. The longest is some
/// 11,400 years; who adds it to a clock saturates.
#[must_use]
pub fn read(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    // Below a second, eight digits of nanoseconds fit a `u64` by far; above, whole seconds do.
    match nanos / 1_000_000_000 {
        0 => Some(Duration::from_nanos(number * nanos)),
        seconds => Some(Duration::from_secs(number * seconds)),
    }
}

/// Appends a value that says so much time, in the finest unit that holds it, cut off and never rounded up: what is passed on promises no
/// more than there is. What is longer than the longest value is that one.
pub fn write(time: Duration, into: &mut Vec<u8>) {
    let nanos = time.as_nanos();
    let fits = |&&(_, unit): &&(u8, u64)| nanos / u128::from(unit) <= NUMBER_MOST;
    let &(letter, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[5]);
    let number = (nanos / u128::from(unit)).min(NUMBER_MOST);
    // Writing to a vector does not fail.
    let _ = write!(into, "{number}{}", char::from(letter));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(time: Duration) -> String {
        let mut into = Vec::new();
        write(time, &mut into);
        String::from_utf8_lossy(&into).into_owned()
    }

    #[test]
    fn values() {
        for (value, expect) in [
            ("1S", Duration::from_secs(1)),
            ("0n", Duration::ZERO),
            ("00000001n", Duration::from_nanos(1)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("250u", Duration::from_micros(250)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("2M", Duration::from_secs(120)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(read(value.as_bytes()), Some(expect), "{value}");
        }
        for value in [
            "",
            "S",
            "1",
            "1s",
            "1h",
            "1N",
            "1U",
            "100000000n",
            "-1S",
            "+1S",
            "1.5S",
            "1 S",
            " 1S",
            "1S ",
            "1SS",
            "S1",
            "0x1S",
            "1\u{b5}",
            "1S, 2S",
            "\u{661}S",
        ] {
            assert_eq!(read(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn written_values() {
        for (time, expect) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(10), "10000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(99_999_999), "99999999S"),
            (Duration::from_secs(100_000_019), "1666666M"),
            (Duration::from_secs(99_999_999 * 60 + 60), "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(written(time), expect, "{time:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

        /// Never more than there is, and less by one part in ten thousand at most.
        #[test]
        fn written_is_read_again(nanos in any::<u64>(), shift in 0..64_u32) {
            let time = Duration::from_nanos(nanos >> shift);
            let again = read(written(time).as_bytes());
            prop_assert!(again.is_some_and(|again| again <= time));
            prop_assert!(again.is_some_and(|again| time - again <= time / 10_000));
        }
    }
}
