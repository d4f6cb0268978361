//! Owns the metrics of the process, by the names that Prometheus' own libraries have for them, and of its workers.
//!
//! Linux tells them in `/proc` when somebody asks; where there is none, those rows are missing and the others are not.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Page, Rows, rows};

/// Ticks of a second in which `/proc` counts processor time: a part of Linux's interface, the same on every machine that this runs on.
const TICKS: f64 = 100.0;

/// A process that began then, since 1970.
#[derive(Debug)]
pub(super) struct Process(pub(super) Duration);

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let cpu = read("stat").and_then(|stat| processor_time(&stat));
        let help = "Processor time of the process, of users and system";
        cpu_seconds(
            &mut encoder,
            "process_cpu_seconds",
            help,
            cpu.map(|cpu| (None, cpu)),
        )?;
        let help = "When the process began, since 1970";
        let name = "process_start_time_seconds";
        encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&self.0.as_secs_f64())?;
        let status = read("status").unwrap_or_default();
        let limits = read("limits").unwrap_or_default();
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory that is held, in bytes",
                kibibytes(&status, "VmRSS:"),
            ),
            (
                "process_virtual_memory_bytes",
                "Memory that is mapped, in bytes",
                kibibytes(&status, "VmSize:"),
            ),
            (
                "process_threads",
                "Threads of the process",
                field(&status, "Threads:"),
            ),
            (
                "process_open_fds",
                "Descriptors that are open",
                open_files(),
            ),
            (
                "process_max_fds",
                "The most descriptors that may be open",
                field(&limits, "Max open files"),
            ),
        ] {
            let row = value.map(|value| (Vec::new(), value));
            rows(
                &mut encoder,
                name,
                help,
                MetricType::Gauge,
                row.into_iter().collect(),
            )?;
        }
        Ok(())
    }
}

/// Processor time, of a worker or of no one.
fn cpu_seconds<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Option<&'a str>, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (worker, seconds) in rows {
        match worker {
            None => metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?,
            Some(worker) => metric
                .encode_family(&[("worker", worker)])?
                .encode_counter::<NoLabelSet, _, u64>(&seconds, None)?,
        }
    }
    Ok(())
}

/// User and system time of a process or a thread by its `stat` (proc(5)), in seconds. What stands in brackets is a name, and may hold anything.
fn processor_time(stat: &str) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// The number behind a word that a line begins with.
fn field(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kibibytes(status: &str, word: &str) -> Option<u64> {
    field(status, word)?.checked_mul(1024)
}

/// Newer kernels say the number as the folder's size; to count 10,000 names takes milliseconds.
fn open_files() -> Option<u64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    match size {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        known => Some(known),
    }
}

/// Processor time of each worker, by its number. Threads that have ended are none any more; one that has just been replaced may still be
/// there, and a page may have a row but once.
fn workers() -> BTreeMap<u32, f64> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let each = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        let (_, name) = stat.split_once('(')?;
        let (name, _) = name.rsplit_once(')')?;
        let number: u32 = name.strip_prefix("worker-")?.parse().ok()?;
        Some((number, processor_time(&stat)?))
    });
    each.collect()
}

impl Page {
    pub(super) fn workers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Processor time of each worker; how uneven they are, by its rates";
        let cpu = workers();
        let cpu = cpu.iter().map(|(worker, cpu)| (worker.to_string(), *cpu));
        let cpu: Vec<_> = cpu.collect();
        let all = cpu.iter().map(|(worker, cpu)| (Some(&**worker), *cpu));
        cpu_seconds(encoder, "worker_cpu_seconds", help, all)?;
        let open = &self.0.worker_connections;
        let names: Vec<String> = (0..open.len()).map(|worker| worker.to_string()).collect();
        let each = names.iter().zip(open);
        let open: Rows<'_> = each
            .map(|(worker, open)| (vec![("worker", &**worker)], *open as u64))
            .collect();
        let gauge = MetricType::Gauge;
        let help = "Connections of clients that each worker has open, as of its last sweep";
        rows(encoder, "worker_connections", help, gauge, open)?;
        let help = "1, beside what runs";
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
        ];
        rows(encoder, "build_info", help, gauge, vec![(labels, 1)])?;
        let draining = vec![(Vec::new(), u64::from(self.0.draining))];
        let help = "Whether the instance takes no more connections";
        rows(encoder, "draining", help, gauge, draining)?;
        let left = vec![(Vec::new(), self.0.predecessors as u64)];
        let help = "Processes that this one took over from, and that still drain";
        rows(encoder, "predecessors", help, gauge, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "712 (a) S 1 (b 2) S 1 712 712 0 -1 4194560 5087 0 33 0 1234 66 0 0 20 0 9 0 4117 1287847936 4321 18446744073709551615 1 1 0 0 0 0 0 4096 17642 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    /// A process may call itself anything.
    #[test]
    fn processor_time_stands_behind_the_name_whatever_that_is() {
        assert_eq!(processor_time(STAT), Some(13.0));
        assert_eq!(processor_time("712 (a) S 1 2 3"), None);
        assert_eq!(processor_time(""), None);
    }

    #[test]
    fn numbers_stand_behind_their_words() {
        let status = "Name:\tevenkeel\nVmSize:\t  20 kB\nVmRSS:\t   8 kB\nThreads:\t9\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(8_192));
        assert_eq!(field(status, "Threads:"), Some(9));
        assert_eq!(field(status, "VmSwap:"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1048576              1048576              files     \n";
        assert_eq!(field(limits, "Max open files"), Some(1_048_576));
        let unlimited =
            "Max open files            unlimited            unlimited            files     \n";
        assert_eq!(field(unlimited, "Max open files"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_descriptors_and_threads() {
        assert!(
            open_files().unwrap() > 2,
            "those that every process has, and a folder"
        );
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(field(&status, "Threads:").unwrap() > 0);
        assert!(kibibytes(&status, "VmRSS:").unwrap() > 1024 * 1024);
    }
}
