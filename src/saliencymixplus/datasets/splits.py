"""Stratified splits, reproducible from a seed."""

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
    key: str = "data.validation_fraction",
) -> tuple[Rows, Rows]:
    """Split the rows of ``labels`` (N,) into (kept, split off), each sorted.

    Args:
        fraction: fraction of all rows to split off, rounded up.
        classes: class names, for messages.
        key: the setting that ``fraction`` comes from, for messages.

    Raises:
        UserError: a class has only one image, or the fraction is less than one image per class.
    """
    from sklearn.model_selection import train_test_split

    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        value = int(values[counts.argmin()])
        name = classes[value] if classes else str(value)
        raise UserError(
            f"class {name!r} has only one image to split, too few for {key}: add images, "
            "or leave the key out"
        )
    wanted = int(np.ceil(fraction * len(labels)))
    if wanted < len(values):
        raise UserError(
            f"{key} {fraction} of {len(labels)} images is {wanted}, fewer than the {len(values)} "
            "classes: raise it, or leave it out"
        )
    kept, off = train_test_split(
        np.arange(len(labels)), test_size=wanted, random_state=seed, stratify=labels
    )
    return np.sort(kept), np.sort(off)
