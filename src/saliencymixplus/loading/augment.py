"""Augment whole batches on their device: draw all random numbers, then apply pure functions."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from saliencymixplus.errors import UserError
from saliencymixplus.loading.crops import Boxes, whole
from saliencymixplus.loading.erasing import Erased, Erasing
from saliencymixplus.loading.policy import OpDraws, Policy
from saliencymixplus.settings import TrainingSettings

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
class Draws:
    """The random numbers of the augmentation of B images."""

    boxes: Boxes
    ops: OpDraws | None = None
    erased: Erased | None = None

    def part(self, first: int, last: int) -> "Draws":
        """The draws of images ``first`` to ``last`` (exclusive)."""
        rows: Draws = _rows_of(self, slice(first, last))
        return rows


def augmentation_for(recipe: TrainingSettings, size: tuple[int, int]) -> Augmentation:
    """The augmentation of training images of ``size`` (height, width).

    Raises:
        UserError: the crop is larger than the padded image, or the padding is too large to reflect.
    """
    height, width = size
    output = (recipe.crop_size, recipe.crop_size) if recipe.crop_size else (height, width)
    padding = recipe.crop_padding if recipe.augment.startswith("crop") else 0
    policy = None
    if recipe.auto_augment is not None:
        policy = Policy(
            recipe.auto_augment,
            output,
            ops=recipe.randaugment_ops,
            magnitude=recipe.randaugment_magnitude,
            std=recipe.randaugment_std if recipe.auto_augment == "randaugment" else 0.0,
        )
    erasing = None
    if recipe.random_erasing:
        erasing = Erasing(recipe.random_erasing, noise=recipe.erasing_mode == "pixel")
    reflect = padding > 0 and recipe.crop_mode == "reflect"
    center = recipe.test_crop == "center"
    how = Augmentation(
        recipe.augment, size, output, padding, reflect, recipe.crop_scale, policy, erasing, center
    )
    if center and (output[0] > height or output[1] > width):
        raise UserError(
            f"training.crop_size {recipe.crop_size} with test_crop center is larger than the "
            f"{height}×{width} images: lower it"
        )
    if how.cropped and (output[0] > height + 2 * padding or output[1] > width + 2 * padding):
        raise UserError(
            f"training.crop_size {recipe.crop_size} is larger than the {height}×{width} images "
            f"with crop_padding {padding}: lower it"
        )
    if reflect and padding >= min(size):
        raise UserError(
            f"training.crop_padding {padding} with crop_mode reflect needs images larger than "
            f"{padding} pixels, not {height}×{width}: lower it"
        )
    return how


def _rows_of(draws: Any, rows: slice) -> Any:
    """Slice every tensor in ``draws``, including nested dataclasses, to ``rows``."""
    if draws is None:
        return None
    if isinstance(draws, Tensor):
        return draws[rows]
    return type(draws)(*(_rows_of(getattr(draws, f.name), rows) for f in fields(draws)))


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
    h = torch.where(found, h.gather(1, first)[:, 0], float(most_h)).long()
    w = torch.where(found, w.gather(1, first)[:, 0], float(most_w)).long()
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
