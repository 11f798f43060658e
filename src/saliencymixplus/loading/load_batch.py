"""Load chosen images of a prepared split without augmentation, for the audit and previews."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saliencymixplus.datasets.prepared import Meta, Split
from saliencymixplus.loading.batches import LoadedBatch
from saliencymixplus.loading.pixels import fit, normalize, per_channel, to_unit


def load_batch(
    split: Split,
    rows: Sequence[int],
    meta: Meta,
    size: int | None = None,
    device: torch.device | str = "cpu",
) -> LoadedBatch:
    """Load the images ``rows`` of ``split`` without augmentation; masks keep 2, unknown.

    Args:
        size: side in pixels to resize to (masks by nearest neighbour); None: as prepared.
    """
    chosen = list(rows)

    def take(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array[chosen])).to(device)

    images = to_unit(take(split.images))
    maps = None if split.saliency is None else to_unit(take(split.saliency))
    masks = None if split.masks is None else take(split.masks)
    if size is not None and images.shape[2:] != (size, size):
        images = fit(images, (size, size))
        maps = None if maps is None else fit(maps[:, None], (size, size))[:, 0]
        if masks is not None:
            masks = F.interpolate(masks[:, None], (size, size), mode="nearest-exact")[:, 0]
    mean, std = per_channel(meta.mean, device), per_channel(meta.std, device)
    return LoadedBatch(normalize(images, mean, std), take(split.labels), maps, masks)
