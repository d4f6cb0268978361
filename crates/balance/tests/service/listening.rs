use std::sync::{Arc, Mutex};

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::event::{Event, EventKind, Listener};
use evenkeel_balance::service::Service;
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Outcome, Verdict};

use crate::stage::{id, plain};

const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// Panics at everything it hears.
struct Panics;

impl Listener for Panics {
    fn hear(&self, _event: &Event) {
        unreachable!("on purpose");
    }

    fn wants_exchanges(&self) -> bool {
        true
    }

    fn tick_wanted(&self) {
        unreachable!("on purpose");
    }
}

#[test]
fn a_listener_that_panics_harms_nobody_else() {
    let backends = vec![BackendSpec::new("a"), BackendSpec::new("b")];
    let service = Service::new("loud", plain(), backends, Arc::new(Panics), NOW).unwrap();
    for _ in 0..20 {
        let mut pick = service.pick(&Ask::new(1), NOW).unwrap();
        pick.answered(
            Verdict::Failure(evenkeel_balance::verdict::Fault::Reset),
            NOW,
        );
        pick.finish(Outcome::Completed, NOW);
    }
    drop(service.pick(&Ask::new(1), NOW).unwrap());
    service.tick(NOW);
    service.mark(&id("a"), Some(false), None, NOW).unwrap();
    let snapshot = service.snapshot(NOW);
    assert_eq!(snapshot.backend("a").unwrap().standing, Standing::Down);
    assert!(
        snapshot
            .backends
            .iter()
            .all(|backend| backend.counts.in_flight == 0)
    );
    service.laws().unwrap();
}

/// Keeps the standing that it heard last, and changes the service from within.
#[derive(Default)]
struct Meddles {
    service: Mutex<Option<Service>>,
    heard: Mutex<Vec<(Standing, Standing)>>,
}

impl Listener for Meddles {
    fn hear(&self, event: &Event) {
        if let EventKind::StandingChanged { from, to, .. } = &event.kind {
            self.heard.lock().unwrap().push((*from, *to));
            let service = self.service.lock().unwrap().take();
            if let Some(service) = service {
                service.mark(&id("a"), Some(true), None, NOW).unwrap();
            }
        }
    }
}

#[test]
fn a_listener_may_change_the_service_and_hears_it_after_what_it_is_hearing() {
    let ear = Arc::new(Meddles::default());
    let backends = vec![BackendSpec::new("a"), BackendSpec::new("b")];
    let service = Service::new("meddled", plain(), backends, ear.clone(), NOW).unwrap();
    *ear.service.lock().unwrap() = Some(service.clone());
    service.mark(&id("a"), Some(false), None, NOW).unwrap();
    let heard = ear.heard.lock().unwrap().clone();
    assert_eq!(
        heard,
        [
            (Standing::Serving, Standing::Down),
            (Standing::Down, Standing::Serving)
        ]
    );
}

#[test]
fn changes_from_many_threads_are_heard_in_the_order_in_which_they_were_made() {
    let ear = Arc::new(Meddles::default());
    let service = Service::new(
        "order",
        plain(),
        vec![BackendSpec::new("a")],
        ear.clone(),
        NOW,
    )
    .unwrap();
    std::thread::scope(|scope| {
        for healthy in [true, false] {
            let service = &service;
            scope.spawn(move || {
                for _ in 0..2000 {
                    service.mark(&id("a"), Some(healthy), None, NOW).unwrap();
                }
            });
        }
    });
    let heard = ear.heard.lock().unwrap().clone();
    for pair in heard.windows(2) {
        assert_eq!(
            pair[0].1, pair[1].0,
            "what came out of one change goes into the next"
        );
    }
    let last = heard.last().map(|(_, to)| *to).unwrap_or(Standing::Serving);
    assert_eq!(service.snapshot(NOW).backend("a").unwrap().standing, last);
}
