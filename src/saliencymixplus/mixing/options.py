"""Options of the mixing methods: frozen dataclasses whose fields know their ranges."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

Need = Literal["gradient_saliency", "network", "stored_saliency", "masks"]
Scope = Literal["batch", "sample"]
Pairs = Literal["full", "half", "permutation", "redrawn"]
Label = Literal["area", "mask", "mask_pixels"]
MASK_LABELS = ("mask", "mask_pixels")


def number(default: float, low: float, high: float) -> Any:
    """A dataclass field for a number in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


def text(default: str, pattern: str) -> Any:
    """A dataclass field for text that matches the regular expression ``pattern``."""
    return field(default=default, metadata={"pattern": pattern})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a method; its dataclass fields are what the user can set.

    The properties are what the mixer asks of every method. A field of the same name makes one
    settable. Field defaults are those of the default variant.
    """

    def __getitem__(self, name: str) -> Any:
        """An option by name, as in version 0.1, where the options were a dictionary."""
        return as_json(self)[name]

    # What ``variant: published`` changes; empty for a method without that option.
    PUBLISHED: ClassVar[Mapping[str, Any]] = {}

    @property
    def needs(self) -> frozenset[Need]:
        """What the caller has to provide; see ``registry``."""
        return frozenset()

    @property
    def on_device(self) -> bool:
        """Whether a step stays on the device and can be captured in a CUDA graph."""
        return True

    @property
    def per_sample(self) -> bool:
        """Whether λ₀ and the place are drawn for each sample instead of once per batch."""
        return True

    @property
    def lam0_per_sample(self) -> bool:
        """Whether λ₀ is, where it differs from the rest."""
        return self.per_sample

    @property
    def coarse_maps(self) -> bool:
        """Whether maps may have any resolution, as those of feature maps do."""
        return False

    @property
    def alpha(self) -> float:
        """λ₀ ~ Beta(alpha, alpha); 1 is uniform."""
        return 1.0

    @property
    def pairs(self) -> str:
        """How partners are chosen; see ``MixingOptions``."""
        return "full"

    @property
    def clean_gradient(self) -> float:
        """Weight of the unmixed batch's gradient, added by ``mixing.backward``."""
        return 0.0

    @property
    def label(self) -> str:
        """What weighs the labels: the method itself, or object masks (``MASK_LABELS``).

        ``mask`` is the relative visible fraction of both objects, ``mask_pixels`` the fraction of
        the visible object pixels; the mixer computes both, see ``visible_fraction``.
        """
        return "area"

    @property
    def position(self) -> str:
        """Where the second image's part goes; ``object`` needs its mask."""
        return "random"

    @property
    def smoothing(self) -> float:
        """σ in pixels of a Gaussian blur of the saliency maps; 0: none."""
        return 0.0

    @property
    def smoothing_taps(self) -> int:
        """Width in pixels of that blur's kernel; 0: up to 3σ on either side."""
        return 0

    @property
    def saliency_mode(self) -> Literal["eval", "train"]:
        """Mode of the network in the saliency pass."""
        return "eval"

    @property
    def batch_norm(self) -> Literal["untouched", "updated"]:
        """Whether a train-mode saliency pass updates batch-norm statistics."""
        return "untouched"

    @property
    def saliency_weights(self) -> Literal["current", "average"]:
        """Weights of the network in the saliency pass: its own or their moving average."""
        return "current"

    @property
    def saliency_loss(self) -> Literal["cross_entropy", "binary"]:
        """Loss whose gradient is the saliency, see ``gradient_saliency``."""
        return "cross_entropy"

    @property
    def saliency_resolution(self) -> float:
        """Side of the saliency pass's images, as a fraction of the training images'."""
        return 1.0

    @property
    def saliency_fraction(self) -> float:
        """Fraction of the batch that goes through the saliency pass."""
        return 1.0

    @property
    def saliency_trust(self) -> Literal["always", "correct"]:
        """Which images keep their map: all, or those that the network classifies correctly."""
        return "always"

    @property
    def shuffled_labels(self) -> float:
        """Fraction of the mixed images that exchange their λ with one another."""
        return 0.0

    @property
    def average_decay(self) -> float | None:
        """Decay of a moving average of the method's own, where the training keeps none."""
        return None

    @property
    def part_passes(self) -> float:
        """Forward-backward passes that the loss of a trained part takes."""
        return 0.0

    @property
    def saliency_every(self) -> int:
        """One saliency pass in this many mixed steps."""
        return 1


@dataclass(frozen=True, kw_only=True)
class MixingOptions(Options):
    """Options of every method that mixes two images.

    Args:
        pairs: ``full``: a random partner, never the image itself. ``permutation``: a random
            permutation, in which about one image per batch is its own partner, as in the papers'
            code. ``redrawn``: such a permutation, drawn again up to ten times while an image is
            its own partner. ``half``: the first half of the batch with the second.
        clean_gradient: weight of the unmixed batch's gradient, added to the mixed one's by
            ``mixing.backward``; 0 … 100. It costs a pass of the batch, unless ``saliency_mode:
            train`` makes it part of the saliency pass.
        label: of the methods that have it: λ by the ``area`` that the first image keeps, or by
            object masks: ``mask``, the relative visible fraction of both objects, or
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
    """Options of every method that takes the network's gradient saliency.

    Images without a map (``saliency_fraction``, ``saliency_every``, ``saliency_trust``) get zeros.

    Args:
        smoothing: σ in pixels of a Gaussian blur of the maps, 0 … 64; 0: none.
        saliency_mode: mode of the network in the saliency pass, ``eval`` or ``train``.
        batch_norm: with ``saliency_mode: train``, whether the pass updates the batch-norm
            statistics.
        saliency_weights: ``average`` uses the moving average of the weights; in a training it
            needs ``training.weight_average``.
        saliency_resolution: side of the saliency pass's images as a fraction of the training
            images', 0.1 … 1; the pass costs its square.
        saliency_fraction: fraction of the batch that goes through the saliency pass, 0.05 … 1;
            below 1 only with ``pairs: full``.
        saliency_trust: ``correct`` uses only the maps of images that the network classifies
            correctly in the saliency pass; ``always`` uses all of them.
        saliency_every: one saliency pass in this many mixed steps, 1 … 1000. A training counts
            the steps; in a loop of your own give ``use_saliency`` to ``mixing.backward``.

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


def as_json(options: Options) -> dict[str, Any]:
    """Every option with its value, as it is recorded with a run."""
    return asdict(options)
