"""The labelled part of STL-10 (Coates et al. 2011)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.decode import resize
from saliencymixplus.datasets.sources.base import Listing, Piece
from saliencymixplus.datasets.sources.listed import read_members
from saliencymixplus.errors import UserError

_SIDE = 96
_UNLABELLED = 4 << 30  # bytes, more than the unlabelled part, which is skipped


class Stl10:
    """The official split: 5,000 training and 8,000 test images of 96×96. No masks."""

    def __init__(self, folder: Path, size: int) -> None:
        """Read the whole archive, 360 MB of pixels; raises ``UserError`` if it lacks a file."""
        from torchvision.datasets import STL10

        archive, self._size = folder / STL10.filename, size
        names = (STL10.class_names_file, "train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
        members = [f"{STL10.base_folder}/{name}" for name in names]
        contents = read_members(archive, *members, largest=_UNLABELLED)
        found = dict(zip(names, contents, strict=True))
        classes = tuple(found[STL10.class_names_file].decode().split())
        self._pixels: dict[str, npt.NDArray[np.uint8]] = {}
        labels = {}
        for split in ("train", "test"):
            labels[split] = np.frombuffer(found[f"{split}_y.bin"], np.uint8).astype(np.int64) - 1
            pixels = np.frombuffer(found[f"{split}_X.bin"], np.uint8)
            count = len(labels[split])
            if len(pixels) != count * 3 * _SIDE**2 or not set(labels[split]) <= set(
                range(len(classes))
            ):
                raise UserError(f"{archive.name}: {split}_X.bin and {split}_y.bin do not agree")
            self._pixels[split] = pixels.reshape(count, 3, _SIDE, _SIDE)
        files = {
            split: tuple(f"{split}/{row:04d}" for row in range(len(of_split)))
            for split, of_split in labels.items()
        }
        self.listing = Listing(classes, files, labels)

    def pieces(self) -> Iterator[Piece]:
        """Yield the images, which are stored by channel in column-major order."""
        for split, pixels in self._pixels.items():
            for row, values in enumerate(pixels):
                yield Piece(split, row, "images", partial(self._image, values))

    def _image(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return resize(np.ascontiguousarray(values.transpose(2, 1, 0)), self._size)
