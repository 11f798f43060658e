"""Apply the operations of ``policy`` to uint8 batches, one operation and strength per image.

Every operation is computed for the whole batch and each image selects its own, so that shapes never
depend on the draws and the step can be compiled and captured. Results equal torchvision's, except
for rounding between adjacent grey levels.
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
    """Apply all operations.

    Args:
        images: uint8 (B, 3, H, W).
        planes: float (B, H, W), such as saliency maps; only geometric operations apply to them.
    """
    for op, magnitude in zip(draws.op.unbind(1), draws.magnitude.unbind(1), strict=True):
        grid = _grid(op, magnitude, images.shape[2], images.shape[3])
        images = _recoloured(_warped(images.float(), grid).byte(), op, magnitude)
        planes = tuple(
            None if plane is None else _warped(plane[:, None], grid)[:, 0] for plane in planes
        )
    return images, planes


def _recoloured(images: Tensor, op: Tensor, magnitude: Tensor) -> Tensor:
    """Apply the operations that leave pixels in place."""
    strength = magnitude[:, None, None, None]
    pixels = images.float()

    def chosen(name: str) -> Tensor:
        return (op == OPS.index(name))[:, None, None, None]

    red, green, blue = pixels.unbind(1)
    grey = (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue).floor()[:, None]
    # Interpolate towards (or away from) black, the grey image, or its mean.
    other = torch.where(chosen("Color"), grey, 0.0)
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
    """Stretch each uint8 channel to [0, 255]; constant channels stay the same."""
    darkest, brightest = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    scale = (brightest - darkest) * (1 / 255)
    flat = scale == 0
    stretched = (pixels - darkest) / torch.where(flat, 1.0, scale)
    return torch.where(flat, pixels, stretched.clamp(0, 255)).byte()


def _blurred(pixels: Tensor) -> Tensor:
    """Smooth (B, 3, H, W) with PIL's 3 × 3 kernel (5 in the centre, 1 around it) and round.

    Border pixels stay the same.
    """
    inner = pixels[:, :, 1:-1, 1:-1]
    smooth = ((F.avg_pool2d(pixels, 3, 1) * 9 + 4 * inner) / 13).round()
    return pixels + F.pad(smooth - inner, (1, 1, 1, 1))


def _grid(op: Tensor, magnitude: Tensor, height: int, width: int) -> Tensor:
    """The source of each output pixel, (B, H, W, 2), in the coordinates of ``grid_sample``.

    Transformations are about the image's centre; shears leave the first row or column in place.
    """

    def strength(name: str) -> Tensor:
        return torch.where(op == OPS.index(name), magnitude, 0.0)

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
    """Sample float (B, C, H, W) by nearest neighbour; pixels outside are 0."""
    return F.grid_sample(values, grid, "nearest", "zeros", align_corners=False)
