"""Crop, flip and resize whole batches on their device."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Boxes:
    """The part to crop from each image and whether to flip it; all tensors are (B,)."""

    top: Tensor  # int64 pixels; may lie outside the image
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor | None = None  # bool


def whole(count: int, size: tuple[int, int], device: torch.device) -> Boxes:
    """Boxes for ``count`` whole, unflipped images of ``size`` (height, width)."""
    return central(count, size, size, device)


def central(
    count: int, size: tuple[int, int], output: tuple[int, int], device: torch.device
) -> Boxes:
    """Boxes for the central ``output`` pixels (height, width) of ``count`` images of ``size``."""
    corner = [central_start(side, part) for side, part in zip(size, output, strict=True)]
    return Boxes(
        *(torch.full((count,), n, dtype=torch.int64, device=device) for n in (*corner, *output))
    )


def central_start(side: int, part: int) -> int:
    """Where the central ``part`` of ``side`` pixels begins, as in torchvision's ``CenterCrop``.

    An odd margin is halved to the nearest even number: 1 to 0, 3 to 2, 5 to 2.
    """
    return round((side - part) / 2)


def gather(
    pixels: Tensor,
    rows: Tensor,
    boxes: Boxes,
    output: tuple[int, int],
    *,
    reflect: bool = False,
) -> Tensor:
    """Crop parts of size ``output`` from ``pixels`` (N, H, W) or (N, H, W, C), without resizing.

    A single gather from the images ``rows`` (B,) to a batch (B, *output[, C]). Pixels outside an
    image are 0 or, with ``reflect``, its reflection (without repeating the border pixels).
    """
    height, width = pixels.shape[1:3]
    y, y_inside = _places(boxes.top, output[0], height, None, reflect)
    x, x_inside = _places(boxes.left, output[1], width, boxes.flip, reflect)
    taken = pixels[rows[:, None, None], y[:, :, None], x[:, None, :]]
    if reflect:
        return taken
    inside = y_inside[:, :, None] & x_inside[:, None, :]
    return taken * (inside[..., None] if pixels.ndim == 4 else inside)


def resize_boxes(pixels: Tensor, boxes: Boxes, output: tuple[int, int]) -> Tensor:
    """Resize each box of float ``pixels`` (B, C, H, W) to ``output``: (B, C, *output).

    Bilinear with antialiasing, like torchvision's ``resize``, as two matrix products with the
    triangle filter, which allow boxes of different sizes in one call.
    """
    height, width = pixels.shape[2:]
    down = _filter(boxes.top, boxes.height, height, output[0], None, pixels.dtype)
    across = _filter(boxes.left, boxes.width, width, output[1], boxes.flip, pixels.dtype)
    return down[:, None] @ pixels @ across[:, None].mT


def _filter(
    start: Tensor, length: Tensor, size: int, output: int, flip: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """The weight of each input pixel in each output pixel, (B, output, size)."""
    start, length = start[:, None, None].to(dtype), length[:, None, None].to(dtype)
    scale = length / output
    out = torch.arange(output, device=start.device, dtype=dtype)[None, :, None]
    if flip is not None:
        out = torch.where(flip[:, None, None], output - 1 - out, out)
    pixel = torch.arange(size, device=start.device, dtype=dtype)[None, None, :] - start
    distance = (pixel + 0.5 - scale * (out + 0.5)).abs()
    weight = (1.0 - distance / scale.clamp(min=1.0)).clamp(min=0.0)
    weight = weight * ((pixel >= 0) & (pixel < length))
    return weight / weight.sum(2, keepdim=True)


def _places(
    start: Tensor, output: int, size: int, flip: Tensor | None, reflect: bool
) -> tuple[Tensor, Tensor]:
    """Each output pixel's source coordinate and whether it is in the image, both (B, output)."""
    steps = torch.arange(output, device=start.device)[None]
    if flip is not None:
        steps = torch.where(flip[:, None], output - 1 - steps, steps)
    places = start[:, None] + steps
    inside = (places >= 0) & (places < size)
    if reflect:
        places = size - 1 - (size - 1 - places.abs()).abs()
    return places.clamp(0, size - 1), inside
