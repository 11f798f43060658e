"""Kernels, fields and warps against scipy, numpy and geometry."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from saliencymixplus.evaluation.distortions import (
    disc_kernel,
    filtered,
    fractal_fields,
    jpeg,
    line_kernels,
    warped,
    zoomed,
)


@pytest.fixture
def images():
    return torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.3, 5.0])
def test_disc_has_its_area_and_radius(radius):
    kernel = disc_kernel(radius)[0]
    full = kernel.max()
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    if radius >= 1:  # below, no pixel is covered whole
        assert 1 / float(full) == pytest.approx(math.pi * radius**2, rel=0.03)
    assert torch.allclose(kernel, kernel.flip(0))
    assert torch.allclose(kernel, kernel.T)


def test_line_is_as_long_and_as_steep_as_asked():
    angles = np.array([0.0, math.pi / 2, math.pi / 4])
    flat, upright, slant = line_kernels(5.0, angles).numpy()
    assert flat.sum() == pytest.approx(1, abs=1e-6)
    assert flat[flat.shape[0] // 2].sum() == pytest.approx(1, abs=1e-6)
    assert np.allclose(upright, flat.T, atol=1e-6)
    assert np.allclose(slant, slant.T, atol=1e-6)
    columns = np.arange(flat.shape[1]) - flat.shape[1] // 2
    # The variance of a line of length L is L²/12; drawing it with bilinear weights adds some.
    assert (flat.sum(0) * columns**2).sum() == pytest.approx(25 / 12, rel=0.15)


def test_filtered_is_a_correlation_with_mirrored_border(images):
    kernels = torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(1))
    found = filtered(images, kernels)
    for image, kernel, result in zip(images, kernels, found, strict=True):
        for channel in range(3):
            expected = ndimage.correlate(image[channel].numpy(), kernel.numpy(), mode="mirror")
            assert np.allclose(result[channel].numpy(), expected, atol=1e-5)


def test_one_kernel_for_all(images):
    kernel = disc_kernel(1.5)
    assert torch.allclose(filtered(images, kernel), filtered(images, kernel.expand(3, -1, -1)))


def test_a_kernel_larger_than_the_image_keeps_its_brightness():
    assert torch.allclose(
        filtered(torch.full((1, 3, 4, 4), 0.3), disc_kernel(6.0)), torch.full((1, 3, 4, 4), 0.3)
    )


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_fields_fill_the_range_and_get_smoother(exponent):
    fields = fractal_fields(20, 32, np.random.default_rng(0), exponent=exponent)
    rougher = fractal_fields(20, 32, np.random.default_rng(0), exponent=exponent - 0.5)
    assert fields.min() == 0
    assert fields.max() == 1
    assert np.abs(np.diff(fields, axis=1)).mean() < np.abs(np.diff(rougher, axis=1)).mean()


def test_no_shift_changes_nothing(images):
    assert torch.allclose(warped(images, torch.zeros(3, 12, 12, 2)), images, atol=1e-5)


def test_whole_shift_moves_pixels(images):
    shift = torch.zeros(3, 12, 12, 2)
    shift[..., 0] = 2  # x
    assert torch.allclose(warped(images, shift)[..., :-2], images[..., 2:], atol=1e-5)


def test_zoom_keeps_the_centre_and_enlarges(images):
    assert torch.allclose(zoomed(images, 1.0), images, atol=1e-5)
    ramp = torch.linspace(-11, 11, 12).expand(1, 1, 12, 12)
    inner = zoomed(ramp, 2.0)[..., 1:-1]
    assert torch.allclose(inner, ramp[..., 1:-1] / 2, atol=1e-4)


def test_jpeg_is_near_and_in_the_right_channels():
    image = torch.zeros(1, 3, 16, 16)
    image[:, 0] = 0.8  # red
    decoded = jpeg(image, 95)
    assert torch.allclose(decoded, image, atol=0.03)
