//! Owns the question whether in-flight counters stand packed in one array or each on lines of its own.
//!
//! Two kinds of work: that of a scan policy (look at all counters, raise the least, lower it) and that of a policy of
//! two choices (look at two, raise the lower, lower it).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::contender::Contender;

const COUNT: usize = 20;

#[repr(align(64))]
struct Line(AtomicU64);

#[repr(align(128))]
struct TwoLines(AtomicU64);

struct Layout<T> {
    scan: bool,
    name: &'static str,
    counters: Vec<T>,
    of: fn(&T) -> &AtomicU64,
}

impl<T: Sync> Contender for Layout<T> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn run(&self, thread: usize, picks: u64) {
        let load = |at: usize| (self.of)(&self.counters[at]).load(Ordering::Relaxed);
        let mut chance = thread as u64 + 1;
        for _ in 0..picks {
            chance = chance
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let start = (chance >> 33) as usize % COUNT;
            let least = if self.scan {
                (start..COUNT)
                    .chain(0..start)
                    .min_by_key(|&at| load(at))
                    .unwrap_or(0)
            } else {
                let other = (start + 1 + (chance >> 12) as usize % (COUNT - 1)) % COUNT;
                if load(other) < load(start) {
                    other
                } else {
                    start
                }
            };
            (self.of)(&self.counters[least]).fetch_add(1, Ordering::Relaxed);
            (self.of)(&self.counters[least]).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Prints the comparison.
pub fn table(rounds: usize) {
    for scan in [true, false] {
        one(rounds, scan);
    }
}

fn one(rounds: usize, scan: bool) {
    let fresh = |_| AtomicU64::new(0);
    let layouts: [Box<dyn Contender>; 3] = [
        Box::new(Layout {
            scan,
            name: "packed, 8 to a line",
            counters: (0..COUNT).map(fresh).collect(),
            of: |one| one,
        }),
        Box::new(Layout {
            scan,
            name: "a line each (64 bytes)",
            counters: (0..COUNT).map(|at| Line(fresh(at))).collect(),
            of: |one| &one.0,
        }),
        Box::new(Layout {
            scan,
            name: "two lines each (128 bytes)",
            counters: (0..COUNT).map(|at| TwoLines(fresh(at))).collect(),
            of: |one| &one.0,
        }),
    ];
    println!(
        "## Layout of {COUNT} in-flight counters, {}\n\n| layout | 1 thread | 2 threads | 4 threads |\n|---|--:|--:|--:|",
        if scan {
            "all looked at"
        } else {
            "two looked at"
        }
    );
    let mut figures = vec![vec![Vec::new(); 3]; layouts.len()];
    for _ in 0..rounds {
        for (at, threads) in [1, 2, 4].into_iter().enumerate() {
            for (layout, figures) in layouts.iter().zip(&mut figures) {
                figures[at].push(crate::measure(layout.as_ref(), threads, 100_000));
            }
        }
    }
    for (layout, figures) in layouts.iter().zip(figures) {
        let cells: Vec<String> = figures.into_iter().map(crate::told).collect();
        println!("| {} | {} |", layout.name(), cells.join(" | "));
    }
    println!();
}
