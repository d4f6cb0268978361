use super::*;
use crate::bytes::Unreadable;

/// A second of `requests` answers of so many milliseconds each.
fn second(requests: u32, errors: u32, millis: u64) -> Interval {
    let mut latencies = Latencies::default();
    latencies.add(millis * 1_000_000, requests - errors);
    Interval {
        millis: 1000,
        requests,
        errors,
        latencies,
        up: true,
    }
}

/// Fed each second from `from` until before `to`.
fn fed(series: &mut Series, from: u64, to: u64, tick: &Interval) {
    for at in from..to {
        series.feed(Moment::from_secs(at), tick);
    }
}

/// 2026-11-22, at the beginning of an hour.
const START: u64 = 1_795_305_600;

#[test]
fn each_window_covers_what_it_says_and_at_most_a_slot_more() {
    let mut series = Series::default();
    fed(
        &mut series,
        START,
        START + 2 * 86_400 + 1234,
        &second(10, 1, 20),
    );
    let more = [2, 10, 60, 600, 3600];
    for (window, more) in WINDOWS.into_iter().zip(more) {
        let found = series.over(window);
        let secs = float(window.secs());
        assert!(
            found.seconds >= secs && found.seconds <= secs + float(more),
            "{window:?}: {found:?}"
        );
        assert_eq!(float(found.requests), found.seconds * 10.0, "{window:?}");
        assert_eq!(
            (found.throughput(), found.error_rate(), found.availability()),
            (Some(10.0), Some(0.1), Some(1.0))
        );
        assert!(
            (found.mean.unwrap() - 0.02).abs() < 1e-6,
            "{window:?}: {found:?}"
        );
        assert!(
            (found.p99.unwrap() / 0.02 - 1.0).abs() < 0.25,
            "{window:?}: {found:?}"
        );
    }
}

#[test]
fn nothing_is_lost_or_counted_twice_on_the_way_up() {
    let mut series = Series::default();
    for ticks in 1..90_000 {
        series.feed(Moment::from_secs(START + 777 + ticks), &second(3, 1, 5));
        if ticks % 997 == 0 && ticks < 80_000 {
            assert_eq!(
                series.over(Span::Day).requests,
                ticks * 3,
                "after {ticks} s"
            );
        }
    }
}

#[test]
fn what_is_long_ago_is_forgotten() {
    let mut series = Series::default();
    fed(&mut series, START, START + 7200, &second(10, 10, 20));
    fed(
        &mut series,
        START + 7200,
        START + 7200 + 700,
        &second(10, 0, 10),
    );
    assert_eq!(series.over(Span::TenMinutes).errors, 0);
    assert!(series.over(Span::Hour).errors > 0);
    // A gap of two days, as of a machine that slept.
    series.feed(Moment::from_secs(START + 200_000), &second(1, 0, 10));
    assert_eq!(series.over(Span::Day).requests, 1);
}

#[test]
fn time_that_goes_back_counts_as_the_last_moment() {
    let mut series = Series::default();
    fed(&mut series, START, START + 5, &second(1, 0, 10));
    series.feed(Moment::from_secs(START - 1000), &second(1, 0, 10));
    assert_eq!(
        (series.last(), series.over(Span::TenSeconds).requests),
        (Moment::from_secs(START + 4), 6)
    );
}

#[test]
fn availability_is_the_share_of_time() {
    let mut series = Series::default();
    fed(&mut series, START, START + 45, &second(0, 0, 1));
    fed(
        &mut series,
        START + 45,
        START + 60,
        &Interval {
            up: false,
            ..second(0, 0, 1)
        },
    );
    let minute = series.over(Span::Minute);
    assert_eq!(
        (
            minute.availability(),
            minute.error_rate(),
            minute.throughput()
        ),
        (Some(0.75), None, Some(0.0))
    );
    assert_eq!(Series::default().over(Span::Minute).availability(), None);
}

#[test]
fn points_are_those_of_the_last_hour_and_day() {
    let mut series = Series::default();
    fed(
        &mut series,
        START,
        START + 30 * 3600 + 90,
        &second(10, 1, 20),
    );
    let minutes: Vec<_> = series.minutes().collect();
    assert_eq!(minutes.len(), 60);
    assert_eq!(minutes[59].number, (START + 30 * 3600) / 60);
    assert_eq!(
        minutes[0].figure(crate::metric::Metric::Throughput),
        Some(10.0)
    );
    assert_eq!(minutes[0].figure(crate::metric::Metric::P50), None);
    let hours: Vec<_> = series.hours().map(|point| point.number).collect();
    assert_eq!(
        hours,
        ((START / 3600 + 6)..(START / 3600 + 30)).collect::<Vec<_>>()
    );
}

/// All that it holds, on the heap too.
fn bytes(series: &Series) -> usize {
    use std::mem::size_of;
    let level = |level: &Level| {
        let slots = level
            .0
            .iter()
            .flatten()
            .map(|slot| size_of::<Slot>() + slot.heap())
            .sum::<usize>();
        level.0.capacity() * size_of::<Option<Box<Slot>>>() + slots
    };
    let open = series.open.as_ref().map_or(0, |_| size_of::<Sum>());
    size_of::<Series>()
        + open
        + series.points.heap()
        + series.levels.iter().map(level).sum::<usize>()
}

#[test]
fn memory_is_bounded_and_little_where_nothing_ends() {
    let (mut busy, mut idle) = (Series::default(), Series::default());
    fed(
        &mut busy,
        START,
        START + 3 * 86_400,
        &second(4_000_000, 1, 33),
    );
    fed(&mut idle, START, START + 3 * 86_400, &second(0, 0, 1));
    println!("busy {} B, idle {} B", bytes(&busy), bytes(&idle));
    assert!(bytes(&busy) <= MOST_BYTES, "{}", bytes(&busy));
    assert!(bytes(&idle) <= IDLE_BYTES, "{}", bytes(&idle));
}

#[test]
fn a_series_comes_back_as_it_was() {
    let mut series = Series::default();
    fed(&mut series, START, START + 90_001, &second(70, 3, 33));
    let bytes = series.to_bytes();
    assert!(bytes.len() <= 32 * 1024, "{} bytes", bytes.len());
    assert_eq!(Series::from_bytes(&bytes), Ok(series));
    assert_eq!(
        Series::from_bytes(&Series::default().to_bytes()),
        Ok(Series::default())
    );
}

#[test]
fn what_is_not_ours_is_refused() {
    let bytes = Series::default().to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Series::from_bytes(&bytes)
    };
    assert_eq!(with(0, b'x'), Err(Unreadable::Foreign));
    assert_eq!(with(4, 9), Err(Unreadable::Version(9)));
    assert_eq!(with(5, 9), Err(Unreadable::Broken));
    assert_eq!(
        Series::from_bytes(&bytes[..bytes.len() - 1]),
        Err(Unreadable::Broken)
    );
    assert_eq!(Series::from_bytes(&[]), Err(Unreadable::Short));
}
