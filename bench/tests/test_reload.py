"""What a reload adds, out of windows in pairs."""
import unittest

from harness import reload, targets


def window(through, past):
    """Of late requests among 10,000, through the proxy and past it."""
    return {name: {"reqs": 10_000, "late": late} for name, late in (("through", through), ("past", past))}


class Added(unittest.TestCase):
    def check(self, pairs, middle, width):
        with self.subTest(pairs=pairs):
            found = reload.added([{"calm": window(*calm), "reload": window(*busy)} for calm, busy in pairs], reload.late)
            self.assertAlmostEqual(found.middle, middle)
            self.assertAlmostEqual(found.high - found.low, width, delta=0.01)

    def test_rows(self):
        # Ten more of 10,000, each time.
        self.check([((5, 0), (15, 0))] * 10, 1, 0)
        # What the machine did to both is nobody's.
        self.check([((5, 0), (505, 500))] * 10, 0, 0)
        self.check([((505, 500), (5, 0))] * 10, 0, 0)
        # What it did to one window alone moves nothing, what it did to half of them makes the interval wide.
        self.check([((0, 0), (0, 0))] * 9 + [((0, 0), (900, 0))], 0, 0)
        self.check([((0, 0), (0, 0)), ((0, 0), (20, 0))] * 5, 1, 2 * 2.571 * (10 / 9) ** 0.5 * 3 / 30 ** 0.5)

    def test_where_all_are_late_a_reload_shows_nothing(self):
        for calm, decided in ((0, "reached"), (499, "reached"), (501, "not decided"), (9_999, "not decided")):
            with self.subTest(calm=calm):
                record = {"kind": "reload", "cores": "shared", "pairs": [{"calm": window(calm, 0), "reload": window(calm, 0)}] * 5}
                target = next(one for one in targets.TARGETS if one.decided)
                self.assertEqual(targets.verdict(target, target.of(targets.Figures([record]))), decided)

    def test_what_the_mean_leaves_out_is_not_reached(self):
        calm, hit = {"calm": window(0, 0), "reload": window(0, 0)}, {"calm": window(0, 0), "reload": window(5_000, 0)}
        for pairs, decided in (([calm] * 10, "reached"), ([calm] * 9 + [hit], "not decided"), ([calm] * 8 + [hit] * 2, "not decided"), ([hit] * 10, "**MISSED**")):
            with self.subTest(pairs=pairs):
                record = {"kind": "reload", "cores": "shared", "pairs": pairs}
                target = next(one for one in targets.TARGETS if one.decided)
                self.assertEqual(targets.verdict(target, target.of(targets.Figures([record]))), decided)

    def test_a_share_of_no_requests(self):
        self.assertEqual(reload.late({"reqs": 0, "late": 0}), 0)
