"""Errors of the assigned λ, with bootstrap intervals and paired differences between recipes.

The bootstrap draws whole batches with replacement (Efron and Tibshirani 1993), as weights: many
methods draw one box for a batch, whose samples are then no independent evidence. Every recipe
mixes the same batches and is weighed alike, which makes differences between recipes paired. All
resamples are one matrix product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliencymixplus.audit.records import Numbers, Records

#: metric -> what it is, for tables
METRICS = {
    "mean_absolute_error": "mean |λ − λ*|",
    "bias": "mean λ − λ* (above 0: too much for a)",
    "correlation": "Pearson correlation of λ and λ*",
    "area_mean_absolute_error": "mean |area λ − λ*| of the same samples",
    "area_gap": "mean |λ − λ*| − mean |area λ − λ*| (below 0: truer than the area)",
    "effective_mean_absolute_error": "mean |λ − λ*| of the λ that reaches the gradient",
    "spread": "s.d. of λ*: roughly what the best constant label would be off by",
    "no_object": "share of pasted regions without any object pixel of b",
    "hidden_object": "share of mixed images that hide a's object wholly",
    "nothing_visible": "share of mixed images that show no object at all: λ* is undefined there",
    "pixel_mean_absolute_error": "mean |λ − λ*| where λ* counts object pixels",
    "pixel_bias": "mean λ − λ* where λ* counts object pixels",
    "pixel_correlation": "correlation of λ and λ* where λ* counts object pixels",
}


@dataclass(frozen=True)
class Estimate:
    """A metric with the percentile bootstrap's 95 % interval; NaN where it has no meaning."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """A recipe's metric minus a baseline's, with the two-sided bootstrap p-value."""

    p_value: float


def bootstrap_weights(batches: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each batch is drawn in each resample: ``(resamples, batches)``."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, batches, (resamples, batches))
    drawn += np.arange(resamples)[:, None] * batches
    counts = np.bincount(drawn.ravel(), minlength=resamples * batches)
    return counts.reshape(resamples, batches).astype(np.float64)


def resampled(records: Records, weights: NDArray[np.float64]) -> dict[str, Numbers]:
    """Every metric on the data (entry 0) and on every resample: arrays of ``resamples + 1``.

    ``weights (resamples, batches)`` are indexed by ``records.batch``.
    """
    rows = np.concatenate([np.ones((1, len(records))), weights[:, records.batch]])
    errors = records.lam - records.true_lam
    area = np.abs(records.area_lam - records.true_lam)
    pixel_errors = records.lam - records.true_pixel_lam
    pasted = np.where(records.region > 0, 1.0, np.nan)
    mae = _mean(np.abs(errors), rows)
    area_mae = _mean(area, rows)
    return {
        "mean_absolute_error": mae,
        "bias": _mean(errors, rows),
        "correlation": _correlation(records.lam, records.true_lam, rows),
        "area_mean_absolute_error": area_mae,
        "area_gap": mae - area_mae,
        "effective_mean_absolute_error": _mean(
            np.abs(records.effective_lam - records.true_lam), rows
        ),
        "spread": np.sqrt(_variance(records.true_lam, rows)),
        "no_object": _mean(np.where(records.visible_b > 0, 0.0, 1.0) * pasted, rows),
        "hidden_object": _mean(np.where(records.visible_a > 0, 0.0, 1.0), rows),
        "nothing_visible": _mean(np.where(np.isfinite(records.true_lam), 0.0, 1.0), rows),
        "pixel_mean_absolute_error": _mean(np.abs(pixel_errors), rows),
        "pixel_bias": _mean(pixel_errors, rows),
        "pixel_correlation": _correlation(records.lam, records.true_pixel_lam, rows),
    }


def estimates(samples: Mapping[str, Numbers]) -> dict[str, Estimate]:
    """The interval of every metric that ``resampled`` gave."""
    return {name: Estimate(*_interval(values)) for name, values in samples.items()}


def differences(
    samples: Mapping[str, Numbers], baseline: Mapping[str, Numbers]
) -> dict[str, Difference]:
    """Every metric minus the baseline's, resample by resample."""
    result = {}
    for name, values in samples.items():
        gap = values - baseline[name]
        draws = gap[1:][np.isfinite(gap[1:])]
        # One more draw on either side: no p-value is exactly 0 (Davison and Hinkley 1997).
        tail = min((draws <= 0).sum(), (draws >= 0).sum()) + 1
        p = min(1.0, 2.0 * float(tail) / (len(draws) + 1)) if len(draws) else np.nan
        result[name] = Difference(*_interval(gap), p)
    return result


def _interval(values: Numbers) -> tuple[float, float, float]:
    draws = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not len(draws):
        return (np.nan, np.nan, np.nan)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(values[0]), float(low), float(high)


def _mean(values: Numbers, weights: NDArray[np.float64]) -> Numbers:
    """Weighted means over the entries that are numbers: ``(n,)``, ``(R, n)`` -> ``(R,)``."""
    known = np.isfinite(values)
    total = weights @ known.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (weights @ np.where(known, values, 0.0)) / np.where(total > 0, total, np.nan)


def _variance(values: Numbers, weights: NDArray[np.float64]) -> Numbers:
    centred = values - np.nanmean(values) if np.isfinite(values).any() else values
    return np.maximum(_mean(centred**2, weights) - _mean(centred, weights) ** 2, 0.0)


def _correlation(x: Numbers, y: Numbers, weights: NDArray[np.float64]) -> Numbers:
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    # About the plain means: the products then lose no digits to large offsets.
    if both.any():
        x, y = x - np.nanmean(x), y - np.nanmean(y)
    mean_x, mean_y = _mean(x, weights), _mean(y, weights)
    covariance = _mean(x * y, weights) - mean_x * mean_y
    spread = (_mean(x * x, weights) - mean_x**2) * (_mean(y * y, weights) - mean_y**2)
    return np.where(spread > 1e-18, covariance / np.sqrt(np.maximum(spread, 1e-18)), np.nan)
