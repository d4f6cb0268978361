"""The page out of the records: targets first, then everybody's figures, how costs grow, and what speaks against it all."""
import math
import statistics

from harness import growth, load, proxies, reload, rounds, targets
from harness.race import COLUMNS

METHOD = f"""\
Everybody is up at once on one core, each as one worker, between the same backend (four ports, one thread, a core of its own) and the
same load (the cores that are left), and measured in turns: in each round every scenario is run on all of them one after another, in an
order that is drawn anew. After {rounds.ALL_FOR} rounds who costs more than {rounds.BEHIND} times the best peer of a scenario is measured no further there (where p99 is
judged: {rounds.BEHIND_P99} times its p99), nor are yardsticks: the time goes to those between whom it is open. After {rounds.SURE_FROM} rounds it goes to the scenarios whose
verdict is open: their interval holds what is asked for; where none is, to all of them, up to {rounds.ENOUGH} rounds. Who stops when it is sure is surer than it should be by chance now and then: an interval that ends near what is
asked for says less than one that is far. The measure is the proxy's own time on its core (scheduler time of all its
threads, less what the hypervisor took) over the requests that were answered. Ours over the best peer's, round by round: the ratio is the mean of the
logarithms of these without a fifth of the rounds at either end, the interval Yuen's 95 % of that mean. The best peer of a scenario is the one with the
best such mean in this run. "Reached" and "missed" go by the whole interval, "not surely" where only the ratio itself is on that side; where 1.05 is
asked for, the whole interval must lie above 1.
Evenkeel runs as the README has it, all defaults on; the peers at their best documented settings (`bench/proxies`), each checked byte by byte
before it is measured. What each scenario is, and what speaks against the method: [bench/README.md](../bench/README.md)."""


WIDE = 1.3        # an interval's high end over its low one
OTHERS_LIMIT = 3  # per cent of all cores, while nothing is measured


def row(cells):
    return "| " + " | ".join(cells) + " |"


def table(head, body, left=1):
    align = ["---"] * left + ["--:"] * (len(head) - left)
    return [row(head), "|" + "|".join(align) + "|", *map(row, body)]


def number(value, digits=2):
    return "-" if value is None or math.isnan(value) or math.isinf(value) else f"{value:,.{digits}f}"


def bound(target, value):
    if math.isnan(value):
        return "-"
    return ("<= " if target.lowest else "") + f"{value:g} {target.unit}".strip()


def target_rows(figures):
    for target in targets.TARGETS:
        outcome = target.of(figures)
        verdict = targets.verdict(target, outcome)
        if outcome is None:
            yield [target.about, "-", "-", "-", "-", "-", bound(target, target.least), bound(target, target.aim), verdict]
            continue
        found = outcome.ratio
        interval = "-" if math.isnan(found.low) else f"{number(found.low)} to {number(found.high)}"
        yield [target.about, outcome.ours or "-", outcome.theirs or "-", f"{number(found.middle)} {target.unit}".strip(), interval, "-" if math.isnan(found.low) else str(found.rounds),
               bound(target, target.least), bound(target, target.aim), verdict]


def target_lines(figures):
    head = ["scenario", "Evenkeel", "best peer", "ratio or figure", "95 % interval", "rounds", "at least", "aim", ""]
    return ["## Targets", "", "Requests per CPU second of the proxy, or what the row says; p99 in microseconds. Both are means of logarithms without a fifth of the rounds at either end, as the ratio is;",
            "the tables below have medians of the same rounds, which are other figures.", "",
            *table(head, target_rows(figures))]


def median_of(figures, field, scenario, name):
    found = figures.by_round(field, kind="load", group="main", scenario=scenario).get(name, {})
    return statistics.median(found.values()) if found else None


def spread_of(figures, field, scenario, name):
    values = list(figures.by_round(field, kind="load", group="main", scenario=scenario).get(name, {}).values())
    return 100 * (max(values) - min(values)) / statistics.median(values) if len(values) > 1 else None


