"""Data sets whose pictures are arrays already, without files to decode."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.decode import resize
from saliencymixplus.datasets.sources.base import Listing, Piece

Bytes = npt.NDArray[np.uint8]


class Arrays:
    """Pictures in memory, in the order of the listing; they are resized."""

    def __init__(
        self,
        listing: Listing,
        images: Mapping[str, Bytes],
        size: int,
        mask_of: Callable[[Bytes], Bytes] | None = None,
    ) -> None:
        """Keep the pictures.

        Args:
            listing: their files and labels; it says whether there are masks.
            images: (N, H, W, 3) by split.
            size: side in pixels that pictures are resized to.
            mask_of: the mask (S, S) of a resized picture (S, S, 3), if there are masks.
        """
        self.listing, self._images, self._size, self._mask_of = listing, images, size, mask_of

    def pieces(self) -> Iterator[Piece]:
        """Yield each picture, and its mask if there are masks."""
        for split, images in self._images.items():
            for row, image in enumerate(images):
                yield Piece(split, row, "images", partial(resize, image, self._size))
                if self._mask_of:
                    yield Piece(split, row, "masks", partial(self._mask, image, self._mask_of))

    def _mask(self, image: Bytes, mask_of: Callable[[Bytes], Bytes]) -> Bytes:
        return mask_of(resize(image, self._size))
