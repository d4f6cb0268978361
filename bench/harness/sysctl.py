"""Kernel settings: changed only when asked for, printed, put back at the end, and after a crash by the next run."""
import json
from pathlib import Path

from harness import place

SAVED = place.WORK / "sysctl-to-restore.json"
CONGESTION = "net.ipv4.tcp_congestion_control"
TUNED = {
    "net.ipv4.ip_local_port_range": "24000 65000",  # a connection per request uses up the default range in seconds
    "net.core.somaxconn": "65535",
    "net.ipv4.tcp_max_syn_backlog": "65535",
}


def path_of(name):
    return Path("/proc/sys") / name.replace(".", "/")


def value_of(name):
    return " ".join(path_of(name).read_text().split())


def wanted(tune, congestion):
    settings = dict(TUNED) if tune else {}
    if congestion:
        settings[CONGESTION] = congestion
    return settings


def restore():
    """Under the lock, so that a saved file can only be our own or that of a run which died."""
    if not SAVED.exists():
        return
    for name, old in json.loads(SAVED.read_text()).items():
        print(f"   sysctl {name}: back to '{old}'", flush=True)
        path_of(name).write_text(old)
    SAVED.unlink()


def change(settings):
    """Raises PermissionError without root, before anything is measured under the wrong setting."""
    changes = {name: value for name, value in settings.items() if value_of(name) != value}
    if not changes:
        return
    SAVED.write_text(json.dumps({name: value_of(name) for name in changes}))
    for name, value in changes.items():
        print(f"   sysctl {name}: '{value_of(name)}' -> '{value}' for this run", flush=True)
        path_of(name).write_text(value)
