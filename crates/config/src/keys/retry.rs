//! Owns the keys of `retry:`.

use evenkeel_balance::retry::RetrySettings;
use evenkeel_balance::retry::budget::BudgetSettings;

use super::{Absent, Keys, Shape, key, written};
use crate::limits;

/// `retry:`
pub(crate) static RETRY: Keys = Keys {
    place: "services.*.retry",
    what: "retry",
    keys: &[
        key(
            "attempts",
            Shape::Number(1, 16),
            Absent::Is(|| RetrySettings::default().attempts.to_string()),
            "Attempts of one request, the first included.",
        ),
        key(
            "per_try",
            Shape::Wait,
            Absent::No("that of `timeouts`"),
            "One attempt until its response head; the same as `timeouts.per_try`, where it may stand instead.",
        ),
        key(
            "on",
            Shape::List(&Shape::Text),
            Absent::These(limits::RETRY_ON),
            "What is worth another attempt: `connect`, `reset`, `timeout`, `protocol`, `overloaded`, statuses from 400 to 599, statuses of gRPC like `unavailable`. Nothing else is.",
        ),
        key(
            "backoff",
            Shape::Map(&RETRY_BACKOFF),
            Absent::Defaults,
            "The wait before another attempt.",
        ),
        key(
            "budget",
            Shape::Map(&RETRY_BUDGET),
            Absent::Defaults,
            "How many retries the service may afford.",
        ),
        key(
            "retry_after_max",
            Shape::Duration,
            Absent::Is(|| written::duration(limits::RETRY_AFTER)),
            "The longest rest that a backend may ask for and a client is kept for; with a longer one its answer is passed on.",
        ),
    ],
    one_of: &[],
};

/// `backoff:`
pub(crate) static RETRY_BACKOFF: Keys = Keys {
    place: "services.*.retry.backoff",
    what: "backoff",
    keys: &[
        key(
            "base",
            Shape::Duration,
            Absent::Is(|| written::duration(RetrySettings::default().backoff_base)),
            "The longest first wait; it doubles with each retry. The wait itself is drawn, from nothing to that.",
        ),
        key(
            "max",
            Shape::Duration,
            Absent::Is(|| written::duration(RetrySettings::default().backoff_max)),
            "The longest wait.",
        ),
    ],
    one_of: &[],
};

/// `budget:`
pub(crate) static RETRY_BUDGET: Keys = Keys {
    place: "services.*.retry.budget",
    what: "budget",
    keys: &[
        key(
            "ratio",
            Shape::Share,
            Absent::Is(|| {
                let permille = BudgetSettings::default().ratio_permille;
                written::share(f64::from(permille) / 1000.0)
            }),
            "Retries per request of the service.",
        ),
        key(
            "floor",
            Shape::Rate,
            Absent::Is(|| written::rate(BudgetSettings::default().floor_per_second)),
            "Retries beside, so that a quiet service can retry at all.",
        ),
    ],
    one_of: &[],
};
