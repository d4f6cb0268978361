//! Owns `load:` of a service.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::settings::{PolicyChoice, ServiceSettings};

use super::health::{host, path};
use crate::keys::{LOAD, LOAD_PAGE, LOAD_REPORT};
use crate::limits;
use crate::plan::{LoadPage, LoadPlan, LoadSource};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The longest name of a metric.
const METRIC_BYTES: usize = 256;

/// The longest that a backend is not asked for: its reports would expire between two.
const EVERY_MOST: Duration = Duration::from_secs(60);

/// Where reports come from, if the policy goes by them.
pub(super) fn read(fields: &Fields<'_>, settings: &mut ServiceSettings) -> Option<LoadPlan> {
    let weighs = matches!(settings.policy, PolicyChoice::WeightedByLoad);
    let mut plan = LoadPlan {
        from: LoadSource::Header,
        keeps: false,
        metrics: Arc::default(),
    };
    if let Some(map) = fields.map("load", &LOAD) {
        if !weighs {
            let message =
                "nobody goes by `load`: only `policy: weighted_by_load` does; leave one out";
            map.reading.warning(map.at, "load", message);
        }
        map.set("report", report, &mut plan.from);
        plan.keeps = map.word("field") == Some("keep");
        map.set(
            "metrics",
            |reading, node| Some(metrics(reading, node)),
            &mut plan.metrics,
        );
        let load = &mut settings.load;
        map.set("blackout", Reading::duration, &mut load.blackout);
        map.set("expiry", Reading::wait, &mut load.expiry);
        map.set("penalty", Reading::share, &mut load.penalty);
        if let Some(bound) = map.number::<u8>("bound") {
            load.bound = bound.into();
        }
        if load.blackout >= load.expiry {
            let message = "`blackout` is as long as `expiry`: no report ever counts";
            map.reading.error(map.at, "range", message);
        }
        if let LoadSource::Page(page) = &plan.from
            && page.interval >= load.expiry
        {
            let message = "`interval` is as long as `expiry`: no report lasts until the next";
            map.reading.error(map.at, "range", message);
        }
        map.done();
    }
    weighs.then_some(plan)
}

/// `header`, or a page.
fn report(reading: &Reading, node: &Node) -> Option<LoadSource> {
    if !matches!(node.value, Value::Map(_)) {
        return reading
            .word(node, "value", &["header"])
            .map(|_| LoadSource::Header);
    }
    let map = reading.map(node, &LOAD_REPORT)?;
    if map.get("http").is_none() {
        let message = "a report is `header` or `{ http: { path: /load } }`";
        reading.error(map.at, "missing", message);
    }
    let page = map.map("http", &LOAD_PAGE).map(page);
    map.done();
    page.map(LoadSource::Page)
}

fn page(map: Fields<'_>) -> LoadPage {
    let reading = map.reading;
    let interval = map.with("interval", period).unwrap_or(limits::LOAD_EVERY);
    let timeout = map.with("timeout", Reading::wait);
    let page = LoadPage {
        path: map.with("path", path).unwrap_or(limits::LOAD_PATH.into()),
        host: map.with("host", host),
        port: map.number("port").and_then(NonZeroU16::new),
        interval,
        // Who asks more often has not to say so twice.
        timeout: timeout.unwrap_or(limits::LOAD_WITHIN.min(interval)),
    };
    if page.timeout > page.interval {
        let message = "`timeout` is longer than `interval`: reports come less often";
        reading.warning(map.at, "deadlines", message);
    }
    map.done();
    page
}

fn period(reading: &Reading, node: &Node) -> Option<Duration> {
    let period = reading.duration(node)?;
    if !(limits::LOAD_EVERY_LEAST..=EVERY_MOST).contains(&period) {
        reading.error(node.at, "range", "an interval lies between 100ms and 1m");
        return None;
    }
    Some(period)
}

fn metrics(reading: &Reading, node: &Node) -> Arc<[Arc<str>]> {
    let what = format!("{} metrics of one service", limits::LOAD_METRICS);
    let nodes = reading.items(node);
    let nodes = reading.first(nodes, limits::LOAD_METRICS, |node| node.at, &what);
    let all = nodes.iter();
    all.filter_map(|node| reading.parsed(node, "metric", metric))
        .collect()
}

/// The name of a metric, as `TEXT` has it.
fn metric(written: &Scalar) -> Result<Arc<str>, String> {
    let name = written.value();
    let letters = |byte: u8| byte.is_ascii_graphic() && !b",=\"\\".contains(&byte);
    let known = match name.split_once('.') {
        Some(("named_metrics" | "utilization" | "request_cost", key)) => !key.is_empty(),
        None => matches!(name, "cpu_utilization" | "mem_utilization"),
        Some(_) => false,
    };
    match known && name.len() <= METRIC_BYTES && name.bytes().all(letters) {
        true => Ok(name.into()),
        false => Err(format!(
            "`{written}` is no metric: write `named_metrics.NAME`, `utilization.NAME`, `request_cost.NAME`, `cpu_utilization` or `mem_utilization`"
        )),
    }
}
