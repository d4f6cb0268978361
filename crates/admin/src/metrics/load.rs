//! Owns the metrics of what backends report of their load: what came, what it says, what follows.

use std::fmt;

use evenkeel_control::snapshot::{Backend, Load};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

/// A part of 1, or a number of seconds, of a backend that has one.
type Value = fn(&Backend, &Load) -> Option<f64>;

impl Page {
    pub(super) fn load(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut came: Rows<'_> = Vec::new();
        for service in &self.0.services {
            for (word, count) in service.reports.iter().flatten() {
                came.push((vec![("service", &*service.name), ("result", *word)], *count));
            }
        }
        let help = "Reports of load by what became of them: read, or why not";
        rows(encoder, "load_reports", help, MetricType::Counter, came)?;
        let each: [(&str, &str, Value); 4] = [
            (
                "backend_load_utilization",
                "Utilization by a backend's own word, 1 being all that it can do",
                |_, load| load.utilization.map(f64::from),
            ),
            (
                "backend_load_report_age_seconds",
                "Since a backend's newest report",
                |_, load| load.age.map(|age| age.as_secs_f64()),
            ),
            (
                "backend_load_factor",
                "What a backend's reports make of its configured weight, times",
                |_, load| Some(load.factor.into()),
            ),
            (
                "backend_load_share",
                "Share of its service's attempts that a backend should get, 0 to 1, where reports have a part in it",
                |backend, _| Some(backend.share_wanted),
            ),
        ];
        for (name, help, value) in each {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for service in &self.0.services {
                for backend in &service.backends {
                    let value = backend.load.and_then(|load| value(backend, &load));
                    let Some(value) = value else { continue };
                    let labels = [("service", &*service.name), ("backend", &*backend.id)];
                    metric.encode_family(&labels)?.encode_gauge(&value)?;
                }
            }
        }
        Ok(())
    }
}
