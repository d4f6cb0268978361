//! Owns values that are written with their unit.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Scalar;

/// `2027-06-30`, which begins at midnight, or `2027-06-30T12:00:00Z`, since 1970 (RFC 3339, in UTC).
pub(crate) fn date(written: &Scalar) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "a date is written like `2027-06-30` or `2027-06-30T12:00:00Z`, from 1970 to 9999, not `{written}`"
        )
    };
    let number = |text: &str, length: usize| {
        let digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let parts = |text: &str, between: char, lengths: [usize; 3]| {
        let mut parts = text.split(between);
        let read = lengths.map(|length| number(parts.next()?, length));
        match (read, parts.next()) {
            ([Some(first), Some(second), Some(third)], None) => Some([first, second, third]),
            _ => None,
        }
    };
    let text = written.value();
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let [year, month, day] = parts(day, '-', [4, 2, 2]).ok_or_else(wrong)?;
    let time = time.strip_suffix('Z').ok_or_else(wrong)?;
    let [hour, minute, second] = parts(time, ':', [2, 2, 2]).ok_or_else(wrong)?;
    let leaps = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u64::from(leaps),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if year < 1970 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return Err(wrong());
    }
    // Years that begin in March: the day that a leap year has more is their last.
    let (years, months) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day;
    // As many lie before 1970.
    const BEFORE: u64 = 719_469;
    let seconds = (days - BEFORE) * 86_400 + hour * 3_600 + minute * 60 + second;
    Ok(Duration::from_secs(seconds))
}

/// `250ms`, `30s`, `1m30s`, `2h`, `1d`: numbers with units, largest first. A bare `0` is none of any unit.
pub(crate) fn duration(written: &Scalar) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let wrong =
        || format!("a duration is written like `250ms`, `30s`, `1m30s`, `2h`, not `{written}`");
    let text = written.value();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "`{written}` has no unit; write `{written}s` or `{written}ms`"
        ));
    }
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest
            .find(|char: char| !char.is_ascii_digit())
            .ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|char: char| !char.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (_, factor) = UNITS
            .iter()
            .find(|(unit, _)| *unit == &rest[..letters])
            .ok_or_else(wrong)?;
        if *factor >= last {
            return Err(wrong());
        }
        last = *factor;
        rest = &rest[letters..];
        total = number
            .checked_mul(*factor)
            .and_then(|more| total.checked_add(more))
            .ok_or_else(wrong)?;
    }
    // Longer than anybody waits, and than browsers are told to come by HTTPS; keeps sums of instants far from their end.
    if text.is_empty() || total > 3 * 366 * 86_400_000 {
        return Err(if text.is_empty() {
            wrong()
        } else {
            "at most three years".into()
        });
    }
    Ok(Duration::from_millis(total))
}

/// `64KiB`, `10MiB`, `1GiB`, `1kB`, `512B`.
pub(crate) fn size(written: &Scalar) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("B", 1),
        ("kB", 1000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
    ];
    let wrong = || format!("a size is written like `64KiB`, `10MiB`, `1kB`, not `{written}`");
    let text = written.value();
    let digits = text
        .find(|char: char| !char.is_ascii_digit())
        .ok_or_else(|| format!("`{written}` has no unit; write `{written}B` or `{written}KiB`"))?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let (_, factor) = UNITS
        .iter()
        .find(|(unit, _)| *unit == &text[digits..])
        .ok_or_else(wrong)?;
    number.checked_mul(*factor).ok_or_else(wrong)
}

/// `50%`, `99.9%`, as a part of 1.
pub(crate) fn share(written: &Scalar) -> Result<f64, String> {
    let wrong = || format!("a percentage is written like `50%`, not `{written}`");
    let number = written.value().strip_suffix('%').ok_or_else(wrong)?;
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = number.parse().map_err(|_| wrong())?;
    if !plain || !(0.0..=100.0).contains(&percent) {
        return Err(wrong());
    }
    Ok(percent / 100.0)
}

/// `3/s`, as a number each second.
pub(crate) fn rate(written: &Scalar) -> Result<u32, String> {
    let wrong = || format!("a rate is written like `3/s`, at most `1000000/s`, not `{written}`");
    let number = written.value().strip_suffix("/s").ok_or_else(wrong)?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let rate = number.parse().ok();
    rate.filter(|rate| plain && *rate <= 1_000_000)
        .ok_or_else(wrong)
}

/// `100/s`, `100/min`, `100/h`: how many in which time, at least one.
pub(crate) fn allowance(written: &Scalar) -> Result<(NonZeroU32, Duration), String> {
    const UNITS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];
    let wrong = || {
        format!(
            "how many pass is written like `100/s`, `100/min` or `100/h`, at most a million, not `{written}`"
        )
    };
    let (number, unit) = written.value().split_once('/').ok_or_else(wrong)?;
    let (_, seconds) = UNITS
        .iter()
        .find(|(known, _)| *known == unit)
        .ok_or_else(wrong)?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u32> = number.parse().ok();
    let number = number.filter(|number| plain && *number <= 1_000_000);
    match NonZeroU32::new(number.ok_or_else(wrong)?) {
        Some(number) => Ok((number, Duration::from_secs(*seconds))),
        None => Err(format!(
            "`{written}` lets nobody pass; a rule that refuses is written `deny: true`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Scalar {
        Scalar::plain(text)
    }

    #[test]
    fn durations() {
        let millis = |text| duration(&written(text)).map(|duration| duration.as_millis());
        for (text, expect) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("730d", 63_072_000_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(millis(text), Ok(expect), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "30x",
            "1s1m",
            "1s1s",
            "-1s",
            "1.5s",
            " 1s",
            "99999999999999999999s",
            "1099d",
            "1sec",
        ] {
            assert!(millis(text).is_err(), "{text}");
        }
        assert!(duration(&written("30")).unwrap_err().contains("`30s`"));
    }

    #[test]
    fn sizes_and_shares() {
        assert_eq!(size(&written("64KiB")), Ok(65536));
        assert_eq!(size(&written("1kB")), Ok(1000));
        for text in ["", "1", "1K", "KiB", "-1B", "99999999999GiB"] {
            assert!(size(&written(text)).is_err(), "{text}");
        }
        assert_eq!(share(&written("50%")), Ok(0.5));
        assert_eq!(rate(&written("3/s")), Ok(3));
        assert_eq!(rate(&written("0/s")), Ok(0));
        for text in [
            "",
            "3",
            "/s",
            "-3/s",
            "+3/s",
            "3/m",
            "1.5/s",
            "1000001/s",
            "99999999999/s",
        ] {
            assert!(rate(&written(text)).is_err(), "{text}");
        }
        let allowed = |text| {
            let read = allowance(&written(text));
            read.map(|(count, per)| (count.get(), per.as_secs()))
        };
        for (text, expect) in [
            ("1/s", (1, 1)),
            ("90/min", (90, 60)),
            ("1000000/h", (1_000_000, 3600)),
        ] {
            assert_eq!(allowed(text), Ok(expect), "{text}");
        }
        for text in [
            "",
            "1",
            "/s",
            "1/",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/m",
            "1/d",
            "1/ s",
            "1 /s",
            "1000001/s",
            "99999999999/s",
        ] {
            assert!(allowed(text).is_err(), "{text}");
        }
        assert!(allowed("0/s").unwrap_err().contains("deny"));
        for text in ["", "50", "%", "101%", "-1%", "NaN%", "inf%", "1e1%"] {
            assert!(share(&written(text)).is_err(), "{text}");
        }
    }
}
