"""Who is measured in which round."""
import contextlib
import unittest
from unittest import mock

import bench
from harness import growth, load, place, proxies, report, rounds
from harness.stand import Running

P99 = {"evenkeel": 900.0, "haproxy": 800.0, "nginx": 1500.0, "caddy": 9000.0, "relay": 700.0, "hyper": 800.0}
COSTS = {"evenkeel": 30.0, "haproxy": 10.0, "nginx": 14.0, "caddy": 16.0, "relay": 5.0, "hyper": 6.0}


class Turns(unittest.TestCase):
    def turns(self, count, scenario=load.PEAK, errors=()):
        """Who was measured in each of so many rounds, in order, where each has these costs."""
        known, seen = proxies.known(), [[] for _ in range(count)]
        runnings = [Running(known[name], None, 0, 0, None, {}) for name in COSTS]

        def measure(running, *_):
            name = running.proxy.name
            return {"us": COSTS[name], "p99": P99[name], "errs": int(name in errors), "rps": 1000, "busy": [0]}
        stand = mock.Mock()
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(rounds, "measure", measure))
            stack.enter_context(mock.patch.object(load, "run", lambda *_: {"rps": 1000}))
            one = rounds.Rounds(stand, 1, lambda record: seen[record["round"]].append(record["proxy"]))
            for number in range(count):
                one.run(number, [load.SCENARIOS[scenario]], runnings, warm_up=False)
        return seen

    def test_who_cannot_be_the_best_leaves_its_time_to_the_others(self):
        seen = self.turns(5)
        for number in range(rounds.ALL_FOR):
            self.assertEqual(sorted(seen[number]), sorted(COSTS))
        for number in range(rounds.ALL_FOR, 5):
            self.assertEqual(sorted(seen[number]), ["evenkeel", "haproxy", "nginx", "relay"])

    def test_yardsticks_stay_where_a_target_is_held_against_them(self):
        self.assertEqual(sorted(self.turns(4, "body-16k")[3]), ["evenkeel", "haproxy", "nginx"])

    def test_where_latency_is_judged_it_says_who_is_behind(self):
        self.assertEqual(sorted(self.turns(4, load.RATED)[3]), ["evenkeel", "haproxy", "nginx"])

    def test_a_peer_with_errors_is_nobodys_measure(self):
        self.assertEqual(sorted(self.turns(4, "body-16k", errors=["haproxy"])[3]), ["caddy", "evenkeel", "nginx"])

    def test_the_order_is_drawn_anew(self):
        seen = self.turns(3)
        self.assertEqual(seen, self.turns(3), "by the round's number: a run can be made again")
        self.assertGreater(len({tuple(names) for names in seen}), 1)
        self.assertGreater(len({tuple(names) for names in (self.turns(1, scenario)[0] for scenario in ("keep-64", "keep-512", "body-16k"))}), 1)


class Due(unittest.TestCase):
    """Which scenarios a round has."""
    def check(self, number, unsure, wanted, count=12):
        scenarios = [load.SCENARIOS[name] for name in ("keep-64", "tls", "h2")]
        self.assertEqual([scenario.name for scenario in rounds.due(number, scenarios, count, unsure)], wanted)

    def test_rows(self):
        everything = ["keep-64", "tls", "h2"]
        self.check(0, {"tls"}, everything)
        self.check(rounds.SURE_FROM - 1, {"tls"}, everything)
        self.check(rounds.SURE_FROM, {"h2", "tls", "workers"}, ["tls", "h2"])
        self.check(40, {"tls"}, ["tls"])
        # What is open elsewhere is not measured here; where nothing is open, all get as many as were meant.
        self.check(11, {"workers"}, everything)
        self.check(12, set(), [])

    def test_it_is_told_alike_everywhere(self):
        few, many = rounds.SURE_FROM, rounds.ENOUGH
        helped = " ".join(bench.parser().format_help().split())
        self.assertIn(f"in turns ({few}, then of what is not sure, or up to {many} of all where all is sure;", helped)
        self.assertIn(f"After {few} rounds it goes to the scenarios whose", report.METHOD)
        self.assertIn(f"where none is, to all of them, up to {many} rounds.", report.METHOD)
        page = " ".join((place.SOURCE / "README.md").read_text().split())
        self.assertIn(f"{few} to every scenario, then to those whose interval holds what is asked for, until it does not or the time is over; where all are sure "
                      f"before that, up to {many} to all.", page)
        self.assertIn(f"everybody, everything: {few} rounds of 1 s, then of what is not sure", page)


class Growths(unittest.TestCase):
    def test_ends_are_measured_more_often(self):
        one = growth.GROWTHS["rules"]
        def of(number):
            return [point.count for point in growth.due(one, list(one.points), number)]
        self.assertEqual(of(growth.ROUNDS - 1), [1, 10, 100, 1000])
        self.assertEqual(of(growth.ROUNDS), [1, 1000])
        self.assertGreaterEqual(growth.ROUNDS_JUDGED, 12)
