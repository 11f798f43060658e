"""Scikit-learn's digits on generated clutter: small objects whose masks are known exactly.

Each picture has one whole digit, enlarged and tinted, at a random position, on a smooth coloured
background with noise and fragments of other digits in similar tints, so that neither colour nor
strokes alone reveal the object. Nothing is downloaded.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.decode import resize
from saliencymixplus.datasets.sources.base import Download, Listing, Piece
from saliencymixplus.datasets.sources.digits import INK, read_digits
from saliencymixplus.settings import ClutterSettings

Bytes = npt.NDArray[np.uint8]
_GROUND_CELLS = 4  # the background interpolates this many random colours per side


class Clutter:
    """Digits in clutter; masks mark the whole digit's ink (1) and everything else (0).

    Ten classes, "0" to "9"; file names include the row in scikit-learn's table.

    The split is that of ``digits``. A digit, and any fragment of it, appears in only one split, so
    that no test digit is seen in training. Each picture has its own stream of random integers:
    adding placements leaves existing pictures unchanged, and all machines make the same bytes.
    """

    def __init__(self, folder: Path, size: int, settings: ClutterSettings) -> None:
        """Read the digits in ``folder``; pictures will be ``size`` × ``size``."""
        self._glyphs, labels, rows = read_digits(folder)
        self._rows = rows | {"train": rows["train"][: settings.train_digits]}
        self._size, self._settings = size, settings
        placements = {"train": settings.train_placements, "test": settings.test_placements}
        self._shown = {
            split: [(int(index), place) for place in range(count) for index in self._rows[split]]
            for split, count in placements.items()
        }
        self.listing = Listing(
            classes=tuple("0123456789"),
            files={
                split: tuple(f"digit_{index:04d}_place_{place}" for index, place in shown)
                for split, shown in self._shown.items()
            },
            labels={s: labels[[index for index, _ in shown]] for s, shown in self._shown.items()},
            has_masks=True,
        )

    def pieces(self) -> Iterator[Piece]:
        """Yield pictures and masks in the order of the listing."""
        for split, shown in self._shown.items():
            for row, key in enumerate(shown):
                yield Piece(split, row, "images", partial(self._image, split, *key))
                yield Piece(split, row, "masks", partial(self._mask, *key))

    def _image(self, split: str, index: int, place: int) -> Bytes:
        stream, (top, left, side), ink = self._object(index, place)
        scraps, scrap_side = self._settings.scraps, self._settings.scrap_size
        cells = stream.bytes(_GROUND_CELLS, _GROUND_CELLS, 3) // 2
        picture = resize(cells, self._size) + stream.bytes(self._size, self._size, 3) // 4
        others = self._rows[split]
        for _ in range(scraps):
            other = int(others[stream.below(len(others))])
            row, column = (stream.below(side - scrap_side + 1) for _ in range(2))
            scrap = self._enlarged(other, side)[row:, column:][:scrap_side, :scrap_side]
            where = [stream.below(self._size - scrap_side + 1) for _ in range(2)]
            self._draw(picture, scrap, where, stream.tint())
        self._draw(picture, ink, (top, left), stream.tint())
        return picture

    def _mask(self, index: int, place: int) -> Bytes:
        _, (top, left, side), ink = self._object(index, place)
        mask = np.zeros((self._size, self._size), np.uint8)
        mask[top : top + side, left : left + side] = ink >= INK
        return mask

    def _object(self, index: int, place: int) -> tuple["_Stream", tuple[int, int, int], Bytes]:
        """The picture's random stream, and the (top, left, side) and ink of its digit."""
        stream = _Stream(self._settings.seed, index, place)
        smallest = self._settings.object_size
        largest = self._settings.object_size_max or smallest
        side = smallest + stream.below(largest - smallest + 1)
        top, left = (stream.below(self._size - side + 1) for _ in range(2))
        return stream, (top, left, side), self._enlarged(index, side)

    def _enlarged(self, index: int, side: int) -> Bytes:
        return resize(np.repeat(self._glyphs[index][:, :, None], 3, axis=2), side)[:, :, 0]

    def _draw(
        self, picture: Bytes, ink: Bytes, corner: "list[int] | tuple[int, int]", tint: Bytes
    ) -> None:
        """Blend ``tint`` (3,) into ``picture`` where there is ink, rounded half up."""
        part = picture[corner[0] :, corner[1] :][: ink.shape[0], : ink.shape[1]]
        weight = ink[:, :, None].astype(np.int32) * self._settings.contrast
        part[:] = (part * (25500 - weight) + tint * weight + 12750) // 25500


def open_source(download: Download) -> Clutter:
    """Draw the digits as ``data.clutter`` says."""
    settings = download.settings
    return Clutter(download.folder, settings.image_size, settings.clutter or ClutterSettings())


class _Stream:
    """Random integers from PCG64's raw output, the only sequence NumPy guarantees not to change."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` − 1."""
        return int(self._bits.random_raw()) * limit >> 64

    def bytes(self, *shape: int) -> Bytes:
        """An array of random bytes."""
        count = int(np.prod(shape))
        raw = np.asarray(self._bits.random_raw(-(-count // 8)), "<u8")
        return raw.view(np.uint8)[:count].reshape(shape)

    def tint(self) -> Bytes:
        """A random bright colour, (3,), with channels from 128 to 255."""
        return self.bytes(3) // 2 + np.uint8(128)
