//! Owns the race: contenders over servers and load of their own, as many at the same time as the machine has room for, so that the same neighbours
//! disturb them all.
//!
//! Runs of a scenario begin with fresh processes, and come one after another over all scenarios, so that a machine that drifts drifts
//! for all of them. It decides nothing; `race/heats.rs` says who runs beside whom, `race/figures.rs` reads what was seen, `race/page.rs` shows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::balancer::Balancer;
use crate::client::Class;
use crate::clock::Start;
use crate::cores::Cores;
use crate::life::Life;
use crate::load::{Load, Mix, Terms};
use crate::machine::Busy;
use crate::setup::{self, Wants, Who};

pub(crate) mod figures;
mod heats;
mod page;
pub(crate) mod table;

use figures::{Figures, Sample, Seen};
use table::{Contender, SCENARIOS, Scenario};

/// So long a client waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Runs of each scenario, and what of each does not count.
const TIMES: usize = 5;
const WARM: u64 = 5;
const QUICK_WARM: u64 = 4;

/// Seconds of each run that do not count.
const fn warm(quick: bool) -> u64 {
    if quick { QUICK_WARM } else { WARM }
}

/// Between two looks at the servers.
const TICK: Duration = Duration::from_millis(100);

const USAGE: &str = "evenkeel-chaos race --evenkeel PROGRAM [--envoy PROGRAM] [--sozu PROGRAM] [--pingora PROGRAM] [scenario ...] [--quick] \
     [--times N] [--write FILE]";

/// What is asked for.
struct Asked {
    programs: Programs,
    scenarios: Vec<&'static Scenario>,
    quick: bool,
    times: usize,
    page: Option<PathBuf>,
}

/// Where each balancer's program is.
pub(crate) struct Programs {
    pub(crate) evenkeel: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) sozu: PathBuf,
    /// What `bench/peers/pingora-balancer` makes.
    pub(crate) pingora: PathBuf,
}

impl Programs {
    fn of(&self, who: Who) -> &Path {
        match who {
            Who::Evenkeel => &self.evenkeel,
            Who::Haproxy => Path::new(setup::HAPROXY_PROGRAM),
            Who::Nginx => Path::new(setup::NGINX_PROGRAM),
            Who::Caddy => Path::new(setup::CADDY_PROGRAM),
            Who::Envoy => &self.envoy,
            Who::Sozu => &self.sozu,
            Who::Pingora => &self.pingora,
        }
    }
}

/// One contender in one scenario, over all runs.
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) contender: Contender,
    pub(crate) runs: Vec<Run>,
    /// How requests failed, over all runs.
    pub(crate) classes: BTreeMap<String, usize>,
    /// Why a run did not come to its end.
    pub(crate) broken: Option<String>,
}

/// One run of it, with the number of its heat: who has the same number ran beside it.
pub(crate) struct Run {
    pub(crate) heat: usize,
    pub(crate) figures: Figures,
}

fn asked(words: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        programs: Programs {
            evenkeel: PathBuf::new(),
            envoy: PathBuf::from("envoy"),
            sozu: PathBuf::from("sozu"),
            pingora: PathBuf::from("pingora-balancer"),
        },
        scenarios: Vec::new(),
        quick: false,
        times: 0,
        page: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or(USAGE);
        match word.as_str() {
            "--evenkeel" => asked.programs.evenkeel = next()?.into(),
            "--envoy" => asked.programs.envoy = next()?.into(),
            "--sozu" => asked.programs.sozu = next()?.into(),
            "--pingora" => asked.programs.pingora = next()?.into(),
            "--write" => asked.page = Some(next()?.into()),
            "--times" => asked.times = next()?.parse().map_err(|_| USAGE)?,
            "--quick" => asked.quick = true,
            name => {
                let found = SCENARIOS.iter().find(|one| one.name == name);
                let names: Vec<&str> = SCENARIOS.iter().map(|one| one.name).collect();
                let why = || format!("`{name}` is none of {}\n{USAGE}", names.join(", "));
                asked.scenarios.push(found.ok_or_else(why)?);
            }
        }
    }
    if asked.scenarios.is_empty() {
        asked.scenarios = SCENARIOS.iter().collect();
    }
    if asked.times == 0 {
        asked.times = if asked.quick { 1 } else { TIMES };
    }
    Ok(asked)
}

/// Where servers compute, and how many steps a millisecond of it holds.
#[derive(Clone)]
struct Computing {
    cores: Cores,
    steps: u64,
}

