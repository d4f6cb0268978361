//! Owns what is told of weights that follow what backends do.

use super::Facts;
use crate::adjust::{News, Turn, detail, effect, word};

pub(super) fn kind(news: &News) -> &'static str {
    match news {
        News::Adjusted(..) | News::More(..) => "adjusted",
        News::Judged(_, effect) if effect.kept => "adjustment_kept",
        News::Judged(..) => "adjustment_undone",
        News::Trial(_, Turn::Try(..)) => "policy_tried",
        News::Trial(_, Turn::Keep(..)) => "policy_kept",
        News::Trial(_, Turn::Back(..)) => "policy_put_back",
    }
}

pub(super) fn service(news: &News) -> &str {
    match news {
        News::Adjusted(service, _)
        | News::More(service, _)
        | News::Judged(service, _)
        | News::Trial(service, _) => service,
    }
}

pub(super) fn is_undone(news: &News) -> bool {
    matches!(news, News::Judged(_, effect) if !effect.kept)
}

/// Factors have three digits.
pub(super) fn facts(news: &News, facts: Facts) -> Facts {
    match news {
        News::Adjusted(_, one) => Facts {
            backend: Some(one.backend.clone()),
            from: Some(format!("{:.3}", one.old)),
            to: Some(format!("{:.3}", one.new)),
            reason: Some(word(one.why).to_owned()),
            detail: Some(detail(one.why)),
            ..facts
        },
        News::More(_, more) => facts.counting([("more", *more as u64)]),
        News::Judged(_, seen) => Facts {
            detail: Some(effect(seen)),
            ..facts
        },
        News::Trial(_, Turn::Try(policy, from) | Turn::Back(policy, from)) => Facts {
            from: Some(from.to_string()),
            to: Some(policy.to_string()),
            ..facts
        },
        News::Trial(_, Turn::Keep(policy, before, after)) => Facts {
            to: Some(policy.to_string()),
            detail: Some(format!("its score went from {before:.3} to {after:.3}")),
            ..facts
        },
    }
}
