"""Whether a target was reached, by rows; and whose figures count."""
import math
import unittest

from harness import growth, load, targets
from harness.ratio import Ratio
from harness.targets import AIM, MISSED, OPEN, REACHED, UNDECIDED, UNKNOWN, UNSURE, Outcome, Target


def record(proxy, number, per_cpu_s, **more):
    return {"kind": "load", "group": "main", "scenario": "keep-64", "proxy": proxy, "round": number, "per_cpu_s": per_cpu_s, "errs": 0, **more}


class Verdicts(unittest.TestCase):
    def check(self, least, aim, middle, low, high, wanted, lowest=False, unit="", decided=False):
        with self.subTest(least=least, aim=aim, middle=middle, low=low, high=high):
            target = Target("", None, least, aim, unit, lowest, decided=decided)
            self.assertEqual(targets.verdict(target, Outcome(Ratio(middle, low, high, 8))), wanted)

    def test_rows(self):
        nothing, endless = math.nan, math.inf
        # Where 1.05 is asked for, being surely ahead is enough, and necessary.
        self.check(1.05, 1.15, 1.03, 1.01, 1.05, REACHED)
        self.check(1.05, 1.15, 1.06, 0.99, 1.13, MISSED)
        self.check(1.05, 1.15, 1.16, 1.01, 1.31, AIM)
        self.check(1.05, 1.15, 1.20, 0.99, 1.45, MISSED)
        # Elsewhere the ratio itself counts, and the interval says how surely.
        self.check(1.10, 1.30, 1.15, 1.11, 1.19, REACHED)
        self.check(1.10, 1.30, 1.11, 0.99, 1.23, REACHED + UNSURE)
        self.check(1.10, 1.30, 1.09, 1.05, 1.13, MISSED + UNSURE)
        self.check(1.10, 1.30, 1.05, 1.02, 1.08, MISSED)
        self.check(1.10, 1.30, 1.30, 1.20, 1.40, AIM)
        self.check(1.10, 1.30, 1.35, 1.05, 1.65, REACHED + UNSURE)
        # One round says nothing of how sure it is.
        self.check(1.10, 1.30, 1.35, -endless, endless, REACHED + UNSURE)
        # Memory, time and latency: the lower the better.
        self.check(2, 1, 1.5, nothing, nothing, REACHED, lowest=True, unit="KiB")
        self.check(2, 1, 0.9, nothing, nothing, AIM, lowest=True, unit="KiB")
        self.check(2, 1, 2.1, nothing, nothing, MISSED, lowest=True, unit="KiB")
        self.check(1.0, 0.8, 0.7, 0.6, 0.8, AIM, lowest=True)
        self.check(1.0, 0.8, 0.7, 0.6, 1.2, REACHED + UNSURE, lowest=True)
        self.check(1.0, 0.8, 1.01, 0.6, 1.4, MISSED + UNSURE, lowest=True)
        self.check(1.0, 0.8, 1.4, 1.1, 1.7, MISSED, lowest=True)
        # Where only the whole interval decides.
        for middle, low, high, wanted in ((0.02, -0.05, 0.09, REACHED), (0, 0, 0, REACHED), (0.05, -1, 1.1, UNDECIDED), (3, 0.1, 6, UNDECIDED),
                                          (3, 0.2, 6, MISSED), (-1, -endless, endless, UNDECIDED)):
            self.check(0.1, nothing, middle, low, high, wanted, lowest=True, unit="in 1,000", decided=True)
        # Nothing is asked for.
        self.check(nothing, nothing, 0.5, 0.4, 0.6, OPEN)
        self.check(nothing, 0.92, 0.91, 0.9, 0.92, "below the aim")
        self.check(nothing, 0.92, 0.93, 0.9, 0.96, AIM)

    def test_what_was_not_measured_is_not_reached(self):
        self.assertEqual(targets.verdict(targets.TARGETS[0], None), UNKNOWN)

    def test_who_is_held_against_us(self):
        rounds = [record("evenkeel", 0, 120), record("nginx", 0, 100), record("haproxy", 0, 110)]
        # A yardstick is no peer, and neither is one that answered wrong.
        rounds += [record("relay", 0, 200), record("hyper", 0, 190), record("envoy", 0, 180, errs=3), record("sozu", 0, 170, error="x")]
        outcome = targets.TARGETS[0].of(targets.Figures(rounds))
        self.assertEqual((outcome.ours, outcome.theirs), ("120", "haproxy 110"))
        self.assertIsNone(targets.TARGETS[0].of(targets.Figures(rounds[1:])))

    def test_more_workers(self):
        rounds = [record("1", 0, 100, group="workers"), record("2", 0, 95, group="workers")]
        target = next(target for target in targets.TARGETS if target.about.startswith("2 workers"))
        self.assertAlmostEqual(target.of(targets.Figures(rounds)).ratio.middle, 1.9)

    def test_what_many_backends_cost_others(self):
        rounds = [record("relay 4", 0, 100, group="backends"), record("relay 10000", 0, 60, group="backends")]
        target = next(target for target in targets.TARGETS if target.about == "the same of relay")
        outcome = target.of(targets.Figures(rounds))
        self.assertAlmostEqual(outcome.ratio.middle, 0.6)
        self.assertEqual((outcome.ours, outcome.theirs, targets.verdict(target, outcome)), ("-", "relay 60, with 4: 100", OPEN))


class Unsure(unittest.TestCase):
    """What more rounds are for."""
    def test_rows(self):
        def check(least, low, high, sure, unit=""):
            with self.subTest(least=least, low=low, high=high):
                target = Target("", None, least, unit=unit, measured="x")
                self.assertEqual(targets.is_sure(target, Outcome(Ratio((low + high) / 2, low, high, 6))), sure)
        check(1.10, 1.11, 1.30, True)
        check(1.10, 1.05, 1.30, False)
        check(1.10, 0.90, 1.09, True)
        # Where 1.05 is asked for, being ahead at all is the question.
        check(1.05, 1.01, 1.20, True)
        check(1.05, 0.99, 1.20, False)
        check(1.10, -math.inf, math.inf, False)
        check(math.nan, 0.5, 2.0, True)
        check(2, math.nan, math.nan, True, unit="KiB")

    def test_by_the_scenario_that_is_measured(self):
        def rounds(scenario, theirs):
            pairs = enumerate(theirs)
            return [one for number, their in pairs for one in
                    (record("evenkeel", number, 120, scenario=scenario), record("nginx", number, their, scenario=scenario))]
        records = rounds("tls", (100, 101, 100)) + rounds("h2", (100, 60, 140))
        records += [record(name, number, figure, group="workers") for number in range(3) for name, figure in (("1", 100), ("2", 90 + number))]
        self.assertEqual(targets.unsure(records), {"h2", "workers"})
        self.assertEqual(targets.unsure([]), set())
        known = set(load.SCENARIOS) | set(growth.GROWTHS)
        self.assertLessEqual({target.measured for target in targets.TARGETS if target.measured}, known)
