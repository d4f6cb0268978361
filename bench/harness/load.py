"""The scenarios: what load each puts on a proxy, by which generator, and how its output is read."""
import json
import re
import subprocess
from dataclasses import dataclass
from typing import Callable

from harness import place

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}
BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
PATIENCE = 120  # seconds that a generator may take beyond its time


@dataclass(frozen=True)
class Aim:
    """What a scenario is aimed at, and how hard."""
    port: int
    tls_port: int
    seconds: int
    cores: tuple
    rate: int = 0  # requests per second, where the scenario has a rate

    @property
    def threads(self):
        return str(len(self.cores))


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    generator: str
    command: Callable  # Aim -> arguments
    parse: Callable    # output -> dict with reqs, rps, errs and, where known, MBps, p50, p99, p999 (us)
    needs: frozenset = frozenset()
    new_connections: bool = False
    stretch: int = 1   # times as long as the others: what is looked at is rare


def microseconds(text):
    number, unit = re.match(r"([\d.]+)(\w*)", text).groups()
    return float(number) * SECONDS[unit] * 1e6


def megabytes(text):
    number, unit = re.match(r"([\d.]+)(\w*)", text).groups()
    return float(number) * BYTES[unit] / 1e6


def numbers(pattern, text):
    found = re.search(pattern, text)
    return list(map(int, found.groups())) if found else []


def parse_wrk(text):
    if "Requests/sec" not in text:
        raise RuntimeError("wrk said: " + text[-400:])
    result = {
        "reqs": numbers(r"(\d+) requests in", text)[0],
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "MBps": megabytes(re.search(r"Transfer/sec:\s+(\S+)", text)[1]),
        "errs": sum(numbers(r"Non-2xx or 3xx responses: (\d+)", text))
        + sum(numbers(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)),
    }
    for per_cent, key in (("50", "p50"), ("99", "p99")):
        result[key] = microseconds(re.search(rf"^\s+{per_cent}%\s+(\S+)", text, re.M)[1])
    return result


def parse_h2load(text):
    totals = numbers(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not totals:
        raise RuntimeError("h2load said: " + text[-400:])
    rate, transfer = re.search(r"finished in \S+ ([\d.]+) req/s, (\S+)/s", text).groups()
    bad_status = numbers(r"status codes: \d+ 2xx, \d+ 3xx, (\d+) 4xx, (\d+) 5xx", text)
    return {"reqs": totals[1], "rps": float(rate), "MBps": megabytes(transfer), "errs": sum(totals[2:]) + sum(bad_status)}


def wrk(name, about, connections, path="/", *extra, tls=False, new_connections=False):
    def command(aim):
        base = f"https://localhost:{aim.tls_port}" if tls else f"http://127.0.0.1:{aim.port}"
        threads = min(connections, len(aim.cores))
        return [f"-t{threads}", f"-c{connections}", f"-d{aim.seconds}s", "--latency", *extra, base + path]
    return Scenario(name, about, "wrk", command, parse_wrk, frozenset({"tls"} if tls else ()), new_connections)


def own(name, about, connections, path="/", stretch=1):
    def command(aim):
        rate = [str(aim.rate)] if aim.rate else []
        return ["127.0.0.1", str(aim.port), path, str(connections), aim.threads, str(aim.seconds), *rate]
    return Scenario(name, about, "load", command, json.loads, stretch=stretch)


def handshakes(name, about, mode):
    def command(aim):
        return [f"127.0.0.1:{aim.tls_port}", "64", aim.threads, str(aim.seconds), mode]
    return Scenario(name, about, "handshakes", command, json.loads, frozenset({"tls"}), True)


def h2load(name, about):
    def command(aim):
        return [f"-t{aim.threads}", "-c16", "-m32", "-D", str(aim.seconds), f"https://localhost:{aim.tls_port}/"]
    return Scenario(name, about, "h2load", command, parse_h2load, frozenset({"tls", "h2"}))


def script(name):
    return ["-s", str(place.SOURCE / "lua" / name)]


RATED = "latency"  # runs at a part of the slowest peer's peak
PEAK = "keep-64"   # which is taken from this one

SCENARIOS = {scenario.name: scenario for scenario in (
    wrk(PEAK, "keep-alive, 64 connections, 13 B", 64),
    wrk("keep-512", "keep-alive, 512 connections, 13 B", 512),
    wrk("body-16k", "16 KiB answers, 64 connections", 64, "/16k"),
    own("body-1m", "1 MiB answers, 32 connections; the client drops them in the kernel", 32, "/1m"),
    wrk("connect", "a new connection per request, 64 at a time", 64, "/", "-H", "Connection: close", new_connections=True),
    wrk("tls", "TLS, keep-alive, 64 connections, 13 B", 64, tls=True),
    handshakes("handshake", "a full TLS 1.3 handshake and one request per connection, 64 at a time", "full"),
    handshakes("resumed", "the same, resumed by ticket", "resumed"),
    h2load("h2", "HTTP/2 over TLS, 16 connections of 32 streams, 13 B; HTTP/1.1 to the backends"),
    wrk("post-64k", "POST of 64 KiB, 64 connections", 64, "/", *script("post64k.lua")),
    own(RATED, "at 60 % of the slowest peer's peak, 64 connections; counted from when a request was due", 64, stretch=2),
)}


def command_line(scenario, aim):
    generator = place.tool(scenario.generator)
    if not generator:
        raise RuntimeError(f"{scenario.generator} is not installed")
    return ["taskset", "-c", place.cpu_list(aim.cores), generator, *scenario.command(aim)]


def run(scenario, aim):
    done = subprocess.run(command_line(scenario, aim), capture_output=True, text=True, timeout=aim.seconds + PATIENCE)
    if not done.stdout or done.returncode < 0:
        raise RuntimeError(f"{scenario.generator} ended with {done.returncode} and said: {done.stderr[-300:]}")
    return scenario.parse(done.stdout)
