"""What the race over sockets came to: the targets of its own page, for the page of the benchmarks."""
import re
from dataclasses import dataclass

from harness import place

PAGE = place.ROOT / "docs/policies-over-sockets.md"
VERDICT = re.compile(r"- ((?:reached|MISSED)(?:, not surely)?|SKIPPED)[: ]+(.*)")
FACTS = re.compile(r"- \*\*(date|runs|busy)\*\* (.*)")


@dataclass(frozen=True)
class Race:
    facts: tuple  # lines that say when, how often and how undisturbed it ran
    rows: tuple   # (scenario, what is asked for and what was seen, verdict)


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
    return Race(tuple(facts), tuple(judged)) if judged else None
