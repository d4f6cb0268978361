//! Owns who runs beside whom: contenders of a scenario in heats, each small enough that the machine has room left, with ours in every one.
//!
//! Who shares a heat shares its disturbances, so a ratio is taken within one and never across. A plain function of figures; nothing here runs.

use super::table::{ALONE, CONTENDERS, Contender, OURS, Races, Scenario};
use crate::setup::Who;

/// So much of the machine a heat may take, by what its contenders cost.
const FULL: f64 = 0.55;

/// What generator and servers compute for a request, in microseconds, and what each balancer does: measured at 1,000 to 1,800 requests per second.
const AROUND: f64 = 60.0;

const fn price(who: Who) -> f64 {
    match who {
        Who::Evenkeel | Who::Nginx => 60.0,
        Who::Haproxy => 80.0,
        Who::Envoy => 235.0,
        Who::Caddy => 235.0,
        Who::Sozu => 110.0,
        Who::Pingora => 120.0,
    }
}

/// Cores that a contender and what is around it take at so many requests per second.
fn cores(who: Who, rate: f64) -> f64 {
    (AROUND + price(who)) * rate / 1e6
}

/// Who races in a scenario, in the order of the tables.
pub(crate) fn racing(scenario: &Scenario) -> Vec<Contender> {
    let all = CONTENDERS.iter().copied();
    let here = all.filter(|one| match one.races {
        Races::Everywhere => true,
        Races::Compared => scenario.compares,
        Races::Roomy => !scenario.computes,
    });
    here.chain(scenario.alone.then_some(ALONE)).collect()
}

/// The numbers of those who run at the same time, heat by heat: as few heats as have room, each about as full as the others. Ours is in all of them.
pub(crate) fn heats(contenders: &[Contender], rate: f64, machine: usize) -> Vec<Vec<usize>> {
    let of = |at: &usize| cores(contenders[*at].who, rate);
    let (ours, mut others): (Vec<usize>, Vec<usize>) =
        (0..contenders.len()).partition(|at| contenders[*at].name == OURS);
    others.sort_by(|one, two| of(two).total_cmp(&of(one)));
    let own: f64 = ours.iter().map(of).sum();
    let room = FULL * machine as f64 - own;
    // More than one for each does not help, however small a machine is.
    let most = others.len().max(1);
    let filled = (1..=most).map(|count| spread(&others, count, others.len(), of));
    let mut best = Vec::new();
    for heats in filled {
        let fullest = heats.iter().map(|heat| heat.iter().map(of).sum());
        let fits = fullest.fold(0.0, f64::max) <= room;
        best = heats;
        if fits {
            break;
        }
    }
    for heat in &mut best {
        heat.extend(&ours);
        heat.sort_unstable();
    }
    best
}

/// The same where each of a heat has a core for its servers, of which there are so many: two at least.
pub(crate) fn apart(contenders: &[Contender], cores: usize) -> Vec<Vec<usize>> {
    let of = |at: &usize| price(contenders[*at].who);
    let (ours, mut others): (Vec<usize>, Vec<usize>) =
        (0..contenders.len()).partition(|at| contenders[*at].name == OURS);
    others.sort_by(|one, two| of(two).total_cmp(&of(one)));
    let beside = cores.saturating_sub(ours.len()).max(1);
    let mut heats = spread(&others, others.len().div_ceil(beside).max(1), beside, of);
    for heat in &mut heats {
        heat.extend(&ours);
        heat.sort_unstable();
    }
    heats
}

/// Turns in which each has had each of so many cores as often; one is one.
pub(crate) fn rounds(times: usize, cores: usize) -> usize {
    match times {
        1 => 1,
        times => times.next_multiple_of(cores.max(1)),
    }
}

/// Dearest first, each to whom has least, and room for one more.
fn spread(
    others: &[usize],
    count: usize,
    room: usize,
    of: impl Fn(&usize) -> f64,
) -> Vec<Vec<usize>> {
    let mut heats = vec![Vec::new(); count];
    for at in others {
        let have_room = heats.iter_mut().filter(|heat| heat.len() < room);
        let least = have_room.min_by(|one, two| {
            let sum = |heat: &Vec<usize>| heat.iter().map(&of).sum::<f64>();
            sum(one).total_cmp(&sum(two))
        });
        if let Some(heat) = least {
            heat.push(*at);
        }
    }
    heats
}

