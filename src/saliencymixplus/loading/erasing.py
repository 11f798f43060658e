"""Random erasing of normalised images, like timm's ``RandomErasing``.

Zhong et al., "Random Erasing Data Augmentation", 2020 (arXiv:1708.04896).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# timm's defaults: range of area fractions, range of log aspect ratios, attempts.
AREA, LOG_RATIO, TRIES = (0.02, 1 / 3), (math.log(0.3), math.log(1 / 0.3)), 10


@dataclass(frozen=True)
class Erased:
    """One rectangle per image, empty if nothing is erased."""

    top: Tensor  # (B,) int64 pixels, like the other three
    left: Tensor
    height: Tensor
    width: Tensor
    noise: Tensor | None = None  # (B, 3, H, W): the fill; None: 0, the mean colour


@dataclass(frozen=True)
class Erasing:
    """Erase a random rectangle.

    Attributes:
        probability: of erasing, per image.
        noise: fill with standard normal noise (timm's mode ``pixel``) instead of 0 (``const``).
    """

    probability: float
    noise: bool

    def draw(
        self,
        count: int,
        size: tuple[int, int],
        generator: torch.Generator,
        device: torch.device,
    ) -> Erased:
        """Draw the rectangles of ``count`` images of ``size`` (height, width)."""
        height, width = size
        chance = torch.rand((count, 4, TRIES), generator=generator, device=device)
        area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * chance[:, 0])
        ratio = torch.exp(LOG_RATIO[0] + (LOG_RATIO[1] - LOG_RATIO[0]) * chance[:, 1])
        h, w = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (h < height) & (w < width)
        first = fits.to(torch.uint8).argmax(1, keepdim=True)
        chosen = torch.rand((count,), generator=generator, device=device) < self.probability
        erased = (chosen & fits.any(1)).long()
        h, w = h.gather(1, first)[:, 0].long(), w.gather(1, first)[:, 0].long()
        top = (chance[:, 2].gather(1, first)[:, 0] * (height - h + 1)).long()
        left = (chance[:, 3].gather(1, first)[:, 0] * (width - w + 1)).long()
        noise = None
        if self.noise:
            noise = torch.randn((count, 3, height, width), generator=generator, device=device)
        return Erased(top, left, h * erased, w * erased, noise)


def inside(erased: Erased, size: tuple[int, int]) -> Tensor:
    """The erased pixels, (B, H, W) bool."""

    def between(start: Tensor, length: Tensor, extent: int) -> Tensor:
        place = torch.arange(extent, device=start.device)[None] - start[:, None]
        return (place >= 0) & (place < length[:, None])

    rows = between(erased.top, erased.height, size[0])
    columns = between(erased.left, erased.width, size[1])
    return rows[:, :, None] & columns[:, None, :]


def erase(images: Tensor, erased: Erased) -> Tensor:
    """Fill the rectangles in normalised ``images`` (B, 3, H, W)."""
    height, width = images.shape[2:]
    where = inside(erased, (height, width))[:, None]
    if erased.noise is None:
        return images.masked_fill(where, 0.0)
    return torch.where(where, erased.noise, images)
