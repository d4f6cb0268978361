"""The paired ratio: how a figure of ours stands to another's of the same rounds, with its 95 % interval.

The mean of the logarithms of the rounds' ratios, and Student's interval of that mean: what is multiplied rather than
added (a slow minute makes both dearer by the same part) is then judged in the scale in which it varies."""
import math
import statistics
from dataclasses import dataclass

# Two-sided 95 % quantiles of Student's t by degrees of freedom, from 1.
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


@dataclass(frozen=True)
class Ratio:
    middle: float
    low: float   # -inf and inf where one round says nothing of the spread
    high: float
    rounds: int

    def times(self, factor):
        return Ratio(self.middle * factor, self.low * factor, self.high * factor, self.rounds)


def student(freedom):
    """Beyond the table by its expansion, good to a thousandth."""
    return T_95[freedom - 1] if freedom <= len(T_95) else 1.96 + 2.372 / freedom


def paired(ours, theirs):
    """Of figures by round; rounds that one of them lacks are left out. None where no round has both."""
    logs = [math.log(ours[number] / theirs[number]) for number in sorted(ours.keys() & theirs.keys())]
    if not logs:
        return None
    middle = statistics.fmean(logs)
    if len(logs) == 1:
        return Ratio(math.exp(middle), -math.inf, math.inf, 1)
    half = student(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half), len(logs))


def best(figures, lowest=False):
    """The name with the highest (or lowest) mean of logarithms. `figures`: by name, by round. None of none."""
    means = {name: statistics.fmean(map(math.log, rounds.values())) for name, rounds in figures.items() if rounds}
    return (min if lowest else max)(means, key=means.get, default=None)
