"""Spectral-residual saliency, for whole batches on their device.

Hou and Zhang, "Saliency Detection: A Spectral Residual Approach", CVPR 2007, equations 3 to 6, with
the constants of OpenCV's ``StaticSaliencySpectralResidual``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.mixing.saliency import gaussian, padded, smooth

_BT601 = (0.299, 0.587, 0.114)
_LARGEST = 128  # side in pixels above which GuidedMixup's released code shrinks images


def grey(images: Tensor) -> Tensor:
    """Luma (B, H, W) of images (B, C, H, W), each stretched to 0 … 255, in float32.

    The residual depends on the scale of the pixels, which normalisation has changed. Images that
    are constant or not finite become 0.
    """
    pixels = images.float()
    if images.shape[1] == 3:
        pixels = sum(w * pixels[:, i] for i, w in enumerate(_BT601))  # type: ignore[assignment]
    else:
        pixels = pixels.mean(1)
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    span = high - low
    usable = torch.isfinite(span) & (span > 0)
    return torch.where(usable, (pixels - low) / torch.where(usable, span, 1.0), 0.0) * 255.0


def spectral_residual(
    luma: Tensor, *, size: tuple[int, int] = (64, 64), squared: bool = True
) -> Tensor:
    """Saliency (B, H, W) float32 of luma (B, H, W) in 0 … 255, with a maximum of 1; 0 if constant.

    Args:
        size: height and width at which the spectrum is computed; OpenCV uses 64 × 64.
        squared: square the magnitude, as published.
    """
    height, width = luma.shape[1:]
    small = luma[:, None]
    if size != (height, width):
        small = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
    spectrum = torch.fft.fft2(small)
    magnitude = spectrum.abs()
    phase = torch.where(magnitude > 0, spectrum / torch.where(magnitude > 0, magnitude, 1.0), 1.0)
    logarithm = torch.log1p(magnitude)
    average = F.avg_pool2d(padded(logarithm, 1), 3, stride=1)
    maps = torch.fft.ifft2(torch.exp(logarithm - average) * phase).abs()
    maps = gaussian(padded(maps, 2), sigma=8.0, radius=2)
    if squared:
        maps = maps * maps
    # Without a residual, the inverse transform would be a peak at the origin.
    maps = torch.where(luma.amax((1, 2)).gt(luma.amin((1, 2)))[:, None, None, None], maps, 0.0)
    maps = maps / maps.amax((2, 3), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    if size != (height, width):
        maps = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)
    return maps[:, 0]


def released_residual(images: Tensor) -> Tensor:
    """Spectral-residual maps (B, H, W) of normalised images (B, C, H, W), as GuidedMixup's code.

    Unlike ``spectral_residual``, this does not stretch the images, so the maps depend on their
    scale; it uses the plain logarithm, repeats the spectrum's edges for the 3 × 3 mean, and blurs
    with 7 taps, σ = 3. Images of more than 128 rows are shrunk bilinearly to a square of that side
    (not compared with the released code).
    """
    height, width = images.shape[2:]
    luma = images.float().mean(1, keepdim=True)
    if images.shape[1] == 3:
        red, green, blue = images.float().split(1, 1)
        luma = 0.2989 * red + 0.587 * green + 0.114 * blue  # MATLAB's rgb2gray
    if height > _LARGEST:
        luma = F.interpolate(luma, size=(_LARGEST, _LARGEST), mode="bilinear", align_corners=False)
    spectrum = torch.fft.fft2(luma)
    magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-10)
    logarithm = magnitude.log()
    average = F.avg_pool2d(F.pad(logarithm, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    maps = torch.fft.ifft2(spectrum * (torch.exp(logarithm - average) / magnitude)).abs()
    maps = smooth(maps[:, 0], 3.0, taps=7)
    if height > _LARGEST:
        maps = F.interpolate(maps[:, None], size=(height, width), mode="bilinear")[:, 0]
    return maps
