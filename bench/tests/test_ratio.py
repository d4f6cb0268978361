"""The paired interval, by rows: figures by hand from the tables of Student's t."""
import math
import unittest

from harness import ratio


def by_round(*values):
    return {number: value for number, value in enumerate(values) if value is not None}


class Paired(unittest.TestCase):
    def check(self, ours, theirs, middle, low, high, rounds):
        with self.subTest(ours=ours, theirs=theirs):
            found = ratio.paired(by_round(*ours), by_round(*theirs))
            self.assertEqual(found.rounds, rounds)
            for got, wanted in ((found.middle, middle), (found.low, low), (found.high, high)):
                self.assertTrue(math.isclose(got, wanted, rel_tol=1e-3) or got == wanted, f"{got} is not {wanted}")

    def test_rows(self):
        e = math.exp
        # A ratio that never varies has no width, whatever the machine did meanwhile.
        self.check([200, 100, 20], [100, 50, 10], 2, 2, 2, 3)
        # Logarithms 0, 0.1, 0.2: mean 0.1, deviation 0.1, half width 4.303 * 0.1 / sqrt(3).
        self.check([1, e(0.1), e(0.2)], [1, 1, 1], e(0.1), e(0.1 - 0.24843), e(0.1 + 0.24843), 3)
        # The other way round it is the inverse.
        self.check([1, 1, 1], [1, e(0.1), e(0.2)], e(-0.1), e(-0.1 - 0.24843), e(-0.1 + 0.24843), 3)
        # Two rounds: 12.706 * 0.14142 / sqrt(2).
        self.check([1, e(0.2)], [1, 1], e(0.1), e(0.1 - 1.2706), e(0.1 + 1.2706), 2)
        # A round that one of them lacks is left out of both.
        self.check([8, None, 2, 6], [4, 9, None, 3], 2, 2, 2, 2)
        # One round says nothing of the spread.
        self.check([3], [2], 1.5, -math.inf, math.inf, 1)

    def test_rounds_that_something_hit(self):
        e = math.exp
        # Five: one goes at either end. Logarithms 0.1, 0.2, 0.3 are left, winsorized to 0.1, 0.1, 0.2, 0.3, 0.3: variance 0.01, so that the
        # half width is 4.303 * sqrt(4 * 0.01 / (3 * 2)).
        half = 4.303 * math.sqrt(0.04 / 6)
        self.check([e(0.1), e(-9), e(0.2), e(9), e(0.3)], [1] * 5, e(0.2), e(0.2 - half), e(0.2 + half), 5)
        # However far they are out.
        self.check([e(0.1), e(0), e(0.2), e(0.4), e(0.3)], [1] * 5, e(0.2), e(0.2 - half), e(0.2 + half), 5)
        # Ten: two at either end, and where the others agree there is no width.
        self.check([2] * 6 + [1, 1, 9, 9], [1] * 10, 2, 2, 2, 10)

    def test_means_of_differences(self):
        for values, middle, half, rounds in (
                ([0, 0, 0, 0, 0], 0, 0, 5), ([1, 2, 3], 2, 4.303 / math.sqrt(3), 3), ([-1, 1], 0, 12.706, 2),
                # One window of ten that something hit decides nothing.
                ([2] * 9 + [900], 2, 0, 10)):
            with self.subTest(values=values):
                found = ratio.mean(values)
                self.assertEqual(found.rounds, rounds)
                for got, wanted in ((found.middle, middle), (found.low, middle - half), (found.high, middle + half)):
                    self.assertAlmostEqual(got, wanted, delta=0.01)
        self.assertEqual((ratio.mean([3]).low, ratio.mean([])), (-math.inf, None))

    def test_nothing_in_common(self):
        self.assertIsNone(ratio.paired({0: 1.0}, {1: 1.0}))

    def test_quantiles(self):
        for freedom, wanted in ((1, 12.706), (7, 2.365), (30, 2.042), (40, 2.021), (60, 2.000), (120, 1.980)):
            with self.subTest(freedom=freedom):
                self.assertAlmostEqual(ratio.student(freedom), wanted, delta=0.003)

    def test_the_best_is_best_over_the_rounds(self):
        figures = {"steady": {0: 10, 1: 10}, "wild": {0: 19, 1: 5}, "absent": {}}
        self.assertEqual(ratio.best(figures), "steady")
        self.assertEqual(ratio.best(figures, lowest=True), "wild")
        # One round that something hit makes nobody the worst.
        self.assertEqual(ratio.best({"steady": {n: 10 for n in range(5)}, "hit": {**{n: 11 for n in range(4)}, 4: 0.1}}), "hit")
        self.assertIsNone(ratio.best({}))
