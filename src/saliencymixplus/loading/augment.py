"""Augment whole batches on their device: draw all random numbers, then apply pure functions."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from saliencymixplus.loading.erasing import Erased, Erasing
from saliencymixplus.loading.policy import OpDraws, Policy

# Defaults of torchvision's RandomResizedCrop: smallest area fraction, aspect ratio, attempts.
SCALE, RATIO, TRIES = 0.08, (3 / 4, 4 / 3), 10


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images: crop and flip, then a policy, then erasing.

    Attributes:
        kind: ``none``, ``flip``, ``crop``, ``crop-flip`` or ``resized-crop-flip``.
        size: (height, width) of the prepared images.
        output: (height, width) of the network's input.
        padding: pixels added on each side before a ``crop``.
        reflect: pad by reflection instead of with black.
        scale: smallest area fraction of a ``resized-crop``.
        policy: operations on the crop's uint8 pixels.
        erasing: random erasing of the normalised images.
        center: evaluate the central part of the images instead of resizing them whole.
    """

    kind: str
    size: tuple[int, int]
    output: tuple[int, int]
    padding: int = 0
    reflect: bool = False
    scale: float = SCALE
    policy: Policy | None = None
    erasing: Erasing | None = None
    center: bool = False

    @property
    def resized(self) -> bool:
        """Whether pixels are interpolated, rather than only moved."""
        return self.kind.startswith("resized") or (not self.cropped and self.output != self.size)

    @property
    def cropped(self) -> bool:
        return self.kind.startswith("crop")

    def draw(self, count: int, generator: torch.Generator, device: torch.device) -> "Draws":
        """Draw the augmentation of ``count`` images on ``device``."""
        boxes = whole(count, self.size, device)
        if self.kind.startswith("resized"):
            chance = _uniform((count, 4, TRIES), generator, device)
            boxes = _resized_boxes(chance, self.size, self.scale)
        elif self.cropped:
            places = _uniform((count, 2), generator, device)
            # The number of positions of the output in the padded image.
            rows = (places[:, 0] * (self.size[0] + 2 * self.padding - self.output[0] + 1)).long()
            columns = (places[:, 1] * (self.size[1] + 2 * self.padding - self.output[1] + 1)).long()
            boxes = replace(boxes, top=rows - self.padding, left=columns - self.padding)
        if self.kind.endswith("flip"):
            boxes = replace(boxes, flip=_uniform((count,), generator, device) < 0.5)
        ops = self.policy.draw(count, generator, device) if self.policy else None
        erased = self.erasing.draw(count, self.output, generator, device) if self.erasing else None
        return Draws(boxes, ops, erased)


@dataclass(frozen=True)
class Boxes:
    """The part to crop from each image and whether to flip it; all tensors are (B,)."""

    top: Tensor  # int64 pixels; may lie outside the image
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor | None = None  # bool


@dataclass(frozen=True)
class Draws:
    """The random numbers of the augmentation of B images."""

    boxes: Boxes
    ops: OpDraws | None = None
    erased: Erased | None = None

    def part(self, first: int, last: int) -> "Draws":
        """The draws of images ``first`` to ``last`` (exclusive)."""
        rows: Draws = _rows_of(self, slice(first, last))
        return rows


def _rows_of(draws: Any, rows: slice) -> Any:
    """Slice every tensor in ``draws``, including nested dataclasses, to ``rows``."""
    if draws is None:
        return None
    if isinstance(draws, Tensor):
        return draws[rows]
    return type(draws)(*(_rows_of(getattr(draws, f.name), rows) for f in fields(draws)))


def whole(count: int, size: tuple[int, int], device: torch.device) -> Boxes:
    """Boxes for ``count`` whole, unflipped images of ``size`` (height, width)."""
    zero = torch.zeros(count, dtype=torch.int64, device=device)
    return Boxes(zero, zero, torch.full_like(zero, size[0]), torch.full_like(zero, size[1]))


