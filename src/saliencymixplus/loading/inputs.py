"""Images of a prepared split as a network and a mixer take them: normalised, at the input size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saliencymixplus.datasets.prepared import Meta, Split


@dataclass(frozen=True)
class Inputs:
    """A batch of B images."""

    images: Tensor  # (B, 3, S, S) float32, normalised
    labels: Tensor  # (B,) int64
    saliency: Tensor | None  # (B, S, S) float32 in [0, 1], as stored at preparation
    masks: Tensor | None  # (B, S, S) uint8: 0 background, 1 object, 2 unknown


def inputs(
    split: Split,
    rows: Sequence[int],
    meta: Meta,
    size: int | None = None,
    device: torch.device | str = "cpu",
) -> Inputs:
    """The images ``rows`` of ``split``, resized to ``size`` × ``size`` where that is another size.

    No augmentation. Maps and masks go along; masks are resized by the nearest pixel.
    """
    chosen = list(rows)

    def take(array: np.ndarray | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(np.array(array[chosen])).to(device)

    pixels = take(split.images)
    assert pixels is not None
    images = pixels.permute(0, 3, 1, 2).float() / 255
    saliency, masks = take(split.saliency), take(split.masks)
    maps = None if saliency is None else saliency.float() / 255
    if size is not None and images.shape[2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        if maps is not None:
            maps = F.interpolate(maps[:, None], (size, size), mode="bilinear", antialias=True)[:, 0]
        if masks is not None:
            masks = F.interpolate(masks[:, None], (size, size), mode="nearest-exact")[:, 0]
    mean, std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (meta.mean, meta.std))
    labels = torch.from_numpy(np.array(split.labels[chosen])).to(device)
    return Inputs((images - mean) / std, labels, maps, masks)
