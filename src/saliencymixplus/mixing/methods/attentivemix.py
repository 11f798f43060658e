"""AttentiveMix+: the first image in the cells that the network attends to, the second elsewhere.

OpenMixup's variant of Attentive CutMix (Westlake-AI/openmixup): attention is the mean over the
channels of a network's last feature map. The k cells with the highest attention show the first
image, the others the second; k = ⌊g²·λ₀⌋ with λ₀ ~ Beta(α, α), at least one of the g² cells.

The network is the one being trained, in evaluation mode, unless the caller passes another one as
``model`` (OpenMixup: a frozen pretrained one) or the attention as ``saliency`` (B, g, g). By
default, each pair has its own λ₀, and its own area as λ. ``variant: published`` has one λ₀ for the
batch, and the area of the first pair as λ of all, although other pairs' areas differ if the cells
are not all of the same size.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Batch, Blend, Sources
from saliencymixplus.mixing.combine import paste
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.features import last_feature_map
from saliencymixplus.mixing.maps import enlarged, ranks
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class AttentiveMixOptions(MixingOptions):
    """Options of AttentiveMix+.

    Args:
        variant: ``corrected``, or ``published``: one λ₀ per batch, and the first pair's area as λ.
        alpha: λ₀ ~ Beta(alpha, alpha), the first image's fraction of the cells; 0.05 … 100.
        lam0: one λ₀ for the ``batch`` or one for each ``sample``.
        top_k: number of cells, 0 … 10000; 0: given by λ₀.
        area: λ is each pair's ``own`` area or that of the ``first`` pair.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixer = create("attentivemix", top_k=4)
        >>> mixed = mixer(torch.rand(4, 3, 8, 8), torch.arange(4), saliency=torch.rand(4, 4, 4))
        >>> mixed.lam.tolist()  # 4 of 16 cells
        [0.25, 0.25, 0.25, 0.25]
    """

    PUBLISHED = {
        "pairs": "permutation",
        "lam0": "batch",
        "area": "first",
    }

    variant: Literal["corrected", "published"] = "corrected"
    label: Label = "area"
    alpha: float = number(1.0, 0.05, 100.0)
    lam0: Scope = "sample"
    top_k: int = number(0, 0, 10_000)
    area: Literal["own", "first"] = "own"

    needs = frozenset({"network"})
    coarse_maps = True


def attention(batch: Batch, options: AttentiveMixOptions) -> Tensor:
    """Mean over the channels of the last feature map, (B, g, h)."""
    assert batch.model is not None
    return last_feature_map(batch.model, batch.images).float().mean(1)


def attentivemix(sources: Sources, draw: Draw, options: AttentiveMixOptions) -> Blend:
    """λ is the area of the first image."""
    (lam0,) = draw.take("lam0")
    assert sources.saliency is not None
    maps = sources.saliency[: draw.size]
    cells = maps[0].numel()
    count = torch.full_like(lam0, options.top_k) if options.top_k else (cells * lam0).floor()
    chosen = most_attentive(maps, count.clamp(1, cells).long())
    mask = ~enlarged(chosen, sources.height, sources.width)[:, None]
    own = 1.0 - mask.float().mean((1, 2, 3))
    return Blend(paste(sources, mask), mask, own[:1] if options.area == "first" else own)


def most_attentive(maps: Tensor, count: Tensor) -> Tensor:
    """True at the ``count`` (N or 1,) highest cells of maps (N, g, h), the first of equal ones."""
    return (ranks(maps, stable=True) < count[:, None]).view_as(maps)


METHOD = Method(
    name="attentivemix",
    label="AttentiveMix+",
    year=2022,
    summary="the cells that the network attends to most, at random size",
    paper="arXiv:2209.04851",
    options=AttentiveMixOptions,
    apply=attentivemix,
    maps=attention,
)
