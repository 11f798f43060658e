"""The input and output of mixing: images, and for each mixed image two labels with weights."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.checks import class_indices, logits_of
from saliencymixplus.mixing.criterion import CROSS_ENTROPY, Criterion, distribution

Reduction = Literal["per_sample", "batch_mean"]


@dataclass(frozen=True)
class Batch:
    """A batch of B images as the caller gave it, for hooks that need the whole batch."""

    images: Tensor  # (B, C, H, W)
    labels: Tensor  # (B,) integers or (B, K) float
    model: nn.Module | None = None
    masks: Tensor | None = None  # (B, H, W)
    saliency: Tensor | None = None  # (B, H, W)
    part: nn.Module | None = None  # module that the method trains; None: the one in ``model``


@dataclass(frozen=True)
class Sources:
    """A batch of B images, and the M pairs of them to mix."""

    images: Tensor  # (B, C, H, W)
    index_b: Tensor  # (M,) int64
    labels: Tensor  # (B,) integers or (B, K) float
    saliency: Tensor | None = None  # (B, H, W), after any smoothing
    masks: Tensor | None = None  # (B, H, W) integers: 0 background, 1 object, 2 unknown
    plan: Any = None  # what the method's hook ``plan`` returned

    @property
    def a(self) -> Tensor:
        """The first image of each pair, (M, C, H, W): a view of the first M images."""
        return self.images[: len(self.index_b)]

    @property
    def b(self) -> Tensor:
        """The second image of each pair, (M, C, H, W): a new copy at each access."""
        return select(self.images, self.index_b)

    @property
    def height(self) -> int:
        return self.images.shape[2]

    @property
    def width(self) -> int:
        return self.images.shape[3]


@dataclass(frozen=True)
class Blend:
    """The result of a method's ``apply``. A first dimension of 1 applies to all M images."""

    images: Tensor  # (M, C, H, W)
    mask: Tensor  # (M or 1, 1, H, W): weight of the second source at each pixel
    lam: Tensor | None = None  # (M or 1,): weight of the first label; None: 1 − mean of ``mask``
    lam_b: Tensor | None = None  # (M or 1,): weight of the second label; None: 1 − λ
    # The next four are for methods that may combine more than two images of the batch:
    weights: Tensor | None = None  # (M, B): weight of each image's label
    mask_a: Tensor | None = None  # (M, 1, H, W): weight of the first source; None: 1 − ``mask``
    index_a: Tensor | None = None  # (M,): the two most visible sources; None: the drawn pairs
    index_b: Tensor | None = None
    boxes: Tensor | None = None  # (M or 1, 4)
    source_boxes: Tensor | None = None  # (M or 1, 4)
    aux: Tensor | None = None  # for the method's ``forward``
    reduction: Reduction = "per_sample"


