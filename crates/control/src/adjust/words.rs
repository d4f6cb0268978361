//! Owns the words of what became of weights: reasons, sentences, lines of the log.

use evenkeel_watch::controller::{Effect, Frozen, Why};
use tracing::{info, warn};

use super::{News, Turn};

/// Why a weight was moved, in a word.
#[must_use]
pub const fn word(why: Why) -> &'static str {
    match why {
        Why::Slower(_) => "slower",
        Why::Faster(_) => "faster",
        Why::FailsMore(_) => "fails_more",
        Why::Recovers => "recovers",
        Why::Undone => "undone",
    }
}

/// The figure of why a weight was moved, where it has one.
#[must_use]
pub const fn value(why: Why) -> Option<f64> {
    match why {
        Why::Slower(times) | Why::Faster(times) => Some(times),
        Why::FailsMore(share) => Some(share),
        Why::Recovers | Why::Undone => None,
    }
}

/// Why nothing was moved, or not more, in a word.
#[must_use]
pub const fn frozen_word(why: Frozen) -> &'static str {
    match why {
        Frozen::Thin => "thin",
        Frozen::EverythingBad => "everything_bad",
        Frozen::Membership => "membership",
        Frozen::Undone => "undone",
        Frozen::CapacityFloor => "capacity_floor",
        Frozen::TooMany => "too_many",
    }
}

/// The same with its figures, for people.
pub(crate) fn detail(why: Why) -> String {
    match why {
        Why::Slower(times) => format!("it takes {times:.2} times as long as its peers"),
        Why::Faster(part) => format!("it takes {part:.2} of the time of its peers"),
        Why::FailsMore(share) => {
            let percent = share * 100.0;
            format!("{percent:.1} % more of its requests fail than of its peers'")
        }
        Why::Recovers => "it is as its peers are again".to_owned(),
        Why::Undone => "the step before made it worse for those who got more".to_owned(),
    }
}

/// What a step did, for people.
pub(crate) fn effect(effect: &Effect) -> String {
    let milliseconds = |seconds: Option<f64>| {
        seconds.map_or_else(
            || "unknown".to_owned(),
            |one| format!("{:.1} ms", one * 1e3),
        )
    };
    format!(
        "for those who got more, the 99th percentile went from {} to {}, and failures from {:.2} % to {:.2} %",
        milliseconds(effect.p99_before),
        milliseconds(effect.p99_after),
        effect.errors_before * 100.0,
        effect.errors_after * 100.0
    )
}

/// Logs that another policy could not be had.
pub(crate) fn untried(service: &str, why: &str) {
    warn!(service, why, "policy cannot be tried");
}

/// Logs it.
pub(crate) fn told(news: &News) {
    match news {
        News::Adjusted(service, one) => info!(
            service = &**service,
            backend = one.backend,
            old = one.old,
            new = one.new,
            reason = word(one.why),
            detail = detail(one.why),
            "weight is adjusted"
        ),
        News::More(service, more) => {
            info!(service = &**service, more, "more weights are adjusted");
        }
        News::Judged(service, seen) => {
            let (service, detail) = (&**service, effect(seen));
            if seen.kept {
                info!(service, detail, "adjusted weights stay");
            } else {
                warn!(service, detail, "adjusted weights are put back");
            }
        }
        News::Trial(service, turn) => {
            let service = &**service;
            match turn {
                Turn::Try(policy, from) => {
                    info!(
                        service,
                        policy = &**policy,
                        from = &**from,
                        "policy is tried"
                    );
                }
                Turn::Keep(policy, before, after) => {
                    info!(
                        service,
                        policy = &**policy,
                        before,
                        after,
                        "policy that was tried stays"
                    );
                }
                Turn::Back(policy, from) => {
                    info!(
                        service,
                        policy = &**policy,
                        from = &**from,
                        "policy that was tried did not help"
                    );
                }
            }
        }
    }
}
