"""ResizeMix: the whole second image, shrunk, pasted into the first.

Qin et al., "ResizeMix: Mixing Data with Preserved Object Information and True Labels", 2020
(arXiv:2012.11101), section 3.3: τ ~ U(0.1, 0.8), the source resized to τH × τW and pasted at a
random place inside the target; λ is the target's area share.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.boxes import box_mask
from saliencymixplus.mixing.draws import Draw, scale
from saliencymixplus.mixing.options import MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class ResizeMixOptions(MixingOptions):
    """τ is uniform between ``smallest`` and ``largest``, once a batch or for each sample."""

    box: Scope = "batch"
    smallest: float = number(0.1, 0.01, 1.0)
    largest: float = number(0.8, 0.01, 1.0)

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"smallest: {self.smallest} is above largest: {self.largest}")

    @property
    def per_sample(self) -> bool:
        return self.box == "sample"


def resizemix(sources: Sources, draw: Draw, options: ResizeMixOptions) -> Blend:
    """λ is 1 − the box's area share; λ₀ ~ U(0, 1) gives τ."""
    assert draw.lam0 is not None
    assert draw.uniform is not None
    height, width = sources.height, sources.width
    tau = options.smallest + (options.largest - options.smallest) * draw.lam0
    sides = torch.stack(((height * tau).long(), (width * tau).long()), dim=1)
    corner = scale(draw.uniform, height - sides[:, 0] + 1, width - sides[:, 1] + 1)
    boxes = torch.cat((corner, corner + sides), dim=1)
    mask = box_mask(boxes, height, width)
    images = torch.where(mask, resized_into(sources.b, boxes), sources.a)
    # Not torch.tensor([…], device=…): copying from the host cannot be captured in a CUDA graph.
    sides_of_b = torch.stack(
        (torch.full_like(boxes[:, 0], height), torch.full_like(boxes[:, 0], width)), dim=1
    )
    whole = torch.cat((torch.zeros_like(corner), sides_of_b), dim=1)
    return Blend(images, mask, boxes=boxes, source_boxes=whole)


def resized_into(images: Tensor, boxes: Tensor) -> Tensor:
    """Each image (M, C, H, W) bilinearly resized to its box (M or 1, 4); meaningless outside it.

    The same as ``F.interpolate(image, size=box)`` and pasting, but for all boxes at once.
    """
    size, _, height, width = images.shape
    rows = _within(boxes[:, 0], boxes[:, 2], height)  # (N, H)
    columns = _within(boxes[:, 1], boxes[:, 3], width)  # (N, W)
    grid = torch.stack(
        (
            columns[:, None, :].expand(-1, height, width),
            rows[:, :, None].expand(-1, height, width),
        ),
        dim=3,
    )
    resized = F.grid_sample(
        images.float(),
        grid.expand(size, height, width, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return (resized if images.dtype.is_floating_point else resized.round()).to(images.dtype)


def _within(start: Tensor, end: Tensor, side: int) -> Tensor:
    """Pixel centres along one side as places in the source, −1 … 1: (N, side) float32."""
    pixels = torch.arange(side, device=start.device) - start[:, None]
    return (2.0 * pixels + 1.0) / (end - start).clamp_min(1)[:, None] - 1.0
