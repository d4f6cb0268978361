"""The page out of figures that were written down."""
import unittest

from harness import place, race, report

META = {
    "command": "cargo xtask bench", "date": "2026-11-21", "commit": "abc1234", "machine": "4 cores", "versions": ["nginx 1", "HAProxy 2"],
    "skipped": {"envoy": "no registry"}, "others": {"before": 31.6, "after": 0.4}, "congestion": "bbr",
}


def of(proxy, number, us, **more):
    return {"kind": "load", "group": "main", "scenario": "keep-64", "proxy": proxy, "round": number, "us": us, "per_cpu_s": 1e6 / us,
            "rps": 50_000, "errs": 0, "busy": [90, 99, 80, 80], "steal": [0, 0, 0, 0], "foreign": 0, **more}


def seen(late):
    return {"reqs": 10_000, "late": late, "p999": 1000 * late, "longest": 2000 * late}


RECORDS = [
    of("evenkeel", 0, 10.0), of("nginx", 0, 15.0), of("haproxy", 0, 12.0), of("relay", 0, 9.0),
    of("evenkeel", 1, 11.0), of("nginx", 1, 15.0), of("haproxy", 1, 12.0, errs=7), of("relay", 1, 9.0),
    of("evenkeel", 2, 10.5, foreign=30), of("nginx", 2, 15.0), of("haproxy", 2, 12.6, steal=[0, 9, 0, 0]), of("relay", 2, 9.0),
    {"kind": "check", "proxy": "sozu", "bad": ["GET / over TCP: wrong bytes"]},
    {"kind": "idle", "proxy": "evenkeel", "tls": False, "kib": 1.5, "first_kib": 9000, "errs": 0},
    {"kind": "start", "proxy": "evenkeel", "ms": 20.0}, {"kind": "start", "proxy": "evenkeel", "ms": 60.0},
    {"kind": "reload", "proxy": "evenkeel", "cores": "shared", "ms": [80.0, 90.0], "reqs": 60000, "failed": 2,
     "pairs": [{"calm": {"through": seen(20), "past": seen(30)}, "reload": {"through": seen(late), "past": seen(30)}} for late in (30, 40, 50)]},
    of("1", 0, 10.0, group="rules"), of("1000", 0, 10.2, group="rules"),
    of("4", 0, 10.0, group="backends"), of("10000", 0, 10.4, group="backends"), of("haproxy 10000", 0, 30.0, group="backends"),
    of("haproxy 4", 0, 10.0, group="backends"),
    of("evenkeel", 0, 10.0, scenario="tls"), of("nginx", 0, 10.0, scenario="tls"), of("evenkeel", 1, 10.0, scenario="tls"), of("nginx", 1, 15.0, scenario="tls"),
]


