"""The paired ratio: how a figure of ours stands to another's of the same rounds, with its 95 % interval.

The mean of the logarithms of the rounds' ratios, less a fifth of them at either end, and Yuen's interval of that mean (Student's, with
the spread of what is left, each end standing for those that it lost): what is multiplied rather than added (a slow minute makes
both dearer by the same part) is judged in the scale in which it varies, and a round in which something took the core from one of
them alone moves neither the middle nor the interval far. With fewer than five rounds nothing is left out."""
import math
import statistics
from dataclasses import dataclass

# Two-sided 95 % quantiles of Student's t by degrees of freedom, from 1.
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


TRIMMED = 0.2  # of the rounds, at either end


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
    found = mean([math.log(ours[number] / theirs[number]) for number in ours.keys() & theirs.keys()])
    if found is None or found.rounds == 1:
        return found and Ratio(math.exp(found.middle), -math.inf, math.inf, 1)
    return Ratio(*map(math.exp, (found.middle, found.low, found.high)), found.rounds)


def mean(values):
    """The trimmed mean with Yuen's interval, in the scale of the values: of differences, say. None of none."""
    values = sorted(values)
    if not values:
        return None
    count, middle = len(values), trimmed_mean(values)
    if count == 1:
        return Ratio(middle, -math.inf, math.inf, 1)
    out = int(TRIMMED * count)
    left = count - 2 * out
    winsorized = [values[out]] * out + values[out:count - out] + [values[count - out - 1]] * out
    half = student(left - 1) * math.sqrt((count - 1) * statistics.variance(winsorized) / (left * (left - 1)))
    return Ratio(middle, middle - half, middle + half, count)


def trimmed_mean(values):
    out = int(TRIMMED * len(values))
    return statistics.fmean(sorted(values)[out:len(values) - out])


def best(figures, lowest=False):
    """The name with the highest (or lowest) such mean. `figures`: by name, by round. None of none."""
    means = {name: trimmed_mean(list(map(math.log, rounds.values()))) for name, rounds in figures.items() if rounds}
    return (min if lowest else max)(means, key=means.get, default=None)
