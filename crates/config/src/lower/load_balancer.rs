//! Owns `load_balancer:`, the configuration of a message balancer in that system's own words: what it says becomes keys of all services
//! that say nothing else, in the trees, before anything is made of them. So readers, `config show` and changes know native keys alone.
//!
//! What its documents have that cannot be switched here is said in a warning, never passed over.

use std::borrow::Cow;
use std::time::Duration;

use evenkeel_balance::policy::named;
use evenkeel_balance::settings::ServiceSettings;

use super::monitoring::metric;
use super::policy;
use crate::keys::{
    CHECKING, DYNAMIC, Keys, LOAD_BALANCER, MEASURED, PERFORMANCE, QUALITY, WATCHED, written,
};
use crate::limits::{self, ServiceLimits};
use crate::plan::Metric;
use crate::problem::At;
use crate::read::{Fields, Reading};
use crate::tree::{Key, LOAD_BALANCER as KEY, Node, Value};
use laid::Laid;
use words::{millis, often, part};

/// Keys and values below what services say.
mod laid;

/// Values in that system's units.
mod words;

/// The trees without it, and with what it says.
pub(crate) fn expanded<'t>(trees: &'t [Node], reading: &Reading) -> Cow<'t, [Node]> {
    let has_it = |tree: &Node| matches!(&tree.value, Value::Map(all) if all.iter().any(is_it));
    if !trees.iter().any(has_it) {
        return Cow::Borrowed(trees);
    }
    let mut trees = trees.to_vec();
    let (mut laid, mut seen) = (Laid::default(), None);
    for tree in &mut trees {
        let Value::Map(all) = &mut tree.value else {
            continue;
        };
        let Some(at) = all.iter().position(is_it) else {
            continue;
        };
        let (key, node) = all.remove(at);
        if let Some(earlier) = seen.replace(key.at) {
            let message = format!("`{KEY}` is set in two files; leave one of them");
            reading.error_with(key.at, "set_twice", message, earlier);
        } else if let Some(map) = reading.map(&node, &LOAD_BALANCER) {
            laid = read(map);
        }
    }
    for tree in &mut trees {
        let Value::Map(all) = &mut tree.value else {
            continue;
        };
        let services = all.iter_mut().filter(|(key, _)| key.text == "services");
        for (_, services) in services {
            let Value::Map(services) = &mut services.value else {
                continue;
            };
            for (_, service) in services {
                if let Value::Map(entries) = &mut service.value {
                    laid.below(entries);
                }
            }
        }
    }
    Cow::Owned(trees)
}

fn is_it((key, _): &(Key, Node)) -> bool {
    key.text == KEY
}

fn read(map: Fields<'_>) -> Laid {
    let mut laid = Laid::default();
    algorithm(&map, &mut laid);
    let alerting = health(&map, &mut laid);
    monitoring(&map, alerting, &mut laid);
    adjust(&map, &mut laid);
    performance(&map, &mut laid);
    quality(&map, &mut laid);
    map.done();
    laid
}

fn algorithm(map: &Fields<'_>, laid: &mut Laid) {
    let (reading, Some(node)) = (map.reading, map.get("algorithm")) else {
        return;
    };
    let Some(text) = reading.text(node) else {
        return;
    };
    if named::built_in(text.value()).is_some() {
        laid.put(&["policy"], node.clone(), &[]);
    } else if reading.policies().own(text.value()).is_some() {
        laid.put(&["policy", "custom"], node.clone(), &[&["policy"]]);
    } else {
        reading.error(node.at, "policy", policy::unknown(&text));
    }
}

