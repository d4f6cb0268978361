//! Owns the metrics of TLS.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

/// Seconds of a day.
const DAY: f64 = 86_400.0;

impl Page {
    pub(super) fn tls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let [mut done, mut resumed, mut failed, mut open]: [Rows<'_>; 4] = Default::default();
        let (mut days, mut lists) = (Vec::new(), Vec::new());
        for listener in &self.0.listeners {
            let Some(tls) = &listener.tls else { continue };
            let name = ("listener", &*listener.name);
            for (version, count) in &tls.versions {
                done.push((vec![name, ("version", *version)], *count));
            }
            resumed.push((vec![name], tls.resumed));
            for (word, count) in &tls.failed {
                failed.push((vec![name, ("reason", *word)], *count));
            }
            open.push((vec![name], tls.handshaking as u64));
            for certificate in &tls.certificates {
                let left = self::days(certificate.seconds_left);
                days.push(([name, ("certificate", &*certificate.file)], left));
            }
            if let Some(list) = &tls.lists {
                lists.push(([name, ("crl", &*list.file)], self::days(list.seconds_left)));
            }
        }
        let counter = MetricType::Counter;
        let help = "TLS handshakes that ended well, by version";
        rows(encoder, "tls_handshakes", help, counter, done)?;
        let help = "TLS handshakes that were short: the client came back";
        rows(encoder, "tls_resumed", help, counter, resumed)?;
        let help = "TLS handshakes that failed, by reason";
        rows(encoder, "tls_handshake_failures", help, counter, failed)?;
        let help = "TLS handshakes under way, from the first byte on";
        rows(encoder, "tls_handshaking", help, MetricType::Gauge, open)?;
        let help = "Days that a certificate still holds; below zero where it has expired";
        let name = "tls_certificate_days_left";
        gauges(encoder, name, help, &days)?;
        let help = "Days until lists of revoked certificates are to be replaced; below zero where they are late";
        gauges(encoder, "tls_crl_days_left", help, &lists)
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of centuries are exact")]
fn days(seconds: i64) -> f64 {
    seconds as f64 / DAY
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[([(&str, &str); 2], f64)],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in all {
        let mut row = metric.encode_family(labels)?;
        row.encode_gauge(value)?;
    }
    Ok(())
}
