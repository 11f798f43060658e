"""Building blocks for corrupting batches of images: blur kernels, random fields, warps.

Images are float32 (B, 3, H, W) in [0, 1]. Random numbers come from a NumPy generator on the CPU,
so that corrupted images are the same on every device.
"""

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saliencymixplus.loading.pixels import to_unit

FINE = 9  # sample points per pixel along each axis when a kernel is rasterised


def disc_kernel(radius: float) -> Tensor:
    """A disc of ``radius`` pixels, (1, k, k): each pixel's covered area, normalised to sum 1."""
    reach = math.ceil(radius)
    size = 2 * reach + 1
    steps = (torch.arange(size * FINE, dtype=torch.float64) + 0.5) / FINE - size / 2
    inside = (steps[:, None] ** 2 + steps[None] ** 2 <= radius**2).double()
    kernel = F.avg_pool2d(inside[None], FINE)
    return (kernel / kernel.sum()).float()


def line_kernels(length: float, angles: np.ndarray) -> Tensor:
    """Lines of ``length`` pixels, (B, k, k), at each angle (radians), each normalised to sum 1."""
    reach = math.ceil(length / 2)
    size = 2 * reach + 1
    points = np.linspace(-length / 2, length / 2, max(2, math.ceil(length * FINE)))
    kernels = np.zeros((len(angles), size, size))
    for kernel, angle in zip(kernels, angles, strict=True):
        row, column = reach + points * math.sin(angle), reach + points * math.cos(angle)
        r, c = np.floor(row).astype(int), np.floor(column).astype(int)
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = np.abs(1 - down - (row - r)) * np.abs(1 - right - (column - c))
            inside = (r + down < size) & (c + right < size)
            np.add.at(kernel, ((r + down)[inside], (c + right)[inside]), weight[inside])
    kernels /= kernels.sum(axis=(1, 2), keepdims=True)
    return torch.from_numpy(kernels.astype(np.float32))


def filtered(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter each image with its kernel, (B or 1, k, k); borders are mirrored."""
    batch, channels, height, width = images.shape
    size = kernels.shape[-1]
    pad = size // 2
    # Reflection padding cannot exceed the image: repeat the edge pixels for larger kernels.
    mode = "reflect" if pad < min(height, width) else "replicate"
    padded = F.pad(images, (pad, pad, pad, pad), mode=mode)
    weights = kernels.to(images).expand(batch, size, size).repeat_interleave(channels, 0)[:, None]
    result = F.conv2d(padded.flatten(0, 1)[None], weights, groups=batch * channels)
    return result.view(batch, channels, height, width)


def fractal_fields(
    count: int, side: int, rng: np.random.Generator, *, exponent: float, coarsest: float = 1.0
) -> np.ndarray:
    """Random fields (count, side, side), float32 in [0, 1], with amplitudes ∝ 1 / f**exponent.

    ``coarsest`` is the lowest frequency kept at full weight, in periods per image.
    """
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side
    weight = 1 / np.maximum(frequency, coarsest) ** exponent
    weight[0, 0] = 0
    spectrum = np.fft.rfft2(rng.standard_normal((count, side, side))) * weight
    field = np.fft.irfft2(spectrum, s=(side, side))
    low = field.min(axis=(1, 2), keepdims=True)
    high = field.max(axis=(1, 2), keepdims=True)
    scaled: np.ndarray = (field - low) / np.maximum(high - low, 1e-12)
    return scaled.astype(np.float32)


def warped(images: Tensor, shift: Tensor) -> Tensor:
    """Displace each pixel's source by ``shift``, (B, H, W, 2: x, y) in pixels; mirror borders."""
    batch, _, height, width = images.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device, dtype=images.dtype),
        torch.arange(width, device=images.device, dtype=images.dtype),
        indexing="ij",
    )
    at = torch.stack((x, y), dim=-1).expand(batch, height, width, 2) + shift.to(images)
    scale = torch.tensor([2 / width, 2 / height], device=images.device, dtype=images.dtype)
    return F.grid_sample(
        images, (at + 0.5) * scale - 1, padding_mode="reflection", align_corners=False
    )


def zoomed(images: Tensor, factor: float) -> Tensor:
    """Enlarge each image by ``factor`` ≥ 1 about its centre and crop it to the original size."""
    matrix = torch.tensor([[1 / factor, 0, 0], [0, 1 / factor, 0]], dtype=images.dtype)
    matrices = matrix.to(images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def pixelated(images: Tensor, side: int) -> Tensor:
    """Average each image down to ``side`` × ``side`` pixels and enlarge it again."""
    # torch's "area" mode weights all pixels that a cell touches equally, even partly covered ones.
    arrays = images.permute(0, 2, 3, 1).cpu().numpy()
    small = [
        cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=cv2.INTER_AREA)
        for image in arrays
    ]
    tensor = torch.from_numpy(np.stack(small)).to(images).permute(0, 3, 1, 2)
    return F.interpolate(tensor, size=images.shape[-2:], mode="nearest-exact")


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Compress each image as a JPEG of ``quality`` (1 to 100) and decode it."""
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    decoded = []
    for image in pixels:
        _, code = cv2.imencode(
            ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)
        assert image is not None  # it has just been encoded
        decoded.append(image[..., ::-1])
    return to_unit(torch.from_numpy(np.stack(decoded)).to(images.device))
