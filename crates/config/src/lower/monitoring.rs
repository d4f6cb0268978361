//! Owns `monitoring:` and `adjust:` of a service.

use evenkeel_balance::policy::named;
use evenkeel_balance::settings::PolicyChoice;

use crate::keys::{ADJUST, MONITORING, THRESHOLDS, TRIAL};
use crate::limits;
use crate::nearest::nearest;
use crate::plan::{AdjustPlan, Metric, MonitoringPlan, ThresholdPlan, TrialPlan};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// How the service is watched, if it is.
pub(super) fn read(fields: &Fields<'_>) -> Option<MonitoringPlan> {
    let reading = fields.reading;
    let Some(node) = fields.get("monitoring") else {
        return Some(MonitoringPlan::default());
    };
    if !matches!(node.value, Value::Map(_)) {
        let is_on = fields.word("monitoring") == Some("on");
        return is_on.then(MonitoringPlan::default);
    }
    let map = reading.map(node, &MONITORING)?;
    let mut plan = MonitoringPlan::default();
    map.set("metrics", metrics, &mut plan.metrics);
    map.set("objective", objective, &mut plan.objective);
    for (key, place) in [
        ("anomalies", &mut plan.anomalies),
        ("alerting", &mut plan.alerting),
        ("recommendations", &mut plan.recommendations),
    ] {
        map.set(key, Reading::boolean, place);
    }
    if let Some(limits) = map.map("thresholds", &THRESHOLDS) {
        plan.thresholds = thresholds(limits, &plan.metrics);
    }
    map.done();
    Some(plan)
}

/// Those that are named, in our order.
fn metrics(reading: &Reading, node: &Node) -> Option<Vec<Metric>> {
    let mut all = Vec::new();
    for item in reading.items(node) {
        let metric = reading.parsed(item, "metric", metric)?;
        if all.contains(&metric) {
            let message = format!("`{}` stands here twice", metric.name());
            reading.error(item.at, "duplicate_name", message);
        }
        all.push(metric);
    }
    if all.is_empty() {
        let message = "no metric is named; `monitoring: off` measures nothing";
        reading.error(node.at, "range", message);
    }
    all.sort_unstable();
    Some(all)
}

/// The one of this name.
pub(super) fn metric(text: &Scalar) -> Result<Metric, String> {
    let names = Metric::ALL.map(Metric::name);
    let named = |metric: &Metric| metric.name() == text.value();
    Metric::ALL.into_iter().find(named).ok_or_else(|| {
        let meant = nearest(names, text.value());
        let meant = meant.map(|name| format!("; did you mean `{name}`?"));
        format!(
            "`{text}` is no metric{} There are `{}`",
            meant.unwrap_or_else(|| ".".into()),
            names.join("`, `")
        )
    })
}

/// A share below 1, or nothing could ever fail.
fn objective(reading: &Reading, node: &Node) -> Option<Option<f64>> {
    let share = reading.share(node)?;
    if share <= 0.0 || share >= 1.0 {
        let message = "an objective lies between 0% and 100%: of all that succeeds there is no budget of errors";
        reading.error(node.at, "range", message);
        return None;
    }
    Some(Some(share))
}

/// Those that are set, of what is measured.
fn thresholds(map: Fields<'_>, measured: &[Metric]) -> Vec<ThresholdPlan> {
    let reading = map.reading;
    let mut all = Vec::new();
    for metric in Metric::ALL {
        let Some(node) = map.get(metric.name()) else {
            continue;
        };
        let (limit, senseless) = match metric {
            Metric::ResponseTime => {
                let limit = reading.wait(node).map(|limit| limit.as_secs_f64());
                (limit, None)
            }
            Metric::Throughput => {
                let limit = reading.rate(node).map(f64::from);
                (limit, Some((0.0, "nothing is fewer than `0/s`")))
            }
            Metric::ErrorRate => {
                let limit = reading.share(node);
                (limit, Some((1.0, "nothing fails more than all of it")))
            }
            Metric::Availability => {
                let limit = reading.share(node);
                (limit, Some((0.0, "nothing is there less than never")))
            }
        };
        let Some(limit) = limit else { continue };
        if let Some((never, why)) = senseless
            && limit.to_bits() == f64::to_bits(never)
        {
            let message = format!("it is never reached: {why}");
            reading.error(node.at, "range", message);
        }
        if !measured.contains(&metric) {
            let name = metric.name();
            let message = format!("`{name}` is not among `metrics`, and nobody measures it");
            reading.error(node.at, "metric", message);
        }
        all.push(ThresholdPlan { metric, limit });
    }
    map.done();
    all
}

