"""A second of load: the backend alone, the relay and Evenkeel; and a proxy that answers wrong."""
import http.server
import threading
import unittest

from harness import check, load, place, proxies, rounds, setup
from harness.stand import Running, Stand

SCENARIOS = [load.SCENARIOS["body-1m"], load.SCENARIOS[load.RATED]]  # by generators of our own


class Liar(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.send_header("X-Backend", "0")
        self.end_headers()
        self.wfile.write(b"Hello, world!")

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Smoke(unittest.TestCase):
    def test_a_second(self):
        setup.tools()
        setup.certificates()
        known, records = proxies.known(), []
        with Stand(place.choose_cores()) as stand:
            runnings = rounds.started(stand, [known[name] for name in ("evenkeel", "relay", "direct")], records.append)
            self.assertEqual([record["bad"] for record in records], [[], [], []])
            rounds.Rounds(stand, 1, records.append).run(0, SCENARIOS, runnings, warm_up=False)
        measured = records[3:]
        self.assertEqual(len(measured), 6)
        for record in measured:
            with self.subTest(f"{record['proxy']} {record['scenario']}"):
                self.assertEqual((record.get("error"), record["errs"]), (None, 0))
                self.assertGreater(record["reqs"], 0)
                self.assertGreater(record["us"], 0)

    def test_wrong_answers_are_seen(self):
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            liar = Running(proxies.Proxy("liar", script="liar"), None, server.server_port, 0, None, {})
            problems = check.check(liar)
            server.shutdown()
        self.assertIn("GET /1m over TCP: status 200 or wrong bytes", problems)
        self.assertIn("balance: only backends ['0'] were seen", problems)

    def test_a_proxy_that_does_not_start_says_why(self):
        records = []
        with Stand(place.choose_cores()) as stand:
            broken = proxies.known()[proxies.OURS].with_environment("evenkeel", WORKERS="none")
            self.assertEqual(rounds.started(stand, [broken], records.append), [])
        self.assertIn("ended with status", records[0]["bad"][0])
