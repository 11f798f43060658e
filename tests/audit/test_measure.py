"""Which images are mixed, and what is measured."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from saliencymixplus.audit.measure import batches, record
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.mixing import create


@pytest.mark.parametrize(
    ("count", "images", "size"), [(24, 60, 8), (3, 3, 2), (2, 9, 16), (9, 1, 2)]
)
def test_batches_hold_no_image_twice_and_never_one(count, images, size):
    found = list(batches(np.arange(count) * 5, images, size, 0))
    assert all(len(batch) == len(set(batch)) >= 2 for batch in found)
    assert abs(sum(map(len, found)) - max(images, 2)) <= 1
    if images >= count:
        assert {i for batch in found for i in batch} == {*(np.arange(count) * 5).tolist()}


def test_where_the_maps_lie_is_measured_by_hand():
    """An object of 2 of 8 known pixels: 6/10 of the first map on it, all of the second."""
    masks = torch.zeros(2, 3, 3, dtype=torch.uint8)
    masks[:, 0, :2], masks[:, 2, 2] = 1, 2
    maps = torch.zeros(2, 3, 3)
    maps[:, 0, :2], maps[:, 2, 2] = 3.0, 99.0  # what lies on unknown pixels does not count
    maps[0, 1, 1] = 4.0  # the first map's peak
    batch = SimpleNamespace(masks=masks, labels=torch.tensor([0, 1]))
    images = torch.zeros(2, 3, 3, 3)
    for mixer, expected in (
        (create("saliencymixplus"), [(0.6, 0.0), (1.0, 1.0)]),
        (create("cutmix"), [(np.nan, np.nan)] * 2),
    ):
        mixed = mixer(
            images,
            batch.labels,
            generator=torch.Generator().manual_seed(0),
            saliency=maps if mixer.needs_model else None,
        )
        found = record(mixed, batch, np.arange(2))
        assert found.object_area == pytest.approx([2 / 8] * 2)
        assert [*zip(found.map_on_object, found.peak_on_object, strict=True)] == [
            pytest.approx(pair, nan_ok=True) for pair in expected
        ]


def test_only_annotated_images_are_mixed(rectangles):
    masks = np.load(rectangles / "train_masks.npy")
    masks[5:] = 2
    np.save(rectangles / "train_masks.npy", masks)
    assert load_prepared(rectangles).split("train").annotated().tolist() == [0, 1, 2, 3, 4]
