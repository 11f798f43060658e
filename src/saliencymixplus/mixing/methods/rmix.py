"""R-Mix: each image keeps the patches whose saliency is above a random quantile.

Luu, Huang, Xing, Lee and Wang, "Expeditious Saliency-guided Mix-up through Random Gradient
Thresholding", 2022 (arXiv:2212.04875). The map √(mean over channels of (∂CE/∂x)²) is averaged over
patches; an image's mask is 1 in patches at or above its random quantile, one of ten from 0 to 0.99.
Where only one mask is 1, that image is shown; elsewhere both are blended with λ₀. λ is the mean
weight of the first image.

By default, λ₀ is drawn for each pair and maps are computed in evaluation mode. ``variant:
published`` is the released code (minhlong94/Random-Mixup), with one λ₀ for the batch. The paper's
quantiles by reinforcement learning are not implemented. With a constant map, all patches are
salient.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.combine import blend
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import sum_to_one
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import GradientSaliencyOptions, Label, Scope, number
from saliencymixplus.mixing.saliency import root_mean_square

_QUANTILES = 10


@dataclass(frozen=True, kw_only=True)
class RMixOptions(GradientSaliencyOptions):
    """Options of R-Mix, besides those of the saliency pass.

    Args:
        variant: ``corrected``, or ``published``: one λ₀ per batch, maps in training mode.
        alpha: λ₀ ~ Beta(alpha, alpha), the first image's weight where the masks agree; 0.05 … 100.
        lam0: one λ₀ for the ``batch`` or one for each ``sample``.
        patch: side of a patch in pixels, 1 … 512; the last patches are smaller if it does not
            divide the side of the image.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixer = create("rmix", patch=4)
        >>> mixed = mixer(torch.rand(4, 3, 8, 8), torch.arange(4), saliency=torch.rand(4, 8, 8))
        >>> mixed.mask[0, 0, :4, :4].unique().numel()  # one weight per patch
        1
    """

    PUBLISHED = {
        "pairs": "permutation",
        "lam0": "batch",
        "saliency_mode": "train",
        "batch_norm": "updated",
    }

    variant: Literal["corrected", "published"] = "corrected"
    label: Label = "area"
    alpha: float = number(1.0, 0.05, 100.0)
    lam0: Scope = "sample"
    patch: int = number(8, 1, 512)

    per_sample = True  # the quantiles, whatever ``lam0`` says

    @property
    def lam0_per_sample(self) -> bool:
        return self.lam0 == "sample"


def rmix(sources: Sources, draw: Draw, options: RMixOptions) -> Blend:
    """λ is the first image's mean weight; ``draw.uniform`` (M, 2) chooses the quantiles."""
    lam0, uniform = draw.take("lam0", "uniform")
    assert sources.saliency is not None
    pooled = sum_to_one(patches(sources.saliency, options.patch), at_once=True)
    chance = uniform[:, 0]
    first = salient(pooled[: draw.size], quantiles(chance))
    if draw.size == pooled.shape[0]:  # an image has the same mask as first and as second
        second = salient(pooled, quantiles(chance)).index_select(0, sources.index_b)
    else:
        second = salient(pooled.index_select(0, sources.index_b), quantiles(uniform[:, 1]))
    weight = torch.where(first == second, lam0.float()[:, None, None], first.float())
    spread = weight.repeat_interleave(options.patch, 1).repeat_interleave(options.patch, 2)
    weight_b = 1.0 - spread[:, None, : sources.height, : sources.width]
    return Blend(blend(sources, weight_b), weight_b)


def patches(saliency: Tensor, side: int) -> Tensor:
    """Mean of maps (B, H, W) over patches of ``side`` pixels, (B, ⌈H/side⌉, ⌈W/side⌉)."""
    return F.avg_pool2d(saliency.float()[:, None], side, ceil_mode=True)[:, 0]


def quantiles(chance: Tensor) -> Tensor:
    """One of ten quantiles from 0 to 0.99 for each number in [0, 1)."""
    steps = torch.linspace(0.0, 0.99, _QUANTILES, dtype=torch.float32, device=chance.device)
    return steps.index_select(0, (chance * _QUANTILES).long())


def salient(pooled: Tensor, quantile: Tensor) -> Tensor:
    """True where maps (N, h, w) are at least their linearly interpolated quantile (N,)."""
    ordered = pooled.flatten(1).sort(dim=1).values
    position = quantile * (ordered.shape[1] - 1)
    below = position.floor().long()
    above = (below + 1).clamp_max(ordered.shape[1] - 1)
    low, high = (ordered.gather(1, index[:, None]) for index in (below, above))
    threshold = torch.lerp(low, high, (position - below)[:, None])
    return pooled >= threshold[:, :, None]


METHOD = Method(
    name="rmix",
    label="R-Mix",
    year=2022,
    summary="patches above a random quantile of gradient saliency",
    paper="arXiv:2212.04875",
    options=RMixOptions,
    apply=rmix,
    aggregate=root_mean_square,
)
