"""The audit's metrics against numpy, its bootstrap against a loop, its intervals on known cases."""

import numpy as np
import pytest

from saliencymixplus.audit.figures import errors_figure
from saliencymixplus.audit.records import Records
from saliencymixplus.audit.statistics import (
    bootstrap_weights,
    differences,
    estimates,
    resampled,
)
from saliencymixplus.bootstrap import Estimate


def records(lam, true, *, batch=None, area=None, visible_a=1.0, visible_b=1.0, region=0.5):
    lam, true = np.asarray(lam, float), np.asarray(true, float)
    n = len(lam)
    whole = np.arange(n)
    return Records(
        batch=whole if batch is None else np.asarray(batch),
        image_a=whole,
        image_b=whole,
        label_a=whole,
        label_b=whole,
        lam=lam,
        effective_lam=lam,
        area_lam=lam if area is None else np.asarray(area, float),
        visible_a=np.broadcast_to(np.asarray(visible_a, float), n),
        visible_b=np.broadcast_to(np.asarray(visible_b, float), n),
        true_lam=true,
        true_pixel_lam=true,
        region=np.broadcast_to(np.asarray(region, float), n),
        map_on_object=np.full(n, np.nan),
        object_area=np.full(n, 0.25),
        peak_on_object=np.full(n, np.nan),
    )


def values(taken, batches=None, resamples=200):
    weights = bootstrap_weights(batches or len(taken), resamples, 0)
    return estimates(resampled(taken, weights))


def test_metrics_by_hand():
    found = values(records([0.5, 0.8, 0.2, 0.9], [0.4, 0.9, 0.4, np.nan], area=[0.4, 0.9, 0.3, 0]))
    assert found["mean_absolute_error"].value == pytest.approx((0.1 + 0.1 + 0.2) / 3)
    assert found["bias"].value == pytest.approx((0.1 - 0.1 - 0.2) / 3)
    assert found["area_mean_absolute_error"].value == pytest.approx(0.1 / 3)
    assert found["area_gap"].value == pytest.approx(0.3 / 3)
    assert found["nothing_visible"].value == 1 / 4


def test_no_object_counts_pasted_regions_only():
    taken = records(
        [1, 0.5, 0.5, 0.5], [1, 1, 0.5, 0.5], visible_b=[0, 0, 1, 1], region=[0, 1, 1, 1]
    )
    assert values(taken)["no_object"].value == pytest.approx(1 / 3)


def test_correlation_and_spread_are_numpys():
    generator = np.random.default_rng(0)
    lam, true = generator.random(50), generator.random(50)
    found = values(records(lam, true))
    assert found["correlation"].value == pytest.approx(np.corrcoef(lam, true)[0, 1])
    assert found["spread"].value == pytest.approx(true.std())


def test_a_constant_label_has_no_correlation():
    assert np.isnan(values(records([0.5] * 5, np.linspace(0, 1, 5)))["correlation"].value)


def test_every_resample_is_the_metric_of_its_repeated_rows():
    generator = np.random.default_rng(2)
    lam, true, batch = generator.random(12), generator.random(12), np.arange(12) // 3
    taken = records(lam, true, batch=batch)
    weights = bootstrap_weights(4, 20, 5)
    found = resampled(taken, weights)
    for i, drawn in enumerate(weights.astype(int)):
        rows = np.concatenate(
            [np.flatnonzero(batch == k) for k in range(4) for _ in range(drawn[k])]
        )
        errors = lam[rows] - true[rows]
        assert found["mean_absolute_error"][i + 1] == pytest.approx(np.abs(errors).mean())
        assert found["bias"][i + 1] == pytest.approx(errors.mean())
        expected = np.corrcoef(lam[rows], true[rows])[0, 1]
        assert found["correlation"][i + 1] == pytest.approx(expected)


def test_samples_of_one_batch_are_one_piece_of_evidence():
    # The same 8 numbers, as 8 batches and as 2: two independent boxes say less than eight.
    lam = np.array([0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9])
    apart = values(records(lam, np.full(8, 0.0)), resamples=2000)["bias"]
    together = values(records(lam, np.full(8, 0.0), batch=[0] * 4 + [1] * 4), 2, 2000)["bias"]
    assert together.high - together.low > apart.high - apart.low


def test_interval_covers_the_known_mean():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        true = np.zeros(60)
        bias = values(records(generator.normal(0.2, 0.1, 60), true), resamples=400)["bias"]
        hits += bias.low <= 0.2 <= bias.high
    assert 88 <= hits <= 100


def test_paired_difference_is_sharper_than_its_parts():
    generator = np.random.default_rng(4)
    true = generator.random(100)
    shared = generator.normal(0, 0.3, 100)
    weights = bootstrap_weights(100, 1000, 0)
    first = resampled(records(true + np.abs(shared) + 0.02, true), weights)
    second = resampled(records(true + np.abs(shared), true), weights)
    gap = differences(first, second)["mean_absolute_error"]
    assert gap.value == pytest.approx(0.02)
    assert gap.high - gap.low < 1e-9
    assert gap.p_value == pytest.approx(2 / 1001)
    same = differences(first, first)["mean_absolute_error"]
    assert (same.value, same.p_value) == (0, 1)


def test_marks_at_the_far_end_of_a_figure_are_whole():
    def at(value: float) -> Estimate:
        return Estimate(value, value, value)

    names = ("mean_absolute_error", "area_mean_absolute_error", "bias", "no_object")
    values = dict(zip(names, map(at, (0.06, 0.096, 0.02, 0.1)), strict=True))
    figure = errors_figure({"saliencymixplus": values})
    figure.canvas.draw()
    left = figure.axes[0]
    mark = next(line for line in left.lines if line.get_markerfacecolor() == "none")
    ((x, _),) = left.transData.transform(mark.get_xydata())
    radius = mark.get_markersize() / 2 * figure.dpi / 72
    assert x + radius <= left.bbox.x1
