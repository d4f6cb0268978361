//! Owns what is said of one backend, in our words and in those of ALB.

use std::time::Duration;

use evenkeel_balance::breaker::Gate;
use evenkeel_balance::health::{CheckFault, CheckResult};
use evenkeel_balance::learn::window::Tally;
use evenkeel_balance::snapshot::{BackendSnapshot, LoadSnapshot};
use evenkeel_balance::standing::{Reason, Standing};
use evenkeel_balance::time::Instant;
use evenkeel_proxy::live::LiveService;
use evenkeel_proxy::observation::Distribution;

use crate::adjust::is_adjusted;

/// A backend at one moment.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its identity.
    pub id: String,
    /// May it be picked? Our word.
    pub standing: &'static str,
    /// Why: our words.
    pub reason: String,
    /// For how long.
    pub since: Duration,
    /// `InService` or `OutOfService`, as ALB says.
    pub state: &'static str,
    /// ALB's reason code, where it has one.
    pub state_reason: Option<&'static str>,
    /// Its breaker: `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// What checks say where traffic says otherwise: `passed` while the breaker is not closed, `failed` while all that the breaker counts
    /// succeeds. None: they agree, or one of them says nothing.
    pub disagreement: Option<&'static str>,
    /// The newest check: passed, its status, its latency.
    pub check: Option<(bool, Option<u16>, Duration)>,
    /// Checks by what they came to, by word; what none came to is left out.
    pub checks: Vec<(&'static str, u64)>,
    /// Attempts now.
    pub in_flight: u32,
    /// Attempts since it joined.
    pub picked: u64,
    /// Of them, those that ended, well or badly.
    pub finished: u64,
    /// Of them, those that ended without a word on how.
    pub abandoned: u64,
    /// Of them, failures.
    pub failed: u64,
    /// Sockets that are open.
    pub connections: usize,
    /// Mean time to the response head.
    pub latency: Option<Duration>,
    /// Its weight.
    pub weight: u16,
    /// Its tier.
    pub tier: u16,
    /// Where it stands. None: nobody has said.
    pub zone: Option<String>,
    /// Its adaptive limit: what holds, and what it comes to. None: the service has none.
    pub limit: Option<(u32, f64)>,
    /// The part of its weight that it has by what it does. None: its service's weights are as they are configured.
    pub factor: Option<f32>,
    /// The part of its share that the `health_based` policy trusts it with. None under other policies.
    pub trust: Option<f32>,
    /// Slow start: the share of its weight that it has, 0.1 to 1.
    pub ramp: f32,
    /// The share of attempts that it should get by weight and standing, 0 to 1.
    pub share_wanted: f64,
    /// The share of all attempts that it got since the service began, 0 to 1.
    pub share_got: f64,
    /// How long it took to its response heads. None: it is reached no more.
    pub heads: Option<Distribution>,
    /// What it reports of its load. None: the policy does not go by that.
    pub load: Option<Load>,
}

/// What a backend reports of its load, and what follows.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The utilization that counts, of the newest report.
    pub utilization: Option<f32>,
    /// How old that is. None: there was none.
    pub age: Option<Duration>,
    /// Reports since it joined.
    pub reports: u64,
    /// Times its configured weight.
    pub factor: f32,
    /// Why, by word.
    pub reason: &'static str,
}

impl From<LoadSnapshot> for Load {
    fn from(core: LoadSnapshot) -> Self {
        Self {
            utilization: core.utilization,
            age: core.age,
            reports: core.reports,
            factor: core.share.factor,
            reason: core.share.reason.word(),
        }
    }
}

/// With what is known of its sockets and checks.
pub(super) fn shown(live: &LiveService, core: &BackendSnapshot, now: Instant) -> Backend {
    let reached = live.state.reached(&core.id);
    let reached = reached.as_deref();
    Backend {
        connections: reached.map_or(0, |reached| reached.sockets.open()),
        checks: reached.map_or_else(Vec::new, |reached| reached.checks.by_result()),
        heads: reached.map(|reached| reached.heads.together()),
        since: now.since(core.since),
        factor: is_adjusted(&live.plan).then_some(core.factor),
        ..of_core(core)
    }
}

