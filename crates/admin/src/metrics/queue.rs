//! Owns the metrics of what is taken at once: queues of services, connections of addresses.

use std::fmt;

use evenkeel_control::snapshot::QueueSnapshot;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{Page, Rows, rows};

impl Page {
    pub(super) fn queues(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = || {
            let all = self.0.services.iter();
            all.filter_map(|service| Some((&*service.name, service.queue.as_ref()?)))
        };
        let each = |value: fn(&QueueSnapshot) -> u64| -> Rows<'_> {
            let rows = services().map(|(name, queue)| (vec![("service", name)], value(queue)));
            rows.collect()
        };
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        let help = "Exchanges that wait for a full service now; why others were refused is in pick_refusals";
        let waiting = each(|queue| queue.waiting as u64);
        rows(encoder, "queue_waiting", help, gauge, waiting)?;
        let help = "Exchanges that had to wait for a full service";
        let entered = each(|queue| queue.entered);
        rows(encoder, "queue_entered", help, counter, entered)?;
        let help = "Of those that had to wait, those that got their turn";
        let served = each(|queue| queue.served);
        rows(encoder, "queue_served", help, counter, served)?;
        let help = "Of those that had to wait, those whose client left";
        let left = each(|queue| queue.left);
        rows(encoder, "queue_left", help, counter, left)?;
        let help = "How long those waited that got their turn";
        let mut metric = encoder.encode_descriptor("queue_waited_seconds", help, None, counter)?;
        for (name, queue) in services() {
            let labels = [("service", name)];
            let row = metric.encode_family(&labels)?;
            ConstCounter::new(queue.waited.as_secs_f64()).encode(row)?;
        }
        Ok(())
    }

    pub(super) fn addresses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.listeners.iter();
        let crowded: Rows<'_> = all
            .map(|listener| (vec![("listener", &*listener.name)], listener.crowded))
            .collect();
        let help = "Connections that were cut because their client's address has as many as it may";
        let counter = MetricType::Counter;
        rows(
            encoder,
            "address_connections_refused",
            help,
            counter,
            crowded,
        )
    }
}