def central(
    count: int, size: tuple[int, int], output: tuple[int, int], device: torch.device
) -> Boxes:
    """Boxes for the central ``output`` pixels (height, width) of ``count`` images of ``size``."""
    zero = torch.zeros(count, dtype=torch.int64, device=device)
    top, left = ((side - part) // 2 for side, part in zip(size, output, strict=True))
    return Boxes(
        zero + top, zero + left, torch.full_like(zero, output[0]), torch.full_like(zero, output[1])
    )


def gather(
    pixels: Tensor,
    rows: Tensor,
    boxes: Boxes,
    output: tuple[int, int],
    *,
    reflect: bool = False,
) -> Tensor:
    """Crop parts of size ``output`` from ``pixels`` (N, H, W) or (N, H, W, C), without resizing.

    A single gather from the images ``rows`` (B,) to a batch (B, *output[, C]). Pixels outside an
    image are 0 or, with ``reflect``, its reflection (without repeating the border pixels).
    """
    height, width = pixels.shape[1:3]
    y, y_inside = _places(boxes.top, output[0], height, None, reflect)
    x, x_inside = _places(boxes.left, output[1], width, boxes.flip, reflect)
    taken = pixels[rows[:, None, None], y[:, :, None], x[:, None, :]]
    if reflect:
        return taken
    inside = y_inside[:, :, None] & x_inside[:, None, :]
    return taken * (inside[..., None] if pixels.ndim == 4 else inside)


def resize_boxes(pixels: Tensor, boxes: Boxes, output: tuple[int, int]) -> Tensor:
    """Resize each box of float ``pixels`` (B, C, H, W) to ``output``: (B, C, *output).

    Bilinear with antialiasing, like torchvision's ``resize``, as two matrix products with the
    triangle filter, which allow boxes of different sizes in one call.
    """
    height, width = pixels.shape[2:]
    down = _filter(boxes.top, boxes.height, height, output[0], None, pixels.dtype)
    across = _filter(boxes.left, boxes.width, width, output[1], boxes.flip, pixels.dtype)
    return down[:, None] @ pixels @ across[:, None].mT


def _filter(
    start: Tensor, length: Tensor, size: int, output: int, flip: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """The weight of each input pixel in each output pixel, (B, output, size)."""
    start, length = start[:, None, None].to(dtype), length[:, None, None].to(dtype)
    scale = length / output
    out = torch.arange(output, device=start.device, dtype=dtype)[None, :, None]
    if flip is not None:
        out = torch.where(flip[:, None, None], output - 1 - out, out)
    pixel = torch.arange(size, device=start.device, dtype=dtype)[None, None, :] - start
    distance = (pixel + 0.5 - scale * (out + 0.5)).abs()
    weight = (1.0 - distance / scale.clamp(min=1.0)).clamp(min=0.0)
    weight = weight * ((pixel >= 0) & (pixel < length))
    return weight / weight.sum(2, keepdim=True)


def _places(
    start: Tensor, output: int, size: int, flip: Tensor | None, reflect: bool
) -> tuple[Tensor, Tensor]:
    """Each output pixel's source coordinate and whether it is in the image, both (B, output)."""
    steps = torch.arange(output, device=start.device)[None]
    if flip is not None:
        steps = torch.where(flip[:, None], output - 1 - steps, steps)
    places = start[:, None] + steps
    inside = (places >= 0) & (places < size)
    if reflect:
        places = size - 1 - (size - 1 - places.abs()).abs()
    return places.clamp(0, size - 1), inside


def _resized_boxes(chance: Tensor, size: tuple[int, int], scale: float) -> Boxes:
    """Boxes of RandomResizedCrop from ``chance`` (B, 4, TRIES) in [0, 1)."""
    height, width = size
    area = height * width * (scale + (1.0 - scale) * chance[:, 0])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = torch.exp(low + (high - low) * chance[:, 1])
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)  # the first attempt that fits
    found = fits.any(1)
    # If none fits: the centre of the image, at the nearest allowed ratio.
    most_w, most_h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    h = torch.where(found, h.gather(1, first)[:, 0], torch.full_like(h[:, 0], most_h)).long()
    w = torch.where(found, w.gather(1, first)[:, 0], torch.full_like(w[:, 0], most_w)).long()
    random_top = (chance[:, 2].gather(1, first)[:, 0] * (height - h + 1)).long()
    random_left = (chance[:, 3].gather(1, first)[:, 0] * (width - w + 1)).long()
    return Boxes(
        top=torch.where(found, random_top, (height - h) // 2),
        left=torch.where(found, random_left, (width - w) // 2),
        height=h,
        width=w,
    )


def _uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(shape, generator=generator, device=device)
