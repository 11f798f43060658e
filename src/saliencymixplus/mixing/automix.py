"""AutoMix: masks from a small trained mixing block.

Liu et al., "AutoMix: Unveiling the Power of Mixup for Stronger Classifiers", ECCV 2022
(arXiv:2103.13027), section 3.2: cross-attention from one image's feature map to the other's says
how much of the second each cell shows. The block learns from the mixed loss of its own and from
``mask_loss``, which keeps the mean of the mask near λ.
"""

import torch
from torch import Tensor, nn


class MixBlock(nn.Module):
    """The mixing block on feature maps of ``channels`` channels (equation 6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 2, 1)
        self.value = nn.Conv2d(channels, 1, 1)

    def forward(self, features_a: Tensor, features_b: Tensor) -> Tensor:
        """Weight (M, h, w) of the second image from feature maps (M, C, h, w) of both."""
        height, width = features_a.shape[2:]
        query, key = self.query(features_a).flatten(2), self.query(features_b).flatten(2)
        value = self.value(features_b).flatten(2)  # (M, 1, cells of b)
        scores = query.mT @ key / query.shape[1] ** 0.5  # (M, cells of a, cells of b)
        weight = (scores.softmax(2) @ value.mT)[..., 0].sigmoid()
        return weight.unflatten(1, (height, width))


def mask_loss(mask_b: Tensor, lam: Tensor | float) -> Tensor:
    """0.1 · max(0, |1 − mean mask − λ| − 0.1), a scalar over the whole batch."""
    return 0.1 * ((1.0 - mask_b.mean() - lam).abs() - 0.1).clamp_min(0.0)


def mixed_by(images_a: Tensor, images_b: Tensor, mask_b: Tensor) -> Tensor:
    """Images (M, C, H, W) with the second's weight (M, h, w), each cell repeated."""
    rows = images_a.shape[2] // mask_b.shape[1]
    columns = images_a.shape[3] // mask_b.shape[2]
    weight = mask_b.repeat_interleave(rows, 1).repeat_interleave(columns, 2)[:, None]
    return (1.0 - weight) * images_a + weight * images_b


def near_the_ends(mask_b: Tensor, lam: float, margin: float = 0.08) -> Tensor:
    """The mask, or 1 − λ everywhere where λ is within ``margin`` of 0 or 1, as released."""
    if lam <= margin or 1.0 - lam <= margin:
        return torch.full_like(mask_b, 1.0 - lam)
    return mask_b
