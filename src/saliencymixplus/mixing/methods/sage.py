"""SAGE: the second image shifted to where the mixture keeps most saliency.

Ma, Dvornik, Zhang, Pishdad, Derpanis and Fazly, "SAGE: Saliency-Guided Mixup with Optimal
Rearrangements", BMVC 2022 (arXiv:2211.00113), section 3. The gradient maps are blurred, normalised
to a sum of 1 and weighted by α and 1 − α. Of the offsets tried, the second image is shifted by the
one that keeps most saliency in the mixture. M = n_a / (n_a + n_b) is then the weight of the first
image at each pixel, and λ is the mean of M.

``variant: published`` is the released code (SamsungLabs/SAGE): maps in training mode, from the
binary cross-entropy of the softmax, and M = 0 where neither image is salient, so that the frame
left by the shift becomes 0. By default, the maps are from the cross-entropy in evaluation mode;
where neither image is salient, the frame shows the first image, and other pixels blend both with α
and 1 − α.

Each offset takes a pass over all pixels: 39 of them at 32 pixels, 1998 at 224 (0.01 of all).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.combine import gathered, weighted_sum
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import sum_to_one
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import GradientSaliencyOptions, Label, number
from saliencymixplus.mixing.saliency import absolute_mean

_AT_ONCE = 2**22  # values of shifted maps in memory while offsets are tried


@dataclass(frozen=True, kw_only=True)
class SAGEOptions(GradientSaliencyOptions):
    """Options of SAGE, besides those of the saliency pass.

    Args:
        variant: ``corrected``, or ``published``: maps in training mode from the binary loss, and
            uncovered pixels black.
        alpha: λ₀ ~ Beta(alpha, alpha), once per batch; 0.05 … 100.
        largest: α = largest · λ₀ is the weight of the first image's map; 0.01 … 1. Above ½, the
            best offset often moves the second image out of sight.
        offsets: fraction of all (2H − 1)(2W − 1) offsets that is tried, at least one; 0 … 1.
        smoothing_taps: width of the smoothing kernel in pixels, 0 … 127; 0: 3σ on either side.
        saliency_loss: ``cross_entropy``, or ``binary``: the binary one of each class's probability.
        uncovered: pixels where neither image is salient: ``shown`` or ``black``, see above.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixer = create("sage", offsets=0.1)
        >>> mixed = mixer(torch.rand(4, 3, 8, 8), torch.arange(4), saliency=torch.rand(4, 8, 8))
        >>> bool(((mixed.lam >= 0) & (mixed.lam <= 1)).all())
        True
    """

    PUBLISHED = {
        "pairs": "permutation",
        "saliency_mode": "train",
        "batch_norm": "updated",
        "saliency_loss": "binary",
        "uncovered": "black",
    }

    variant: Literal["corrected", "published"] = "corrected"
    label: Label = "area"
    alpha: float = number(1.0, 0.05, 100.0)
    largest: float = number(0.5, 0.01, 1.0)
    offsets: float = number(0.01, 0.0, 1.0)
    smoothing: float = number(1.0, 0.0, 64.0)
    smoothing_taps: int = number(5, 0, 127)
    saliency_loss: Literal["cross_entropy", "binary"] = "cross_entropy"
    uncovered: Literal["shown", "black"] = "shown"

    per_sample = False


def offset_noise(options: SAGEOptions, height: int, width: int) -> tuple[int, ...]:
    """One number per offset; those with the highest numbers are tried."""
    return (2 * height - 1, 2 * width - 1)


def sage(sources: Sources, draw: Draw, options: SAGEOptions) -> Blend:
    """λ is the mean of M."""
    lam0, noise = draw.take("lam0", "noise")
    assert sources.saliency is not None
    height, width = sources.height, sources.width
    alpha = options.largest * lam0.float()[:, None, None]
    maps = sum_to_one(sources.saliency, at_once=True)
    first = maps[: draw.size] * alpha.clamp_min(1e-12)
    second = maps.index_select(0, sources.index_b) * (1.0 - alpha).clamp_min(1e-12)
    count = max(1, int((2 * height - 1) * (2 * width - 1) * options.offsets))
    tried = noise[0].flatten().topk(count).indices
    columns = 2 * width - 1
    offsets = torch.stack((tried // columns - height, tried % columns - width), dim=1) + 1
    best = best_offsets(first, second, offsets)
    shifted, covered = shift(second[:, None], best)
    total = first[:, None] + shifted
    weight = first[:, None] / total.clamp_min(1e-16)
    if options.uncovered == "shown":
        weight = torch.where(total > 0, weight, torch.where(covered, alpha[:, None], 1.0))
    b, _ = shift(sources.b, best)
    boxes, source_boxes = overlap(best, height, width)
    images = weighted_sum(sources.a, b, 1.0 - weight)
    return Blend(images, 1.0 - weight, boxes=boxes, source_boxes=source_boxes)


def best_offsets(first: Tensor, second: Tensor, offsets: Tensor) -> Tensor:
    """The offset (M, 2) that keeps most saliency, for each pair of maps (M, H, W).

    The first of equally good ones. ``offsets`` are (K, 2) rows down and columns to the right.
    """
    size, height, width = first.shape
    scores = []
    for some in offsets.split(max(1, _AT_ONCE // first.numel())):
        every = some.repeat(size, 1)  # (M · K, 2): all offsets for the first pair, and so on
        shifted, _ = shift(second.repeat_interleave(len(some), 0)[:, None], every)
        b = shifted.view(size, len(some), height, width)
        weight = first[:, None] / (first[:, None] + b).clamp_min(1e-16)
        scores.append((first[:, None] * weight + b * (1.0 - weight)).sum((2, 3)))
    return offsets.index_select(0, torch.cat(scores, dim=1).argmax(1))


def shift(values: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Shift values (M, C, H, W) down and right by ``offset`` (M, 2), filling with zeros.

    Also returns which pixels the shifted values cover, (M, 1, H, W) bool.
    """
    height, width = values.shape[2:]
    rows = torch.arange(height, device=values.device) - offset[:, :1]
    columns = torch.arange(width, device=values.device) - offset[:, 1:]
    inside_rows, inside_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    covered = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    return torch.where(covered, gathered(values, rows, columns), 0), covered


def overlap(offset: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Boxes (M, 4) of the visible part of the shifted image, in the mixture and in itself."""
    side = torch.stack([torch.full_like(offset[:, 0], n) for n in (height, width)], dim=1)
    start, end = offset.clamp_min(0), side + offset.clamp_max(0)
    return torch.cat((start, end), dim=1), torch.cat((start - offset, end - offset), dim=1)


METHOD = Method(
    name="sage",
    label="SAGE",
    year=2022,
    summary="the second image shifted to where both stay salient",
    paper="arXiv:2211.00113",
    options=SAGEOptions,
    apply=sage,
    noise=offset_noise,
    aggregate=absolute_mean,
)
