"""GridMix: each cell of a regular grid comes from one image or the other.

Baek, Bang and Shim, "GridMix: Strong regularization through local context mapping", Pattern
Recognition 109, 2021, section 3.1. The paper's second part, a classifier for every cell, would
change the network and is omitted.
"""

from dataclasses import dataclass

import torch

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.combine import paste
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import enlarged
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class GridMixOptions(MixingOptions):
    """Options of GridMix.

    Args:
        alpha: λ₀ ~ Beta(alpha, alpha), 0.05 … 100; each cell shows the second image with
            probability 1 − λ₀.
        mask: one mask for the ``batch`` or one for each ``sample``.
        cells: number of cells along each side, 1 … 64.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixed = create("gridmix", cells=2)(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> (4 * mixed.lam % 1).tolist()  # λ is a multiple of ¼
        [0.0, 0.0, 0.0, 0.0]
    """

    alpha: float = number(1.0, 0.05, 100.0)
    label: Label = "area"
    mask: Scope = "batch"
    cells: int = number(4, 1, 64)


def cell_noise(options: GridMixOptions, height: int, width: int) -> tuple[int, ...]:
    """One normal number per cell."""
    return (options.cells, options.cells)


def gridmix(sources: Sources, draw: Draw, options: GridMixOptions) -> Blend:
    """λ is the fraction of pixels from the first image."""
    lam0, noise = draw.take("lam0", "noise")
    chance = torch.special.ndtr(noise)  # normal to uniform
    second = chance >= lam0.float()[:, None, None]  # (N, cells, cells)
    mask = enlarged(second, sources.height, sources.width)[:, None]
    return Blend(paste(sources, mask), mask)


METHOD = Method(
    name="gridmix",
    label="GridMix",
    year=2021,
    summary="cells of a grid",
    paper="Pattern Recognition 109, 2021",
    options=GridMixOptions,
    apply=gridmix,
    noise=cell_noise,
)
