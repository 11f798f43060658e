"""Occlusion masks of the requested area; error curves and their mean."""

import numpy as np
import pytest
import torch
from sklearn.metrics import auc

from saliencymixplus.evaluation.accuracy import errors
from saliencymixplus.evaluation.classifier import predict_logits
from saliencymixplus.evaluation.occlusion import (
    CELLS,
    cell_masks,
    centre_mask,
    mean_error,
    occlusion_errors,
)


@pytest.mark.parametrize("side", [16, 17, 32, 224])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_centre_square_is_centred_and_as_large_as_asked(side, share):
    mask = centre_mask(side, share)[0, 0]
    rows = mask.any(1).nonzero()[:, 0]
    assert float(mask.float().mean()) == pytest.approx(share, abs=1.1 / side)
    assert abs(int(rows[0]) - (side - 1 - int(rows[-1]))) <= 1


@pytest.mark.parametrize("side", [16, 17, 224])
def test_cells_cover_their_share_and_grow(side):
    orders = torch.rand(5, CELLS**2, generator=torch.Generator().manual_seed(0)).argsort(1)
    small, large = cell_masks(side, 0.25, orders), cell_masks(side, 0.75, orders)
    assert small.shape == (5, 1, side, side)
    assert (large | ~small).all()
    assert float(large.float().mean()) == pytest.approx(0.75, abs=0.05)
    assert not torch.equal(small[0], small[1])


def test_all_cells_are_the_whole_image():
    orders = torch.arange(CELLS**2)[None]
    assert cell_masks(19, 1.0, orders).all()


def test_rows_begin_with_the_clean_error_and_state_what_was_removed(classifier):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    labels = torch.arange(12) % 3
    rows = occlusion_errors(classifier, images, labels, fractions=(0.5, 0.2), batch_size=5, seed=0)
    clean = errors(predict_logits(classifier, images, 12), labels)["top1_error"]
    for kind in ("centre", "random"):
        curve = [row for row in rows if row["kind"] == kind]
        assert [row["share"] for row in curve] == sorted(row["share"] for row in curve)
        assert curve[0]["share"] == 0
        assert curve[0]["top1_error"] == pytest.approx(clean)
    centre = [row["share"] for row in rows if row["kind"] == "centre"]
    assert centre == [0, 16 / 64, 36 / 64]  # squares of 4 and 6 pixels of 8


def test_removed_pixels_do_not_matter(classifier):
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (6, 8, 8, 3), np.uint8)
    other = images.copy()
    other[:, 1:7, 1:7] = generator.integers(0, 256, (6, 6, 6, 3), np.uint8)
    labels = torch.zeros(6, dtype=torch.long)
    options = {"fractions": (0.56,), "batch_size": 6, "seed": 0}
    one = occlusion_errors(classifier, images, labels, **options)
    two = occlusion_errors(classifier, other, labels, **options)
    assert one[1] == two[1]  # the centre


def test_mean_error_is_the_area_under_the_curve():
    shares, found = [0.0, 0.1, 0.4, 0.8], [5.0, 10.0, 40.0, 90.0]
    rows = [
        {"kind": "centre", "share": s, "top1_error": e} for s, e in zip(shares, found, strict=True)
    ]
    assert mean_error(rows, "centre") == pytest.approx(auc(shares, found) / 0.8)
