"""OpenCV's fine-grained saliency of the uint8 images, computed once during preparation."""

import numpy as np
from numpy.typing import NDArray

from saliencymixplus.errors import UserError
from saliencymixplus.mixing.methods.saliencymix import fine_grained_detector


def fine_grained(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Saliency maps (N, H, W), 0 to 255, of RGB images (N, H, W, 3).

    Centre-surround differences at several scales (Montabone and Soto 2010), the detector used by
    SaliencyMix. A uniform image has an all-zero map. Takes about 0.15 ms per image at 32 × 32 and
    6 ms at 224 × 224. Thread-safe.

    Raises:
        UserError: the installed OpenCV has no saliency module.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(f"uint8 images (N, H, W, 3) needed, not {images.dtype} {images.shape}")
    try:
        detector = fine_grained_detector()
    except ImportError as error:
        raise UserError(str(error)) from error
    maps = np.empty(images.shape[:3], np.uint8)
    for image, target in zip(images, maps, strict=True):
        # OpenCV expects BGR.
        found, saliency = detector.computeSaliency(np.ascontiguousarray(image[..., ::-1]))
        if not found:
            raise RuntimeError("OpenCV could not compute the fine-grained saliency of an image")
        target[...] = (saliency * 255).astype(np.uint8)
    return maps
