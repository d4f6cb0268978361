//! Owns the metrics of events, of who reads them, and of requests that are remembered since they failed.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::{Page, rows};

impl Page {
    pub(super) fn events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (seen, failed) = (self.0.events, self.0.failed);
        for (name, help, kind, value) in [
            (
                "events",
                "Events of services, backends and the process",
                Counter,
                seen.told,
            ),
            (
                "events_forgotten",
                "Of them, those that newer ones have taken the place of",
                Counter,
                seen.forgotten,
            ),
            (
                "requests_failed",
                "Requests and flows that failed by the fault of others than their clients; the last of them are at /v1/requests",
                Counter,
                failed.failed,
            ),
            (
                "requests_failed_missed",
                "Of them, those that are not remembered: somebody looked at that moment",
                Counter,
                failed.missed,
            ),
            (
                "event_readers",
                "Who reads events along",
                Gauge,
                seen.readers as u64,
            ),
            (
                "event_readers_refused",
                "Readers that were turned away: as many read along as may",
                Counter,
                seen.refused,
            ),
            (
                "event_readers_cut",
                "Readers that were cut: what they were to read next was forgotten",
                Counter,
                seen.cut,
            ),
        ] {
            rows(encoder, name, help, kind, vec![(Vec::new(), value)])?;
        }
        self.records(encoder)
    }

    fn records(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let records = &self.0.records;
        let by = |label: &'static str, counts: &[(&'static str, u64)]| {
            let all = counts.iter();
            all.map(|(word, count)| (vec![(label, *word)], *count))
                .collect()
        };
        for (name, help, all) in [
            (
                "decision_records",
                "Requests that were recorded with their decisions, for `/v1/decisions`, by the key that allows it",
                by("because", &records.kept),
            ),
            (
                "decision_records_overwritten",
                "Of them, those that newer ones have taken the place of",
                vec![(Vec::new(), records.overwritten)],
            ),
            (
                "decision_records_missed",
                "Requests that are not recorded: too many in a second (`pace`), or that have not ended (`under_way`), somebody looked when they ended (`busy`), or they showed a token that nobody has who may ask (`token`)",
                by("reason", &records.missed),
            ),
        ] {
            rows(encoder, name, help, Counter, all)?;
        }
        Ok(())
    }
}
