"""SaliencyMix: CutMix with its box on the most salient pixel of the second image.

Uddin et al., "SaliencyMix: A Saliency Guided Data Augmentation Strategy for Better
Regularization", ICLR 2021 (arXiv:2006.01791), section 3.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.boxes import BoxSize
from saliencymixplus.mixing.combine import paste_around
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, Need, Scope, number
from saliencymixplus.mixing.positions import on_object, peak


@dataclass(frozen=True, kw_only=True)
class SaliencyMixOptions(MixingOptions):
    """Options of SaliencyMix.

    Args:
        variant: ``corrected``: a box per sample from the stored map of the uint8 image;
            ``published``: one box for the batch, placed by its first partner, whose *normalised
            float* image OpenCV reads as bytes. This runs OpenCV on the CPU in every mixed step.
        alpha: λ₀ ~ Beta(alpha, alpha), 1 − the box's area before clipping; 0.05 … 100.
        box: one box for the ``batch`` or one for each ``sample``.
        box_size: ``exact`` keeps odd sides; ``halves`` makes them a pixel shorter, as published.
        saliency_map: ``stored``: the caller's ``saliency=``; ``float_bytes``: as published.
        position: ``peak``: the most salient pixel; ``object``: a random pixel of the second image's
            object, which needs masks instead of saliency.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> maps = torch.zeros(4, 8, 8)
        >>> maps[:, 3, 4] = 1.0
        >>> mixed = create("saliencymix")(torch.rand(4, 3, 8, 8), torch.arange(4), saliency=maps)
        >>> bool((mixed.mask[:, 0, 3, 4] == (mixed.lam < 1)).all())  # each box contains the peak
        True
    """

    PUBLISHED = {
        "pairs": "permutation",
        "box": "batch",
        "box_size": "halves",
        "saliency_map": "float_bytes",
    }

    variant: Literal["corrected", "published"] = "corrected"
    alpha: float = number(1.0, 0.05, 100.0)
    box: Scope = "sample"
    box_size: BoxSize = "exact"
    saliency_map: Literal["stored", "float_bytes"] = "stored"
    position: Literal["peak", "object"] = "peak"
    label: Label = "area"

    @property
    def on_device(self) -> bool:
        # float_bytes runs OpenCV on the CPU.
        return self.saliency_map == "stored" or self.position == "object"

    @property
    def needs(self) -> frozenset[Need]:
        stored = self.saliency_map == "stored" and self.position == "peak"
        return frozenset({"stored_saliency"} if stored else ())


def saliencymix(sources: Sources, draw: Draw, options: SaliencyMixOptions) -> Blend:
    """λ is 1 − the box's area fraction after clipping."""
    lam0, centre = draw.take("lam0", "centre")
    count = len(lam0)  # 1: the first partner places the batch's box
    if options.position == "object":
        centre = on_object(sources, draw, count)
    else:
        centre = _peak(sources, centre, count, options)
    return paste_around(sources, lam0, centre, options.box_size)


def _peak(sources: Sources, fallback: Tensor, count: int, options: SaliencyMixOptions) -> Tensor:
    """The most salient pixel of the first ``count`` second images, (count, 2) int64."""
    if sources.saliency is not None:
        saliency = sources.saliency.index_select(0, sources.index_b[:count])
    else:
        saliency = fine_grained_of_floats(sources.b[:count])
    if options.saliency_map == "float_bytes":
        # The published code takes the arg-max of the map cast to bytes: the first of equal values,
        # and the corner if the map is zero.
        fallback = torch.zeros_like(fallback)
        if saliency.is_floating_point():
            saliency = (saliency.float() * 255).to(torch.uint8)
    return peak(saliency, fallback)


def fine_grained_detector() -> Any:
    """OpenCV's fine-grained saliency detector (Montabone and Soto 2010).

    Raises:
        ImportError: OpenCV is not installed, or has no saliency module.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "fine-grained saliency needs OpenCV: pip install opencv-contrib-python "
            "(SaliencyMix calls it with saliency_map: float_bytes, as variant: published does)"
        ) from error
    if not hasattr(cv2, "saliency"):
        raise ImportError(
            "OpenCV has no saliency module: another OpenCV package hides opencv-contrib-python. "
            "Run `pip uninstall opencv-python opencv-python-headless`, then "
            "`pip install --force-reinstall --no-deps opencv-contrib-python`"
        )
    return cv2.saliency.StaticSaliencyFineGrained_create()  # type: ignore[attr-defined]


def fine_grained_of_floats(images: Tensor) -> Tensor:
    """OpenCV's fine-grained saliency (N, H, W) float32 of float images (N, 3, H, W), as published.

    OpenCV reads the image as bytes, so the map is mostly noise: use it only to reproduce published
    figures. Copies to the CPU and waits for it.
    """
    detector = fine_grained_detector()
    maps = []
    for image in images.detach().float().cpu():
        success, saliency = detector.computeSaliency(image.permute(1, 2, 0).numpy())
        if not success:
            raise RuntimeError("OpenCV could not compute the fine-grained saliency of an image")
        maps.append(torch.from_numpy(saliency))
    return torch.stack(maps).to(images.device)


METHOD = Method(
    name="saliencymix",
    label="SaliencyMix",
    year=2021,
    summary="CutMix with the box on the most salient pixel of a stored map",
    paper="ICLR 2021, arXiv:2006.01791",
    options=SaliencyMixOptions,
    apply=saliencymix,
)
