"""ResizeMix: the whole second image, shrunk, pasted into the first.

Qin et al., "ResizeMix: Mixing Data with Preserved Object Information and True Labels", 2020
(arXiv:2012.11101), section 3.3: with τ ~ U(0.1, 0.8), the source is resized to τH × τW and pasted
at a random position in the target; λ is the fraction of the target that stays visible.

The paper does not say how the source is resized or how the position is drawn. By default, it is
resized bilinearly to exactly the box, and all positions inside the image are equally likely.
``variant: published`` is the released code (JayQine/ResizeMix): nearest neighbour at the exact
scale τ, one τ for the batch but a position for each sample, which is drawn over the whole image and
then pushed inside, so that boxes touch the border more often.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.boxes import box_mask
from saliencymixplus.mixing.combine import eager_on_cpu, gathered, parts, sampled
from saliencymixplus.mixing.draws import Draw, scale
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, number


@dataclass(frozen=True, kw_only=True)
class ResizeMixOptions(MixingOptions):
    """Options of ResizeMix.

    Args:
        variant: ``corrected`` or ``published``, see above.
        box: one size τ and position for the ``batch``, both for each ``sample``, or one size for
            the batch and a ``place`` for each sample, as released.
        position: drawn among positions ``inside`` the image, or over the whole image and then
            ``pushed`` inside, as released.
        interpolation: of the shrunk image, ``bilinear`` or ``nearest``.
        smallest: lower end of τ ~ U(smallest, largest), the box's side as a fraction of the
            image's; 0.01 … 1.
        largest: upper end, not below ``smallest``; 0.01 … 1.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixer = create("resizemix", smallest=0.5, largest=0.5)
        >>> mixer(torch.rand(4, 3, 8, 8), torch.arange(4)).lam.tolist()
        [0.75, 0.75, 0.75, 0.75]
    """

    PUBLISHED = {
        "pairs": "permutation",
        "box": "place",
        "position": "pushed",
        "interpolation": "nearest",
    }

    variant: Literal["corrected", "published"] = "corrected"
    box: Literal["batch", "sample", "place"] = "batch"
    label: Label = "area"
    position: Literal["inside", "pushed"] = "inside"
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    smallest: float = number(0.1, 0.01, 1.0)
    largest: float = number(0.8, 0.01, 1.0)

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"smallest: {self.smallest} is above largest: {self.largest}")

    @property
    def per_sample(self) -> bool:
        return self.box != "batch"

    @property
    def lam0_per_sample(self) -> bool:
        return self.box == "sample"


def resizemix(sources: Sources, draw: Draw, options: ResizeMixOptions) -> Blend:
    """λ is 1 − the box's area fraction; λ₀ ~ U(0, 1) gives τ."""
    lam0, uniform = draw.take("lam0", "uniform")
    height, width = sources.height, sources.width
    tau = options.smallest + (options.largest - options.smallest) * lam0
    sides = torch.stack(((height * tau).long(), (width * tau).long()), dim=1)
    if options.position == "inside":
        corner = scale(uniform, height - sides[:, 0] + 1, width - sides[:, 1] + 1)
    else:
        (centre,) = draw.take("centre")
        corner = pushed_inside(centre, sides, height, width)
    boxes = torch.cat((corner, corner + sides), dim=1)
    mask = box_mask(boxes, height, width)
    if options.interpolation == "nearest":
        images = torch.where(mask, nearest_into(sources.b, corner, tau), sources.a)
    elif len(boxes) == 1 and eager_on_cpu(sources.images):
        images = _resized_inside(sources, boxes)
    else:
        images = torch.where(mask, resized_into(sources.b, boxes), sources.a)
    # Not torch.tensor([…], device=…): copying from the host cannot be captured in a CUDA graph.
    whole = torch.stack([torch.full_like(boxes[:, 0], n) for n in (0, 0, height, width)], dim=1)
    return Blend(images, mask, boxes=boxes, source_boxes=whole)


def pushed_inside(centre: Tensor, sides: Tensor, height: int, width: int) -> Tensor:
    """Top-left corners (N, 2) of boxes around ``centre`` (N, 2), moved inside the image."""
    corner = (centre - sides // 2).clamp_min(0)
    rows = torch.minimum(corner[:, 0], height - sides[:, 0])
    columns = torch.minimum(corner[:, 1], width - sides[:, 1])
    return torch.stack((rows, columns), dim=1)


def nearest_into(images: Tensor, corner: Tensor, scale: Tensor) -> Tensor:
    """Shrink each image (M, C, H, W) by ``scale`` (N,), with its first pixel at ``corner`` (N, 2).

    Nearest neighbour like ``F.interpolate(scale_factor=scale)``, i.e. in steps of 1/scale in
    float32, not of the ratio of the sides. Meaningless outside the box.
    """
    size, _, height, width = images.shape
    step = (1.0 / scale).float()[:, None]

    def origin(start: Tensor, side: int) -> Tensor:
        pixels = torch.arange(side, device=images.device) - start[:, None]
        return (pixels * step).floor().clamp(0, side - 1).long().expand(size, side)

    return gathered(images, origin(corner[:, 0], height), origin(corner[:, 1], width))


def resized_into(images: Tensor, boxes: Tensor) -> Tensor:
    """Resize each image (M, C, H, W) bilinearly to its box (M or 1, 4); meaningless outside it.

    Equals ``F.interpolate`` to the size of the box and pasting, but for all boxes at once.
    """
    return sampled(images, *_places(boxes, *images.shape[2:]), align_corners=False)


def _resized_inside(sources: Sources, boxes: Tensor) -> Tensor:
    """The first images with the second ones resized into a box (1, 4) that is the same for all."""
    mixed = sources.a.clone()
    ((top, left, bottom, right),) = boxes.tolist()
    if bottom > top and right > left:
        rows, columns = _places(boxes, sources.height, sources.width)
        rows, columns = rows[:, top:bottom], columns[:, left:right]
        for part, b in parts(sources):
            mixed[part, :, top:bottom, left:right] = sampled(b, rows, columns, align_corners=False)
    return mixed


def _places(boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Source coordinates of rows (N, H) and columns (N, W) if whole images fill boxes (N, 4)."""
    return _within(boxes[:, 0], boxes[:, 2], height), _within(boxes[:, 1], boxes[:, 3], width)


def _within(start: Tensor, end: Tensor, side: int) -> Tensor:
    """Source coordinates, −1 … 1 in the box, of the pixel centres along a side: (N, side)."""
    pixels = torch.arange(side, device=start.device) - start[:, None]
    return (2 * pixels + 1).float() / (end - start).clamp_min(1)[:, None] - 1.0


METHOD = Method(
    name="resizemix",
    label="ResizeMix",
    year=2020,
    summary="the whole second image, shrunk",
    paper="arXiv:2012.11101",
    options=ResizeMixOptions,
    apply=resizemix,
)
