//! Owns the metrics of the ladder: which tiers serve, who goes elsewhere than first, what fails open, who warms up.

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
        let help = "The first tier that serves; NaN while no backend is healthy, or too few are";
        let mut serving = encoder.encode_descriptor("service_tier", help, None, gauge)?;
        for service in &self.0.services {
            let labels = [("service", &*service.name)];
            let mut row = serving.encode_family(&labels)?;
            row.encode_gauge(&service.tier.map_or(f64::NAN, f64::from))?;
        }
        self.shares(encoder)?;
        let help =
            "Whether all backends are served through because none is healthy, or too few are";
        rows(encoder, "service_fail_open", help, gauge, open)?;
        let help = "How long no backend, or too few, have been healthy; 0 while enough are";
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

    /// How exchanges are shared among tiers, and which went elsewhere than they would first.
    fn shares(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut picks, mut spilled, mut zones): (Rows<'_>, Rows<'_>, Rows<'_>) =
            Default::default();
        let names: Vec<Vec<String>> = self
            .0
            .services
            .iter()
            .map(|service| service.tiers.iter().map(|one| one.tier.to_string()))
            .map(Iterator::collect)
            .collect();
        let help = "The share of picks that a tier should get now, 0 to 1";
        let gauge = MetricType::Gauge;
        let mut shares = encoder.encode_descriptor("service_tier_share", help, None, gauge)?;
        for (service, names) in self.0.services.iter().zip(&names) {
            let name = ("service", &*service.name);
            for (one, tier) in service.tiers.iter().zip(names) {
                let labels = [name, ("tier", &**tier)];
                shares.encode_family(&labels)?.encode_gauge(&one.share)?;
                picks.push((labels.to_vec(), one.picked));
            }
            for (spill, count) in &service.spilled {
                let (rows, label) = match spill.is_of_zones() {
                    true => (&mut zones, "zone"),
                    false => (&mut spilled, "why"),
                };
                rows.push((vec![name, (label, spill.word())], *count));
            }
        }
        let counter = MetricType::Counter;
        let help = "Picks by tier, of services with several, the first 16 of them; trials and clients that are kept apart";
        rows(encoder, "service_tier_picks", help, counter, picks)?;
        let help = "Picks of a tier behind the first: for want of healthy capacity (`health`) or of room (`full`)";
        rows(encoder, "service_tier_spilled", help, counter, spilled)?;
        let help = "Picks that had a preferred zone: it served (`kept`), or lacks healthy capacity (`share`), had no room (`full`), has too few backends (`few`) or none (`nobody`)";
        rows(encoder, "service_zone_picks", help, counter, zones)
    }
}
