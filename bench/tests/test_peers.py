"""Every script writes a configuration that its program takes, where it is installed, and a wrong one is refused."""
import os
import subprocess
import tempfile
import unittest

from harness import growth, place, proxies, setup
from harness.stand import Stand

CANNOT_CHECK = {"hyper", "pingora", "relay", "relay-256k"}  # configured by their command lines


def accepts(proxy, **environment):
    """Its exit code and what it says."""
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(place.choose_cores())
        stand.ports = place.free_ports(place.BACKENDS)
        own = stand.environment(proxy, folder, *place.free_ports(3))
        done = subprocess.run([proxy.script], env={**own, "CHECK": "1", **environment}, capture_output=True, text=True, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr


class Peers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        setup.tools()
        setup.certificates()

    def test_each_says_what_it_needs(self):
        for name, proxy in proxies.known().items():
            with self.subTest(name):
                self.assertTrue(name == "direct" or proxy.needs and os.access(proxy.script, os.X_OK))
                self.assertIn("http", proxy.caps)

    def test_configurations(self):
        for name, proxy in proxies.known().items():
            if not proxy.script or name in CANNOT_CHECK or proxy.missing():
                continue
            with self.subTest(name):
                good, said = accepts(proxy)
                self.assertTrue(good, said)
                good, _ = accepts(proxy, TLS_PORT="nonsense")
                self.assertFalse(good, "a port that is none was taken")

    def test_growths(self):
        ours = proxies.known()[proxies.OURS]
        for one in growth.GROWTHS.values():
            for point in one.points:
                with self.subTest(f"{one.name} {growth.label(point)}"):
                    good, said = accepts(ours, **dict(point.environment))
                    self.assertTrue(good, said)
