//! Owns the metrics as Prometheus reads them: names, labels, help. Labels are bounded by the plan: never a path, a client, a URL.

use std::fmt;

use crate::guests::Counts;
use evenkeel_control::snapshot::{Distribution, ListenerSnapshot};
use evenkeel_control::{Snapshot, Watch};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// What backends have and had.
mod backends;

/// What is wanted of backends and what they get.
mod shares;

/// Where the time of exchanges goes.
mod stages;

/// What happens to services.
mod happened;

/// The process, and its workers.
mod process;

/// The configuration and what is changed of it.
mod reloads;

/// Those of names.
mod names;

/// Those of tunnels and flows.
mod passed;

/// Those of the PROXY protocol.
mod proxy_protocol;

/// Those of queues, and of addresses.
mod queue;

/// Those of the ladder.
mod tiers;

/// Those of rate limits.
mod rates;

/// Those of retries.
mod retries;

/// Those of affinity.
mod affinity;

/// Those of reports of load.
mod load;

/// Those of decisions for other programs.
mod decisions;

/// Those of TLS.
mod tls;

/// Those of events.
mod events;

/// Those of what the instance sees of itself.
mod monitoring;

/// What [`text`] is.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics, now.
///
/// # Errors
/// None that a text can have.
pub(crate) fn text(watch: &Watch, counts: &Counts) -> Result<String, fmt::Error> {
    let snapshot = watch.snapshot();
    let began = snapshot.began;
    let mut registry = Registry::with_prefix("evenkeel");
    registry.register_collector(Box::new(Page(
        snapshot,
        counts.refused(),
        counts.timed_out(),
        counts.denied(),
    )));
    registry.register_collector(Box::new(decisions::Decisions::of(watch)));
    // The names that all programs have for this: they take no prefix.
    let mut plain = Registry::default();
    plain.register_collector(Box::new(process::Process(began)));
    let mut text = String::new();
    encode_registry(&mut text, &registry)?;
    encode_registry(&mut text, &plain)?;
    encode_eof(&mut text)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Snapshot, u64, u64, Vec<(&'static str, u64)>);

/// A count of a listener.
type CountOf = fn(&ListenerSnapshot) -> u64;

/// What tells a metric's rows apart.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One metric's rows: labels and value.
type Rows<'a> = Vec<(Labels<'a>, u64)>;

/// Every word that a standing has.
const STANDINGS: [&str; 7] = [
    "disabled", "draining", "down", "ejected", "probing", "unproven", "serving",
];

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.services(&mut encoder)?;
        self.stages(&mut encoder)?;
        self.happened(&mut encoder)?;
        self.retries(&mut encoder)?;
        self.affinity(&mut encoder)?;
        self.load(&mut encoder)?;
        self.passed(&mut encoder)?;
        self.queues(&mut encoder)?;
        self.names(&mut encoder)?;
        self.backends(&mut encoder)?;
        self.sharing(&mut encoder)?;
        self.rules(&mut encoder)?;
        self.workers(&mut encoder)?;
        self.standing(&mut encoder)?;
        self.tiers(&mut encoder)?;
        self.listeners(&mut encoder)?;
        self.addresses(&mut encoder)?;
        self.rates(&mut encoder)?;
        self.headers(&mut encoder)?;
        self.tls(&mut encoder)?;
        self.reloads(&mut encoder)?;
        self.access_log(&mut encoder)?;
        self.pages(&mut encoder)?;
        self.events(&mut encoder)?;
        self.monitoring(&mut encoder)?;
        self.pipes(&mut encoder)?;
        let panics = vec![(Vec::new(), self.0.contained_panics)];
        let help = "Panics that ended one connection; must read 0";
        rows(
            &mut encoder,
            "contained_panics",
            help,
            MetricType::Counter,
            panics,
        )
    }
}

