"""The page out of figures that were written down."""
import unittest

from harness import report

META = {
    "command": "cargo xtask bench", "date": "2026-11-21", "commit": "abc1234", "machine": "4 cores", "versions": ["nginx 1", "HAProxy 2"],
    "skipped": {"envoy": "no registry"}, "others": {"before": 31.6, "after": 0.4}, "congestion": "bbr",
}


def of(proxy, number, us, **more):
    return {"kind": "load", "group": "main", "scenario": "keep-64", "proxy": proxy, "round": number, "us": us, "per_cpu_s": 1e6 / us,
            "rps": 50_000, "errs": 0, "busy": [90, 99, 80, 80], "steal": [0, 0, 0, 0], "foreign": 0, **more}


RECORDS = [
    of("evenkeel", 0, 10.0), of("nginx", 0, 15.0), of("haproxy", 0, 12.0), of("relay", 0, 9.0),
    of("evenkeel", 1, 11.0), of("nginx", 1, 15.0), of("haproxy", 1, 12.0, errs=7), of("relay", 1, 9.0),
    of("evenkeel", 2, 10.5, foreign=30), of("nginx", 2, 15.0), of("haproxy", 2, 12.6, steal=[0, 9, 0, 0]), of("relay", 2, 9.0),
    {"kind": "check", "proxy": "sozu", "bad": ["GET / over TCP: wrong bytes"]},
    {"kind": "idle", "proxy": "evenkeel", "tls": False, "kib": 1.5, "first_kib": 9000, "errs": 0},
    {"kind": "start", "proxy": "evenkeel", "ms": 20.0}, {"kind": "start", "proxy": "evenkeel", "ms": 60.0},
    {"kind": "reload", "proxy": "evenkeel", "cores": "shared", "ms": [80.0, 90.0], "calm_us": 2000, "reload_us": 9000, "calm_late": 0,
     "late": 4, "reqs": 60000, "failed": 2},
    of("1", 0, 10.0, group="rules"), of("1000", 0, 10.2, group="rules"),
    of("4", 0, 10.0, group="backends"), of("10000", 0, 10.4, group="backends"), of("haproxy 10000", 0, 30.0, group="backends"),
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
            "| keep-alive 64, 13 B | 95,310 | haproxy 81,325 | 1.20 | 1.20 to 1.20 | 1.05 | 1.15 | aim reached |",
            "| idle keep-alive connection | - | - | 1.50 KiB | - | <= 2 KiB | <= 1 KiB | reached |",
            "| start to first served request, slowest | - | - | 60.00 ms | - | <= 50 ms | - | **MISSED** |",
            "| reload of 10,000 backends, on the worker's core, slowest | - | - | 90.00 ms | - | <= 100 ms | - | reached |",
            "| requests that failed beside it | - | - | 2.00 requests | - | <= 0 requests | - | **MISSED** |",
            "| 1,000 rules against 1 | 98,039 | with 1: 100,000 | 0.98 | - to - | 0.95 | 1 | reached, not surely |",
            "| full handshakes | - | - | - | - | 1.3 | 1.45 | not measured |",
        )

    def test_everybodys_figures(self):
        self.holds("| scenario | evenkeel | haproxy | nginx | relay |", "| keep-64 | 10.50 (10 %) | 12.30 (5 %) | 15.00 (0 %) | 9.00 (0 %) |",
                   "| keep-64 | 50,000 (99 %) | 50,000 (99 %) | 50,000 (99 %) | 50,000 (99 %) |", "| 1000 | 10.20 | 50,000 |",
                   "- **versions** nginx 1; HAProxy 2")

    def test_growth_beside_peers(self):
        self.holds("| backends | us of CPU per request | requests per second | us, haproxy |", "| 4 | 10.00 | 50,000 | - |", "| 10000 | 10.40 | 50,000 | 30.00 |")

    def test_what_speaks_against_it(self):
        self.holds(
            "- envoy: SKIPPED, no registry",
            "- haproxy, keep-64: 7 errors; this run does not count",
            "- sozu did not pass its check and was not measured: GET / over TCP: wrong bytes",
            "- TLS keep-alive: the interval is wide, 0.09 to 16.10 over 2 rounds",
            "- in 1 of 21 runs others took more than 10 % of the proxy's core",
            "- in 1 of 21 runs the hypervisor took more than 4 % of a core",
            "- before the run 32 % of the cores were busy with other work",
            "- 3 rounds only: the intervals are wide, and those of a single round unknown",
        )

    def test_a_run_of_nothing_is_a_page(self):
        self.assertIn("not measured", report.page([], META))
