"""Who is measured: the scripts of proxies/, what each can do, and who cannot be had here."""
import re
from dataclasses import dataclass

from harness import place

FOLDER = place.SOURCE / "proxies"
OURS = "evenkeel"


@dataclass(frozen=True)
class Proxy:
    """`direct` has no script: the load goes to the backend, to try the harness."""
    name: str
    script: str = ""
    needs: str = ""                 # the program that it runs
    caps: frozenset = frozenset({"http"})
    only: frozenset = frozenset()   # scenarios that it is for; empty: all that its caps cover
    reference: bool = False         # a limit or a yardstick rather than a peer
    environment: tuple = ()         # pairs, of variants of ours

    def missing(self):
        return bool(self.needs) and place.tool(self.needs) is None

    def takes(self, scenario):
        """An l4 proxy balances connections: it says nothing where each request has one."""
        if self.only and scenario.name not in self.only:
            return False
        return scenario.needs <= self.caps and not (scenario.new_connections and "l4" in self.caps)

    def with_environment(self, name, **environment):
        pairs = tuple(sorted((key, str(value)) for key, value in environment.items()))
        return Proxy(name, self.script, self.needs, self.caps, self.only, self.reference, pairs)


def words_of(text, mark):
    found = re.search(rf"^# {mark}:(.*)$", text, re.M)
    return frozenset(found[1].split()) if found else frozenset()


def read(path):
    text = path.read_text()
    needs = next(iter(words_of(text, "needs")), "")
    reference = re.search(r"^# reference$", text, re.M) is not None
    return Proxy(path.stem, str(path), needs, words_of(text, "caps"), words_of(text, "only"), reference)


def known():
    """By name, in the order of the tables: ours, the peers, the references."""
    found = [read(path) for path in sorted(FOLDER.glob("*.sh"))]
    found.sort(key=lambda proxy: (proxy.name != OURS, proxy.reference))
    return {proxy.name: proxy for proxy in [*found, Proxy("direct", reference=True)]}
