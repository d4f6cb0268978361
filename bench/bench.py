#!/usr/bin/env python3
"""Measures Evenkeel and other balancers side by side, by the CPU that a request costs. See README.md."""
import argparse
import contextlib
import dataclasses
import fcntl
import itertools
import json
import math
import os
import platform
import resource
import signal
import subprocess
import sys
import time

from harness import growth, idle, load, place, proc, profile, proxies, race, readme, reload, report, setup, sysctl, targets
from harness.rounds import ENOUGH, SURE_FROM, Rounds, describe, due, started
from harness.stand import Stand
from harness.until import Over, Until

QUICK_PEERS = ("haproxy", "nginx", "relay")
QUICK_ROUNDS = 3
# Of a quick run: what each stage has. Whichever takes longer is cut off before the next measurement, which takes some seconds: all end within five minutes.
QUICK_SECONDS = {"rounds": 110, "growth": 85, "idle": 20, "start": 12, "reload": 28}
QUICK_LIMIT = 290    # seconds: whoever still runs then hangs
WHOLE_SECONDS = 800  # for the rounds of any other, which is to end within 25 minutes
IDLE = ((5000, False), (2000, True))
QUICK_IDLE = ((1000, False), (400, True))
STARTS = 5
RELOAD_SEED = 1
STAGES = ("rounds", "growth", "idle", "start", "reload")


def listed(known, what):
    def read(text):
        words = [word for word in text.split(",") if word]
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"`{word}` is no {what}; there are {', '.join(known)}")
        return words
    return read


def peers():
    return [name for name in proxies.known() if name != proxies.OURS]


def parser():
    known = peers()
    scenarios = "\n".join(f"  {name:10} {scenario.about}" for name, scenario in load.SCENARIOS.items())
    p = argparse.ArgumentParser(prog="cargo xtask bench", description=__doc__, epilog="scenarios:\n" + scenarios,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="ends within five minutes, once it is set up: few peers, few rounds, the ends of each growth")
    p.add_argument("--rounds", type=int, help=f"times that they are measured, in turns ({SURE_FROM}, then of what is not sure, or up to {ENOUGH} of all where all is sure; "
                   f"quick {QUICK_ROUNDS}; as long as there is time); given, there are so many however long they take")
    p.add_argument("--seconds", type=int, help="of each measurement (1)")
    p.add_argument("--scenarios", type=listed(load.SCENARIOS, "scenario"), default=list(load.SCENARIOS), metavar="A,B")
    p.add_argument("--peers", type=listed(known, "peer"), metavar="A,B", help=", ".join(known))
    p.add_argument("--stages", type=listed(STAGES, "stage"), default=list(STAGES), metavar="A,B", help=", ".join(STAGES))
    p.add_argument("--cc", default="", help="TCP congestion control during the run, for example cubic (root; put back afterwards)")
    p.add_argument("--tune", action="store_true", help="widen port range and backlogs during the run (root; put back afterwards)")
    p.add_argument("--profile", choices=load.SCENARIOS, metavar="A", help="print where Evenkeel's time goes in this scenario (perf), and measure nothing")
    p.add_argument("--report", action="store_true", help="write the page of the last run again, and measure nothing")
    p.add_argument("--pages", action="store_true", help="bring what the page has of the race's, and the README of the page, up to date, and measure nothing")
    p.add_argument("--setup", action="store_true", help="build and install only")
    return p


def options():
    chosen = parser().parse_args()
    chosen.whole = not chosen.quick and not chosen.peers and chosen.stages == list(STAGES) and chosen.scenarios == list(load.SCENARIOS)
    chosen.peers = chosen.peers or (list(QUICK_PEERS) if chosen.quick else [name for name in peers() if name != "direct"])
    chosen.until_sure = not chosen.quick and not chosen.rounds  # more rounds of what is not sure, as long as there is time
    chosen.limits = QUICK_SECONDS if chosen.quick and not chosen.rounds else {}
    chosen.within = math.inf if chosen.rounds else chosen.limits.get("rounds", WHOLE_SECONDS)
    chosen.rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ENOUGH)
    chosen.seconds = chosen.seconds or 1
    return chosen