/// What `health_monitoring` says of alerts, and where.
fn health(map: &Fields<'_>, laid: &mut Laid) -> Option<(At, bool)> {
    let checks = map.with("health_checking", said);
    if let Some((at, false)) = checks {
        laid.say(&["breaker"], at, "off");
    }
    let settings = map.map("health_monitoring", &CHECKING);
    let at = settings.as_ref().map(|settings| settings.at);
    let is_off = matches!(checks, Some((_, false)));
    if let Some(at) = checks.map(|(at, _)| at).or(at)
        && !is_off
    {
        let tcp = Node {
            at,
            value: Value::Map(Vec::new()),
        };
        let others: &[&[&str]] = &[&["health", "http"], &["health", "grpc"]];
        laid.put(&["health", "tcp"], tcp, others);
    }
    let settings = settings?;
    let reading = settings.reading;
    let mut checked = Laid::default();
    let into = if is_off { &mut checked } else { &mut *laid };
    let most = Duration::from_secs(86_400);
    let interval = (Duration::from_millis(10), most);
    period(
        &settings,
        "check_interval",
        interval,
        &["health", "interval"],
        into,
    );
    let timeout = (Duration::from_millis(1), most);
    period(&settings, "timeout", timeout, &["health", "timeout"], into);
    for (key, path) in [
        ("failure_threshold", &["health", "fall"]),
        ("recovery_threshold", &["health", "rise"]),
    ] {
        if let (Some(node), Some(count)) = (settings.get(key), settings.number::<u64>(key)) {
            into.say(path, node.at, &count.to_string());
        }
    }
    if is_off {
        let message = "nobody is checked: `health_checking` is `false`, and nothing comes of this";
        reading.warning(settings.at, "health_checking", message);
    }
    if let Some((at, managed)) = settings.with("recovery_management", said) {
        let start = match managed {
            true => ServiceSettings::default().slow_start,
            false => Duration::ZERO,
        };
        laid.say(&["slow_start"], at, &written::duration(start));
    }
    let alerting = settings.with("alerting", said);
    settings.done();
    alerting
}

/// Where limits stand.
const LIMITS: &[&[&str]] = &[&["monitoring", "thresholds"]];

fn monitoring(map: &Fields<'_>, health: Option<(At, bool)>, laid: &mut Laid) {
    let switch = switch(map, "performance_monitoring", &MEASURED);
    let Some((at, is_on, settings)) = switch else {
        if let Some((at, alerting)) = health {
            laid.say(&["monitoring", "alerting"], at, &alerting.to_string());
        }
        return;
    };
    let mut measured = Laid::default();
    let into = if is_on { &mut *laid } else { &mut measured };
    let own = settings.and_then(|settings| of_metrics(settings, into));
    if !is_on {
        match health {
            Some((at, true)) => {
                let only = Metric::Availability.name();
                laid.say_unless(&["monitoring", "metrics"], at, only, LIMITS);
                laid.say(&["monitoring", "anomalies"], at, "false");
                laid.say(&["monitoring", "recommendations"], at, "false");
            }
            _ => laid.say(&["monitoring"], at, "off"),
        }
        return;
    }
    let alerting = match (own, health) {
        (Some((at, own)), Some((other, health))) if own != health => {
            let message = "alerts are told of all or of nothing, and here they are: the other `alerting` says otherwise than this";
            let quiet = if own { other } else { at };
            map.reading.warning(quiet, "alerting", message);
            Some((at, true))
        }
        (own, health) => own.or(health),
    };
    if let Some((at, alerting)) = alerting {
        laid.say(&["monitoring", "alerting"], at, &alerting.to_string());
    }
}

/// What `performance_monitoring` says of alerts, and where.
fn of_metrics(settings: Fields<'_>, laid: &mut Laid) -> Option<(At, bool)> {
    let reading = settings.reading;
    let mut measured = Vec::from(Metric::ALL);
    if let Some(node) = settings.get("metrics") {
        let mut items = Vec::new();
        measured.clear();
        for item in reading.items(node) {
            let Some(metric) = reading.parsed(item, "metric", metric) else {
                continue;
            };
            if measured.contains(&metric) {
                let message = format!("`{}` stands here twice", metric.name());
                reading.error(item.at, "duplicate_name", message);
                continue;
            }
            measured.push(metric);
            items.push(Node::text(item.at, metric.name()));
        }
        let list = Node {
            at: node.at,
            value: Value::List(items),
        };
        if reading.items(node).is_empty() {
            reading.error(node.at, "range", "no metric is named");
        } else if !measured.is_empty() {
            // Who has limits of its own says by them what is measured.
            laid.put(&["monitoring", "metrics"], list, LIMITS);
        }
    }
    if let Some(node) = settings.get("thresholds") {
        for item in reading.items(node) {
            if let Some(map) = reading.map(item, &WATCHED) {
                thresholds(map, &measured, laid);
            }
        }
    }
    let recommends = settings.with("optimization", said);
    if let Some((at, recommends)) = recommends {
        let path = &["monitoring", "recommendations"];
        laid.say(path, at, &recommends.to_string());
    }
    let alerting = settings.with("alerting", said);
    settings.done();
    alerting
}

