"""CutMix: a box of one image replaced by the same box of another.

Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
Features", ICCV 2019 (arXiv:1905.04899), section 3.1.
"""

from dataclasses import dataclass
from typing import Literal

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.boxes import BoxSize
from saliencymixplus.mixing.combine import paste_around
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, Scope, number
from saliencymixplus.mixing.positions import on_object


@dataclass(frozen=True, kw_only=True)
class CutMixOptions(MixingOptions):
    """Options of CutMix.

    Args:
        alpha: λ₀ ~ Beta(alpha, alpha), 1 − the box's area before clipping; 0.05 … 100. The paper
            uses 1 on CIFAR and ImageNet.
        box: one box for the ``batch``, as published, or one for each ``sample``.
        box_size: ``halves`` takes ⌊side/2⌋ pixels on either side of the centre, as published, so
            that odd sides lose a pixel; ``exact`` keeps the whole side.
        position: ``random``: centred on a uniformly random pixel; ``object``: on a random pixel of
            the second image's object, as with a perfect saliency map (needs masks).
        shuffled_labels: a control for experiments: this fraction of the mixed images, 0 … 1,
            exchange their λ with one another, so that the values are the same but wrong. Not with
            ``box: batch`` and ``label: area``, as all λ are then equal.

    Examples:
        >>> import torch
        >>> from saliencymixplus.mixing import create
        >>> mixer = create("cutmix", alpha=0.5, box="sample")
        >>> mixed = mixer(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> mixed.boxes.shape  # r0, c0, r1, c1
        torch.Size([4, 4])
    """

    alpha: float = number(1.0, 0.05, 100.0)
    box: Scope = "batch"
    box_size: BoxSize = "halves"
    position: Literal["random", "object"] = "random"
    label: Label = "area"
    shuffled_labels: float = number(0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.shuffled_labels > 0 and (self.box, self.label) == ("batch", "area"):
            raise ValueError("shuffled_labels: with box: batch all λ are equal: use box: sample")


def cutmix(sources: Sources, draw: Draw, options: CutMixOptions) -> Blend:
    """λ is 1 − the box's area fraction after clipping."""
    lam0, centre = draw.take("lam0", "centre")
    if options.position == "object":
        centre = on_object(sources, draw, len(lam0))
    return paste_around(sources, lam0, centre, options.box_size)


_OBJECT_MASK = {"box": "sample", "position": "object", "label": "mask"}

METHOD = Method(
    name="cutmix",
    label="CutMix",
    year=2019,
    summary="a random box of one image in another",
    paper="ICCV 2019, arXiv:1905.04899",
    options=CutMixOptions,
    apply=cutmix,
    recipes={
        "cutmix-published": {"pairs": "permutation"},
        # Controls: other features of the corrected SaliencyMix+, without saliency.
        "cutmix-clean-gradient": {"clean_gradient": 1.0},
        "cutmix-sample-box": {"box": "sample"},
        # Object masks in place of saliency.
        "cutmix-mask": {"box": "sample", "label": "mask"},
        "cutmix-object": {"box": "sample", "position": "object"},
        "cutmix-object-mask": _OBJECT_MASK,
        # The same λ, exchanged among all or half of the images.
        "cutmix-area-shuffled": {"box": "sample", "shuffled_labels": 1.0},
        "cutmix-mask-half-shuffled": {"box": "sample", "label": "mask", "shuffled_labels": 0.5},
        "cutmix-mask-shuffled": {"box": "sample", "label": "mask", "shuffled_labels": 1.0},
        "cutmix-object-mask-half-shuffled": _OBJECT_MASK | {"shuffled_labels": 0.5},
        "cutmix-object-mask-shuffled": _OBJECT_MASK | {"shuffled_labels": 1.0},
    },
)
