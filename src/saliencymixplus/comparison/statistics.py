"""Is a difference more than chance: intervals over seeds, paired bootstrap over test images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Wrong = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Summary:
    """Figures of one quantity over seeds; ``sd``, ``low`` and ``high`` need two seeds."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """A paired difference of errors in percentage points; negative is better than the baseline.

    ``low``, ``high``, ``p_value``: bootstrap over test images. ``seeds_p_value``: paired t-test
    over seeds, None below two seeds or where every seed shows the same difference.
    """

    seeds: int
    images: int
    difference: float
    low: float
    high: float
    p_value: float
    seeds_p_value: float | None


def summarise(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Mean, sample standard deviation (n − 1) and Student's t interval of the mean."""
    from scipy import stats

    if not values:
        raise ValueError("there is nothing to summarise")
    array = np.asarray(values, dtype=np.float64)
    n, mean = len(array), float(array.mean())
    if n < 2:
        return Summary(n, mean, None, None, None)
    sd = float(array.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - half, mean + half)


def paired_bootstrap(
    method: Sequence[Wrong],
    baseline: Sequence[Wrong],
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two methods on the same test images (Efron & Tibshirani 1993, chapters 13 and 16).

    For each image the difference of the errors is averaged over the seeds; then images are drawn
    with replacement. The interval (percentiles) and the p-value (two-sided, from the share of
    resamples on the other side of zero, ties counted on both) say how much of the difference is
    owed to these test images. They do not cover the randomness of training:
    ``seeds_p_value`` does.

    Args:
        method, baseline: one (N,) array a seed, true where the image is wrong; entry k of both
            had the same seed.

    Raises:
        ValueError: no seed, unequal numbers of seeds or of images.
    """
    from scipy import stats

    if not method or len(method) != len(baseline):
        raise ValueError("both sides need the same seeds, at least one")
    if len({len(wrong) for wrong in (*method, *baseline)}) != 1:
        raise ValueError("both sides need the same test images")
    a, b = np.stack(method).astype(np.int64), np.stack(baseline).astype(np.int64)
    seeds, images = a.shape
    per_image = (a - b).sum(axis=0)
    # An image enters only by its difference, one of 2·seeds + 1 values: drawing how often each
    # value occurs (a multinomial) is drawing the images, in a fraction of the time.
    values, counts = np.unique(per_image, return_counts=True)
    rng = np.random.default_rng(seed)
    # Whole numbers as long as they are compared with zero.
    draws = rng.multinomial(images, counts / images, size=resamples) @ values
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    at_least = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    p_value = min(1.0, 2 * (at_least + 1) / (resamples + 1))
    per_seed = 100 * (a - b).mean(axis=1)
    seeds_p: float | None = None
    if seeds > 1 and np.ptp(per_seed) > 0:
        seeds_p = float(stats.ttest_1samp(per_seed, 0.0).pvalue)
    scale = 100 / (seeds * images)
    return Difference(
        seeds=seeds,
        images=images,
        difference=float(per_image.sum() * scale),
        low=float(low * scale),
        high=float(high * scale),
        p_value=p_value,
        seeds_p_value=seeds_p,
    )
