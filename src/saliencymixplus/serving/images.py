"""Convert images from the forms that clients send to the size of the prepared data."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliencymixplus.datasets.decode import ALL_BITS, decode, resize
from saliencymixplus.errors import UserError
from saliencymixplus.loading.pixels import UNIT

Pixels = NDArray[np.uint8]
_FORMS = "give (H, W, 3) or (3, H, W), or a batch of either"


@dataclass(frozen=True)
class Preparation:
    """Converts any image to the form of the prepared data.

    Attributes:
        size: side of the prepared images in pixels.
        crop: whether non-square images are centre-cropped to a square rather than squashed.
        bits: in use per channel, in files that have more than 8.
    """

    size: int
    crop: bool
    bits: int = ALL_BITS

    def decoded(self, content: bytes, name: str) -> Pixels:
        """Decode an image file to (size, size, 3); errors name ``name``. Raises like ``decode``."""
        return decode(content, name, self.size, crop=self.crop, bits=self.bits)

    def fitted(self, image: Any, name: str) -> Pixels:
        """Resize an RGB array, (H, W, 3) or (3, H, W), to (size, size, 3).

        Integers must lie in [0, 255], floats in [0, 1]. Floats are rounded to 8 bits, like the
        training images. The ambiguous shape (3, H, 3) is read as (H, W, 3).

        Raises:
            UserError: the shape, type or range is not one of these.
        """
        try:
            array = np.asarray(image)
        except ValueError as error:  # nested lists of unequal lengths
            raise UserError(f"{name} is not an array: {_FORMS}") from error
        if array.ndim != 3 or 3 not in (array.shape[0], array.shape[2]) or not array.size:
            raise UserError(f"{name} is an array of shape {array.shape}, not RGB: {_FORMS}")
        if array.shape[2] != 3:
            array = array.transpose(1, 2, 0)
        return resize(np.ascontiguousarray(_as_bytes(array, name)), self.size, self.crop)

    def read(self, item: Any, name: str) -> Pixels:
        """Convert an encoded file (bytes) or an array to (size, size, 3)."""
        if isinstance(item, bytes):
            return self.decoded(item, name)
        return self.fitted(item, name)


def items_in(data: Any) -> list[Any]:
    """The images in one request, each an encoded file (bytes) or an array.

    Args:
        data: an array or nested list, one image or a batch; a list of arrays of any sizes; or a
            table (a pandas DataFrame or a mapping of lists) with one column: ``path`` with file
            paths, or ``image`` with encoded files (bytes or base64 text) or arrays.

    Raises:
        UserError: ``data`` is none of these, or a file cannot be read.
    """
    if isinstance(data, Mapping) or hasattr(data, "columns"):
        return _rows(data)
    try:
        array = np.asarray(data)
    except ValueError:  # images of different sizes
        return list(data)
    if array.ndim == 3 and array.dtype != object:
        return [array]
    if array.ndim in (1, 4) and len(array) and array.dtype.kind in "uifO":
        return list(array)
    given = f"an array of shape {array.shape} and type {array.dtype}"
    if array.dtype.kind in "US":
        given = "text"
    raise UserError(
        f"{given} is not an image: {_FORMS}, or a table with the column `path` or `image`"
    )


def _rows(table: Any) -> list[Any]:
    columns = list(getattr(table, "columns", table))
    if columns not in (["path"], ["image"]):
        raise UserError(
            f"the columns are {', '.join(map(repr, columns)) or 'missing'}: give one column, "
            "`path` (file paths) or `image` (encoded files as bytes or base64 text)"
        )
    (column,) = columns
    cells = list(table[column])
    if not cells:
        raise UserError(f"the column `{column}` is empty: give at least one image")
    convert = _file if column == "path" else _encoded
    return [convert(cell, f"row {row}") for row, cell in enumerate(cells)]


def _file(cell: Any, name: str) -> bytes:
    if not isinstance(cell, str | Path):
        raise UserError(f"{name}: expected a file path, not {type(cell).__name__}")
    try:
        return Path(cell).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name}: cannot read {cell} ({reason})") from error


def _encoded(cell: Any, name: str) -> Any:
    """Decode base64 text, also in a ``data:`` URI; bytes and arrays are returned unchanged."""
    if isinstance(cell, bytearray | memoryview):
        return bytes(cell)
    if not isinstance(cell, str):
        return cell
    text = cell.partition(",")[2] if cell.startswith("data:") else cell
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(
            f"{name}: the text is not base64; file paths go in a column called `path`"
        ) from error


def _as_bytes(array: NDArray[Any], name: str) -> Pixels:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "ui":
        low, high = 0, int(UNIT)
    elif array.dtype.kind == "f":
        low, high = 0, 1
    else:
        raise UserError(f"{name} has type {array.dtype}: give integers or floats")
    least, most = array.min(), array.max()
    if not (low <= least and most <= high):  # also for NaN
        kind = "integers" if high > 1 else "floats"
        raise UserError(f"{name} has {kind} from {least} to {most}: give {low} to {high}")
    scaled = array if high > 1 else np.rint(array.astype(np.float64) * UNIT)
    return scaled.astype(np.uint8)


def image_names(items: Sequence[Any]) -> list[str]:
    """How messages refer to each image in a request."""
    return ["the image"] if len(items) == 1 else [f"image {row}" for row in range(len(items))]
