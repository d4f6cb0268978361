"""What Evenkeel must reach, row by row, and whether it did."""
import math
import statistics
from dataclasses import dataclass

from harness import load, proxies, ratio, reload, rounds

REACHED, AIM, MISSED, UNKNOWN, UNDECIDED, OPEN = "reached", "aim reached", "**MISSED**", "not measured", "not decided", ""
UNSURE = ", not surely"  # the interval goes beyond what is asked for
# What a reload may add to requests over 5 ms: one in 10,000. Twice as many come in a window of 2 s, so that it is two of a reload, where a worker that
# stood still for 6 ms would make some ten.
LATE_MOST = 0.1
SURELY_AHEAD = 1.05  # where a ratio must be at least this, the interval's lower end above 1 counts


@dataclass(frozen=True)
class Target:
    about: str
    of: object            # Figures -> Outcome or None
    least: float = math.nan
    aim: float = math.nan
    unit: str = ""        # empty: a ratio
    lowest: bool = False  # the lower the better
    measured: str = ""    # the scenario or growth that more rounds of would make surer; empty: nothing would
    decided: bool = False  # by the whole interval: one that holds what is asked for decides nothing


@dataclass(frozen=True)
class Outcome:
    ratio: ratio.Ratio
    ours: str = ""
    theirs: str = ""
    whole: float = math.nan  # the mean of all, those at the ends too, where the ratio's leaves some out that must count


class Figures:
    """Records that count, by what they are asked for: those without an error."""

    def __init__(self, records):
        self.records = [record for record in records if not record.get("error") and not record.get("errs")]

    def by_round(self, field, **wanted):
        """Of one scenario: name of the proxy -> round -> figure."""
        found = {}
        for record in self.records:
            if record.get(field) and all(record.get(key) == value for key, value in wanted.items()):
                found.setdefault(record["proxy"], {})[record["round"]] = record[field]
        return found


def counts(name):
    """Is it one whose best figure ours is held against?"""
    known = proxies.known().get(name)
    return known is not None and rounds.is_peer(known)


def against_best(scenario, field="per_cpu_s", lowest=False):
    def outcome(figures):
        found = figures.by_round(field, kind="load", group="main", scenario=scenario)
        ours = found.get(proxies.OURS, {})
        best = ratio.best({name: one for name, one in found.items() if counts(name)}, lowest)
        paired = ratio.paired(ours, found[best]) if best else None
        return paired and Outcome(paired, shown(ours), f"{best} {shown(found[best])}")
    return outcome


def against(name, scenario):
    def outcome(figures):
        found = figures.by_round("per_cpu_s", kind="load", group="main", scenario=scenario)
        paired = ratio.paired(found.get(proxies.OURS, {}), found.get(name, {}))
        return paired and Outcome(paired, shown(found[proxies.OURS]), f"{name} {shown(found[name])}")
    return outcome


def grown(group, most, fewest, factor=1):
    """Requests per CPU second with the most of something, over those with the fewest."""
    def outcome(figures):
        found = figures.by_round("per_cpu_s", kind="load", group=group)
        paired = ratio.paired(found.get(most, {}), found.get(fewest, {}))
        return paired and Outcome(paired.times(factor), shown(found[most]), f"with {fewest}: {shown(found[fewest])}")
    return outcome


def grown_beside(name, group, most, fewest):
    """The same of another, for what of it is the same for everybody."""
    def outcome(figures):
        found = figures.by_round("per_cpu_s", kind="load", group=group)
        many, few = found.get(f"{name} {most}", {}), found.get(f"{name} {fewest}", {})
        paired = ratio.paired(many, few)
        return paired and Outcome(paired, "-", f"{name} {shown(many)}, with {fewest}: {shown(few)}")
    return outcome


def absolute(kind, field, worst=max, **wanted):
    def outcome(figures):
        found = [record[field] for record in figures.records if record["kind"] == kind and record["proxy"] == proxies.OURS
                 and all(record.get(key) == value for key, value in wanted.items())]
        flat = [one for value in found for one in (value if isinstance(value, list) else [value])]
        return Outcome(ratio.Ratio(worst(flat), math.nan, math.nan, len(flat))) if flat else None
    return outcome


def added_delay(cores):
    def outcome(figures):
        pairs = [pair for record in figures.records if record["kind"] == "reload" and record["cores"] == cores for pair in record["pairs"]]
        found = reload.added(pairs, reload.late)
        if found and reload.crowded(pairs):
            found = ratio.Ratio(found.middle, -math.inf, math.inf, found.rounds)
        return found and Outcome(found, whole=statistics.fmean(reload.differences(pairs, reload.late)))
    return outcome


def shown(rounds):
    return f"{math.exp(ratio.trimmed_mean(list(map(math.log, rounds.values())))):,.0f}"


