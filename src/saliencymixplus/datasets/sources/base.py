"""The interface of image sources: first a listing, then the pictures themselves."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.decode import ALL_BITS
from saliencymixplus.datasets.manifest import Manifest
from saliencymixplus.settings import DataSettings


@dataclass(frozen=True)
class Download:
    """A verified download folder, and how its pictures are to be prepared."""

    folder: Path
    manifest: Manifest
    settings: DataSettings


@dataclass(frozen=True)
class Listing:
    """What is known before decoding. The splits are train and, optionally, val and test."""

    classes: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]  # by split; the order of the prepared rows
    labels: Mapping[str, npt.NDArray[np.int64]]  # by split, (N,), indices into ``classes``
    has_masks: bool = False
    notes: tuple[str, ...] = ()  # caveats for the user
    bits: int = ALL_BITS  # in use per channel, in pictures that have more than 8


@dataclass(frozen=True)
class Piece:
    """One picture or mask to be decoded."""

    split: str
    row: int
    kind: Literal["images", "masks"]
    make: Callable[[], npt.NDArray[np.uint8]]  # images: (H, W, 3); masks: (H, W)


class Source(Protocol):
    """A data set opened from a download folder."""

    listing: Listing

    def pieces(self) -> Iterator[Piece]:
        """Yield every listed picture once, and any masks, in the order that is fastest to read."""
        ...
