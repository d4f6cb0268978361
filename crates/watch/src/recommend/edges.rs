//! Owns what is said of what is about to end, or to be full.

use super::facts::Facts;
use super::{Code, Patch, Recommendation, Value, figure, path, rounder};
use crate::metric::Unit;
use crate::number::{float, whole};
use crate::threshold::Severity;

const DAY_MS: u64 = 86_400_000;
/// A certificate that is renewed by itself has been by then.
const SOON_MS: u64 = 21 * DAY_MS;
/// Nobody will in time who was not told before.
const AT_ONCE_MS: u64 = 7 * DAY_MS;
/// A limit is near where such a part of it was used.
const NEAR: f64 = 0.8;
/// What is proposed: so many times what was used, rounded up.
const PROPOSED: f64 = 1.5;

/// Certificates that end.
pub(super) fn certificates(facts: &Facts, all: &mut Vec<Recommendation>) {
    for one in &facts.certificates {
        let left = one.until.millis_since(facts.now);
        if left >= SOON_MS {
            continue;
        }
        all.push(Recommendation {
            code: Code::CertificateExpires,
            severity: if left < AT_ONCE_MS {
                Severity::Critical
            } else {
                Severity::Warning
            },
            subject: path(&["certificates", &one.name]),
            reason: match left / DAY_MS {
                _ if left == 0 => "it has ended: clients refuse it".to_owned(),
                0 => "it ends within a day".to_owned(),
                days => format!("it ends in {days} days"),
            },
            figures: vec![figure("left", float(left) / 1e3, Some(Unit::Seconds))],
            confidence: 1.0,
            patch: Vec::new(),
        });
    }
}

/// Limits that were reached, or nearly.
pub(super) fn limits(facts: &Facts, all: &mut Vec<Recommendation>) {
    for one in &facts.limits {
        let part = float(one.peak) / float(one.limit.max(1));
        if one.limit == 0 || (part < NEAR && one.refused == 0) {
            continue;
        }
        let proposed = whole(rounder(PROPOSED * float(one.peak.max(one.limit))));
        let patch = (!one.path.is_empty()).then(|| Patch {
            path: one.path.clone(),
            value: Some(Value::Count(proposed)),
        });
        all.push(Recommendation {
            code: Code::LimitNear,
            severity: if one.refused > 0 {
                Severity::Critical
            } else {
                Severity::Warning
            },
            subject: match one.path.is_empty() {
                true => path(&["limits", &one.name]),
                false => one.path.clone(),
            },
            reason: match one.refused {
                0 => format!("{:.0} % of it were used", part * 100.0),
                refused => format!("{refused} were refused by it"),
            },
            figures: vec![
                figure("peak", float(one.peak), None),
                figure("limit", float(one.limit), None),
                figure("refused", float(one.refused), None),
            ],
            confidence: if one.refused > 0 { 1.0 } else { part.min(1.0) },
            patch: patch.into_iter().collect(),
        });
    }
}
