"""What the kernel knows about processes and cores: CPU, memory, steal. Read from /proc, no tool needed."""
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def read(path):
    """The file's text, or '' when the process has gone."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def stat_fields(path):
    """Fields of /proc/.../stat behind the command, which may itself hold spaces and brackets."""
    text = read(path)
    return text[text.rindex(")") + 2:].split() if ")" in text else []


def tree(pid):
    """The process and all its descendants, parents first."""
    parents = {}
    for entry in os.listdir("/proc"):
        fields = stat_fields(f"/proc/{entry}/stat") if entry.isdigit() else []
        if fields:
            parents[int(entry)] = int(fields[1])
    found = [pid]
    for parent in found:
        found += [child for child, p in parents.items() if p == parent]
    return [p for p in found if p in parents]


def cpu_seconds(pid):
    """Of all threads that live: nanosecond-precise; with softirq work done in their context, and what the hypervisor stole meanwhile."""
    nanoseconds = 0
    for p in tree(pid):
        threads = os.listdir(f"/proc/{p}/task") if os.path.isdir(f"/proc/{p}/task") else []
        for thread in threads:
            nanoseconds += int((read(f"/proc/{p}/task/{thread}/schedstat") or "0").split()[0])
    return nanoseconds / 1e9


def memory_of(pid):
    """Proportional set size in KiB."""
    rows = (row for p in tree(pid) for row in read(f"/proc/{p}/smaps_rollup").splitlines())
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))


@dataclass(frozen=True)
class Core:
    total: int
    idle: int
    steal: int


def core_ticks():
    cores = {}
    for line in read("/proc/stat").splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name != "cpu":
            v = list(map(int, values))
            cores[int(name[3:])] = Core(sum(v[:8]), v[3] + v[4], v[7])
    return cores


def shares(before, after, cores):
    """Busy and stolen per cent of each of these cores between two readings."""
    busy, steal = [], []
    for c in cores:
        total = max(1, after[c].total - before[c].total)
        busy.append(round(100 * (1 - (after[c].idle - before[c].idle) / total), 1))
        steal.append(round(100 * (after[c].steal - before[c].steal) / total, 1))
    return busy, steal


def stolen_seconds(before, after, cores):
    return sum(after[c].steal - before[c].steal for c in cores) / TICKS_PER_SECOND


def stop(process, patience=4):
    """Ends a process and its children, children first; by force when they will not."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        for pid in reversed(tree(process.pid)):
            try:
                os.kill(pid, how)
            except OSError:
                pass
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue
