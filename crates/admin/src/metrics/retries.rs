//! Owns the metrics of retries: those that were made, those that were not, what the budget has left.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

impl Page {
    pub(super) fn retries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut made, mut refused): (Rows<'_>, Rows<'_>) = Default::default();
        let (mut budget, mut unkept): (Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            let name = ("service", &*service.name);
            budget.push((vec![name], service.retry_budget));
            unkept.push((vec![name], service.retry_bodies_unkept));
            for (word, count) in &service.retries {
                made.push((vec![name, ("fault", *word)], *count));
            }
            for (word, count) in &service.retries_refused {
                refused.push((vec![name, ("reason", *word)], *count));
            }
        }
        let help = "Attempts that were made again, by what went wrong before; anew: the same pick went on with another connection";
        rows(encoder, "retries", help, MetricType::Counter, made)?;
        let help = "Failed attempts that were not made again, by why";
        rows(
            encoder,
            "retries_refused",
            help,
            MetricType::Counter,
            refused,
        )?;
        let help = "Bodies of requests that were not kept for a retry, since others had all the room that there is for them";
        let name = "retry_bodies_unkept";
        rows(encoder, name, help, MetricType::Counter, unkept)?;
        let help = "Retries that a service's budget has left";
        rows(encoder, "retry_budget", help, MetricType::Gauge, budget)
    }
}