class Page(unittest.TestCase):
    def setUp(self):
        self.page = report.page(RECORDS, META)

    def holds(self, *lines):
        for line in lines:
            self.assertIn(line, self.page.splitlines())

    def test_targets(self):
        self.holds(
            # HAProxy's second round had errors: the pairs are 1.2 and 1.2.
            "| keep-alive 64, 13 B | 95,310 | haproxy 81,325 | 1.20 | 1.20 to 1.20 | 2 | 1.05 | 1.15 | aim reached |",
            "| idle keep-alive connection | - | - | 1.50 KiB | - | - | <= 2 KiB | <= 1 KiB | reached |",
            "| start to first served request, slowest | - | - | 60.00 ms | - | - | <= 50 ms | - | **MISSED** |",
            "| reload of 10,000 backends, on the worker's core, slowest | - | - | 90.00 ms | - | - | <= 100 ms | - | reached |",
            "| requests that failed beside it | - | - | 2.00 requests | - | - | <= 0 requests | - | **MISSED** |",
            "| 1,000 rules against 1 | 98,039 | with 1: 100,000 | 0.98 | - to - | 1 | 0.95 | 1 | reached, not surely |",
            "| the same of haproxy | - | haproxy 33,333, with 4: 100,000 | 0.33 | - to - | 1 | - | - |  |",
            "| the same of relay | - | - | - | - | - | - | - | not measured |",
            "| full handshakes | - | - | - | - | - | 1.3 | 1.45 | not measured |",
        )

    def test_reloads(self):
        # Differences of 1, 2 and 3 in a thousand: 4.303 * 1 / sqrt(3) at either side.
        self.holds(
            "| requests that it delays beyond 5 ms | - | - | 2.00 in 1,000 | -0.48 to 4.48 | 3 | <= 0.1 in 1,000 | - | not decided |",
            "| shared | 2 | 85.0 | 90.0 | 60,000 | 2 |",
            "| shared | over 5 ms, in 1,000 | 2.00 | 3.00 | 4.00 | 3.00 | 2.00 (-0.48 to 4.48) | 2.00 | 3.00 |",
            "| shared | longest, ms | 40.00 | 60.00 | 100.00 | 60.00 | 40.00 (-9.69 to 89.69) | 40.00 | 60.00 |",
        )

    def test_everybodys_figures(self):
        self.holds("| scenario | evenkeel | haproxy | nginx | relay |", "| keep-64 | 10.50 (10 %) | 12.30 (5 %) | 15.00 (0 %) | 9.00 (0 %) |",
                   "| keep-64 | 50,000 (99 %) | 50,000 (99 %) | 50,000 (99 %) | 50,000 (99 %) |", "| 1000 | 10.20 | 50,000 |",
                   "- **versions** nginx 1; HAProxy 2")

    def test_growth_beside_peers(self):
        self.holds("| backends | us of CPU per request | requests per second | us, haproxy |", "| 4 | 10.00 | 50,000 | 10.00 |", "| 10000 | 10.40 | 50,000 | 30.00 |")

    def test_what_speaks_against_it(self):
        self.holds(
            "- envoy: SKIPPED, no registry",
            "- haproxy, keep-64: 7 errors; this run does not count",
            "- sozu did not pass its check and was not measured: GET / over TCP: wrong bytes",
            "- TLS keep-alive: the interval is wide, 0.09 to 16.10 over 2 rounds",
            "- in 1 of 22 runs others took more than 10 % of the proxy's core",
            "- in 1 of 22 runs the hypervisor took more than 4 % of a core",
            "- before the run 32 % of the cores were busy with other work",
            "- 3 rounds only: the intervals are wide, and those of a single round unknown",
        )

    def test_how_often_each_scenario_was_measured(self):
        self.assertEqual(report.counts_of_rounds(RECORDS), "2 to 3 rounds")
        self.assertEqual(report.counts_of_rounds(RECORDS[:4]), "1 rounds")
        self.assertEqual(report.counts_of_rounds([]), "0 rounds")

    def test_a_run_of_nothing_is_a_page(self):
        self.assertIn("not measured", report.page([], META))


RACE = """\
# Policies over sockets

- Each contender has 20 servers.

- **date** 2026-11-23, **commit** abc1234, **command** `cargo xtask race`
- **runs** 5 of Evenkeel
- **busy** 52 % of the machine at most

## 1-even, load .9

equal servers

| balancer | p50 ms | p99 ms | p99.9 ms | failed | given up | cores |  | |
|---|--:|--:|--:|--:|--:|--:|--:|---|
| Evenkeel adaptive (default) | 42.8 | 131.6 (130.2 to 131.9) | 161.0 | 0 | 0 | 0.11 |  |  |
| nginx least_conn | 42.2 | 125.0 | 160.0 | 1.171 % | 0 | 0.10 |  | ahead |
| Sozu ROUND_ROBIN (default) | | | | | | | | it does not start |

- reached: p99 at most 0.70 times that of nginx: 0.67 (0.66 to 0.68 over 5 runs)
- MISSED, not surely: p99 at most 0.95 times that of Envoy: 0.96 (0.94 to 0.97 over 5 runs)

## 10-restart, load .4

one server ends softly

| balancer | p50 ms | p99 ms | p99.9 ms | failed | given up | cores | most in flight, x mean | |
|---|--:|--:|--:|--:|--:|--:|--:|---|
| Evenkeel adaptive (default) | 40.0 | 125.5 | 157.2 | 0.004 % | 0 | 0.07 | 1.4 |  |

- SKIPPED two workers against one: it did not run

## How requests failed, over all runs

- 2-uneven, HAProxy roundrobin (default): 13313 timeout

## Not raced

- SKIPPED linkerd: no package
"""


