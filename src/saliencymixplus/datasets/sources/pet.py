"""Oxford-IIIT Pet (Parkhi et al. 2012) from images.tar.gz and annotations.tar.gz."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.archives import is_clutter, iter_members
from saliencymixplus.datasets.decode import decode, decode_values, resize_values
from saliencymixplus.datasets.prepared import BACKGROUND, OBJECT, UNKNOWN
from saliencymixplus.datasets.sources.base import Listing, Piece
from saliencymixplus.datasets.sources.pet_lists import PetEntry, parse_list, title
from saliencymixplus.errors import UserError

_LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
# Trimap values: 1 animal, 2 background, 3 border or not annotated.
_TRIMAP = np.full(256, 255, dtype=np.uint8)
_TRIMAP[1:4] = OBJECT, BACKGROUND, UNKNOWN


class Pet:
    """The official split: trainval.txt is train, test.txt is test.

    Classes are the breeds in trainval.txt, in the publisher's order. A breed without test images
    is kept and noted, as the lists may be a subset of the data set; one with only test images is
    an error, as it cannot be learned. Images in neither list are left out. The mask of an image
    without a trimap is unknown everywhere.
    """

    def __init__(self, folder: Path, size: int, *, crop: bool = False) -> None:
        """Read the lists; raises ``UserError`` naming the invalid line or breed."""
        self._images = folder / "images.tar.gz"
        self._annotations = folder / "annotations.tar.gz"
        self._size, self._crop = size, crop
        texts: dict[str, str] = {}
        trimaps: set[str] = set()
        for member in iter_members(self._annotations):
            if member.name in _LISTS.values():
                try:
                    texts[member.name] = member.read().decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(f"{member.name} is not UTF-8 text: {error}") from error
            elif stem := _stem(member.name, "annotations/trimaps", ".png"):
                trimaps.add(stem)
        rows: dict[str, list[PetEntry]] = {}
        for split, name in _LISTS.items():
            if name not in texts:
                raise UserError(f"{self._annotations.name} lacks {name}")
            rows[split] = parse_list(texts[name], name)
        self._places = {row.image: ("train", i) for i, row in enumerate(rows["train"])}
        for i, row in enumerate(rows["test"]):
            if row.image in self._places:
                raise UserError(f"{row.image} is in both lists, {' and '.join(_LISTS.values())}")
            self._places[row.image] = ("test", i)
        self.listing = _listing(rows, has_masks=not trimaps.isdisjoint(self._places))

    def pieces(self) -> Iterator[Piece]:
        """Yield the images, then the trimaps, each in their archive's order."""
        for member in iter_members(self._images):
            place = self._places.get(_stem(member.name, "images", ".jpg"))
            if place:
                make = partial(decode, member.read(), member.name, self._size, crop=self._crop)
                yield Piece(*place, "images", make)
        if not self.listing.has_masks:
            return
        for member in iter_members(self._annotations):
            place = self._places.get(_stem(member.name, "annotations/trimaps", ".png"))
            if place:
                make = partial(_mask, member.read(), member.name, self._size, self._crop)
                yield Piece(*place, "masks", make)


def _stem(name: str, folder: str, extension: str) -> str:
    """The image that a member belongs to; "" for other members."""
    parent, _, file = name.rpartition("/")
    if parent != folder or not file.endswith(extension) or is_clutter(name):
        return ""
    return file.removesuffix(extension)


def _mask(content: bytes, name: str, size: int, crop: bool) -> npt.NDArray[np.uint8]:
    values = _TRIMAP[decode_values(content, name)]
    if (values == 255).any():
        raise UserError(f"{name} is not a trimap: it has values other than 1, 2 and 3")
    return resize_values(values, size, crop)


def _listing(rows: dict[str, list[PetEntry]], has_masks: bool) -> Listing:
    breeds = {split: {row.breed for row in listed} for split, listed in rows.items()}
    for breed in sorted(breeds["test"] - breeds["train"]):
        raise UserError(
            f"breed {title(breed)} is in {_LISTS['test']} but not in {_LISTS['train']}: "
            "it cannot be learned"
        )
    present = sorted(breeds["train"])
    if len(present) < 2:
        raise UserError(f"{_LISTS['train']} lists only one breed: at least two are needed")
    untested = [title(breed) for breed in present if breed not in breeds["test"]]
    notes = []
    if untested:
        names = ", ".join(untested[:3]) + (", …" if len(untested) > 3 else "")
        notes.append(f"{len(untested)} of {len(present)} breeds have no test image: {names}")
    return Listing(
        classes=tuple(title(breed) for breed in present),
        files={s: tuple(f"images/{row.image}.jpg" for row in listed) for s, listed in rows.items()},
        labels={
            split: np.array([present.index(row.breed) for row in listed], dtype=np.int64)
            for split, listed in rows.items()
        },
        has_masks=has_masks,
        notes=tuple(notes),
    )