fn of_core(backend: &BackendSnapshot) -> Backend {
    let in_service = backend.standing >= Standing::Serving;
    Backend {
        id: backend.id.to_string(),
        standing: backend.standing.word(),
        reason: reason(backend.reason),
        since: Duration::ZERO,
        state: if in_service {
            "InService"
        } else {
            "OutOfService"
        },
        state_reason: (!in_service).then(|| alb_reason(backend)).flatten(),
        breaker: match backend.gate {
            Gate::Closed => "closed",
            Gate::Open => "open",
            Gate::HalfOpen => "half_open",
        },
        disagreement: disagreement(backend),
        check: backend.last_check.as_ref().map(|check| {
            (
                check.result == CheckResult::Passed,
                check.status,
                check.latency,
            )
        }),
        in_flight: backend.counts.in_flight,
        picked: backend.counts.picked,
        finished: backend.counts.finished,
        abandoned: backend.counts.abandoned,
        failed: backend.counts.failed,
        connections: 0,
        checks: Vec::new(),
        latency: backend.latency,
        weight: backend.spec.weight.get(),
        tier: backend.spec.tier,
        zone: backend.spec.zone.as_ref().map(ToString::to_string),
        limit: backend.limit.map(|limit| (limit.in_use, limit.wanted)),
        factor: None,
        trust: backend.trust,
        ramp: backend.ramp,
        share_wanted: backend.share_wanted,
        share_got: backend.share_got,
        heads: None,
        load: backend.load.map(Load::from),
    }
}

fn disagreement(backend: &BackendSnapshot) -> Option<&'static str> {
    let passed = backend.last_check.as_ref()?.result == CheckResult::Passed;
    disagrees(passed, backend.gate, backend.window)
}

fn disagrees(passed: bool, gate: Gate, traffic: Tally) -> Option<&'static str> {
    let thrives = traffic.succeeded > 0 && traffic.failed == 0;
    match passed {
        true => (gate != Gate::Closed).then_some("passed"),
        false => (gate == Gate::Closed && thrives).then_some("failed"),
    }
}

/// Why a standing is what it is, in our words.
#[must_use]
pub fn reason(reason: Reason) -> String {
    match reason {
        Reason::ChecksFailed(fault) => format!("{}: {}", reason.word(), fault_word(fault)),
        reason => reason.word().into(),
    }
}

pub(crate) fn fault_word(fault: CheckFault) -> String {
    match fault {
        CheckFault::Timeout => "timeout".into(),
        CheckFault::Refused => "refused".into(),
        CheckFault::Reset => "reset".into(),
        CheckFault::Status(status) => format!("status {status}"),
        CheckFault::Mismatch => "body_mismatch".into(),
        CheckFault::Malformed => "malformed".into(),
        CheckFault::Protocol(which, word) => format!("{which} {word}"),
        CheckFault::Other => "other".into(),
    }
}

/// The reason codes of `DescribeTargetHealth` (Elastic Load Balancing API, `TargetHealth.Reason`).
fn alb_reason(backend: &BackendSnapshot) -> Option<&'static str> {
    match (
        backend.standing,
        backend.last_check.as_ref().map(|check| check.result),
    ) {
        (Standing::Draining, _) => Some("Target.DeregistrationInProgress"),
        (Standing::Disabled, _) => Some("Target.NotInUse"),
        (_, Some(CheckResult::Failed(fault))) => Some(match fault {
            CheckFault::Timeout => "Target.Timeout",
            // To ALB a gRPC status is a response code as well.
            CheckFault::Status(_) | CheckFault::Mismatch | CheckFault::Protocol("grpc", _) => {
                "Target.ResponseCodeMismatch"
            }
            // ALB has no other word for a connection that was refused or reset.
            CheckFault::Refused
            | CheckFault::Reset
            | CheckFault::Malformed
            | CheckFault::Protocol(..)
            | CheckFault::Other => "Target.FailedHealthChecks",
        }),
        (Standing::Unproven, None) => Some("Elb.InitialHealthChecking"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_traffic_disagree_where_each_says_what_the_other_does_not() {
        let check = |passed, gate, (succeeded, failed), expect| {
            let traffic = Tally {
                succeeded,
                failed,
                ..Tally::default()
            };
            assert_eq!(
                disagrees(passed, gate, traffic),
                expect,
                "{gate:?} {traffic:?}"
            );
        };
        check(true, Gate::Closed, (3, 3), None);
        check(true, Gate::Open, (0, 9), Some("passed"));
        check(true, Gate::HalfOpen, (0, 0), Some("passed"));
        check(false, Gate::Closed, (3, 0), Some("failed"));
        check(false, Gate::Closed, (3, 1), None);
        check(false, Gate::Closed, (0, 0), None);
        check(false, Gate::Open, (3, 0), None);
    }
}
