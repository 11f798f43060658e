"""Published data sets with lists that give the split and class of each picture."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.archives import iter_members
from saliencymixplus.datasets.decode import ALL_BITS, decode, resize_values
from saliencymixplus.datasets.sources.base import Download, Listing, Piece
from saliencymixplus.errors import UserError

Bytes = npt.NDArray[np.uint8]


class ListedPicture(NamedTuple):
    """One picture."""

    member: str  # its name in the archive
    split: str  # train, val or test
    label: int  # index into the classes


class Masks(NamedTuple):
    """The masks of some of the pictures."""

    archive: Path
    picture_of: Mapping[str, str]  # mask -> picture, by their names in the archives
    read: Callable[[bytes, str], Bytes]  # content and name -> mask (H, W)


class Listed:
    """The pictures in ``rows``, in that order; others in the archives are ignored."""

    def __init__(
        self,
        archives: Sequence[Path],
        rows: Iterable[ListedPicture],
        classes: Sequence[str],
        download: Download,
        *,
        masks: Masks | None = None,
        notes: Sequence[str] = (),
        bits: int = ALL_BITS,
    ) -> None:
        """Check the lists, without decoding anything.

        Args:
            archives: the archives with the pictures.
            rows: the pictures, in the order of the prepared arrays.
            classes: names by label; the number is added to duplicate names.
            download: its settings and source say how pictures are resized.
            masks: those of pictures without one are unknown everywhere.
            notes: see ``Listing``.
            bits: as in ``decode.decode``.

        Raises:
            UserError: a picture is listed twice or its label has no class, or a class has no
                training picture.
        """
        self._archives, self._masks = archives, masks
        self._size = download.settings.image_size
        self._crop = download.settings.crops(download.manifest.source)
        self._places: dict[str, tuple[str, int]] = {}
        files: dict[str, list[str]] = {}
        labels: dict[str, list[int]] = {}
        for row in rows:
            if row.member in self._places:
                raise UserError(f"{archives[0].name}: {row.member} is listed twice")
            if not 0 <= row.label < len(classes):
                raise UserError(
                    f"{archives[0].name}: {row.member} has class {row.label + 1} of {len(classes)}"
                )
            in_split = files.setdefault(row.split, [])
            self._places[row.member] = (row.split, len(in_split))
            in_split.append(row.member)
            labels.setdefault(row.split, []).append(row.label)
        trained, uses = set(labels.get("train", ())), Counter(classes)
        for label, name in enumerate(classes):
            if label not in trained:
                raise UserError(f"{archives[0].name}: class {name!r} has no training picture")
        self.listing = Listing(
            tuple(
                name if uses[name] == 1 else f"{name} ({label + 1})"
                for label, name in enumerate(classes)
            ),
            {split: tuple(names) for split, names in files.items()},
            {split: np.array(values, dtype=np.int64) for split, values in labels.items()},
            masks is not None,
            tuple(notes),
            bits,
        )

    def pieces(self) -> Iterator[Piece]:
        """Yield the pictures in the archives' order, then the masks."""
        decoded = partial(decode, size=self._size, crop=self._crop, bits=self.listing.bits)
        for archive in self._archives:
            for member in iter_members(archive):
                if place := self._places.get(member.name):
                    make = partial(decoded, member.read(), member.name)
                    yield Piece(*place, "images", make)
        if self._masks is None:
            return
        for member in iter_members(self._masks.archive):
            if place := self._places.get(self._masks.picture_of.get(member.name, "")):
                make = partial(self._mask, self._masks.read, member.read(), member.name)
                yield Piece(*place, "masks", make)

    def _mask(self, read: Callable[[bytes, str], Bytes], content: bytes, name: str) -> Bytes:
        return resize_values(read(content, name), self._size, self._crop)


def read_members(archive: Path, *names: str, largest: int | None = None) -> list[bytes]:
    """Read some files of an archive, reading no further than necessary.

    Args:
        largest: as in ``iter_members``.
    """
    found: dict[str, bytes] = {}
    for member in iter_members(archive, largest=largest):
        if member.name in names and not member.is_folder:
            found[member.name] = member.read()
            if len(found) == len(names):
                break
    for name in names:
        if name not in found:
            raise UserError(f"{archive.name} lacks {name}: it is not the publisher's archive")
    return [found[name] for name in names]


def read_texts(archive: Path, *names: str) -> list[str]:
    """Read text files of an archive; raises ``UserError`` if one is missing or not UTF-8."""
    texts = []
    for name, content in zip(names, read_members(archive, *names), strict=True):
        try:
            texts.append(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{archive.name}: {name} is not UTF-8 text: {error}") from error
    return texts


def read_lists(archive: Path, *names: str, columns: int = 2) -> list[list[list[str]]]:
    """Read lists with lines like "KEY VALUE", where the last column may contain spaces."""
    tables = []
    for name, text in zip(names, read_texts(archive, *names), strict=True):
        table = [line.split(None, columns - 1) for line in text.splitlines() if line.strip()]
        for number, fields in enumerate(table, start=1):
            if len(fields) != columns:
                raise UserError(f"{archive.name}: {name}, row {number}: {columns} columns expected")
        tables.append([[field.strip() for field in fields] for fields in table])
    return tables


def read_mat(content: bytes, key: str, name: str) -> np.ndarray:
    """Read the array ``key`` of the MATLAB file ``name``."""
    from scipy.io import loadmat

    try:
        return np.atleast_1d(loadmat(BytesIO(content), squeeze_me=True)[key])
    except Exception as error:  # scipy raises all kinds of errors on damaged files
        raise UserError(f"cannot read {key!r} of {name}: {error}") from error


def whole_number(text: str, archive: Path) -> int:
    """Parse an integer in a list, or raise ``UserError``."""
    if not (text.isascii() and text.isdecimal()):
        raise UserError(f"{archive.name}: {text!r} is not a whole number")
    return int(text)
