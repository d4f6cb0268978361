//! The shortest use: who should get this call, and how did it go.
//!
//! `cargo run --example choose`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use evenkeel::{Error, LoadBalancer, PolicyChoice, ServiceSettings, Verdict};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
    balancer.register("api", settings, ["10.0.0.1:80", "10.0.0.2:80"])?;
    for call in 1..=4 {
        let mut pick = balancer.select("api")?;
        println!("call {call} goes to {}", pick.id());
        pick.answered(Verdict::Success); // at the response head
        pick.succeeded(); // at the last byte
    }
    Ok(())
}
