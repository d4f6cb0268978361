//! Owns the metrics of what services and their backends have, beside what they should: shares, members, places, bytes.

use std::fmt;

use evenkeel_control::snapshot::{Backend, ServiceSnapshot};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, gauges, rows};

type CountOf = fn(&ServiceSnapshot) -> Option<u64>;
type ShareOf = fn(&Backend) -> f64;

const COUNTS: [(&str, &str, CountOf); 4] = [
    ("service_backends", "Its backends", |service| {
        Some(service.backends.len() as u64)
    }),
    (
        "service_backends_healthy",
        "Backends that may be picked without failing open",
        |service| Some(service.healthy as u64),
    ),
    (
        "service_in_flight",
        "Attempts now, on all of its backends",
        |service| {
            let all = service.backends.iter();
            Some(all.map(|backend| u64::from(backend.in_flight)).sum())
        },
    ),
    (
        "service_in_flight_limit",
        "The most attempts at once that its own limit allows",
        |service| service.places.map(|(_, most)| most.into()),
    ),
];

const SHARES: [(&str, &str, ShareOf); 2] = [
    (
        "backend_share_wanted",
        "The share of its service's attempts that it should get by tier, weight and standing, 0 to 1",
        |backend| backend.share_wanted,
    ),
    (
        "backend_share_got",
        "The share of its service's attempts that it got since the service began, 0 to 1",
        |backend| backend.share_got,
    ),
];

impl Page {
    pub(super) fn sharing(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = || self.0.services.iter();
        for (name, help, count) in COUNTS {
            let each = services()
                .filter_map(|service| Some((vec![("service", &*service.name)], count(service)?)));
            rows(encoder, name, help, MetricType::Gauge, each.collect())?;
        }
        for (name, help, share) in SHARES {
            let each = services().flat_map(|service| {
                service.backends.iter().map(move |backend| {
                    let labels = vec![("service", &*service.name), ("backend", &*backend.id)];
                    (labels, share(backend))
                })
            });
            gauges(encoder, (name, help), each)?;
        }
        let each = services().map(|service| {
            let index = service.fairness.unwrap_or(f64::NAN);
            (vec![("service", &*service.name)], index)
        });
        let help = "How evenly the picks that its backends had, since one joined last or was configured otherwise, are what they should get now: Jain's index, 1 where all are, one divided by their number where one has all; lower where one was out meanwhile; NaN while there is nothing to share";
        gauges(encoder, ("service_fairness", help), each)?;
        self.bytes(encoder)
    }

    fn bytes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut received, mut sent): (Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            let name = ("service", &*service.name);
            received.push((vec![name], service.received));
            sent.push((vec![name], service.sent));
        }
        let counter = MetricType::Counter;
        let help = "Bytes of requests' bodies, of exchanges that are over; tunnels and flows too";
        rows(encoder, "request_body_bytes", help, counter, received)?;
        let help = "Bytes of answers' bodies, of exchanges that are over; tunnels and flows too";
        rows(encoder, "response_body_bytes", help, counter, sent)
    }
}
