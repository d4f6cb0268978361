//! Owns the keys of `load:` of a service.

use evenkeel_balance::settings::LoadSettings;

use super::{Absent, Keys, Shape, key, written};
use crate::limits;

/// `load:`
pub(crate) static LOAD: Keys = Keys {
    place: "services.*.load",
    what: "load",
    keys: &[
        key(
            "report",
            Shape::WordOr(&["header"], "", &LOAD_REPORT),
            Absent::Is(|| "header".into()),
            "Where backends report it: in the field `endpoint-load-metrics` of answers, or on a page that is asked for.",
        ),
        key(
            "field",
            Shape::Words(&["remove", "keep"]),
            Absent::Is(|| "remove".into()),
            "Whether clients get the field too.",
        ),
        key(
            "metrics",
            Shape::List(&Shape::Text),
            Absent::No("`application_utilization`, else `cpu_utilization`"),
            "Metrics whose largest is the utilization where there is no `application_utilization`, like `named_metrics.queue`.",
        ),
        key(
            "blackout",
            Shape::Duration,
            Absent::Is(|| written::duration(LoadSettings::default().blackout)),
            "Reports of a backend count from so long after its first.",
        ),
        key(
            "expiry",
            Shape::Wait,
            Absent::Is(|| written::duration(LoadSettings::default().expiry)),
            "A report counts for so long.",
        ),
        key(
            "penalty",
            Shape::Share,
            Absent::Is(|| written::share(LoadSettings::default().penalty)),
            "So much utilization is a backend taken to have beside its own when all that it gets fails.",
        ),
        key(
            "bound",
            Shape::Number(1, 100),
            Absent::Is(|| LoadSettings::default().bound.to_string()),
            "A backend gets at most so many times its configured share, and at least such a part of it.",
        ),
    ],
    one_of: &[],
};

/// `report:` of it, but for a word.
pub(crate) static LOAD_REPORT: Keys = Keys {
    place: "services.*.load.report",
    what: "report",
    keys: &[key(
        "http",
        Shape::Map(&LOAD_PAGE),
        Absent::Never,
        "A page of JSON that every backend has.",
    )],
    one_of: &["http"],
};

/// `http:` of that.
pub(crate) static LOAD_PAGE: Keys = Keys {
    place: "services.*.load.report.http",
    what: "http",
    keys: &[
        key(
            "path",
            Shape::Text,
            Absent::Is(|| limits::LOAD_PATH.into()),
            "Path and query.",
        ),
        key(
            "host",
            Shape::Text,
            Absent::No("the backend's address"),
            "Its `Host`.",
        ),
        key(
            "port",
            Shape::Number(1, 65_535),
            Absent::No("the backend's"),
            "Another port.",
        ),
        key(
            "interval",
            Shape::Wait,
            Absent::Is(|| written::duration(limits::LOAD_EVERY)),
            "From one question to the next, 100 ms to a minute.",
        ),
        key(
            "timeout",
            Shape::Wait,
            Absent::Is(|| written::duration(limits::LOAD_WITHIN)),
            "A page that is not there by then is none.",
        ),
    ],
    one_of: &[],
};
