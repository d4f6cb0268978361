//! Owns values as the message balancer's documents have them, numbers without a unit among them, and how they are written here.

use std::time::Duration;

use crate::keys::written;
use crate::read::{Scalar, units};

/// `30s`, or `30000`: milliseconds. Not zero.
pub(super) fn millis(text: &Scalar) -> Result<Duration, String> {
    let plain = text.value().parse().ok().map(Duration::from_millis);
    let period = match plain {
        Some(period) => period,
        None => units::duration(text)?,
    };
    // As long as the longest that is written with units.
    match period.is_zero() || period > Duration::from_secs(3 * 366 * 86_400) {
        true => Err(format!(
            "more than nothing is expected, and at most three years, not `{text}`"
        )),
        false => Ok(period),
    }
}

/// `1000/s`, or `1000`: in a second.
pub(super) fn often(text: &Scalar) -> Result<String, String> {
    let plain = text.value().parse::<u32>().ok();
    let rate = match plain {
        Some(rate) if rate <= 1_000_000 => rate,
        _ => units::rate(text)?,
    };
    match rate {
        0 => Err("nothing is fewer than `0/s`: it is never reached".into()),
        rate => Ok(written::rate(rate)),
    }
}

/// `99.9%`, or `0.999`: a part of 1.
pub(super) fn part(text: &Scalar) -> Result<String, String> {
    let value = text.value();
    if value.ends_with('%') {
        return units::share(text).map(|_| value.to_owned());
    }
    let plain = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let part = value
        .parse::<f64>()
        .ok()
        .filter(|part| plain && *part <= 1.0);
    let part = part.ok_or_else(|| {
        format!("a percentage or a part of 1 is written like `80%` or `0.8`, not `{text}`")
    })?;
    // Without what binary fractions add.
    Ok(format!("{}%", (part * 1e8).round() / 1e6))
}
