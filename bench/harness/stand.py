"""The backend and the proxies before it: all up at once, each on ports of its own, all proxies on the same core."""
import os
import socket
import subprocess
import time
from dataclasses import dataclass

from harness import place, proc, proxies
from harness.until import Until

PATIENCE = 20    # seconds in which a process must listen
PORTS_EACH = 3   # plain, TLS, admin


@dataclass(frozen=True)
class Running:
    proxy: proxies.Proxy
    process: subprocess.Popen
    port: int
    tls_port: int
    log: object
    environment: dict

    @property
    def pid(self):
        return self.process.pid


class Stand:
    def __init__(self, cores, until=None):
        self.cores = cores
        self.until = until or Until()
        self.backend = None
        self.ports = []
        self.running = []

    def __enter__(self):
        self.ports = place.free_ports(place.BACKENDS)
        self.backend = subprocess.Popen(
            ["taskset", "-c", place.cpu_list(self.cores.backend), place.tool("backend"), *map(str, self.ports)])
        wait_for(self.ports[-1], self.backend, "the backend")
        return self

    def __exit__(self, *_):
        for running in list(self.running):
            self.stop(running)
        proc.stop(self.backend)

    def start(self, proxy, ready=True):
        """Raises RuntimeError with the last words of a proxy that does not listen."""
        self.until.check()
        port, tls_port, admin_port = place.free_ports(PORTS_EACH)
        folder = place.WORK / "run" / proxy.name.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log"
        if not proxy.script:
            return Running(proxy, self.backend, self.ports[0], 0, log, {})
        environment = self.environment(proxy, folder, port, tls_port, admin_port)
        with open(log, "w") as sink:
            process = subprocess.Popen(
                ["taskset", "-c", place.cpu_list(self.cores.proxy), proxy.script], env=environment, stdout=sink, stderr=sink,
                process_group=0)  # so that ctrl-C reaches the harness alone, which then stops everybody
        running = Running(proxy, process, port, tls_port, log, environment)
        self.running.append(running)
        if ready:
            self.wait(running)
        return running

    def wait(self, running):
        try:
            for port in [running.port] + ([running.tls_port] if "tls" in running.proxy.caps else []):
                wait_for(port, running.process, running.proxy.name)
        except RuntimeError as error:
            last_words = running.log.read_text(errors="replace").strip().splitlines()[-1:]
            self.stop(running)
            raise RuntimeError(f"{error}: {' '.join(last_words)}") from error

    def stop(self, running):
        if running in self.running:
            self.running.remove(running)
            proc.stop(running.process)

    def environment(self, proxy, folder, port, tls_port, admin_port):
        own = {
            "PORT": port, "TLS_PORT": tls_port, "ADMIN_PORT": admin_port, "RUN_DIR": folder,
            "BACKENDS": " ".join(f"127.0.0.1:{port}" for port in self.ports),
            "CERT": place.CERTS / "cert.pem", "KEY": place.CERTS / "key.pem", "BOTH": place.CERTS / "both.pem",
            "BENCH_BIN": place.BIN, "EVENKEEL_BIN": place.EVENKEEL, "PATH": place.SYSTEM_TOOLS,
        }
        return {**os.environ, **{key: str(value) for key, value in own.items()}, **dict(proxy.environment)}


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.3).close()
        return True
    except OSError:
        return False


def wait_for(port, process, who):
    end = time.monotonic() + PATIENCE
    while not listening(port):
        if process.poll() is not None:
            raise RuntimeError(f"{who} ended with status {process.returncode} at its start")
        if time.monotonic() > end:
            raise RuntimeError(f"{who} does not listen on port {port}")
        time.sleep(0.05)
