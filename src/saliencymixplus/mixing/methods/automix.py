"""AutoMix: masks from a small block that is trained along with the network.

Liu et al., "AutoMix: Unveiling the Power of Mixup for Stronger Classifiers", ECCV 2022
(arXiv:2103.13027), section 3.2. Cross-attention between the feature maps of two images, from the
network's moving average, determines how much of the second image each cell shows. λ is drawn from
Beta(α, α) once per batch; the mask does not depend on it, except that if λ is within 0.08 of 0 or
1, all pixels have its weight, as in the released code.

The block is trained on other pairs and another λ, by the mixed cross-entropy of the moving average,
whose weights do not change, plus ``mask_loss``, which keeps the mean of the mask near λ. The
network is trained on the mixed images and, as in the paper, on the clean ones (``clean_gradient``).

The released code (Westlake-AI/openmixup) runs the moving average in training mode, raises its decay
to 0.999999, and has a separate head for the clean images. Here, the average runs in evaluation
mode, as when it is evaluated, and there is only one head.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.batch import Batch, Blend, Sources
from saliencymixplus.mixing.checks import logits_of
from saliencymixplus.mixing.combine import blend, weighted_sum
from saliencymixplus.mixing.criterion import CROSS_ENTROPY
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.features import feature_map
from saliencymixplus.mixing.maps import enlarged
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, number, text
from saliencymixplus.mixing.saliency import in_mode

_MARGIN = 0.08


@dataclass(frozen=True, kw_only=True)
class AutoMixOptions(MixingOptions):
    """Options of AutoMix.

    Args:
        alpha: λ ~ Beta(alpha, alpha), once per batch; 0.05 … 100.
        layer: module of the network that returns the block's feature maps.
        momentum: decay of the network's moving average for the block, 0.5 … 0.99999. If
            ``training.weight_average`` is set, that average is used instead.
    """

    label: Label = "area"
    alpha: float = number(2.0, 0.05, 100.0)
    layer: str = text("layer3", r"[\w.]+")
    momentum: float = number(0.999, 0.5, 0.99999)
    clean_gradient: float = number(1.0, 0.0, 100.0)

    needs = frozenset({"network"})
    lam0_per_sample = False
    saliency_weights = "average"
    part_passes = 1.0  # two forward passes, and one backward pass to the images alone

    @property
    def average_decay(self) -> float | None:
        return self.momentum


class MixBlock(nn.Module):
    """The mixing block for feature maps with ``channels`` channels (equation 6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, max(1, channels // 2), 1, dtype=torch.float32)
        self.value = nn.Conv2d(channels, 1, 1, dtype=torch.float32)

    def forward(self, features_a: Tensor, features_b: Tensor) -> Tensor:
        """Weight (M, h, w) of the second image from feature maps (M, C, h, w) of both."""
        height, width = features_a.shape[2:]
        query, key = self.query(features_a).flatten(2), self.query(features_b).flatten(2)
        value = self.value(features_b).flatten(2)  # (M, 1, cells of b)
        scores = query.mT @ key / query.shape[1] ** 0.5  # (M, cells of a, cells of b)
        weight: Tensor = (scores.softmax(2) @ value.mT)[..., 0].sigmoid()
        return weight.reshape(-1, height, width)


def block_for(network: nn.Module, images: Tensor, options: AutoMixOptions) -> nn.Module:
    """Create an untrained block for ``network``, with images (B, C, H, W) like its input.

    Raises:
        NetworkError: the network has no such layer, or it returns no feature map.
    """
    features = feature_map(network, images, options.layer)
    return MixBlock(features.shape[1]).to(images.device)


def planned_mask(batch: Batch, draw: Draw, options: AutoMixOptions, block: nn.Module) -> Tensor:
    """Weight (M, h, w) of the second image in each cell of the feature map."""
    assert batch.model is not None
    features = feature_map(batch.model, batch.images, options.layer).float()
    weight: Tensor = block(features[: draw.size], features.index_select(0, draw.index_b))
    return weight


def automix(sources: Sources, draw: Draw, options: AutoMixOptions) -> Blend:
    """λ is λ₀, whatever the mask."""
    assert sources.plan is not None
    (lam0,) = draw.take("lam0")
    weight = enlarged(near_the_ends(sources.plan, lam0.float()), sources.height, sources.width)
    return Blend(blend(sources, weight[:, None]), weight[:, None], lam=lam0)


def block_loss(batch: Batch, draw: Draw, options: AutoMixOptions, block: nn.Module) -> Tensor:
    """The loss of the block, a scalar, on its own pairs of the first M images."""
    assert batch.model is not None
    noise, lam1 = draw.take("noise", "lam1")
    images, labels = batch.images[: draw.size], batch.labels[: draw.size]
    partners, lam = noise[:, 0].argsort(), lam1[:1].float()
    features = feature_map(batch.model, images, options.layer).float()
    weight = block(features, features.index_select(0, partners))
    shown = enlarged(weight, *images.shape[2:])[:, None]
    mixed = weighted_sum(images, images.index_select(0, partners), shown)
    # Not ``pass_mode``, which writes to buffers that the backward pass may still need.
    with in_mode(batch.model, "eval"):
        logits = logits_of(batch.model(mixed))
    first = CROSS_ENTROPY(logits, labels)
    second = CROSS_ENTROPY(logits, labels.index_select(0, partners))
    return (lam * first + (1.0 - lam) * second + mask_loss(weight, lam)).sum()


def mask_loss(mask_b: Tensor, lam: Tensor | float) -> Tensor:
    """0.1 · max(0, |1 − mean of the mask − λ| − 0.1), over the whole batch."""
    return 0.1 * ((1.0 - mask_b.mean() - lam).abs() - 0.1).clamp_min(0.0)


def near_the_ends(mask_b: Tensor, lam: Tensor) -> Tensor:
    """The mask (M, h, w), or 1 − λ everywhere if λ (1,) is near 0 or 1, as released."""
    middle = (lam > _MARGIN) & (1.0 - lam > _MARGIN)
    return torch.where(middle, mask_b, (1.0 - lam).to(mask_b.dtype))


def one_normal(options: Any, height: int, width: int) -> tuple[int, ...]:
    """One number per sample; their order gives the block's partners."""
    return (1,)


METHOD = Method(
    name="automix",
    label="AutoMix",
    year=2022,
    summary="a mask from a block that is trained along with the network",
    paper="arXiv:2103.13027",
    options=AutoMixOptions,
    apply=automix,
    noise=one_normal,
    plan=planned_mask,
    part=block_for,
    part_loss=block_loss,
    second_lam0=True,
)