@dataclass(frozen=True)
class MixedBatch:
    """A mixed batch of M images.

    ``boxes`` are (M, 4) ``r0, c0, r1, c1`` in pixels, half open, in the first source; the second
    source is cut at the same place unless ``source_boxes`` says otherwise.

    A mixed image may combine more than two of the batch (Co-Mixup). ``weights`` then has the
    weights of all labels, and the first and second source are the two most visible ones.
    """

    images: Tensor  # (M, C, H, W), dtype and memory format of the input
    labels_a: Tensor  # (M,) integers or (M, K) float
    labels_b: Tensor
    lam: Tensor  # (M,) float32 in [0, 1]: weight of the first label
    index_a: Tensor  # (M,) int64: which images of the batch were mixed
    index_b: Tensor
    area_lam: Tensor  # (M,) float32: 1 − fraction of the pixels taken from the second source
    lam_b: Tensor | None = None  # (M,) float32: weight of the second label; None: 1 − λ
    weights: Tensor | None = None  # (M, B) float32: weight of each of ``labels``; None: λ and λ_b
    labels: Tensor | None = None  # (B,) integers or (B, K) float, where there are ``weights``
    mask: Tensor | None = None  # (M, 1, H, W) float32: weight of the second source at each pixel
    mask_a: Tensor | None = None  # the same for the first source; None: 1 − ``mask``
    boxes: Tensor | None = None
    source_boxes: Tensor | None = None
    saliency: Tensor | None = None  # (B, H, W): the maps used, of the whole input batch
    aux: Tensor | None = None  # for the method's ``forward``
    reduction: Reduction = "per_sample"
    clean_gradient: float = 0.0  # weight of the unmixed batch's gradient, still to be added
    member: int = 0  # index of the member of a ``Switch`` that mixed it

    @property
    def weight_b(self) -> Tensor:
        """(M,) float32: weight of the second label, 1 − λ unless the method sets ``lam_b``."""
        return 1.0 - self.lam if self.lam_b is None else self.lam_b

    @property
    def label_fraction(self) -> Tensor:
        """(M,) float32: the first label's fraction of both weights; λ if they sum to 1."""
        return self.lam if self.lam_b is None else self.lam / (self.lam + self.lam_b)

    def losses(self, logits: Any, criterion: Criterion | None = None) -> Tensor:
        """λᵢ·L(zᵢ, aᵢ) + (1 − λᵢ)·L(zᵢ, bᵢ) for logits (M, K), unreduced: (M,).

        ``lam_b``, if set, replaces 1 − λ, and ``weights`` replaces both weights. L is
        ``criterion``, by default the cross-entropy.
        """
        self._warn()
        return self._losses(logits, criterion or CROSS_ENTROPY)

    def loss(self, logits: Any, criterion: Criterion | None = None) -> Tensor:
        """The mean loss of the batch, a scalar.

        With ``reduction="batch_mean"``, as in the published code, the loss of each label is
        averaged over the batch before it is weighted, so only the mean of λ affects the gradient.
        """
        self._warn()
        if self.reduction == "per_sample":
            return self._losses(logits, criterion or CROSS_ENTROPY).mean()
        first, second = self._both_losses(logits, criterion or CROSS_ENTROPY)
        return (self.lam * first.mean() + self.weight_b * second.mean()).mean()

    def soft_labels(self, num_classes: int) -> Tensor:
        """Labels (M, K) float32: λ on the first class, 1 − λ (or ``lam_b``) on the second, or
        ``weights`` on the classes of all."""
        self._warn()
        if self.weights is not None:
            return self._weighted(num_classes)
        first = distribution(self.labels_a, num_classes, self.lam.dtype)
        second = distribution(self.labels_b, num_classes, self.lam.dtype)
        return self.lam[:, None] * first + self.weight_b[:, None] * second

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "MixedBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "MixedBatch":
        """The same batch in page-locked memory (a ``DataLoader`` calls this)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Any) -> "MixedBatch":
        moved = {name: change(v) for name, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def _weighted(self, num_classes: int) -> Tensor:
        assert self.weights is not None
        assert self.labels is not None
        if self.labels.ndim == 2:
            return self.weights @ self.labels.to(self.weights.dtype)
        # As if with one-hot labels, but without reading them on the host.
        found = self.weights.new_zeros(len(self.weights), num_classes)
        with class_indices(self.labels, num_classes):
            return found.scatter_add(1, self.labels.expand_as(self.weights), self.weights)

    def _losses(self, logits: Any, criterion: Criterion) -> Tensor:
        if self.weights is not None:
            logits = logits_of(logits)
            return criterion(logits, self._weighted(logits.shape[1]), reduction="none")
        first, second = self._both_losses(logits, criterion)
        return self.lam * first + self.weight_b * second

    def _warn(self) -> None:
        # While compiling, a warning would break the graph.
        if self.clean_gradient > 0 and not torch.compiler.is_compiling():
            warnings.warn(
                f"clean_gradient: {self.clean_gradient:g} is left out of this loss; "
                "mixing.backward adds it (or set clean_gradient=0)",
                stacklevel=3,
            )

    def _both_losses(self, output: Any, criterion: Criterion) -> tuple[Tensor, Tensor]:
        logits = logits_of(output)
        return (
            criterion(logits, self.labels_a, reduction="none"),
            criterion(logits, self.labels_b, reduction="none"),
        )


def memory_format(images: Tensor) -> torch.memory_format:
    """The memory format of images (B, C, H, W)."""
    if not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def select(images: Tensor, index: Tensor) -> Tensor:
    """The images (M, C, H, W) at ``index`` (M,), in their own memory format."""
    if memory_format(images) == torch.contiguous_format:
        return images.index_select(0, index)
    # index_select alone would return channels-first memory.
    return images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
