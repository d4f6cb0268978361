//! Owns the metrics of retries and hedges: those that were made, those that were not, what the budget has left.

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
        rows(encoder, "retry_budget", help, MetricType::Gauge, budget)?;
        self.hedges(encoder)
    }

    fn hedges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut sent, mut won, mut refused): (Rows<'_>, Rows<'_>, Rows<'_>) = Default::default();
        let mut budget: Rows<'_> = Vec::new();
        for service in &self.0.services {
            let name = ("service", &*service.name);
            budget.extend(service.hedge_budget.map(|left| (vec![name], left)));
            sent.push((vec![name], service.hedges.0));
            won.push((vec![name], service.hedges.1));
            for (word, count) in &service.hedges_refused {
                refused.push((vec![name, ("reason", *word)], *count));
            }
        }
        let counter = MetricType::Counter;
        let help = "Second attempts that were begun beside slow ones";
        rows(encoder, "hedges", help, counter, sent)?;
        let help = "Second attempts that were answered first";
        rows(encoder, "hedges_won", help, counter, won)?;
        let help = "Slow attempts that had no other beside them, by why";
        rows(encoder, "hedges_refused", help, counter, refused)?;
        let help = "Hedges that a service's own allowance has left";
        rows(encoder, "hedge_budget", help, MetricType::Gauge, budget)
    }
}
