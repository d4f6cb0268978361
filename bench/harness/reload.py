"""Moments of a proxy's life: from its start to the first answer, and a reload of many backends under load."""
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import time

from harness import load, proc, ratio

PATIENCE = 20     # seconds
BACKENDS = 10_000
RATE = 10_000     # requests per second beside the reloads, and as many past the proxy
WINDOW = 2        # seconds of load, in which there is one reload or none
BEFORE = 0.4      # seconds of it before the reload
PAIRS = 12        # of windows, one with a reload
CROWDED = 50      # late requests in a thousand of calm windows: one that is late anyway shows no reload
TAKEN = b'"reloaded: '
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as one:
            one.sendall(REQUEST)
            return one.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def name_of(pid):
    return proc.read(f"/proc/{pid}/comm").strip()


def first_answer(stand, proxy):
    """Milliseconds from the start of its program, before which its script has written its configuration, to an answer from a backend."""
    running = stand.start(proxy, ready=False)
    script = os.path.basename(proxy.script)[:15]  # as much as the kernel keeps of a name
    while name_of(running.pid) in (name_of(os.getpid()), "taskset", script):
        time.sleep(0.0001)
    began = time.perf_counter()
    while not answers(running.port):
        if running.process.poll() is not None or time.perf_counter() - began > PATIENCE:
            stand.stop(running)
            raise RuntimeError(f"{proxy.name} does not answer")
    took = (time.perf_counter() - began) * 1e3
    stand.stop(running)
    return {"ms": round(took, 2)}


def said_so(running, begin):
    """Does the log say it behind this place? What stands before is not read again."""
    with open(running.log, "rb") as log:
        log.seek(begin)
        return TAKEN in log.read()


def write(running, number):
    """Puts others in the place of half of the backends, in the file alone."""
    first = BACKENDS // 2 if number % 2 else 0
    environment = {**running.environment, "BACKEND_FIRST": str(first), "WRITE_ONLY": "1"}
    subprocess.run([running.proxy.script], env=environment, check=True)


def reload(running):
    """Milliseconds from the signal to the word that it is done."""
    begin, began = running.log.stat().st_size, time.perf_counter()
    os.kill(running.pid, signal.SIGHUP)
    while not said_so(running, begin):
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError("it was not reloaded: " + running.log.read_text(errors="replace")[-300:])
        time.sleep(0.0005)
    return (time.perf_counter() - began) * 1e3


def window(running, past, cores, number, reloads):
    """What was seen through the proxy and past it, at the same time by the same program; and how long the reload took, if there was one.
    All but the signal is the same in both kinds of windows."""
    aim = load.Aim(f"{running.port},{past}", running.tls_port, WINDOW, cores.load, RATE)
    command = load.command_line(load.SCENARIOS[load.RATED], aim)
    generator = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        write(running, number)
        time.sleep(BEFORE)
        took = reload(running) if reloads else None
    finally:
        said, complained = generator.communicate()
    if generator.returncode or not said:
        raise RuntimeError(f"the generator ended with {generator.returncode}: {complained.strip()[-300:]}")
    through, beside = json.loads(said)
    return {"through": through, "past": beside}, took


def measure(running, past, cores, pairs, seed, until):
    """Windows with a reload and without, in pairs whose order is drawn."""
    chance, found, took = random.Random(seed), [], []
    window(running, past, cores, 0, reloads=False)
    for number in range(1, pairs + 1):
        pair, order = {}, ["calm", "reload"]
        chance.shuffle(order)
        for kind in order:
            until.check()
            pair[kind], ms = window(running, past, cores, number, reloads=kind == "reload")
            took += [ms] if ms is not None else []
        found.append(pair)
    both = [one for pair in found for one in pair.values()]
    return {"ms": [round(one, 1) for one in took], "pairs": found, "seed": seed,
            "reqs": sum(one["through"]["reqs"] for one in both), "failed": sum(one["through"]["errs"] for one in both)}


def late(seen):
    """Requests over 5 ms in a thousand."""
    return 1e3 * seen["late"] / max(1, seen["reqs"])


def crowded(pairs):
    """Are so many late without any reload that one could hide among them?"""
    return statistics.fmean(late(pair["calm"]["through"]) for pair in pairs) > CROWDED


def differences(pairs, figure):
    """What each reload added to a figure: the difference between the windows of a pair, less that of the same requests past the proxy, which
    the machine made."""
    def own(one):
        return figure(one["through"]) - figure(one["past"])
    return [own(pair["reload"]) - own(pair["calm"]) for pair in pairs]


def added(pairs, figure):
    """Their mean without a fifth of them at either end, with its interval."""
    return ratio.mean(differences(pairs, figure))
