"""A stratified split: each class in proportion on both sides, repeatable from a seed."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from saliencymixplus.errors import UserError

Rows = npt.NDArray[np.int64]


def stratified(
    labels: npt.NDArray[np.int64],
    fraction: float,
    seed: int,
    classes: Sequence[str] | None = None,
) -> tuple[Rows, Rows]:
    """Split the rows of ``labels`` (N,) into (kept, split off), each sorted.

    Args:
        labels: Class indices.
        fraction: Share that is split off, rounded up over all classes together.
        seed: Decides which.
        classes: Their names, for messages.

    Raises:
        UserError: a class has one image only, or the share is smaller than one image a class.
    """
    from sklearn.model_selection import train_test_split

    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        value = int(values[counts.argmin()])
        name = classes[value] if classes else str(value)
        raise UserError(
            f"class {name!r} has one training image only, too few for a validation split: "
            "add images or set data.validation_fraction to 0"
        )
    wanted = int(np.ceil(fraction * len(labels)))
    if wanted < len(values):
        raise UserError(
            f"data.validation_fraction {fraction} of {len(labels)} training images is {wanted}, "
            f"fewer than the {len(values)} classes: raise it or set it to 0"
        )
    kept, off = train_test_split(
        np.arange(len(labels)), test_size=wanted, random_state=seed, stratify=labels
    )
    return np.sort(kept), np.sort(off)
