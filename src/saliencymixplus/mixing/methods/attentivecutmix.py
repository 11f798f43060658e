"""Attentive CutMix: the cells that a network attends to most, pasted onto another image.

Walawalkar, Shen, Liu and Savvides, "Attentive CutMix: An Enhanced Data Augmentation Approach for
Deep Learning Based Image Classification", ICASSP 2020 (arXiv:2003.13048), section 2: the k = 6
cells with the highest values in the 7 × 7 last feature map of a pretrained network; λ = k/49.

The network is the one being trained, in evaluation mode, unless the caller passes another one as
``model`` or the attention as ``saliency`` (B, g, g). The default takes the mean over all channels
and cuts at the images' own resolution; λ is the area. If the map does not have 49 cells, the same
fraction of them is cut.

``variant: published`` is a third party's code (xden2331/attentive_cutmix): it takes the last
channel only, and enlarges images to 224 × 224 pixels before cutting and shrinks the result (bicubic
both times). Bytes differ from Pillow's by at most two grey levels. That code draws partners from
the whole data set, this one from the batch.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.batch import Batch, Blend, Sources
from saliencymixplus.mixing.combine import paste
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.features import last_feature_map
from saliencymixplus.mixing.maps import enlarged
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.methods.attentivemix import most_attentive
from saliencymixplus.mixing.options import Label, MixingOptions, number

_CELLS = 49  # of the paper's feature map


@dataclass(frozen=True, kw_only=True)
class AttentiveCutMixOptions(MixingOptions):
    """Options of Attentive CutMix.

    Args:
        variant: ``corrected``, or ``published``, the third-party code described above.
        top_k: number of cells that are cut out, 1 … 49 of a 7 × 7 grid.
        channels: attention is the ``mean`` over all channels or the ``last`` channel.
        side: side in pixels of the square to which images are enlarged before cutting, 0 … 4096;
            0: their own size.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixer = create("attentivecutmix", top_k=12)
        >>> mixed = mixer(torch.rand(4, 3, 14, 14), torch.arange(4), saliency=torch.rand(4, 7, 7))
        >>> round(49 * mixed.lam[0].item())
        12
    """

    PUBLISHED = {
        "pairs": "permutation",
        "channels": "last",
        "side": 224,
    }

    variant: Literal["corrected", "published"] = "corrected"
    label: Label = "area"
    top_k: int = number(6, 1, _CELLS)
    channels: Literal["mean", "last"] = "mean"
    side: int = number(0, 0, 4096)

    needs = frozenset({"network"})
    coarse_maps = True


def attention(batch: Batch, options: AttentiveCutMixOptions) -> Tensor:
    """Attention (B, g, h) from the last feature map."""
    assert batch.model is not None
    features = last_feature_map(batch.model, batch.images).float()
    return features.mean(1) if options.channels == "mean" else features[:, -1]


def attentivecutmix(sources: Sources, draw: Draw, options: AttentiveCutMixOptions) -> Blend:
    """λ is the area of the first image's cells; published: the fraction of cells."""
    assert sources.saliency is not None
    maps = sources.saliency[: draw.size]
    cells = maps[0].numel()
    count = max(1, round(options.top_k * cells / _CELLS))
    chosen = most_attentive(maps, torch.full_like(sources.index_b[:1], count))
    mask = ~enlarged(chosen, sources.height, sources.width)[:, None]
    if not options.side:
        return Blend(paste(sources, mask), mask)
    size, large = (sources.height, sources.width), (options.side, options.side)
    a, b = bicubic(sources.a, large), bicubic(sources.b, large)
    mixed = bicubic(torch.where(enlarged(chosen, *large)[:, None], a, b), size)
    lam = torch.full_like(mask[:, 0, 0, 0], count / cells, dtype=torch.float32)
    return Blend(mixed, mask, lam)


def bicubic(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images (B, C, H, W) like Pillow: along the rows, then along the columns.

    Bytes are rounded each time.
    """
    for target in ((images.shape[2], size[1]), size):
        resized = F.interpolate(
            images.float(), size=target, mode="bicubic", antialias=True, align_corners=False
        )
        if not images.dtype.is_floating_point:
            resized = resized.round().clamp(0, 255)
        images = resized.to(images.dtype)
    return images


METHOD = Method(
    name="attentivecutmix",
    label="Attentive CutMix",
    year=2020,
    summary="the cells that the network attends to most",
    paper="arXiv:2003.13048",
    options=AttentiveCutMixOptions,
    apply=attentivecutmix,
    maps=attention,
)
