"""Common corruptions at five severities: noise, blur, weather, digital.

The families are those of Hendrycks and Dietterich (2019), "Benchmarking Neural Network Robustness
to Common Corruptions and Perturbations". This reimplementation works on the prepared images of
any data set. Frost is synthetic rather than photographed, glass blur is left out, and elastic lacks
the random affine map, which makes it weaker. The other severities are close to CIFAR-10-C for small
images and to ImageNet-C for large ones, and interpolated in between. The mean corruption error is
the plain mean over corruptions and severities, not relative to AlexNet's. Compare these errors
between runs of this project, not with published -C figures.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saliencymixplus.evaluation.classifier import PixelClassifier, top1_error_under
from saliencymixplus.evaluation.distortions import (
    disc_kernel,
    filtered,
    fractal_fields,
    jpeg,
    line_kernels,
    pixelated,
    warped,
    zoomed,
)
from saliencymixplus.loading.pixels import UNIT, to_unit

SEVERITIES = (1, 2, 3, 4, 5)
# Images are corrupted in groups of this size, so that results do not depend on the batch size.
GROUP = 100
Levels = tuple[float, float, float, float, float]
Random = np.random.Generator
_SMALL, _LARGE = 32, 224  # image sides in pixels for which levels are tabulated
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def _level(small: Levels, large: Levels, severity: int, side: int) -> float:
    """The level for images of ``side`` pixels, interpolated geometrically between 32 and 224."""
    weight = math.log(side / _SMALL) / math.log(_LARGE / _SMALL)
    weight = min(max(weight, 0.0), 1.0)
    return float(small[severity - 1] ** (1 - weight) * large[severity - 1] ** weight)


def _length(at_224: Levels, severity: int, side: int) -> float:
    """A length proportional to the side, but never below that at 37 pixels, to stay visible."""
    return at_224[severity - 1] * max(side / _LARGE, 1 / 6)


def _gaussian_noise(images: Tensor, severity: int, rng: Random) -> Tensor:
    sd = _level(
        (0.04, 0.06, 0.08, 0.09, 0.1), (0.08, 0.12, 0.18, 0.26, 0.38), severity, _side(images)
    )
    return images + sd * _normal(images, rng)


def _shot_noise(images: Tensor, severity: int, rng: Random) -> Tensor:
    photons = _level((500, 250, 100, 75, 50), (60, 25, 12, 5, 3), severity, _side(images))
    counts = rng.poisson(images.cpu().numpy().astype(np.float64) * photons)
    return torch.from_numpy(counts).to(images) / photons


def _impulse_noise(images: Tensor, severity: int, rng: Random) -> Tensor:
    fraction = _level(
        (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27), severity, _side(images)
    )
    draw = torch.from_numpy(rng.random(images.shape, dtype=np.float32)).to(images)
    salted = torch.where(draw > 1 - fraction / 2, 1.0, images)
    return torch.where(draw < fraction / 2, 0.0, salted)


def _defocus_blur(images: Tensor, severity: int, rng: Random) -> Tensor:
    return filtered(images, disc_kernel(_length((4, 5, 6, 8, 10), severity, _side(images))))


def _motion_blur(images: Tensor, severity: int, rng: Random) -> Tensor:
    length = _length((9, 12, 16, 22, 30), severity, _side(images))
    return filtered(images, line_kernels(length, rng.uniform(0, math.pi, len(images))))


def _zoom_blur(images: Tensor, severity: int, rng: Random) -> Tensor:
    factors = np.linspace(1, (1.1, 1.15, 1.2, 1.26, 1.33)[severity - 1], 9)
    total = torch.zeros_like(images)
    for factor in factors:
        total += zoomed(images, float(factor))
    return total / len(factors)


def _snow(images: Tensor, severity: int, rng: Random) -> Tensor:
    fraction = (0.02, 0.04, 0.06, 0.08, 0.11)[severity - 1]
    whitening = (0.12, 0.2, 0.28, 0.36, 0.45)[severity - 1]
    batch, _, height, width = images.shape
    side = _side(images)
    flakes = torch.from_numpy(rng.random((batch, 1, height, width), dtype=np.float32)).to(images)
    size = max(1, round(side / 64))
    layer = F.max_pool2d((flakes < fraction / size**2).float(), size, 1, size // 2)
    layer = layer[..., :height, :width]
    slant = rng.uniform(math.radians(50), math.radians(130), batch)
    layer = filtered(layer, line_kernels(_length((8, 8, 10, 10, 12), severity, side), slant))
    grey = (images * images.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    whitened = torch.maximum(images, 0.5 * grey + 0.5)
    return (1 - whitening) * images + whitening * whitened + 1.5 * layer


def _frost(images: Tensor, severity: int, rng: Random) -> Tensor:
    side = _side(images)
    keep = _level((1, 0.98, 0.92, 0.86, 0.78), (1, 0.85, 0.75, 0.68, 0.6), severity, side)
    cover = _level((0.25, 0.35, 0.45, 0.5, 0.6), (0.4, 0.55, 0.65, 0.7, 0.78), severity, side)
    # Needles are where a rough random field crosses its median; patches are a smooth field.
    rough = fractal_fields(len(images), side, rng, exponent=1.5, coarsest=6)
    smooth = fractal_fields(len(images), side, rng, exponent=2.0, coarsest=2)
    crystals = (1 - np.abs(2 * rough - 1)) ** 4 * smooth
    layer = torch.from_numpy(crystals)[:, None].to(images)
    layer = layer / layer.amax((2, 3), keepdim=True)
    tint = images.new_tensor((0.86, 0.94, 1.0)).view(1, 3, 1, 1)
    return keep * images + cover * layer * tint


def _fog(images: Tensor, severity: int, rng: Random) -> Tensor:
    side = _side(images)
    density = _level((0.2, 0.5, 0.75, 1.0, 1.5), (1.2, 1.6, 2.0, 2.5, 3.0), severity, side)
    cloud = 0.4 + 0.6 * fractal_fields(len(images), side, rng, exponent=2.0, coarsest=1)
    brightest = images.amax((1, 2, 3), keepdim=True).clamp_min(1 / UNIT)
    return (
        (images + density * torch.from_numpy(cloud)[:, None].to(images))
        * brightest
        / (brightest + density)
    )


def _brightness(images: Tensor, severity: int, rng: Random) -> Tensor:
    """Increase the V of HSV; hue and saturation stay the same."""
    more = _level((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5), severity, _side(images))
    value = images.amax(1, keepdim=True)
    raised = (value + more).clamp_max(1)
    return torch.where(value > 0, images * raised / value.clamp_min(1e-6), raised)


def _contrast(images: Tensor, severity: int, rng: Random) -> Tensor:
    keep = _level((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05), severity, _side(images))
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * keep + mean


def _elastic(images: Tensor, severity: int, rng: Random) -> Tensor:
    side = _side(images)
    reach = side * (0.015, 0.022, 0.03, 0.04, 0.05)[severity - 1]
    fields = [
        2 * fractal_fields(len(images), side, rng, exponent=3.0, coarsest=4) - 1 for _ in range(2)
    ]
    return warped(images, reach * torch.from_numpy(np.stack(fields, axis=-1)))


def _pixelate(images: Tensor, severity: int, rng: Random) -> Tensor:
    side = _side(images)
    fraction = _level((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25), severity, side)
    return pixelated(images, max(1, round(fraction * side)))


def _jpeg(images: Tensor, severity: int, rng: Random) -> Tensor:
    quality = _level((80, 65, 58, 50, 40), (25, 18, 15, 10, 7), severity, _side(images))
    return jpeg(images, round(quality))


def _side(images: Tensor) -> int:
    return int(images.shape[-1])


def _normal(images: Tensor, rng: Random) -> Tensor:
    return torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32)).to(images)


CORRUPTIONS: dict[str, tuple[str, Callable[[Tensor, int, Random], Tensor]]] = {
    "gaussian_noise": ("noise", _gaussian_noise),
    "shot_noise": ("noise", _shot_noise),
    "impulse_noise": ("noise", _impulse_noise),
    "defocus_blur": ("blur", _defocus_blur),
    "motion_blur": ("blur", _motion_blur),
    "zoom_blur": ("blur", _zoom_blur),
    "snow": ("weather", _snow),
    "frost": ("weather", _frost),
    "fog": ("weather", _fog),
    "brightness": ("weather", _brightness),
    "contrast": ("digital", _contrast),
    "elastic": ("digital", _elastic),
    "pixelate": ("digital", _pixelate),
    "jpeg": ("digital", _jpeg),
}


def corrupt(
    images: np.ndarray, name: str, severity: int, *, seed: int, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Corrupt images; returns uint8 (N, H, W, 3), H = W, deterministic in all arguments.

    Args:
        images: uint8 (N, H, W, 3). name: a key of ``CORRUPTIONS``. severity: 1 to 5.
        device: where the filters run.
    """
    _, function = CORRUPTIONS[name]
    result = np.empty_like(images)
    which = list(CORRUPTIONS).index(name)
    for start in range(0, len(images), GROUP):
        rng = np.random.default_rng((seed, which, severity, start))
        batch = torch.from_numpy(np.array(images[start : start + GROUP])).to(device)
        changed = function(to_unit(batch), severity, rng).clamp(0, 1) * UNIT
        result[start : start + GROUP] = changed.round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return result


def corruption_errors(
    classifier: PixelClassifier,
    images: np.ndarray,
    labels: Tensor,
    *,
    corruptions: Sequence[str],
    batch_size: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Errors under every corruption at every severity.

    Returns:
        One row each: ``corruption``, ``family``, ``severity``, ``images`` and ``top1_error`` in
        percent.
    """

    def measured(name: str, severity: int) -> dict[str, Any]:
        changed = corrupt(images, name, severity, seed=seed, device=classifier.device)

        def pixels(batch: slice) -> Tensor:
            return classifier.pixels(changed[batch])

        return {
            "corruption": name,
            "family": CORRUPTIONS[name][0],
            "severity": severity,
            "images": len(images),
            "top1_error": top1_error_under(classifier, labels, pixels, batch_size),
        }

    return [measured(name, severity) for name in corruptions for severity in SEVERITIES]
