use evenkeel_balance::backend::BackendId;
use evenkeel_balance::event::EventKind;
use evenkeel_balance::health::CheckFault;
use evenkeel_balance::time::Instant;

use super::*;

const BEGIN: u64 = 5_000;

fn chronicle(most: usize) -> Arc<Chronicle> {
    Arc::new(Chronicle::of_most(Duration::from_millis(5), most))
}

/// The texts of refused reloads, which stand for any event.
fn told(chronicle: &Chronicle, words: &str) {
    for word in words.chars() {
        chronicle.write_at(Duration::ZERO, What::ReloadRefused(word.into()));
    }
}

fn words(rows: &[Arc<Happened>]) -> String {
    rows.iter().filter_map(|row| row.facts().detail).collect()
}

/// Of twelve of which eight are remembered: what is asked, what is answered, behind which number to go on, and how many are missed.
#[track_caller]
fn check(after: Option<u64>, most: usize, expect: (&str, u64, Option<Option<u64>>)) {
    let chronicle = chronicle(8);
    told(&chronicle, "abcdefghijkl");
    // A quarter is not wanted.
    let wanted = |row: &Happened| !row.number.is_multiple_of(4);
    let page = chronicle.page(after, most, wanted);
    let missed = page.missed.map(|missed| missed.events);
    assert_eq!(
        (&*words(&page.rows), page.next - BEGIN, missed),
        expect,
        "{after:?} {most}"
    );
}

#[test]
fn a_page_has_what_is_wanted_and_says_what_is_missed() {
    // The last, in their order.
    check(None, 3, ("jkl", 11, None));
    check(None, 100, ("fghjkl", 11, None));
    check(None, 0, ("", 11, None));
    // Those behind a number, which need not be wanted.
    check(Some(BEGIN + 4), 100, ("fghjkl", 11, None));
    check(Some(BEGIN + 6), 2, ("hj", 9, None));
    check(Some(BEGIN + 11), 100, ("", 11, None));
    // The last of those that are forgotten was seen.
    check(Some(BEGIN + 3), 1, ("f", 5, None));
    check(Some(BEGIN + 2), 1, ("f", 5, Some(Some(1))));
    check(Some(BEGIN - 1), 1, ("f", 5, Some(Some(4))));
    // Of a process before this one, and of none that there was.
    check(Some(7), 1, ("f", 5, Some(None)));
    check(Some(0), 1, ("f", 5, Some(None)));
    check(Some(BEGIN + 12), 1, ("f", 5, Some(None)));
    check(Some(u64::MAX), 1, ("f", 5, Some(None)));
}

#[test]
fn long_looks_go_through_all_of_it() {
    let chronicle = chronicle(1000);
    for _ in 0..1000 {
        told(&chronicle, "a");
    }
    let rare = |row: &Happened| row.number.is_multiple_of(100);
    for after in [None, Some(BEGIN - 1)] {
        let page = chronicle.page(after, 100, rare);
        assert_eq!(page.rows.len(), 10, "{after:?}");
        assert!(page.rows.is_sorted_by_key(|row| row.number));
    }
    assert_eq!(chronicle.page(None, 3, rare).rows[0].number, BEGIN + 700);
    let page = chronicle.page(Some(BEGIN), 3, rare);
    assert_eq!((page.rows[2].number, page.next), (BEGIN + 300, BEGIN + 300));
}

