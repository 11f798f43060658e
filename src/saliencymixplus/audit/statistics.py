"""Errors of the assigned λ, with bootstrap intervals and paired differences between recipes.

The bootstrap resamples whole batches, because many methods draw one box per batch and samples
within a batch are then not independent. All recipes mix the same batches and use the same
resamples, so that differences between recipes are paired. Resamples are weights on batches, and
one matrix product evaluates them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliencymixplus import bootstrap
from saliencymixplus.audit.records import Numbers, Records
from saliencymixplus.bootstrap import Difference, Estimate

# Descriptions of the metrics in tables.
METRICS = {
    "mean_absolute_error": "mean |λ − λ*|",
    "bias": "mean λ − λ* (above 0: too much for a)",
    "correlation": "Pearson correlation of λ and λ*",
    "area_mean_absolute_error": "mean |area λ − λ*| of the same samples",
    "area_gap": "mean |λ − λ*| − mean |area λ − λ*| (below 0: truer than the area)",
    "effective_mean_absolute_error": "mean |λ − λ*| of the λ that reaches the gradient",
    "spread": "s.d. of λ*: about the error of the best constant label",
    "no_object": "fraction of pasted regions without any object pixel of b",
    "hidden_object": "fraction of mixed images that hide a's object completely",
    "nothing_visible": "fraction of mixed images that show no object, where λ* is undefined",
    "map_on_object": "fraction of each saliency map that lies on the object",
    "peak_on_object": "fraction of the saliency maps whose peak is on the object",
    "object_area": "fraction of the pixels that are object: chance for the two above",
    "pixel_mean_absolute_error": "mean |λ − λ*| where λ* counts object pixels",
    "pixel_bias": "mean λ − λ* where λ* counts object pixels",
    "pixel_correlation": "correlation of λ and λ* where λ* counts object pixels",
}
COMPARED = ("mean_absolute_error", "bias", "no_object", "pixel_mean_absolute_error")


def bootstrap_weights(batches: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """Number of times each batch is drawn in each resample, (resamples, batches)."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, batches, (resamples, batches))
    drawn += np.arange(resamples)[:, None] * batches
    counts = np.bincount(drawn.ravel(), minlength=resamples * batches)
    return counts.reshape(resamples, batches).astype(np.float64)


@dataclass(frozen=True)
class Resamples:
    """Samples ``(n,)`` by batch, and how often each resample draws each batch, (R, batches)."""

    batch: NDArray[np.int64]
    weights: NDArray[np.float64]

    def sums(self, values: NDArray[Any]) -> Numbers:
        """The sum of ``values`` (n,) in every resample, (R,)."""
        per_batch = np.bincount(self.batch, values, minlength=self.weights.shape[1])
        found: Numbers = self.weights @ per_batch
        return found


def resampled(records: Records, weights: NDArray[np.float64]) -> dict[str, Numbers]:
    """Every metric on the data (entry 0) and on every resample: arrays ``(resamples + 1,)``.

    ``weights``, (resamples, batches), is indexed by ``records.batch``.
    """
    rows = Resamples(records.batch, np.concatenate([np.ones((1, weights.shape[1])), weights]))
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
        "map_on_object": _mean(records.map_on_object, rows),
        "peak_on_object": _mean(records.peak_on_object, rows),
        "object_area": _mean(records.object_area, rows),
        "pixel_mean_absolute_error": _mean(np.abs(pixel_errors), rows),
        "pixel_bias": _mean(pixel_errors, rows),
        "pixel_correlation": _correlation(records.lam, records.true_pixel_lam, rows),
    }


def estimates(samples: Mapping[str, Numbers]) -> dict[str, Estimate]:
    """Every metric in ``resampled``'s result, with its interval."""
    return {
        name: bootstrap.percentile_interval(values[0], values[1:])
        for name, values in samples.items()
    }


def differences(
    samples: Mapping[str, Numbers], baseline: Mapping[str, Numbers]
) -> dict[str, Difference]:
    """The metrics in ``COMPARED`` minus the baseline's, resample by resample."""
    gaps = {name: samples[name] - baseline[name] for name in COMPARED}
    return {name: bootstrap.difference(gap[0], gap[1:]) for name, gap in gaps.items()}


def _mean(values: Numbers, rows: Resamples) -> Numbers:
    """The mean of ``values`` (n,) without NaN on every resample, (R,)."""
    known = np.isfinite(values)
    total = rows.sums(known)
    with np.errstate(invalid="ignore"):
        return rows.sums(np.where(known, values, 0.0)) / np.where(total > 0, total, np.nan)


def _variance(values: Numbers, rows: Resamples) -> Numbers:
    centred = values - np.nanmean(values) if np.isfinite(values).any() else values
    return np.maximum(_mean(centred**2, rows) - _mean(centred, rows) ** 2, 0.0)


def _correlation(x: Numbers, y: Numbers, rows: Resamples) -> Numbers:
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    # Centring first keeps precision when the means are large.
    if both.any():
        x, y = x - np.nanmean(x), y - np.nanmean(y)
    mean_x, mean_y = _mean(x, rows), _mean(y, rows)
    covariance = _mean(x * y, rows) - mean_x * mean_y
    spread = (_mean(x * x, rows) - mean_x**2) * (_mean(y * y, rows) - mean_y**2)
    return np.where(spread > 1e-18, covariance / np.sqrt(np.maximum(spread, 1e-18)), np.nan)
