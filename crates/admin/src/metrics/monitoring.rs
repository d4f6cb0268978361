//! Owns the metrics of what the instance sees of itself: what is wrong, and what seeing costs.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use evenkeel_control::webhooks::HookPart;

use super::{Page, rows};

/// A figure of a receiver.
type Figure = fn(&HookPart) -> u64;

impl Page {
    pub(super) fn monitoring(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seen = &self.0.monitor;
        let raised = self.0.alerts.iter();
        let raised = raised.map(|one| {
            let labels = vec![
                ("service", &*one.service),
                ("kind", one.kind),
                ("severity", one.severity),
            ];
            (labels, one.count)
        });
        let help = "Alerts that are raised, those of its backends among them, by service, kind and severity";
        rows(encoder, "alerts", help, Gauge, raised.collect())?;
        self.adjusting(encoder)?;
        for (name, help, kind, value) in [
            (
                "monitoring_looks",
                "Times that figures of a second were taken in",
                Counter,
                seen.looks,
            ),
            (
                "monitoring_watched",
                "Services and backends whose figures are kept",
                Gauge,
                seen.watched as u64,
            ),
            (
                "monitoring_refused",
                "Times that a service's or a backend's figures of a second were not kept: as many are as may be",
                Counter,
                seen.refused,
            ),
            (
                "alerts_refused",
                "Alerts that were not kept: as many are raised as may be",
                Counter,
                seen.alerts_refused,
            ),
        ] {
            rows(encoder, name, help, kind, vec![(Vec::new(), value)])?;
        }
        self.webhooks(encoder)?;
        let help = "Time that taking figures in has taken the control plane, in seconds";
        let mut metric = encoder.encode_descriptor("monitoring_seconds", help, None, Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&seen.took.as_secs_f64(), None)
    }

    /// Of services that have `adjust`. Others have no such rows.
    fn adjusting(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = self.0.adjusting.iter();
        let moved = each.clone();
        let moved = moved.map(|(name, counts)| (vec![("service", &**name)], counts.moved));
        let help = "Weights that were moved by what backends do, back ones among them";
        rows(encoder, "weights_adjusted", help, Counter, moved.collect())?;
        let judged = each.flat_map(|(name, counts)| {
            let of = |effect| vec![("service", &**name), ("effect", effect)];
            [(of("kept"), counts.kept), (of("undone"), counts.undone)]
        });
        let help = "Steps of adjusted weights by what became of them: kept, or undone as they made it worse";
        rows(encoder, "adjustments", help, Counter, judged.collect())
    }

    fn webhooks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = &self.0.webhooks;
        let outcomes = all.iter().flat_map(|one| {
            let counts = &one.counts;
            let each = [
                ("delivered", counts.delivered),
                ("refused", counts.refused),
                ("given_up", counts.given_up),
                ("crowded", counts.crowded),
            ];
            each.map(|(outcome, count)| {
                let labels = vec![("webhook", &*one.name), ("outcome", outcome)];
                (labels, count)
            })
        });
        let help = "Messages of alerts by what became of them: the receiver took them (`delivered`) or refused them (`refused`), they were tried as often as may be (`given_up`), or too many waited (`crowded`)";
        rows(
            encoder,
            "webhook_messages",
            help,
            Counter,
            outcomes.collect(),
        )?;
        let of: [(_, _, _, Figure); 5] = [
            (
                "webhook_retries",
                "Attempts to tell of an alert that were not the first of their message",
                Counter,
                |one| one.counts.again,
            ),
            (
                "webhook_dead_letters_forgotten",
                "Messages that could not be told and are kept no more, as newer ones took their place",
                Counter,
                |one| one.counts.forgotten,
            ),
            (
                "webhook_waiting",
                "Messages of alerts that wait, that which is being told among them",
                Gauge,
                |one| one.waiting as u64,
            ),
            (
                "webhook_dead_letters",
                "Messages that could not be told and are kept",
                Gauge,
                |one| one.dead as u64,
            ),
            (
                "webhook_failing",
                "1 where attempts fail one after another",
                Gauge,
                |one| u64::from(one.failing),
            ),
        ];
        for (name, help, kind, value) in of {
            let each = all.iter();
            let each = each.map(|one| (vec![("webhook", &*one.name)], value(one)));
            rows(encoder, name, help, kind, each.collect())?;
        }
        Ok(())
    }
}
