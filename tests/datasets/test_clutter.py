"""The source ``clutter``: its pictures and masks, with the same bytes on every machine."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits

from saliencymixplus.datasets.sources.clutter import Clutter
from saliencymixplus.datasets.sources.digits import ARCHIVE, embedded
from saliencymixplus.settings import (
    ClutterSettings,
    DataSettings,
    DownloadSettings,
    ExperimentSettings,
)

CLUTTER = DownloadSettings(source="clutter")
# Of the arrays that the settings below give. Only a deliberate change of the pictures may move it.
DIGEST = "213fe61542f39790c69cb1f52f23f935373a18c334e0d8536fdbf2091f2e59a3"


class Pictures(NamedTuple):
    """Some pictures of a split."""

    files: tuple[str, ...]
    labels: Any
    images: Any  # (N, S, S, 3) int64
    masks: Any  # (N, S, S) bool


@pytest.fixture
def draw(tmp_path: Path) -> Any:
    (tmp_path / ARCHIVE).write_bytes(embedded())

    def run(size: int, split: str = "test", every: int = 7, **clutter: Any) -> Pictures:
        settings = {"object_size": 8, "scrap_size": 4} | clutter
        source = Clutter(tmp_path, size, ClutterSettings.model_validate(settings))
        found: dict[str, list[Any]] = {"images": [], "masks": []}
        for piece in source.pieces():
            if piece.split == split and piece.row % every == 0:
                found[piece.kind].append(piece.make())
        images, masks = np.array(found["images"]), np.array(found["masks"])
        assert (images.dtype, masks.dtype) == (np.uint8, np.uint8)
        listing = source.listing
        return Pictures(
            listing.files[split][::every],
            listing.labels[split][::every],
            images.astype(int),
            masks == 1,
        )

    return run


def test_the_bytes_are_the_same_everywhere(bench: Any) -> None:
    clutter = {"object_size": 8, "object_size_max": 12, "scraps": 3, "scrap_size": 4, "seed": 5}
    prepared = bench.run(CLUTTER, image_size=16, clutter=clutter)
    assert prepared.meta.counts == {"train": 1437, "test": 360}
    assert prepared.meta.digest == DIGEST
    assert prepared.split("train").masks is not None


def test_without_scraps_a_picture_is_a_tinted_digit_on_its_ground(draw: Any) -> None:
    """At 8 pixels nothing is enlarged, so that scikit-learn's table says what each pixel is."""
    truth = load_digits()
    found, places = draw(20, scraps=0), set()
    for name, label, image, mask in zip(*found, strict=True):
        index = int(name.split("_")[1])
        assert label == truth.target[index]
        glyph = np.rint(truth.images[index] * 255 / 16)
        ink = glyph >= 64
        assert mask.sum() == ink.sum()
        top, left = np.argwhere(mask).min(0) - np.argwhere(ink).min(0)
        np.testing.assert_array_equal(mask[top : top + 8, left : left + 8], ink)
        places.add((int(top), int(left)))
        full = image[top : top + 8, left : left + 8][glyph == 255]
        assert len(np.unique(full, axis=0)) <= 1  # nothing but the tint
        assert (full >= 128).all()
    assert len(places) > 30


def test_contrast_is_the_opacity_of_the_ink(draw: Any) -> None:
    """Half opaque is halfway between the tint and the ground, which 1 % shows almost bare."""
    strong, half, weak = (draw(16, scraps=0, contrast=c) for c in (100, 50, 1))
    where = strong.masks
    assert np.abs(2 * half.images - strong.images - weak.images)[where].max() <= 4
    assert (strong.images - weak.images)[where].mean() > 20


def test_scraps_change_the_surroundings_and_never_the_object(draw: Any) -> None:
    bare, full = draw(24, scraps=0), draw(24, scraps=9)
    np.testing.assert_array_equal(bare.masks, full.masks)
    changed = (bare.images != full.images).any(3)
    assert 0.1 < changed[~bare.masks].mean() < 0.6


def test_splits_share_no_digit(draw: Any) -> None:
    shown = {
        split: {name.split("_")[1] for name in draw(8, split, every=1, scraps=0).files}
        for split in ("train", "test")
    }
    assert not shown["train"] & shown["test"]
    assert len(shown["train"] | shown["test"]) == 1797


def test_fewer_training_digits_are_the_first_of_all_classes(draw: Any) -> None:
    few, all_ = (draw(8, "train", every=1, scraps=0, train_digits=n) for n in (100, None))
    assert few.files == all_.files[:100]
    np.testing.assert_array_equal(few.images, all_.images[:100])
    assert (np.bincount(few.labels) >= 7).all()


def test_more_placements_keep_the_first(draw: Any) -> None:
    one, more = draw(16, every=1, scraps=2), draw(16, every=1, scraps=2, test_placements=3)
    assert len(more.files) == len(set(more.files)) == 3 * 360
    np.testing.assert_array_equal(more.images[:360], one.images)
    np.testing.assert_array_equal(more.labels, np.tile(one.labels, 3))
    assert (more.images[:360] != more.images[360:720]).any((1, 2, 3)).all()


def test_object_sizes_span_their_range(draw: Any) -> None:
    found = draw(32, object_size_max=24, scraps=0)
    heights = found.masks.any(2).sum(1)
    assert heights.min() <= 10
    assert heights.max() >= 22


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"image_size": 16, "clutter": {"object_size": 17}}, "17 pixels does not fit"),
        ({"image_size": 16, "clutter": {"object_size_max": 20}}, "20 pixels does not fit"),
        ({"clutter": {"object_size": 3}}, "greater than or equal to 4"),
        ({"clutter": {"object_size": 12, "object_size_max": 11}}, "must not be below"),
        ({"clutter": {"object_size": 8, "scrap_size": 9}}, "must not be above"),
        ({"clutter": {"contrast": 0}}, "greater than or equal to 1"),
        ({"validation_fraction": 0.1, "clutter": {"train_placements": 2}}, "validation_fraction"),
    ],
)
def test_settings_that_make_no_sense_are_refused(data: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSettings.model_validate(data)


def test_clutter_settings_go_with_clutter_only() -> None:
    data = {"clutter": {"scraps": 3}}
    ExperimentSettings.model_validate({"download": {"source": "clutter"}, "data": data})
    with pytest.raises(ValidationError, match="source: clutter"):
        ExperimentSettings.model_validate({"download": {"source": "digits"}, "data": data})
