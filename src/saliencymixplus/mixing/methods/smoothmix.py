"""SmoothMix: a blob with soft edges instead of a box.

Lee et al., "SmoothMix: a Simple Yet Effective Data Augmentation to Train Robust Classifiers", CVPR
Workshops 2020, section 3: a Gaussian mask G with a uniform centre and σ ~ U(0.25, 0.5) image sides.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.combine import blend
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class SmoothMixOptions(MixingOptions):
    """Options of SmoothMix.

    Args:
        mask: one mask for the ``batch`` or one for each ``sample``.
        narrowest: lower end of σ ~ U(narrowest, widest), in image sides; 0.01 … 2.
        widest: upper end, not below ``narrowest``; 0.01 … 2.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixed = create("smoothmix")(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> mixed.mask.max().item()  # the second image alone, at the centre
        1.0
    """

    label: Label = "area"
    mask: Scope = "batch"
    narrowest: float = number(0.25, 0.01, 2.0)
    widest: float = number(0.5, 0.01, 2.0)

    def __post_init__(self) -> None:
        if self.narrowest > self.widest:
            raise ValueError(f"narrowest: {self.narrowest} is above widest: {self.widest}")


def smoothmix(sources: Sources, draw: Draw, options: SmoothMixOptions) -> Blend:
    """G weighs the second image; λ is 1 − its mean. λ₀ ~ U(0, 1) gives σ."""
    lam0, centre = draw.take("lam0", "centre")
    sigma = options.narrowest + (options.widest - options.narrowest) * lam0.float()
    rows = _bell(centre[:, 0], sigma, sources.height)
    columns = _bell(centre[:, 1], sigma, sources.width)
    mask = (rows[:, :, None] * columns[:, None, :])[:, None]
    return Blend(blend(sources, mask), mask)


def _bell(centre: Tensor, sigma: Tensor, side: int) -> Tensor:
    """exp(−(x − centre)² / 2σ²) along one side, (N, side)."""
    distance = torch.arange(side, device=centre.device) - centre[:, None]
    return torch.exp(-0.5 * (distance / (sigma * side)[:, None]) ** 2)


METHOD = Method(
    name="smoothmix",
    label="SmoothMix",
    year=2020,
    summary="a blob with soft edges",
    paper="CVPR Workshops 2020",
    options=SmoothMixOptions,
    apply=smoothmix,
)
