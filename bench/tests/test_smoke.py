"""A second of load: the backend alone, the relay and Evenkeel; and a proxy that answers wrong."""
import contextlib
import http.client
import http.server
import json
import socket
import socketserver
import subprocess
import tempfile
import threading
import unittest

from harness import check, load, place, proxies, rounds, setup
from harness.stand import Running, Stand, wait_for

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


class Impatient(socketserver.BaseRequestHandler):
    """Ends a connection on which nothing is asked for a moment after its begin; and notes on how many somebody asked all the same."""
    ended = 0
    crossed = 0

    def handle(self):
        self.request.settimeout(0.2)
        with contextlib.suppress(ConnectionError):
            if self.asked():
                return
            Impatient.ended += 1
            self.request.shutdown(socket.SHUT_WR)
            self.request.settimeout(10)
            Impatient.crossed += bool(self.request.recv(4096))  # it was on its way, or came before the end was seen

    def asked(self):
        try:
            while self.request.recv(4096):
                self.request.settimeout(10)
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except TimeoutError:
            return False
        return True


class Crowded(socketserver.ThreadingTCPServer):
    request_queue_size = 1024  # who closes it waits for all handlers


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

    def test_connections_that_end_while_they_rest(self):
        """Few are needed at such a rate: the others are silent, and whoever serves may end them for that."""
        with Crowded(("127.0.0.1", 0), Impatient) as server, tempfile.TemporaryDirectory() as folder:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            generator = f"{folder}/load"  # one that sees what it writes where nothing is
            setup.run(["gcc", "-O1", "-fsanitize=address,undefined", "-o", generator, place.SOURCE / "c/load.c", "-pthread", "-lm"])
            done = subprocess.run([generator, "127.0.0.1", str(server.server_address[1]), "/", "64", "2", "1", "100"], capture_output=True, text=True,
                                  env={"ASAN_OPTIONS": "detect_leaks=0"})
            server.shutdown()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertGreater(Impatient.ended, 64, "nobody was ended")
        self.assertGreater(json.loads(done.stdout)["reqs"], 0)
        self.assertLess(Impatient.crossed, Impatient.ended, "all were asked just as they ended, which shows nothing")
        self.assertLessEqual(json.loads(done.stdout)["errs"], Impatient.crossed, "an error where nothing was asked")

    def test_a_relay_over_many_asks_another_for_each_request(self):
        """Over connections that it keeps, each of which is somebody's or rests."""
        setup.tools()
        with Stand(place.choose_cores()) as stand, tempfile.TemporaryDirectory() as folder:
            port, = place.free_ports(1)
            relay = f"{folder}/relay"  # one that sees what it touches where nothing is
            setup.run(["gcc", "-O1", "-g", "-fsanitize=address,undefined", "-o", relay, place.SOURCE / "c/relay.c"])
            addresses = [f"127.1.0.{1 + number // 4}:{stand.ports[number % 4]}" for number in range(6)]
            process = subprocess.Popen([relay, str(port), "65536", *addresses], stderr=subprocess.PIPE, text=True)
            wait_for(port, process, "the relay")
            clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(3)]
            seen = []
            for number in range(24):
                clients[number % 3].request("GET", "/1m" if number % 5 == 0 else "/")
                answer = clients[number % 3].getresponse()
                self.assertEqual(len(answer.read()), 1 << 20 if number % 5 == 0 else 13)
                seen.append(int(answer.getheader("X-Backend")))
            for client in clients:
                client.close()
            process.terminate()
            said = process.communicate(timeout=20)[1]
        # The probe that waited for the relay was the first of six, whose ports are 0 1 2 3 0 1.
        turns = [[0, 1, 2, 3, 0, 1][(1 + number) % 6] for number in range(24)]
        self.assertEqual((seen, said), (turns, ""))

    def test_a_proxy_that_does_not_start_says_why(self):
        records = []
        with Stand(place.choose_cores()) as stand:
            broken = proxies.known()[proxies.OURS].with_environment("evenkeel", WORKERS="none")
            self.assertEqual(rounds.started(stand, [broken], records.append), [])
        self.assertIn("ended with status", records[0]["bad"][0])
