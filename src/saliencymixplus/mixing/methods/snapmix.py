"""SnapMix: boxes of two sizes, and label weights from class-activation maps.

Huang, Wang and Tao, "SnapMix: Semantically Proportional Mixing for Augmenting Fine-grained Data",
AAAI 2021 (arXiv:2012.04846): a box of the second image, resized to another box of the first, and
each label weighed by how much of its own image's class activation shows (equations 4 and 5). The
two weights need not sum to 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.boxes import box_mask


def class_activation(
    features: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, size: tuple[int, int]
) -> Tensor:
    """Class-activation maps (B, H, W) with a minimum of 0 and a sum of 1; NaN where constant.

    Args:
        features: (B, D, h, w), the last feature maps, before their ReLU or after it.
        weight: (K, D) and bias: (K,) of the linear layer.
        labels: (B,) int64.
        size: (H, W) of the images.
    """
    maps = torch.einsum("bd,bdhw->bhw", weight[labels], features.relu())
    if bias is not None:
        maps = maps + bias[labels][:, None, None]
    maps = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / maps.sum((1, 2), keepdim=True)


def crop_into(images: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The box ``source`` of each image (M, C, H, W), bilinearly resized (align_corners) to the box
    ``target``; meaningless outside it. Boxes are (M or 1, 4) int64 corners."""
    size, _, height, width = images.shape
    rows = _lines(source[:, 0], source[:, 2], target[:, 0], target[:, 2], height)
    columns = _lines(source[:, 1], source[:, 3], target[:, 1], target[:, 3], width)
    grid = torch.stack(
        (
            columns[:, None, :].expand(-1, height, width),
            rows[:, :, None].expand(-1, height, width),
        ),
        dim=3,
    )
    return F.grid_sample(
        images.float(),
        grid.expand(size, height, width, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    ).to(images.dtype)


def _lines(first: Tensor, last: Tensor, start: Tensor, stop: Tensor, side: int) -> Tensor:
    """Where the pixels of a target line come from, as places −1 … 1 in the source: (N, side)."""
    pixels = torch.arange(side, device=start.device) - start[:, None]
    steps = (stop - start - 1).clamp_min(1)[:, None]
    place = first[:, None] + pixels * (last - first - 1)[:, None] / steps
    place = torch.where(pixels < (stop - start)[:, None], place, last[:, None] - 1.0)
    return 2.0 * place / max(side - 1, 1) - 1.0


def activation_labels(
    maps_a: Tensor, maps_b: Tensor, boxes_a: Tensor, boxes_b: Tensor, same: Tensor
) -> tuple[Tensor, Tensor]:
    """The weights of both labels, (M,) each.

    Args:
        maps_a, maps_b: (M, H, W) from ``class_activation``.
        boxes_a: where the paste goes; boxes_b: where it comes from; (M or 1, 4).
        same: (M,) bool, the labels are equal: both weights become their sum, as released.
    """
    height, width = maps_a.shape[1:]
    inside_a = box_mask(boxes_a, height, width)[:, 0]
    inside_b = box_mask(boxes_b, height, width)[:, 0]
    lam_a = 1.0 - (maps_a * inside_a).sum((1, 2)) / (maps_a.sum((1, 2)) + 1e-8)
    lam_b = (maps_b * inside_b).sum((1, 2)) / (maps_b.sum((1, 2)) + 1e-8)
    both = lam_a + lam_b
    lam_a, lam_b = torch.where(same, both, lam_a), torch.where(same, both, lam_b)
    area = 1.0 - inside_a.float().mean((1, 2))
    return torch.where(lam_a.isnan(), area, lam_a), torch.where(lam_b.isnan(), 1.0 - area, lam_b)


def not_empty(boxes: Tensor) -> Tensor:
    """Whether boxes (N, 4) hold a pixel, (N,) bool."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
