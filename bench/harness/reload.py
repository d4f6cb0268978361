"""Moments of a proxy's life: from its start to the first answer, and a reload of many backends under load."""
import os
import signal
import socket
import subprocess
import time

from harness import load, proc

PATIENCE = 20     # seconds
BACKENDS = 10_000
RATE = 5_000      # requests per second beside the reloads
BETWEEN = 1.5     # seconds from one reload to the next
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


def reload(running, number):
    """Puts others in the place of half of the backends. Milliseconds from the signal to the word that it is done."""
    first = BACKENDS // 2 if number % 2 else 0
    environment = {**running.environment, "BACKEND_FIRST": str(first), "WRITE_ONLY": "1"}
    subprocess.run([running.proxy.script], env=environment, check=True)
    begin, began = running.log.stat().st_size, time.perf_counter()
    os.kill(running.pid, signal.SIGHUP)
    while not said_so(running, begin):
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError("it was not reloaded: " + running.log.read_text(errors="replace")[-300:])
        time.sleep(0.0005)
    return (time.perf_counter() - began) * 1e3


def at_a_rate(running, cores, seconds):
    aim = load.Aim(running.port, running.tls_port, seconds, cores.load, RATE)
    command = load.command_line(load.SCENARIOS[load.RATED], aim)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(generator):
    """Raises RuntimeError with the last words of one that ended before its time."""
    said, complained = generator.communicate()
    if generator.returncode or not said:
        raise RuntimeError(f"the generator ended with {generator.returncode}: {complained.strip()[-300:]}")
    return load.SCENARIOS[load.RATED].parse(said)


def measure(running, cores, seconds):
    """As many reloads as fit beside a steady load, and as long a load without them: the longest delays of both."""
    load.run(load.SCENARIOS[load.RATED], load.Aim(running.port, 0, 1, cores.load, RATE))
    calm = result_of(at_a_rate(running, cores, seconds))
    generator, took = at_a_rate(running, cores, seconds), []
    end = time.monotonic() + seconds
    time.sleep(BETWEEN / 2)
    while time.monotonic() + BETWEEN < end:
        took.append(reload(running, len(took) + 1))
        time.sleep(BETWEEN)
    busy = result_of(generator)
    return {"ms": [round(one, 1) for one in took], "calm_us": calm["longest"], "reload_us": busy["longest"],
            "calm_late": calm["late"], "late": busy["late"], "reqs": busy["reqs"], "failed": busy["errs"]}
