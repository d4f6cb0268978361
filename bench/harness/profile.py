"""Where a proxy's time goes under a scenario: a cpu-clock profile by perf."""
import subprocess
import time

from harness import load, place

SETTLE = 1.5   # seconds of load before looking
LOOKED = 3     # seconds of looking


def text(running, scenario, cores):
    if not place.tool("perf"):
        raise RuntimeError("perf is not installed (Debian's linux-perf)")
    aim = load.Aim(running.port, running.tls_port, 2 * LOOKED, cores.load)
    data = place.WORK / f"{running.proxy.name}-{scenario.name}.perf"
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1499", "-p", str(running.pid), "-g", "-o", str(data), "--", "sleep", str(LOOKED)]
    with subprocess.Popen(load.command_line(scenario, aim), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        time.sleep(SETTLE)
        recorded = subprocess.run(record, capture_output=True, text=True)
    if recorded.returncode:
        raise RuntimeError("perf record: " + recorded.stderr.strip()[-300:])
    report = ["perf", "report", "-i", str(data), "--no-children", "--sort", "comm,dso,sym", "-g", "none", "--percent-limit", "0.7"]
    shown = subprocess.run(report, capture_output=True, text=True).stdout
    return "\n".join(line for line in shown.splitlines() if line.strip() and not line.startswith("#"))
