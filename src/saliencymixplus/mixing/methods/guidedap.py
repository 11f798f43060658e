"""Guided-AP: every pixel weighed by the two images' gradient saliency.

Kang and Kim, "GuidedMixup: An Efficient Mixup Strategy Guided by Saliency Maps", AAAI 2023
(arXiv:2306.16612). Like Guided-SR in all but the maps: √(mean over channels of (∂CE/∂x)²) of the
network in training.

The default takes them in evaluation mode. ``variant: published`` is the released code
(3neutronstar/GuidedMixup): in training mode, with a blur of 7 taps. What it passes to its pairing
function makes it pair at random, not greedily: ``guidedap-random-pairs`` is that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.methods.guidedsr import guidedsr, pair
from saliencymixplus.mixing.options import GradientSaliencyOptions, Label, number
from saliencymixplus.mixing.saliency import root_mean_square


@dataclass(frozen=True, kw_only=True)
class GuidedAPOptions(GradientSaliencyOptions):
    """Options of Guided-AP.

    Args:
        pairs: ``greedy`` is the paper's pairing, the others see ``MixingOptions``.
        smoothing: σ in pixels of a Gaussian blur of the maps.
        smoothing_taps: width of its kernel in pixels; 0: up to 3σ.
    """

    PUBLISHED: ClassVar[Mapping[str, Any]] = {
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
    summary="pixels weighed by the network's gradient saliency",
    paper="arXiv:2306.16612",
    options=GuidedAPOptions,
    apply=guidedsr,
    pair=pair,
    aggregate=root_mean_square,
    recipes={
        "guidedap-published": {"variant": "published"},
        "guidedap-random-pairs": {"variant": "published", "pairs": "permutation"},
    },
)
