"""Pictures of mixed samples: both sources, saliency, box, mixed image, λ and area."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliencymixplus.mixing import MixedBatch
from saliencymixplus.pictures.drawing import (
    COLOUR_A,
    COLOUR_B,
    COLOUR_OBJECT,
    GREY,
    Pixels,
    draw_box,
    draw_outline,
    heat,
    panel_size,
    scaled,
)
from saliencymixplus.pictures.fonts import shown_name
from saliencymixplus.pictures.layout import (
    CaptionedPanel,
    CellRow,
    Words,
    draw_rows,
    fitting,
    wrapped,
)

if TYPE_CHECKING:
    from saliencymixplus.datasets.prepared import Meta

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Sample:
    """A mixed image with its sources and annotations. Pixels are uint8 ``(H, W, 3)``."""

    a: Pixels
    b: Pixels
    mixed: Pixels
    name_a: str
    name_b: str
    lam: float
    area_lam: float
    lam_b: float | None = None  # weight of the second label if not 1 − λ
    saliency_a: NDArray[np.float32] | None = None  # (H, W)
    saliency_b: NDArray[np.float32] | None = None
    box: Box | None = None  # in a
    source_box: Box | None = None  # in b, if different
    region: NDArray[np.bool_] | None = None  # where b's weight exceeds one half, if there is no box
    object_a: NDArray[np.bool_] | None = None  # annotated object, outlined
    object_b: NDArray[np.bool_] | None = None
    note: str = ""

    @property
    def weights(self) -> str:
        """λ, with the second label's weight if that is not 1 − λ."""
        second = "" if self.lam_b is None else f" + {self.lam_b:.2f}"
        return f"λ {self.lam:.2f}{second}"


def samples_of(
    mixed: MixedBatch,
    images: Tensor,
    labels: Tensor,
    meta: "Meta",
    *,
    saliency: Tensor | None = None,
    masks: Tensor | None = None,
    count: int = 8,
    which: Sequence[int] | None = None,
) -> list[Sample]:
    """The mixed samples ``which`` (default: the first ``count``), on the CPU and denormalised.

    Args:
        mixed: the result of a mixer for ``images (B, C, H, W)`` and ``labels (B,)``.
        meta: of the data: class names, and the statistics with which ``images`` were normalised.
        saliency: fallback maps ``(B, H, W)`` if ``mixed`` has none.
        masks: ``(B, H, W)``, 1 on annotated objects.
    """
    chosen = list(range(min(count, len(mixed.images)))) if which is None else list(which)
    if not chosen:
        return []
    pick = torch.tensor(chosen, device=mixed.images.device)
    first, second = mixed.index_a[pick], mixed.index_b[pick]
    maps = mixed.saliency if mixed.saliency is not None else saliency
    a, b = (pixels_of(images[index], meta.mean, meta.std) for index in (first, second))
    result = pixels_of(mixed.images[pick], meta.mean, meta.std)
    boxes = _boxes(mixed.boxes, pick)
    source_boxes = _boxes(getattr(mixed, "source_boxes", None), pick)
    shown = None if mixed.boxes is not None or mixed.mask is None else mixed.mask[:, 0] > 0.5
    objects = None if masks is None else masks == 1
    regions = _arrays(shown, pick)
    maps_a, maps_b = (_arrays(maps, index) for index in (first, second))
    objects_a, objects_b = (_arrays(objects, index) for index in (first, second))
    return [
        Sample(
            a=a[i],
            b=b[i],
            mixed=result[i],
            name_a=_name(meta.classes, labels[first[i]]),
            name_b=_name(meta.classes, labels[second[i]]),
            lam=float(mixed.lam[j]),
            area_lam=float(mixed.area_lam[j]),
            lam_b=None if mixed.lam_b is None else float(mixed.lam_b[j]),
            saliency_a=maps_a[i],
            saliency_b=maps_b[i],
            box=boxes[i],
            source_box=source_boxes[i],
            region=regions[i],
            object_a=objects_a[i],
            object_b=objects_b[i],
        )
        for i, j in enumerate(chosen)
    ]