/// `{ response_time: 100ms, error_rate: 1% }`, or one as `{ metric: response_time, value: 100 }`.
fn thresholds(map: Fields<'_>, measured: &[Metric], laid: &mut Laid) {
    let reading = map.reading;
    let mut listed = None;
    let all = Metric::ALL.map(|metric| map.get(metric.name()).map(|node| (metric, node)));
    if let Some(one) = map.get("metric") {
        let value = map.get("value");
        if value.is_none() {
            let message = "`value` is missing: what its limit is";
            reading.error(map.at, "missing", message);
        }
        let metric = reading.parsed(one, "metric", metric);
        listed = metric.zip(value);
    } else if let Some(value) = map.get("value") {
        let message = "`metric` is missing: whose limit it is";
        reading.error(value.at, "missing", message);
    }
    for (metric, node) in all.into_iter().flatten().chain(listed) {
        if !measured.contains(&metric) {
            let name = metric.name();
            let message = format!("`{name}` is not among `metrics`, and nobody measures it");
            reading.error(node.at, "metric", message);
            continue;
        }
        let path: &[&str] = match metric {
            Metric::ResponseTime => &["monitoring", "thresholds", "response_time"],
            Metric::Throughput => &["monitoring", "thresholds", "throughput"],
            Metric::ErrorRate => &["monitoring", "thresholds", "error_rate"],
            Metric::Availability => &["monitoring", "thresholds", "availability"],
        };
        let text = match metric {
            Metric::ResponseTime => {
                reading.parsed(node, "duration", |text| millis(text).map(written::duration))
            }
            Metric::Throughput => reading.parsed(node, "rate", often),
            Metric::ErrorRate | Metric::Availability => reading.parsed(node, "percentage", part),
        };
        if let Some(text) = text {
            // Who says what is measured need not measure this.
            let unless: &[&[&str]] = &[&["monitoring", "metrics"]];
            laid.say_unless(path, node.at, &text, unless);
        }
    }
    map.done();
}

fn adjust(map: &Fields<'_>, laid: &mut Laid) {
    let Some((at, is_on, settings)) = switch(map, "dynamic_adjustment", &DYNAMIC) else {
        return;
    };
    let mut unheard = Laid::default();
    let into = if is_on { &mut *laid } else { &mut unheard };
    match &settings {
        _ if !is_on => {}
        None => into.say(&["adjust"], at, "on"),
        // All its keys may be absent.
        Some(settings) => {
            let empty = Node {
                at: settings.at,
                value: Value::Map(Vec::new()),
            };
            into.put(&["adjust"], empty, &[]);
        }
    }
    if let Some(settings) = settings {
        let (least, most) = limits::ADJUST_EVERY_RANGE.into_inner();
        let path = &["adjust", "interval"];
        period(&settings, "adjustment_interval", (least, most), path, into);
        for (key, path) in [
            (
                "performance_threshold",
                &["adjust", "performance_threshold"],
            ),
            ("health_threshold", &["adjust", "health_threshold"]),
        ] {
            let read = |reading: &Reading, node: &Node| {
                let text = reading.parsed(node, "percentage", part)?;
                Some((node.at, text))
            };
            if let Some((at, text)) = settings.with(key, read) {
                into.say(path, at, &text);
            }
        }
        if let Some((at, learning)) = settings.with("learning", said) {
            into.say(&["adjust", "learning"], at, &learning.to_string());
        }
        settings.done();
    }
    if !is_on {
        laid.say(&["adjust"], at, "off");
    }
}

