use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

#[test]
fn which_utilization_counts() {
    let check = |application, chosen, cpu, expect: Option<f64>| {
        let report = LoadReport {
            application,
            chosen,
            cpu,
            ..LoadReport::default()
        };
        assert_eq!(report.utilization(), expect, "{report:?}");
    };
    check(Some(0.5), Some(0.7), Some(0.3), Some(0.5));
    check(None, Some(0.7), Some(0.3), Some(0.7));
    check(Some(0.0), None, Some(0.3), Some(0.3)); // unsaid, as protobuf has it
    check(None, None, Some(1.7), Some(1.7)); // above all that it can do
    check(None, None, None, None);
    for none in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        check(Some(none), Some(none), Some(none), None);
        check(Some(none), None, Some(0.3), Some(0.3));
    }
}

/// What is told comes back, and what cannot be does not.
#[test]
fn a_report_in_words_of_the_machine() {
    let check = |rps: Option<f64>, eps: Option<f64>, expect: (Option<f32>, Option<f32>)| {
        let reported = Reported::default();
        assert_eq!(reported.read(), Said::default());
        let cpu = Some(0.5);
        let report = LoadReport {
            cpu,
            rps,
            eps,
            ..LoadReport::default()
        };
        reported.report(&report, Instant::ZERO);
        let said = reported.read();
        assert_eq!(
            (said.utilization, said.rps, said.eps, said.count),
            (Some(0.5), expect.0, expect.1, 1),
            "{report:?}"
        );
        // At the owner's very start, too.
        assert_eq!(said.at, Some(Instant::from_nanos(1)));
    };
    check(Some(120.0), Some(1.5), (Some(120.0), Some(1.5)));
    check(None, None, (None, None));
    check(Some(f64::NAN), Some(-1.0), (None, None));
    check(Some(f64::MAX), Some(1e12), (None, Some(1e9)));
}

#[test]
fn capacities() {
    let settings = LoadSettings::default();
    let check = |(u, rps, eps): (f32, f32, f32), seen: (f64, f64), expect: Option<f32>| {
        let some = |value: f32| Some(value).filter(|value| *value > 0.0);
        let said = Said {
            utilization: some(u),
            rps: some(rps),
            eps: some(eps),
            ..Said::default()
        };
        let got = capacity(said, seen, &settings);
        let near = match (got, expect) {
            (Some(got), Some(expect)) => (got - expect).abs() < expect * 1e-5,
            (got, expect) => got == expect,
        };
        assert!(near, "{said:?} {seen:?}: {got:?}, not {expect:?}");
    };
    check((0.5, 100.0, 0.0), (0.0, 0.0), Some(200.0));
    check((0.5, 0.0, 0.0), (30.0, 0.0), Some(60.0)); // by what is sent from here
    check((0.5, 0.0, 0.0), (0.0, 0.0), None); // nothing to go by
    check((0.0, 100.0, 0.0), (0.0, 0.0), None);
    check((0.5, 100.0, 50.0), (0.0, 0.0), Some(100.0)); // a half fails
    check((0.5, 100.0, 0.0), (9.0, 0.5), Some(100.0)); // as it was seen here
    check((0.5, 100.0, 10.0), (9.0, 0.5), Some(100.0));
    check((0.5, 100.0, 1e9), (0.0, 0.0), Some(100.0 / 1.5)); // more than all cannot fail
    check((1e9, 1e-9, 0.0), (0.0, 0.0), Some(1e-18));
    check((1e-38, 1e9, 0.0), (0.0, 0.0), None); // beyond what a weight can be
    let double = LoadSettings {
        penalty: 2.0,
        ..settings
    };
    let said = Said {
        utilization: Some(0.5),
        rps: Some(100.0),
        eps: Some(50.0),
        ..Said::default()
    };
    assert_eq!(capacity(said, (0.0, 0.0), &double), Some(100.0 / 1.5));
}

/// When reports count: letters are seconds, `r` with a report and `.` without.
#[test]
fn from_when_to_when_reports_count() {
    let settings = LoadSettings {
        blackout: Duration::from_secs(3),
        expiry: Duration::from_secs(5),
        ..LoadSettings::default()
    };
    let check = |story: &str, expect: Result<f32, LoadReason>| {
        let mut load = Load::default();
        let mut said = Said::default();
        for (second, letter) in (1..).zip(story.chars()) {
            if letter == 'r' {
                said = Said {
                    utilization: Some(0.5),
                    rps: Some(10.0),
                    at: Some(at(second)),
                    ..said
                };
            }
            load.hear(said, (0.0, 0.0), &settings, at(second));
        }
        assert_eq!(load.known(), expect, "{story}");
    };
    check("", Err(LoadReason::Unreported));
    check("....", Err(LoadReason::Unreported));
    check("r", Err(LoadReason::Blackout));
    check("rrr", Err(LoadReason::Blackout));
    check("rrrr", Ok(20.0));
    check("r...", Ok(20.0));
    check("r....", Ok(20.0));
    check("r.....", Err(LoadReason::Expired));
    check("rrrr.....", Err(LoadReason::Expired));
    // Who falls silent for so long begins anew.
    check("rrrr.....r", Err(LoadReason::Blackout));
    check("rrrr.....rrrr", Ok(20.0));
    check("rrrr...r", Ok(20.0));
    check("rrrr....r", Err(LoadReason::Blackout));
    // One that came before the others ended, and was read behind that: it begins anew, and is not out for ever.
    let mut load = Load::default();
    for (came, read, expect) in [
        (1, 1, Err(LoadReason::Blackout)),
        (1, 6, Err(LoadReason::Expired)),
        (5, 7, Err(LoadReason::Blackout)),
        (8, 8, Ok(20.0)),
    ] {
        let said = Said {
            utilization: Some(0.5),
            rps: Some(10.0),
            at: Some(at(came)),
            ..Said::default()
        };
        load.hear(said, (0.0, 0.0), &settings, at(read));
        assert_eq!(load.known(), expect, "came at {came}, read at {read}");
    }
    // A report without a number is one.
    let mut load = Load::default();
    for second in 1..9 {
        let said = Said {
            at: Some(at(second)),
            ..Said::default()
        };
        load.hear(said, (9.0, 0.0), &settings, at(second));
    }
    assert_eq!(load.known(), Err(LoadReason::Unsaid));
}

