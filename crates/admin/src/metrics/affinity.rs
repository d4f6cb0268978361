//! Owns the metrics of affinity: clients that were new, were kept, or moved; what counted as nothing; the tables of clients.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

impl Page {
    pub(super) fn affinity(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut stays, mut moves): (Rows<'_>, Rows<'_>) = Default::default();
        let (mut ignored, mut clients): (Rows<'_>, Rows<'_>) = Default::default();
        let (mut most, mut forgotten): (Rows<'_>, Rows<'_>) = Default::default();
        let mut unlearned: Rows<'_> = Rows::default();
        for service in &self.0.services {
            let name = ("service", &*service.name);
            let Some(affinity) = &service.affinity else {
                continue;
            };
            for (word, count) in &affinity.stays {
                stays.push((vec![name, ("client", *word)], *count));
            }
            for (word, count) in &affinity.moves {
                moves.push((vec![name, ("reason", *word)], *count));
            }
            for (word, count) in &affinity.ignored {
                ignored.push((vec![name, ("reason", *word)], *count));
            }
            if let Some(counts) = &affinity.clients {
                clients.push((vec![name], counts.clients));
                most.push((vec![name], affinity.most as u64));
                forgotten.push((vec![name, ("reason", "expired")], counts.expired));
                forgotten.push((vec![name, ("reason", "no_room")], counts.evicted));
                unlearned.push((vec![name], counts.unlearned));
            }
        }
        let help = "Exchanges of services that keep their clients, whose client was new, was kept, or spilled since its backend was full";
        rows(encoder, "affinity", help, MetricType::Counter, stays)?;
        let help = "Clients that another backend than their own has answered, by why (`full`: its own was lost when that was chosen, and is whole or full since); they are kept there from then on; where only our cookie says where that is, each request that was sent before the new one had come counts";
        rows(encoder, "affinity_moves", help, MetricType::Counter, moves)?;
        let help = "Cookies of affinity that counted as nothing, by why";
        let name = "affinity_ignored";
        rows(encoder, name, help, MetricType::Counter, ignored)?;
        let help = "Clients that are remembered";
        let name = "affinity_clients";
        rows(encoder, name, help, MetricType::Gauge, clients)?;
        let help = "The most clients that are remembered";
        let name = "affinity_clients_limit";
        rows(encoder, name, help, MetricType::Gauge, most)?;
        let help = "Clients that are remembered no more, by why";
        let name = "affinity_forgotten";
        rows(encoder, name, help, MetricType::Counter, forgotten)?;
        let help = "Clients that showed a cookie which nobody knew and the table had no room for: our cookie alone says where they are kept";
        let name = "affinity_unlearned";
        rows(encoder, name, help, MetricType::Counter, unlearned)
    }
}
