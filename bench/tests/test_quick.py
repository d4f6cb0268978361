"""A quick run ends in time, however slow the machine is. Nothing runs here: what would take a while lets a clock of our own go on."""
import contextlib
import io
import os
import signal
import sys
import time
import unittest
from unittest import mock

import bench
from harness import check, idle, load, proc, proxies, reload, rounds, stand
from harness.until import Over, Until

FIVE_MINUTES = 300
BESIDE = 5  # seconds for what is no stage: who else is busy, before and after; the page


class Clock:
    """Of a machine that takes so many times as long for everything."""

    def __init__(self, slowness):
        self.now, self.slowness = 0.0, slowness

    def takes(self, seconds, value=None):
        """Something that takes so long where the machine is at rest."""
        def happen(*_, **__):
            self.now += seconds * self.slowness
            return value
        return happen

    def loads(self, result):
        def run(*arguments):
            aim = next(one for one in arguments if isinstance(one, load.Aim))
            return self.takes(aim.seconds + 0.1, result)()
        return run


def happens(clock):
    """What is replaced: object, name, by what."""
    seen = {"reqs": 10, "errs": 0, "late": 0, "p999": 1.0, "longest": 1.0}
    window = {way: seen for way in ("through", "past")}
    figures = {"reqs": 1, "rps": 9000.0, "errs": 0, "us": 10.0, "per_cpu_s": 1e5, "p99": 5.0, "busy": [1, 99, 1, 1], "steal": [0], "foreign": 0}

    def first_answer(up, proxy):
        up.stop(up.start(proxy))
        return {"ms": 20.0}
    return (
        (time, "monotonic", lambda: clock.now), (time, "sleep", lambda seconds: clock.takes(seconds)()),
        (stand.subprocess, "Popen", lambda *_, **__: mock.Mock(pid=os.getpid())), (stand, "wait_for", clock.takes(0.2)), (proc, "stop", clock.takes(0.1)),
        (proxies.Proxy, "missing", lambda _: False), (check, "check", clock.takes(0.5, [])), (load, "run", clock.loads(figures)),
        (rounds, "measure", clock.loads(figures)), (idle, "open_used_connection", clock.takes(0.002, mock.Mock())), (idle, "still_open", lambda _: True),
        (proc, "memory_of", lambda _: 1000), (reload, "first_answer", first_answer), (reload, "window", clock.takes(2.2, (window, 1.0))),
    )


class Quick(unittest.TestCase):
    def run_of(self, slowness, *words):
        """How long it takes, and its records."""
        clock, recorder = Clock(slowness), bench.Recorder()
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            for place, name, instead in happens(clock):
                stack.enter_context(mock.patch.object(place, name, instead))
            stack.enter_context(mock.patch.object(sys, "argv", ["bench.py", "--quick", *words]))
            chosen = bench.options()
            known = proxies.known()
            wanted = [known[name] for name in (proxies.OURS, *chosen.peers)]
            bench.run_stages(chosen, wanted, bench.place.choose_cores(), recorder, lambda: None)
        return clock.now, recorder.records

    def cut(self, records):
        return [record["scenario"] for record in records if record["kind"] == "stage"]

    def test_at_rest_nothing_is_cut_off(self):
        took, records = self.run_of(1)
        self.assertLess(took + BESIDE, bench.QUICK_LIMIT)
        self.assertEqual(self.cut(records), [])
        self.assertEqual({record.get("group", record["kind"]) for record in records},
                         {"check", "main", "rules", "services", "backends", "workers", "connections", "idle", "start", "reload"})
        self.assertGreaterEqual(len({record["round"] for record in records if record.get("group") == "main"}), 2)

    def test_however_slow_it_is_it_ends(self):
        for slowness in (1.5, 2, 3, 6):
            with self.subTest(slowness=slowness):
                took, records = self.run_of(slowness)
                self.assertLess(took + BESIDE, FIVE_MINUTES)
                self.assertTrue({"growth", "idle"} & {*self.cut(records)})

    def test_everybody_is_no_reason_to_take_longer(self):
        took, records = self.run_of(1, "--peers", ",".join(name for name in bench.peers() if name != "direct"))
        self.assertLess(took + BESIDE, FIVE_MINUTES)
        self.assertIn("rounds", self.cut(records))

    def test_who_says_how_many_rounds_has_them(self):
        took, records = self.run_of(2, "--rounds", "6")
        self.assertGreater(took, FIVE_MINUTES, "what is measured here would take too long by itself")
        self.assertEqual(self.cut(records), [])

    def test_who_answers_no_connection_is_asked_no_longer(self):
        clock = Clock(1)

        def waits(*_):
            clock.takes(idle.PATIENCE)()
            raise OSError("no answer")
        with contextlib.ExitStack() as stack:
            for place, name, instead in (*happens(clock), (idle, "open_used_connection", waits)):
                stack.enter_context(mock.patch.object(place, name, instead))
            with self.assertRaises(Over):
                idle.measure(mock.Mock(), 1000, False, Until(20))
        self.assertEqual(clock.now, 20)

    def test_what_hangs_is_ended(self):
        before = signal.getsignal(signal.SIGALRM)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        with self.assertRaisesRegex(SystemExit, "something hangs"):
            bench.end_after(0.5)
            self.assertGreater(signal.getitimer(signal.ITIMER_REAL)[0], 0)
            signal.pause()

    def test_the_stages_leave_room_for_what_hangs(self):
        self.assertEqual(list(bench.QUICK_SECONDS), list(bench.STAGES))
        self.assertLess(sum(bench.QUICK_SECONDS.values()) + BESIDE, bench.QUICK_LIMIT)
        self.assertLess(bench.QUICK_LIMIT, FIVE_MINUTES)
