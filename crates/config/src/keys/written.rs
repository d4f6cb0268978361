//! Owns how values are written in a configuration: the other direction of the readers of units.

use std::time::Duration;

/// In the largest unit that takes it whole.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, factor) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if millis > 0 && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    match millis {
        0 => "0s".into(),
        _ => format!("{millis}ms"),
    }
}

/// In the largest unit that takes it whole.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// So many a second.
pub(crate) fn rate(per_second: u32) -> String {
    format!("{per_second}/s")
}

/// So many in each such unit.
pub(crate) fn allowance(count: u32, per: Duration) -> String {
    let unit = match per.as_secs() {
        60 => "min",
        3600 => "h",
        _ => "s",
    };
    format!("{count}/{unit}")
}

/// As a percentage.
pub(crate) fn share(share: f64) -> String {
    format!("{}%", share * 100.0)
}
