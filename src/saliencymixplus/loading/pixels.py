"""Convert uint8 pixels to network input, for training, evaluation and inference alike.

Training normalises bytes in one operation (``ByteNormalization``). Evaluation needs pixels in
[0, 1] in between, for corruptions and attacks: ``to_unit``, ``fit``, then ``normalize``. The two
differ only by rounding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliencymixplus.loading.crops import central_start, resize_boxes, whole

UNIT = 255.0  # the largest uint8 pixel


def to_unit(pixels: Tensor) -> Tensor:
    """Convert uint8 pixels to float32 in [0, 1]; images (B, H, W, 3) become (B, 3, H, W)."""
    return (pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels).float() / UNIT


def fit(images: Tensor, size: tuple[int, int], *, center: bool = False) -> Tensor:
    """Resize images (B, C, H, W) to ``size`` (height, width), or crop them to their centre."""
    height, width = images.shape[-2:]
    if (height, width) == size:
        return images
    if center:
        top, left = central_start(height, size[0]), central_start(width, size[1])
        return images[..., top : top + size[0], left : left + size[1]]
    return resize_boxes(images, whole(len(images), (height, width), images.device), size)


def per_channel(values: Sequence[float], device: torch.device | str = "cpu") -> Tensor:
    """A mean or standard deviation as float32 (1, C, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalise images (B, C, H, W) in [0, 1] with ``per_channel`` mean and std."""
    return (images - mean) / std


class ByteNormalization:
    """Computes (x / 255 − mean) / std of x in [0, 255] as one multiplication and one addition.

    Args:
        mean, std: per-channel statistics of pixels in [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        deviation = torch.tensor(std, dtype=torch.float64)
        scale = 1.0 / (UNIT * deviation)
        shift = -torch.tensor(mean, dtype=torch.float64) / deviation
        self._scale = scale.float().view(1, -1, 1, 1).to(device)
        self._shift = shift.float().view(1, -1, 1, 1).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise float images (B, C, H, W) in [0, 255]."""
        return torch.addcmul(self._shift, images, self._scale)
