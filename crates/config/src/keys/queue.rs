//! Owns the keys of a service's `limits:`.

use evenkeel_balance::settings::{AdaptiveLimit, QueueSettings};

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
            "adaptive",
            Shape::WordOr(&["on", "off"], "on", &ADAPTIVE_LIMIT),
            Absent::Is(|| "off".into()),
            "Attempts at once on each backend, found from how long they take; never more than its own `max_in_flight`.",
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

/// `adaptive:` of a service's limits.
pub(crate) static ADAPTIVE_LIMIT: Keys = Keys {
    place: "services.*.limits.adaptive",
    what: "adaptive",
    keys: &[
        key(
            "min",
            Shape::Number(1, u32::MAX as u64),
            Absent::Is(|| AdaptiveLimit::DEFAULT.min.to_string()),
            "No backend is given fewer at once, however slow it is.",
        ),
        key(
            "max",
            Shape::Number(1, u32::MAX as u64),
            Absent::Is(|| AdaptiveLimit::DEFAULT.max.to_string()),
            "None is given more, however fast it is. Tunnels count.",
        ),
        key(
            "start",
            Shape::Number(1, u32::MAX as u64),
            Absent::Is(|| AdaptiveLimit::DEFAULT.start.to_string()),
            "Where a limit begins: there, or at `min` or `max` where it lies beyond them.",
        ),
        key(
            "tolerance",
            Shape::Share,
            Absent::Is(|| written::share(AdaptiveLimit::DEFAULT.tolerance)),
            "Answers may take so much longer than with few in flight, 5% to 100%.",
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
