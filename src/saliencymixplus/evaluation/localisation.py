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


def feature_module(classifier: PixelClassifier, pixels: Tensor) -> str | None:
    """Name of the module with the last output (B, C, H, W) with H·W > 1; None if there is none.

    Token-based transformers (ViT) have no such map after the patch embedding.
    """
    last: list[str] = []
    tokens: list[str] = []
    hooks = []
    for name, module in classifier.model.named_modules():

        def note(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            if not isinstance(output, Tensor):
                return
            if output.ndim == 4 and _features(classifier, output).shape[2:].numel() > 1:
                last.append(name)
            elif output.ndim == 3:
                tokens.append(name)

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            classifier(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return None if tokens or not last else last[-1]


def class_activation_maps(
    classifier: PixelClassifier, pixels: Tensor, labels: Tensor, module: str
) -> Tensor:
    """Grad-CAM for the classes ``labels`` (B,) at ``module``: (B, h, w), non-negative."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        leaf = output.detach().clone().requires_grad_(True)
        kept.append(leaf)
        return leaf

    hook = classifier.model.get_submodule(module).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = classifier(pixels).gather(1, labels[:, None]).sum()
            (gradient,) = torch.autograd.grad(scores, kept[-1])
    finally:
        hook.remove()
    weights = _features(classifier, gradient).mean((2, 3), keepdim=True)
    return F.relu((weights * _features(classifier, kept[-1])).sum(1)).detach()


def _features(classifier: PixelClassifier, output: Tensor) -> Tensor:
    """A layer's output as (B, C, h, w); some of timm's networks return and declare (B, h, w, C)."""
    declared = getattr(classifier.model, "output_fmt", "NCHW")
    return output.movedim(3, 1) if declared == "NHWC" else output


def localisation_rows(
    classifier: PixelClassifier,
    images: np.ndarray,
    labels: Tensor,
    masks: np.ndarray,
    *,
    threshold: float,
    batch_size: int,
) -> tuple[Measures, str]:
    """``measures`` of every image (N, H, W, 3); if there are none, the reason."""
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
