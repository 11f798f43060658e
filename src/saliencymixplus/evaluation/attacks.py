"""Adversarial images: FGSM and PGD within an L∞ ball of pixels in [0, 1].

Goodfellow, Shlens, Szegedy (2015), "Explaining and Harnessing Adversarial Examples", and Madry,
Makelov, Schmidt, Tsipras, Vladu (2018), "Towards Deep Learning Models Resistant to Adversarial
Attacks". These are white-box attacks. Normalisation is part of the model, so ε is in pixel units.
A network that masks its gradients looks more robust than it is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saliencymixplus.evaluation.classifier import PixelClassifier, top1_error_under
from saliencymixplus.loading.pixels import UNIT


def _gradient_sign(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    with torch.enable_grad():
        inputs = pixels.detach().requires_grad_(True)
        # Sum, not mean: an image's gradient must not depend on the batch size.
        loss = F.cross_entropy(model(inputs), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, inputs)
    return gradient.sign()


def fgsm(model: nn.Module, pixels: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Take one gradient-sign step of size ``epsilon`` (Goodfellow et al. 2015, section 4).

    Args:
        model: maps pixels in [0, 1] to logits.
        pixels: (B, C, H, W) in [0, 1]. labels: (B,) int64.

    Returns:
        (B, C, H, W) in [0, 1], within ``epsilon`` of ``pixels`` everywhere.
    """
    return (pixels + epsilon * _gradient_sign(model, pixels, labels)).clamp(0, 1)


def pgd(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    steps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Take ``steps`` gradient-sign steps from a random start, projecting onto the ball after each.

    The step size is 2.5 ε / steps, so that any point of the ball can be reached from any other
    (Madry et al. 2018, section 5). Other arguments and the result are as in ``fgsm``.

    Args:
        generator: draws the starting point, on the CPU so that it is the same on every device.
    """
    noise = torch.rand(pixels.shape, generator=generator).to(pixels)
    attacked = (pixels + epsilon * (2 * noise - 1)).clamp(0, 1)
    step = 2.5 * epsilon / steps
    for _ in range(steps):
        attacked = attacked + step * _gradient_sign(model, attacked, labels)
        attacked = (pixels + (attacked - pixels).clamp(-epsilon, epsilon)).clamp(0, 1)
    return attacked


def attack_errors(
    classifier: PixelClassifier,
    images: np.ndarray,
    labels: Tensor,
    *,
    epsilons: Sequence[float],
    pgd_steps: int,
    batch_size: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Errors under FGSM and PGD at each ε, starting with the clean images (ε = 0).

    Args:
        images: (N, H, W, 3) uint8. labels: (N,) int64 on the CPU.
        epsilons: in units of 1/255.

    Returns:
        One row per attack and ε: ``attack``, ``epsilon`` (in [0, 1]), ``epsilon_255``, ``steps``,
        ``images`` and ``top1_error`` in percent.
    """

    def measured(attack: str, steps: int, epsilon_255: float) -> dict[str, Any]:
        epsilon = epsilon_255 / UNIT
        generator = torch.Generator().manual_seed(seed)

        def attacked(batch: slice) -> Tensor:
            pixels, target = classifier.pixels(images[batch]), labels[batch].to(classifier.device)
            if epsilon == 0:
                return pixels
            if attack == "fgsm":
                return fgsm(classifier, pixels, target, epsilon)
            return pgd(classifier, pixels, target, epsilon, steps=steps, generator=generator)

        return {
            "attack": attack,
            "epsilon": epsilon,
            "epsilon_255": epsilon_255,
            "steps": steps,
            "images": len(images),
            "top1_error": top1_error_under(classifier, labels, attacked, batch_size),
        }

    return [
        measured(attack, steps, epsilon)
        for attack, steps in (("fgsm", 1), ("pgd", pgd_steps))
        for epsilon in (0.0, *sorted(epsilons))
    ]
