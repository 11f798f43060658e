"""The user's own pictures: an archive of train/CLASS/* and test/CLASS/* or val/CLASS/*."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from saliencymixplus.datasets.archives import is_clutter, members
from saliencymixplus.datasets.decode import EXTENSIONS, decode
from saliencymixplus.datasets.sources.base import Listing, Piece
from saliencymixplus.errors import UserError

SPLITS = ("train", "val", "test")


class Folder:
    """An archive with a folder for each split and in it one for each class.

    ``test/`` is the test split; where there is only ``val/``, that is. Where there are both,
    ``val/`` is the validation split. Classes and pictures are sorted by name, whatever the order
    in the archive. One folder around everything is accepted; hidden files, Thumbs.db and the
    like are ignored, files beside the split folders too; anything else that is no picture is an
    error.
    """

    def __init__(self, archive: Path, size: int, name: str = "") -> None:
        """Read the names.

        Args:
            archive: Of the pictures.
            size: Side in pixels that they are resized to.
            name: What errors call the archive, if not by its file's name.

        Raises:
            UserError: something is not as it must be; the message names the file or class.
        """
        self._archive, self._size, self._name = archive, size, name or archive.name
        files: list[str] = []
        folders: list[str] = []
        for member in members(archive, self._name):
            if not is_clutter(member.name):
                (folders if member.is_folder else files).append(member.name)
        self._top = _wrapper([*files, *folders])
        classes = self._classes(files, folders)
        splits = self._splits(classes)
        names = sorted(classes[splits["train"]])
        self._places: dict[str, tuple[str, int]] = {}
        listed: dict[str, tuple[str, ...]] = {}
        labels = {}
        for split, folder in splits.items():
            in_split = [file for name in names for file in sorted(classes[folder][name])]
            listed[split] = tuple(in_split)
            counts = [len(classes[folder][name]) for name in names]
            labels[split] = np.repeat(np.arange(len(names), dtype=np.int64), counts)
            self._places |= {self._top + file: (split, i) for i, file in enumerate(in_split)}
        self.listing = Listing(tuple(names), listed, labels)

    def pieces(self) -> Iterator[Piece]:
        """The pictures in the archive's order."""
        for member in members(self._archive):
            place = self._places.get(member.name)
            if place and not member.is_folder:
                make = partial(decode, member.read(), member.name, self._size)
                yield Piece(*place, "images", make)

    def _classes(self, files: list[str], folders: list[str]) -> dict[str, dict[str, list[str]]]:
        """Split folder -> class -> its pictures; checks each name."""
        classes: dict[str, dict[str, list[str]]] = {}
        for name in folders:
            parts = name.removeprefix(self._top).split("/")
            if len(parts) == 2 and parts[0] in SPLITS:
                classes.setdefault(parts[0], {}).setdefault(parts[1], [])
        for name in files:
            inner = name.removeprefix(self._top)
            split, *rest = inner.split("/")
            if split not in SPLITS:
                continue
            if len(rest) != 2:
                raise self._wrong(f"{inner} is not of the form {split}/CLASS/picture")
            if PurePosixPath(inner).suffix.lower() not in EXTENSIONS:
                raise self._wrong(f"{inner} has not the extension of a picture: remove it")
            classes.setdefault(split, {}).setdefault(rest[0], []).append(inner)
        return classes

    def _splits(self, classes: dict[str, dict[str, list[str]]]) -> dict[str, str]:
        """Which folder is which split, after checking that all have the same classes."""
        if "train" not in classes:
            found = ", ".join(sorted(classes)) or "none of train/, val/, test/"
            raise self._wrong(f"it has no train/CLASS/ folders (found: {found})")
        if len(classes) == 1:
            raise self._wrong("it has no test/CLASS/ or val/CLASS/ folders")
        for split, of_split in sorted(classes.items()):
            for name in sorted(of_split):
                if not of_split[name]:
                    raise self._wrong(f"class folder {split}/{name} has no picture")
                if name not in classes["train"]:
                    raise self._wrong(f"class {name!r} is in {split}/ but not in train/")
            for name in sorted(classes["train"]):
                if name not in of_split:
                    raise self._wrong(f"class {name!r} is in train/ but not in {split}/")
        if len(classes["train"]) < 2:
            raise self._wrong("it has one class only: there is nothing to tell apart")
        if "test" not in classes:
            return {"train": "train", "test": "val"}
        return {split: split for split in SPLITS if split in classes}

    def _wrong(self, what: str) -> UserError:
        return UserError(f"{self._name}: {what}")


def _wrapper(names: list[str]) -> str:
    """The one folder around everything ("photos/"), or ""."""
    tops = {name.split("/")[0] for name in names if name}
    if len(tops) == 1 and not tops & set(SPLITS):
        return f"{tops.pop()}/"
    return ""