class Race(unittest.TestCase):
    def test_its_targets_stand_in_the_page_with_a_link(self):
        lines = report.page(RECORDS, META, race.parse(RACE)).splitlines()
        at = lines.index("## Policies over sockets")
        self.assertIn("[policies-over-sockets.md](policies-over-sockets.md)", lines[at + 3])
        self.assertEqual(lines[at + 5:at + 14], [
            "- **date** 2026-11-23, **commit** abc1234, **command** `cargo xtask race`",
            "- **runs** 5 of Evenkeel",
            "- **busy** 52 % of the machine at most",
            "",
            "| scenario | asked for, and seen |  |",
            "|---|---|---|",
            "| 1-even, load .9 | p99 at most 0.70 times that of nginx: 0.67 (0.66 to 0.68 over 5 runs) | reached |",
            "| 1-even, load .9 | p99 at most 0.95 times that of Envoy: 0.96 (0.94 to 0.97 over 5 runs) | **MISSED**, not surely |",
            "| 10-restart, load .4 | two workers against one: it did not run | SKIPPED |",
        ])
        self.assertEqual(lines[at + 14], "", "what was not raced at all is on its own page")

    def test_its_latencies_and_errors_stand_in_the_page(self):
        lines = report.page(RECORDS, META, race.parse(RACE)).splitlines()
        at = lines.index("### 1-even, load .9")
        self.assertEqual(lines[at + 2:at + 17], [
            "equal servers",
            "",
            "| balancer | p50 ms | p99 ms | p99.9 ms | failed |  |",
            "|---|--:|--:|--:|--:|--:|",
            "| Evenkeel adaptive (default) | 42.8 | 131.6 (130.2 to 131.9) | 161.0 | 0 |  |",
            "| nginx least_conn | 42.2 | 125.0 | 160.0 | 1.171 % | ahead |",
            "| Sozu ROUND_ROBIN (default) | - | - | - | - | it does not start |",
            "",
            "### 10-restart, load .4",
            "",
            "one server ends softly",
            "",
            "| balancer | p50 ms | p99 ms | p99.9 ms | failed |  |",
            "|---|--:|--:|--:|--:|--:|",
            "| Evenkeel adaptive (default) | 40.0 | 125.5 | 157.2 | 0.004 % |  |",
        ])
        self.assertEqual(lines[at + 17], "", "failures by kind, and what was not raced, are on its own page")

    def test_without_one_the_page_says_how_to_have_it(self):
        self.assertIn("it has not been run", report.page(RECORDS, META))
        self.assertIsNone(race.parse("# Policies over sockets\n"))

    def test_the_page_in_the_tree_is_read(self):
        found = race.read()
        self.assertGreater(len(found.rows), 10)
        self.assertTrue(any("1-even" in row[0] and row[2] == "reached" for row in found.rows))
        self.assertLessEqual({row[0] for row in found.rows}, {scenario.name for scenario in found.scenarios}, "each has its table")
        for scenario in found.scenarios:
            self.assertGreater(len(scenario.rows), 5)
            self.assertTrue(scenario.about)
            self.assertIn(["Evenkeel adaptive (default)"], [row[:1] for row in scenario.rows])

    def test_a_race_that_was_run_since_takes_the_place_of_the_one_before(self):
        before, since = race.parse(RACE), race.parse(RACE.replace("equal servers", "all alike"))
        for records, meta in ((RECORDS, META), ([], {**META, "skipped": {}})):  # with doubts and problems behind it, and as the last of the page
            self.assertEqual(report.with_race(report.page(records, meta, before), since), report.page(records, meta, since))
            self.assertEqual(report.with_race(report.page(records, meta), since), report.page(records, meta, since))

    def test_the_page_in_the_tree_has_what_the_page_of_the_race_has(self):
        text = place.PAGE.read_text()
        self.assertEqual(text.splitlines(), report.with_race(text, race.read()).splitlines(), "`cargo xtask bench --pages` writes it")
