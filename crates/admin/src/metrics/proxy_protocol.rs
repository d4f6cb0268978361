//! Owns the metrics of the PROXY protocol.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

impl Page {
    pub(super) fn headers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut taken, mut refused): (Rows<'_>, Rows<'_>) = Default::default();
        for listener in &self.0.listeners {
            let Some(headers) = &listener.headers else {
                continue;
            };
            let name = ("listener", &*listener.name);
            for (version, count) in &headers.versions {
                taken.push((vec![name, ("version", *version)], *count));
            }
            for (word, count) in &headers.refused {
                refused.push((vec![name, ("reason", *word)], *count));
            }
        }
        let counter = MetricType::Counter;
        let help = "PROXY headers that were taken, by version";
        rows(encoder, "proxy_headers", help, counter, taken)?;
        let help = "Connections that were closed for want of a PROXY header, by reason";
        rows(encoder, "proxy_header_refusals", help, counter, refused)
    }
}
