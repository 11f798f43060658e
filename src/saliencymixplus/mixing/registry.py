"""The registry of mixing methods. Adding one is a function and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from saliencymixplus.errors import nearest
from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.methods.cutmix import CutMixOptions, cutmix
from saliencymixplus.mixing.methods.fmix import FMixOptions, fmix, spectrum_noise
from saliencymixplus.mixing.methods.gridmix import GridMixOptions, cell_noise, gridmix
from saliencymixplus.mixing.methods.guidedsr import (
    GuidedSROptions,
    farthest_first,
    guidedsr,
    saliency_maps,
)
from saliencymixplus.mixing.methods.mixup import MixupOptions, mixup
from saliencymixplus.mixing.methods.resizemix import ResizeMixOptions, resizemix
from saliencymixplus.mixing.methods.saliencymix import SaliencyMixOptions, saliencymix
from saliencymixplus.mixing.methods.saliencymixplus import SaliencyMixPlusOptions, saliencymixplus
from saliencymixplus.mixing.methods.smoothmix import SmoothMixOptions, smoothmix
from saliencymixplus.mixing.options import Options, as_json, resolve

Apply = Callable[[Sources, Draw, Any], Blend]


@dataclass(frozen=True)
class Method:
    """A mixing method: its function, its options and what it needs."""

    summary: str
    options: type[Options]
    apply: Apply | None  # None: the batch stays as it is
    needs_model: Callable[[Any], bool] = lambda options: False
    needs_saliency: Callable[[Any], bool] = lambda options: False  # a stored map, (B, H, W)
    maps: Callable[..., Tensor] | None = None  # (images, options) -> own saliency (B, H, W)
    pair: Callable[..., Tensor | None] | None = None  # (saliency, pairs) -> partners (B,)
    noise: Callable[..., tuple[int, ...]] | None = None  # (options, H, W) -> shape per sample


METHODS: dict[str, Method] = {
    "none": Method("plain training", Options, None),
    "cutmix": Method("a random box of one image in another", CutMixOptions, cutmix),
    "saliencymix": Method(
        "CutMix with the box on the most salient pixel of a stored map",
        SaliencyMixOptions,
        saliencymix,
        needs_saliency=lambda options: options.saliency_map == "stored",
    ),
    "saliencymixplus": Method(
        "boxes and labels by the network's own gradient saliency",
        SaliencyMixPlusOptions,
        saliencymixplus,
        needs_model=lambda options: options.position != "random" or options.label != "area",
    ),
    "mixup": Method("convex combination of two images", MixupOptions, mixup),
    "resizemix": Method("the whole second image, shrunk", ResizeMixOptions, resizemix),
    "fmix": Method("masks of random shape", FMixOptions, fmix, noise=spectrum_noise),
    "gridmix": Method("cells of a grid", GridMixOptions, gridmix, noise=cell_noise),
    "smoothmix": Method("a blob with soft edges", SmoothMixOptions, smoothmix),
    "guidedsr": Method(
        "pixels weighed by spectral-residual saliency",
        GuidedSROptions,
        guidedsr,
        maps=saliency_maps,
        pair=farthest_first,
    ),
}


def find(method: str) -> Method:
    """The method of that name; ``ValueError`` with the nearest name otherwise."""
    if method not in METHODS:
        hint = nearest(str(method), METHODS)
        raise ValueError(f"no mixing method is called {method!r}: {hint}")
    return METHODS[method]


def resolve_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of ``method`` with its value; None and what is left out: as the variant says.

    Raises:
        ValueError: an unknown method, option or value; one line with the nearest name.
    """
    return as_json(resolve(find(method).options, options))