#[test]
fn steps_are_small_and_tremors_are_not_shown() {
    let mut load = Load::default();
    let mut before = 0.0;
    for _ in 0..40 {
        load.step(2.0, LoadReason::Reported);
        let now = load.share().factor.log2();
        assert!((0.0..=0.51).contains(&(now - before)), "{before} to {now}");
        before = now;
    }
    assert!((before - 2.0).abs() <= NOTICED, "{before}");
    // Two hundredths of an octave to and fro change no table; another reason does.
    for tremor in 0..20 {
        let target = if tremor % 2 == 0 { 1.99 } else { 2.01 };
        assert!(!load.step(target, LoadReason::Reported), "{tremor}");
    }
    assert!(load.step(2.0, LoadReason::Expired));
    assert_eq!(load.share().reason, LoadReason::Expired);
}

/// Of one whose answers take so many times as long as others', second by second.
#[test]
fn a_claim_that_its_answers_contradict_is_not_believed() {
    let settings = LoadSettings::default();
    let most = settings.octaves();
    let after = |claim: f32, story: &[(u32, f32)]| {
        let (mut load, mut said) = (Load::default(), (0.0, LoadReason::Unreported));
        for &(seconds, slower) in story {
            for _ in 0..seconds {
                said = load.believed(claim, slower, &settings);
                load.step(said.0, said.1);
            }
        }
        said
    };
    let check = |claim: f32, story: &[(u32, f32)], expect: (f32, LoadReason)| {
        let (got, reason) = after(claim, story);
        let near = (got - expect.0).abs() < 0.05 && reason == expect.1;
        assert!(near, "{claim} {story:?}: {got} {reason:?}, not {expect:?}");
    };
    check(1.0, &[(30, 1.0)], (1.0, LoadReason::Reported));
    check(9.0, &[(30, 1.0)], (most, LoadReason::Reported)); // as far as settings allow
    check(9.0, &[(30, 1.0), (30, 8.0)], (0.0, LoadReason::Doubted));
    check(
        9.0,
        &[(30, 1.0), (30, 8.0), (50, 1.0)],
        (1.0, LoadReason::Doubted),
    );
    check(
        9.0,
        &[(30, 1.0), (30, 8.0), (300, 1.0)],
        (most, LoadReason::Reported),
    );
    // Many slow cores are slower, too; and who claims less than others may be as slow as it is.
    check(1.0, &[(30, 3.0)], (1.0, LoadReason::Reported));
    check(-2.0, &[(30, 16.0)], (-2.0, LoadReason::Reported));
}

#[test]
fn the_lower_median() {
    for (values, expect) in [
        (&mut [][..], None),
        (&mut [3.0], Some(3.0)),
        (&mut [1e9, 2.0], Some(2.0)),
        (&mut [5.0, 1.0, 3.0], Some(3.0)),
        (&mut [4.0, 1.0, 1e9, 3.0], Some(3.0)),
    ] {
        assert_eq!(lower_median(values), expect);
    }
}

#[test]
fn what_goes_over() {
    let settings = LoadSettings::default();
    let carried = CarriedLoad {
        capacity: Some(20.0),
        factor: 4.0,
        reporting: Duration::from_secs(60),
        age: Duration::from_secs(1),
    };
    // Another process, that has just begun: nothing is black out again, and nothing moves.
    let mut load = Load::take_over(carried, &settings, at(0));
    load.hear(Said::default(), (0.0, 0.0), &settings, at(0));
    assert_eq!(load.known(), Ok(20.0));
    assert_eq!(load.share().factor.to_bits(), 4.0_f32.to_bits());
    assert!(!load.step(2.0, LoadReason::Reported));
    let young = CarriedLoad {
        reporting: Duration::from_secs(5),
        ..carried
    };
    let load = Load::take_over(young, &settings, at(0));
    assert_eq!(load.known(), Err(LoadReason::Blackout));
    assert_eq!(Load::default().carried(at(9)), None);
}
