//! Owns the keys of `monitoring:` and `adjust:`.

use super::{Absent, Keys, Shape, key, written};
use crate::limits;
use crate::plan::{AdjustPlan, TrialPlan};

/// What may be measured, in the order of the plan's.
const METRICS: &[&str] = &["response_time", "throughput", "error_rate", "availability"];

/// `monitoring:`
pub(crate) static MONITORING: Keys = Keys {
    place: "services.*.monitoring",
    what: "monitoring",
    keys: &[
        key(
            "metrics",
            Shape::List(&Shape::Words(METRICS)),
            Absent::These(METRICS),
            "What is measured.",
        ),
        key(
            "thresholds",
            Shape::Map(&THRESHOLDS),
            Absent::No("none: only peers and the past are compared"),
            "Limits beyond which something is wrong, whatever was before; looked at over a minute.",
        ),
        key(
            "objective",
            Shape::Share,
            Absent::No("none"),
            "The share of requests that is to succeed, like `99.9%`: alerts when the budget of errors is spent too fast.",
        ),
        key(
            "anomalies",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether backends are compared with their peers, and all with their own past.",
        ),
        key(
            "alerting",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether what is wrong is told as alerts.",
        ),
        key(
            "recommendations",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether is told what to do about it.",
        ),
    ],
    one_of: &[],
};

/// `thresholds:`
pub(crate) static THRESHOLDS: Keys = Keys {
    place: "services.*.monitoring.thresholds",
    what: "thresholds",
    keys: &[
        key(
            "response_time",
            Shape::Wait,
            Absent::No("none"),
            "What 95 % of the answers take at most until their head.",
        ),
        key(
            "throughput",
            Shape::Rate,
            Absent::No("none"),
            "What ends in a second at least, where requests come at all.",
        ),
        key(
            "error_rate",
            Shape::Share,
            Absent::No("none"),
            "The share of requests that may fail.",
        ),
        key(
            "availability",
            Shape::Share,
            Absent::No("none"),
            "The share of the time in which a backend could be picked, at least.",
        ),
    ],
    one_of: &[],
};

/// `adjust:`
pub(crate) static ADJUST: Keys = Keys {
    place: "services.*.adjust",
    what: "adjust",
    keys: &[
        key(
            "interval",
            Shape::Wait,
            Absent::Is(|| written::duration(AdjustPlan::default().interval)),
            "From one look to the next, 1 s to 1 h.",
        ),
        key(
            "performance_threshold",
            Shape::Share,
            Absent::Is(|| written::share(AdjustPlan::default().performance_threshold)),
            "A backend whose peers take less than this part of its time gets less.",
        ),
        key(
            "health_threshold",
            Shape::Share,
            Absent::Is(|| written::share(AdjustPlan::default().health_threshold)),
            "A backend of whose requests a smaller share succeeds, and a smaller one than its peers', gets the least.",
        ),
        key(
            "learning",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether what earlier steps of a backend did says how boldly it is moved.",
        ),
        key(
            "policy",
            Shape::WordOr(&["on", "off"], "on", &TRIAL),
            Absent::Is(|| "off".into()),
            "Whether other policies are tried while the service does badly, and kept where they help.",
        ),
    ],
    one_of: &[],
};

/// `policy:` of `adjust:`
pub(crate) static TRIAL: Keys = Keys {
    place: "services.*.adjust.policy",
    what: "policy",
    keys: &[
        key(
            "try",
            Shape::List(&Shape::Text),
            Absent::These(TRIED),
            "Policies by their names, in this order; the service's own is passed over.",
        ),
        key(
            "threshold",
            Shape::Share,
            Absent::Is(|| written::share(TrialPlan::default().threshold)),
            "How well the service must do: below it something is tried.",
        ),
        key(
            "patience",
            Shape::Number(1, limits::TRIAL_INTERVALS),
            Absent::Is(|| TrialPlan::default().patience.to_string()),
            "After so many intervals below it in a row.",
        ),
        key(
            "lasts",
            Shape::Number(1, limits::TRIAL_INTERVALS),
            Absent::Is(|| TrialPlan::default().lasts.to_string()),
            "Intervals of one trial.",
        ),
        key(
            "gain",
            Shape::Share,
            Absent::Is(|| written::share(TrialPlan::default().gain)),
            "It stays where the service does better by so much; else the policy from before comes back.",
        ),
        key(
            "rest",
            Shape::Number(1, limits::TRIAL_INTERVALS),
            Absent::Is(|| TrialPlan::default().rest.to_string()),
            "Intervals without a trial after one that did not help; twice as many after each.",
        ),
        key(
            "most",
            Shape::Number(1, limits::TRIALS),
            Absent::Is(|| TrialPlan::default().most.to_string()),
            "Trials in all.",
        ),
    ],
    one_of: &[],
};

/// The names of those that are tried unless others are named.
const TRIED: &[&str] = &["adaptive", "least_time", "least_connections"];
