//! Owns prices in instructions, of a pick and of an exchange, and the files that they may not leave.
//!
//! An example of the crate runs one named row a number of times; callgrind counts the instructions
//! of two such runs of different length, and the difference over the extra repetitions is the price: start-up
//! cancels. Counts gate because they do not depend on how busy the machine is; times would not.
//! Both directions fail: dearer is a regression, much cheaper is a limit that no longer holds anything.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::run::{Done, ask, cargo, program};

/// What is weighed: an example of a package, and the file with its prices.
struct Weighed {
    package: &'static str,
    example: &'static str,
    file: &'static str,
    /// What one repetition is.
    unit: &'static str,
}

const WEIGHED: [Weighed; 3] = [
    Weighed {
        package: "evenkeel-balance",
        example: "count",
        file: "crates/balance/counts.toml",
        unit: "one pick and its finish, by policy and number of backends; of one check of such a member, and of one tick",
    },
    Weighed {
        package: "evenkeel-wire",
        example: "blocks",
        file: "crates/wire/counts.toml",
        unit: "one head out of a block of HTTP/2, or one block out of a head",
    },
    Weighed {
        package: "evenkeel-proxy",
        example: "weigh",
        file: "crates/proxy/counts.toml",
        unit: "one exchange over connections in memory, of what TLS adds to twenty, of a hundredth of bringing so many backends and of a reload of as many, and of finding one rule among so many",
    },
];

impl Weighed {
    fn path(&self, root: &Path) -> PathBuf {
        root.join("target/release/examples").join(self.example)
    }

    fn header(&self) -> String {
        format!(
            "# Instructions of {}, counted by callgrind.\n\
             # `cargo xtask counts` compares; `cargo xtask counts --write` measures anew and writes this file.\n",
            self.unit
        )
    }
}

/// The two lengths of a run. The longer one is a few seconds under callgrind for the dearest row.
const REPETITIONS: [u64; 2] = [1_000, 5_000];

/// How far a count may stray: with the compiler that recorded it, and with another one.
const TOLERANCE_SAME: f64 = 0.03;
const TOLERANCE_OTHER: f64 = 0.15;

/// `crates/balance/counts.toml`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    /// What `compiler` said when the rows were recorded.
    rustc: String,
    row: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// A name of `count --list`: policy and number of backends.
    name: String,
    /// Of one repetition.
    instructions: f64,
}

/// Compares with the files, or writes them.
pub(crate) fn counts(root: &Path, rest: &[String]) -> Done {
    let (write, all) = wanted(rest)?;
    let mut problems = Vec::new();
    for weighed in all {
        problems.extend(weigh(root, weighed, write)?);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// Whether prices are written, and whose: of the packages that are named, or of all.
fn wanted(rest: &[String]) -> Result<(bool, Vec<&'static Weighed>), String> {
    let (mut write, mut named) = (false, Vec::new());
    for word in rest {
        if word == "--write" {
            write = true;
            continue;
        }
        let one = WEIGHED.iter().find(|weighed| weighed.package == word);
        // A mistyped name must not pass for prices that hold.
        named.push(one.ok_or_else(usage)?);
    }
    if named.is_empty() {
        named.extend(&WEIGHED);
    }
    Ok((write, named))
}

fn usage() -> String {
    let packages = WEIGHED.map(|weighed| weighed.package).join("|");
    format!("usage: cargo xtask counts [--write] [{packages} ...]")
}

/// One of them: what is wrong with its prices.
fn weigh(root: &Path, weighed: &Weighed, write: bool) -> Result<Vec<String>, String> {
    let file = weighed.file;
    let example = [
        "build",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        weighed.package,
        "--example",
        weighed.example,
    ];
    // The build tree is named, so that the example is where we look for it.
    cargo(root, &example)
        .args(&["--target-dir", "target"])
        .go()?;
    let measured = Counts {
        rustc: compiler()?,
        row: measure(root, weighed)?,
    };

    let path = root.join(file);
    if write {
        let text = toml::to_string(&measured).map_err(|error| error.to_string())?;
        std::fs::write(&path, format!("{}{text}", weighed.header()))
            .map_err(|error| format!("{file}: {error}"))?;
        println!("{file}: {} rows written", measured.row.len());
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{file}: {error}. `cargo xtask counts --write` makes it"))?;
    let recorded: Counts = toml::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    print!("{}", table(&recorded, &measured));
    Ok(compare(file, &recorded, &measured))
}

/// The compiler and the machine it compiles for: what a count depends on besides our own code.
fn compiler() -> Result<String, String> {
    let said = ask(&["rustc", "-vV"]).ok_or("`rustc -vV` did not answer")?;
    let value = |key: &str| {
        said.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(str::trim)
    };
    match (value("rustc"), value("host:")) {
        (Some(version), Some(host)) => Ok(format!("{version} {host}")),
        _ => Err(format!("`rustc -vV` was not understood:\n{said}")),
    }
}

/// Counts every row that the example knows, as many at a time as there are processors.
fn measure(root: &Path, weighed: &Weighed) -> Result<Vec<Row>, String> {
    let example = weighed.path(root);
    let list = program(&example).args(&["--list"]).read()?;
    let names: Vec<&str> = list
        .lines()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(format!(
            "`{} --list` names no row: nothing would be counted",
            example.display()
        ));
    }
    let folder = root.join("target/counts").join(weighed.package);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;

    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((index, name)) = take(&next, &names) {
            done.push((
                index,
                price(&example, &folder.join(format!("{index}.out")), name)?,
            ));
        }
        Ok::<_, String>(done)
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(names.len());
    let parts = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let parts = running.into_iter().map(|thread| thread.join());
        parts
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "a counting thread panicked".to_owned())
    })?;
    let mut prices = Vec::new();
    for part in parts {
        prices.extend(part?);
    }
    prices.sort_by_key(|(index, _)| *index);
    Ok(prices
        .into_iter()
        .map(|(index, instructions)| Row {
            name: names[index].to_owned(),
            instructions,
        })
        .collect())
}

