use std::net::Ipv4Addr;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::ServiceSettings;
use evenkeel_balance::time::Instant;

use evenkeel_config::limits::{TRACES_OPEN, TRACES_WAIT};

use super::*;
use crate::observation::Observation;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn seen(reason: Reason, status: u16) -> Observation {
    Observation {
        reason,
        status,
        total: Duration::from_millis(900),
        ..Observation::begin(Ipv4Addr::LOCALHOST.into())
    }
}

/// A decision for this backend; for none, that nobody was picked.
fn decision(backend: Option<&str>) -> Decision {
    decision_among(backend, &["one", "two"])
}

fn decision_among(backend: Option<&str>, ids: &[&str]) -> Decision {
    let specs = ids.iter().map(|id| BackendSpec::new(*id)).collect();
    let service = Service::new(
        "api",
        ServiceSettings::default(),
        specs,
        Arc::new(()),
        Instant::ZERO,
    )
    .unwrap();
    Decision {
        service: "api".into(),
        key: None,
        affinity: None,
        explanation: Some(service.explain(&Ask::new(1), Instant::ZERO)),
        after: Duration::ZERO,
        waited: Duration::ZERO,
        picked: Some(backend.map(BackendId::from).ok_or(Refusal::AllTried)),
        beside: false,
        timers: Timers {
            connect: Duration::ZERO,
            per_try: Duration::ZERO,
            exchange: Duration::ZERO,
        },
        ended: None,
    }
}

fn record(number: u64, because: Because) -> Recorded {
    Recorded {
        number,
        because: Some(because),
        trace: None,
        revision: None,
        batch: Batch::default(),
        decisions: Vec::new(),
        unwritten: 0,
    }
}

#[test]
fn the_last_of_each_kind_are_kept_and_where_somebody_looks_none() {
    let shelf = Arc::new(Shelf::default());
    let most = DECISION_RECORDS as u64;
    shelf.put(record(shelf.number(), Because::Asked("ci".into())));
    for _ in 0..most + 3 {
        shelf.put(record(shelf.number(), Because::Drawn));
    }
    let numbers: Vec<_> = shelf.all().iter().map(|one| one.number).collect();
    // The one that was asked for is not forgotten for those that were drawn.
    let expect: Vec<_> = std::iter::once(0).chain(4..most + 4).collect();
    assert_eq!(numbers, expect);
    let looks = shelf.rows.lock().unwrap();
    shelf.put(record(shelf.number(), Because::Drawn));
    drop(looks);
    shelf.missed(Missed::Token);
    let expect = RecordCounts {
        kept: vec![("share", most + 3), ("header", 1)],
        overwritten: 3,
        missed: vec![("pace", 0), ("under_way", 0), ("busy", 1), ("token", 1)],
    };
    assert_eq!(RecordCounts::of(&[shelf, Arc::default()]), expect);
}

