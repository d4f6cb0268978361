//! Owns the metrics of events, of who reads them, and of requests that are remembered since they failed.

use std::fmt;

use evenkeel_control::traces::TracesSnapshot;
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
        self.traces(encoder)
    }

    fn traces(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let TracesSnapshot {
            exchanges,
            lost,
            spans,
            rejected,
            sent,
            again,
            given_up,
        } = self.0.traces;
        for (name, help, all) in [
            (
                "traced_requests",
                "Requests that were traced, and waited to be told to the collector",
                vec![(Vec::new(), exchanges.kept)],
            ),
            (
                "traced_requests_lost",
                "Requests that the collector does not hear of: as many were under way as may be (`under_way`), as many waited (`waiting`), or their message was given up (`given_up`)",
                by_word(
                    "reason",
                    [
                        ("under_way", exchanges.crowded),
                        ("waiting", exchanges.dropped),
                        ("given_up", lost),
                    ],
                ),
            ),
            (
                "trace_spans",
                "Spans that were told: the collector took them (`taken`), or refused them in a message that it took (`refused`)",
                by_word("outcome", [("taken", spans), ("refused", rejected)]),
            ),
            (
                "trace_messages",
                "Messages to the collector: it took them (`taken`), they were sent again (`again`), or refused, or sent as often as may be (`given_up`)",
                by_word(
                    "outcome",
                    [("taken", sent), ("again", again), ("given_up", given_up)],
                ),
            ),
        ] {
            rows(encoder, name, help, Counter, all)?;
        }
        Ok(())
    }
}

fn by_word<const N: usize>(
    label: &'static str,
    all: [(&'static str, u64); N],
) -> super::Rows<'static> {
    all.map(|(word, count)| (vec![(label, word)], count)).into()
}
