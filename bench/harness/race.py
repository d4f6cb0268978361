"""What the race over sockets came to, out of its own page: targets, latencies and errors, for the page of the benchmarks."""
import re
from dataclasses import dataclass

from harness import place

PAGE = place.ROOT / "docs/policies-over-sockets.md"
VERDICT = re.compile(r"- ((?:reached|MISSED)(?:, not surely)?|SKIPPED)[: ]+(.*)")
FACTS = re.compile(r"- \*\*(date|runs|busy)\*\* (.*)")
BALANCER = "balancer"  # begins the head of a scenario's table
COLUMNS = (BALANCER, "p50 ms", "p99 ms", "p99.9 ms", "failed")  # what is taken over of it, and its last one, in which a peer is ahead or did not run


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    rows: list  # of as many cells as there are columns, and a remark


@dataclass(frozen=True)
class Race:
    facts: tuple      # lines that say when, how often and how undisturbed it ran
    rows: tuple       # (scenario, what is asked for and what was seen, verdict)
    scenarios: tuple


def read(path=PAGE):
    """None where there is no page, or none that holds a target."""
    try:
        return parse(path.read_text())
    except OSError:
        return None


def parse(text):
    scenario, facts, rows = "", [], []
    for line in text.splitlines():
        if line.startswith("## "):
            scenario = line[3:]
        elif found := VERDICT.fullmatch(line):
            verdict, said = found.groups()
            rows.append((scenario, said, verdict.replace("MISSED", "**MISSED**")))
        elif not scenario and (found := FACTS.fullmatch(line)):
            facts.append(f"- **{found[1]}** {found[2]}")
    judged = [row for row in rows if not row[0].startswith("Not raced")]
    return Race(tuple(facts), tuple(judged), tuple(raced(text))) if judged else None


def raced(text):
    """The sections that have a table of balancers."""
    for section in text.split("\n## ")[1:]:
        name, *lines = section.splitlines()
        about = next((line for line in lines if line), "")
        head, *body = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")] or [[]]
        if head[:1] == [BALANCER]:
            places = [*map(head.index, COLUMNS), -1]
            yield Scenario(name, about, [[cells[place] or "-" for place in places[:-1]] + [cells[-1]] for cells in body[1:]])
