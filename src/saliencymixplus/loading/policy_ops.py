"""The operations of ``policy`` on uint8 batches, with an operation and a strength for each image.

Every operation is computed for the whole batch and each image takes its own: shapes never depend on
what was drawn, so that the step can be compiled and captured. Results are torchvision's, up to a
rounding error at the border between two grey levels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import equalize_image

from saliencymixplus.loading.policy import OPS, OpDraws

_GREY = (0.2989, 0.587, 0.114)


def apply_policy(
    images: Tensor, planes: tuple[Tensor | None, ...], draws: OpDraws
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Carry out all operations.

    Args:
        images: uint8 (B, 3, H, W).
        planes: float (B, H, W), such as saliency maps; they follow the geometric operations.
    """
    for op, magnitude in zip(draws.op.unbind(1), draws.magnitude.unbind(1), strict=True):
        grid = _grid(op, magnitude, images.shape[2], images.shape[3])
        images = _recoloured(_warped(images.float(), grid).byte(), op, magnitude)
        planes = tuple(
            None if plane is None else _warped(plane[:, None], grid)[:, 0] for plane in planes
        )
    return images, planes


def _recoloured(images: Tensor, op: Tensor, magnitude: Tensor) -> Tensor:
    """The operations that leave pixels in place."""
    strength = magnitude[:, None, None, None]
    pixels = images.float()

    def chosen(name: str) -> Tensor:
        return (op == OPS.index(name))[:, None, None, None]

    red, green, blue = pixels.unbind(1)
    grey = (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue).floor()[:, None]
    # Away from (or towards) black, the grey image, or its mean.
    other = torch.where(chosen("Color"), grey, torch.zeros_like(grey))
    other = torch.where(chosen("Contrast"), grey.mean((1, 2, 3), keepdim=True), other)
    blended = (pixels * (1 + strength) - other * strength).clamp(0, 255)
    sharpened = (pixels - (_blurred(pixels) - pixels) * strength).clamp(0, 255)
    lost_bits = 8 - strength.clamp(1, 8).byte()
    inverted = 255 - images
    found = images
    for name, result in (
        ("Brightness", blended.byte()),
        ("Color", blended.byte()),
        ("Contrast", blended.byte()),
        ("Sharpness", sharpened.byte()),
        ("Posterize", (images >> lost_bits) << lost_bits),
        ("Solarize", torch.where(images >= 255.0 * strength, inverted, images)),
        ("AutoContrast", _stretched(pixels)),
        ("Equalize", equalize_image(images)),
        ("Invert", inverted),
    ):
        found = torch.where(chosen(name), result, found)
    return found


def _stretched(pixels: Tensor) -> Tensor:
    """uint8: each channel's darkest pixel becomes 0 and its brightest 255; flat channels stay."""
    darkest, brightest = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    scale = (brightest - darkest) * (1 / 255)
    flat = scale == 0
    stretched = (pixels - darkest) / torch.where(flat, torch.ones_like(scale), scale)
    return torch.where(flat, pixels, stretched.clamp(0, 255)).byte()


def _blurred(pixels: Tensor) -> Tensor:
    """(B, 3, H, W), smoothed by PIL's 3 × 3 kernel (5 in the centre, 1 around it) and rounded.

    Border pixels stay as they are.
    """
    inner = pixels[:, :, 1:-1, 1:-1]
    smooth = ((F.avg_pool2d(pixels, 3, 1) * 9 + 4 * inner) / 13).round()
    return pixels + F.pad(smooth - inner, (1, 1, 1, 1))


def _grid(op: Tensor, magnitude: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W, 2): where each output pixel comes from, as ``grid_sample`` counts.

    Coordinates start at the image's centre. Shears leave the first row or column in place.
    """

    def strength(name: str) -> Tensor:
        return torch.where(op == OPS.index(name), magnitude, torch.zeros_like(magnitude))

    shear_x, shear_y, angle = strength("ShearX"), strength("ShearY"), strength("Rotate")
    radians = angle * (math.pi / 180)
    cosine, sine = radians.cos(), radians.sin()
    x_shift = shear_x * (height / 2) - strength("TranslateX").trunc()
    y_shift = shear_y * (width / 2) - strength("TranslateY").trunc()
    x = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=op.device)[None, None]
    y = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=op.device)[None, :, None]

    def per_image(value: Tensor) -> Tensor:
        return value[:, None, None]

    source_x = per_image(cosine) * x + per_image(shear_x - sine) * y + per_image(x_shift)
    source_y = per_image(shear_y + sine) * x + per_image(cosine) * y + per_image(y_shift)
    return torch.stack([source_x / (width / 2), source_y / (height / 2)], 3)


def _warped(values: Tensor, grid: Tensor) -> Tensor:
    """Float (B, C, H, W) by the nearest pixel; 0 comes from outside."""
    return F.grid_sample(values, grid, "nearest", "zeros", align_corners=False)
