"""Options of the mixing methods: frozen dataclasses whose fields have ranges."""

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from saliencymixplus.errors import nearest

Need = Literal["gradient_saliency", "network", "stored_saliency", "masks"]
Scope = Literal["batch", "sample"]
Pairs = Literal["full", "half", "permutation", "redrawn"]
Label = Literal["area", "mask", "mask_pixels"]
MASK_LABELS = ("mask", "mask_pixels")
_RENAMED = {"saliency_share": "saliency_fraction"}  # names in version 0.1, still accepted


def number(default: float, low: float, high: float) -> Any:
    """A dataclass field for a number in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


def text(default: str, pattern: str) -> Any:
    """A dataclass field for text that matches the regular expression ``pattern``."""
    return field(default=default, metadata={"pattern": pattern})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a method; its dataclass fields are what users can set.

    Fields are a ``Literal``, a ``number`` or a ``text``, with the defaults of the default variant.
    The mixer reads the other attributes of every method: a method may override one, or declare a
    field of that name to let users set it.
    """

    # Options that ``variant: published`` (preset NAME-published) changes; empty: no such variant.
    PUBLISHED: ClassVar[Mapping[str, Any]] = {}
    _SCOPES: ClassVar[tuple[str, ...]] = ()  # the options of type ``Scope``

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls)
        cls._SCOPES = tuple(name for name, hint in hints.items() if hint == Scope)

    alpha = 1.0
    """λ₀ ~ Beta(alpha, alpha); 1 is uniform."""
    label = "area"
    """What determines the label weights: the method itself, or object masks (``MASK_LABELS``).

    The mixer computes weights from masks, see ``visible_fraction``.
    """
    position = "random"
    """Position of the part from the second image; ``object`` needs its mask."""
    coarse_maps = False
    """Whether maps may have any resolution, like those from feature maps."""
    smoothing_taps = 0
    """Width in pixels of the kernel of ``smoothing``; 0: 3σ on either side."""
    saliency_loss = "cross_entropy"
    """Loss whose gradient is the saliency, see ``gradient_saliency``."""
    shuffled_labels = 0.0
    """Fraction of the mixed images that exchange their λ with one another."""
    part_passes = 0.0
    """Number of forward-backward passes for the loss of a trained part."""

    # Described where they become fields, in MixingOptions and GradientSaliencyOptions.
    pairs = "full"
    clean_gradient = 0.0
    smoothing = 0.0
    saliency_mode = "eval"
    saliency_weights = "current"
    saliency_resolution = 1.0
    saliency_fraction = 1.0
    saliency_trust = "always"
    saliency_every = 1

    @property
    def needs(self) -> frozenset[Need]:
        """What the caller has to give besides images and labels.

        ``gradient_saliency``: ``model``, whose input gradient becomes ``Sources.saliency``;
        ``network``: ``model``, passed to the method's ``maps`` or ``plan``; ``stored_saliency``:
        ``saliency=`` (B, H, W), computed beforehand; ``masks``: ``masks=`` (B, H, W).
        """
        return frozenset()

    @property
    def on_device(self) -> bool:
        """Whether a step stays on the device and can be captured in a CUDA graph."""
        return True

    @property
    def per_sample(self) -> bool:
        """Whether λ₀, position and noise are drawn for each sample instead of once per batch.

        Set by the method's options of type ``Scope``; true if it has none.
        """
        return all(getattr(self, name) == "sample" for name in self._SCOPES)

    @property
    def lam0_per_sample(self) -> bool:
        """Whether λ₀ is drawn for each sample, if that differs from ``per_sample``."""
        return self.per_sample

    @property
    def batch_norm(self) -> Literal["untouched", "updated"]:
        """Whether a train-mode saliency pass updates batch-norm statistics."""
        return "untouched"

    @property
    def average_decay(self) -> float | None:
        """Decay of the moving average that the method needs, if the training has none itself."""
        return None

    def __getitem__(self, name: str) -> Any:
        """An option by name, for users of version 0.1, where options were a dictionary."""
        return asdict(self)[name]


