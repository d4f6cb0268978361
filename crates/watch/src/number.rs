//! Owns the conversions between counts and the numbers of statistics, so that each loss is said once.

/// A count as a number; above 2^53 the last digits go, which no figure here shows.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures of two or three digits are made of it"
)]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// The same of a length.
pub(crate) fn length(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The whole number nearest to `value`: 0 below it and of what is no number, the largest above.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and what is no number becomes 0"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A number of half the digits, for what is kept in numbers.
#[expect(
    clippy::cast_possible_truncation,
    reason = "seven digits are more than is shown"
)]
pub(crate) const fn short(value: f64) -> f32 {
    value as f32
}

/// The middle of the values, of two middles their mean; none of none. What is no number must not be among them. Cost: n log n.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}
