"""Guided-AP: every pixel weighted by the two images' gradient saliency.

Kang and Kim, "GuidedMixup: An Efficient Mixup Strategy Guided by Saliency Maps", AAAI 2023
(arXiv:2306.16612). Like Guided-SR except for the maps: √(mean over channels of (∂CE/∂x)²) of the
network being trained.

The default computes them in evaluation mode. ``variant: published`` is the released code
(3neutronstar/GuidedMixup): in training mode, with a blur of 7 taps. That code passes an argument to
its pairing function that makes it pair at random instead of greedily; ``guidedap-random-pairs``
does the same.
"""

from dataclasses import dataclass
from typing import Literal

from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.methods.guidedsr import guidedsr, pair
from saliencymixplus.mixing.options import GradientSaliencyOptions, Label, number
from saliencymixplus.mixing.saliency import root_mean_square


@dataclass(frozen=True, kw_only=True)
class GuidedAPOptions(GradientSaliencyOptions):
    """Options of Guided-AP, besides those of the saliency pass.

    Args:
        variant: ``corrected``, or ``published``: the saliency pass in train mode and a blur of 7
            taps, as released.
        pairs: ``greedy`` is the paper's pairing; for the others see ``MixingOptions``.
        smoothing_taps: width of the smoothing kernel in pixels, 0 … 127; 0: 3σ on either side.

    Examples:
        >>> import torch
        >>> from saliencymixplus.mixing import create
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
        >>> mixer = create("guidedap", smoothing=1.0)
        >>> mixer(torch.rand(4, 3, 8, 8), torch.arange(4), model=network).images.shape
        torch.Size([4, 3, 8, 8])
    """

    PUBLISHED = {
        "smoothing_taps": 7,
        "saliency_mode": "train",
        "batch_norm": "updated",
    }

    variant: Literal["corrected", "published"] = "corrected"
    label: Label = "area"
    pairs: Literal["greedy", "full", "half", "permutation"] = "greedy"  # type: ignore[assignment]
    smoothing: float = number(3.0, 0.0, 64.0)
    smoothing_taps: int = number(0, 0, 127)


METHOD = Method(
    name="guidedap",
    label="Guided-AP",
    year=2023,
    summary="pixels weighted by the network's gradient saliency",
    paper="arXiv:2306.16612",
    options=GuidedAPOptions,
    apply=guidedsr,
    pair=pair,
    aggregate=root_mean_square,
    recipes={
        "guidedap-random-pairs": {"variant": "published", "pairs": "permutation"},
    },
)