impl Computing {
    /// Which core the servers of the one at this place have: another in each turn, as no two cores are alike.
    fn core(&self, at: usize, turn: usize) -> usize {
        let cores = &self.cores.servers;
        cores[(at + turn) % cores.len()]
    }
}

/// One scenario with those that race in it.
struct Meet {
    scenario: &'static Scenario,
    /// Where its servers compute.
    computing: Option<Computing>,
    rows: Vec<Row>,
    heats: Vec<Vec<usize>>,
    /// Which heats run in which turn.
    turns: Vec<Vec<usize>>,
    /// Heats so far.
    run: usize,
}

impl Meet {
    fn new(
        scenario: &'static Scenario,
        asked: &Asked,
        machine: usize,
        computing: Option<&Computing>,
    ) -> Self {
        let contenders = heats::racing(scenario);
        let computing = computing.filter(|_| scenario.computes).cloned();
        let cores = computing.as_ref().map(|one| one.cores.servers.len());
        let heats = match cores {
            Some(cores) => heats::apart(&contenders, cores),
            None => heats::heats(&contenders, scenario.rate(), machine),
        };
        let times = heats::rounds(asked.times, cores.unwrap_or(1));
        let turns = heats::turns(scenario, heats.len(), times);
        let rows = contenders.into_iter().map(|contender| Row {
            scenario,
            contender,
            runs: Vec::new(),
            classes: BTreeMap::new(),
            broken: missing(&asked.programs, contender),
        });
        Self {
            scenario,
            computing,
            rows: rows.collect(),
            heats,
            turns,
            run: 0,
        }
    }

    /// Its heats of this turn; how busy the machine was at most.
    async fn turn(&mut self, asked: &Asked, turn: usize, folder: &Path) -> Result<f64, String> {
        let mut busiest: f64 = 0.0;
        for heat in self.turns.get(turn).into_iter().flatten() {
            let within = &self.heats[*heat];
            let rows = self.rows.iter_mut().enumerate();
            let rows = rows.filter(|(at, row)| within.contains(at) && row.broken.is_none());
            let mut run: Vec<&mut Row> = rows.map(|(_, row)| row).collect();
            let heat = Heat {
                scenario: self.scenario,
                computing: self.computing.as_ref(),
                turn,
                number: self.run,
            };
            let busy = heat.run(asked, &mut run, folder).await?;
            let busy_percent = busy * 100.0;
            let (name, turn) = (self.scenario.name, turn + 1);
            println!("{name} {turn}: machine {busy_percent:.0} % busy");
            for row in &run {
                println!("{}", page::line(row));
            }
            // Cores that compute are to be busy, and disturb nobody else's.
            if self.computing.is_none() {
                busiest = busiest.max(busy);
            }
            self.run += 1;
        }
        Ok(busiest)
    }
}

