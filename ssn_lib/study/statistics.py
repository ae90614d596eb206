"""When two figures differ: deviations between seeds, standard errors, a sign test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import stdev

from ssn_lib.study.profiles import SCREW, STRIPS
from ssn_lib.study.published import published_figures

MIN_DEVIATION = 1.0  # points between seeds, where the published deviation is smaller


def margin(
    metric: str, first: Sequence[float], second: Sequence[float], regime: str | None = None
) -> float:
    """How far the means of two sets of values must be apart to differ, in points: twice the
    standard error of their difference.

    Args:
        first, second: a value of each seed.
        regime: as in `deviation`.
    """
    return two_errors(*((deviation(metric, one, regime), len(one)) for one in (first, second)))


def two_errors(*means: tuple[float, int]) -> float:
    """Twice the standard error of the difference of two means.

    Args:
        means: of each the deviation of its values, and their number.
    """
    return 2 * math.sqrt(sum(deviation**2 / number for deviation, number in means))


def deviation(metric: str, values: Sequence[float] = (), regime: str | None = None) -> float:
    """Of a metric between seeds, in points: the published one, that of these values, or
    `MIN_DEVIATION`, whichever is largest.

    Args:
        regime: on KSDD2 in that regime of the published table, such as "weak (0 masks)"; else on
            screw.
    """
    jims = published_figures()["supersimplenet_jims2025"]
    row = jims[STRIPS][regime] if regime else jims["mvtec_ad"][SCREW]
    published = max(row[metric]["std"], MIN_DEVIATION)
    return max(published, stdev(values)) if len(values) > 1 else published


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)


def sign_test(differences: Sequence[float]) -> float:
    """p of the two-sided sign test: are positive and negative differences equally likely?"""
    from scipy.stats import binomtest  # slow to import, and seldom asked for

    moved = [difference for difference in differences if difference != 0]
    if not moved:
        return 1.0
    return float(binomtest(sum(d > 0 for d in moved), len(moved)).pvalue)
