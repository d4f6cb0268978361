#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use proptest::prelude::*;

use super::*;

const SECRET: Secret = Secret::new([0x5EED, 0x5A17]);

fn settings(allow: u32, per: Duration, burst: u32, keys: usize) -> RateSettings {
    RateSettings {
        allow: NonZeroU32::new(allow).unwrap(),
        per,
        burst: NonZeroU32::new(burst).unwrap(),
        keys: NonZeroUsize::new(keys).unwrap(),
    }
}

fn limit(allow: u32, per: Duration, burst: u32) -> Limit {
    Limit::new(settings(allow, per, burst, 100), SECRET)
}

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// At each of these milliseconds one comes: `+` and what is left, or `-` and the milliseconds until there is one.
#[track_caller]
fn check(limit: &Limit, come: &[(u64, &str)]) {
    for (at, expect) in come {
        let got = match limit.take(Key::ONE, ms(*at)) {
            Ok(taken) => format!("+{}", taken.room.left),
            Err(room) => format!("-{}", room.next.as_millis()),
        };
        assert_eq!(got, *expect, "at {at} ms");
    }
}

#[test]
fn tokens_come_evenly() {
    let ten = limit(10, SECOND, 3);
    check(
        &ten,
        &[
            (0, "+2"),
            (0, "+1"),
            (0, "+0"),
            (0, "-100"),
            (40, "-60"),
            (100, "+0"),
            (199, "-1"),
            (200, "+0"),
            (400, "+1"),
            // A long rest fills it, and no more than that.
            (99_999, "+2"),
            (99_999, "+1"),
            (99_999, "+0"),
            (99_999, "-100"),
            // A clock that goes back gives nothing.
            (99_000, "-1099"),
        ],
    );
}

#[test]
fn rates_of_other_units() {
    let hour = Duration::from_secs(3600);
    check(
        &limit(1, hour, 1),
        &[
            (0, "+0"),
            (1, "-3599999"),
            (3_600_000, "+0"),
            (3_600_001, "-3599999"),
        ],
    );
    check(
        &limit(90, Duration::from_secs(60), 2),
        &[
            (0, "+1"),
            (0, "+0"),
            (0, "-666"),
            (667, "+0"),
            (667, "-666"),
        ],
    );
    // What nobody can wait for does not overflow.
    check(
        &limit(1, Duration::MAX, u32::MAX),
        &[(0, "+0"), (0, "-126489600000")],
    );
    check(
        &limit(u32::MAX, Duration::ZERO, 1),
        &[(5, "+0"), (5, "-0"), (6, "+0")],
    );
}

#[test]
fn what_a_bucket_has_is_looked_at_without_taking() {
    let limit = limit(10, SECOND, 3);
    let room = |left, next| Room {
        left,
        next: Duration::from_millis(next),
    };
    for _ in 0..5 {
        assert_eq!(limit.look(Key::ONE, ms(0)), room(3, 0));
    }
    assert_eq!(limit.keys(ms(0)), 0, "who is looked at is nobody yet");
    let taken = limit.take(Key::ONE, ms(0)).unwrap();
    assert_eq!(taken.room, room(2, 100));
    assert_eq!(limit.look(Key::ONE, ms(30)), room(2, 70));
    assert_eq!((limit.keys(ms(99)), limit.keys(ms(100))), (1, 0));
    assert_eq!(limit.look(Key::of(7), ms(30)), room(3, 0));
}

#[test]
fn a_token_is_given_back_once() {
    let limit = limit(10, SECOND, 3);
    let first = limit.take(Key::ONE, ms(0)).unwrap();
    let second = limit.take(Key::ONE, ms(0)).unwrap();
    assert_eq!(second.room.left, 1);
    limit.give_back(first, ms(0));
    assert_eq!(limit.look(Key::ONE, ms(0)).left, 2);
    // Time has put it back already.
    limit.give_back(second, ms(200));
    check(
        &limit,
        &[(200, "+2"), (200, "+1"), (200, "+0"), (200, "-100")],
    );
    // One that was full meanwhile gets nothing for what was taken before.
    let late = limit.take(Key::ONE, ms(10_000)).unwrap();
    assert!(limit.take(Key::ONE, ms(20_000)).is_ok());
    limit.give_back(late, ms(20_000));
    assert_eq!(limit.look(Key::ONE, ms(20_000)).left, 2);
    // One that was given back late, behind another: without it, nothing would have come in before that.
    let first = limit.take(Key::ONE, ms(30_000)).unwrap();
    check(&limit, &[(30_090, "+1")]);
    limit.give_back(first, ms(30_095));
    check(
        &limit,
        &[
            (30_095, "+1"),
            (30_095, "+0"),
            (30_100, "-95"),
            (30_195, "+0"),
        ],
    );
}

