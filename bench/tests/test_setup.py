"""Who cannot be had is skipped with the reason; what everybody needs ends the run; nothing is brought that nobody asked for."""
import contextlib
import io
import unittest
from unittest import mock

from harness import setup


def fails():
    raise setup.Failed("no registry")


class Setup(unittest.TestCase):
    def check(self, parts, wanted, reasons, brought):
        done = []
        recording = {name: (lambda name=name, bring=bring: (done.append(name), bring and bring()), program) for name, (bring, program) in parts.items()}
        with mock.patch.object(setup, "PARTS", recording), contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(setup.setup(wanted), reasons)
        self.assertEqual(done, brought)

    def test_rows(self):
        parts = {"tools": (None, None), "envoy": (fails, "envoy"), "sozu": (None, "sozu")}
        self.check(parts, {"envoy", "sozu"}, {"envoy": "no registry"}, ["tools", "envoy", "sozu"])
        self.check(parts, {"sozu"}, {}, ["tools", "sozu"])
        self.check(parts, set(), {}, ["tools"])
        with self.assertRaises(SystemExit):
            self.check({"tools": (fails, None)}, set(), {}, [])

    def test_a_command_that_fails_says_why(self):
        with self.assertRaisesRegex(setup.Failed, "of all days"):
            setup.run(["sh", "-c", "echo of all days >&2; exit 1"])

    def test_versions_of_what_is_locked(self):
        self.assertRegex(setup.locked("pingora"), r"^\d+\.\d+\.\d+$")
        self.assertEqual(setup.locked("no-such-crate"), "?")
