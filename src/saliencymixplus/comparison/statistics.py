"""Statistics over seeds and test images: intervals and paired error differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saliencymixplus import bootstrap

Wrong = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SeedSummary:
    """A quantity over ``n`` seeds; ``sd``, ``low`` and ``high`` are None for a single seed."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, which is symmetric."""
        return None if self.high is None else self.high - self.mean


@dataclass(frozen=True)
class ErrorDifference:
    """A paired difference of errors in percentage points; negative is better than the baseline.

    ``low``, ``high`` and ``p_value`` come from a bootstrap over test images. ``seeds_p_value`` is
    a paired t-test over seeds; None for a single seed, or if every seed has the same difference.
    """

    seeds: int
    images: int
    difference: float
    low: float
    high: float
    p_value: float
    seeds_p_value: float | None

    @property
    def weaker_p_value(self) -> float:
        """The larger p-value.

        The bootstrap ignores the variation between seeds and the t-test ignores the number of
        test images, so a difference has to pass both.
        """
        return max(self.p_value, self.seeds_p_value or 0.0)

    @property
    def significant(self) -> bool:
        """Whether both tests reject "no difference" at 5 %."""
        return self.weaker_p_value < 0.05


def summarise_seeds(values: Sequence[float]) -> SeedSummary:
    """Mean, sample standard deviation (n − 1) and Student's 95 % t interval of the mean."""
    from scipy import stats

    if not values:
        raise ValueError("no values to summarise")
    array = np.asarray(values, dtype=np.float64)
    n, mean = len(array), float(array.mean())
    if n < 2:
        return SeedSummary(n, mean, None, None, None)
    sd = float(array.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return SeedSummary(n, mean, sd, mean - half, mean + half)


def paired_bootstrap(
    method: Sequence[Wrong],
    baseline: Sequence[Wrong],
    *,
    resamples: int = 10_000,
) -> ErrorDifference:
    """Compare two methods on the same test images.

    The difference of the errors is averaged over seeds for each image, then images are resampled
    with replacement. The interval and p-value thus cover the choice of test images but not the
    randomness of training, which ``seeds_p_value`` covers.

    Args:
        method, baseline: one boolean array ``(N,)`` per seed, true where the prediction is wrong;
            entry k of both has the same seed.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: no seed, or unequal numbers of seeds or of images.
    """
    from scipy import stats

    if not method or len(method) != len(baseline):
        raise ValueError("both sides need the same seeds, at least one")
    if len({len(wrong) for wrong in (*method, *baseline)}) != 1:
        raise ValueError("both sides need the same test images")
    a, b = np.stack(method).astype(np.int64), np.stack(baseline).astype(np.int64)
    seeds, images = a.shape
    per_image = (a - b).sum(axis=0)
    # Each image contributes one of only 2·seeds + 1 differences. Drawing the count of each value
    # (a multinomial) is equivalent to drawing images, and much faster.
    values, counts = np.unique(per_image, return_counts=True)
    rng = np.random.default_rng(0)
    # Kept as integers, so that the comparison with zero is exact.
    draws = rng.multinomial(images, counts / images, size=resamples) @ values
    found = bootstrap.difference(float(per_image.sum()), draws)
    per_seed = 100 * (a - b).mean(axis=1)
    seeds_p: float | None = None
    if seeds > 1 and np.ptp(per_seed) > 0:
        seeds_p = float(stats.ttest_1samp(per_seed, 0.0).pvalue)
    scale = 100 / (seeds * images)
    return ErrorDifference(
        seeds=seeds,
        images=images,
        difference=found.value * scale,
        low=found.low * scale,
        high=found.high * scale,
        p_value=found.p_value,
        seeds_p_value=seeds_p,
    )
