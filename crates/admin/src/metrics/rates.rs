//! Owns the metrics of rate limits: by where each stands and what it counts by, never by whom it counts.

use std::fmt;

use evenkeel_control::snapshot::RateSnapshot;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

fn labels(rate: &RateSnapshot) -> Vec<(&'static str, &str)> {
    vec![
        ("of", rate.of),
        ("name", &rate.name),
        ("limit", &rate.limit),
    ]
}

impl Page {
    pub(super) fn rates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut requests: Rows<'_> = Vec::new();
        for rate in &self.0.rates {
            let counts = rate.counts;
            for (result, count) in [
                ("passed", counts.passed),
                ("refused", counts.refused),
                ("shadowed", counts.shadowed),
            ] {
                let mut labels = labels(rate);
                labels.push(("result", result));
                requests.push((labels, count));
            }
        }
        let each = |value: fn(&RateSnapshot) -> u64| -> Rows<'_> {
            let all = self.0.rates.iter();
            all.map(|rate| (labels(rate), value(rate))).collect()
        };
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        let help = "Requests, and connections of TCP listeners, by what a rate limit said; shadowed: it would have refused";
        rows(encoder, "rate_limit_requests", help, counter, requests)?;
        let help = "Keys of a rate limit whose buckets are not full";
        let keys = each(|rate| rate.keys as u64);
        rows(encoder, "rate_limit_keys", help, gauge, keys)?;
        let help = "Keys of a rate limit that were forgotten too soon, for want of room";
        let evicted = each(|rate| rate.counts.evicted);
        rows(encoder, "rate_limit_keys_evicted", help, counter, evicted)
    }
}
