//! Owns what the field `Retry-After` says: seconds, or a date (RFC 9110 section 10.2.3).

use std::time::Duration;

use crate::date;

/// The longest rest that is read: a year. What says more says this, so that whoever adds it to a time of day cannot overflow.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long its sender asks to be left alone: nothing where the date is past, and [`LONGEST`] at most. None: it is neither seconds nor a
/// date. `now`, asked for a date alone, is the time since the begin of 1970.
///
/// ```
/// use std::time::Duration;
/// use evenkeel_wire::retry_after::read;
///
/// let now = || Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
/// assert_eq!(read(b"120", now), Some(Duration::from_secs(120)));
/// assert_eq!(read(b"Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
/// assert_eq!(read(b"Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
/// assert_eq!(read(b"soon", now), None);
/// ```
#[must_use]
pub fn read(said: &[u8], now: impl FnOnce() -> Duration) -> Option<Duration> {
    let said = said.trim_ascii();
    if !said.is_empty() && said.iter().all(u8::is_ascii_digit) {
        // Digits are text; more of them than fit are longer than the longest.
        let seconds = std::str::from_utf8(said).ok()?.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let now = now();
    Some(date::read(said, now)?.saturating_sub(now).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_within_a_year() {
        let now = Duration::from_secs(1_795_219_200);
        let check = |said: &str, expect: Option<u64>| {
            let read = read(said.as_bytes(), || now);
            assert_eq!(read, expect.map(Duration::from_secs), "{said:?}");
        };
        let year = LONGEST.as_secs();
        check("0", Some(0));
        check("7", Some(7));
        check(" 120\t", Some(120));
        check("31536000", Some(year));
        check("31536001", Some(year));
        check("18446744073709551615", Some(year));
        check("99999999999999999999999", Some(year));
        for wrong in ["", " ", "+7", "-7", "7.5", "7s", "soon", "٧", "Sun, 06 Nov"] {
            check(wrong, None);
        }
        // In each of the three forms, ahead, now and past.
        check("Sat, 21 Nov 2026 00:01:30 GMT", Some(90));
        check("Saturday, 21-Nov-26 00:01:30 GMT", Some(90));
        check("Sat Nov 21 00:01:30 2026", Some(90));
        check("Sat, 21 Nov 2026 00:00:00 GMT", Some(0));
        check("Fri, 20 Nov 2026 23:59:59 GMT", Some(0));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(year));
        check("Sat, 31 Feb 2027 00:00:00 GMT", None);
    }

    #[test]
    fn seconds_ask_nobody_for_the_time() {
        let never = || unreachable!("the time was asked for");
        assert_eq!(read(b"7", never), Some(Duration::from_secs(7)));
    }
}
