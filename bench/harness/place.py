"""Where things are: the source folder, the work directory, ports, and which core does what."""
import os
import random
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
ROOT = SOURCE.parent
WORK = Path(os.environ.get("BENCH_DIR") or ROOT / "target/bench").absolute()
BIN = WORK / "bin"
CERTS = WORK / "certs"
PAGE = ROOT / "docs/benchmarks.md"
README = ROOT / "README.md"
EVENKEEL = Path(os.environ.get("EVENKEEL_BIN") or ROOT / "target/release/evenkeel").absolute()

BACKENDS = 4
HAVE = sorted(os.sched_getaffinity(0))  # before the harness keeps to one of them
PORTS = range(10000, 24000)  # below those that the kernel gives to clients, with --tune too: nobody takes one in between
SYSTEM_TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

LOST_WITH_3 = (
    "3 cores: the load has one core instead of two, which can be the bottleneck with 1 MiB answers, TLS and new connections; "
    "requests per second and latency are then its own. There is no core for a second worker."
)
LOST_WITH_2 = (
    "2 cores: backend and load share one, which is the bottleneck nearly everywhere. The proxy sleeps in between, wakes more often "
    "and batches less: its CPU per request may be too high, and only ratios within this run mean something."
)


@dataclass(frozen=True)
class Cores:
    backend: tuple
    proxy: tuple
    load: tuple
    lost: str = ""

    def used(self):
        """In the order of the tables: backend, proxy, load; a shared core once."""
        return list(dict.fromkeys(self.backend + self.proxy + self.load))


def cpu_list(cores):
    return ",".join(map(str, cores))


def choose_cores(have=HAVE):
    """One for the backend, one for the proxy, two for the load, of those that this process may use."""
    if len(have) >= 4:
        return Cores((have[0],), (have[1],), (have[2], have[3]))
    if len(have) == 3:
        return Cores((have[0],), (have[1],), (have[2],), LOST_WITH_3)
    if len(have) == 2:
        return Cores((have[0],), (have[1],), (have[0],), LOST_WITH_2)
    sys.exit("one core: the proxy cannot be told from its load here; two are the least, four are wanted")


def wider_cores(workers, have=HAVE):
    """The same with a core for each of so many workers; what is left is the load's. None where there are too few."""
    if len(have) < workers + 2:
        return None
    return Cores((have[0],), tuple(have[1:1 + workers]), tuple(have[1 + workers:3 + 2 * workers]))


def tool(name):
    """Path of a program that the set-up built or the system has; None where it is missing."""
    if name == "evenkeel":
        return str(EVENKEEL) if os.access(EVENKEEL, os.X_OK) else None
    built = BIN / name
    return str(built) if os.access(built, os.X_OK) else shutil.which(name, path=SYSTEM_TOOLS)


def free_ports(count):
    """So many ports in a row that nobody listens on."""
    for _ in range(200):
        first = random.randrange(PORTS.start, PORTS.stop - count)
        if all(map(is_free, range(first, first + count))):
            return list(range(first, first + count))
    sys.exit(f"no {count} free ports in a row from {PORTS.start} to {PORTS.stop}")


def is_free(port):
    with socket.socket() as one:
        try:
            one.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
