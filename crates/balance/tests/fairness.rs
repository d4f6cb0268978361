//! One row per policy: idle backends of given weights get shares that follow the weights, and nothing else.
//!
//! A new policy adds its row here.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::sync::Arc;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendSpec, Weight};
use evenkeel_balance::hashing;
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{HashMethod, PolicyChoice, ServiceSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;

/// Sends `exchanges` one after another and compares the share of each backend with its weight.
fn check(policy: PolicyChoice, weights: &[u32], exchanges: u64, within: f64) {
    let name = policy.name().to_owned();
    let spec = |(at, weight): (usize, &u32)| {
        BackendSpec::new(format!("backend-{at}")).weight(Weight::new(*weight).unwrap())
    };
    let backends = weights.iter().enumerate().map(spec).collect();
    let service = Service::new(
        "fair",
        ServiceSettings::with_policy(policy),
        backends,
        Arc::new(()),
        Instant::ZERO,
    )
    .unwrap();
    for exchange in 0..exchanges {
        let now = Instant::from_nanos(exchange * 1_000_000);
        let chance = hashing::mix(7, exchange);
        let pick = service
            .pick(&Ask::new(chance).key(hashing::mix(8, exchange)), now)
            .unwrap();
        pick.finish(
            Outcome::Completed,
            Instant::from_nanos(exchange * 1_000_000 + 500_000),
        );
        if exchange % 100 == 0 {
            service.tick(now);
        }
    }
    service.laws().unwrap();
    for backend in service.snapshot(Instant::ZERO).backends {
        let off = (backend.share_got - backend.share_wanted).abs() / backend.share_wanted.max(1e-9);
        if backend.spec.weight == Weight::ZERO {
            assert_eq!(backend.counts.picked, 0, "{name}: weight 0 takes nothing");
        } else {
            assert!(
                off <= within,
                "{name} {weights:?}: {} got {:.4}, wanted {:.4}",
                backend.id,
                backend.share_got,
                backend.share_wanted
            );
        }
    }
}

#[test]
fn shares_follow_weights() {
    use PolicyChoice::{Adaptive, Hash, LeastConnections, PowerOfTwo, Random, RoundRobin};
    let even: &[u32] = &[1; 20];
    let skew: &[u32] = &[5, 1, 1, 0, 3];
    let rows = [
        (RoundRobin, even, 0.001),
        (RoundRobin, skew, 0.01),
        (Random, even, 0.05),
        (Random, skew, 0.05),
        (LeastConnections, even, 0.05),
        (LeastConnections, skew, 0.05),
        (PowerOfTwo, even, 0.05),
        (PowerOfTwo, skew, 0.05),
        (Hash(HashMethod::Maglev), even, 0.05),
        (Hash(HashMethod::Maglev), skew, 0.05),
        (Hash(HashMethod::Rendezvous), even, 0.05),
        (Hash(HashMethod::Rendezvous), skew, 0.05),
        (Adaptive, even, 0.05),
    ];
    for (policy, weights, within) in rows {
        check(policy, weights, 100_000, within);
    }
}
