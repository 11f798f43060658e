"""mixup: the convex combination of two images and of their labels.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018 (arXiv:1710.09412),
section 2: λ ~ Beta(α, α), x̃ = λ·x_a + (1 − λ)·x_b, ỹ = λ·y_a + (1 − λ)·y_b.
"""

from dataclasses import dataclass

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.combine import blend
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class MixupOptions(MixingOptions):
    """Options of mixup.

    Args:
        alpha: λ ~ Beta(alpha, alpha), the first image's weight; 0.05 … 100. The paper uses 1 on
            CIFAR and 0.2 on ImageNet.
        lam0: one λ for the ``batch``, as in the paper's code, or one for each ``sample``.

    Examples:
        >>> import torch
        >>> from saliencymixplus.mixing import create
        >>> mixed = create("mixup", alpha=0.2)(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> mixed.lam.unique().shape
        torch.Size([1])
    """

    alpha: float = number(1.0, 0.05, 100.0)
    lam0: Scope = "batch"


def mixup(sources: Sources, draw: Draw, options: MixupOptions) -> Blend:
    """λ is λ₀ itself."""
    (lam0,) = draw.take("lam0")
    weight = (1.0 - lam0)[:, None, None, None]
    mask = weight.expand(-1, 1, sources.height, sources.width)
    return Blend(blend(sources, weight), mask, lam0)


METHOD = Method(
    name="mixup",
    label="mixup",
    year=2018,
    summary="convex combination of two images",
    paper="ICLR 2018, arXiv:1710.09412",
    options=MixupOptions,
    apply=mixup,
)
