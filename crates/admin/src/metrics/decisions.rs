//! Owns the metrics of decisions for other programs: of the services that were asked for any.

use std::fmt;
use std::sync::Arc;

use evenkeel_control::Watch;
use evenkeel_control::picks::PicksPart;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Rows, rows};

/// At one moment.
#[derive(Debug)]
pub(super) struct Decisions {
    services: Vec<(Arc<str>, PicksPart)>,
    out: usize,
    full: u64,
}

impl Decisions {
    pub(super) fn of(watch: &Watch) -> Self {
        let (out, _, full) = watch.picks_out();
        Self {
            services: watch.picks_of_all(),
            out,
            full,
        }
    }

    fn each(&self, value: fn(&PicksPart) -> u64) -> Rows<'_> {
        let all = self.services.iter();
        all.map(|(name, part)| (vec![("service", &**name)], value(part)))
            .collect()
    }
}

impl Collector for Decisions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        let encoder = &mut encoder;
        let help = "Picks that other programs were given";
        rows(
            encoder,
            "decisions",
            help,
            counter,
            self.each(|one| one.given),
        )?;
        let mut ends: Rows<'_> = Vec::new();
        for (name, part) in &self.services {
            let name = &**name;
            for (outcome, count) in [
                ("failed", part.failed),
                ("expired", part.expired),
                ("other", part.reported.saturating_sub(part.failed)),
            ] {
                ends.push((vec![("service", name), ("outcome", outcome)], count));
            }
        }
        let help = "Picks of other programs that are over: reported as failed, not reported in their time, or reported otherwise";
        rows(encoder, "decisions_ended", help, counter, ends)?;
        let help = "Picks that other programs have and have not reported yet";
        let out = vec![(Vec::new(), self.out as u64)];
        rows(encoder, "decisions_out", help, gauge, out)?;
        let help = "Questions for picks that were refused because as many were out as may be";
        let full = vec![(Vec::new(), self.full)];
        rows(encoder, "decisions_full", help, counter, full)
    }
}