def matrix(title, about, figures, cell):
    """Scenarios down, proxies across; those that only one scenario is for last."""
    seen = {record["proxy"] for record in figures.records if record["kind"] == "load" and record["group"] == "main"}
    names = [name for name in proxies.known() if name in seen]
    names.sort(key=lambda name: bool(proxies.known()[name].only))
    measured = {record["scenario"] for record in figures.records if record["kind"] == "load" and record["group"] == "main"}
    body = [[scenario, *(cell(scenario, name) for name in names)] for scenario in load.SCENARIOS if scenario in measured]
    return [f"## {title}", "", about, "", *table(["scenario", *names], body)] if names else []


def cost_lines(figures):
    def cell(scenario, name):
        cost, spread = median_of(figures, "us", scenario, name), spread_of(figures, "us", scenario, name)
        return number(cost) + (f" ({spread:.0f} %)" if spread is not None else "")
    about = "Medians of the rounds; in brackets the largest less the smallest."
    return matrix("Microseconds of CPU per request", about, figures, cell)


def rate_lines(figures):
    def cell(scenario, name):
        rate, busy = median_of(figures, "rps", scenario, name), median_of_core(figures, scenario, name)
        return number(rate, 0) + (f" ({busy:.0f} %)" if busy is not None else "")
    about = "In brackets how busy the proxy's core was: well below 100, the figure is the load's or the backend's."
    return matrix("Requests per second", about, figures, cell)


def median_of_core(figures, scenario, name):
    found = [record["busy"][1] for record in figures.records if record["kind"] == "load" and record["group"] == "main"
             and record["scenario"] == scenario and record["proxy"] == name]
    return statistics.median(found) if found else None


def latency_lines(figures):
    of_rate = [record for record in figures.records if record["kind"] == "load" and record["scenario"] == load.RATED and record["group"] == "main"]
    if not of_rate:
        return []
    names = [name for name in proxies.known() if any(record["proxy"] == name for record in of_rate)]
    body = [[name, *(number(median_of(figures, field, load.RATED, name), 0) for field in ("p50", "p99", "p999", "longest"))] for name in names]
    return [f"## Latency at {of_rate[0]['rate']:,} requests per second", "",
            f"{load.SCENARIOS[load.RATED].about}; microseconds, medians of the rounds.", "", *table(["", "p50", "p99", "p99.9", "longest"], body)]


def moment_lines(figures):
    body = []
    for name in proxies.known():
        def of(kind, field, **wanted):
            found = [record[field] for record in figures.records if record["kind"] == kind and record["proxy"] == name
                     and all(record.get(key) == value for key, value in wanted.items())]
            return statistics.median(found) if found else None
        cells = [of("idle", "kib", tls=False), of("idle", "kib", tls=True), of("idle", "first_kib", tls=False), of("start", "ms")]
        if any(cell is not None for cell in cells):
            body.append([name, number(cells[0]), number(cells[1]), number(cells[2], 0), number(cells[3], 1)])
    head = ["", "KiB per idle connection", "over TLS", "KiB without any", "ms to the first answer"]
    return ["## Memory and start", "", *table(head, body)] if body else []


