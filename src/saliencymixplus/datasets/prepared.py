"""Read prepared arrays, validating them before use."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from saliencymixplus.datasets.decode import ALL_BITS
from saliencymixplus.errors import UserError, nearest
from saliencymixplus.files import read_json
from saliencymixplus.outputs import Output, check_folder

SPLITS = ("train", "val", "test")
META = "meta.json"
KINDS = ("images", "labels", "saliency", "masks")
# Mask values.
BACKGROUND, OBJECT, UNKNOWN = 0, 1, 2


class Meta(BaseModel):
    """meta.json: a description of the arrays, without paths or anything machine-specific."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # display name of the data set
    classes: list[str]
    image_size: tuple[int, int]  # (H, W)
    mean: tuple[float, float, float]  # of pixels in [0, 1], for normalisation
    std: tuple[float, float, float]
    counts: dict[str, int]  # images in each split
    digest: str  # of all arrays and the class names, 64 hexadecimal digits
    source: str  # kind of data set: digits, cifar10, …
    archives: dict[str, str]  # SHA-256 by name of the archives it was prepared from
    settings: dict[str, Any]  # the DataSettings it was prepared with
    has_saliency: bool
    has_masks: bool
    bits: int = ALL_BITS  # in use per channel, in pictures that have more than 8
    notes: list[str]  # caveats about the data, e.g. classes without test images
    prepared_with: dict[str, str]  # library versions

    @model_validator(mode="after")
    def _consistent(self) -> "Meta":
        if not {"train", "test"} <= set(self.counts) <= set(SPLITS):
            raise ValueError(f"splits {sorted(self.counts)}")
        if min(self.counts.values()) < 1 or len(set(self.classes)) != len(self.classes):
            raise ValueError("an empty split or a duplicate class")
        if min(self.image_size) < 1 or len(self.classes) < 2 or min(self.std) <= 0:
            raise ValueError("a value out of range")
        return self


@dataclass(frozen=True)
class Split:
    """One split: read-only memory maps; row i of each belongs to ``files[i]``."""

    name: str
    images: npt.NDArray[np.uint8]  # (N, H, W, 3)
    labels: npt.NDArray[np.int64]  # (N,)
    saliency: npt.NDArray[np.uint8] | None  # (N, H, W)
    masks: npt.NDArray[np.uint8] | None  # (N, H, W): 0 background, 1 object, 2 unknown or border
    files: list[str]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def annotated(self) -> npt.NDArray[np.int64]:
        """Rows of the images with an object in their mask; empty without masks."""
        if self.masks is None:
            return np.zeros(0, np.int64)
        flat = self.masks.reshape(len(self.masks), -1)
        # In pieces, because memory-mapped masks can be large (Pet).
        parts = [(flat[i : i + 256] == OBJECT).any(axis=1) for i in range(0, len(flat), 256)]
        return np.flatnonzero(np.concatenate(parts))


@dataclass(frozen=True)
class Prepared:
    """A folder of prepared arrays."""

    path: Path
    meta: Meta

    @property
    def splits(self) -> tuple[str, ...]:
        """The existing splits among train, val and test."""
        return tuple(split for split in SPLITS if split in self.meta.counts)

    def split(self, name: str) -> Split:
        """Open one split."""
        if name not in self.meta.counts:
            hint = nearest(name, self.meta.counts)
            if name == "val":
                hint = "set data.validation_fraction above 0 and prepare again"
            raise UserError(f"{self.path} has no split {name!r}: {hint}")
        arrays = {
            kind: _open(self.path / f"{name}_{kind}.npy", *expected)
            for kind, expected in layout(self.meta, name).items()
        }
        labels = np.array(arrays["labels"])
        if labels.min() < 0 or labels.max() >= len(self.meta.classes):
            raise _damaged(self.path / f"{name}_labels.npy", "a label is out of range")
        path = self.path / f"{name}_files.json"
        files = read_json(path)
        if not (
            isinstance(files, list)
            and len(files) == len(labels)
            and all(isinstance(file, str) for file in files)
        ):
            raise _damaged(path, f"not a list of {len(labels)} names")
        labels.flags.writeable = False
        return Split(
            name, arrays["images"], labels, arrays.get("saliency"), arrays.get("masks"), files
        )


def load_prepared(path: Path) -> Prepared:
    """Open a folder written by `prepare`, checking the sizes and types of all its files."""
    if not (path / META).is_file():
        raise UserError(f"{path} holds no prepared data ({META} is missing): run `prepare`")
    content = read_json(path / META)
    try:
        meta = Meta.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _damaged(path / META, f"{key}: {first['msg']}" if key else first["msg"]) from error
    prepared = Prepared(path, meta)
    for name in prepared.splits:
        prepared.split(name)
    return prepared


def check_prepared_folder(folder: Path) -> None:
    """Refuse to replace a folder of prepared arrays with any other content."""
    arrays = (f"{split}_{kind}.npy" for split in SPLITS for kind in KINDS)
    names = (f"{split}_files.json" for split in SPLITS)
    check_folder(folder, Output({META: '"classes"'}, (META, *arrays, *names)))


def layout(meta: Meta, split: str) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Shape and type of each array in a split."""
    count, (height, width) = meta.counts[split], meta.image_size
    arrays: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "images": ((count, height, width, 3), np.uint8),
        "labels": ((count,), np.int64),
    }
    if meta.has_saliency:
        arrays["saliency"] = ((count, height, width), np.uint8)
    if meta.has_masks:
        arrays["masks"] = ((count, height, width), np.uint8)
    return arrays


def arrays_digest(path: Path, meta: Meta) -> str:
    """SHA-256 of the class names and every array in ``path``: kind, type, shape and bytes."""
    digest = hashlib.sha256("\0".join(meta.classes).encode())
    for split in sorted(meta.counts):
        for kind, (shape, dtype) in sorted(layout(meta, split).items()):
            digest.update(f"\n{split} {kind} {np.dtype(dtype).name} {shape}\n".encode())
            array = _open(path / f"{split}_{kind}.npy", shape, dtype)
            for start in range(0, len(array), 1024):
                digest.update(np.ascontiguousarray(array[start : start + 1024]).data)
    return digest.hexdigest()


def _open(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise _damaged(path, "missing") from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise _damaged(path, "not an array, or truncated") from error
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        raise _damaged(path, f"not {np.dtype(dtype).name} {shape} as {META} says")
    return array


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged ({what}): run `prepare` again")


def counts_text(counts: Mapping[str, int]) -> str:
    """Image counts for messages, like "1221 train, 216 val, 360 test"."""
    return ", ".join(f"{counts[split]} {split}" for split in SPLITS if split in counts)
