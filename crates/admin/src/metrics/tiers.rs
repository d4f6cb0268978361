//! Owns the metrics of the ladder: which tier serves, what fails open, who warms up.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

impl Page {
    pub(super) fn tiers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut open, mut since, mut tiers): (Rows<'_>, Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            let name = ("service", &*service.name);
            open.push((vec![name], u64::from(service.rung == "fail_open")));
            let down = service.all_down.map_or(0, |down| down.as_secs());
            since.push((vec![name], down));
            for backend in &service.backends {
                let labels = vec![name, ("backend", &*backend.id)];
                tiers.push((labels, backend.tier.into()));
            }
        }
        let gauge = MetricType::Gauge;
        let help = "The tier that serves; NaN while none is healthy";
        let mut serving = encoder.encode_descriptor("service_tier", help, None, gauge)?;
        for service in &self.0.services {
            let labels = [("service", &*service.name)];
            let mut row = serving.encode_family(&labels)?;
            row.encode_gauge(&service.tier.map_or(f64::NAN, f64::from))?;
        }
        let help = "Whether all backends are served through because none is healthy";
        rows(encoder, "service_fail_open", help, gauge, open)?;
        let help = "How long no backend has been healthy; 0 while one is";
        rows(encoder, "service_all_down_seconds", help, gauge, since)?;
        rows(encoder, "backend_tier", "Its tier", gauge, tiers)?;
        let help = "Slow start: the share of its weight that it has, 0.1 to 1";
        let mut ramps = encoder.encode_descriptor("backend_ramp_ratio", help, None, gauge)?;
        for service in &self.0.services {
            for backend in &service.backends {
                let labels = [("service", &*service.name), ("backend", &*backend.id)];
                let mut row = ramps.encode_family(&labels)?;
                row.encode_gauge(&f64::from(backend.ramp))?;
            }
        }
        Ok(())
    }
}