def reload_lines(figures):
    found = [record for record in figures.records if record["kind"] == "reload"]
    took = [[record["cores"], str(len(record["ms"])), number(statistics.median(record["ms"]), 1), number(max(record["ms"]), 1), f"{record['reqs']:,}",
             str(record["failed"])] for record in found if record["ms"]]
    adds = [[record["cores"], name, *(number(middle(kind, way), 2) for kind in ("calm", "reload") for way in ("through", "past")), between(pairs, figure),
             *(number(over(reload.differences(pairs, figure)), 2) for over in (statistics.fmean, max))]
            for record in found for pairs in [record["pairs"]] for name, figure, over in LATENESS
            for middle in [lambda kind, way: over([figure(pair[kind][way]) for pair in pairs])]]
    lines = ["## Reloads of 10,000 backends", "", f"Half of them replaced each time, beside {reload.RATE:,} requests per second; from the signal to the word that it is done.",
             "`shared`: the process has the worker's core alone; `beside`: one more.", "",
             *table(["cores", "reloads", "median ms", "slowest ms", "requests", "failed"], took), "",
             f"What a reload adds to requests, of pairs of windows of {reload.WINDOW} s, one with a reload and one without, in an order that is drawn: the same program asks the",
             "backend past the proxy at the same time. **adds** is the mean over the pairs of the difference between their windows, less that past the proxy, without",
             "a fifth of them at either end, with its 95 % interval; **of all** the same mean with those, **worst** the largest; nothing is reached that is not by the mean of all too. The longest waits are information. `slow_start` is 1 s, so that what follows a reload ends in its window.", "",
             *table(["cores", "", "without", "past", "with", "past", "adds", "of all", "worst"], adds)]
    return lines if found else []


# Of a window: its name, the figure, and how the windows' figures become one.
LATENESS = (
    ("over 5 ms, in 1,000", reload.late, statistics.fmean),
    ("p99.9, ms", lambda seen: seen["p999"] / 1e3, statistics.median),
    ("longest, ms", lambda seen: seen["longest"] / 1e3, max),
)


def between(pairs, figure):
    found = reload.added(pairs, figure)
    return f"{number(found.middle, 2)} ({number(found.low, 2)} to {number(found.high, 2)})"


def growth_lines(figures):
    lines = []
    for one in growth.GROWTHS.values():
        found = figures.by_round("us", kind="load", group=one.name)
        rates = figures.by_round("rps", kind="load", group=one.name)
        def median(figures, name, digits=2):
            return number(statistics.median(figures[name].values()) if name in figures else None, digits)
        peers = [name for name in (*growth.FAIR_SHARE, *growth.YARDSTICKS) if any(growth.beside(name, point) in found for point in one.points)]
        body = [[growth.label(point), median(found, growth.label(point)), median(rates, growth.label(point), 0),
                 *(median(found, growth.beside(name, point)) for name in peers)] for point in one.points if growth.label(point) in found]
        if body:
            lines += ["", f"By {one.about}:", "", *table([one.name, "us of CPU per request", "requests per second", *(f"us, {name}" for name in peers)], body)]
    by_count = {count: figures.by_round("us", kind="load", group="connections", scenario=str(count)) for count in growth.CONNECTIONS}
    names = [name for name in growth.FAIR_SHARE if any(name in found for found in by_count.values())]
    body = [[f"{count:,}", *(number(statistics.median(found[name].values())) if name in found else "-" for name in names)] for count, found in by_count.items() if found]
    if names:
        lines += ["", "By connections, 13 B; microseconds of CPU per request:", "", *table(["connections", *names], body)]
    return ["## How costs grow", *lines] if lines else []


def doubts(records, meta):
    runs = [record for record in records if record["kind"] == "load" and "us" in record]
    if not runs:
        return
    main = [record for record in runs if record["group"] == "main"]
    if main and (count := 1 + max(record["round"] for record in main)) < 4:
        yield f"{count} rounds only: the intervals are wide, and those of a single round unknown"
    for target in targets.TARGETS:
        found = target.of(targets.Figures(records))
        if found and not target.unit and found.ratio.high / found.ratio.low > WIDE:
            yield f"{target.about}: the interval is wide, {number(found.ratio.low)} to {number(found.ratio.high)} over {found.ratio.rounds} rounds"
    if many := sum(max(record["steal"]) > rounds.STEAL_LIMIT for record in runs):
        yield f"in {many} of {len(runs)} runs the hypervisor took more than {rounds.STEAL_LIMIT} % of a core"
    if many := sum(record["foreign"] > rounds.FOREIGN_LIMIT for record in runs):
        yield f"in {many} of {len(runs)} runs others took more than {rounds.FOREIGN_LIMIT} % of the proxy's core"
    for moment, busy in meta.get("others", {}).items():
        if busy > OTHERS_LIMIT:
            yield f"{moment} the run {busy:.0f} % of the cores were busy with other work"
    if meta.get("congestion") == "bbr":
        yield "congestion control is bbr, which distorts large bodies on loopback; most servers use cubic (`--cc cubic`)"
    idle = sorted({record["scenario"] for record in main if record["proxy"] == proxies.OURS and record["busy"][1] < 90 and record["scenario"] != load.RATED})
    if idle:
        yield f"Evenkeel's core was less than 90 % busy in {', '.join(idle)}: it slept in between, which costs wake-ups"
    if meta.get("lost"):
        yield meta["lost"]
    yield "loopback has no network card, no loss and no delay, and much of each cost is the kernel's"


