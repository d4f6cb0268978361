//! Owns what is asked of the machine: how busy it is, and what it is.

use std::fs;

/// Time of all cores since the start of the machine, in the kernel's ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    idle: u64,
    all: u64,
}

impl Busy {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|word| word.parse().ok())
            .collect();
        Self {
            // Idle, and waiting for a disk.
            idle: ticks.iter().skip(3).take(2).sum(),
            all: ticks.iter().sum(),
        }
    }

    /// The share of time since then that was not idle; what a hypervisor took counts, too.
    pub(crate) fn since(self) -> f64 {
        let now = Self::now();
        let (idle, all) = (now.idle - self.idle, (now.all - self.all).max(1));
        1.0 - idle as f64 / all as f64
    }
}
