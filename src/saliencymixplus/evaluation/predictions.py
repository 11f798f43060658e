"""A run's per-image test predictions, stored compactly for paired comparisons between runs."""

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliencymixplus.errors import UserError, one_line
from saliencymixplus.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

HALF_MAX = 65504.0  # the largest float16
LARGEST = 8 * 2**30  # bytes of all arrays; 50,000 images of 20,000 classes are 2 GB
# What zipfile and NumPy raise on damaged files; RuntimeError if encrypted or of a later version.
_DAMAGED = (
    OSError,
    KeyError,
    ValueError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_MEMBER = re.compile(r"(labels|logits)\.npy|(rank)_(?:last|best_validation|best_test)\.npy")
_LAYOUT: dict[str, tuple[type[np.generic], int]] = {
    "labels": (np.int32, 1),
    "logits": (np.float16, 2),
    "rank": (np.uint16, 1),
}


@dataclass(frozen=True)
class Predictions:
    """Per-image predictions of one run.

    Attributes:
        labels: (N,) int32, the true classes.
        ranks: weights (``last``, ``best_validation``, ``best_test``) to the rank of the true
            class, (N,) uint16, starting at 0. Exact: errors are computed from it.
        logits: (N, K) of the last weights, rounded to float16, for calibration and inspection.
    """

    labels: npt.NDArray[np.int32]
    ranks: Mapping[str, npt.NDArray[np.uint16]]
    logits: npt.NDArray[np.float16]

    @classmethod
    def of(cls, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Predictions":
        """Make from float32 logits (N, K) by kind of weights, which must include ``last``."""
        from saliencymixplus.evaluation.accuracy import ranks

        return cls(
            labels.numpy().astype(np.int32),
            {
                which: ranks(found, labels).numpy().astype(np.uint16)
                for which, found in logits.items()
            },
            logits["last"].clamp(-HALF_MAX, HALF_MAX).numpy().astype(np.float16),
        )

    def wrong(self, which: str = "last", k: int = 1) -> npt.NDArray[np.bool_]:
        """Top-k mistakes, (N,) bool: whether the true class is not among the first ``k``."""
        return self.ranks[which] >= k


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write an .npz: ``labels``, ``logits`` and ``rank_<weights>``."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"labels": predictions.labels, "logits": predictions.logits}
    arrays |= {f"rank_{which}": found for which, found in predictions.ranks.items()}
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, lambda part: part.write_bytes(buffer.getvalue()))


def load_predictions(path: Path) -> Predictions:
    """Read what ``save_predictions`` wrote, checking sizes before allocating anything.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive)
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content.items())
        labels, logits = arrays.pop("labels"), arrays.pop("logits")
        ranks = {name.removeprefix("rank_"): found for name, found in arrays.items()}
        shapes = {labels.shape, *(found.shape for found in ranks.values())}
        if shapes != {(len(logits),)} or not len(labels) or "last" not in ranks:
            raise ValueError("labels, logits and ranks are not of the same images")
        if labels.min() < 0 or labels.max() >= logits.shape[1]:
            raise ValueError("a label is out of range")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: run `python cli.py evaluate` first") from error
    except _DAMAGED as error:
        raise UserError(f"{path} is damaged ({one_line(error)}): evaluate the run again") from error
    return Predictions(labels, ranks, logits)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Raise ValueError for an array whose name, type or size no evaluation writes."""
    if sum(member.file_size for member in archive.infolist()) > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST / 2**30:.0f} GiB")
    for member in archive.infolist():
        match = _MEMBER.fullmatch(member.filename)
        if not match:
            raise ValueError(f"unexpected member {member.filename[:80]!r}")
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"{member.filename} has header version {version}")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        kind, dimensions = _LAYOUT[match[1] or match[2]]
        if dtype != kind or len(shape) != dimensions:
            raise ValueError(f"{member.filename} has type {dtype} and shape {shape}")
        if math.prod(shape) * dtype.itemsize > member.file_size:
            raise ValueError(f"{member.filename} is truncated")
