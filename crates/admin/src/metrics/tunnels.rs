//! Owns the metrics of tunnels: how many are open, what goes through them, how long they last.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

impl Page {
    pub(super) fn tunnels(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut open, mut bytes): (Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            let (name, tunnels) = (("service", &*service.name), &service.tunnels);
            open.push((vec![name], tunnels.open));
            for (way, count) in [("received", tunnels.received), ("sent", tunnels.sent)] {
                bytes.push((vec![name, ("direction", way)], count));
            }
        }
        let help = "Tunnels that are open: WebSockets and other changes of protocol";
        rows(encoder, "tunnels", help, MetricType::Gauge, open)?;
        let help = "Bytes through tunnels as they go, received from clients and sent to them";
        rows(encoder, "tunnel_bytes", help, MetricType::Counter, bytes)?;
        let help = "How long tunnels were open that are over";
        let kind = MetricType::Histogram;
        let mut metric = encoder.encode_descriptor("tunnel_duration_seconds", help, None, kind)?;
        for service in &self.0.services {
            let tunnels = &service.tunnels;
            let count = tunnels.lasted.iter().map(|(_, count)| count).sum();
            let labels = [("service", &*service.name)];
            let sum = tunnels.lasted_sum.as_secs_f64();
            let mut row = metric.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(sum, count, &tunnels.lasted, None)?;
        }
        Ok(())
    }
}