#[test]
fn another_pace_keeps_who_has_used_up_his() {
    let slow = limit(1, Duration::from_secs(3600), 5);
    for _ in 0..5 {
        assert!(slow.take(Key::ONE, ms(0)).is_ok());
    }
    let fast = slow.paced(settings(10, SECOND, 2, 100), ms(0)).unwrap();
    // Empty is empty, and fills at the new pace: not in five hours.
    check(
        &fast,
        &[(0, "-100"), (100, "+0"), (100, "-100"), (300, "+1")],
    );
    let same = fast.paced(settings(10, SECOND, 2, 100), ms(300)).unwrap();
    check(&same, &[(300, "+0"), (300, "-100")]);
    // One that was emptied at the old pace a moment later, by a worker that had not heard of the new one.
    for _ in 0..5 {
        assert!(slow.take(Key::of(7), ms(400)).is_ok());
    }
    let later = |at| fast.take(Key::of(7), ms(at)).is_ok();
    assert_eq!([500, 599, 600, 601].map(later), [false, false, true, false]);
    assert!(fast.paced(settings(10, SECOND, 2, 101), ms(300)).is_none());
}

/// Takes one of each of these limits and keys.
fn together(limits: &[(&Limit, u64, bool)], now: Instant) -> Verdict {
    let mut together = Together::default();
    for (limit, key, shadow) in limits {
        assert!(together.add(limit, Key::of(*key), *shadow));
    }
    let looked = together.look(now);
    let verdict = together.take(now);
    assert_eq!(looked.passes, verdict.passes, "nobody was between");
    verdict
}

#[test]
fn who_is_refused_by_one_has_taken_of_none() {
    let (client, all) = (limit(10, SECOND, 2), limit(10, SECOND, 3));
    let ask = |key| together(&[(&client, key, false), (&all, 1, false)], ms(0));
    assert!(ask(5).passes && ask(5).passes);
    for _ in 0..9 {
        let verdict = ask(5);
        let said: Vec<_> = verdict.said().map(|one| one.passes).collect();
        assert_eq!((verdict.passes, said), (false, vec![false, true]));
    }
    // The ninefold refused has left the third token of all to others, and they what is theirs.
    assert!(ask(6).passes);
    let verdict = ask(6);
    let said: Vec<_> = verdict
        .said()
        .map(|one| (one.passes, one.room.left))
        .collect();
    assert_eq!(said, [(true, 1), (false, 0)]);
    assert_eq!(client.look(Key::of(6), ms(0)).left, 1);
}

#[test]
fn a_shadow_tells_and_refuses_nobody() {
    let (real, shadow) = (limit(10, SECOND, 3), limit(10, SECOND, 1));
    let ask = || {
        let verdict = together(&[(&shadow, 1, true), (&real, 1, false)], ms(0));
        let said: Vec<_> = verdict.said().map(|one| one.passes).collect();
        (verdict.passes, said)
    };
    assert_eq!(ask(), (true, vec![true, true]));
    assert_eq!(ask(), (true, vec![false, true]));
    assert_eq!(ask(), (true, vec![false, true]));
    assert_eq!(ask(), (false, vec![false, false]));
    let alone = together(&[(&shadow, 1, true)], ms(0));
    assert!(alone.passes && !alone.said().next().unwrap().passes);
}

#[test]
fn no_more_limits_than_there_may_be() {
    let one = limit(1, SECOND, 1);
    let mut all = Together::default();
    for _ in 0..LIMITS_MOST {
        assert!(all.add(&one, Key::ONE, false));
    }
    assert!(!all.add(&one, Key::ONE, false));
    assert!(
        Together::default().take(ms(0)).passes,
        "none refuses nobody"
    );
}