/// How its weights follow what backends do, if they do. `policy` is its own.
pub(super) fn adjust(fields: &Fields<'_>, policy: &PolicyChoice) -> Option<AdjustPlan> {
    let (reading, node) = (fields.reading, fields.get("adjust")?);
    if !matches!(node.value, Value::Map(_)) {
        let is_on = fields.word("adjust") == Some("on");
        return is_on.then(AdjustPlan::default);
    }
    let map = reading.map(node, &ADJUST)?;
    let mut plan = AdjustPlan::default();
    map.set("interval", Reading::wait, &mut plan.interval);
    if let Some(node) = map.get("interval")
        && !limits::ADJUST_EVERY_RANGE.contains(&plan.interval)
    {
        let message = "weights are looked at every 1s to 1h";
        reading.error(node.at, "range", message);
    }
    map.set(
        "performance_threshold",
        Reading::share,
        &mut plan.performance_threshold,
    );
    map.set(
        "health_threshold",
        Reading::share,
        &mut plan.health_threshold,
    );
    map.set("learning", Reading::boolean, &mut plan.learning);
    plan.policy = trial(&map);
    let tried = map.get("policy").filter(|_| plan.policy.is_some());
    if let Some(node) = tried.filter(|_| policy.is_keyed()) {
        let message = "no other policy is tried where keys find their backends by `hash`: they would go elsewhere";
        reading.error(node.at, "policy", message);
    }
    map.done();
    Some(plan)
}

/// `policy:` of `adjust:`
fn trial(fields: &Fields<'_>) -> Option<TrialPlan> {
    let (reading, node) = (fields.reading, fields.get("policy")?);
    if !matches!(node.value, Value::Map(_)) {
        let is_on = fields.word("policy") == Some("on");
        return is_on.then(TrialPlan::default);
    }
    let map = reading.map(node, &TRIAL)?;
    let mut plan = TrialPlan::default();
    map.set("try", tried, &mut plan.policies);
    map.set("threshold", Reading::share, &mut plan.threshold);
    map.set_number("patience", &mut plan.patience);
    map.set_number("lasts", &mut plan.lasts);
    map.set("gain", Reading::share, &mut plan.gain);
    map.set_number("rest", &mut plan.rest);
    map.set_number("most", &mut plan.most);
    map.done();
    Some(plan)
}

/// Policies that any service may have as it stands.
fn tried(reading: &Reading, node: &Node) -> Option<Vec<PolicyChoice>> {
    let what = format!("{} policies to try", limits::TRIED_MOST);
    let items = reading.first(
        reading.items(node),
        limits::TRIED_MOST,
        |item| item.at,
        &what,
    );
    let mut all: Vec<PolicyChoice> = Vec::new();
    for item in items {
        let policy = reading.parsed(item, "policy", |text| {
            let policy = named::built_in(text.value());
            let policy = policy.ok_or_else(|| super::policy::unknown(text))?;
            if policy.is_keyed() || matches!(policy, PolicyChoice::WeightedByLoad) {
                return Err(format!(
                    "`{text}` is not tried: it needs what a service has to be given for it, keys or reports"
                ));
            }
            Ok(policy)
        })?;
        if all.iter().any(|other| other.is_same(&policy)) {
            let message = format!("`{}` stands here twice", policy.name());
            reading.error(item.at, "duplicate_name", message);
        }
        all.push(policy);
    }
    if all.is_empty() {
        let message = "no policy is named; `policy: off` tries none";
        reading.error(node.at, "range", message);
    }
    Some(all)
}
