"""Calibration error against a naive loop and torchmetrics; the temperature against its optimum."""

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from saliencymixplus.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    reliability_bins,
)


@pytest.fixture
def batch():
    """Labels drawn from the softmax of the logits: calibrated."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(4000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return logits, labels


def naive_ece(logits, labels, bins):
    gaps = [0.0] * bins
    for scores, label in zip(logits.double().softmax(1), labels, strict=True):
        confidence, predicted = scores.max(0)
        index = min(int(float(confidence) * bins), bins - 1)
        gaps[index] += float(confidence) - float(predicted == label)
    return 100 * sum(map(abs, gaps)) / len(labels)


def test_calibration_error_agrees_with_a_naive_loop(batch):
    logits, labels = batch
    assert calibration_error(3 * logits, labels, 15) == pytest.approx(
        naive_ece(3 * logits, labels, 15), abs=1e-3
    )


@pytest.mark.parametrize("bins", [10, 15])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_calibration_error_agrees_with_torchmetrics(batch, factor, bins):
    logits, labels = batch
    expected = multiclass_calibration_error(
        (factor * logits).double().softmax(1), labels, 5, n_bins=bins, norm="l1"
    )
    # torchmetrics adds up in single precision.
    found = calibration_error(factor * logits, labels, bins)
    assert found == pytest.approx(100 * float(expected), abs=1e-3)


def test_two_images_by_hand():
    logits = torch.tensor([[0.9, 0.1], [0.8, 0.2]]).log()
    labels = torch.tensor([0, 1])
    assert calibration_error(logits, labels, 10) == pytest.approx(100 * (0.1 + 0.8) / 2)


def test_reliability_holds_the_same_error(batch):
    logits, labels = batch
    rows = reliability_bins(2 * logits, labels, 15)
    gap = sum(
        row["share"] * abs(row["confidence"] - row["accuracy"]) for row in rows if row["images"]
    )
    assert sum(row["images"] for row in rows) == 4000
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert 100 * gap == pytest.approx(calibration_error(2 * logits, labels, 15), abs=1e-3)


def test_empty_bins_have_no_figures(batch):
    row = reliability_bins(*batch, 15)[0]  # the best of five classes has at least a fifth
    assert row["images"] == 0
    assert row["confidence"] is None
    assert row["accuracy"] is None


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_temperature_undoes_a_scaling(batch, factor):
    logits, labels = batch
    temperature = fit_temperature(factor * logits, labels)
    assert temperature == pytest.approx(factor, rel=0.06)
    scaled = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(factor * logits.double() / scaled, labels).backward()
    assert abs(float(scaled.grad)) < 1e-4  # the optimum


def test_temperature_improves_calibration(batch):
    logits, labels = batch
    sharp = 4 * logits
    scaled = sharp / fit_temperature(sharp, labels)
    assert calibration_error(scaled, labels, 15) < 0.3 * calibration_error(sharp, labels, 15)


def test_temperature_stays_finite_when_all_are_right():
    logits = 5 * torch.eye(4)
    assert 0.04 < fit_temperature(logits, torch.arange(4)) < 21
