"""The registry of mixing methods: every file in ``mixing/methods`` that declares a ``METHOD``.

Adding a method means adding ``methods/NAME.py``, and nothing else::

    @dataclass(frozen=True, kw_only=True)
    class NameOptions(MixingOptions):
        alpha: float = number(1.0, 0.05, 100.0)

    def name(sources: Sources, draw: Draw, options: NameOptions) -> Blend:
        ...
        return Blend(images, mask)

    METHOD = Method(
        name="name", label="Name", year=2024, summary="…", paper="arXiv:…",
        options=NameOptions, apply=name,
    )

The mixer draws the random numbers, checks the input, selects the partners, calls ``apply`` under
``no_grad`` without autocast, and fills in the rest of the ``MixedBatch``.

**Options** are a frozen dataclass whose fields are ``Literal``s or ``number(default, low, high)``.
Its base class ``Options`` names the ones that the mixer itself reads (``pairs``, ``alpha``,
``smoothing``, ``clean_gradient``, the ``saliency_…`` group): declare a field of that name to let
users set it. Methods that take the network's gradient saliency derive from
``GradientSaliencyOptions``. Two properties may be overridden:

``per_sample``
    Whether λ₀, centre, uniform and noise are drawn for each sample (N = M) or once (N = 1).
``needs``
    What the caller has to provide, a frozenset of

    * ``"gradient_saliency"``: ``model``, whose input gradient becomes ``Sources.saliency`` (its
      channels combined by ``aggregate``);
    * ``"network"``: ``model``, handed to the hook ``maps`` (activation maps, attention);
    * ``"stored_saliency"``: ``saliency=`` (B, H, W), computed beforehand from the image;
    * ``"masks"``: ``masks=`` (B, H, W), which become ``Sources.masks``.

**apply(sources, draw, options) → Blend** gets the M pairs of images, and labels, saliency and masks
of the whole batch of B (index them by ``sources.index_b`` for the second image; the first is image
i itself). It returns the mixed images, the second image's weight at each pixel, and where they
differ from the pixel fraction the label weights: ``lam`` of the first label and, if the two need
not sum to 1, ``lam_b`` of the second. If an image may hold more than two, ``weights`` has the
weights of all labels, and ``index_a``, ``index_b``, ``mask_a`` and ``mask`` describe the two that
show most. It must neither wait for the device nor branch on tensors,
so that a step can be compiled and captured in a CUDA graph. It must give finite results for maps
that are zero or not finite: steps without a saliency pass give zeros.

**Hooks**, all optional (``Method`` gives their signatures): ``maps`` computes the method's own
saliency, ``pair`` chooses partners, ``noise`` asks for normal numbers, ``forward`` replaces
``model(mixed.images)``, with ``Blend.aux`` to hand tensors to it. ``recipes`` names presets. A
method that trains a module of its own (AutoMix) makes it in ``part``, asks it in ``plan``, whose
result is ``Sources.plan``, and gives its loss in ``part_loss``.

A method may import from another one's file or from a shared helper, ``methods/_NAME.py``: what a
file imports from ``methods/`` counts as part of the method when a run is resumed.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from saliencymixplus.errors import nearest
from saliencymixplus.mixing import methods
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Options
from saliencymixplus.mixing.resolve import resolve


def _found() -> dict[str, Method]:
    """Every method by name: plain training first, then by year and name."""
    found: list[Method] = []
    for file in pkgutil.iter_modules(methods.__path__):
        if file.name.startswith("_"):
            continue
        method: Method = importlib.import_module(f"{methods.__name__}.{file.name}").METHOD
        if method.name != file.name:
            raise ImportError(f"methods/{file.name}.py declares the method {method.name!r}")
        found.append(method)
    found.sort(key=lambda method: (method.year is None, method.year or 0, method.name))
    return {method.name: method for method in found}


METHODS: dict[str, Method] = _found()


PRESETS: dict[str, Method] = {name: m for m in METHODS.values() for name in m.recipes}
_LABELS = {method.label.lower(): method.name for method in METHODS.values()}


def plain_name(name: str) -> str:
    """The name of a method or preset: itself, or that of a label such as "SaliencyMix+"."""
    return _LABELS.get(name.lower(), name.lower())


def find(name: str) -> tuple[Method, dict[str, Any]]:
    """A method, with the options that a preset of that name sets.

    Raises:
        ValueError: there is none; one line with the nearest name.
    """
    plain = plain_name(str(name))
    if plain in PRESETS:
        return PRESETS[plain], dict(PRESETS[plain].recipes[plain])
    if plain not in METHODS:
        hint = nearest(str(name), {*METHODS, *PRESETS})
        raise ValueError(f"no mixing method is called {name!r}: {hint}")
    return METHODS[plain], {}


def settle(name: str, options: Mapping[str, Any]) -> tuple[Method, Options]:
    """A method or preset with all its options; omitted ones and None as the preset has them."""
    method, preset = find(name)
    omitted = {key: value for key, value in preset.items() if options.get(key) is None}
    return method, resolve(method.options, {**options, **omitted})