def draw_samples(samples: Sequence[Sample], *, title: str = "") -> Pixels:
    """Draw samples in blocks of three (without saliency) or five panels, as many as fit a row.

    ``title`` is a line above the grid, such as the method and its variant.

    Returns:
        uint8 pixels ``(height, width, 3)``, at most ``layout.WIDTH`` wide.
    """
    if not samples:
        return np.full((40, 200, 3), 255, np.uint8)
    size = panel_size(*samples[0].a.shape[:2])
    maps = any(sample.saliency_a is not None for sample in samples)
    heads = ["image a", "saliency of a", "image b", "saliency of b", "mixed"]
    heads = heads if maps else ["image a", "image b", "mixed"]
    across = fitting(size[1], block=len(heads))
    blocks = [_block(sample, size, maps) for sample in samples]
    rows = [
        CellRow([cell for block in blocks[start : start + across] for cell in block])
        for start in range(0, len(blocks), across)
    ]
    legend = "λ: weight of a's label · area: a's fraction of the pixels"
    return draw_rows(rows, title=title, legend=legend, heads=heads, block=len(heads))


def weight_captions(sample: Sample) -> list[Words]:
    """λ and the area, below a mixed image."""
    return [Words(sample.weights, bold=True), Words(f"area {sample.area_lam:.2f}", GREY)]


def sample_panels(sample: Sample, size: tuple[int, int], maps: bool) -> list[Pixels]:
    """The three or (``maps``) five panels of one sample, each ``(*size, 3)``."""
    source = sample.a.shape[0], sample.a.shape[1]

    def marked(pixels: Pixels, box: Box | None) -> Pixels:
        if box is not None:
            return draw_box(pixels, box, source)
        return pixels if sample.region is None else draw_outline(pixels, sample.region)

    def outlined(pixels: Pixels, region: NDArray[np.bool_] | None) -> Pixels:
        return pixels if region is None else draw_outline(pixels, region, COLOUR_OBJECT)

    box_b = sample.box if sample.source_box is None else sample.source_box
    a = outlined(scaled(sample.a, size), sample.object_a)
    b = marked(outlined(scaled(sample.b, size), sample.object_b), box_b)
    result = marked(scaled(sample.mixed, size), sample.box)
    if not maps:
        return [a, b, result]
    blank = np.full((*size, 3), 245, np.uint8)
    heat_a = heat_b = blank
    if sample.saliency_a is not None and sample.saliency_b is not None:
        heat_a = marked(heat(scaled(sample.a, size), sample.saliency_a), sample.box)
        heat_b = marked(heat(scaled(sample.b, size), sample.saliency_b), box_b)
    return [a, heat_a, b, heat_b, result]


def _block(sample: Sample, size: tuple[int, int], maps: bool) -> list[CaptionedPanel]:
    """The panels of one sample with their captions."""
    span = 2 if maps else 1
    name_a, name_b = (
        wrapped(name, colour, size[1], span=span)
        for name, colour in ((sample.name_a, COLOUR_A), (sample.name_b, COLOUR_B))
    )
    if sample.note:
        name_a = [*name_a, *[Words("")] * (2 - len(name_a)), Words(sample.note)]
    captions = [name_a, name_b, weight_captions(sample)]
    if maps:
        captions = [name_a, [], name_b, [], weight_captions(sample)]
    panels = sample_panels(sample, size, maps)
    return [CaptionedPanel(panel, words) for panel, words in zip(panels, captions, strict=True)]


def pixels_of(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """Normalised ``(N, C, H, W)`` to uint8 ``(N, H, W, 3)``."""
    values = images.detach().float().cpu()
    shift, scale = (
        torch.tensor(list(v), dtype=torch.float32).view(1, -1, 1, 1) for v in (mean, std)
    )
    values = (values * scale + shift).mul(255).round().nan_to_num(0).clamp(0, 255)
    return values.to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def _boxes(boxes: Tensor | None, pick: Tensor) -> Sequence[Box | None]:
    if boxes is None:
        return [None] * len(pick)
    return [(int(r0), int(c0), int(r1), int(c1)) for r0, c0, r1, c1 in boxes[pick].tolist()]


def _arrays(values: Tensor | None, index: Tensor) -> Sequence[Any]:
    """The chosen maps or masks; None for each if there are none."""
    if values is None:
        return [None] * len(index)
    chosen = values[index.to(values.device)].detach().cpu()
    return list((chosen if chosen.dtype == torch.bool else chosen.float()).numpy())


def _name(classes: Sequence[str], label: Tensor) -> str:
    index = int(label)
    return shown_name(classes[index].replace("_", " "), f"class {index}")