/// Runs what these words ask for. False: a target was missed.
pub(crate) async fn run(words: &[String], folder: &Path) -> Result<bool, String> {
    let asked = asked(words)?;
    let facts = page::facts(&asked.programs, asked.quick);
    println!("{facts}");
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let computing = computing(&asked.scenarios);
    let (held, skipped): (Vec<&Scenario>, Vec<&Scenario>) = (asked.scenarios.iter().copied())
        .partition(|scenario| !scenario.computes || computing.is_some());
    let mut meets: Vec<Meet> = (held.into_iter())
        .map(|scenario| Meet::new(scenario, &asked, machine, computing.as_ref()))
        .collect();
    let most = meets.iter().map(|meet| meet.turns.len()).max();
    let mut busiest: f64 = 0.0;
    for turn in 0..most.unwrap_or(0) {
        for meet in &mut meets {
            busiest = busiest.max(meet.turn(&asked, turn, folder).await?);
        }
    }
    let rows: Vec<Row> = meets.into_iter().flat_map(|meet| meet.rows).collect();
    let mut text = page::page(&rows, &facts, warm(asked.quick), busiest);
    for scenario in skipped {
        text += &page::without_cores(scenario, machine);
    }
    println!("{text}");
    if let Some(page) = &asked.page {
        std::fs::write(page, &text).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    Ok(asked.quick || !text.contains("MISSED"))
}

/// Where servers compute, if that is asked for and there is room; looked at before anything else runs.
fn computing(scenarios: &[&'static Scenario]) -> Option<Computing> {
    let wanted = scenarios.iter().any(|scenario| scenario.computes);
    let cores = Cores::now().filter(|_| wanted)?;
    let steps = cores.per_ms();
    println!("- **computing** {steps} steps a millisecond, of each core that computes\n");
    Some(Computing { cores, steps })
}

fn missing(programs: &Programs, contender: Contender) -> Option<String> {
    let program = programs.of(contender.who);
    // Where it was looked for is this machine's business, and not the page's.
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    (!program.exists()).then(|| format!("SKIPPED: {name} is not installed"))
}

/// One contender's servers, balancer and load.
struct Stand {
    servers: Life,
    balancer: Balancer,
    load: Option<Load>,
    samples: Vec<Sample>,
}

impl Stand {
    async fn start(
        programs: &Programs,
        heat: &Heat<'_>,
        (at, contender): (usize, Contender),
        folder: &Path,
    ) -> Result<Self, String> {
        let (scenario, turn) = (heat.scenario, heat.turn);
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let numbers = [
            scenario.servers() as u64,
            scenario.mean().as_micros() as u64,
            scenario.slow as u64,
            // Alike for all of a turn, others each time: one draw of them is not the rule.
            if scenario.neighbours {
                turn as u64 + 1
            } else {
                0
            },
        ];
        let numbers = numbers.iter().map(u64::to_string);
        let mut words: Vec<String> = ["servers".to_owned()].into_iter().chain(numbers).collect();
        if let Some(computing) = heat.computing {
            let (core, steps) = (computing.core(at, turn), computing.steps);
            words.extend(["computing".to_owned(), core.to_string(), steps.to_string()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (servers, said) = Life::begin(&words).await?;
        let addresses: Vec<SocketAddr> = said
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let wants = Wants {
            choice: Some(contender.choice),
            ..scenario.wants
        };
        let (who, nobody) = (contender.who, ([127, 0, 0, 1], 53).into());
        let program = programs.of(who);
        let balancer = Balancer::start(who, program, wants, folder, &addresses, nobody).await?;
        Ok(Self {
            servers,
            balancer,
            load: None,
            samples: Vec::new(),
        })
    }

    /// What was seen of it between these, once all that was sent has ended.
    async fn end(mut self, from: Duration, to: Duration, cores: f64) -> Seen {
        let mut records = match self.load.take() {
            Some(load) => load.end().await,
            None => Vec::new(),
        };
        records.retain(|one| one.intended >= from && one.intended < to);
        self.balancer.end().await;
        Seen {
            records,
            samples: self.samples,
            from,
            cores,
        }
    }

    /// What each server was asked, and has under way.
    async fn look(&mut self, at: Duration) -> Result<(), String> {
        let said = self.servers.ask("read").await?;
        let numbers: Vec<u64> = said
            .split(' ')
            .map_while(|word| word.parse().ok())
            .collect();
        let each = numbers.chunks_exact(2).map(|two| (two[0], two[1]));
        self.samples.push(Sample {
            at,
            servers: each.collect(),
        });
        Ok(())
    }
}

/// Who runs at the same time.
struct Heat<'m> {
    scenario: &'static Scenario,
    computing: Option<&'m Computing>,
    turn: usize,
    number: usize,
}

impl Heat<'_> {
    /// One run of all these; how busy the machine was.
    async fn run(
        &self,
        asked: &Asked,
        rows: &mut [&mut Row],
        folder: &Path,
    ) -> Result<f64, String> {
        let (scenario, turn) = (self.scenario, self.turn);
        // Until all of this has ended; balancers, which are started below, keep to it.
        let _confined = self.computing.map(|computing| computing.cores.confine());
        let mut stands = Vec::new();
        for (at, row) in rows.iter_mut().enumerate() {
            let folder = folder.join(format!("{}-{at}", scenario.name));
            let contender = (at, row.contender);
            match Stand::start(&asked.programs, self, contender, &folder).await {
                Ok(stand) => stands.push((row, stand)),
                Err(why) => row.broken = Some(why),
            }
        }
        let warm = Duration::from_secs(warm(asked.quick));
        let lasts = if asked.quick {
            scenario.quick
        } else {
            scenario.lasts
        };
        let ends = warm + Duration::from_secs(lasts);
        let start = Start::now();
        for (_, stand) in &mut stands {
            stand.servers.ask("begin").await?;
            let terms = Terms {
                addresses: vec![stand.balancer.listen],
                rate: scenario.rate(),
                deadline: DEADLINE,
                // The same for all, another each time.
                seed: 11 + turn as u64,
                mix: Mix::Small,
            };
            stand.load = Some(Load::start(terms, start));
        }
        start.until(warm).await;
        let (busy, spent) = (Busy::now(), spent(&stands));
        act(scenario, &mut stands, start, (warm, ends)).await?;
        let busy = busy.since();
        let counted = start.passed() - warm;
        self.end(stands, spent, (warm, ends, counted)).await;
        Ok(busy)
    }

    /// Reads what was seen of each, once all that was sent has ended.
    async fn end(
        &self,
        stands: Vec<(&mut &mut Row, Stand)>,
        spent: Vec<Duration>,
        (warm, ends, counted): (Duration, Duration, Duration),
    ) {
        let mut ended = tokio::task::JoinSet::new();
        let mut places = Vec::new();
        for (at, ((row, stand), before)) in stands.into_iter().zip(spent).enumerate() {
            let after: Duration = stand.balancer.spent().values().sum();
            let cores = (after.saturating_sub(before)).as_secs_f64() / counted.as_secs_f64();
            places.push(row);
            ended.spawn(async move { (at, stand.end(warm, ends, cores).await) });
        }
        for (at, seen) in ended.join_all().await {
            let row = &mut places[at];
            row.runs.push(Run {
                heat: self.number,
                figures: Figures::of(self.scenario, &seen),
            });
            for record in seen
                .records
                .iter()
                .filter(|one| one.class != Class::Answered)
            {
                *row.classes.entry(record.class.word()).or_insert(0) += 1;
            }
        }
    }
}

/// Does to all servers what the scenario does, and looks at them, until it is over.
async fn act(
    scenario: &Scenario,
    stands: &mut [(&mut &mut Row, Stand)],
    start: Start,
    (from, until): (Duration, Duration),
) -> Result<(), String> {
    let mut acts = scenario.acts.iter().peekable();
    let mut next = from;
    while start.passed() < until {
        let due = |after: u64| start.passed() >= from + Duration::from_millis(after);
        while let Some((_, line)) = acts.next_if(|(after, _)| due(*after)) {
            for (_, stand) in &mut *stands {
                stand.servers.ask(line).await?;
            }
        }
        for (_, stand) in &mut *stands {
            stand.look(start.passed()).await?;
        }
        next += TICK;
        start.until(next).await;
    }
    Ok(())
}

fn spent(stands: &[(&mut &mut Row, Stand)]) -> Vec<Duration> {
    let each = stands.iter();
    each.map(|(_, stand)| stand.balancer.spent().values().sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_race_of_four_cores_takes_less_than_three_quarters_of_an_hour() {
        // Nothing is run, so that it matters not who is installed.
        let asked = asked(&[]).unwrap();
        let computing = Computing {
            cores: Cores::of(&[0, 1, 2, 3]).unwrap(),
            steps: 1,
        };
        let mut heats = 0;
        let each = SCENARIOS.iter().map(|scenario| {
            let meet = Meet::new(scenario, &asked, 4, Some(&computing));
            let run: usize = meet.turns.iter().map(Vec::len).sum();
            heats += run;
            // Processes begin and end, too: a heat of a whole race took some 3.4 s beside its load.
            run as u64 * (WARM + scenario.lasts + 4)
        });
        let seconds: u64 = each.sum();
        let warm = 10 * heats as u64;
        println!("{heats} heats, {seconds} s; {warm} s more with 15 s of warm-up");
        assert!(seconds < 45 * 60, "{seconds} s");
        // Which is why the warm-up is no longer, and what the page says of it.
        assert!(seconds + warm > 45 * 60, "{seconds} and {warm} s");
        assert!((1_110..1_170).contains(&warm) && heats > 100, "{warm} s");
    }

    #[test]
    fn each_of_a_heat_has_a_core_of_its_own_and_each_in_turn() {
        let Some(cores) = Cores::now() else { return };
        let all = cores.servers.clone();
        let computing = Computing { cores, steps: 1 };
        let at = |turn| (0..all.len()).map(move |at| (at, turn));
        let cores = |turn| at(turn).map(|(at, turn)| computing.core(at, turn));
        for turn in 0..4 {
            let mut of_heat: Vec<usize> = cores(turn).collect();
            of_heat.sort_unstable();
            assert_eq!(of_heat, all, "{turn}");
        }
        let of_one: Vec<usize> = (0..all.len()).map(|turn| computing.core(0, turn)).collect();
        assert_eq!(of_one, all);
    }
}
