//! Owns the metrics of each backend's attempts: now, and since it joined.

use std::fmt;

use evenkeel_control::snapshot::Backend;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

impl Page {
    pub(super) fn backends(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = |value: fn(&Backend) -> u64| -> Rows<'_> {
            let services = self.0.services.iter();
            services
                .flat_map(|service| {
                    service.backends.iter().map(move |backend| {
                        (
                            vec![("service", &*service.name), ("backend", &*backend.id)],
                            value(backend),
                        )
                    })
                })
                .collect()
        };
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        self.learned(encoder)?;
        rows(
            encoder,
            "backend_up",
            "Whether it may be picked",
            gauge,
            each(|backend| u64::from(backend.state == "InService")),
        )?;
        rows(
            encoder,
            "backend_in_flight",
            "Attempts now",
            gauge,
            each(|backend| backend.in_flight.into()),
        )?;
        rows(
            encoder,
            "backend_connections",
            "Sockets that are open",
            gauge,
            each(|backend| backend.connections as u64),
        )?;
        rows(
            encoder,
            "backend_weight",
            "Configured weight",
            gauge,
            each(|backend| backend.weight.into()),
        )?;
        rows(
            encoder,
            "backend_picks",
            "Attempts since it joined: those in flight, finished and abandoned",
            counter,
            each(|backend| backend.picked),
        )?;
        let help = "Attempts that ended, well or badly";
        let finished = each(|backend| backend.finished);
        rows(encoder, "backend_finished", help, counter, finished)?;
        let help = "Attempts that ended without a word on how, as by a limit of ours or a kept connection that had ended";
        let abandoned = each(|backend| backend.abandoned);
        rows(encoder, "backend_abandoned", help, counter, abandoned)?;
        rows(
            encoder,
            "backend_failures",
            "Attempts that failed",
            counter,
            each(|backend| backend.failed),
        )
    }

    /// What some services learn of theirs. Others have no such rows.
    fn learned(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let some = |value: fn(&Backend) -> Option<f64>| {
            let services = self.0.services.iter();
            services
                .flat_map(|service| {
                    let of = |backend| [("service", &*service.name), ("backend", backend)];
                    let backends = service.backends.iter();
                    backends.filter_map(move |one| Some((of(&*one.id), value(one)?)))
                })
                .collect::<Vec<_>>()
        };
        let mut gauges = |name, help, rows: Vec<([(&str, &str); 2], f64)>| {
            let mut row = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in rows {
                row.encode_family(&labels)?.encode_gauge(&value)?;
            }
            Ok(())
        };
        gauges(
            "backend_limit",
            "Attempts at once that its adaptive limit allows",
            some(|backend| backend.limit.map(|(in_use, _)| in_use.into())),
        )?;
        gauges(
            "backend_limit_wanted",
            "What its adaptive limit comes to by what was heard of it",
            some(|backend| backend.limit.map(|(_, wanted)| wanted)),
        )?;
        gauges(
            "backend_trust",
            "The part of its share that health_based trusts it with, 0 to 1",
            some(|backend| backend.trust.map(f64::from)),
        )?;
        gauges(
            "backend_weight_factor",
            "The part of its weight that a backend has by what it does, 0.25 to 2, where its service has adjust and its policy does not look at latency",
            some(|backend| backend.factor.map(f64::from)),
        )
    }
}