fn take<'a>(next: &AtomicUsize, names: &[&'a str]) -> Option<(usize, &'a str)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    names.get(index).map(|name| (index, *name))
}

/// Instructions of one repetition of one row, to a tenth.
fn price(example: &Path, out: &Path, name: &str) -> Result<f64, String> {
    let mut totals = [0; 2];
    for (total, repetitions) in totals.iter_mut().zip(REPETITIONS) {
        program("valgrind")
            .args(&["--quiet", "--tool=callgrind"])
            .args(&[format!("--callgrind-out-file={}", out.display())])
            .args(&[
                example.display().to_string(),
                name.to_owned(),
                repetitions.to_string(),
            ])
            .read()?;
        let text =
            std::fs::read_to_string(out).map_err(|error| format!("{}: {error}", out.display()))?;
        *total = total_of(&text).ok_or_else(|| format!("{}: no `totals:` line", out.display()))?;
    }
    per_repetition(totals, REPETITIONS).ok_or_else(|| {
        format!(
            "{name}: {} repetitions cost no more than {}: does the example repeat?",
            REPETITIONS[1], REPETITIONS[0]
        )
    })
}

/// The `totals:` line of callgrind's output: instructions executed.
fn total_of(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The price of one repetition, to a tenth; nothing when the longer run is not the dearer one.
#[expect(
    clippy::cast_precision_loss,
    reason = "instruction counts are far below 2^53"
)]
fn per_repetition([short, long]: [u64; 2], [few, many]: [u64; 2]) -> Option<f64> {
    let (extra, repetitions) = (long.checked_sub(short)?, many.checked_sub(few)?);
    let price = extra as f64 / repetitions as f64;
    (price > 0.0).then(|| (price * 10.0).round() / 10.0)
}

fn tolerance(recorded: &Counts, measured: &Counts) -> f64 {
    if recorded.rustc == measured.rustc {
        TOLERANCE_SAME
    } else {
        TOLERANCE_OTHER
    }
}

/// What does not hold, one line each.
fn compare(file: &str, recorded: &Counts, measured: &Counts) -> Vec<String> {
    let tolerance = tolerance(recorded, measured);
    let mut problems = Vec::new();
    for row in &measured.row {
        let name = &row.name;
        let mut same = recorded.row.iter().filter(|other| other.name == *name);
        let (Some(limit), None) = (same.next(), same.next()) else {
            problems.push(format!(
                "{file}: `{name}` wants one row: run `cargo xtask counts --write`"
            ));
            continue;
        };
        let (now, then) = (row.instructions, limit.instructions);
        let change = now / then - 1.0;
        // Written so that a row of zero or NaN fails rather than passes.
        if change.abs() <= tolerance {
            continue;
        }
        let advice = if change < 0.0 {
            "cheaper than the limit can hold: tighten it with `cargo xtask counts --write`"
        } else {
            "dearer than the limit"
        };
        let (change, tolerance) = (change * 100.0, tolerance * 100.0);
        problems.push(format!(
            "{name}: {now:.1} instructions, recorded {then:.1} ({change:+.1} %, tolerance {tolerance:.0} %): {advice}"
        ));
    }
    for row in &recorded.row {
        if !measured.row.iter().any(|other| other.name == row.name) {
            let name = &row.name;
            problems.push(format!(
                "{file}: `{name}` is counted no more: run `cargo xtask counts --write`"
            ));
        }
    }
    problems
}

