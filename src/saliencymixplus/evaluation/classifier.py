"""A classifier of raw pixels, with resizing and normalisation built in."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from saliencymixplus.evaluation.accuracy import ranks, top_error
from saliencymixplus.loading.crops import central_start
from saliencymixplus.loading.pixels import fit, normalize, per_channel, to_unit
from saliencymixplus.runs.read import Run


class PixelClassifier(nn.Module):
    """Maps pixels in [0, 1], at the network's input size, to logits.

    Args:
        model: maps normalised images (B, 3, S, S) to logits (B, K); is set to evaluation mode.
        mean, std: per-channel statistics of pixels in [0, 1].
        input_size: S, the side of the network's square input in pixels.
        center: whether ``pixels`` crops larger images to their centre instead of resizing them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        input_size: int,
        *,
        center: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.input_size, self.center = input_size, center
        self.register_buffer("mean", per_channel(mean))
        self.register_buffer("std", per_channel(std))

    @property
    def device(self) -> torch.device:
        """The device that input pixels must be on."""
        return self.mean.device

    def pixels(self, images: np.ndarray) -> Tensor:
        """Convert uint8 (B, H, W, 3) to float32 (B, 3, S, S) in [0, 1] on the device."""
        # A copy, because the images are a read-only memory map.
        batch = torch.from_numpy(np.array(images)).to(self.device)
        return fit(to_unit(batch), (self.input_size, self.input_size), center=self.center)

    def seen(self, masks: np.ndarray) -> np.ndarray:
        """Crop masks (N, H, W) of whole images to the part that the network sees."""
        side = self.input_size
        if not self.center:
            return masks
        top, left = (central_start(extent, side) for extent in masks.shape[1:])
        return masks[:, top : top + side, left : left + side]

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute logits (B, K), float32, of pixels (B, 3, S, S) in [0, 1]."""
        logits: Tensor = self.model(normalize(pixels, self.mean, self.std))
        return logits.float()


def classifier_of(run: Run, which: str) -> PixelClassifier:
    """The classifier with a run's weights ``which``, on the CPU. Raises like ``Run.model``."""
    data, side = run.data, run.input_size[0]
    return PixelClassifier(run.model(which), data.mean, data.std, side, center=run.center_crop)


def top1_error_under(
    classifier: PixelClassifier,
    labels: Tensor,
    changed: Callable[[slice], Tensor],
    batch_size: int,
) -> float:
    """Top-1 error in percent on modified images: corrupted, attacked or occluded.

    Args:
        labels: (N,) int64 on the CPU.
        changed: maps the rows of a batch to its modified pixels, (B, 3, S, S) in [0, 1] on the
            classifier's device; called once per batch, in order, with gradients enabled.
    """
    found = []
    for start in range(0, len(labels), batch_size):
        batch = slice(start, start + batch_size)
        pixels = changed(batch)
        with torch.inference_mode():
            logits = classifier(pixels)
            found.append(ranks(logits, labels[batch].to(logits.device)).cpu())
    return top_error(torch.cat(found), 1)


@torch.inference_mode()
def predict_logits(classifier: PixelClassifier, images: np.ndarray, batch_size: int) -> Tensor:
    """Compute logits (N, K), float32 on the CPU, of uint8 images (N, H, W, 3)."""
    logits = [
        classifier(classifier.pixels(images[start : start + batch_size]))
        for start in range(0, len(images), batch_size)
    ]
    return torch.cat(logits).cpu()