def problems(records):
    for record in records:
        where = f"{record['proxy']}, {record.get('scenario', record['kind'])}"
        if record.get("bad"):
            yield f"{record['proxy']} did not pass its check and was not measured: {'; '.join(record['bad'])}"
        elif record.get("error"):
            yield f"{where}: {record['error']}"
        elif record.get("errs"):
            yield f"{where}: {record['errs']} errors; this run does not count"


def bullets(title, lines):
    lines = list(dict.fromkeys(lines))
    return ["", f"## {title}", "", *(f"- {line}" for line in lines)] if lines else []


def counts_of_rounds(records):
    """`6 to 23 rounds`, as scenarios have them."""
    last = {}
    for record in records:
        if record.get("group") == "main":
            last.setdefault(record["scenario"], set()).add(record["round"])
    counts = [len(rounds) for rounds in last.values()] or [0]
    return f"{min(counts)} rounds" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} rounds"


RACED = "## Policies over sockets"


def race_lines(race):
    """The policies over sockets have a page of their own; here stands what was asked of them, and what their clients saw."""
    lines = [RACED, ""]
    link = "[policies-over-sockets.md](policies-over-sockets.md)"
    if race is None:
        return [*lines, f"`cargo xtask race` writes p50, p99, p99.9 and errors of each peer's policies to {link}; it has not been run."]
    lines += ["Evenkeel's default beside the default and the best policies of its peers, each before servers of its own; how they run, what each computed, when a server",
              f"that is lost is left alone, and how requests failed: {link}.",
              "", *race.facts, "", *table(["scenario", "asked for, and seen", ""], race.rows, left=3), "",
              "Medians over the runs, of requests from when they were due; **ahead** marks a peer that is better than Evenkeel: p99 lower by over 5 % and no more failed, or",
              "fewer failed."]
    for scenario in race.scenarios:
        lines += ["", f"### {scenario.name}", "", scenario.about, "", *table([*COLUMNS, ""], scenario.rows)]
    return lines


def with_race(text, race):
    """The same page with what the race has come to since."""
    before, _, rest = text.partition(f"\n{RACED}\n")
    _, mark, after = rest.partition("\n\n## ")
    return before + "\n" + "\n".join(race_lines(race)) + (mark + after if mark else "\n")


def page(records, meta, race=None):
    figures = targets.Figures(records)
    lines = ["# Benchmarks", "", f"Written by `{meta['command']}`; do not edit.", "", METHOD, ""]
    lines += [f"- **{key}** {meta[key]}" for key in ("date", "commit", "machine", "duration") if meta.get(key)]
    lines.append(f"- **versions** {'; '.join(meta['versions'])}")
    for section in (target_lines, cost_lines, rate_lines, latency_lines, moment_lines, reload_lines, growth_lines):
        found = section(figures)
        lines += ["", *found] if found else []
    lines += ["", *race_lines(race)]
    lines += bullets("Skipped", (f"{name}: SKIPPED, {why}" for name, why in meta.get("skipped", {}).items()))
    lines += bullets("Doubts", doubts(records, meta))
    lines += bullets("Problems", problems(records))
    return "\n".join(lines) + "\n"
