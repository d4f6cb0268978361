//! Owns which exchanges are recorded: a share of them, and those whose client shows the token of somebody who may ask.
//!
//! The field that asks never goes on, wherever it comes from: `wire` has it among those that are meant for the proxy alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_config::Plan;
use evenkeel_config::plan::admin::{AdminPlan, Area, Verb};
use evenkeel_wire::RequestHead;
use evenkeel_wire::known::Known;

use crate::tls::digest::{is_same, sha256};

/// The longest token that is looked at.
const TOKEN_MOST: usize = 256;

/// Of so many exchanges a share is said.
const WHOLE: u64 = 1_000_000;

/// Which exchanges of a plan are recorded, and under which revision it runs.
#[derive(Debug)]
pub struct Scope {
    wanted: Option<Box<Wanted>>,
    /// 0: it has none yet.
    revision: AtomicU64,
}

impl Scope {
    pub(crate) fn of(plan: &Plan) -> Self {
        let traces = plan.traces.as_ref().map(|traces| Draw(traces.share.into()));
        Self {
            wanted: Wanted::of(&plan.admin, traces),
            revision: AtomicU64::new(0),
        }
    }

    /// None: none are.
    #[inline]
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_deref()
    }

    /// It runs as the revision of this number from now on.
    pub fn revise(&self, number: u64) {
        self.revision.store(number, Ordering::Relaxed);
    }

    pub(crate) fn revision(&self) -> Option<u64> {
        Some(self.revision.load(Ordering::Relaxed)).filter(|number| *number > 0)
    }
}

/// Who may ask for records.
#[derive(Debug)]
struct Holder {
    sha256: [u8; 32],
    name: Arc<str>,
    until: Option<Duration>,
}

/// Which exchanges are recorded.
#[derive(Debug)]
pub(crate) struct Wanted {
    share: Draw,
    holders: Box<[Holder]>,
    traces: Option<Draw>,
}

/// So many of [`WHOLE`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// Whether one that drew this is among them.
    pub(crate) fn draws(self, chance: impl FnOnce() -> u64) -> bool {
        self.0 > 0 && chance() % WHOLE < self.0
    }
}

impl Wanted {
    /// As it is planned. None: none are.
    pub(crate) fn of(plan: &AdminPlan, traces: Option<Draw>) -> Option<Box<Self>> {
        let tokens = plan.tokens.iter().filter(|_| plan.records.header);
        let tokens = tokens.flat_map(|file| &file.tokens);
        let may = tokens.filter(|one| one.holder.scopes.has(Area::Decisions, Verb::Read));
        let wanted = Self {
            traces,
            share: Draw(plan.records.share.into()),
            holders: may
                .map(|one| Holder {
                    sha256: one.sha256,
                    name: one.holder.name.clone(),
                    until: one.holder.until,
                })
                .collect(),
        };
        let any = wanted.share.0 > 0 || !wanted.holders.is_empty() || traces.is_some();
        any.then(|| Box::new(wanted))
    }

    /// Whether one that drew this is recorded.
    pub(crate) fn draws(&self, chance: impl FnOnce() -> u64) -> bool {
        self.share.draws(chance)
    }

    /// Which of those that nobody has decided of are traced. None: none are, whoever says so.
    pub(crate) const fn traces(&self) -> Option<Draw> {
        self.traces
    }

