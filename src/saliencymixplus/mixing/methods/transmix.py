"""TransMix: CutMix for vision transformers, with labels weighted by their attention.

Chen, Sun, He, Torr, Yuille and Bai, "TransMix: Attend to Mix for Vision Transformers", CVPR 2022
(arXiv:2111.09833): the second label's weight is the fraction of the class token's attention inside
the box (equation 4), averaged with the box's area fraction as in the authors' code. The attention
is that of the mixed image, so the label is known only after the forward pass: use
``mixing.backward`` or ``Mixer.forward``; until then, the label is the area fraction. The released
recipe alternates with mixup; for that, use a switch of both methods.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.batch import Batch, Blend, MixedBatch, Sources
from saliencymixplus.mixing.boxes import BoxSize
from saliencymixplus.mixing.combine import paste_around
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.features import uncompiled
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class TransMixOptions(MixingOptions):
    """Options of TransMix, for timm's or torchvision's networks with a class token.

    Args:
        variant: ``corrected``, or ``published``: reversed pairs and halved sides.
        pairs: ``reversed`` mixes the batch with itself in reverse order, as released; for the
            others see ``MixingOptions``.
        alpha: λ₀ ~ Beta(alpha, alpha); 0.05 … 100.
        box: one box for the ``batch``, or one per ``sample``.
        box_size: ``exact``, or ``halves``: odd sides lose a pixel, as released.
    """

    PUBLISHED = {"pairs": "reversed", "box_size": "halves"}

    variant: Literal["corrected", "published"] = "corrected"
    pairs: Literal["full", "half", "permutation", "reversed"] = "full"  # type: ignore[assignment]
    alpha: float = number(1.0, 0.05, 100.0)
    box: Scope = "batch"
    box_size: BoxSize = "exact"


def transmix(sources: Sources, draw: Draw, options: TransMixOptions) -> Blend:
    """CutMix; ``attended`` replaces λ."""
    lam0, centre = draw.take("lam0", "centre")
    return paste_around(sources, lam0, centre, options.box_size)


def reversed_batch(
    batch: Batch, saliency: Tensor | None, options: TransMixOptions
) -> Tensor | None:
    """Partners (B,) of the released code: the batch in reverse order."""
    if options.pairs != "reversed":
        return None
    return torch.arange(len(batch.images), device=batch.images.device).flip(0)


def attended(
    model: nn.Module, mixed: MixedBatch, options: TransMixOptions
) -> tuple[Any, MixedBatch]:
    """The network's output, and the batch with labels from the attention in its last block.

    Raises:
        NetworkError: the network has no such block, or no class token.
    """
    network = uncompiled(model)
    attention = _last_attention(network)
    seen: list[Tensor] = []
    handle = attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        output = network(mixed.images)
    finally:
        handle.remove()
    assert mixed.mask is not None
    with torch.no_grad(), torch.autocast(mixed.images.device.type, enabled=False):
        weights = class_attention(attention, seen[-1].detach())
        grid = _patches(network, weights.shape[1], mixed.images)
        lam = attention_label(weights, mixed.mask.bool(), grid)
    return output, replace(mixed, lam=lam.float())


def class_attention(attention: Any, tokens: Tensor) -> Tensor:
    """The class token's attention to each patch, averaged over heads: (B, N) float32.

    Args:
        attention: timm's ``Attention`` or torch's ``MultiheadAttention``.
        tokens: (B, 1 + N, D), its normalised input.
    """
    if isinstance(attention, nn.MultiheadAttention):
        weight, bias, norms = attention.in_proj_weight, attention.in_proj_bias, (None, None)
    else:
        weight, bias = attention.qkv.weight, attention.qkv.bias
        norms = (attention.q_norm, attention.k_norm)
    heads = attention.num_heads
    joint = nn.functional.linear(
        tokens.float(), weight.float(), None if bias is None else bias.float()
    )
    query, key, _ = joint.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    query = query[:, :, :1] if norms[0] is None else norms[0](query[:, :, :1])
    key = key if norms[1] is None else norms[1](key)
    scores: Tensor = query @ key.mT / query.shape[-1] ** 0.5
    return scores.softmax(3)[:, :, 0, 1:].mean(1)


def _last_attention(network: nn.Module) -> Any:
    """The attention module of the last block."""
    found = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.MultiheadAttention)
        or (hasattr(layer, "qkv") and hasattr(layer, "num_heads"))
    ]
    tokens = any(
        name.endswith(("cls_token", "class_token")) for name, _ in network.named_parameters()
    )
    if not found or not tokens:
        raise NetworkError(
            f"transmix takes vision transformers with a class token, not {type(network).__name__}: "
            "use timm/vit_…, timm/deit_… or torchvision's vit_…"
        )
    return found[-1]


def _patches(network: nn.Module, count: int, images: Tensor) -> tuple[int, int]:
    """Rows and columns of ``count`` patches, in the aspect ratio of the images."""
    height, width = images.shape[2:]
    rows = round((count * height / width) ** 0.5)
    if rows < 1 or count % rows:
        raise NetworkError(f"transmix: {count} patches form no grid over {height}×{width} pixels")
    return rows, count // rows


def attention_label(attention: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Label weight λ (M,) of the first image: 1 − ½ (area fraction + attended fraction).

    Args:
        attention: (M, R·C), the class token's attention to each patch of the mixed images.
        mask: (M or 1, 1, H, W), true inside the box.
        grid: (R, C), number of patches. A patch is inside the box if its top-left pixel is.
    """
    height, width = mask.shape[2:]
    rows = torch.arange(grid[0], device=mask.device) * height // grid[0]
    columns = torch.arange(grid[1], device=mask.device) * width // grid[1]
    inside = mask[:, 0, rows][:, :, columns].flatten(1).to(attention.dtype)
    attended = (attention * inside).sum(1) / attention.sum(1)
    area = mask.to(attention.dtype).mean((1, 2, 3))
    return 1.0 - 0.5 * (area + torch.where(attended.isfinite(), attended, area))


METHOD = Method(
    name="transmix",
    label="TransMix",
    year=2022,
    summary="CutMix for vision transformers, the label by their attention",
    paper="arXiv:2111.09833",
    options=TransMixOptions,
    apply=transmix,
    pair=reversed_batch,
    forward=attended,
)
