use std::time::Duration;

use evenkeel_balance::affinity::identity;
use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::backend::{BackendSpec, Weight};
use evenkeel_balance::eligibility::Bar;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::settings::{
    AffinitySettings, HashMethod, OnAllDown, Overprovision, PolicyChoice, ServiceSettings,
    ZoneSettings,
};
use evenkeel_balance::spill::Spill;
use evenkeel_balance::zone::{Zone, ZoneId};

use crate::stage::{Stage, id, plain};

fn near(local: Option<&str>) -> ServiceSettings {
    plain().zones(ZoneSettings::default().local(local.map(Zone::from)))
}

/// Like `east-3`, by the zone in its name; `none-...` has none.
fn member(name: &str) -> BackendSpec {
    match name.split_once('-') {
        Some(("none", _)) | None => BackendSpec::new(name),
        Some((zone, _)) => BackendSpec::new(name).zone(zone),
    }
}

/// So many of each zone.
fn members(zones: &[(&str, usize)]) -> Vec<BackendSpec> {
    let names = zones
        .iter()
        .flat_map(|&(zone, count)| (0..count).map(move |at| format!("{zone}-{at}")));
    names.map(|name| member(&name)).collect()
}

fn zone_of(pick: &Pick) -> String {
    let id = pick.backend().id().as_str();
    id.split_once('-').unwrap().0.to_owned()
}

/// The percents of picks that each zone gets, of asks that name this one.
fn percents(stage: &mut Stage, of: Option<&str>, zones: &[&str]) -> Vec<f64> {
    let (mut counts, picks) = (vec![0_u32; zones.len()], 4_000_u32);
    for _ in 0..picks {
        let mut ask = stage.ask();
        ask.zone = of.map(ZoneId::named);
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        let at = zones.iter().position(|zone| *zone == zone_of(&pick));
        counts[at.unwrap()] += 1;
        stage.well(pick);
    }
    let percent = |count: &u32| f64::from(*count) / f64::from(picks) * 100.0;
    counts.iter().map(percent).collect()
}

#[track_caller]
fn are(got: &[f64], expect: &[f64], what: &str) {
    let near = |(got, expect): (&f64, &f64)| {
        let within = if *expect > 0.0 && *expect < 100.0 {
            4.0
        } else {
            0.0
        };
        (got - expect).abs() <= within
    };
    assert!(
        got.iter().zip(expect).all(near),
        "{what}: {got:?}, not {expect:?}"
    );
}

fn spilled(stage: &Stage, spill: Spill) -> u64 {
    let snapshot = stage.service.snapshot(stage.now);
    let found = snapshot.spilled.iter().find(|(one, _)| *one == spill);
    found.unwrap().1
}

const ZONES: [&str; 3] = ["east", "west", "none"];

#[test]
fn the_own_zone_gets_what_its_healthy_members_carry_with_every_policy() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let settings = near(Some("east")).policy(policy);
        let all = members(&[("east", 4), ("west", 3), ("none", 1)]);
        let mut stage = Stage::of(settings, all);
        are(
            &percents(&mut stage, None, &ZONES),
            &[100.0, 0.0, 0.0],
            &name,
        );
        stage.mark("east-0", false);
        // 1.4 x 3 of 4.
        are(
            &percents(&mut stage, None, &ZONES),
            &[100.0, 0.0, 0.0],
            &name,
        );
        stage.mark("east-1", false);
        are(
            &percents(&mut stage, None, &ZONES),
            &[70.0, 22.5, 7.5],
            &name,
        );
        stage.mark("east-2", false);
        are(
            &percents(&mut stage, None, &ZONES),
            &[35.0, 48.75, 16.25],
            &name,
        );
        stage.mark("east-3", false);
        are(
            &percents(&mut stage, None, &ZONES),
            &[0.0, 75.0, 25.0],
            &name,
        );
        let counted: u64 = Spill::ALL.iter().map(|spill| spilled(&stage, *spill)).sum();
        assert_eq!(counted, 20_000, "{name}: each pick is counted once");
        assert_eq!(spilled(&stage, Spill::ZoneNobody), 4_000, "{name}");
        // Where all are, once they are back.
        (0..4).for_each(|at| stage.mark(&format!("east-{at}"), true));
        are(
            &percents(&mut stage, None, &ZONES),
            &[100.0, 0.0, 0.0],
            &name,
        );
    }
}

