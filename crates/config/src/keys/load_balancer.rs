//! Owns the keys of `load_balancer:`, which are another system's words: each becomes keys of services.

use super::{Absent, Keys, Shape, key};

/// `load_balancer:`
pub(crate) static LOAD_BALANCER: Keys = Keys {
    place: "load_balancer",
    what: "load_balancer",
    keys: &[
        key(
            "algorithm",
            Shape::Text,
            Absent::Nothing,
            "`policy`, by any of its names, or by that of a policy that the program registered.",
        ),
        key(
            "health_checking",
            Shape::Boolean,
            Absent::Nothing,
            "`health`, by connections where a service says nothing else; `false`: no checks, and no `breaker`, so that whoever fails is picked all the same.",
        ),
        key(
            "dynamic_adjustment",
            Shape::Switch(&DYNAMIC),
            Absent::Nothing,
            "`adjust`.",
        ),
        key(
            "failover",
            Shape::Boolean,
            Absent::Nothing,
            "`false`: `retry: off`, `tiers: first` and `on_all_down: fail_closed`, so that who fails is an error.",
        ),
        key(
            "performance_monitoring",
            Shape::Switch(&MEASURED),
            Absent::Nothing,
            "`monitoring`.",
        ),
        key(
            "health_monitoring",
            Shape::Map(&CHECKING),
            Absent::Nothing,
            "How often and how long is checked, and what follows.",
        ),
        key(
            "performance",
            Shape::Map(&PERFORMANCE),
            Absent::Nothing,
            "How long an exchange may take; the rest is always so.",
        ),
        key(
            "quality",
            Shape::Map(&QUALITY),
            Absent::Nothing,
            "Whether there is failover; the rest is always so.",
        ),
    ],
    one_of: &[],
};

/// `health_monitoring:`
pub(crate) static CHECKING: Keys = Keys {
    place: "load_balancer.health_monitoring",
    what: "health_monitoring",
    keys: &[
        key(
            "check_interval",
            Shape::Text,
            Absent::Nothing,
            "`health.interval`; a number is milliseconds.",
        ),
        key(
            "timeout",
            Shape::Text,
            Absent::Nothing,
            "`health.timeout`; a number is milliseconds.",
        ),
        key(
            "failure_threshold",
            Shape::Number(1, 1000),
            Absent::Nothing,
            "`health.fall`.",
        ),
        key(
            "recovery_threshold",
            Shape::Number(1, 1000),
            Absent::Nothing,
            "`health.rise`.",
        ),
        key(
            "alerting",
            Shape::Boolean,
            Absent::Nothing,
            "`monitoring.alerting`; where `performance_monitoring` is off, of `availability` alone.",
        ),
        key(
            "recovery_management",
            Shape::Boolean,
            Absent::Nothing,
            "`slow_start`: its default, or none.",
        ),
    ],
    one_of: &[],
};

/// `performance_monitoring:`
pub(crate) static MEASURED: Keys = Keys {
    place: "load_balancer.performance_monitoring",
    what: "performance_monitoring",
    keys: &[
        key(
            "enabled",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether it holds; what the same key says without a map.",
        ),
        key(
            "metrics",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "`monitoring.metrics`.",
        ),
        key(
            "thresholds",
            Shape::List(&Shape::Map(&WATCHED)),
            Absent::Nothing,
            "`monitoring.thresholds`.",
        ),
        key(
            "alerting",
            Shape::Boolean,
            Absent::Nothing,
            "`monitoring.alerting`.",
        ),
        key(
            "optimization",
            Shape::Boolean,
            Absent::Nothing,
            "`monitoring.recommendations`.",
        ),
    ],
    one_of: &[],
};

/// `thresholds:`, all in one map, or each in one.
pub(crate) static WATCHED: Keys = Keys {
    place: "load_balancer.performance_monitoring.thresholds",
    what: "thresholds",
    keys: &[
        key(
            "response_time",
            Shape::Text,
            Absent::Nothing,
            "A duration; a number is milliseconds.",
        ),
        key(
            "throughput",
            Shape::Text,
            Absent::Nothing,
            "A rate, like `1000/s`; a number is a second's.",
        ),
        key(
            "error_rate",
            Shape::Text,
            Absent::Nothing,
            "A percentage; a number is a part of 1.",
        ),
        key(
            "availability",
            Shape::Text,
            Absent::Nothing,
            "A percentage; a number is a part of 1.",
        ),
        key(
            "metric",
            Shape::Text,
            Absent::Nothing,
            "In a list: whose `value` it is.",
        ),
        key(
            "value",
            Shape::Text,
            Absent::Nothing,
            "In a list: as those above.",
        ),
    ],
    one_of: &[],
};

/// `dynamic_adjustment:`
pub(crate) static DYNAMIC: Keys = Keys {
    place: "load_balancer.dynamic_adjustment",
    what: "dynamic_adjustment",
    keys: &[
        key(
            "enabled",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether it holds; what the same key says without a map.",
        ),
        key(
            "adjustment_interval",
            Shape::Text,
            Absent::Nothing,
            "`adjust.interval`; a number is milliseconds.",
        ),
        key(
            "performance_threshold",
            Shape::Text,
            Absent::Nothing,
            "`adjust.performance_threshold`; a number is a part of 1.",
        ),
        key(
            "health_threshold",
            Shape::Text,
            Absent::Nothing,
            "`adjust.health_threshold`; a number is a part of 1.",
        ),
        key(
            "learning",
            Shape::Boolean,
            Absent::Nothing,
            "`adjust.learning`.",
        ),
    ],
    one_of: &[],
};

/// `performance:`
pub(crate) static PERFORMANCE: Keys = Keys {
    place: "load_balancer.performance",
    what: "performance",
    keys: &[
        key(
            "timeout",
            Shape::Text,
            Absent::Nothing,
            "`timeouts.exchange`, all attempts together; a number is milliseconds.",
        ),
        key(
            "caching",
            Shape::Boolean,
            Absent::Nothing,
            "Switches nothing.",
        ),
        key(
            "parallel_processing",
            Shape::Boolean,
            Absent::Nothing,
            "Switches nothing.",
        ),
        key(
            "optimization",
            Shape::Boolean,
            Absent::Nothing,
            "Switches nothing.",
        ),
    ],
    one_of: &[],
};

/// `quality:`
pub(crate) static QUALITY: Keys = Keys {
    place: "load_balancer.quality",
    what: "quality",
    keys: &[
        key(
            "error_recovery",
            Shape::Boolean,
            Absent::Nothing,
            "Switches nothing.",
        ),
        key(
            "failover_support",
            Shape::Boolean,
            Absent::Nothing,
            "The same as `failover`; an error where that says otherwise.",
        ),
        key(
            "quality_metrics",
            Shape::Boolean,
            Absent::Nothing,
            "Switches nothing.",
        ),
        key(
            "learning",
            Shape::Boolean,
            Absent::Nothing,
            "Switches nothing.",
        ),
    ],
    one_of: &[],
};
