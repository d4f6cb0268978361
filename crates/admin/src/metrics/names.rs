//! Owns the metrics of names that stand for backends: what look-ups come to, and how old their answers are.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_control::names::NameSnapshot;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

impl Page {
    /// Names that stand for backends, each once however many services have it.
    pub(super) fn names(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.services.iter().flat_map(|service| &service.names);
        let all: BTreeMap<_, _> = all.map(|name| ((&*name.name, name.kind), name)).collect();
        let each = |value: fn(&NameSnapshot) -> Option<u64>| -> Rows<'_> {
            let rows = all.iter().filter_map(|(&(name, kind), one)| {
                Some((vec![("name", name), ("kind", kind)], value(one)?))
            });
            rows.collect()
        };
        let lookups = all.iter().flat_map(|(&(name, kind), one)| {
            let ends = one.lookups.iter();
            ends.map(move |&(result, count)| {
                (
                    vec![("name", name), ("kind", kind), ("result", result)],
                    count,
                )
            })
        });
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        let help = "Look-ups of names by what they came to";
        rows(encoder, "dns_lookups", help, counter, lookups.collect())?;
        let help = "Addresses that a name stands for";
        let addresses = each(|name| Some(name.addresses as u64));
        rows(encoder, "dns_addresses", help, gauge, addresses)?;
        let help = "Whether the newest look-up of a name failed, so that an older answer holds";
        let failing = each(|name| Some(u64::from(name.fault.is_some())));
        rows(encoder, "dns_failing", help, gauge, failing)?;
        let help = "Seconds since the last good answer";
        let ages = each(|name| name.age.map(|age| age.as_secs()));
        rows(encoder, "dns_answer_age_seconds", help, gauge, ages)?;
        let help = "Addresses of answers that were left out: senseless, or too many";
        let left_out = each(|name| Some(name.left_out));
        rows(encoder, "dns_addresses_left_out", help, counter, left_out)
    }
}
