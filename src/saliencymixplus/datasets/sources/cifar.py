"""CIFAR-10 and CIFAR-100 from the publisher's "python version" archives (Krizhevsky 2009)."""

import io
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.archives import iter_members
from saliencymixplus.datasets.decode import resize
from saliencymixplus.datasets.sources.base import Listing, Piece
from saliencymixplus.errors import UserError


class Cifar:
    """The official split, 32×32. No masks."""

    def __init__(self, source: str, folder: Path, size: int) -> None:
        """Read the whole archive of ``cifar10`` or ``cifar100``: 184 MB of pixels.

        It contains pickles. Although its checksum must have been verified before, these are read
        by ``_Plain``, which only builds arrays, lists, strings and numbers.

        Raises:
            UserError: the archive lacks a file, or a file is not as published.
        """
        from torchvision.datasets import CIFAR10, CIFAR100

        publisher = CIFAR10 if source == "cifar10" else CIFAR100
        batches = {
            "train": [name for name, _ in publisher.train_list],
            "test": [name for name, _ in publisher.test_list],
        }
        self._archive, self._size = folder / publisher.filename, size
        wanted = {*batches["train"], *batches["test"], publisher.meta["filename"]}
        content = {
            name: self._load(name, data)
            for name, data in self._read(publisher.base_folder, wanted).items()
        }
        names = content[publisher.meta["filename"]].get(publisher.meta["key"])
        if not isinstance(names, list) or len(set(names)) < 2:
            raise self._odd(publisher.meta["filename"])
        self._pixels: dict[str, list[npt.NDArray[np.uint8]]] = {}
        files: dict[str, tuple[str, ...]] = {}
        labels: dict[str, npt.NDArray[np.int64]] = {}
        for split, batch_names in batches.items():
            parts = [self._batch(name, content[name], len(names)) for name in batch_names]
            self._pixels[split] = [part[0] for part in parts]
            labels[split] = np.concatenate([part[1] for part in parts])
            files[split] = tuple(f"{split}/{name}" for part in parts for name in part[2])
        self.listing = Listing(tuple(map(str, names)), files, labels)

    def pieces(self) -> Iterator[Piece]:
        """Yield the images; each row has 3 × 32 × 32 values, one channel after another."""
        for split, parts in self._pixels.items():
            row = 0
            for pixels in parts:
                for values in pixels:
                    yield Piece(split, row, "images", partial(self._image, values))
                    row += 1

    def _image(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return resize(values.reshape(3, 32, 32).transpose(1, 2, 0), self._size)

    def _read(self, folder: str, wanted: set[str]) -> dict[str, bytes]:
        found = {}
        for member in iter_members(self._archive):
            parent, _, name = member.name.rpartition("/")
            if parent == folder and name in wanted and not member.is_folder:
                found[name] = member.read()
        for name in sorted(wanted - found.keys()):
            raise UserError(
                f"{self._archive.name} lacks {folder}/{name}: it is not the publisher's"
            )
        return found

    def _load(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            content = _Plain(io.BytesIO(data), encoding="latin1").load()
        except Exception as error:  # damaged pickles can raise almost anything
            text = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self._archive.name}: cannot read {name}: {text}") from error
        if not isinstance(content, dict):
            raise self._odd(name)
        return content

    def _batch(
        self, name: str, content: dict[str, Any], classes: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], list[str]]:
        pixels = content.get("data")
        labels = content.get("fine_labels", content.get("labels"))
        files = content.get("filenames")
        if (
            not isinstance(pixels, np.ndarray)
            or pixels.dtype != np.uint8
            or pixels.ndim != 2
            or pixels.shape[1] != 3 * 32 * 32
            or not isinstance(labels, list)
            or not isinstance(files, list)
            or not len(pixels) == len(labels) == len(files) > 0
            or not all(type(label) is int and 0 <= label < classes for label in labels)
        ):
            raise self._odd(name)
        return pixels, np.array(labels, dtype=np.int64), [str(file) for file in files]

    def _odd(self, name: str) -> UserError:
        return UserError(f"{self._archive.name}: {name} does not have the publisher's layout")


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


def _dtype(name: str, *_: object) -> np.dtype:
    if name != "u1":
        raise pickle.UnpicklingError(f"an array of type {name!r}")
    # A new object, because unpickling sets its byte order, which must not affect the shared one.
    return np.dtype("u1", copy=True)


class _Plain(pickle.Unpickler):
    """An unpickler that can only build NumPy arrays of bytes and plain Python values."""

    _ALLOWED = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look up a global, if it is on the list of allowed ones."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data set needs")
        return self._ALLOWED[module, name]
