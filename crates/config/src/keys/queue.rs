//! Owns the keys of a service's `limits:`.

use evenkeel_balance::settings::QueueSettings;

use super::{Absent, Keys, Shape, key, written};
use crate::limits;

/// `limits:` of a service.
pub(crate) static SERVICE_LIMITS: Keys = Keys {
    place: "services.*.limits",
    what: "limits",
    keys: &[
        key(
            "max_in_flight",
            Shape::Number(1, u32::MAX as u64),
            Absent::No("no limit"),
            "Attempts at once on all its backends together, kept exactly.",
        ),
        key(
            "queue",
            Shape::Map(&QUEUE),
            Absent::No("who comes while it is full is refused"),
            "Who comes while the service, or every backend of it, is full waits for a place.",
        ),
    ],
    one_of: &[],
};

/// `queue:` of a service.
pub(crate) static QUEUE: Keys = Keys {
    place: "services.*.limits.queue",
    what: "queue",
    keys: &[
        key(
            "length",
            Shape::Number(1, limits::QUEUE_LENGTH as u64),
            Absent::Is(|| QueueSettings::default().length.to_string()),
            "Who waits at once; one more, and the last of them is refused.",
        ),
        key(
            "timeout",
            Shape::Wait,
            Absent::Is(|| written::duration(QueueSettings::default().timeout)),
            "The longest that one waits.",
        ),
    ],
    one_of: &[],
};
