"""Gradient accumulation: several batches for one step of the optimizer."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """The place of a batch among those of one optimizer step.

    Each batch i contributes the gradient gᵢ of its mean loss over nᵢ images, and the optimizer gets
    Σ nᵢ·gᵢ / Σ nᵢ, as from one large batch. Until then ``.grad`` holds Σ nᵢ·gᵢ / n, where n is the
    size of the latest batch, so that each backward pass can add its gradient unscaled.
    """

    first: bool = True
    last: bool = True
    rescale: float = 1.0  # factor for ``.grad``: images in the previous batch / in this one
    weight: float = 1.0  # images in this batch / in all batches of the step so far


WHOLE = Turn()  # without accumulation: one batch per step


def turns(sizes: Sequence[int], accumulate: int) -> list[Turn]:
    """The turn of each batch of an epoch, by the number of images in it.

    ``accumulate`` batches make a step; the last step of an epoch may have fewer.
    """
    found = []
    for index, size in enumerate(sizes):
        start = index - index % accumulate
        before = sizes[start:index]
        found.append(
            Turn(
                first=not before,
                last=index + 1 in (start + accumulate, len(sizes)),
                rescale=before[-1] / size if before else 1.0,
                weight=size / (sum(before) + size),
            )
        )
    return found
