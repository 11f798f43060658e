"""CIFAR-10 and CIFAR-100 from the publisher's "python version" archives (Krizhevsky 2009)."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.sources.arrays import Arrays
from saliencymixplus.datasets.sources.base import Download, Listing
from saliencymixplus.datasets.sources.listed import read_members
from saliencymixplus.errors import UserError, one_line


def open_source(download: Download) -> Arrays:
    """The official split of ``cifar10`` or ``cifar100``, 32×32 (184 MB). No masks.

    The archive contains pickles. Although its checksum must have been verified before, these are
    read by ``_Plain``, which only builds arrays, lists, strings and numbers.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    publisher = CIFAR10 if download.manifest.source == "cifar10" else CIFAR100
    archive, meta = download.folder / publisher.filename, publisher.meta["filename"]
    lists = {"train": publisher.train_list, "test": publisher.test_list}
    batches = {split: [name for name, _ in listed] for split, listed in lists.items()}
    wanted = [meta, *batches["train"], *batches["test"]]
    members = read_members(archive, *(f"{publisher.base_folder}/{name}" for name in wanted))
    content = {name: _load(data, name, archive) for name, data in zip(wanted, members, strict=True)}
    names = content[meta].get(publisher.meta["key"])
    if not isinstance(names, list) or len(set(names)) < 2:
        raise _odd(meta, archive)
    images, labels, files = {}, {}, {}
    for split, in_split in batches.items():
        parts = [_batch(content.pop(name), len(names), name, archive) for name in in_split]
        pixels, of_split, listed = zip(*parts, strict=True)
        # Each row has 3 × 32 × 32 values, one channel after another.
        images[split] = np.concatenate(pixels).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels[split] = np.concatenate(of_split)
        files[split] = tuple(f"{split}/{name}" for part in listed for name in part)
    return Arrays(
        Listing(tuple(map(str, names)), files, labels), images, download.settings.image_size
    )


def _load(data: bytes, name: str, archive: Path) -> dict[str, Any]:
    try:
        content = _Plain(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # damaged pickles can raise almost anything
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{archive.name}: cannot read {name}: {reason}") from error
    if not isinstance(content, dict):
        raise _odd(name, archive)
    return content


def _batch(
    content: dict[str, Any], classes: int, name: str, archive: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], list[str]]:
    """The pixels (N, 3072), labels (N,) and file names of a file."""
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
        raise _odd(name, archive)
    return pixels, np.array(labels, dtype=np.int64), [str(file) for file in files]


def _odd(name: str, archive: Path) -> UserError:
    return UserError(f"{archive.name}: {name} does not have the publisher's layout")


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
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no data set needs")
        return self._ALLOWED[module, name]
