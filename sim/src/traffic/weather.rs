//! Owns what changes while a world runs: backends that come and go, partitions that heal, checks, reloads, and the end of the
//! proxy.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::event::Listener;
use evenkeel_balance::health::{CheckFault, CheckReport, CheckResult};
use evenkeel_proxy::live::Live;

use super::backend::{Backend, Reach};
use super::{Kind, World, setting};
use crate::chance::Chance;

/// Begins it, in tasks of their own.
pub(super) fn begin(world: &World) {
    for backend in &world.backends {
        // One stays good where faults are to be hidden.
        if world.kind == Kind::Hidden && backend.number == 0 {
            continue;
        }
        let chance = Chance::new(world.chance.borrow_mut().word(), 30);
        world
            .stage
            .spawn(changes(backend.clone(), world.kind, chance));
    }
    checks(world);
    if world.kind != Kind::Wild {
        return;
    }
    if world.chance.borrow_mut().below(3) == 0 {
        reloads(world);
    }
    if world.chance.borrow_mut().below(4) == 0 {
        drains(world);
    }
}

/// Some seconds of one thing after another.
async fn changes(backend: Rc<Backend>, kind: Kind, mut chance: Chance) {
    let stage = backend.stage.clone();
    for _ in 0..chance.below(5) {
        stage
            .sleep(Duration::from_secs_f64(2.0 * chance.unit()))
            .await;
        // Short of what would cut a body where faults are to be hidden.
        let least = if kind == Kind::Hidden { 1.0 } else { 8.0 };
        let lasts = Duration::from_secs_f64(least * chance.unit());
        match chance.below(4) {
            0 => {
                backend.ledger.fault("refuses connections");
                backend.reach.set(Reach::Refuses);
            }
            1 => {
                backend.ledger.fault("connecting never ends");
                backend.reach.set(Reach::Silent);
            }
            2 => {
                backend.ledger.fault("partition");
                backend.part();
            }
            // A body on its way cannot be hidden from its client.
            _ if kind == Kind::Hidden => {}
            _ => {
                backend.ledger.fault("killed");
                backend.reach.set(Reach::Refuses);
                backend.kill();
            }
        }
        stage.sleep(lasts).await;
        backend.reach.set(Reach::Up);
        backend.way.parted.set(false);
    }
}

/// What a prober would find, told to the core where the control plane tells it.
fn checks(world: &World) {
    let (stage, published) = (world.stage.clone(), world.published.clone());
    let backends = world.backends.clone();
    world.stage.spawn(async move {
        loop {
            let began = stage.now();
            stage.sleep(Duration::from_millis(500)).await;
            for backend in &backends {
                let result = match (backend.reach.get(), backend.way.parted.get()) {
                    (Reach::Up, false) => CheckResult::Passed,
                    (Reach::Refuses, false) => CheckResult::Failed(CheckFault::Refused),
                    _ => CheckResult::Failed(CheckFault::Timeout),
                };
                let report = CheckReport::new(result, began).latency(stage.now().since(began));
                let id = BackendId::from(setting::id(backend.number));
                let live = published.load();
                for service in &live.services {
                    // It may have left the plan meanwhile.
                    let _ = service.state.service.check(&id, report, stage.now());
                }
            }
        }
    });
}

/// A backend leaves the plan and comes back, twice.
fn reloads(world: &World) {
    world.reloaded.set(true);
    let (stage, published) = (world.stage.clone(), world.published.clone());
    let (kind, several) = (world.kind, world.backends.len());
    let mut chance = Chance::new(world.chance.borrow_mut().word(), 31);
    let ledger = world.ledger.clone();
    world.stage.spawn(async move {
        let events: Arc<dyn Listener> = Arc::new(());
        for turn in 0..4 {
            stage
                .sleep(Duration::from_secs_f64(2.0 * chance.unit()))
                .await;
            let gone = (turn % 2 == 0 && several > 1).then(|| chance.below(several));
            let plan = setting::plan(kind, several, gone, &mut chance);
            let before = published.load();
            let next = Live::join(plan, Some(&before), 1, &events, stage.now());
            published.store(next);
            ledger.fault("reload");
        }
    });
}

/// The proxy takes its leave while clients still ask.
fn drains(world: &World) {
    let (stage, worker, closing) = (
        world.stage.clone(),
        world.worker.clone(),
        world.closing.clone(),
    );
    let after = Duration::from_secs_f64(5.0 * world.chance.borrow_mut().unit());
    let ledger = world.ledger.clone();
    world.stage.spawn(async move {
        stage.sleep(after).await;
        ledger.fault("drain");
        closing.set(true);
        worker.close(Duration::from_secs(5));
    });
}