impl Page {
    fn services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut requests, mut attempts, mut refusals): (Rows<'_>, Rows<'_>, Rows<'_>) =
            Default::default();
        let (mut ends, mut calls): (Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            let name = ("service", &*service.name);
            attempts.push((vec![name], service.attempts));
            for (class, count) in CLASSES.iter().zip(service.classes) {
                requests.push((vec![name, ("code", *class)], count));
            }
            for (word, count) in &service.reasons {
                ends.push((vec![name, ("reason", *word)], *count));
            }
            for (word, count) in &service.calls {
                calls.push((vec![name, ("status", *word)], *count));
            }
            for (word, count) in &service.refusals {
                refusals.push((vec![name, ("reason", *word)], *count));
            }
        }
        let counter = MetricType::Counter;
        rows(
            encoder,
            "requests",
            "Exchanges by class of status; flows have none",
            counter,
            requests,
        )?;
        rows(
            encoder,
            "exchanges",
            "Exchanges by why they ended as they did",
            counter,
            ends,
        )?;
        rows(
            encoder,
            "grpc_calls",
            "Calls of gRPC by how they ended; what broke off before it said so has none",
            counter,
            calls,
        )?;
        rows(
            encoder,
            "attempts",
            "Attempts on backends",
            counter,
            attempts,
        )?;
        rows(
            encoder,
            "pick_refusals",
            "Picks that were refused",
            counter,
            refusals,
        )
    }

    /// The addresses that these pages are served at.
    fn pages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, count) in [
            (
                "admin_connections_refused",
                "Connections to admin and metrics that were refused: too many at once",
                self.1,
            ),
            (
                "admin_connections_timed_out",
                "Connections to admin and metrics that were ended: no request in time, or no answer taken",
                self.2,
            ),
        ] {
            let row = vec![(Vec::new(), count)];
            rows(encoder, name, help, MetricType::Counter, row)?;
        }
        let denied = self.3.iter();
        let denied = denied.map(|(word, count)| (vec![("reason", *word)], *count));
        let help =
            "Requests to the admin address that were refused before they were looked at, by why";
        let denied = denied.collect();
        rows(encoder, "admin_denied", help, MetricType::Counter, denied)
    }

    fn listeners(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = |value: fn(&ListenerSnapshot) -> u64| -> Rows<'_> {
            let listeners = self.0.listeners.iter();
            listeners
                .map(|listener| (vec![("listener", &*listener.name)], value(listener)))
                .collect()
        };
        let mut answers: Rows<'_> = Vec::new();
        for listener in &self.0.listeners {
            let name = ("listener", &*listener.name);
            for (word, count) in &listener.answered {
                answers.push((vec![name, ("reason", *word)], *count));
            }
        }
        let counter = MetricType::Counter;
        rows(
            encoder,
            "local_answers",
            "Answers that were made here, and flows that were refused, by reason",
            counter,
            answers,
        )?;
        let counts: [(_, _, CountOf); 6] = [
            (
                "listener_connections_accepted",
                "Connections that were accepted",
                |listener| listener.accepted,
            ),
            (
                "listener_connections_admitted",
                "Connections that had a place under the listener's limit: those that are open and those that have closed",
                |listener| listener.admitted,
            ),
            (
                "listener_connections_closed",
                "Connections that were admitted and have ended",
                |listener| listener.closed,
            ),
            (
                "listener_connections_given",
                "Connections that one worker took and gave to another, which had fewer",
                |listener| listener.given,
            ),
            (
                "listener_accept_failures",
                "Times that accepting failed",
                |listener| listener.accept_failed,
            ),
            (
                "http2_connections_calmed",
                "Connections of HTTP/2 that were ended because their frames cost too much",
                |listener| listener.calmed,
            ),
        ];
        for (name, help, value) in counts {
            rows(encoder, name, help, counter, each(value))?;
        }
        rows(
            encoder,
            "listener_connections",
            "Connections that are open",
            MetricType::Gauge,
            each(|listener| listener.connections as u64),
        )
    }

    fn rules(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.rules.iter();
        let hits = all.map(|(name, hits)| (vec![("rule", &**name)], *hits));
        let help = "Requests that met a rule, whatever became of them then";
        rows(
            encoder,
            "rule_hits",
            help,
            MetricType::Counter,
            hits.collect(),
        )
    }

    fn access_log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let log = self.0.access_log;
        for (name, help, count) in [
            (
                "access_log_written",
                "Rows of the access log that were written",
                log.written,
            ),
            (
                "access_log_dropped",
                "Rows that found no room and are lost",
                log.dropped,
            ),
            (
                "access_log_failures",
                "Writes of the access log that failed; their rows are tried again",
                log.failed,
            ),
        ] {
            let count = vec![(Vec::new(), count)];
            rows(encoder, name, help, MetricType::Counter, count)?;
        }
        Ok(())
    }

    fn pipes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot {
            pipes,
            spliced_bytes,
            pipe_refusals,
            ..
        } = self.0;
        for (name, help, kind, value) in [
            (
                "splice_pipes",
                "Pipes through which large pieces pass between connections within the kernel",
                MetricType::Gauge,
                pipes,
            ),
            (
                "spliced_bytes",
                "Bytes that passed so",
                MetricType::Counter,
                spliced_bytes,
            ),
            (
                "splice_refusals",
                "Large pieces that were copied for want of a pipe",
                MetricType::Counter,
                pipe_refusals,
            ),
        ] {
            rows(encoder, name, help, kind, vec![(Vec::new(), value)])?;
        }
        Ok(())
    }

    /// One row per standing, of which one reads 1: what a query or an alert can name without a table of numbers.
    fn standing(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut standing, mut checks): (Rows<'_>, Rows<'_>) = Default::default();
        for service in &self.0.services {
            for backend in &service.backends {
                let of = [("service", &*service.name), ("backend", &*backend.id)];
                for word in STANDINGS {
                    let labels = of.into_iter().chain([("standing", word)]).collect();
                    standing.push((labels, u64::from(word == backend.standing)));
                }
                for (word, count) in &backend.checks {
                    let labels = of.into_iter().chain([("result", *word)]).collect();
                    checks.push((labels, *count));
                }
            }
        }
        rows(
            encoder,
            "backend_standing",
            "1 at the standing that it has, 0 at the others",
            MetricType::Gauge,
            standing,
        )?;
        rows(
            encoder,
            "backend_checks",
            "Health checks by what they came to",
            MetricType::Counter,
            checks,
        )
    }
}

fn rows(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    rows: Rows<'_>,
) -> fmt::Result {
    let counts = matches!(kind, MetricType::Counter);
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        let labels = &labels[..];
        if counts && labels.is_empty() {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        } else if counts {
            let mut row = metric.encode_family(&labels)?;
            row.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        } else if labels.is_empty() {
            metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        } else {
            let mut row = metric.encode_family(&labels)?;
            row.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        }
    }
    Ok(())
}

/// Gauges that are no whole numbers.
fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    rows: impl Iterator<Item = (Labels<'a>, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        let labels = &labels[..];
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn histograms<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    rows: impl Iterator<Item = (Labels<'a>, &'a Distribution)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, all) in rows {
        let labels = &labels[..];
        let mut row = metric.encode_family(&labels)?;
        row.encode_histogram::<NoLabelSet>(all.sum.as_secs_f64(), all.count(), &all.buckets, None)?;
    }
    Ok(())
}
