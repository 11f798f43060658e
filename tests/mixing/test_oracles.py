"""Mixing against torchvision's MixUp and CutMix, and saliency against OpenCV's."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2
from torchvision.transforms.functional import gaussian_blur

from saliencymixplus import mixing
from saliencymixplus.mixing.saliency import smooth
from saliencymixplus.mixing.spectral import grey, spectral_residual


class Fixed:
    """Stands for torchvision's Beta distribution: always the same draw."""

    def __init__(self, value: float) -> None:
        self.value = value

    def sample(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor([self.value], dtype=torch.float64)


def rolled(count: int) -> torch.Tensor:
    """torchvision pairs each image with the one before it."""
    return torch.arange(count).roll(1)


@pytest.mark.parametrize("lam0", [0.0, 0.3, 0.75, 1.0])
def test_mixup_is_torchvisions(lam0: float) -> None:
    images, labels = torch.randn(6, 3, 10, 14), torch.arange(6) % 4
    theirs = v2.MixUp(num_classes=4)
    theirs._dist = Fixed(lam0)
    expected, soft = theirs(images, labels)
    draw = mixing.Draw(rolled(6), torch.tensor([lam0], dtype=torch.float64))
    mixed = mixing.create("mixup")(images, labels, draw=draw)
    torch.testing.assert_close(mixed.images, expected)
    torch.testing.assert_close(mixed.soft_labels(4), soft)


@pytest.mark.parametrize("lam0", [0.0, 0.02, 0.3, 0.75, 0.99, 1.0])
@pytest.mark.parametrize("centre", [(0, 0), (7, 3), (9, 13)])
def test_cutmix_is_torchvisions(
    lam0: float, centre: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = torch.randn(6, 3, 10, 14), torch.arange(6) % 4
    theirs = v2.CutMix(num_classes=4)
    theirs._dist = Fixed(lam0)
    places = iter((centre[1], centre[0]))  # torchvision draws the column first
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", lambda *a, **k: torch.tensor([next(places)]))
        expected, soft = theirs(images, labels)
    draw = mixing.Draw(
        rolled(6), torch.tensor([lam0], dtype=torch.float64), centre=torch.tensor([centre])
    )
    mixed = mixing.create("cutmix")(images, labels, draw=draw)
    assert torch.equal(mixed.images, expected)
    torch.testing.assert_close(mixed.soft_labels(4), soft)


@pytest.mark.parametrize("shape", [(64, 64), (32, 32), (96, 128)], ids=str)
def test_spectral_residual_is_opencvs(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.integers(0, 256, shape, dtype=np.uint8), (9, 9), 0)
    image[5:15, 8:20] = 255
    detector = cv2.saliency.StaticSaliencySpectralResidual_create()
    found, expected = detector.computeSaliency(image)
    assert found
    # OpenCV rounds the image to bytes when it resizes it to 64 × 64, which the residual amplifies.
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_LINEAR_EXACT)
    ours = spectral_residual(torch.from_numpy(small)[None].float())[0].numpy()
    size = (shape[1], shape[0])
    resized = cv2.resize(ours, size, interpolation=cv2.INTER_LINEAR_EXACT)
    np.testing.assert_allclose(resized, expected, atol=1e-3)
    unrounded = spectral_residual(torch.from_numpy(image)[None].float())[0].numpy()
    assert np.corrcoef(unrounded.ravel(), expected.ravel())[0, 1] > 0.98


def test_guidedsrs_own_map_is_the_magnitude() -> None:
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.integers(0, 256, (64, 64), dtype=np.uint8), (9, 9), 0)
    image[5:15, 8:20], image[40, 40] = 255, 0
    squared = cv2.saliency.StaticSaliencySpectralResidual_create().computeSaliency(image)[1]
    images = torch.from_numpy(image).expand(2, 3, 64, 64).float()
    mixed = mixing.create("guidedsr", smoothing=0.0)(images, torch.arange(2))
    assert mixed.saliency is not None
    np.testing.assert_allclose(mixed.saliency[0].numpy(), np.sqrt(squared), atol=2e-3)


def test_grey_is_opencvs_whatever_the_normalisation() -> None:
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image[0, 0], image[0, 1] = 0, 255
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    for version in (pixels, (pixels / 255 - 0.45) / 0.25):
        np.testing.assert_allclose(grey(version)[0].numpy(), expected, atol=0.51)


def test_smoothing_is_opencvs() -> None:
    saliency = np.random.default_rng(2).random((24, 40), dtype=np.float32)
    expected = cv2.GaussianBlur(saliency, (13, 13), 2.0, borderType=cv2.BORDER_REPLICATE)
    ours = smooth(torch.from_numpy(saliency)[None], 2.0)[0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["guidedsr", "saliencymixplus"])
def test_a_mixer_smooths_the_maps_it_is_given(method: str) -> None:
    saliency = np.random.default_rng(2).random((2, 24, 40), dtype=np.float32)
    mixer = mixing.create(method, smoothing=2.0)
    images, maps = torch.rand(2, 3, 24, 40), torch.from_numpy(saliency)
    mixed = mixer(images, torch.arange(2), saliency=maps)
    assert mixed.saliency is not None
    for ours, given in zip(mixed.saliency.numpy(), saliency, strict=True):
        expected = cv2.GaussianBlur(given, (13, 13), 2.0, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(("sigma", "taps"), [(1.0, 5), (3.0, 7), (0.7, 3)])
def test_blurs_of_so_many_taps_are_torchvisions(sigma: float, taps: int) -> None:
    maps = torch.rand(4, 12, 9)
    assert torch.equal(smooth(maps, sigma, taps), gaussian_blur(maps, [taps, taps], [sigma, sigma]))


@pytest.mark.parametrize("soft", [False, True])
def test_sages_published_map_is_that_of_the_binary_loss(soft: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5), nn.Tanh(), nn.Linear(5, 4))
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 4
    target = F.one_hot(labels, 4).float()
    inputs = images.clone().requires_grad_()
    chances = model(inputs).softmax(1)
    loss = -(target * chances.log() + (1 - target) * (1 - chances).log()).mean()
    gradient = torch.autograd.grad(loss, inputs)[0]
    expected = smooth(gradient.abs().mean(1), 1.0, 5)
    mixed = mixing.create("sage-published")(images, target if soft else labels, model=model)
    assert mixed.saliency is not None
    torch.testing.assert_close(mixed.saliency, expected, rtol=1e-4, atol=1e-8)
    plain = mixing.create("sage")(images, labels, model=model)
    assert not torch.allclose(plain.saliency, expected, rtol=1e-2)
