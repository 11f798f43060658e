"""Scikit-learn's 1,797 handwritten digits (8×8, 17 grey levels), bundled with the package."""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.sources.arrays import Arrays
from saliencymixplus.datasets.sources.base import Download, Listing
from saliencymixplus.datasets.splits import stratified
from saliencymixplus.errors import UserError

ARCHIVE = "digits.csv.gz"
# scikit-learn has no official split. This one is fixed, independent of `split_seed`.
_TEST_FRACTION, _TEST_SEED = 0.2, 0
# After resizing, pixels of at least this value, a quarter of full ink, count as ink.
INK = 64


class DigitsFile(NamedTuple):
    """The content of the file, with the split."""

    glyphs: npt.NDArray[np.uint8]  # (1797, 8, 8), 0 background to 255 ink
    labels: npt.NDArray[np.int64]  # (1797,)
    rows: dict[str, npt.NDArray[np.int64]]  # by split: train, test


def embedded() -> bytes:
    """The bytes of scikit-learn's file."""
    from importlib.resources import files

    return (files("sklearn.datasets.data") / ARCHIVE).read_bytes()


def read_digits(folder: Path) -> DigitsFile:
    """Read ``folder/digits.csv.gz`` with a fixed, stratified test split of 20 %."""
    path = folder / ARCHIVE
    try:
        table = np.loadtxt(
            gzip.decompress(path.read_bytes()).decode().splitlines(), "f8", delimiter=","
        )
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}: run `download` again") from error
    if table.ndim != 2 or table.shape[1] != 65 or table.min() < 0 or table[:, :64].max() > 16:
        raise UserError(f"{path} does not hold the 8×8 digits: run `download` again")
    glyphs = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    labels = table[:, 64].astype(np.int64)
    train, test = stratified(labels, _TEST_FRACTION, _TEST_SEED)
    return DigitsFile(glyphs, labels, {"train": train, "test": test})


def open_source(download: Download) -> Arrays:
    """White digits on black; masks mark the ink (1) and the background (0).

    Ten classes, "0" to "9"; file names are rows in scikit-learn's table.
    """
    glyphs, labels, rows = read_digits(download.folder)
    listing = Listing(
        classes=tuple("0123456789"),
        files={split: tuple(f"digit_{i:04d}" for i in of) for split, of in rows.items()},
        labels={split: labels[of] for split, of in rows.items()},
        has_masks=True,
    )
    images = {split: np.repeat(glyphs[of][..., None], 3, axis=3) for split, of in rows.items()}
    size = download.settings.image_size
    return Arrays(listing, images, size, lambda image: (image[:, :, 0] >= INK).astype(np.uint8))