    /// What a client shows who asks. Two that differ would be read differently by others, and are none.
    pub(crate) fn shown<'r>(&self, request: &'r RequestHead) -> Option<&'r [u8]> {
        if self.holders.is_empty() {
            return None;
        }
        let mut shown = request.fields().filter(|one| one.known == Known::Explain);
        let first = shown.next()?.value;
        Some(if shown.next().is_some() { b"" } else { first })
    }

    /// Whose token it is, at this time since 1970. Cost: a digest, and a look at each holder, whoever it is.
    pub(crate) fn holder(&self, token: &[u8], now: Duration) -> Option<&Arc<str>> {
        if !(1..=TOKEN_MOST).contains(&token.len()) {
            return None;
        }
        let digest = sha256(token);
        // No early end: how long it takes says nothing of where in the list, or whether, it was found.
        let found =
            self.holders
                .iter()
                .fold(None, |found, one| match is_same(&one.sha256, &digest) {
                    true => Some(one),
                    false => found,
                });
        let found = found.filter(|one| one.until.is_none_or(|until| now < until));
        found.map(|one| &one.name)
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_config::plan::admin::{HolderPlan, RecordsPlan, Scopes, TokenPlan, TokensPlan};
    use evenkeel_config::plan::tls::Material;
    use evenkeel_config::problem::At;
    use evenkeel_wire::http1::request::{PathForm, parse};
    use evenkeel_wire::http1::{HeadEnd, HeadLimits};

    use super::*;

    fn plan(records: RecordsPlan) -> AdminPlan {
        let token = |name: &str, area: Area, until: Option<u64>| TokenPlan {
            sha256: sha256(name.as_bytes()),
            holder: HolderPlan {
                name: name.into(),
                scopes: Scopes::NONE.with(area, Verb::Read),
                until: until.map(Duration::from_secs),
            },
        };
        AdminPlan {
            tokens: Some(TokensPlan {
                file: Material {
                    path: "tokens.yaml".into(),
                    bytes: Arc::from(&b""[..]),
                    at: At {
                        file: 0,
                        line: 1,
                        column: 1,
                        length: 1,
                    },
                },
                tokens: vec![
                    token("one", Area::Decisions, None),
                    token("late", Area::Decisions, Some(100)),
                    token("other", Area::Health, None),
                ],
            }),
            records,
            ..AdminPlan::default()
        }
    }

    fn request(fields: &str) -> RequestHead {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::new();
        let limits = HeadLimits::default();
        let read = parse(
            text.as_bytes(),
            &mut HeadEnd::default(),
            &limits,
            PathForm::Normalize,
            &mut head,
        );
        assert!(matches!(read, Ok(Some(_))), "{fields}");
        head
    }

    #[test]
    fn what_nobody_wants_costs_nothing() {
        let off = RecordsPlan::default();
        assert!(Wanted::of(&plan(off), None).is_none());
        // Nobody could ask.
        let header = RecordsPlan {
            header: true,
            ..off
        };
        assert!(
            Wanted::of(
                &AdminPlan {
                    tokens: None,
                    ..plan(header)
                },
                None
            )
            .is_none()
        );
        let quarter = RecordsPlan {
            share: 250_000,
            ..off
        };
        let share = Wanted::of(&plan(quarter), None);
        let share = share.unwrap();
        let drawn = (0..WHOLE).filter(|chance| share.draws(|| *chance)).count();
        assert_eq!(drawn, 250_000);
        let asked = request("X-Evenkeel-Explain: one\r\n");
        assert_eq!(share.shown(&asked), None);
    }

    #[test]
    fn who_may_ask_is_known_by_a_token() {
        let header = RecordsPlan {
            share: 0,
            header: true,
        };
        let wanted = Wanted::of(&plan(header), None).unwrap();
        assert!(!wanted.draws(|| 0));
        let asks = |fields: &str, now: u64| {
            let head = request(fields);
            let shown = wanted.shown(&head);
            shown.map(|token| {
                let holder = wanted.holder(token, Duration::from_secs(now));
                holder.map(|name| name.to_string())
            })
        };
        let some = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(asks("", 1), None);
        assert_eq!(asks("X-Evenkeel-Explain: one\r\n", 1), some("one"));
        assert_eq!(asks("x-evenkeel-explain: late\r\n", 99), some("late"));
        assert_eq!(asks("x-evenkeel-explain: late\r\n", 100), Some(None));
        // Known, and may not.
        assert_eq!(asks("X-Evenkeel-Explain: other\r\n", 1), Some(None));
        assert_eq!(asks("X-Evenkeel-Explain: on\r\n", 1), Some(None));
        assert_eq!(asks("X-Evenkeel-Explain:\r\n", 1), Some(None));
        let long = format!("X-Evenkeel-Explain: {}\r\n", "a".repeat(257));
        assert_eq!(asks(&long, 1), Some(None));
        let twice = "X-Evenkeel-Explain: one\r\nX-Evenkeel-Explain: x\r\n";
        assert_eq!(asks(twice, 1), Some(None));
    }
}
