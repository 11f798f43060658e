"""The grid of mixed samples: pixels, marks and text, and its speed."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ImageDraw

from saliencymixplus.mixing import MixedBatch
from saliencymixplus.pictures import grid
from saliencymixplus.pictures.drawing import (
    COLOUR_B,
    draw_box,
    font,
    heat,
    panel_size,
    scaled,
    wrap_text,
)
from saliencymixplus.pictures.grid import draw_samples, samples_of

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
CLASSES = ["cat", "american_pit_bull_terrier_of_an_exceptionally_long_name", "dog"]
META = SimpleNamespace(mean=MEAN, std=STD, classes=CLASSES)


def batch(size: int, count: int = 8, boxes: bool = True, saliency: bool = True):
    """Each image of one grey level (10·i); a 4×6 box of b in the corner of a."""
    levels = (torch.arange(count) * 10.0).view(-1, 1, 1, 1).expand(-1, 3, size, size) / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    images = (levels - mean) / std
    index_a = torch.arange(count)
    index_b = (index_a + 1) % count
    mask = torch.zeros(count, 1, size, size)
    mask[:, :, :4, :6] = 1
    labels = torch.arange(count) % 3
    return (
        MixedBatch(
            images=images * (1 - mask) + images[index_b] * mask,
            labels_a=labels,
            labels_b=labels[index_b],
            lam=torch.full((count,), 0.25),
            index_a=index_a,
            index_b=index_b,
            boxes=torch.tensor([[0, 0, 4, 6]] * count) if boxes else None,
            area_lam=1 - mask.mean((1, 2, 3)),
            mask=mask,
            saliency=torch.rand(count, size, size) if saliency else None,
        ),
        images,
        labels,
    )


def draw(mixed, images, labels, *, title="", **more):
    shown = samples_of(mixed, images, labels, META, **more)
    return draw_samples(shown, title=title)


def test_panels_hold_the_denormalised_pixels_of_both_sources_and_the_mix():
    mixed, images, labels = batch(16)
    sample = samples_of(mixed, images, labels, META)[3]
    assert np.unique(sample.a).tolist() == [30]
    assert np.unique(sample.b).tolist() == [40]
    assert (sample.mixed[:4, :6] == 40).all()
    assert (sample.mixed[4:] == 30).all()
    a, _, b, _, result = grid.sample_panels(sample, (128, 128), maps=True)
    assert np.unique(a).tolist() == [30]
    assert (b[100:, 100:] == 40).all()
    assert (result[2:30, 2:46] == 40).all()  # 8 × (4, 6), its frame lies outside
    assert (result[40:, :] == 30).all()


def test_grid_holds_the_panels():
    mixed, images, labels = batch(16)
    picture = draw(mixed, images, labels, count=2)
    for level in (0, 10, 20):
        assert (picture == level).all(axis=2).sum() > 1000
    assert (picture == COLOUR_B).all(axis=2).any()


def test_names_have_spaces_for_underscores():
    mixed, images, labels = batch(8)
    named = samples_of(mixed, images, labels, META)
    assert [s.name_a for s in named[:3]] == ["cat", CLASSES[1].replace("_", " "), "dog"]


@pytest.mark.parametrize("size", [8, 16, 28, 32, 96, 224])
@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("saliency", [True, False])
def test_any_size_is_no_wider_than_1400_and_quick(size, boxes, saliency):
    mixed, images, labels = batch(size, boxes=boxes, saliency=saliency)
    draw(mixed, images, labels, title="warm up")
    start = time.process_time()
    picture = draw(mixed, images, labels, title="saliencymixplus")
    assert time.process_time() - start < 1  # 0.1 s, and more on a busy machine or with coverage
    assert picture.dtype == np.uint8
    assert picture.shape[1] <= 1400
    assert picture.shape[0] <= 1000


def test_a_given_saliency_is_shown_where_the_method_has_none():
    mixed, images, labels = batch(16, saliency=False)
    assert (
        draw(mixed, images, labels, saliency=torch.rand(8, 16, 16)).shape
        != draw(mixed, images, labels).shape
    )


def test_captions_name_classes_share_and_lam(monkeypatch):
    written: list[str] = []
    original = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, at, text, *rest, **more: (
            written.append(text),
            original(self, at, text, *rest, **more),
        )[1],
    )
    mixed, images, labels = batch(16)
    draw(mixed, images, labels, count=1, title="saliencymixplus, published")
    assert {"cat", "λ 0.25", "area 0.91", "saliencymixplus, published"} <= set(written)


def test_no_sample_is_no_crash():
    mixed, images, labels = batch(16)
    assert draw(mixed, images, labels, count=0).ndim == 3


@pytest.mark.parametrize(
    ("side", "expected"), [(16, 128), (32, 128), (28, 112), (100, 100), (224, 132)]
)
def test_small_images_grow_by_whole_multiples(side, expected):
    assert panel_size(side, side) == (expected, expected)


def test_enlarging_is_sharp():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(scaled(pixels, (15, 21)), pixels.repeat(3, 0).repeat(3, 1))


def test_a_box_hides_nothing_inside_and_an_empty_box_draws_nothing():
    black = np.zeros((100, 100, 3), np.uint8)
    framed = draw_box(black, (2, 3, 6, 8), (10, 10))
    assert (framed[20:60, 30:80] == 0).all()
    assert (framed[19, 30:80] == COLOUR_B).all()
    assert not draw_box(black, (3, 3, 3, 5), (10, 10)).any()


@pytest.mark.parametrize("values", [0.0, 1.0, np.nan, np.inf])
def test_heat_of_a_flat_or_broken_map_is_a_picture(values):
    assert heat(np.full((4, 4, 3), 200, np.uint8), np.full((4, 4), values)).shape == (4, 4, 3)


def test_heat_is_brightest_at_the_peak():
    peak = np.zeros((6, 6))
    peak[2, 4] = 1
    glow = heat(np.full((6, 6, 3), 100, np.uint8), peak).sum(axis=2)
    assert np.unravel_index(glow.argmax(), glow.shape) == (2, 4)


def test_text_fits_its_room():
    for text in ("cat", "american pit bull terrier", "x" * 80, "a b " * 30):
        lines = wrap_text(text, 128, 12)
        assert 1 <= len(lines) <= 2
        assert all(font(12).getlength(line) <= 128 for line in lines)
