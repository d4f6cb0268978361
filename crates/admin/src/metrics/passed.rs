//! Owns the metrics of what passes on as it comes, tunnels and flows: how many are open, what goes through them, how long they last.

use std::fmt;

use evenkeel_control::snapshot::{PassedSnapshot, ServiceSnapshot};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

/// Names and helps of one kind, and where it stands.
struct Kind {
    open: [&'static str; 2],
    bytes: [&'static str; 2],
    lasted: [&'static str; 2],
    of: fn(&ServiceSnapshot) -> &PassedSnapshot,
}

const KINDS: [Kind; 2] = [
    Kind {
        open: [
            "tunnels",
            "Tunnels that are open: WebSockets and other changes of protocol",
        ],
        bytes: [
            "tunnel_bytes",
            "Bytes through tunnels as they go, received from clients and sent to them",
        ],
        lasted: [
            "tunnel_duration_seconds",
            "How long tunnels were open that are over",
        ],
        of: |service| &service.tunnels,
    },
    Kind {
        open: [
            "flows",
            "Connections of TCP listeners that are open and have a backend",
        ],
        bytes: [
            "flow_bytes",
            "Bytes through them as they go, received from clients and sent to them",
        ],
        lasted: [
            "flow_duration_seconds",
            "How long those had a backend that are over",
        ],
        of: |service| &service.flows,
    },
];

impl Page {
    pub(super) fn passed(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        KINDS.iter().try_for_each(|kind| self.kind(kind, encoder))
    }

    fn kind(&self, kind: &Kind, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut open, mut bytes): (Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            let (name, passed) = (("service", &*service.name), (kind.of)(service));
            open.push((vec![name], passed.open));
            for (way, count) in [("received", passed.received), ("sent", passed.sent)] {
                bytes.push((vec![name, ("direction", way)], count));
            }
        }
        let [name, help] = kind.open;
        rows(encoder, name, help, MetricType::Gauge, open)?;
        let [name, help] = kind.bytes;
        rows(encoder, name, help, MetricType::Counter, bytes)?;
        let [name, help] = kind.lasted;
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for service in &self.0.services {
            let passed = (kind.of)(service);
            let count = passed.lasted.iter().map(|(_, count)| count).sum();
            let labels = [("service", &*service.name)];
            let sum = passed.lasted_sum.as_secs_f64();
            let mut row = metric.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(sum, count, &passed.lasted, None)?;
        }
        Ok(())
    }
}
