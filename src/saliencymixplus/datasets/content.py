"""Check the content of prepared pictures: blank or dark classes, duplicates, rare classes."""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.prepared import SPLITS
from saliencymixplus.errors import UserError

Channels = tuple[float, float, float]
_RARE = 10  # classes this many times smaller than the largest one get a note
_SHOWN = 3  # names in a note
_DARK = 17  # 12-bit values read as 16 bits become 0 to 15; photographs are rarely so dark
_MOST = 0.98  # of a class's values


def check_content(
    images: Mapping[str, npt.NDArray[np.uint8]],
    labels: Mapping[str, npt.NDArray[np.int64]],
    files: Mapping[str, Sequence[str]],
    classes: Sequence[str],
) -> list[str]:
    """Check every prepared picture.

    Args:
        images: (N, H, W, 3) by split.
        labels: (N,) by split.
        files: file names by split.
        classes: class names by label.

    Returns:
        Notes on classes that are nearly black, or have only single-coloured pictures in a split; on
            pictures that are in two splits or two classes; and on classes that are rare in train.

    Raises:
        UserError: all pixels of all pictures of a class have the same colour.
    """
    low = np.full((len(classes), 3), 255, dtype=np.uint8)
    high = np.zeros((len(classes), 3), dtype=np.uint8)
    pixels, bright = np.zeros((2, len(classes)), dtype=np.int64)
    first: dict[bytes, tuple[str, int, str]] = {}
    plain: list[str] = []
    between_splits: list[str] = []
    between_classes: list[str] = []
    for split in (split for split in SPLITS if split in images):
        varied = np.zeros(len(classes), dtype=bool)
        for row, (picture, label) in enumerate(zip(images[split], labels[split], strict=True)):
            darkest, brightest = picture.min(axis=(0, 1)), picture.max(axis=(0, 1))
            low[label] = np.minimum(low[label], darkest)
            high[label] = np.maximum(high[label], brightest)
            varied[label] |= (darkest != brightest).any()
            pixels[label] += picture.size
            bright[label] += np.count_nonzero(picture >= _DARK)
            name = files[split][row]
            key = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest()
            other = first.setdefault(key, (split, int(label), name))
            if other[0] != split:
                between_splits.append(f"{other[2]} ({other[0]}) = {name} ({split})")
            if other[1] != label:
                between_classes.append(f"{other[2]} = {name}")
        counts = np.bincount(labels[split], minlength=len(classes))
        plain += [
            f"{classes[i]} ({split})" for i in np.flatnonzero(~varied & (counts > 1)).tolist()
        ]
    for name, colour, uniform in zip(classes, low.tolist(), (low == high).all(axis=1), strict=True):
        if uniform:
            raise UserError(
                f"every pixel of class {name!r} has the same colour {tuple(colour)}: replace its "
                "pictures"
            )
    dark = [classes[i] for i in np.flatnonzero(bright < pixels * (1 - _MOST)).tolist()]
    notes = []
    if dark:
        notes.append(
            f"nearly black ({_MOST:.0%} of the values are below {_DARK} of 255): {_some(dark)}; "
            "pictures of other depths may be mixed, or have single pixels that are too bright"
        )
    if plain:
        notes.append(f"classes in which each picture has one colour only: {_some(plain)}")
    if between_splits:
        notes.append(
            _pairs("in two splits, which makes errors look lower than they are", between_splits)
        )
    if between_classes:
        notes.append(_pairs("in two classes", between_classes))
    return notes + _rare(np.bincount(labels["train"], minlength=len(classes)), classes)


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[Channels, Channels]:
    """Mean and standard deviation of each channel of (N, H, W, 3), pixels in [0, 1].

    Computed from a histogram, hence exact and independent of the order of the images.

    Raises:
        UserError: a channel is constant, so that its standard deviation is 0.
    """
    histogram = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(images), 256):
        for channel in range(3):
            values = images[start : start + 256, ..., channel].ravel()
            histogram[channel] += np.bincount(values, minlength=256)
    means, deviations = [], []
    for name, counts in zip(("red", "green", "blue"), histogram.tolist(), strict=True):
        # Integers, so that the last digit does not depend on the order of additions.
        n = sum(counts)
        total = sum(count * value for value, count in enumerate(counts))
        squares = sum(count * value**2 for value, count in enumerate(counts))
        means.append(total / (255 * n))
        deviations.append(math.sqrt((squares * n - total**2) / (255 * n) ** 2))
        if deviations[-1] == 0:
            raise UserError(
                f"{name} is {total // n} in every pixel of every training picture, so its standard "
                "deviation is 0: check the pictures, or set data.mean and data.std"
            )
    return (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])


def _pairs(where: str, pairs: list[str]) -> str:
    count = "1 picture is" if len(pairs) == 1 else f"{len(pairs)} pictures are"
    return f"{count} {where}: {_some(pairs)}"


def _rare(counts: npt.NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    largest = int(counts.argmax())
    rare = [int(label) for label in np.flatnonzero(counts * _RARE <= counts[largest])]
    if not rare:
        return []
    names = _some([f"{classes[label]} ({counts[label]})" for label in rare])
    return [
        f"training classes with at most a tenth of the pictures of {classes[largest]} "
        f"({counts[largest]}): {names}"
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
