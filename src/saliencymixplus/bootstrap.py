"""Intervals and p-values from bootstrap draws, for all statistics in this project.

Percentile intervals and two-sided p-values (Efron and Tibshirani 1993, chapters 13 and 16;
Davison and Hinkley 1997, section 4.4). ``scipy.stats.bootstrap`` gives the same intervals but no
p-value, and draws every image where a multinomial over the few distinct values suffices.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TAILS = ((1 - 0.95) / 2, (1 + 0.95) / 2)  # of a 95 % interval
Draws = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference of two values, with its two-sided p-value."""

    p_value: float


def percentile_interval(value: float, draws: Draws) -> Estimate:
    """The 95 % percentile interval of ``draws (R,)``, ignoring non-finite draws."""
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or not len(known):
        return Estimate(np.nan, np.nan, np.nan)
    low, high = np.quantile(known, _TAILS)
    return Estimate(float(value), float(low), float(high))


def difference(value: float, draws: Draws) -> Difference:
    """The 95 % percentile interval of a difference, with a two-sided p-value.

    The p-value is twice the fraction of draws on the other side of zero. Draws of zero count on
    both sides, and one draw is added to each, so that no p-value is 0.
    """
    known = draws[np.isfinite(draws)]
    found = percentile_interval(value, draws)
    tail = min(int((known <= 0).sum()), int((known >= 0).sum())) + 1
    p = min(1.0, 2 * tail / (len(known) + 1)) if len(known) else np.nan
    return Difference(found.value, found.low, found.high, p)
