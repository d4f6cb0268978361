"""The README's table: figures of the page of the benchmarks, so that the two cannot say different things."""
import re

BEGIN = "<!-- Out of docs/benchmarks.md, by `cargo xtask bench`, or by `cargo xtask bench --pages` alone. -->"
END = "<!-- So far. -->"
COSTS = "## Microseconds of CPU per request"
WHO = {"Evenkeel": "evenkeel", "HAProxy": "haproxy", "nginx": "nginx"}
SCENARIOS = {
    "keep-64": "keep-alive, 64 connections, 13 B", "keep-512": "keep-alive, 512 connections, 13 B", "body-16k": "16 KiB answers", "body-1m": "1 MiB answers",
    "connect": "a connection per request", "tls": "TLS, keep-alive", "handshake": "TLS, a full handshake per request", "h2": "HTTP/2 over TLS",
    "post-64k": "POST 64 KiB",
}


def written(readme, page):
    """The README with the figures of this page between its marks."""
    before, begin, rest = readme.partition(BEGIN + "\n")
    _, end, after = rest.partition(END + "\n")
    if not begin or not end:
        raise RuntimeError(f"the README has no place for its figures, which begins with `{BEGIN}` and ends with `{END}`")
    return before + begin + "\n".join(block(page)) + "\n" + end + after


def block(page):
    costs = read_costs(page)
    yield ""
    yield "| scenario | " + " | ".join(WHO) + " |"
    yield "|---|" + "--:|" * len(WHO)
    for scenario, about in SCENARIOS.items():
        if scenario in costs:
            yield f"| {about} | " + " | ".join(best(costs[scenario], name) for name in WHO.values()) + " |"
    yield ""
    yield f"Run of {fact(page, 'date')}, commit {fact(page, 'commit')}; {fact(page, 'duration')}; HAProxy {version(page, 'HAProxy version ')}, nginx {version(page, 'nginx/')}."
    yield ""


def read_costs(page):
    """Scenario -> column -> microseconds, as the page has them."""
    _, _, section = page.partition(f"{COSTS}\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines] or [[], []]
    return {scenario: {name: float(cell.split()[0].replace(",", "")) for name, cell in zip(head[1:], cells) if cell != "-"} for scenario, *cells in rows}


def best(costs, name):
    """What one costs at its best: by itself, or as a script that is for this scenario alone, which then is named."""
    own = {column: cost for column, cost in costs.items() if column == name or column.startswith(name + "-")}
    if not own:
        return "-"
    column = min(own, key=own.get)
    cost = f"{own[column]:.1f}" if own[column] < 100 else f"{own[column]:,.0f}"
    return cost if column == name else f"{cost} (`{column}`)"


def fact(page, key):
    found = re.search(rf"^- \*\*{key}\*\* (.*)$", page, re.M)
    return found[1] if found else "?"


def version(page, behind):
    found = re.search(re.escape(behind) + r"([\d.]+)", fact(page, "versions"))
    return found[1] if found else "?"