@dataclass(frozen=True, kw_only=True)
class MixingOptions(Options):
    """Options of every method that mixes two images.

    Args:
        pairs: ``full``: a random partner, never the image itself. ``permutation``: a random
            permutation, in which about one image per batch is its own partner, as in the papers'
            code. ``redrawn``: such a permutation, drawn up to ten times until no image is its own
            partner. ``half``: the first half of the batch with the second.
        clean_gradient: weight of the unmixed batch's gradient, which ``mixing.backward`` adds to
            the mixed one; 0 … 100. It costs one more pass, unless ``saliency_mode: train`` makes it
            part of the saliency pass.
        label: for methods that have it. λ is the ``area`` that the first image keeps, or comes from
            object masks: ``mask``, the relative visible fractions of both objects, or
            ``mask_pixels``, the first object's fraction of all visible object pixels.

    Examples:
        >>> import torch
        >>> from saliencymixplus.mixing import create
        >>> mixer = create("cutmix", pairs="half")
        >>> mixer(torch.rand(6, 3, 8, 8), torch.arange(6)).images.shape
        torch.Size([3, 3, 8, 8])
    """

    pairs: Pairs = "full"
    clean_gradient: float = number(0.0, 0.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class GradientSaliencyOptions(MixingOptions):
    """Options of every method that uses the network's gradient saliency.

    Images without a map (``saliency_fraction``, ``saliency_every``, ``saliency_trust``) get zeros.

    Args:
        smoothing: σ in pixels of a Gaussian blur of the maps, 0 … 64; 0: none.
        saliency_mode: mode of the network in the saliency pass, ``eval`` or ``train``.
        batch_norm: with ``saliency_mode: train``, whether the pass updates the batch-norm
            statistics.
        saliency_weights: ``average`` uses the moving average of the weights, which needs
            ``training.weight_average``.
        saliency_resolution: side of the images in the saliency pass as a fraction of the training
            images' side, 0.1 … 1; the cost of the pass grows with its square.
        saliency_fraction: fraction of the batch that goes through the saliency pass, 0.05 … 1;
            below 1 only with ``pairs: full``.
        saliency_trust: ``correct`` uses only the maps of images that the network classifies
            correctly in the saliency pass; ``always`` uses all of them.
        saliency_every: one saliency pass in this many mixed steps, 1 … 1000. In your own training
            loop, pass ``use_saliency`` to ``mixing.backward`` instead.

    Examples:
        >>> import torch
        >>> from saliencymixplus.mixing import create
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
        >>> mixer = create("saliencymixplus", saliency_fraction=0.5)
        >>> mixed = mixer(torch.rand(4, 3, 8, 8), torch.arange(4), model=network)
        >>> (mixed.saliency.sum((1, 2)) > 0).tolist()
        [True, True, False, False]
    """

    smoothing: float = number(0.0, 0.0, 64.0)
    saliency_mode: Literal["eval", "train"] = "eval"
    batch_norm: Literal["untouched", "updated"] = "untouched"
    saliency_weights: Literal["current", "average"] = "current"
    saliency_resolution: float = number(1.0, 0.1, 1.0)
    saliency_fraction: float = number(1.0, 0.05, 1.0)
    saliency_trust: Literal["always", "correct"] = "always"
    saliency_every: int = number(1, 1, 1000)

    def __post_init__(self) -> None:
        if self.saliency_fraction < 1 and self.pairs != "full":
            raise ValueError(f"saliency_fraction: {self.saliency_fraction} needs pairs: full")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"gradient_saliency"})


def resolve(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Build options from what the user gave; None means the variant's value.

    Raises:
        ValueError: an unknown option, or a value of the wrong type or out of range; one line.
    """
    known = {spec.name: spec for spec in fields(kind)}
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        if name in _RENAMED:
            warnings.warn(f"{name} is now called {_RENAMED[name]}", FutureWarning, stacklevel=2)
            name = _RENAMED[name]
        if name not in known:
            hint = nearest(str(name), known) if known else "this method has none"
            raise ValueError(f"no option is called {name!r}: {hint}")
        if value is not None:
            chosen[name] = _checked(known[name], get_type_hints(kind)[name], value)
    preset = dict(kind.PUBLISHED) if chosen.get("variant") == "published" else {}
    return kind(**(preset | chosen))


def _checked(spec: "Field[Any]", hint: Any, value: Any) -> Any:
    if get_origin(hint) is Literal:
        allowed = [str(choice) for choice in get_args(hint)]
        if value not in allowed:
            hint = nearest(str(value), allowed)
            raise ValueError(f"{spec.name}: {value!r} is not one of its values: {hint}")
        return value
    if hint is str:
        if not isinstance(value, str) or not re.fullmatch(spec.metadata["pattern"], value):
            raise ValueError(f"{spec.name}: {value!r} does not match {spec.metadata['pattern']}")
        return value
    low, high = spec.metadata["low"], spec.metadata["high"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{spec.name}: {value!r} is not a number between {low:g} and {high:g}")
    if not low <= value <= high:
        raise ValueError(f"{spec.name}: {value!r} is not between {low:g} and {high:g}")
    if hint is int and value != int(value):
        raise ValueError(f"{spec.name}: {value!r} is not a whole number")
    return hint(value)
