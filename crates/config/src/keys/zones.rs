//! Owns the keys of `zones:` of a service.

use evenkeel_balance::settings::ZoneSettings;

use super::{Absent, Keys, Shape, key};

/// `zones:` of a service.
pub(crate) static ZONES: Keys = Keys {
    place: "services.*.zones",
    what: "zones",
    keys: &[
        key(
            "prefer",
            Shape::Words(&["local", "client"]),
            Absent::Is(|| "local".into()),
            "Which zone's backends come first: that of this instance (`zone`), or that of the client (`regions`), where it is in none the instance's.",
        ),
        key(
            "min_backends",
            Shape::Number(1, 1_000_000),
            Absent::Is(|| ZoneSettings::default().min_backends.to_string()),
            "A zone with fewer healthy backends in a tier is preferred by nobody there.",
        ),
    ],
    one_of: &[],
};
