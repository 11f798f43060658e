"""Mix one batch: draw the random numbers, then compute the mixed images and labels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.batch import Batch, MixedBatch, Sources, memory_format
from saliencymixplus.mixing.draws import Draw, RandomNumbers, partners, scale
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import MASK_LABELS, Options
from saliencymixplus.mixing.saliency import smooth
from saliencymixplus.mixing.trained_part import part_for
from saliencymixplus.mixing.visible_fraction import mask_label_weight

Arithmetic = Callable[..., dict[str, Any]]  # ``mixed_fields``, compiled or not


def draw_for(
    method: Method,
    options: Options,
    batch_size: int,
    height: int,
    width: int,
    numbers: RandomNumbers,
) -> Draw:
    """Draw the random numbers that a method needs for one batch."""
    if method.apply is None:
        return Draw(torch.arange(batch_size, device=numbers.device))
    index_b = partners(batch_size, options.pairs, numbers, fraction=options.saliency_fraction)
    count = len(index_b) if options.per_sample else 1
    # Changing the order of the draws would change the numbers that a seed gives.
    noise = None
    if method.noise is not None:
        noise = numbers.normal(count, *method.noise(options, height, width))
    return Draw(
        index_b=index_b,
        lam0=numbers.beta(options.alpha, count if options.lam0_per_sample else 1),
        centre=scale(numbers.uniform(count, 2), height, width),
        uniform=numbers.uniform(count, 2),
        noise=noise,
        lam1=numbers.beta(options.alpha, count) if method.second_lam0 else None,
    )


def mixed_batch(
    method: Method,
    options: Options,
    arithmetic: Arithmetic,
    batch: Batch,
    draw: Draw,
    differentiable: bool,
) -> MixedBatch:
    """Mix a batch: maps, partners and plan, then the arithmetic.

    Args:
        batch: its ``saliency``, if any, replaces the method's own maps.
        differentiable: whether gradients flow from the mixed images back to the batch's images.
    """
    images, saliency = batch.images, batch.saliency
    flows = differentiable and torch.is_grad_enabled()
    # Half precision is too coarse for box coordinates and for small map values.
    with torch.autocast(images.device.type, enabled=False), torch.no_grad():
        if saliency is None and method.maps is not None:
            saliency = method.maps(batch, options)
        if saliency is not None:
            saliency = smooth(saliency.detach(), options.smoothing, options.smoothing_taps)
        if method.pair is not None:
            partners = method.pair(batch, saliency, options)
            draw = draw if partners is None else replace(draw, index_b=partners)
        plan = None
        if method.plan is not None:
            part = part_for(method, options, batch)
            plan = method.plan(replace(batch, saliency=saliency), draw, options, part)
        with torch.set_grad_enabled(flows):
            sources = Sources(images, draw.index_b, batch.labels, saliency, batch.masks, plan)
            found = arithmetic(method, options, sources, draw)
    size = tuple(images.shape[2:])
    if saliency is not None and saliency.shape[1:] != size:
        saliency = F.interpolate(saliency[:, None].float(), size)[:, 0]
    return MixedBatch(**found, saliency=saliency, clean_gradient=options.clean_gradient)


def mixed_fields(method: Method, options: Options, sources: Sources, draw: Draw) -> dict[str, Any]:
    """All fields of a ``MixedBatch`` except its maps, without waiting for the device."""
    assert method.apply is not None
    images, labels = sources.images, sources.labels
    blend = method.apply(sources, draw, options)
    mask = blend.mask.float()
    index_a, index_b = blend.index_a, blend.index_b
    first = labels[: draw.size] if index_a is None else labels.index_select(0, index_a)
    index_a = torch.arange(draw.size, device=images.device) if index_a is None else index_a
    index_b = draw.index_b if index_b is None else index_b
    area_lam = 1.0 - mask.mean((1, 2, 3)) if blend.mask_a is None else blend.mask_a.mean((1, 2, 3))
    lam = area_lam if blend.lam is None else blend.lam.float()
    fields: dict[str, Any] = {
        "images": blend.images.contiguous(memory_format=memory_format(images)),
        "labels_a": first,
        "labels_b": labels.index_select(0, index_b),
        "lam": lam.expand(draw.size).contiguous(),
        "lam_b": None if blend.lam_b is None else blend.lam_b.float().expand(draw.size),
        "weights": blend.weights,
        "labels": None if blend.weights is None else labels,
        "index_a": index_a,
        "index_b": index_b,
        "area_lam": area_lam.expand(draw.size).contiguous(),
        "mask": mask.expand(draw.size, 1, *images.shape[2:]),
        "mask_a": blend.mask_a,
        "boxes": _rows(blend.boxes, draw.size),
        "source_boxes": _rows(blend.source_boxes, draw.size),
        "aux": blend.aux,
        "reduction": blend.reduction,
    }
    if options.label in MASK_LABELS:
        assert sources.masks is not None
        seen = MixedBatch(**fields)
        fields |= {"lam": mask_label_weight(seen, sources.masks, options.label), "lam_b": None}
    if options.shuffled_labels > 0:
        fields["lam"] = _exchanged(fields["lam"], options.shuffled_labels)
    return fields


def _exchanged(lam: Tensor, fraction: float) -> Tensor:
    """Rotate λ among the first images of a batch, whose order is random anyway."""
    count = round(fraction * len(lam))
    return torch.cat((lam[:count].roll(1), lam[count:]))


def _rows(boxes: Tensor | None, count: int) -> Tensor | None:
    return None if boxes is None else boxes.expand(count, 4).contiguous()


def unmixed(images: Tensor, labels: Tensor, draw: Draw) -> MixedBatch:
    """The unchanged batch, for method ``none``."""
    whole = torch.ones(images.shape[0], dtype=torch.float32, device=images.device)
    return MixedBatch(images, labels, labels, whole, draw.index_b, draw.index_b, whole)
