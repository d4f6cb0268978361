"""How a cost grows: Evenkeel with more of one thing at a time, from the fewest to the most, measured in turns."""
from dataclasses import dataclass

from harness import load, place

CONNECTIONS = (1, 8, 64, 512, 5000)
FAIR_SHARE = ("evenkeel", "haproxy", "nginx")  # whose cost by connections, and by few and many backends, stands beside ours
YARDSTICKS = ("relay",)  # beside few and many backends: what so many sockets cost whoever has them
ROUNDS = 6         # at most, of the points between the ends
ROUNDS_JUDGED = 12  # of the ends of what is judged
ROUNDS_MOST = 30   # where it is still not sure then
ROUNDS_BESIDE = 3
ROUNDS_CONNECTIONS = 4


@dataclass(frozen=True)
class Point:
    count: int
    environment: tuple = ()
    workers: int = 0       # cores of its own for so many; 0: the one core of the proxy
    note: str = ""


@dataclass(frozen=True)
class Growth:
    name: str              # the group of its records
    about: str
    points: tuple
    scenario: object       # of a point
    alone: bool = False    # one point at a time is up, and begins anew each time: all of them would take more than the backend's descriptors


def of(variable, counts, *more):
    return tuple(Point(count, ((variable, str(count)), *more)) for count in counts)


UNCHECKED = ("HEALTH", "off")

GROWTHS = {growth.name: growth for growth in (
    Growth("rules", "rules; the request is that of the last", of("RULES", (1, 10, 100, 1000)), lambda _: load.wrk("rules", "", 64)),
    Growth("services", "services of four backends, a rule by path each; requests go to all in turn", of("SERVICES", (1, 10, 100, 1000)),
           lambda point: load.wrk("services", "", 64, f"/s{point.count}", *load.script("services.lua"))),
    Growth("backends", "backends of one service, without checks",
           (*of("BACKEND_COUNT", (4, 100, 1000, 10000), UNCHECKED), Point(10000, (("BACKEND_COUNT", "10000"),), note="checked every 5 s")),
           lambda _: load.wrk("backends", "", 64), alone=True),
    Growth("workers", "workers, a core each, with what is left of the cores for the load",
           tuple(Point(count, (("WORKERS", str(count)),), workers=count) for count in (1, 2, 4, 8)), lambda _: load.own("workers", "", 64)),
)}


def due(growth, points, number):
    """The points that are measured in this round: those between the ends no more than so often."""
    return points if number < ROUNDS else [point for point in points if point in ends(growth)]


def label(point):
    return f"{point.count}, {point.note}" if point.note else str(point.count)


def beside(name, point):
    """What a peer's figures of such a growth are kept under."""
    return f"{name} {label(point)}"


def connections(count):
    return load.wrk(f"{count}", "", count)


def ends(growth):
    """The fewest and the most, for a quick run."""
    plain = [point for point in growth.points if not point.note]
    most = 2 if growth.name == "workers" else plain[-1].count
    return [point for point in plain if point.count in (plain[0].count, most)]


def affordable(growth, points):
    """Those that this machine has cores for, and the cores of the widest: the load is to be the same for all."""
    points = [point for point in points if not point.workers or place.wider_cores(point.workers)]
    widest = max((point.workers for point in points), default=0)
    return points, place.wider_cores(widest) if widest else place.choose_cores()
