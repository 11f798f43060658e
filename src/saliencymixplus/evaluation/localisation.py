"""Whether the network attends to the object: class activation maps compared with object masks.

Grad-CAM (Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2) at the network's last feature map, for
the true class. If only average pooling and one linear layer follow, it equals the class activation
map of Zhou, Khosla, Lapedriza, Oliva, Torralba (2016), "Learning Deep Features for Discriminative
Localization", clamped at 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saliencymixplus.evaluation.classifier import PixelClassifier
from saliencymixplus.evaluation.map_agreement import BACKGROUND, OBJECT, Measures, measures
from saliencymixplus.mixing.features import channels_first, last_map


def feature_module(classifier: PixelClassifier, pixels: Tensor) -> str | None:
    """Name of the module with the last output (B, C, H, W) with H·W > 1; None if there is none.

    Tokens (B, N, C) after a map, as in a ViT, mean that there is none.
    """
    network = classifier.model
    with torch.no_grad(), last_map(network, network.modules(), cells=2) as found:
        classifier(pixels)
    if not found or len(found[0][1]) != len(pixels):
        return None
    names: dict[nn.Module, str] = {module: name for name, module in network.named_modules()}
    return names[found[0][0]]


def class_activation_maps(
    classifier: PixelClassifier, pixels: Tensor, labels: Tensor, module: str
) -> Tensor:
    """Grad-CAM for the classes ``labels`` (B,) at ``module``: (B, h, w), non-negative."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        leaf = output.detach().clone().requires_grad_(True)
        kept.append(leaf)
        return leaf.clone()  # what follows may change its input in place, as DenseNet does

    hook = classifier.model.get_submodule(module).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = classifier(pixels).gather(1, labels[:, None]).sum()
            (gradient,) = torch.autograd.grad(scores, kept[-1])
    finally:
        hook.remove()
    weights = channels_first(classifier.model, gradient).mean((2, 3), keepdim=True)
    return F.relu((weights * channels_first(classifier.model, kept[-1])).sum(1)).detach()


def localisation_rows(
    classifier: PixelClassifier,
    images: np.ndarray,
    labels: Tensor,
    masks: np.ndarray,
    *,
    threshold: float,
    batch_size: int,
) -> tuple[Measures, str]:
    """``measures`` of every image (N, H, W, 3), or none and the reason."""
    module = feature_module(classifier, classifier.pixels(images[:2]))
    if module is None:
        return {}, "the network has no feature map larger than one pixel before its classifier"
    masks = classifier.seen(masks)
    if not ((masks == OBJECT).any((1, 2)) & (masks == BACKGROUND).any((1, 2))).any():
        return {}, "no test image has an object mask"
    parts: list[Measures] = []
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        pixels = classifier.pixels(images[batch])
        maps = class_activation_maps(
            classifier, pixels, labels[batch].to(classifier.device), module
        )
        size = masks.shape[1:]
        maps = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        parts.append(measures(maps.cpu(), torch.from_numpy(np.array(masks[batch])), threshold))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, ""


def localisation_per_class(
    found: Measures, labels: Tensor, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """One row per class with masks: images, and the mean of each measure (fractions)."""
    usable = ~np.isnan(found["mask_share"])
    rows = []
    for index, name in enumerate(classes):
        here = usable & (labels.numpy() == index)
        if here.any():
            means = {key: float(value[here].mean()) for key, value in found.items()}
            rows.append({"class": name, "images": int(here.sum())} | means)
    return rows
