//! Owns the metrics of events and of who reads them.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::{Page, rows};

impl Page {
    pub(super) fn events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.0.events;
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
        Ok(())
    }
}
