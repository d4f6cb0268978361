//! Owns the keys of `hedge:`.

use evenkeel_balance::hedge::HedgeSettings;

use super::{Absent, Keys, Shape, key, written};

/// `hedge:`
pub(crate) static HEDGE: Keys = Keys {
    place: "services.*.hedge",
    what: "hedge",
    keys: &[
        key(
            "at",
            Shape::Text,
            Absent::Nothing,
            "How long an attempt has before: what so many of a hundred answers of its rule took at most, as measured; `p50` to `p99.9`.",
        ),
        key(
            "after",
            Shape::Wait,
            Absent::Nothing,
            "The same as a fixed time.",
        ),
        key(
            "most",
            Shape::Share,
            Absent::Is(|| written::share(f64::from(HedgeSettings::MOST_PERMILLE) / 1000.0)),
            "Second attempts per request of the service, 0.1% to 100%; the budget of `retry` pays for each as well.",
        ),
    ],
    one_of: &["at", "after"],
};