fn table(recorded: &Counts, measured: &Counts) -> String {
    let mut text = String::new();
    if recorded.rustc != measured.rustc {
        let percent = TOLERANCE_OTHER * 100.0;
        text += &format!(
            "   recorded with {}, here {}: {percent:.0} % allowed\n",
            recorded.rustc, measured.rustc
        );
    }
    for row in &measured.row {
        let limit = recorded.row.iter().find(|other| other.name == row.name);
        let limit = limit.map_or("-".to_owned(), |limit| format!("{:.1}", limit.instructions));
        text += &format!(
            "   {:<28} {:>10.1} {:>10}\n",
            row.name, row.instructions, limit
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "1.95.0 x86_64-unknown-linux-gnu";

    fn of(rustc: &str, rows: &[(&str, f64)]) -> Counts {
        let row = |&(name, instructions): &(&str, f64)| Row {
            name: name.to_owned(),
            instructions,
        };
        Counts {
            rustc: rustc.to_owned(),
            row: rows.iter().map(row).collect(),
        }
    }

    /// A row recorded at 200 and measured at `now`: the word that the only problem holds, or none.
    fn check(rustc: &str, now: f64, expect: Option<&str>) {
        let problems = compare(
            "f",
            &of(HERE, &[("adaptive/20", 200.0)]),
            &of(rustc, &[("adaptive/20", now)]),
        );
        match expect {
            None => assert_eq!(problems, [""; 0], "{now}"),
            Some(word) => assert!(
                problems.len() == 1 && problems[0].contains(word),
                "{now}: {problems:?}"
            ),
        }
    }

    /// What these words ask for: whether to write, and whose prices. None: they are not understood.
    fn check_words(words: &[&str], expect: Option<(bool, &[&str])>) {
        let rest: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        let found = wanted(&rest).ok();
        let found = found.map(|(write, all)| (write, all.iter().map(|one| one.package).collect()));
        let expect = expect.map(|(write, packages)| (write, packages.to_vec()));
        assert_eq!(found, expect, "{words:?}");
    }

    #[test]
    fn whose_prices_are_looked_at() {
        let all = ["evenkeel-balance", "evenkeel-wire", "evenkeel-proxy"];
        check_words(&[], Some((false, &all)));
        check_words(&["--write"], Some((true, &all)));
        check_words(&["evenkeel-wire"], Some((false, &all[1..2])));
        check_words(&["evenkeel-proxy", "--write"], Some((true, &all[2..])));
        check_words(&["evenkeel-wires"], None);
        check_words(&["--wrote"], None);
        check_words(&["evenkeel-wire", "wire"], None);
    }

    #[test]
    fn both_directions_have_a_limit() {
        check(HERE, 200.0, None);
        check(HERE, 205.9, None);
        check(HERE, 206.1, Some("dearer"));
        check(HERE, 194.1, None);
        check(HERE, 193.9, Some("tighten"));
    }

    #[test]
    fn another_compiler_has_wider_limits() {
        check("1.96.0 x86_64-unknown-linux-gnu", 229.0, None);
        check("1.96.0 x86_64-unknown-linux-gnu", 231.0, Some("dearer"));
        check("1.96.0 x86_64-unknown-linux-gnu", 171.0, None);
        check("1.96.0 x86_64-unknown-linux-gnu", 169.0, Some("tighten"));
    }

    #[test]
    fn a_limit_that_is_no_number_holds_nothing_and_fails() {
        for limit in [0.0, f64::NAN] {
            let problems = compare(
                "f",
                &of(HERE, &[("random/3", limit)]),
                &of(HERE, &[("random/3", 9.0)]),
            );
            assert_eq!(problems.len(), 1, "{limit}");
        }
    }

    #[test]
    fn the_rows_are_those_of_the_example() {
        let (one, two) = (
            of(HERE, &[("a/3", 9.0)]),
            of(HERE, &[("a/3", 9.0), ("b/3", 9.0)]),
        );
        assert!(compare("f", &two, &two).is_empty());
        assert!(compare("f", &one, &two)[0].contains("`b/3` wants one row"));
        assert!(compare("f", &two, &one)[0].contains("`b/3` is counted no more"));
        let twice = of(HERE, &[("a/3", 9.0), ("a/3", 90.0)]);
        assert!(compare("f", &twice, &one)[0].contains("`a/3` wants one row"));
    }

    #[test]
    fn prices() {
        assert_eq!(
            total_of("version: 1\nevents: Ir\nsummary: 7\n\nfn=(1)\n0 2\ntotals: 128719\n"),
            Some(128_719)
        );
        assert_eq!(total_of("version: 1\nevents: Ir\n"), None);
        // Start-up, 5000 here, is in both runs.
        assert_eq!(
            per_repetition([5_000 + 1_000 * 183, 5_000 + 5_000 * 183], REPETITIONS),
            Some(183.0)
        );
        assert_eq!(per_repetition([5_000, 5_000], REPETITIONS), None);
        assert_eq!(per_repetition([5_001, 5_000], REPETITIONS), None);
    }

    #[test]
    fn the_file_reads_back_as_written() {
        let counts = of(HERE, &[("adaptive/20", 183.4), ("hash/maglev/1000", 44.0)]);
        let text = format!(
            "{}{}",
            WEIGHED[0].header(),
            toml::to_string(&counts).unwrap()
        );
        assert_eq!(toml::from_str::<Counts>(&text).unwrap(), counts);
        assert!(toml::from_str::<Counts>(&text.replace("instructions", "instruction")).is_err());
    }
}
