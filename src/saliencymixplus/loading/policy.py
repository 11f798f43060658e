"""RandAugment, TrivialAugment and AutoAugment: draw the operations for each image.

Operations, strengths and sub-policies are torchvision's (``transforms.v2``), drawn separately for
every image of a batch, on the device. ``policy_ops`` applies them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

OPS = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    *("Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize"),
    *("AutoContrast", "Equalize", "Invert"),
)
RAND_BINS, AUTO_BINS = 31, 10  # number of strengths that torchvision divides each range into


@dataclass(frozen=True)
class OpDraws:
    """The operations for B images, R each."""

    op: Tensor  # (B, R) int64, indices into OPS
    magnitude: Tensor  # (B, R) float32, signed; 0 for operations without a strength


@dataclass(frozen=True)
class PolicyTables:
    """N choices of R operations each, with M equally likely strengths."""

    op: Tensor  # (N, R) int64
    probability: Tensor  # (N, R)
    magnitudes: Tensor  # (N, R, M)
    signed: Tensor  # (N, R) bool: whether a sign is drawn


@dataclass(frozen=True)
class Policy:
    """A policy for drawing operations.

    Attributes:
        name: ``randaugment`` (Cubuk et al. 2020), ``trivialaugment`` (Müller and Hutter 2021, wide)
            or ``autoaugment-`` (Cubuk et al. 2019) with ``cifar10``, ``imagenet`` or ``svhn``.
        size: (height, width) of the images.
        ops: operations per image; RandAugment only.
        magnitude: strength, 0 to 30; RandAugment only.
        std: standard deviation of the strength, which is rounded and kept in this range.
    """

    name: str
    size: tuple[int, int]
    ops: int = 2
    magnitude: int = 9
    std: float = 0.0

    def draw(self, count: int, generator: torch.Generator, device: torch.device) -> OpDraws:
        """Draw the operations for ``count`` images on ``device``."""
        tables = policy_tables(self, device)
        choices, rounds, strengths = tables.magnitudes.shape
        drawn = []
        for _ in range(self.ops if self.name == "randaugment" else 1):
            choice = torch.rand((count,), generator=generator, device=device)
            chance = torch.rand((3, count, rounds), generator=generator, device=device)
            row = (choice * choices).long()
            if self.std:  # the normal distribution's quantile function
                level = self.std * math.sqrt(2) * torch.erfinv(2 * chance[0] - 1) + self.magnitude
                strength = level.round().clamp(0, strengths - 1).long()
            else:
                strength = (chance[0] * strengths).long()
            magnitude = tables.magnitudes[row].gather(2, strength[:, :, None])[:, :, 0]
            negative = tables.signed[row] & (chance[1] < 0.5)
            applied = chance[2] < tables.probability[row]
            drawn.append((tables.op[row] * applied, torch.where(negative, -magnitude, magnitude)))
        ops, magnitudes = zip(*drawn, strict=True)
        return OpDraws(torch.cat(ops, 1), torch.cat(magnitudes, 1))


@cache
def policy_tables(policy: Policy, device: torch.device) -> PolicyTables:
    """torchvision's tables on ``device``, cached, as a captured step cannot copy to the device."""
    from torchvision.transforms import v2

    height, width = policy.size
    kind, _, data = policy.name.partition("-")
    # Each choice is a sequence of (operation, probability, strengths).
    choices: list[list[tuple[str, float, int | None]]]
    if kind == "autoaugment":
        transform: Any = v2.AutoAugment
        bins = AUTO_BINS
        choices = [list(pair) for pair in v2.AutoAugment(v2.AutoAugmentPolicy(data))._policies]
    else:
        transform = v2.RandAugment if kind == "randaugment" else v2.TrivialAugmentWide
        bins = RAND_BINS
        index = policy.magnitude if kind == "randaugment" and not policy.std else None
        choices = [[(name, 1.0, index)] for name in transform._AUGMENTATION_SPACE]

    def strengths(name: str, index: int | None) -> list[float]:
        found = transform._AUGMENTATION_SPACE[name][0](bins, height, width)
        count = bins if index is None and kind != "autoaugment" else 1
        if found is None:
            return [0.0] * count
        return found.tolist() if index is None else [float(found[index])]

    def table(read: Callable[..., Any], dtype: torch.dtype) -> Tensor:
        return torch.tensor([[read(*op) for op in ops] for ops in choices], dtype=dtype).to(device)

    return PolicyTables(
        op=table(lambda name, *_: OPS.index(name), torch.int64),
        probability=table(lambda name, probability, index: probability, torch.float32),
        magnitudes=table(lambda name, probability, index: strengths(name, index), torch.float32),
        signed=table(lambda name, *_: transform._AUGMENTATION_SPACE[name][1], torch.bool),
    )