#[test]
fn an_ask_that_names_a_zone_prefers_that_one() {
    let all = members(&[("east", 2), ("west", 2), ("none", 2)]);
    let mut stage = Stage::of(near(Some("east")), all.clone());
    are(
        &percents(&mut stage, Some("west"), &ZONES),
        &[0.0, 100.0, 0.0],
        "west",
    );
    are(
        &percents(&mut stage, None, &ZONES),
        &[100.0, 0.0, 0.0],
        "its own",
    );
    // A zone that nobody has is no preference: everybody serves alike.
    let even = [33.3, 33.3, 33.3];
    are(&percents(&mut stage, Some("north"), &ZONES), &even, "north");
    assert_eq!(spilled(&stage, Spill::ZoneNobody), 4_000);
    let mut stage = Stage::of(near(None), all.clone());
    are(
        &percents(&mut stage, None, &ZONES),
        &even,
        "no zone of its own",
    );
    assert!(Spill::ALL.iter().all(|spill| spilled(&stage, *spill) == 0));
    // Without zones in the settings, zones say nothing.
    let mut stage = Stage::of(plain(), all);
    are(&percents(&mut stage, Some("west"), &ZONES), &even, "off");
}

#[test]
fn a_zone_with_fewer_than_it_must_have_is_preferred_by_nobody() {
    let settings = plain().zones(
        ZoneSettings::default()
            .local(Zone::from("east"))
            .min_backends(2),
    );
    let mut stage = Stage::of(settings, members(&[("east", 2), ("west", 4)]));
    let zones = ["east", "west"];
    are(&percents(&mut stage, None, &zones), &[100.0, 0.0], "two");
    stage.mark("east-1", false);
    are(&percents(&mut stage, None, &zones), &[20.0, 80.0], "one");
    assert_eq!(spilled(&stage, Spill::ZoneFew), 4_000);
    let ask = stage.ask();
    let place = stage.service.explain(&ask, stage.now).place.unwrap();
    assert_eq!(
        (place.keeps, place.zone_spill),
        (Some(0.0), Some(Spill::ZoneFew))
    );
}

#[test]
fn a_zone_that_is_full_spills_at_once_and_has_who_comes_next() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let settings = near(Some("east")).policy(policy);
        let limited = |name: &str| member(name).max_in_flight(1);
        let all = vec![
            limited("east-0"),
            limited("west-0"),
            limited("none-0").tier(1),
        ];
        let mut stage = Stage::of(settings, all);
        let held: Vec<_> = ZONES
            .iter()
            .map(|zone| {
                let pick = stage.pick().unwrap();
                assert_eq!(zone_of(&pick), *zone, "{name}");
                pick
            })
            .collect();
        assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull, "{name}");
        assert_eq!(spilled(&stage, Spill::ZoneFull), 1, "{name}");
        assert_eq!(spilled(&stage, Spill::TierFull), 1, "{name}");
        held.into_iter().for_each(|pick| stage.well(pick));
        are(
            &percents(&mut stage, None, &ZONES),
            &[100.0, 0.0, 0.0],
            &name,
        );
    }
}

#[test]
fn another_attempt_stays_in_the_zone_as_long_as_somebody_is_left_there() {
    let all = members(&[("west", 3), ("east", 2)]);
    let mut stage = Stage::of(near(Some("east")), all);
    let mut tried = Tried::default();
    let mut zones = Vec::new();
    for _ in 0..5 {
        let ask = stage.ask();
        let pick = stage.service.pick(&ask.tried(&tried), stage.now).unwrap();
        tried.insert(pick.backend());
        zones.push(zone_of(&pick));
        stage.well(pick);
    }
    assert_eq!(zones, ["east", "east", "west", "west", "west"]);
}

/// Tiers outrank zones: nobody goes to a tier behind for being near.
#[test]
fn zones_are_preferred_within_a_tier() {
    let mut all = members(&[("west", 2)]);
    all.push(member("east-0").tier(1));
    all.push(member("none-0").tier(1));
    let mut stage = Stage::of(near(Some("east")), all);
    are(
        &percents(&mut stage, None, &ZONES),
        &[0.0, 100.0, 0.0],
        "first tier",
    );
    stage.mark("west-0", false);
    // 70 % in the first tier, where nobody is near; of the rest, all who are.
    are(
        &percents(&mut stage, None, &ZONES),
        &[30.0, 70.0, 0.0],
        "shared",
    );
    stage.mark("west-1", false);
    are(
        &percents(&mut stage, None, &ZONES),
        &[100.0, 0.0, 0.0],
        "second tier",
    );
}

