"""Which of several tests say something, so that a stated share of those that do is wrong."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

EULER = 0.5772156649015329


def chance(value: float, by_chance: Sequence[float]) -> float:
    """Return the probability of a value as large as this by chance, given what chance gave.

    The largest of several separations has nearly a Gumbel distribution; its two parameters are taken from mean and
    standard deviation, so that 20 draws say something about one in a thousand.

    Args:
        value: What was found.
        by_chance: What was found where there is nothing, at least two.

    Source: Gumbel (1958), Statistics of extremes: estimation by moments.

    Example:
        >>> round(chance(1.0, [0.9, 1.1, 1.0, 0.95, 1.05]), 2), chance(3.0, [0.9, 1.1, 1.0, 0.95, 1.05]) < 1e-6
        (0.43, True)
    """
    scale = max(stdev(by_chance) * math.sqrt(6) / math.pi, 1e-3)
    return -math.expm1(-math.exp(-(value - fmean(by_chance) + EULER * scale) / scale))


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """Choose the tests that say something so that at most a share `rate` of the chosen is expected to be wrong.

    Args:
        p_values: Probability of each test's result by chance.
        rate: The share, e.g. 0.05.

    Source: Benjamini, Hochberg (1995), Controlling the false discovery rate.

    Example:
        >>> discoveries([0.001, 0.8, 0.02, 0.9], 0.05)
        [True, False, True, False]
    """
    ranked = sorted(p_values)
    kept = [p for rank, p in enumerate(ranked, 1) if p <= rate * rank / len(ranked)]
    return [bool(kept) and p <= kept[-1] for p in p_values]
