"""Measures proxies in turns, scenario by scenario: what disturbs the machine for a minute then meets all of them alike."""
import json
import random
import statistics
import subprocess
import time

from harness import check, load, place, proc, proxies

STEAL_LIMIT = 4      # per cent of a core that the hypervisor may take
FOREIGN_LIMIT = 10   # per cent of the proxy's core that others may take
PART_OF_PEAK = 0.6
ALL_FOR = 3          # rounds in which everybody is measured
SURE_FROM = 6        # rounds of every scenario, however sure its verdict is
ENOUGH = 12          # of every scenario, where no verdict is open before
YARDSTICK = ("relay", load.PEAK)  # a target is held against it
BEHIND = 1.5         # times what the best peer costs: who is so far behind by then is not the best, and leaves its time to the others
BEHIND_P99 = 2.5     # the same of p99, where that is judged; it differs more from round to round


def attempt(running, scenario, aim, cores):
    """What the proxy's own time on its cores comes to, less what the hypervisor took from them."""
    of_proxy = cores.proxy if running.proxy.script else cores.backend
    ticks, cpu, began = proc.core_ticks(), proc.cpu_seconds(running.pid), time.monotonic()
    result = load.run(scenario, aim)
    gross, took = proc.cpu_seconds(running.pid) - cpu, time.monotonic() - began
    after = proc.core_ticks()
    if not result["reqs"]:
        raise RuntimeError(f"no request was answered, {result['errs']} errors {result.get('last_error', '')}")
    net = max(gross - proc.stolen_seconds(ticks, after, of_proxy), 0.001)
    busy, steal = proc.shares(ticks, after, cores.used())
    on_core = sum(proc.shares(ticks, after, of_proxy)[0]) * took / 100
    return {
        **result, "cpu_s": round(net, 4), "us": round(net / result["reqs"] * 1e6, 3), "per_cpu_s": round(result["reqs"] / net, 1),
        "busy": busy, "steal": steal, "foreign": round(max(0, 100 * (on_core - gross) / took), 1),
    }


def measure(running, scenario, aim, cores, retries=1):
    """Of several attempts, the one that lost least to the hypervisor."""
    attempts = []
    for _ in range(1 + retries):
        attempts.append(attempt(running, scenario, aim, cores))
        if max(attempts[-1]["steal"]) <= STEAL_LIMIT:
            break
    return min(attempts, key=lambda record: max(record["steal"]))


def is_peer(proxy):
    return proxy.name != proxies.OURS and not proxy.reference


class Rounds:
    """Emits a record for each measurement; a failure is a record too and takes nothing else with it."""

    def __init__(self, stand, seconds, emit, group="main"):
        self.stand, self.seconds, self.emit, self.group = stand, seconds, emit, group
        self.peaks = {}  # of peers, from the first round
        self.costs = {}  # (scenario, peer) -> what is judged of each round, in microseconds
        self.rate = 0

    def run(self, number, scenarios, runnings, warm_up=True):
        """One round. The order is drawn anew for each scenario, so that nobody always follows the same one."""
        for scenario in scenarios:
            able = [running for running in runnings if running.proxy.takes(scenario)]
            if scenario.name == load.RATED and not self.rate:
                self.find_rate(able)
            if number >= ALL_FOR:
                able = [running for running in able if self.still_counts(scenario.name, running.proxy)]
            random.Random(f"{number} {scenario.name}").shuffle(able)
            for running in able:
                self.one(number, scenario, running, warm_up and number == 0)

    def still_counts(self, scenario, proxy):
        """Ours, the yardstick, and peers that may yet be the best."""
        if proxy.reference:
            return (proxy.name, scenario) == YARDSTICK
        costs = {name: statistics.median(seen) for (of, name), seen in self.costs.items() if of == scenario}
        if proxy.name not in costs:
            return proxy.name == proxies.OURS
        return costs[proxy.name] <= (BEHIND_P99 if scenario == load.RATED else BEHIND) * min(costs.values())

    def find_rate(self, able):
        for running in able:
            if running.proxy.name not in self.peaks and is_peer(running.proxy):
                self.peaks[running.proxy.name] = load.run(load.SCENARIOS[load.PEAK], self.aim(running, 1))["rps"]
        self.rate = int(PART_OF_PEAK * min(self.peaks.values())) if self.peaks else 1000

    def aim(self, running, seconds, rate=0):
        return load.Aim(running.port, running.tls_port, seconds, self.stand.cores.load, rate)

    def one(self, number, scenario, running, warm_up):
        self.stand.until.check()
        rate = self.rate if scenario.name == load.RATED else 0
        record = {"kind": "load", "group": self.group, "scenario": scenario.name, "proxy": running.proxy.name, "round": number}
        try:
            if warm_up:
                load.run(scenario, self.aim(running, 1, rate))
            record.update(measure(running, scenario, self.aim(running, self.seconds * scenario.stretch, rate), self.stand.cores))
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError, json.JSONDecodeError) as error:
            record["error"] = str(error)[:300]
        else:
            if is_peer(running.proxy) and not record["errs"]:
                judged = record["p99" if scenario.name == load.RATED else "us"]
                self.costs.setdefault((scenario.name, running.proxy.name), []).append(judged)
            if scenario.name == load.PEAK and self.group == "main" and is_peer(running.proxy):
                self.peaks.setdefault(running.proxy.name, record["rps"])
        if rate:
            record["rate"] = rate
        self.emit(record)


def due(number, wanted, count, unsure):
    """The scenarios of a round: all of them in the first ones, then those whose verdict is open, and all again where none is. Empty: it is enough."""
    if number < SURE_FROM:
        return wanted
    left = [scenario for scenario in wanted if scenario.name in unsure]
    return left or (wanted if number < count else [])


def started(stand, wanted, emit):
    """Those of these proxies that start and answer as they should."""
    good = []
    for proxy in wanted:
        try:
            running = stand.start(proxy)
        except (RuntimeError, OSError) as error:
            emit({"kind": "check", "proxy": proxy.name, "bad": [str(error)[:400]]})
            continue
        problems = check.check(running)
        if "l4" in proxy.caps:  # balances connections, so that one client may see fewer backends
            problems = [problem for problem in problems if not problem.startswith("balance")]
        emit({"kind": "check", "proxy": proxy.name, "bad": problems[:6]})
        if problems:
            stand.stop(running)
        else:
            good.append(running)
    return good


def describe(record):
    """One line of progress."""
    if record.get("error"):
        return f"{record['scenario']} {record['proxy']}: ERROR {record['error']}"
    if record["kind"] == "load":
        latency = f" p99 {record['p99']:.0f} us" if "p99" in record else ""
        errors = f" ERRORS {record['errs']}" if record["errs"] else ""
        return (f"{record['round']} {record['scenario']:10} {record['proxy']:16} {record['us']:8.2f} us/req {record['rps']:9.0f} req/s"
                f"{latency}{errors}  busy {place.cpu_list(round(one) for one in record['busy'])}")
    shown = {key: value for key, value in record.items() if key not in ("kind", "proxy")}
    return f"{record['kind']} {record['proxy']}: {shown}"
