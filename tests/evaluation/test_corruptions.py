"""Corruptions: repeatable, stronger with severity, and equal to values computed by hand."""

from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from saliencymixplus.evaluation.accuracy import errors
from saliencymixplus.evaluation.classifier import predict_logits
from saliencymixplus.evaluation.corruptions import (
    CORRUPTIONS,
    GROUP,
    SEVERITIES,
    corrupt,
    corruption_errors,
)
from saliencymixplus.settings.evaluation import Corruption


@pytest.fixture(scope="module")
def photographs():
    """Twelve 32×32 pieces of real photographs."""
    import cv2

    pieces = []
    for name in ("china.jpg", "flower.jpg"):
        image = cv2.resize(load_sample_image(name), (192, 128), interpolation=cv2.INTER_AREA)
        pieces += [image[r : r + 32, c : c + 32] for r in (20, 60) for c in (10, 70, 130)]
    return np.stack(pieces)


def distance(one, two):
    return float(np.abs(one.astype(float) - two.astype(float)).mean())


def test_settings_and_registry_name_the_same():
    assert set(get_args(Corruption)) == set(CORRUPTIONS)
    assert {family for family, _ in CORRUPTIONS.values()} == {"noise", "blur", "weather", "digital"}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_grows(photographs, name):
    found = [
        distance(corrupt(photographs, name, severity, seed=0), photographs)
        for severity in SEVERITIES
    ]
    assert found[0] > 0.5  # of 255: visible from the first
    assert found == sorted(found)
    assert found[-1] > 1.3 * found[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [16, 31, 96])
def test_any_size_and_repeatable(name, side):
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    one = corrupt(images, name, 3, seed=5)
    assert one.shape == images.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, corrupt(images, name, 3, seed=5))


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "snow", "frost", "fog", "elastic", "motion_blur"]
)
def test_seed_image_and_severity_draw_anew(photographs, name):
    same = np.repeat(photographs[:1], 2, axis=0)
    found = corrupt(same, name, 2, seed=0)
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found, corrupt(same, name, 2, seed=1))


def test_an_image_is_corrupted_alike_however_many_follow():
    images = np.random.default_rng(0).integers(0, 256, (GROUP + 5, 8, 8, 3), np.uint8)
    whole = corrupt(images, "shot_noise", 3, seed=0)
    assert np.array_equal(whole[:GROUP], corrupt(images[:GROUP], "shot_noise", 3, seed=0))


def test_gaussian_noise_has_its_standard_deviation():
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    for severity, sd in zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.1), strict=True):
        found = corrupt(grey, "gaussian_noise", severity, seed=0).astype(float) / 255
        assert found.std() == pytest.approx(sd, rel=0.02)


def test_shot_noise_is_poisson():
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    found = corrupt(grey, "shot_noise", 5, seed=0).astype(float) / 255
    level = 128 / 255
    assert found.mean() == pytest.approx(level, rel=0.01)
    assert found.var() == pytest.approx(level / 50, rel=0.05)


def test_impulse_noise_hits_its_share_equally_black_and_white():
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    found = corrupt(grey, "impulse_noise", 5, seed=0)
    assert (found == 255).mean() == pytest.approx(0.035, rel=0.1)
    assert (found == 0).mean() == pytest.approx(0.035, rel=0.1)


def test_brightness_raises_the_value_and_keeps_hue_and_saturation():
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[..., :] = (100, 50, 25)
    found = corrupt(image, "brightness", 4, seed=0)[0, 0, 0].astype(float)
    assert found[0] == pytest.approx(100 + 0.2 * 255, abs=1)
    assert found / found[0] == pytest.approx([1, 0.5, 0.25], abs=0.01)


def test_contrast_shrinks_about_the_mean():
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, :16] = 200
    found = corrupt(image, "contrast", 3, seed=0)
    assert found[0, 0, 0, 0] == 140  # 100 + 0.4 · 100
    assert found[0, -1, 0, 0] == 60


def test_pixelate_makes_blocks_of_the_same_mean():
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    found = corrupt(images, "pixelate", 2, seed=0)  # half the side
    assert np.array_equal(found[:, ::2], found[:, 1::2])
    blocks = images.reshape(2, 112, 2, 112, 2, 3).mean((2, 4))
    assert np.abs(found[:, ::2, ::2] - blocks).max() <= 0.5


@pytest.mark.parametrize(
    ("side", "published"),
    [(32, (0.95, 0.9, 0.85, 0.75, 0.65)), (224, (0.6, 0.5, 0.4, 0.3, 0.25))],
)
def test_pixelate_has_as_many_blocks_as_the_published(side, published):
    """The levels of make_cifar_c.py and make_imagenet_c.py."""
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    for severity, fraction in zip(SEVERITIES, published, strict=True):
        rows = corrupt(images, "pixelate", severity, seed=0)[0]
        blocks = 1 + (rows[1:] != rows[:-1]).any((1, 2)).sum()
        assert blocks == round(fraction * side)


def test_rows_are_the_errors_of_the_corrupted_images(classifier):
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)
    labels = torch.arange(30) % 3
    rows = corruption_errors(
        classifier, images, labels, corruptions=("contrast", "jpeg"), batch_size=7, seed=0
    )
    assert [(row["corruption"], row["severity"]) for row in rows] == [
        (name, severity) for name in ("contrast", "jpeg") for severity in SEVERITIES
    ]
    logits = predict_logits(classifier, corrupt(images, "jpeg", 5, seed=0), 30)
    assert rows[-1]["top1_error"] == pytest.approx(errors(logits, labels)["top1_error"])
    assert rows[-1]["family"] == "digital"
