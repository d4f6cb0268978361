//! The demo as its users run it: lines, a terminal, an interrupt. Facts are looked at, never speeds.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::evenkeel;
use crate::process::curl;

/// The number before a word.
fn before(text: &str, word: &str) -> u64 {
    let number = text
        .split(word)
        .next()
        .and_then(|left| left.rsplit(' ').next());
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number before `{word}` in {text}"))
}

/// The summary's own sums, on the lines that a run without a terminal ends with.
fn sums_hold(out: &str) {
    let line = |begin: &str| {
        let line = out.lines().find(|line| line.starts_with(begin));
        line.unwrap_or_else(|| panic!("no line begins with `{begin}`: {out}"))
    };
    let requests = line("requests ");
    let became = [" answered", " errors", " broken", " not sent"];
    let met: u64 = became.iter().map(|word| before(requests, word)).sum();
    assert_eq!(before(requests, " due"), met, "{requests}");
    assert!(before(requests, " answered") > 0, "{requests}");
    let table = out.lines().skip_while(|line| !line.starts_with("backend "));
    let rows: Vec<Vec<&str>> = table
        .skip(1)
        .take(6)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let tenths = |cell: &str| -> u64 { cell.replace(['%', '.'], "").parse().unwrap() };
    // Name, time and unit; the sum has neither of the last two.
    let (all, each) = rows.split_last().unwrap();
    assert_eq!(all[..3], ["all", all[1], "100.0%"], "{out}");
    assert_eq!(
        each.iter().map(|row| tenths(row[4])).sum::<u64>(),
        1000,
        "{out}"
    );
    let picks = each.iter().map(|row| row[3].parse::<u64>().unwrap());
    assert_eq!(picks.sum::<u64>().to_string(), all[1], "{out}");
}

#[test]
fn lines_and_a_summary_where_there_is_no_terminal() {
    let (code, out, said) = evenkeel(&["demo", "--once", "--rate", "300"]);
    assert_eq!((code, &*said), (Some(0), ""), "{out}");
    assert!(!out.contains('\u{1b}'), "{out}");
    sums_hold(&out);
    let (live, summary) = out.split_once("\nrequests ").unwrap();
    assert!(live.contains(" requests/s, "), "{live}");
    // Both tell the whole story of the one that fails, in its order.
    for mut told in [live, summary] {
        for fact in [
            "shaky: unproven -> serving (checks_passed)\n",
            "shaky begins to answer 500, at once\n",
            "shaky: serving -> ",
            "shaky refuses connections\n",
            "shaky is well again\n",
            " -> serving (",
        ] {
            let (_, rest) = told
                .split_once(fact)
                .unwrap_or_else(|| panic!("no {fact} in {out}"));
            told = rest;
        }
    }
}

/// It has a dashboard, by which it is steered, for as long as it runs.
#[test]
fn the_dashboard_is_said_and_steers_it() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["demo", "--for", "10m", "--rate", "50"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let says = BufReader::new(child.stdout.take().unwrap());
    let mut lines = says.lines().map(Result::unwrap);
    let said = |line: String| Some(line.strip_prefix("the dashboard is at http://")?.to_owned());
    let address = lines.find_map(said).unwrap();
    let address: SocketAddr = address.trim_end_matches('/').parse().unwrap();
    assert!(address.ip().is_loopback());
    let page = curl(address, &["--compressed"], "/");
    assert!(page.contains("<title>Evenkeel</title>"), "{page}");
    let write = ["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"];
    let drained = curl(address, &write, "/v1/services/demo/backends/medium/drain");
    assert!(drained.contains("\"draining\""), "{drained}");
    assert!(lines.any(|line| line.contains("medium: serving -> draining")));
    let kill = Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let rest: Vec<_> = lines.collect();
    assert!(
        rest.iter().any(|line| line.starts_with("requests ")),
        "{rest:?}"
    );
    assert!(child.wait().unwrap().success());
}

