//! Owns the metrics of where the time of exchanges goes: all of it, its parts, and what failing over takes.

use std::fmt;

use evenkeel_control::snapshot::{Distribution, Stages};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, histograms, rows};

/// One part of it.
type Part = fn(&Stages) -> &Distribution;

const PARTS: [(&str, &str, Part); 5] = [
    (
        "queue_duration_seconds",
        "Waiting for a full service, of exchanges that had to",
        |stages| &stages.queue,
    ),
    (
        "connect_duration_seconds",
        "Connecting to a backend, in the last attempt, of exchanges that found no connection kept",
        |stages| &stages.connect,
    ),
    (
        "head_duration_seconds",
        "From the connection to the response head, in the last attempt, of exchanges that got one",
        |stages| &stages.head,
    ),
    (
        "pick_duration_seconds",
        "Deciding who gets an exchange, of one decision in 64",
        |stages| &stages.decision,
    ),
    (
        "failover_duration_seconds",
        "From the first attempt of a request that failed to the response head that served it in the end, with all that lies between: waits, queues, other attempts, connecting",
        |stages| &stages.failover,
    ),
];

impl Page {
    pub(super) fn stages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.latency(encoder)?;
        for (name, help, part) in PARTS {
            let services = self.0.services.iter();
            let each =
                services.map(|service| (vec![("service", &*service.name)], part(&service.stages)));
            histograms(encoder, (name, help), each)?;
        }
        let mut ends: Rows<'_> = Vec::new();
        for service in &self.0.services {
            for (word, count) in &service.stages.failovers {
                ends.push((vec![("service", &*service.name), ("result", *word)], *count));
            }
        }
        let help = "Exchanges that went on after an attempt that failed: served then, whatever the client did with its answer; failed all the same; or left by a client that did not wait";
        rows(encoder, "failovers", help, MetricType::Counter, ends)?;
        self.heads(encoder)
    }

    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "request_duration_seconds",
            "From the first byte of a request to the last of its answer",
            None,
            MetricType::Histogram,
        )?;
        for service in &self.0.services {
            let count = service.latency.iter().map(|(_, count)| count).sum();
            let labels = [("service", &*service.name)];
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    service.latency_sum.as_secs_f64(),
                    count,
                    &service.latency,
                    None,
                )?;
        }
        Ok(())
    }

    /// Of backends that have answered: of a thousand that stand by, rows of zeros would be half the page.
    fn heads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = self.0.services.iter();
        let each = services.flat_map(|service| {
            service.backends.iter().filter_map(move |backend| {
                let heads = backend.heads.as_ref().filter(|heads| heads.count() > 0)?;
                let labels = vec![("service", &*service.name), ("backend", &*backend.id)];
                Some((labels, heads))
            })
        });
        let help = "From the connection to the response head, of backends that have answered";
        histograms(encoder, ("backend_head_duration_seconds", help), each)
    }
}
