use std::time::Duration;

use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, Quantile};
use evenkeel_balance::time::Instant;

use crate::counting::allocations;
use crate::plan::plan;
use crate::world::{World, published};
use crate::{ANSWER, REQUEST};

/// An exchange that is not slow pays for a word or two, and for nothing else.
#[test]
fn who_is_not_slow_allocates_nothing_and_calls_nobody() {
    for at in [
        HedgeAt::After(Duration::from_millis(20)),
        HedgeAt::Quantile(Quantile::new(950).unwrap()),
    ] {
        let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
        plan.services[0].settings.hedge = Some(HedgeSettings::at(at));
        let published = published(plan);
        let service = published.load().services[0].state.service.clone();
        let mut world = World::over(published);
        let mut client = world.connect();
        let mut seconds = 2;
        for _ in 0..2 {
            for _ in 0..200 {
                world.exchange(&mut client, REQUEST, ANSWER);
            }
            service.tick(Instant::from_nanos(seconds * 1_000_000_000));
            seconds += 2;
        }
        let known = service.hedge_after(evenkeel_balance::ask::ClassId(0));
        assert!(known.is_some(), "{at:?}: nothing is to be waited for");
        world.exchange(&mut client, REQUEST, ANSWER);
        let before = world.calls();
        let asked = allocations(|| {
            for _ in 0..100 {
                world.exchange(&mut client, REQUEST, ANSWER);
            }
        });
        assert_eq!(asked, 0, "{at:?}: allocations in 100 exchanges");
        assert_eq!(world.calls() - before, 400, "{at:?}");
    }
}
