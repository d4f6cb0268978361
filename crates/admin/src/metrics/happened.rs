//! Owns the metrics of what happens to services: checks, breakers, backends that are lost and come back.

use std::fmt;

use evenkeel_control::snapshot::{Distribution, Happenings};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Labels, Page, Rows, histograms, rows};

type TimesOf = fn(&Happenings) -> &Distribution;
type CountOf = fn(&Happenings) -> u64;
type CountsOf = fn(&Happenings) -> &[(&'static str, u64)];

const TIMES: [(&str, &str, TimesOf); 3] = [
    (
        "check_duration_seconds",
        "How long health checks took, passed or failed",
        |happened| &happened.checks,
    ),
    (
        "backend_recovery_seconds",
        "How long backends were down or ejected that serve again",
        |happened| &happened.recovery,
    ),
    (
        "service_recovery_seconds",
        "How long no backend, or too few, were healthy, each time that this ended",
        |happened| &happened.all_recovery,
    ),
];

const COUNTS: [(&str, &str, CountOf); 3] = [
    (
        "breakers_closed",
        "Breakers that closed again",
        |happened| happened.closed,
    ),
    (
        "service_outages",
        "Times that no backend, or too few, were healthy",
        |happened| happened.all_down,
    ),
    (
        "service_tier_changes",
        "Times that another tier came to serve",
        |happened| happened.tiers,
    ),
];

/// Those that have a word beside them: name, help, the word's label.
const WORDED: [(&str, &str, &str, CountsOf); 3] = [
    (
        "breakers_opened",
        "Breakers that opened, by why",
        "reason",
        |happened| &happened.opened,
    ),
    (
        "breakers_withheld",
        "Breakers that would have opened and must not, by why not; once per episode",
        "reason",
        |happened| &happened.withheld,
    ),
    (
        "backends_lost",
        "Times that a backend which served was lost, to checks (`down`) or to its breaker (`ejected`)",
        "standing",
        |happened| &happened.lost,
    ),
];

impl Page {
    pub(super) fn happened(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = || {
            let services = self.0.services.iter();
            services.map(|service| {
                let labels: Labels<'_> = vec![("service", &*service.name)];
                (labels, &service.happened)
            })
        };
        for (name, help, times) in TIMES {
            let all = each().map(|(labels, happened)| (labels, times(happened)));
            histograms(encoder, (name, help), all)?;
        }
        for (name, help, count) in COUNTS {
            let all = each().map(|(labels, happened)| (labels, count(happened)));
            rows(encoder, name, help, MetricType::Counter, all.collect())?;
        }
        for (name, help, label, counts) in WORDED {
            let mut all: Rows<'_> = Vec::new();
            for (labels, happened) in each() {
                for (word, count) in counts(happened) {
                    let labels = labels.iter().copied().chain([(label, *word)]);
                    all.push((labels.collect(), *count));
                }
            }
            rows(encoder, name, help, MetricType::Counter, all)?;
        }
        self.breakers(encoder)
    }

    fn breakers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut gates, mut disagree): (Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            let name = ("service", &*service.name);
            for word in ["passed", "failed"] {
                let all = service.backends.iter();
                let count = all.filter(|one| one.disagreement == Some(word)).count();
                disagree.push((vec![name, ("check", word)], count as u64));
            }
            for backend in &service.backends {
                for word in ["open", "half_open"] {
                    let labels = vec![name, ("backend", &*backend.id), ("state", word)];
                    gates.push((labels, u64::from(word == backend.breaker)));
                }
            }
        }
        let gauge = MetricType::Gauge;
        let help = "1 at the state that its breaker is in; where both read 0 it is closed";
        rows(encoder, "backend_breaker", help, gauge, gates)?;
        let help = "Backends whose newest check says otherwise than traffic: it passed while the breaker is not closed, or failed while all attempts succeed";
        rows(
            encoder,
            "service_check_disagreements",
            help,
            gauge,
            disagree,
        )
    }
}