fn performance(map: &Fields<'_>, laid: &mut Laid) {
    let Some(settings) = map.map("performance", &PERFORMANCE) else {
        return;
    };
    let range = (Duration::from_millis(1), Duration::from_secs(86_400));
    let path = &["timeouts", "exchange"];
    let within = period(&settings, "timeout", range, path, laid);
    // An attempt that may take longer than the whole would be warned of.
    if let Some((at, within)) = within
        && within < ServiceLimits::default().per_try
    {
        let unless: &[&[&str]] = &[&["timeouts", "exchange"], &["retry", "per_try"]];
        let text = written::duration(within);
        laid.say_unless(&["timeouts", "per_try"], at, &text, unless);
    }
    for (key, why) in [
        (
            "caching",
            "who may be picked is kept in tables that are made anew when something changes, and health is what the last checks found",
        ),
        (
            "parallel_processing",
            "checks run beside each other, and exchanges on `workers`",
        ),
        (
            "optimization",
            "checks come more often while a backend is in doubt",
        ),
    ] {
        always(&settings, key, why);
    }
    settings.done();
}

fn quality(map: &Fields<'_>, laid: &mut Laid) {
    let mut failover = map.with("failover", said);
    if let Some(settings) = map.map("quality", &QUALITY) {
        let supported = settings.with("failover_support", said);
        if let (Some((at, one)), Some((other, supported))) = (failover, supported)
            && one != supported
        {
            let message = "`failover_support` and `failover` are one switch, and say the opposite; leave one out";
            map.reading.error_with(other, "failover", message, at);
        }
        failover = failover.or(supported);
        for (key, why) in [
            (
                "error_recovery",
                "a policy or a check that breaks is stood in for, and exchanges go on",
            ),
            (
                "quality_metrics",
                "how evenly requests are spread is always told",
            ),
            (
                "learning",
                "what adjusting learns from is for `dynamic_adjustment.learning` to say",
            ),
        ] {
            always(&settings, key, why);
        }
        settings.done();
    }
    if let Some((at, false)) = failover {
        laid.say(&["retry"], at, "off");
        laid.say(&["tiers"], at, "first");
        laid.say(&["on_all_down"], at, "fail_closed");
    }
}

/// What there is no switch for.
fn always(map: &Fields<'_>, key: &'static str, why: &str) {
    if let Some((at, _)) = map.with(key, said) {
        let message = format!("`{key}` switches nothing here: {why}");
        map.reading.warning(at, "no_switch", message);
    }
}

/// A switch, and where it stands.
fn said(reading: &Reading, node: &Node) -> Option<(At, bool)> {
    Some((node.at, reading.boolean(node)?))
}

/// A switch, its settings, or both.
fn switch<'t>(
    map: &Fields<'t>,
    key: &'static str,
    keys: &'static Keys,
) -> Option<(At, bool, Option<Fields<'t>>)> {
    let (reading, node) = (map.reading, map.get(key)?);
    if !matches!(node.value, Value::Map(_)) {
        return Some((node.at, reading.boolean(node)?, None));
    }
    let settings = reading.map(node, keys)?;
    let is_on = settings.with("enabled", said);
    if let Some((at, false)) = is_on {
        let message = format!("`{key}` is off, and nothing comes of its settings");
        reading.warning(at, "off", message);
    }
    let (at, is_on) = is_on.unwrap_or((node.at, true));
    Some((at, is_on, Some(settings)))
}

/// A duration within a range, said as a native one.
fn period(
    map: &Fields<'_>,
    key: &'static str,
    (least, most): (Duration, Duration),
    path: &'static [&'static str],
    laid: &mut Laid,
) -> Option<(At, Duration)> {
    let (reading, node) = (map.reading, map.get(key)?);
    let period = reading.parsed(node, "duration", millis)?;
    if !(least..=most).contains(&period) {
        let (least, most) = (written::duration(least), written::duration(most));
        let message = format!("`{key}` lies between {least} and {most}");
        reading.error(node.at, "range", message);
        return None;
    }
    laid.say(path, node.at, &written::duration(period));
    Some((node.at, period))
}