#[test]
fn a_table_holds_what_it_was_made_for_and_no_more() {
    for keys in [1, 10, 1_000, 100_000] {
        let limit = Limit::new(settings(1, SECOND, 5, keys), SECRET);
        let before = limit.bytes();
        assert!(before <= 512 + 40 * keys, "{before} bytes for {keys}");
        for number in 0..keys as u64 {
            assert!(limit.take(key(&limit, number), ms(0)).is_ok());
        }
        let gone = keys - limit.keys(ms(0));
        assert_eq!(limit.evicted(), gone as u64);
        assert!(gone <= keys / 50, "{gone} of {keys} found no room");
        assert_eq!(limit.bytes(), before);
    }
}

fn key(limit: &Limit, number: u64) -> Key {
    limit.keying().part(Some(&number.to_le_bytes())).key()
}

/// A million strangers, each once, in a table for a thousand: who has used up his bucket is not forgotten for them.
#[test]
fn strangers_do_not_free_who_is_limited() {
    let limit = Limit::new(settings(1, Duration::from_secs(3600), 5, 1_000), SECRET);
    let before = limit.bytes();
    let limited: Vec<_> = (0..100).map(|number| key(&limit, number)).collect();
    for _ in 0..5 {
        for limited in &limited {
            assert!(limit.take(*limited, ms(0)).is_ok());
        }
    }
    for stranger in 1_000..1_001_000 {
        let key = key(&limit, stranger);
        assert!(limit.take(key, ms(1)).is_ok(), "who is new is served");
    }
    for limited in &limited {
        assert!(limit.take(*limited, ms(2)).is_err());
    }
    assert_eq!(limit.bytes(), before);
    // All but those whom the table holds.
    let held = limit.keys(ms(2)) as u64;
    assert!(
        limit.evicted() >= 1_000_000 - held,
        "{} gone, {held} held",
        limit.evicted()
    );
    // Buckets that are full again are places for nothing.
    let gone = limit.evicted();
    let hour = Duration::from_secs(10 * 3600);
    for stranger in 0..1_000 {
        assert!(limit.take(key(&limit, stranger), ms(2) + hour).is_ok());
    }
    let again = limit.evicted() - gone;
    assert!(again <= 20, "{again} gone where there was room");
}

proptest! {
    /// Over any window, what passes is never more than a full bucket and what came in since; and what is refused would have been more.
    #[test]
    fn never_more_than_burst_and_rate(
        allow in 1_u32..2_000,
        burst in 1_u32..50,
        per in prop_oneof![Just(1_u64), Just(60), Just(3600)],
        rests in prop::collection::vec((0_u64..5_000_000_000, 0_u32..4), 1..200),
    ) {
        let per = Duration::from_secs(per);
        let limit = limit(allow, per, burst);
        let mut now = 0_u64;
        let mut passed: Vec<u64> = Vec::new();
        for (rest, shorter) in rests {
            now += rest >> (8 * shorter);
            let taken = limit.take(Key::ONE, Instant::from_nanos(now));
            // The same in whole numbers, beginning anew at each that passed: so many in this window, with this one.
            let most = |since: u64| {
                let come = u128::from(now - since) * u128::from(allow) / per.as_nanos();
                u128::from(burst) + come
            };
            let many = |at: usize| (passed.len() - at + 1) as u128;
            let fits = (0..passed.len()).all(|at| many(at) <= most(passed[at]));
            prop_assert!(fits || taken.is_err(), "more than there may be");
            if taken.is_err() {
                // Rounded against who asks: by less than a nanosecond for each token.
                let slack = u128::from(burst) + passed.len() as u128;
                let at = |at: usize| {
                    let early = u128::from(now - passed[at]).saturating_sub(slack);
                    many(at) > u128::from(burst) + early * u128::from(allow) / per.as_nanos()
                };
                prop_assert!((0..passed.len()).any(at), "refused although there is room");
            } else {
                passed.push(now);
            }
        }
    }
}
