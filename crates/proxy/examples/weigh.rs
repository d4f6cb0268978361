//! What `cargo xtask counts` weighs: exchanges over connections in memory, and finding a rule among few and many.
//!
//! `weigh --list` names the rows; `weigh <name> <repetitions>` runs one of them.
#![expect(clippy::print_stdout, reason = "the rows are its output")]
#![expect(
    clippy::unwrap_used,
    reason = "it stops where it likes, as a test does"
)]

#[path = "../tests/exchange/plan.rs"]
mod plan;
#[path = "../tests/counts/world.rs"]
mod world;

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use evenkeel_config::plan::{HostPattern, PathPattern};
use evenkeel_proxy::rules::{Asked, Rules};
use world::World;

const ROWS: [&str; 4] = ["exchange", "rules/1", "rules/10", "rules/1000"];

const REQUEST: &[u8] = b"GET /some/path?with=query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: counts\r\nAccept: */*\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

fn exchanges(repetitions: u64) {
    let mut world = World::new();
    let mut client = world.connect();
    for _ in 0..repetitions {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    black_box(world.calls());
    black_box(world.bytes_of_a_pipe());
}

/// Finds the last of so many rules, each of a host of its own with a prefix.
fn rules(count: usize, repetitions: u64) {
    let one = &plan::plan(&[]).rules[0];
    let rules: Vec<_> = (0..count)
        .map(|number| {
            let mut rule = one.clone();
            let host = format!("host-{number}.example.com");
            rule.when.hosts = vec![HostPattern::Exact(host.as_str().into())];
            rule.when.paths = vec![PathPattern::Prefix("/some".into())];
            rule
        })
        .collect();
    let rules = Rules::new(&rules);
    let host = format!("host-{}.example.com", count - 1);
    let asked = Asked {
        listener: 0,
        host: &host,
        path: b"/some/path",
        method: b"GET",
    };
    for _ in 0..repetitions {
        assert_eq!(black_box(&rules).find(black_box(&asked)), Some(count - 1));
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => ROWS.iter().for_each(|name| println!("{name}")),
        ["exchange", repetitions] => exchanges(repetitions.parse()?),
        [name, repetitions] => {
            let count = name.strip_prefix("rules/").ok_or("there is no such row")?;
            rules(count.parse()?, repetitions.parse()?);
        }
        _ => {
            println!("usage: weigh --list | weigh <name> <repetitions>");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