#[test]
fn what_a_zone_lacks_goes_to_the_others_by_weight_and_by_what_they_have_left() {
    let weighed = |name: &str, weight| member(name).weight(Weight::new(weight).unwrap());
    let all = vec![
        weighed("east-0", 3),
        weighed("east-1", 3),
        weighed("west-0", 3),
        weighed("none-0", 1),
        weighed("none-1", 8),
    ];
    let settings = near(Some("east")).overprovision(Overprovision::new(1.0).unwrap());
    let mut stage = Stage::of(settings, all);
    stage.mark("east-0", false);
    are(
        &percents(&mut stage, None, &ZONES),
        &[50.0, 12.5, 37.5],
        "all",
    );
    stage.mark("none-1", false);
    are(
        &percents(&mut stage, None, &ZONES),
        &[50.0, 37.5, 12.5],
        "less",
    );
    stage.mark("west-0", false);
    stage.mark("none-0", false);
    are(
        &percents(&mut stage, None, &ZONES),
        &[100.0, 0.0, 0.0],
        "nobody else",
    );
}

/// The coin of a zone is neither its tier's nor its policy's.
#[test]
fn in_each_zone_backends_get_the_same() {
    for policy in [
        PolicyChoice::Random,
        PolicyChoice::RoundRobin,
        PolicyChoice::Adaptive,
    ] {
        let settings = near(Some("east")).policy(policy);
        let mut stage = Stage::of(settings, members(&[("east", 10), ("west", 10)]));
        let east: Vec<_> = (0..10).map(|at| format!("east-{at}")).collect();
        let west: Vec<_> = (0..10).map(|at| format!("west-{at}")).collect();
        east[5..].iter().for_each(|name| stage.mark(name, false));
        let names: Vec<&str> = east.iter().chain(&west).map(|name| &**name).collect();
        let counts = stage.serve(20_000, &[], &names);
        for (at, &count) in counts.iter().enumerate() {
            let expect: usize = match at {
                0..5 => 2_800,
                5..10 => 0,
                _ => 600,
            };
            assert!(count.abs_diff(expect) <= expect / 6, "{at}: {counts:?}");
        }
    }
}

/// In turn, exactly, also while only one zone is asked for.
#[test]
fn a_rotation_of_a_zone_is_its_own() {
    let mut stage = Stage::of(near(None), members(&[("east", 3), ("west", 2)]));
    let mut order = Vec::new();
    for at in 0..30 {
        let zone = if at % 3 == 0 { "west" } else { "east" };
        let ask = stage.ask().zone(ZoneId::named(zone));
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        order.push(pick.backend().id().as_str().to_owned());
        stage.well(pick);
        if at == 10 {
            // Published anew: rotations go on.
            stage.service.set_settings(near(None), stage.now);
        }
    }
    for zone in ["east", "west"] {
        let turns: Vec<_> = order.iter().filter(|id| id.starts_with(zone)).collect();
        let members = if zone == "east" { 3 } else { 2 };
        for (at, id) in turns.iter().enumerate() {
            let next = turns.get(at + members);
            assert!(next.is_none_or(|next| next == id), "{turns:?}");
        }
    }
}

/// A key has one home in each zone, and the same as long as the zone stands.
#[test]
fn a_key_is_served_near_its_client_and_by_the_same_there() {
    let settings = near(None).policy(PolicyChoice::Hash(HashMethod::Maglev));
    let stage = Stage::of(settings, members(&[("east", 4), ("west", 4)]));
    let homes = |zone: Option<&str>, chance: u64| -> Vec<String> {
        let home = |key| {
            let mut ask = Ask::new(mix(chance, key)).key(mix(5, key));
            ask.zone = zone.map(ZoneId::named);
            let pick = stage.service.pick(&ask, stage.now).unwrap();
            let home = pick.backend().id().as_str().to_owned();
            stage.well(pick);
            home
        };
        (0..1_000).map(home).collect()
    };
    let (anywhere, east) = (homes(None, 1), homes(Some("east"), 2));
    assert!(east.iter().all(|home| home.starts_with("east")));
    assert_eq!(east, homes(Some("east"), 3));
    for (any, near) in anywhere.iter().zip(&east) {
        assert!(any == near || any.starts_with("west"), "{any} {near}");
    }
    stage.mark("east-0", false);
    stage.mark("east-1", false);
    let shared = homes(Some("east"), 4);
    assert_eq!(shared, homes(Some("east"), 5));
    for (was, is) in east.iter().zip(&shared) {
        let at_home = was == is || is.starts_with("west") || ["east-0", "east-1"].contains(&&**was);
        assert!(at_home, "{was} {is}");
    }
    stage.mark("east-0", true);
    stage.mark("east-1", true);
    assert_eq!(homes(Some("east"), 6), east);
}

