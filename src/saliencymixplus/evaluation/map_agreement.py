"""How well a saliency or activation map agrees with an object mask."""

import numpy as np
import torch
from torch import Tensor

BACKGROUND, OBJECT, UNKNOWN = 0, 1, 2  # mask values
Measures = dict[str, np.ndarray]


def measures(maps: Tensor, masks: Tensor, threshold: float) -> Measures:
    """Measure how well maps agree with masks.

    Args:
        maps: (B, H, W), non-negative. masks: (B, H, W): 0 background, 1 object, 2 unknown.
        threshold: fraction of the map's maximum above which a pixel counts as object.

    Returns:
        Each (B,), and NaN where a mask has no object or no background:
        ``mask_share``: the object's fraction of the known pixels, which is also the expected
        ``energy`` and ``pointing`` of an uninformative map and the IoU of a full one;
        ``energy``: the fraction of the map inside the object (Wang et al. 2020, "Score-CAM");
        ``pointing``: 1 if the map's maximum is inside the object (Zhang et al. 2018);
        ``iou``: of the thresholded map (Zhou et al. 2016) with the object.
        Unknown pixels are ignored. An all-zero map scores as an uninformative one, with an IoU
        of 0.
    """
    known = masks != UNKNOWN
    inside = (masks == OBJECT).double()
    seen = (maps * known).double()
    area = inside.sum((1, 2)) / known.sum((1, 2))
    total = seen.sum((1, 2))
    blank = total <= 0
    energy = torch.where(blank, area, (seen * inside).sum((1, 2)) / total.clamp_min(1e-300))
    # Unknown pixels cannot be the maximum.
    best = torch.where(known, maps.double(), -1.0).flatten(1)
    at = best.argmax(1, keepdim=True)
    pointing = torch.where(blank, area, inside.flatten(1).gather(1, at)[:, 0])
    peak = best.amax(1)[:, None, None]
    region = (known & (seen > threshold * peak)).double()
    union = torch.maximum(region, inside).sum((1, 2))
    iou = (region * inside).sum((1, 2)) / union
    usable = (inside.sum((1, 2)) > 0) & (known.sum((1, 2)) > inside.sum((1, 2)))
    found = {"mask_share": area, "energy": energy, "pointing": pointing, "iou": iou}
    return {name: torch.where(usable, value, torch.nan).numpy() for name, value in found.items()}
