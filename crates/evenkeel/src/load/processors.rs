//! Owns the question to the operating system how long processors worked for this process.

/// How many there are for it.
#[expect(clippy::cast_precision_loss, reason = "a count of processors")]
pub(super) fn count() -> f64 {
    let count = std::thread::available_parallelism();
    count.map_or(1.0, |count| count.get() as f64)
}

/// Seconds of all of them, since the process began; none where that is not known.
#[cfg(target_os = "linux")]
pub(super) fn taken() -> Option<f64> {
    of_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

#[cfg(not(target_os = "linux"))]
pub(super) const fn taken() -> Option<f64> {
    None
}

/// Ticks of `stat` in a second, which Linux tells user space whatever its own clock does.
#[cfg(target_os = "linux")]
const TICKS: f64 = 100.0;

/// Time in user space and in the kernel, the 14th and 15th of its fields. The second is a name in parentheses, which may hold anything.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
fn of_stat(stat: &str) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, kernel) = (next()?, next()?);
    Some(user.saturating_add(kernel) as f64 / TICKS)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn two_fields_of_many() {
        for (stat, expect) in [
            ("7 (a b) c) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20", Some(3.0)),
            ("7 (x) R 1 2 3 4 5 6 7 8 9 10 250", None),
            ("7 (x) R 1 2 3 4 5 6 7 8 9 10 -1 50", None),
            ("", None),
        ] {
            assert_eq!(of_stat(stat), expect, "{stat}");
        }
        assert!(taken().is_some() && count() >= 1.0);
    }
}
