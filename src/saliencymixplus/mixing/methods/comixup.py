"""Co-Mixup: a batch mixed jointly, so that its images stay salient and differ from one another.

Kim, Choo, Jeong and Song, "Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity", ICLR
2021 (arXiv:2102.03065): each cell of each output shows one input, or half of each of two, so that
equation 4 is small: saliency, smoothness, and a penalty for inputs that many outputs share. A label
consists of the fractions of all inputs, so it may have more than two classes. ``index_a`` and
``index_b`` of the result are the two most visible inputs.

The solver is not the authors' (see ``_comixup_solver``). In the four recorded cases, it reached
objectives of −7.6, −12.2, −2.8 and −4.4, theirs 3.9, −11.2, −3.0 and −4.4; lower is better.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Batch, Blend, Sources
from saliencymixplus.mixing.checks import high_precision
from saliencymixplus.mixing.combine import rounded_to
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import enlarged, scaled_to_peak
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.methods._comixup_solver import (
    affinity,
    input_costs,
    label_weights,
    mix,
    salient_distance,
    solve,
)
from saliencymixplus.mixing.methods.puzzlemix import pooled, usable
from saliencymixplus.mixing.options import GradientSaliencyOptions, number
from saliencymixplus.mixing.saliency import root_mean_square


@dataclass(frozen=True, kw_only=True)
class CoMixupOptions(GradientSaliencyOptions):
    """Options of Co-Mixup.

    Args:
        pairs: ``full``: an output may show any image of its part of the batch.
        grid: cells along each side of the image, 1 … 64; the paper uses 4 on CIFAR. If it does not
            divide both sides, the greatest common divisor of it and the sides is used.
        part: number of images that are mixed with one another, 2 … 1000; the last part of a batch
            is smaller if this does not divide the batch.
        omega: weight of the distance between the inputs' salient regions in the penalty, 0 … 1.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixed = create("comixup")(
        ...     torch.rand(6, 3, 8, 8), torch.arange(6), saliency=torch.rand(6, 8, 8)
        ... )
        >>> mixed.weights.shape  # the weight of each image of the batch in each label
        torch.Size([6, 6])
    """

    pairs: Literal["full"] = "full"
    grid: int = number(4, 1, 64)
    part: int = number(20, 2, 1000)
    omega: float = number(0.001, 0.0, 1.0)


def numbers(options: CoMixupOptions, height: int, width: int) -> tuple[int, ...]:
    """Normal numbers per image: four for its prior, one for the initial label of each cell."""
    return (4 + math.gcd(options.grid, height, width) ** 2,)


def prior(noise: Tensor) -> Tensor:
    """Dirichlet(2, …, 2) samples (P, N) from normal numbers (P, N, 4)."""
    # A sum of four squares is chi-squared with four degrees of freedom, half of it Gamma(2).
    weight = noise.square().sum(2)
    found: Tensor = weight / weight.sum(1, keepdim=True)
    return found


def starts(noise: Tensor, side: int) -> Tensor:
    """Uniformly random inputs (P, N, n, n) int64 from normal numbers (P, N, n²)."""
    count = noise.shape[1]
    chance: Tensor = torch.special.ndtr(noise).unflatten(2, (side, side))
    return (chance * count).long().clamp_max(count - 1)


def solved(batch: Batch, draw: Draw, options: CoMixupOptions, part: None) -> list[Tensor]:
    """The shares (P, N, n, n, N) of all full parts of the batch, then of a smaller last one."""
    assert batch.saliency is not None
    (normals,) = draw.take("noise")
    maps = scaled_to_peak(batch.saliency).values
    side = math.gcd(options.grid, *maps.shape[1:])
    cells = usable(pooled(maps, side))
    found = []
    for rows, size in _parts(len(maps), options.part):
        noise = normals[rows].unflatten(0, (-1, size))
        costs = input_costs(cells[rows].unflatten(0, (-1, size)), prior(noise[:, :, :4]))
        distance = salient_distance(maps[rows].unflatten(0, (-1, size)))
        begin = starts(noise[:, :, 4:], side)
        found.append(solve(costs, affinity(distance, options.omega), begin))
    return found


def comixup(sources: Sources, draw: Draw, options: CoMixupOptions) -> Blend:
    """The weight of each label is the fraction of the output that shows its input."""
    height, width, dtype = sources.height, sources.width, sources.images.dtype
    images = sources.images.to(high_precision(dtype))
    mixed: list[Tensor] = []
    weights: list[Tensor] = []
    tops = []
    parts = zip(_parts(len(images), options.part), sources.plan, strict=True)
    for (rows, size), shares in parts:
        part = mix(images[rows].unflatten(0, (-1, size)), shares.to(images.dtype))
        mixed.append(part.flatten(0, 1))
        label_weight = label_weights(shares)
        weights.extend(label_weight)
        begin = torch.arange(len(shares), device=images.device)[:, None] * size + rows.start
        tops.append(_most_visible(label_weight, shares, begin))
    (index_a, lam, cells_a), (index_b, lam_b, cells_b) = (
        [torch.cat(values) for values in zip(*sides, strict=True)]
        for sides in zip(*tops, strict=True)
    )
    return Blend(
        rounded_to(torch.cat(mixed), dtype),
        enlarged(cells_b, height, width)[:, None],
        lam=lam,
        lam_b=lam_b,
        weights=torch.block_diag(*weights),
        mask_a=enlarged(cells_a, height, width)[:, None],
        index_a=index_a,
        index_b=index_b,
    )


def _most_visible(label_weight: Tensor, shares: Tensor, begin: Tensor) -> list[list[Tensor]]:
    """Index (M,) in the batch, weight (M,) and cells (M, n, n) of the two most visible inputs.

    In a part of one image, the second is the first again, with a weight of 0.
    """
    alone = label_weight.shape[2] == 1
    top = label_weight.topk(1 if alone else 2, dim=2)
    found = []
    for place in (0, 1):
        local = top.indices[:, :, 0 if alone else place]
        shown = 0.0 if alone and place else 1.0
        cells = shares.gather(4, local[:, :, None, None, None].expand(*shares.shape[:4], 1))
        weight = top.values[:, :, 0 if alone else place]
        each = (local + begin, shown * weight, shown * cells[..., 0])
        found.append([tensor.flatten(0, 1) for tensor in each])
    return found


def _parts(count: int, size: int) -> Iterator[tuple[slice, int]]:
    """Yield the rows of full parts, then those of a smaller last one, each with the part size."""
    whole = count // size * size
    if whole:
        yield slice(0, whole), size
    if count > whole:
        yield slice(whole, count), count - whole


METHOD = Method(
    name="comixup",
    label="Co-Mixup",
    year=2021,
    summary="cells of many images, salient and unlike the other mixed images",
    paper="ICLR 2021, arXiv:2102.03065",
    options=CoMixupOptions,
    apply=comixup,
    plan=solved,
    noise=numbers,
    aggregate=root_mean_square,
)