/// What a reader finds now; nothing, if it would wait.
async fn found(reader: &mut Reader) -> Option<Next> {
    tokio::select! {
        biased;
        next = reader.next() => Some(next),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn who_reads_along_misses_nothing_unsaid() {
    let chronicle = chronicle(4);
    told(&chronicle, "ab");
    let mut now = chronicle.follow(None).unwrap();
    let mut since = chronicle.follow(Some(BEGIN)).unwrap();
    assert!(found(&mut now).await.is_none());
    assert!(matches!(found(&mut since).await, Some(Next::Rows(rows)) if words(&rows) == "b"));
    assert!(found(&mut since).await.is_none());
    told(&chronicle, "cd");
    for reader in [&mut now, &mut since] {
        assert!(matches!(found(reader).await, Some(Next::Rows(rows)) if words(&rows) == "cd"));
    }
    // One is told that it missed something, and goes on; who was reading is cut, and counted.
    told(&chronicle, "efghi");
    let mut late = chronicle.follow(Some(BEGIN + 1)).unwrap();
    let missed = Missed {
        after: BEGIN + 1,
        first: BEGIN + 5,
        events: Some(3),
    };
    assert!(matches!(found(&mut late).await, Some(Next::Missed(one)) if one == missed));
    assert!(matches!(found(&mut late).await, Some(Next::Rows(rows)) if words(&rows) == "fghi"));
    assert!(matches!(found(&mut now).await, Some(Next::Overtaken)));
    let counts = chronicle.counts();
    assert_eq!((counts.told, counts.forgotten), (9, 5));
    assert_eq!((counts.readers, counts.cut), (3, 1));
    // When another process tells what happens, the last is read and then no more.
    told(&chronicle, "j");
    chronicle.close();
    assert!(matches!(found(&mut late).await, Some(Next::Rows(rows)) if words(&rows) == "j"));
    assert!(matches!(found(&mut late).await, Some(Next::Closed)));
}

#[tokio::test]
async fn a_reader_that_waits_is_woken() {
    let chronicle = chronicle(4);
    let mut reader = chronicle.follow(None).unwrap();
    let waits = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    told(&chronicle, "a");
    assert!(matches!(waits.await.unwrap(), Next::Rows(rows) if words(&rows) == "a"));
}

#[test]
fn so_many_read_along_and_no_more() {
    let chronicle = chronicle(4);
    let mut all: Vec<_> = (0..EVENT_READERS)
        .map(|_| chronicle.follow(None).unwrap())
        .collect();
    assert_eq!(chronicle.follow(None).err(), Some(TooManyReaders));
    all.pop();
    all.push(chronicle.follow(None).unwrap());
    assert_eq!(chronicle.follow(Some(0)).err(), Some(TooManyReaders));
    let counts = chronicle.counts();
    assert_eq!((counts.readers, counts.refused), (EVENT_READERS, 2));
    drop(all);
    assert_eq!(chronicle.counts().readers, 0);
}

/// Those of exchanges would have all else forgotten, and so would a backend whose checks fail for days.
#[test]
fn what_comes_by_the_thousand_is_not_told() {
    let backend = BackendId::from("one");
    let checked = |failures, fault| EventKind::Checked {
        backend: backend.clone(),
        latency: Duration::from_millis(3),
        fault,
        status: None,
        failures,
    };
    let picked = EventKind::Picked {
        backend: backend.clone(),
        policy: "x".into(),
        candidates: 1,
        trial: false,
    };
    let fault = Some(CheckFault::Timeout);
    for (kind, told) in [
        (checked(0, None), None),
        (checked(1, fault), Some("check_failed")),
        (checked(2, fault), None),
        (picked, None),
        (
            EventKind::BreakerClosed {
                backend: backend.clone(),
            },
            Some("breaker_closed"),
        ),
    ] {
        let event = Event {
            service: "api".into(),
            at: Instant::ZERO,
            kind,
        };
        let what = What::of_core(&event);
        assert_eq!(what.as_ref().map(What::kind), told, "{event:?}");
        if let Some(what) = what {
            assert!(KINDS.contains(&what.kind()));
            assert_eq!(what.service(), Some("api"));
            assert_eq!(what.facts().backend.as_deref(), Some("one"));
        }
    }
}

/// Of many backends that change at once some are told, and all that are in trouble.
#[test]
fn a_crowd_does_not_have_all_else_forgotten() {
    let (chronicle, heard) = Heard::begin(
        Chronicle::of_most(Duration::from_millis(5), 5000),
        Arc::new(()),
    );
    let hear = |at: u64, kind: EventKind| {
        heard.hear(&Event {
            service: "api".into(),
            at: Instant::ZERO + Duration::from_secs(at),
            kind,
        });
    };
    let backend = BackendId::from("one");
    for at in 0..2 {
        for _ in 0..1500 {
            let backend = backend.clone();
            hear(at, EventKind::Drained { backend });
        }
        let policy = "x".into();
        hear(at, EventKind::PolicyFailed { policy });
    }
    let count = |kind: &str| {
        chronicle
            .page(None, 5000, |row| row.kind() == kind)
            .rows
            .len()
    };
    assert_eq!(
        ["drained", "more_happened", "policy_failed"].map(count),
        [2000, 2, 2]
    );
}

/// The manual lists all kinds.
#[test]
fn every_kind_stands_in_the_manual() {
    let manual = include_str!("../../../../docs/manual/api.md");
    for kind in KINDS {
        assert!(manual.contains(&format!("`{kind}`")), "{kind}");
    }
}