def per_request(about, scenario, least=math.nan, aim=math.nan):
    return Target(about, against_best(scenario), least, aim, measured=scenario)


TARGETS = (
    per_request("keep-alive 64, 13 B", "keep-64", 1.05, 1.15),
    Target("the same, against the relay", against(*rounds.YARDSTICK), aim=0.92),
    per_request("keep-alive 512, 13 B", "keep-512", 1.10, 1.30),
    per_request("16 KiB answers", "body-16k", 1.10, 1.25),
    per_request("1 MiB answers", "body-1m", 1.10, 1.30),
    per_request("connection per request", "connect", 1.10, 1.30),
    per_request("TLS keep-alive", "tls", 1.10, 1.25),
    per_request("full handshakes", "handshake", 1.30, 1.45),
    per_request("resumed handshakes", "resumed"),
    per_request("HTTP/2 over TLS, 13 B", "h2", 1.30, 1.75),
    per_request("POST 64 KiB", "post-64k", 1.05, 1.25),
    Target(f"p99, {load.SCENARIOS[load.RATED].about}", against_best(load.RATED, "p99", lowest=True), 1.0, 0.8, lowest=True, measured=load.RATED),
    Target("idle keep-alive connection", absolute("idle", "kib", tls=False), 2, 1, "KiB", lowest=True),
    Target("idle keep-alive connection, TLS", absolute("idle", "kib", tls=True), unit="KiB", lowest=True),
    Target("2 workers against 1: requests per CPU second, times 2", grown("workers", "2", "1", 2), 1.8, 2.0, measured="workers"),
    Target("1,000 rules against 1", grown("rules", "1000", "1"), 0.95, 1.0, measured="rules"),
    Target("10,000 backends against 4", grown("backends", "10000", "4"), 0.95, 1.0, measured="backends"),
    *(Target(f"the same of {name}", grown_beside(name, "backends", "10000", "4")) for name in ("haproxy", "nginx", "relay")),
    Target("start to first served request, slowest", absolute("start", "ms"), 50, unit="ms", lowest=True),
    Target("reload of 10,000 backends, on the worker's core, slowest", absolute("reload", "ms", cores="shared"), 100, unit="ms", lowest=True),
    Target("requests that it delays beyond 5 ms", added_delay("shared"), LATE_MOST, unit="in 1,000", lowest=True, decided=True),
    Target("requests that failed beside it", absolute("reload", "failed", cores="shared"), 0, lowest=True, unit="requests"),
    Target("the same reload with a core beside the worker's", absolute("reload", "ms", cores="beside"), 100, unit="ms", lowest=True),
    Target("requests that it delays beyond 5 ms", added_delay("beside"), LATE_MOST, unit="in 1,000", lowest=True, decided=True),
    Target("requests that failed beside it", absolute("reload", "failed", cores="beside"), 0, lowest=True, unit="requests"),
)


def verdict(target, outcome):
    """The aim is reached by the middle, if what is asked for at least is reached surely: by the whole interval, where there is one."""
    if outcome is None:
        return UNKNOWN
    found = outcome.ratio
    better = (lambda value, bound: value <= bound) if target.lowest else (lambda value, bound: value >= bound)
    worst, most = (found.high, found.low) if target.lowest else (found.low, found.high)
    if math.isnan(found.low):  # one figure, without an interval
        worst = most = found.middle
    if target.decided:
        # What strikes seldom and hard is cut off with the pauses of the machine: nothing is reached that is not by all pairs too.
        if better(worst, target.least) and (math.isnan(outcome.whole) or better(outcome.whole, target.least)):
            return REACHED
        return UNDECIDED if better(most, target.least) else MISSED
    if math.isnan(target.least):
        return OPEN if math.isnan(target.aim) else AIM if better(found.middle, target.aim) else "below the aim"
    if target.least == SURELY_AHEAD and not target.unit:
        surely = reached = worst > 1
        unsurely_missed = False
    else:
        surely, reached, unsurely_missed = better(worst, target.least), better(found.middle, target.least), better(most, target.least)
    if surely and better(found.middle, target.aim):
        return AIM
    if reached:
        return REACHED if surely else REACHED + UNSURE
    return MISSED + UNSURE if unsurely_missed else MISSED


def unsure(records):
    """The scenarios and growths whose verdict more rounds may change: the interval goes beyond what is asked for, on either side."""
    figures = Figures(records)
    rated = ((target, target.of(figures)) for target in TARGETS if target.measured)
    return {target.measured for target, outcome in rated if outcome and not is_sure(target, outcome)}


def is_sure(target, outcome):
    """Does the whole interval lie on one side? Of nothing asked for, and of one figure, there is nothing to learn."""
    low, high = outcome.ratio.low, outcome.ratio.high
    if math.isnan(target.least) or math.isnan(low):
        return True
    bound = 1 if target.least == SURELY_AHEAD and not target.unit else target.least
    return not low < bound < high
