"""Check a mixer's input; each mistake is a ``ValueError`` that says what to give instead."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor


def checked_labels(images: Any, labels: Any) -> Tensor:
    """Check both, and return the labels, as int64 if they are class indices.

    Raises:
        ValueError: the images are not a non-empty tensor (B, C, H, W), or the labels are neither
            class indices (B,) nor distributions (B, K).
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"images must be a tensor (B, C, H, W), not {_kind(images)}")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images must be (B, C, H, W) without an empty dimension, not {tuple(images.shape)}"
        )
    wanted = "give class indices (B,) or distributions (B, K)"
    if not isinstance(labels, Tensor):
        raise ValueError(f"labels must be a tensor, not {_kind(labels)}: {wanted}")
    if labels.ndim not in (1, 2) or labels.shape[0] != images.shape[0]:
        raise ValueError(
            f"labels {tuple(labels.shape)} do not fit images {tuple(images.shape)}: {wanted}"
        )
    if labels.ndim == 1:
        if labels.is_floating_point() or labels.is_complex():
            raise ValueError(f"labels (B,) must be integers, not {labels.dtype}: {wanted}")
        return labels.long()
    return labels


def class_indices(labels: Tensor, num_classes: int) -> AbstractContextManager[None]:
    """Raise a ValueError if the block fails due to an out-of-range class index in ``labels`` (M,).

    The labels are read only after a failure, as reading waits for the device, and only on the CPU:
    after a failed assertion on a GPU, nothing can be read from it.
    """
    if torch.compiler.is_compiling():
        return nullcontext()
    return _naming_wrong_class(labels, num_classes)


@contextmanager
def _naming_wrong_class(labels: Tensor, num_classes: int) -> Iterator[None]:
    try:
        yield
    except (IndexError, RuntimeError) as error:
        if labels.ndim != 1 or labels.device.type != "cpu":
            raise
        lowest, highest = int(labels.min()), int(labels.max())
        wrong = highest if highest >= num_classes else lowest
        if 0 <= wrong < num_classes:
            raise
        raise ValueError(
            f"labels have class {wrong}, but there are {num_classes} classes: give class indices "
            f"from 0 to {num_classes - 1}, or a network with more outputs"
        ) from error


def check_map(name: str, value: Any, images: Tensor, *, coarse: bool = False) -> None:
    """Check that maps are (B, H, W) like images (B, C, H, W), or ``coarse``, of any resolution.

    Raises:
        ValueError: wrong type or shape.
    """
    if value is None:
        return
    count, _, height, width = images.shape
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor {(count, height, width)}, not {_kind(value)}")
    fits = (
        value.ndim == 3 and len(value) == count and (coarse or value.shape[1:] == (height, width))
    )
    if not fits:
        raise ValueError(f"{name} must be {(count, height, width)}, not {tuple(value.shape)}")


def logits_of(output: Any) -> Tensor:
    """The logits in the output of a network.

    They are the output itself if it is a tensor, its ``logits`` attribute or key, as in
    torchvision's and Hugging Face's networks, or the first entry of a tuple or list.

    Raises:
        ValueError: there are none.
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get("logits")
    elif hasattr(output, "logits"):
        found = output.logits
    elif isinstance(output, tuple | list) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise ValueError(
            f"the network returns {_kind(output)}: it must be logits, (logits, …), or something "
            "with `logits`"
        )
    return found


def high_precision(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in for values of ``dtype``: float32 or wider."""
    return torch.promote_types(dtype, torch.float32)


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
