"""The user's own pictures: an archive of SPLIT/CLASS/* or CLASS/*, with or without masks."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.archives import Member, iter_members
from saliencymixplus.datasets.decode import (
    ALL_BITS,
    bits_in_use,
    decode,
    decode_values,
    resize_values,
    upright_size,
)
from saliencymixplus.datasets.parallel import in_parallel
from saliencymixplus.datasets.sources.base import Listing, Piece
from saliencymixplus.datasets.sources.layout import read_layout
from saliencymixplus.errors import UserError

# The first bytes of formats that may have more than 8 bits per channel: PNG, TIFF, PGM, PPM.
_MAY_BE_DEEP = (b"\x89PNG", b"II", b"MM", b"P2", b"P3", b"P5", b"P6")


class Folder:
    """An archive with a layout that ``read_layout`` accepts.

    Classes and pictures are sorted by name, whatever the order in the archive. Pictures with 16
    bits per channel, of which often only 8 or 12 are used, are all scaled by the largest value in
    any of them. Masks are 0 on the background; if only some pictures have masks, those of the
    others are unknown everywhere.
    """

    def __init__(self, archive: Path, size: int, *, crop: bool) -> None:
        """Read the names, and find the number of bits in use.

        Args:
            archive: the archive of pictures.
            size: side in pixels that pictures are resized to.
            crop: as in ``decode.resize``.

        Raises:
            UserError: the archive is damaged or its layout invalid; the message names the file or
                class.
        """
        self._archive, self._size, self._crop = archive, size, crop
        names: dict[bool, list[str]] = {True: [], False: []}
        for member in iter_members(archive):
            names[member.is_folder].append(member.name)
        layout = read_layout(names[False], names[True], archive.name)
        self._places: dict[str, tuple[str, int]] = {}
        files: dict[str, tuple[str, ...]] = {}
        labels = {}
        for split, classes in layout.pictures.items():
            files[split] = tuple(file for of_class in classes.values() for file in of_class)
            counts = [len(of_class) for of_class in classes.values()]
            labels[split] = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
            self._places |= {file: (split, i) for i, file in enumerate(files[split])}
        self._masks = layout.masks
        self._notes = list(layout.notes)
        bits = self._bits_in_use() or ALL_BITS
        if bits < ALL_BITS:
            self._notes.append(f"pictures of 16 bits hold values of {bits} bits: scaled by these")
        self.listing = Listing(
            tuple(layout.pictures["train"]),
            files,
            labels,
            bool(layout.masks),
            tuple(self._notes),
            bits,
        )

    def pieces(self) -> Iterator[Piece]:
        """Yield the pictures in the archive's order, then the masks."""
        decoded = partial(decode, size=self._size, crop=self._crop, bits=self.listing.bits)
        masked, sizes = set(self._masks.values()), {}
        for member in self._pictures():
            content = member.read()
            if member.name in masked:
                sizes[member.name] = upright_size(content, member.name)
            yield Piece(
                *self._places[member.name], "images", partial(decoded, content, member.name)
            )
        if not self._masks:
            return
        for member in iter_members(self._archive):
            if picture := self._masks.get(member.name):
                make = partial(self._mask, member.read(), member.name, picture, sizes[picture])
                yield Piece(*self._places[picture], "masks", make)

    def _pictures(self) -> Iterator[Member]:
        return (member for member in iter_members(self._archive) if member.name in self._places)

    def _bits_in_use(self) -> int:
        """The largest number of bits that any 16-bit picture uses; 0 if there are none."""
        contents = ((member.read(), member.name) for member in self._pictures())
        deep = (item for item in contents if item[0].startswith(_MAY_BE_DEEP))
        found = in_parallel(lambda item: bits_in_use(*item), deep)
        used = sorted((bits, name) for (_, name), bits in found if bits)
        if not used:
            return 0
        most, name = used[-1]
        typical, _ = used[len(used) // 2]
        if most - typical >= 4:  # the others come out with a sixteenth of the range, or less
            self._notes.append(
                f"{name} uses {most} of 16 bits, by which all pictures are scaled, but most use at "
                f"most {typical}: check it"
            )
        return most

    def _mask(
        self, content: bytes, name: str, picture: str, size: tuple[int, int]
    ) -> npt.NDArray[np.uint8]:
        values = decode_values(content, name)
        height, width = values.shape
        if (width, height) != size:
            raise UserError(
                f"{name} has {width}×{height} pixels, but its picture {picture} has "
                f"{size[0]}×{size[1]}: they must be of the same size"
            )
        return resize_values((values > 0).astype(np.uint8), self._size, self._crop)
