//! What a pick costs: ours, tower's and Pingora's, interleaved in one run.
//!
//! `cargo xtask bench picks` runs it. Nothing is decided by time here: medians and their spread are printed, for people.
//! A figure is wall time divided by the picks of one thread, each pick answered and finished where the balancer
//! can be told; Pingora's selection cannot, and tower's balancer belongs to one task, so each thread has its own.
#![forbid(unsafe_code)]

/// The balancers that are measured.
mod contender;

/// Layouts of the in-flight counters, apart from any balancer.
mod layout;

use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use contender::Contender;

/// How long one measurement of one cell lasts, about.
const SLICE: Duration = Duration::from_millis(25);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (rounds, sizes): (usize, &[usize]) = match words[..] {
        [] => (9, &[3, 20, 100, 1000]),
        ["--quick"] => (5, &[20, 1000]),
        _ => {
            eprintln!("usage: evenkeel-bench-picks [--quick]");
            return ExitCode::from(2);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    println!(
        "{cores} cores; {rounds} interleaved rounds of {} ms; nanoseconds per pick of one thread, median (least to most)\n",
        SLICE.as_millis()
    );
    for &size in sizes {
        for threads in 1..=4 {
            if threads <= cores {
                table(size, threads, rounds);
            }
        }
    }
    layout::table(rounds);
    register();
    ExitCode::SUCCESS
}

fn table(size: usize, threads: usize, rounds: usize) {
    let contenders = contender::all(size);
    let lengths: Vec<u64> = contenders
        .iter()
        .map(|contender| calibrate(contender.as_ref()))
        .collect();
    let mut figures = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for ((contender, length), figures) in contenders.iter().zip(&lengths).zip(&mut figures) {
            figures.push(measure(contender.as_ref(), threads, *length));
        }
    }
    println!(
        "## {size} backends, {threads} thread{}\n",
        if threads == 1 { "" } else { "s" }
    );
    println!("| balancer | ns per pick |\n|---|--:|");
    for (contender, figures) in contenders.iter().zip(figures) {
        println!("| {} | {} |", contender.name(), told(figures));
    }
    println!();
}

/// So many picks fill a slice.
fn calibrate(contender: &dyn Contender) -> u64 {
    let mut length = 500;
    loop {
        let took = time(|| contender.run(0, length));
        if took > SLICE / 8 || length > 1 << 30 {
            let slice = SLICE.as_nanos() as f64 / took.as_nanos().max(1) as f64;
            return (length as f64 * slice) as u64 + 1;
        }
        length *= 2;
    }
}

fn measure(contender: &dyn Contender, threads: usize, length: u64) -> f64 {
    let barrier = Barrier::new(threads);
    let slowest = std::thread::scope(|scope| {
        let spawn = |thread: usize| {
            let barrier = &barrier;
            scope.spawn(move || {
                contender.run(thread, 10);
                barrier.wait();
                time(|| contender.run(thread, length))
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no contender panics"))
            .max()
    });
    slowest.unwrap_or_default().as_nanos() as f64 / length as f64
}

fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn told(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    format!(
        "{:.1} ({:.1} to {:.1})",
        figures[last / 2],
        figures[0],
        figures[last]
    )
}

/// What many members cost: joining, and a tick.
fn register() {
    println!(
        "## Many members\n\n| members | register ms | tick ms | idle tick ms |\n|--:|--:|--:|--:|"
    );
    for count in [1_000, 10_000, 100_000] {
        let mut service = None;
        let joined = time(|| service = Some(contender::service(count)));
        let service = service.expect("made just now");
        let first = time(|| service.tick(evenkeel_balance::time::Instant::from_nanos(100_000_000)));
        let idle = time(|| service.tick(evenkeel_balance::time::Instant::from_nanos(200_000_000)));
        println!(
            "| {count} | {:.2} | {:.2} | {:.2} |",
            millis(joined),
            millis(first),
            millis(idle)
        );
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