/// Large ones are fewer, and the oldest go for them.
#[test]
fn so_many_bytes_are_kept_of_each_kind() {
    let ids: Vec<_> = (0..CANDIDATES).map(|at| format!("{at:0>256}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let large = |number| Recorded {
        decisions: vec![decision_among(None, &ids)],
        ..record(number, Because::Drawn)
    };
    let shelf = Shelf::default();
    shelf.put(record(shelf.number(), Because::Asked("ci".into())));
    let size = large(0).size();
    // Identities count, and a record is never a large part of all.
    assert!(
        (CANDIDATES * 256..DECISION_RECORDS_BYTES / 16).contains(&size),
        "{size}"
    );
    let fit = (DECISION_RECORDS_BYTES / size) as u64;
    assert!(fit < DECISION_RECORDS as u64, "{fit}");
    for _ in 0..fit + 2 {
        shelf.put(large(shelf.number()));
    }
    let numbers = || shelf.all().iter().map(|one| one.number).collect::<Vec<_>>();
    let expect: Vec<_> = std::iter::once(0).chain(3..fit + 3).collect();
    assert_eq!(numbers(), expect);
    assert_eq!(shelf.overwritten.get(), 2);
    // What has gone takes no room.
    for _ in 0..DECISION_RECORDS {
        shelf.put(record(shelf.number(), Because::Drawn));
    }
    assert_eq!(numbers().len(), 1 + DECISION_RECORDS);
}

/// How each attempt ended, by backend; none where nobody was picked.
fn ends(recording: &Recording, seen: &Observation) -> Vec<(Option<String>, Option<End>)> {
    let all = recording.close(seen).into_iter();
    all.map(|one| {
        let backend = one.picked.unwrap().ok().map(|id| id.as_str().to_owned());
        (backend, one.ended.map(|ended| ended.how))
    })
    .collect()
}

#[test]
fn each_attempt_has_its_own_end() {
    let reset = End::Failed(Reason::BackendReset);
    let name = |name: &str| Some(name.to_owned());
    let begin =
        || Recorder::new(Arc::default()).begin((Some(Because::Drawn), None), None, Instant::ZERO);
    // It failed, and the next one was picked then.
    let recording = begin();
    recording.decided(decision(Some("one")));
    recording.went(&seen(Reason::Served, 0), reset, at(1));
    recording.decided(decision(Some("two")));
    assert_eq!(
        ends(&recording, &seen(Reason::Served, 200)),
        [
            (name("one"), Some(reset)),
            (name("two"), Some(End::Answered(200)))
        ]
    );
    // Its answer was given up for the next one, which was picked before.
    let recording = begin();
    recording.decided(decision(Some("one")));
    recording.decided(decision(Some("two")));
    recording.went(&seen(Reason::Served, 0), End::Answered(503), at(1));
    assert_eq!(
        ends(&recording, &seen(Reason::BackendTimeout, 504)),
        [
            (name("one"), Some(End::Answered(503))),
            (name("two"), Some(End::Failed(Reason::BackendTimeout)))
        ]
    );
    // There was nobody for that, so that the client has it.
    let recording = begin();
    recording.decided(decision(Some("one")));
    recording.decided(decision(None));
    assert_eq!(
        ends(&recording, &seen(Reason::Served, 503)),
        [(name("one"), Some(End::Answered(503))), (None, None)]
    );
    // Beside a slow one: outrun, outrunning it, or left behind.
    let beside = || {
        let recording = begin();
        recording.decided(decision(Some("one")));
        recording.decided_beside(decision(Some("two")));
        recording
    };
    let recording = beside();
    recording.went_beside(End::Outrun, at(1));
    assert_eq!(
        ends(&recording, &seen(Reason::Served, 200)),
        [
            (name("one"), Some(End::Answered(200))),
            (name("two"), Some(End::Outrun))
        ]
    );
    let recording = beside();
    recording.overtaken(&seen(Reason::Served, 0), at(1));
    assert_eq!(
        ends(&recording, &seen(Reason::Served, 200)),
        [
            (name("one"), Some(End::Outrun)),
            (name("two"), Some(End::Answered(200)))
        ]
    );
    let recording = beside();
    assert_eq!(
        ends(&recording, &seen(Reason::ClientGone, 0)),
        [
            (name("one"), Some(End::Failed(Reason::ClientGone))),
            (name("two"), Some(End::GivenUp))
        ]
    );
}

#[test]
fn so_many_decisions_are_written_down_and_the_rest_counted() {
    let recording =
        Recorder::new(Arc::default()).begin((Some(Because::Drawn), None), None, Instant::ZERO);
    for _ in 0..DECISIONS + 2 {
        recording.decided(decision(Some("one")));
        recording.went(&seen(Reason::Served, 0), End::Answered(503), at(1));
    }
    recording.decided_beside(decision(Some("two")));
    recording.overtaken(&seen(Reason::Served, 0), at(2));
    assert_eq!(recording.unwritten(), 3);
    let ends = ends(&recording, &seen(Reason::Served, 200));
    assert_eq!(ends.len(), DECISIONS);
    assert!(ends.iter().all(|(_, end)| *end == Some(End::Answered(503))));
}

/// A second's worth, each kind by itself; who has too many is counted.
#[test]
fn so_many_are_recorded_in_a_second() {
    let shelf = Arc::new(Shelf::default());
    let recorder = Recorder::new(shelf.clone());
    let most = evenkeel_config::limits::RECORDS_A_SECOND;
    for (ms, expect) in [(5_000, most), (5_999, 0), (6_000, most)] {
        let may = (0..most + 1)
            .filter(|_| recorder.may(DRAWN, at(ms)))
            .count();
        assert_eq!(u32::try_from(may), Ok(expect), "{ms}");
        assert!(recorder.may(ASKED, at(ms)), "{ms}");
    }
    let missed = RecordCounts::of(&[shelf]).missed;
    assert_eq!(missed[0], ("pace", u64::from(most) + 3));
}

/// Those that go on for long leave no room for more until they end, each kind by itself.
#[test]
fn so_many_are_under_way() {
    let shelf = Arc::new(Shelf::default());
    let recorder = Recorder::new(shelf.clone());
    let most = evenkeel_config::limits::RECORDS_UNDER_WAY;
    let begin = || recorder.begin((Some(Because::Drawn), None), None, Instant::ZERO);
    let mut all: Vec<_> = (1..most).map(|_| begin()).collect();
    assert!(recorder.may(DRAWN, at(1_000)));
    all.push(begin());
    assert!(!recorder.may(DRAWN, at(2_000)));
    assert!(recorder.may(ASKED, at(2_000)));
    all.pop();
    assert!(recorder.may(DRAWN, at(3_000)));
    let missed = RecordCounts::of(&[shelf]).missed;
    assert_eq!(missed[..2], [("pace", 0), ("under_way", 1)]);
}

#[test]
fn so_many_wait_to_be_told_and_the_next_are_lost_and_counted() {
    let waiting = traced::Waiting::default();
    let told = || Arc::new(record(0, Because::Drawn));
    let most = TRACES_WAIT as u64;
    for _ in 0..most + 3 {
        waiting.put(told());
    }
    let counts = |kept: u64, dropped: u64| TraceCounts {
        kept,
        dropped,
        crowded: 0,
    };
    assert_eq!(waiting.counts(), counts(most, 3));
    // Who takes some makes room for as many.
    assert_eq!(waiting.take(2).len(), 2);
    for _ in 0..3 {
        waiting.put(told());
    }
    assert_eq!(waiting.counts(), counts(most + 2, 4));
    waiting.drop_all();
    assert_eq!(waiting.counts(), counts(most + 2, 4 + most));
    assert!(waiting.take(usize::MAX).is_empty());
}

/// As many as may are traced at once, whatever else is recorded; the next is counted, and has its place when one has ended.
#[test]
fn so_many_that_are_traced_are_under_way() {
    let shelf = Arc::new(Shelf::default());
    let recorder = Recorder::new(shelf.clone());
    let trace = Trace::begin(None, || 7);
    let begin = || recorder.begin((None, Some(trace)), None, Instant::ZERO);
    let mut all: Vec<_> = (1..TRACES_OPEN).map(|_| begin()).collect();
    assert!(recorder.may_trace());
    all.push(begin());
    assert!(!recorder.may_trace());
    assert!(recorder.may(DRAWN, at(1_000)));
    assert_eq!(shelf.traces.counts().crowded, 1);
    all.pop();
    assert!(recorder.may_trace());
}