/// Nobody is to steer it from elsewhere.
#[test]
fn it_is_at_no_other_address_than_this_machines() {
    let (code, _, said) = evenkeel(&["demo", "--for", "1s", "--admin", "0.0.0.0:0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("beyond loopback"), "{said}");
}

#[test]
fn wrong_words_are_refused() {
    for arguments in [
        &["--rate", "0"][..],
        &["--rate", "20001"],
        &["--policy", "best"],
        &["--breaker", "maybe"],
        &["--for", "5"],
        &["--for", "5s", "--once"],
        &["--size", "0x0"],
        &["--admin", "9900"],
    ] {
        let (code, _, said) = evenkeel(&[&["demo"], arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?} {said}");
    }
}

/// The README's demos, for a shorter time each: what is asked for is what runs.
#[test]
fn the_demos_of_the_readme() {
    let readme = include_str!("../../../../README.md");
    let commands = readme
        .lines()
        .filter_map(|line| line.strip_prefix("cargo xtask demo"));
    let mut policies = Vec::new();
    for command in commands {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        match words.iter().position(|word| *word == "--for") {
            Some(at) => words[at + 1] = "1s",
            None => words.extend(["--for", "1s"]),
        }
        let (code, out, said) = evenkeel(&[&["demo"], &words[..]].concat());
        assert_eq!(code, Some(0), "{command}: {out}{said}");
        sums_hold(&out);
        let (_, policy) = out.split_once(" with policy ").unwrap();
        policies.push(policy.split(',').next().unwrap().to_owned());
    }
    assert_eq!(policies, ["adaptive", "round_robin", "least_connections"]);
}

/// Runs it on a terminal of its own, which shrinks, and interrupts it there.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, re, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
def size(rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
seen = b""
def frame():
    global seen
    begun = len(seen)
    while seen[begun:].count(b"\x1b[J") < 2:
        seen += os.read(terminal, 65536)
    whole = seen.split(b"\x1b[J")[-2].decode()
    return re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", whole).replace("\r", "").split("\n")
def until(what, fact):
    for _ in range(200):
        lines = frame()
        if fact(lines):
            return
    sys.exit(what + ": " + "\n".join(lines))
size(40, 120)
until("wide", lambda lines: any("in flight" in line for line in lines) and any("unproven -> serving" in line for line in lines))
size(12, 30)
until("narrow", lambda lines: 1 < len(lines) <= 12 and all(len(line) <= 30 for line in lines))
os.write(terminal, b"\x03")
try:
    while True:
        more = os.read(terminal, 65536)
        if not more: break
        seen += more
except OSError:
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn a_terminal_is_drawn_on_and_given_back() {
    let run = |no_color: &str| {
        let output = Command::new("python3")
            .args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_evenkeel")])
            .args(["demo", "--for", "10m", "--rate", "100"])
            .env("NO_COLOR", no_color)
            .env("TERM", "xterm")
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{out}{said}");
        out.replace("\r\n", "\n")
    };
    let whole = run("1");
    assert!(whole.starts_with("\u{1b}[?1049h\u{1b}[?25l"), "{whole:?}");
    assert!(!whole.contains("\u{1b}[32m"), "colours: {whole:?}");
    let back = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
    let (_, summary) = whole
        .rsplit_once(back)
        .unwrap_or_else(|| panic!("not given back: {whole:?}"));
    assert!(
        summary.contains("\nevents\n") && !summary.contains('\u{1b}'),
        "{summary:?}"
    );
    sums_hold(summary);
    let painted = run("");
    assert!(painted.contains("\u{1b}[32m"), "{painted:?}");
}

/// The picture in the README shows what the demo shows: its heads and backends, whatever the figures.
#[test]
fn the_picture_is_of_this_demo() {
    let picture = include_str!("../../../../docs/demo.svg");
    assert!(picture.len() < 16 * 1024, "{} bytes", picture.len());
    let (_, out, said) = evenkeel(&["demo", "--for", "1s", "--size", "104x22"]);
    let frame = out.rsplit("\u{1b}[H").next().unwrap();
    let frame = frame.split("\u{1b}[J").next().unwrap();
    let begins = |line: &&str| {
        let plain = line.trim_start_matches("\u{1b}[2m");
        plain.len() < line.len() && !plain.starts_with("    0.")
    };
    let heads: Vec<_> = frame.lines().filter(begins).collect();
    assert!(heads.len() >= 3, "{frame}{said}");
    let words = heads.iter().flat_map(|line| line.split_whitespace());
    let names = ["fast-1", "fast-2", "medium", "slow", "shaky", "evenkeel"];
    for word in words.chain(names) {
        let plain = word
            .replace("\u{1b}[2m", "")
            .replace("\u{1b}[0m", "")
            .replace("\u{1b}[K", "");
        assert!(
            picture.contains(&plain),
            "docs/demo.svg is stale, without `{plain}`: `cargo xtask picture` draws it anew"
        );
    }
}