#[test]
fn who_is_kept_elsewhere_stays_there() {
    let settings =
        near(Some("east")).affinity(AffinitySettings::default().draining(Duration::ZERO));
    let mut all = members(&[("east", 2), ("west", 1)]);
    all.push(member("none-0").tier(1));
    let mut stage = Stage::of(settings, all);
    for home in ["west-0", "none-0"] {
        let ask = stage.ask().kept(identity(&id(home)));
        let explained = stage.service.explain(&ask, stage.now);
        assert_eq!((explained.kept, explained.place), (Some(Ok(())), None));
        for _ in 0..10 {
            let pick = stage.service.pick(&ask, stage.now).unwrap();
            assert_eq!(*pick.backend().id(), id(home));
            stage.well(pick);
        }
        stage.mark(home, false);
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        assert_eq!(zone_of(&pick), "east", "it moves to where new ones go");
        stage.well(pick);
    }
}

#[test]
fn who_fails_open_heeds_no_zone() {
    let settings = near(Some("east")).on_all_down(OnAllDown::FailOpen);
    let mut stage = Stage::of(settings, members(&[("east", 2), ("west", 2)]));
    for name in ["east-0", "east-1", "west-0", "west-1"] {
        stage.mark(name, false);
    }
    are(
        &percents(&mut stage, None, &["east", "west"]),
        &[50.0, 50.0],
        "open",
    );
    let ask = stage.ask();
    let explained = stage.service.explain(&ask, stage.now);
    assert_eq!((explained.tiers.len(), explained.place), (0, None));
}

/// A half-open backend is heard whichever zone is preferred, once, and its keys' coin has no part in it.
#[test]
fn trials_go_to_who_is_half_open_wherever_it_stands() {
    let all = members(&[("east", 2), ("west", 2)]);
    let mut stage = Stage::of(near(None), all);
    while stage.standing("west-0").word() != "ejected" {
        let ask = stage.ask().zone(ZoneId::named("west"));
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        match pick.backend().id().as_str() {
            "west-0" => stage.badly(pick),
            _ => stage.well(pick),
        }
        stage.service.tick(stage.now);
    }
    stage.pass(1.5);
    assert_eq!(stage.standing("west-0").word(), "probing");
    let ask = stage.ask().zone(ZoneId::named("east"));
    let pick = stage.service.pick(&ask, stage.now).unwrap();
    assert_eq!(*pick.backend().id(), id("west-0"));
    assert!(pick.is_trial());
    stage.well(pick);
    stage.pass(0.1);
    assert_eq!(stage.standing("west-0").word(), "serving");
}

/// A zone of which all are on trial has no part of its tier: those whose zone cannot carry them have nobody else to go to, and no key would
/// ever try it.
#[test]
fn a_zone_of_which_all_are_on_trial_is_heard_where_keys_choose() {
    for method in HashMethod::ALL {
        let settings = near(Some("east")).policy(PolicyChoice::Hash(method));
        let mut stage = Stage::of(settings, members(&[("east", 2), ("west", 1)]));
        while stage.standing("west-0").word() != "ejected" {
            let ask = stage.ask().zone(ZoneId::named("west"));
            let pick = stage.service.pick(&ask, stage.now).unwrap();
            match pick.backend().id().as_str() {
                "west-0" => stage.badly(pick),
                _ => stage.well(pick),
            }
            stage.service.tick(stage.now);
        }
        stage.pass(1.5);
        assert_eq!(stage.standing("west-0").word(), "probing", "{method:?}");
        let pick = stage.pick().unwrap();
        assert!(pick.is_trial(), "{method:?}");
        stage.well(pick);
        stage.pass(0.1);
        assert_eq!(stage.standing("west-0").word(), "serving", "{method:?}");
    }
}

#[test]
fn explaining_says_the_tier_the_zone_and_why() {
    let mut all = members(&[("east", 2), ("west", 1)]);
    all.push(member("none-0").tier(4));
    let mut stage = Stage::of(near(Some("east")), all);
    let ask = stage.ask();
    let explained = stage.service.explain(&ask, stage.now);
    let place = explained.place.unwrap();
    assert_eq!((place.tier, place.tier_spill), (0, None));
    assert_eq!(place.preferred, Some(ZoneId::named("east")));
    assert_eq!(
        (place.keeps, place.zone_spill),
        (Some(1.0), Some(Spill::ZoneKept))
    );
    assert_eq!(explained.tiers, [(0, 1.0), (4, 0.0)]);
    let named = explained.candidates.iter();
    let zones: Vec<_> = named.map(|one| one.zone.as_ref().map(Zone::name)).collect();
    assert_eq!(zones, [Some("east"), Some("east"), Some("west"), None]);
    assert_eq!(explained.candidates[3].bar, Some(Bar::Standby));
    assert!(explained.candidates[2].bar.is_none());
    // Explaining counts nothing and turns nothing.
    assert_eq!(spilled(&stage, Spill::ZoneKept), 0);
    let picked = explained.result.unwrap();
    assert_eq!(
        *stage.service.pick(&ask, stage.now).unwrap().backend().id(),
        picked
    );
}