@contextlib.contextmanager
def alone():
    """One run at a time per work directory."""
    place.WORK.mkdir(parents=True, exist_ok=True)
    with open(place.WORK / "lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit("another run is under way")
        yield


@contextlib.contextmanager
def settings(chosen):
    sysctl.restore()
    try:
        sysctl.change(sysctl.wanted(chosen.tune, chosen.cc))
        yield
    finally:
        sysctl.restore()


def raise_limits():
    """Descriptors to the hard limit; priority up where allowed, so that other work disturbs less. Children inherit both."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except OSError:
        print("note: no right to raise the priority; other work on this machine will show in the figures")


def end_after(seconds):
    """For what hangs where nobody looks at the time."""
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"something hangs: after {seconds} s this has not ended; `--report` has what was measured before"))
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Recorder:
    """Keeps what was measured, on disk after each stage, so that a run that is cut can still be reported."""

    def __init__(self):
        self.records = []

    def emit(self, record):
        self.records.append(record)
        print("  ", describe(record), flush=True)


def main_rounds(chosen, wanted, cores, recorder, until):
    began = time.monotonic()
    with Stand(cores, until) as stand:
        runnings = started(stand, wanted, recorder.emit)
        time.sleep(1)  # health checks and the like
        rounds = Rounds(stand, chosen.seconds, recorder.emit)
        scenarios = [load.SCENARIOS[name] for name in chosen.scenarios]
        for number in itertools.count():
            round_began = time.monotonic()
            unsure = targets.unsure(recorder.records) if chosen.until_sure else ()
            now = due(number, scenarios, chosen.rounds, unsure) if chosen.until_sure else scenarios if number < chosen.rounds else []
            if not now:
                break
            print(f"== round {number + 1}: {', '.join(scenario.name for scenario in now)}", flush=True)
            rounds.run(number, now, runnings, warm_up=not chosen.quick)
            ended = time.monotonic()
            if ended + (ended - round_began) > began + chosen.within:
                print(f"== {number + 1} rounds: there is no time for more", flush=True)
                break


def grow(chosen, known, recorder, until):
    for one in growth.GROWTHS.values():
        points, cores = growth.affordable(one, growth.ends(one) if chosen.quick else one.points)
        print(f"== growth: {one.name}", flush=True)
        with Stand(cores, until) as stand:
            (one_at_a_time if one.alone else in_turns)(chosen, known, recorder, stand, one, points)
    print("== growth: connections", flush=True)
    with Stand(place.choose_cores(), until) as stand:
        runnings = started(stand, beside(chosen, known), recorder.emit)
        counts = growth.CONNECTIONS if not chosen.quick else (growth.CONNECTIONS[0], growth.CONNECTIONS[-1])
        rounds = Rounds(stand, 2 * chosen.seconds, recorder.emit, "connections")  # so that opening 5,000 weighs less
        for number in range(min(chosen.rounds, 1 if chosen.quick else growth.ROUNDS_CONNECTIONS)):
            rounds.run(number, [growth.connections(count) for count in counts], runnings)


def beside(chosen, known, more=()):
    wanted = [known[name] for name in (*growth.FAIR_SHARE, *more) if name == proxies.OURS or name in chosen.peers]
    return [proxy for proxy in wanted if not proxy.missing()]


def rounds_of(chosen, recorder, one):
    """The rounds of a growth: of one that is judged more, and more still while it is not sure."""
    judged = any(target.measured == one.name for target in targets.TARGETS)
    enough = min(chosen.rounds, growth.ROUNDS_JUDGED if judged else growth.ROUNDS)
    for number in range(growth.ROUNDS_MOST if chosen.until_sure and judged else enough):
        if number >= enough and one.name not in targets.unsure(recorder.records):
            return
        yield number


def in_turns(chosen, known, recorder, stand, one, points):
    runnings, cores = [], stand.cores
    for point in points:
        own = dataclasses.replace(cores, proxy=cores.proxy[:point.workers] or cores.proxy)
        stand.cores = own
        runnings.append((point, own, stand.start(known[proxies.OURS].with_environment(growth.label(point), **dict(point.environment)))))
    for number in rounds_of(chosen, recorder, one):
        now = growth.due(one, points, number)
        for point, own, running in runnings:
            if point in now:
                stand.cores = own
                Rounds(stand, chosen.seconds, recorder.emit, one.name).one(number, one.scenario(point), running, warm_up=number == 0)


def one_at_a_time(chosen, known, recorder, stand, one, points):
    rounds = Rounds(stand, chosen.seconds, recorder.emit, one.name)
    ours, *peers = beside(chosen, known, growth.YARDSTICKS)
    ends = growth.ends(one)
    for number in [0] if chosen.quick else rounds_of(chosen, recorder, one):
        wanted = [(point, ours.with_environment(growth.label(point), **dict(point.environment))) for point in growth.due(one, points, number)]
        if number < growth.ROUNDS_BESIDE:
            wanted += [(point, peer.with_environment(growth.beside(peer.name, point), **dict(point.environment))) for peer in peers for point in ends]
        for point, proxy in wanted:
            try:
                running = stand.start(proxy)
            except RuntimeError as error:
                recorder.emit({"kind": "load", "group": one.name, "scenario": one.name, "proxy": proxy.name, "round": number, "error": str(error)[:300]})
                continue
            rounds.one(number, one.scenario(point), running, warm_up=True)
            stand.stop(running)


def each_alone(kind, wanted, recorder, measure, until):
    """One fresh proxy after another; a failure is a record."""
    with Stand(place.choose_cores(), until) as stand:
        for proxy in wanted:
            if proxy.only:
                continue
            try:
                for values in measure(stand, proxy):
                    recorder.emit({"kind": kind, "proxy": proxy.name, **values})
            except (RuntimeError, OSError) as error:
                recorder.emit({"kind": kind, "proxy": proxy.name, "scenario": kind, "error": str(error)[:300]})


def idle_of(stand, proxy, counts):
    for count, tls in counts:
        if not tls or "tls" in proxy.caps:
            running = stand.start(proxy)
            yield {"tls": tls, **idle.measure(running, count, tls, stand.until)}
            stand.stop(running)


def starts_of(stand, proxy):
    for _ in range(STARTS):
        yield reload.first_answer(stand, proxy)


def reloads(chosen, known, recorder, until):
    ours = known[proxies.OURS].with_environment("evenkeel", WORKERS=1, BACKEND_COUNT=reload.BACKENDS, HEALTH="off",
                                                    SLOW_START="1s")
    beside = place.wider_cores(2)
    for name, cores in (("shared", place.choose_cores()), ("beside", beside)):
        if not cores:
            recorder.emit({"kind": "reload", "proxy": ours.name, "scenario": name, "error": "SKIPPED, there are too few cores"})
            continue
        cores = dataclasses.replace(cores, load=beside.load) if beside else cores
        with Stand(cores, until) as stand:
            try:
                pairs = 2 if chosen.quick else reload.PAIRS
                values = reload.measure(stand.start(ours), stand.ports[0], cores, pairs, RELOAD_SEED, until)
                recorder.emit({"kind": "reload", "proxy": ours.name, "cores": name, **values})
            except (RuntimeError, OSError, ValueError) as error:
                recorder.emit({"kind": "reload", "proxy": ours.name, "scenario": name, "error": str(error)[:300]})


def commit():
    def git(*words):
        return setup.said(["git", "-C", place.ROOT, *words])
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + (", with changes" if changed else "")


def machine():
    rows = [line.split(":", 1) for line in open("/proc/cpuinfo") if line.startswith("model name")]
    model = rows[0][1].strip() if rows else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (f"{len(place.HAVE)} cores of {model}, {memory} GiB, Linux {platform.release()}, "
            f"congestion control {sysctl.value_of(sysctl.CONGESTION)}, {setup.said(['rustc', '--version'])}")


def facts(chosen, reasons, wanted):
    skipped = {proxy.name: reasons.get(proxy.needs, f"there is no {proxy.needs}") for proxy in wanted if proxy.missing()}
    skipped |= {name: reason for name, reason in reasons.items() if name == "handshakes"}
    return {
        "command": " ".join(["cargo xtask bench", *sys.argv[1:]]), "date": time.strftime("%Y-%m-%d"), "commit": commit(), "machine": machine(),
        "congestion": sysctl.value_of(sysctl.CONGESTION), "lost": place.choose_cores().lost,
        "versions": setup.versions([proxy.needs for proxy in wanted]), "skipped": skipped,
    }


def others():
    """How busy the cores are while nothing is measured, in per cent."""
    before = proc.core_ticks()
    time.sleep(2)
    return sum(proc.shares(before, proc.core_ticks(), place.HAVE)[0]) / len(place.HAVE)


def save(recorder, meta):
    (place.WORK / "results.json").write_text(json.dumps({"meta": meta, "records": recorder.records}))


def tell(records, meta, whole):
    """The page of a whole run is the one in the tree."""
    text = report.page(records, meta, race.read())
    path = place.PAGE if whole else place.WORK / "report.md"
    path.write_text(text)
    if whole:
        write_readme(text)
    print(f"\n{text}\nwritten to {path}")


def write_readme(page):
    place.README.write_text(readme.written(place.README.read_text(), page))


def write_pages():
    """What pages in the tree have of each other, where one of them was written since."""
    page = report.with_race(place.PAGE.read_text(), race.read())
    place.PAGE.write_text(page)
    write_readme(page)


def run_stages(chosen, wanted, cores, recorder, ended):
    """One after another, each in its time. `ended` is told after each."""
    known, counts = proxies.known(), QUICK_IDLE if chosen.quick else IDLE
    here = [proxy for proxy in wanted if not proxy.missing()]
    served = [proxy for proxy in here if proxy.script]
    stages = {
        "rounds": lambda until: main_rounds(chosen, here, cores, recorder, until),
        "growth": lambda until: grow(chosen, known, recorder, until),
        "idle": lambda until: each_alone("idle", served, recorder, lambda stand, proxy: idle_of(stand, proxy, counts), until),
        "start": lambda until: each_alone("start", served, recorder, starts_of, until),
        "reload": lambda until: reloads(chosen, known, recorder, until),
    }
    for name in chosen.stages:
        try:
            stages[name](Until(chosen.limits.get(name, math.inf)))
        except Over as over:
            recorder.emit({"kind": "stage", "scenario": name, "proxy": "everybody", "error": f"CUT OFF, {over}"})
        ended()


def measure(chosen, wanted, meta):
    recorder, began, cores = Recorder(), time.monotonic(), place.choose_cores()
    meta["others"] = {"before": others()}
    print(f"cores: backend {cores.backend} proxy {cores.proxy} load {cores.load}; {cores.lost}")

    def ended():
        meta["duration"] = f"{(time.monotonic() - began) / 60:.0f} minutes, {report.counts_of_rounds(recorder.records)} of {chosen.seconds} s"
        save(recorder, meta)
    try:
        run_stages(chosen, wanted, cores, recorder, ended)
        meta["others"]["after"] = others()
    finally:
        save(recorder, meta)
    tell(recorder.records, meta, chosen.whole)


def main():
    chosen = options()
    if chosen.report:
        saved = json.loads((place.WORK / "results.json").read_text())
        return tell(saved["records"], saved["meta"], saved["meta"].get("whole", False))
    if chosen.pages:
        return write_pages()
    known = proxies.known()
    wanted = [known[name] for name in [proxies.OURS, *chosen.peers]]
    if not place.tool("evenkeel"):
        sys.exit(f"{place.EVENKEEL} is no program; `cargo build --release -p evenkeel-server` makes it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that everything is stopped and put back
    with alone():
        reasons = setup.setup({proxy.needs for proxy in wanted} | {"handshakes"})
        if chosen.setup:
            return None
        if chosen.profile:
            with Stand(place.choose_cores()) as stand:
                return print(profile.text(stand.start(known[proxies.OURS]), load.SCENARIOS[chosen.profile], stand.cores))
        if chosen.limits:
            end_after(QUICK_LIMIT)
        raise_limits()
        os.sched_setaffinity(0, place.choose_cores().backend)  # where it disturbs neither the proxy nor the load
        with settings(chosen):
            measure(chosen, wanted, {**facts(chosen, reasons, wanted), "whole": chosen.whole})


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