/// Which heats run in which turn: all in each where policies are compared with each other; one after another where only ours is judged, until each had as
/// many as three.
pub(crate) fn turns(scenario: &Scenario, heats: usize, times: usize) -> Vec<Vec<usize>> {
    if scenario.every_heat() || times == 1 {
        return vec![(0..heats).collect(); times];
    }
    let count = times.max(LEAST * heats);
    (0..count).map(|turn| vec![turn % heats]).collect()
}

/// Runs of each heat, where heats take turns.
const LEAST: usize = 3;

#[cfg(test)]
mod tests {
    use super::super::table::SCENARIOS;
    use super::*;

    #[test]
    fn ours_is_in_every_heat_and_the_others_in_one_each() {
        for scenario in SCENARIOS {
            let contenders = racing(scenario);
            let heats = heats(&contenders, 1_500.0, 4);
            for (at, one) in contenders.iter().enumerate() {
                let found = heats.iter().filter(|heat| heat.contains(&at)).count();
                let wanted = if one.name == OURS { heats.len() } else { 1 };
                assert_eq!(found, wanted, "{} of {}", one.name, scenario.name);
            }
        }
    }

    #[test]
    fn as_many_as_have_room() {
        let contenders = racing(&SCENARIOS[0]);
        let check = |rate: f64, machine: usize, wanted: usize| {
            let heats = heats(&contenders, rate, machine);
            assert_eq!(heats.len(), wanted, "{rate} on {machine}");
            heats
        };
        let fullest = |heats: Vec<Vec<usize>>, rate: f64| {
            let sums = heats.into_iter().map(|heat| {
                let each = heat.into_iter().map(|at| cores(contenders[at].who, rate));
                each.sum::<f64>()
            });
            sums.fold(0.0, f64::max)
        };
        check(100.0, 4, 1);
        for rate in [800.0, 1_400.0, 1_800.0] {
            let heats = heats(&contenders, rate, 4);
            assert!(heats.len() > 1);
            assert!(fullest(heats, rate) <= FULL * 4.0, "{rate}");
        }
        // No room for two at a time: everybody alone beside ours.
        check(100_000.0, 1, contenders.len() - 1);
    }

    #[test]
    fn each_has_a_core_and_each_core_in_turn() {
        let computed = SCENARIOS.iter().find(|one| one.computes).unwrap();
        let contenders = racing(computed);
        for cores in [2, 3, 6] {
            let heats = apart(&contenders, cores);
            assert_eq!(heats.len(), (contenders.len() - 1).div_ceil(cores - 1));
            for heat in &heats {
                assert!((2..=cores).contains(&heat.len()), "{heat:?}");
                assert!(heat.contains(&0), "{heat:?}");
            }
            for at in 1..contenders.len() {
                let found = heats.iter().filter(|heat| heat.contains(&at)).count();
                assert_eq!(found, 1, "{at} on {cores}");
            }
        }
        // The dearest do not meet.
        let dearest = |heat: &&Vec<usize>| {
            let of = |at: &&usize| price(contenders[**at].who) > 200.0;
            heat.iter().filter(of).count() > 1
        };
        assert!(!apart(&contenders, 3).iter().any(|heat| dearest(&heat)));
        for (times, cores, wanted) in [(1, 3, 1), (5, 3, 6), (6, 3, 6), (5, 2, 6)] {
            assert_eq!(rounds(times, cores), wanted, "{times} on {cores}");
        }
    }

    #[test]
    fn every_heat_has_its_turns() {
        let of = |name: &str| SCENARIOS.iter().find(|one| one.name == name).unwrap();
        let (compared, alone) = (of("1-even"), of("7-sinkhole"));
        assert!(compared.every_heat() && !alone.every_heat());
        assert_eq!(turns(compared, 2, 2), [[0, 1], [0, 1]]);
        assert_eq!(turns(alone, 2, 5), [[0], [1], [0], [1], [0], [1]]);
        assert_eq!(turns(alone, 1, 5), [[0], [0], [0], [0], [0]]);
        // A quick run shows everybody once.
        assert_eq!(turns(alone, 3, 1), [[0, 1, 2]]);
    }
}
