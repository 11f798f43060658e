"""scikit-learn's 1,797 handwritten digits (8×8, 17 grey levels), which come with its package."""

import gzip
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.decode import resize
from saliencymixplus.datasets.sources.base import Listing, Piece
from saliencymixplus.datasets.splits import stratified
from saliencymixplus.errors import UserError

ARCHIVE = "digits.csv.gz"
# scikit-learn ships no official split. This one never changes, whatever `split_seed` says.
_TEST_FRACTION, _TEST_SEED = 0.2, 0
# A pixel is ink from a quarter of the full darkness on, measured after resizing.
_INK = 64


def embedded() -> bytes:
    """The bytes of scikit-learn's own file."""
    from importlib.resources import files

    return (files("sklearn.datasets.data") / ARCHIVE).read_bytes()


class Digits:
    """Digits with a fixed stratified test split of 20 %; masks are the ink (1) on ground (0)."""

    def __init__(self, folder: Path, size: int) -> None:
        """Read ``folder/digits.csv.gz``; raises ``UserError`` if it isn't the digits."""
        path = folder / ARCHIVE
        self._size = size
        try:
            table = np.loadtxt(
                gzip.decompress(path.read_bytes()).decode().splitlines(), "f8", delimiter=","
            )
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"cannot read {path}: {error}: run `download` again") from error
        if table.ndim != 2 or table.shape[1] != 65 or table.min() < 0 or table[:, :64].max() > 16:
            raise UserError(f"{path} does not hold the 8×8 digits: run `download` again")
        self._pixels = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
        self._labels = table[:, 64].astype(np.int64)
        train, test = stratified(self._labels, _TEST_FRACTION, _TEST_SEED)
        self._rows = {"train": train, "test": test}

    @cached_property
    def listing(self) -> Listing:
        """Ten classes, "0" to "9"; a file's name is its line in scikit-learn's table."""
        return Listing(
            classes=tuple("0123456789"),
            files={s: tuple(f"digit_{i:04d}" for i in rows) for s, rows in self._rows.items()},
            labels={split: self._labels[rows] for split, rows in self._rows.items()},
            has_masks=True,
        )

    def pieces(self) -> Iterator[Piece]:
        """White ink on black, the three channels alike."""
        for split, rows in self._rows.items():
            for row, index in enumerate(rows):
                yield Piece(split, row, "images", partial(self._image, int(index)))
                yield Piece(split, row, "masks", partial(self._mask, int(index)))

    def _image(self, index: int) -> npt.NDArray[np.uint8]:
        return resize(np.repeat(self._pixels[index][:, :, None], 3, axis=2), self._size)

    def _mask(self, index: int) -> npt.NDArray[np.uint8]:
        return (self._image(index)[:, :, 0] >= _INK).astype(np.uint8)
