//! Owns `hedge:` of a service.

use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, Quantile};
use evenkeel_balance::retry::RetrySettings;

use super::permille;
use crate::keys::HEDGE;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The settings; none: there are no hedges.
pub(in crate::lower) fn read(fields: &Fields<'_>, retry: &RetrySettings) -> Option<HedgeSettings> {
    let (reading, node) = (fields.reading, fields.get("hedge")?);
    if !matches!(node.value, Value::Map(_)) {
        fields.word("hedge");
        return None;
    }
    let map = reading.map(node, &HEDGE)?;
    let at = map
        .get("at")
        .map(|node| reading.parsed(node, "quantile", quantile));
    let after = map.get("after").map(|node| after(reading, node));
    if at.is_some() == after.is_some() {
        let message = "a hedge comes `at` a quantile, like `p95`, or `after` a time, like `50ms`";
        reading.error(map.at, "hedge", message);
    }
    let at = at.flatten().or(after.flatten());
    let mut most_permille = HedgeSettings::MOST_PERMILLE;
    map.set("most", most, &mut most_permille);
    if retry.attempts < 2 {
        let message = "nothing is ever hedged: a hedge is an attempt, and `retry` allows one";
        reading.warning(map.at, "hedge", message);
    }
    map.done();
    at.map(|at| HedgeSettings::at(at).most_permille(most_permille))
}

fn quantile(text: &Scalar) -> Result<HedgeAt, String> {
    let wrong = || format!("a quantile is written like `p95`, from `p50` to `p99.9`, not `{text}`");
    let number = text.value().strip_prefix('p').ok_or_else(wrong)?;
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 2) || !digits(tenth, 1) {
        return Err(wrong());
    }
    let parsed = whole.parse::<u16>().ok().zip(tenth.parse::<u16>().ok());
    parsed
        .and_then(|(whole, tenth)| Quantile::new(whole * 10 + tenth))
        .map(HedgeAt::Quantile)
        .ok_or_else(wrong)
}

fn after(reading: &Reading, node: &Node) -> Option<HedgeAt> {
    reading.wait(node).map(HedgeAt::After)
}

fn most(reading: &Reading, node: &Node) -> Option<u32> {
    let most = permille(reading.share(node)?);
    if most == 0 {
        let message = "`most` is at least 0.1%; `hedge: off` has none";
        reading.error(node.at, "range", message);
        return None;
    }
    Some(most)
}
