"""Find the split and class of each file in a folder of the user's pictures."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from saliencymixplus.datasets.archives import is_clutter
from saliencymixplus.datasets.formats import EXTENSIONS
from saliencymixplus.errors import UserError

# Case-insensitive: "Train", "VALID".
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
MASKS = "masks"
Classes = dict[str, dict[str, list[str]]]  # split -> class -> picture names


@dataclass(frozen=True)
class Layout:
    """The pictures of each split by class, and their masks, by their names in the folder."""

    pictures: Classes  # all sorted
    masks: dict[str, str]  # mask -> its picture
    notes: tuple[str, ...] = ()


def read_layout(files: Iterable[str], folders: Iterable[str], name: str) -> Layout:
    """Parse a layout of SPLIT/CLASS/picture or CLASS/picture, and reject anything else.

    Single folders around everything are skipped. Hidden files, Thumbs.db and the like are ignored,
    as are files outside the class folders that are not pictures (a note names such folders). If
    ``val/`` is the only folder besides ``train/``, it is the test split; without split folders,
    everything is ``train``. Masks are in ``masks/SPLIT/CLASS/`` or ``masks/CLASS/``, named like
    their pictures except for the extension.

    Args:
        files: relative names with "/".
        folders: likewise, including empty folders.
        name: name of the whole in error messages.

    Raises:
        UserError: a folder or file would be left out, a class is missing or empty in a split,
            there are fewer than two classes, or a mask has no picture. The message names it.
    """
    files = sorted(file for file in files if not is_clutter(file))
    folders = sorted(folder for folder in folders if folder and not is_clutter(folder))
    return _Reader(files, folders, name).read()


class _Reader:
    def __init__(self, files: list[str], folders: list[str], name: str) -> None:
        self._name = name
        self._top = top = _wrapper(files, folders)
        inner = [file.removeprefix(top) for file in files]
        self._folders = [f.removeprefix(top) for f in folders if f.startswith(top)]
        self._masks = [f for f in inner if f.split("/")[0].casefold() == MASKS and f.count("/") > 1]
        masks = {*self._masks}
        self._files = [file for file in inner if file not in masks]
        self._splits = self._find_splits()
        # The folder of each split.
        self._titles = {split: f"{top}/" for top, split in self._splits.items()}
        self._left_out: set[str] = set()

    def read(self) -> Layout:
        found = self._sorted_out()
        self._check_classes(found)
        notes = [f"{top}/ holds no pictures and is ignored" for top in sorted(self._left_out)]
        if "test" not in found and "val" in found:
            found["test"] = found.pop("val")
            self._splits = {t: "test" if s == "val" else s for t, s in self._splits.items()}
            notes.append(f"there is no test folder: {self._titles['val']} is the test split")
        masks = self._match_masks(found)
        pictures = {
            split: {
                name: [self._top + f for f in sorted(classes[name])] for name in sorted(classes)
            }
            for split, classes in found.items()
        }
        return Layout(
            pictures, {self._top + m: self._top + p for m, p in masks.items()}, tuple(notes)
        )

    def _find_splits(self) -> dict[str, str]:
        """Map top folder to split; empty if the top folders are classes."""
        tops = {file.split("/")[0] for file in self._files if "/" in file}
        tops |= {folder.split("/")[0] for folder in self._folders}
        splits: dict[str, str] = {}
        for top in sorted(tops):
            split = SPLIT_NAMES.get(top.casefold())
            if split in splits.values():
                first = next(other for other, known in splits.items() if known == split)
                raise self._wrong(f"{first}/ and {top}/ are both the {split} split: keep one")
            if split:
                splits[top] = split
        if splits and "train" not in splits.values():
            found = ", ".join(f"{top}/" for top in sorted(tops))
            raise self._wrong(f"it has no train/CLASS/ folders (found: {found})")
        return splits

    def _sorted_out(self) -> Classes:
        """Map split to class to pictures, checking each file."""
        found: Classes = {split: {} for split in self._splits.values()} or {"train": {}}
        depth = 2 if self._splits else 1  # of class folders
        for folder in self._folders:
            parts = folder.split("/")
            is_mask = not self._splits and folder.casefold() == MASKS and self._masks
            if len(parts) == depth and self._is_inside(parts[0]) and not is_mask:
                found[self._splits.get(parts[0], "train")].setdefault(parts[-1], [])
        for file in self._files:
            parts = file.split("/")
            inside = len(parts) > 1 and self._is_inside(parts[0])
            if not inside and not _is_picture(file):
                self._left_out |= {parts[0]} if len(parts) > 1 else set()
                continue
            self._check_file(file, parts, inside, depth)
            split, name = self._splits.get(parts[0], "train"), parts[depth - 1]
            found[split].setdefault(name, []).append(file)
        return found

    def _is_inside(self, top: str) -> bool:
        return top in self._splits or not self._splits

    def _check_file(self, file: str, parts: list[str], inside: bool, depth: int) -> None:
        if len(parts) == 1:
            where = "train/CLASS/" if self._splits else "CLASS/"
            raise self._wrong(f"{file} is not in a class folder: move it to {where} or elsewhere")
        if not inside:
            raise self._wrong(
                f"{parts[0]}/ is neither a split ({', '.join(SPLIT_NAMES)}) nor {MASKS}/: rename "
                "it or move it away"
            )
        if len(parts) != depth + 1:
            form = f"{parts[0]}/CLASS/picture" if self._splits else "CLASS/picture"
            hint = "" if self._splits else "; split folders are called train, val and test"
            raise self._wrong(f"{file} is not of the form {form}{hint}")
        if not _is_picture(file):
            raise self._wrong(
                f"{file} is not a supported kind of picture: remove it, or convert it to PNG "
                f"(supported: {', '.join(EXTENSIONS)})"
            )

    def _check_classes(self, found: Classes) -> None:
        """Require the same two or more classes in all splits, none of them empty."""
        if not any(files for classes in found.values() for files in classes.values()):
            raise self._wrong("it holds no pictures in train/CLASS/ or CLASS/ folders")
        train = found["train"]
        for split, classes in sorted(found.items()):
            title = self._titles.get(split, "")
            for name in sorted(classes):
                if not classes[name]:
                    raise self._wrong(f"class folder {title}{name} has no picture")
                if name not in train:
                    raise self._wrong(f"class {name!r} is in {title} but not in train/")
            for name in sorted(train):
                if name not in classes:
                    raise self._wrong(f"class {name!r} is in train/ but not in {title}")
        if len(train) < 2:
            raise self._wrong("it has only one class: at least two are needed")

    def _match_masks(self, found: Classes) -> dict[str, str]:
        """Map masks to pictures."""
        if not self._masks:
            return {}
        pictures: dict[tuple[str, ...], str] = {}
        for split, classes in found.items():
            for name, files in classes.items():
                for file in files:
                    key = (split, name, PurePosixPath(file).stem)
                    if other := pictures.get(key):
                        raise self._wrong(f"{other} and {file} would share a mask: rename one")
                    pictures[key] = file
        splits = {top.casefold(): split for top, split in self._splits.items()}
        masks: dict[str, str] = {}
        for mask in self._masks:
            _, *parts, file = mask.split("/")
            if self._splits:
                parts[0] = splits.get(parts[0].casefold(), parts[0])
            else:
                parts.insert(0, "train")
            picture = pictures.get((*parts, PurePosixPath(file).stem))
            if picture is None:
                raise self._wrong(f"the mask {mask} has no picture: rename or remove it")
            if picture in masks.values():
                raise self._wrong(f"{picture} has two masks: remove {mask} or the other one")
            masks[mask] = picture
        return masks

    def _wrong(self, what: str) -> UserError:
        return UserError(f"{self._name}: {what}")


def _wrapper(files: list[str], folders: list[str]) -> str:
    """The folders around everything, such as "photos/" or "photos/photos/"; "" without any."""
    around = ""
    while True:
        names = [n.removeprefix(around) for n in (*files, *folders) if n.startswith(around)]
        tops = {name.split("/")[0] for name in names}
        pictures = [name for name in names if name.count("/") == 1 and _is_picture(name)]
        if len(tops) != 1 or pictures:
            return around
        (top,) = tops
        if top.casefold() in SPLIT_NAMES or not any("/" in name for name in names):
            return around
        around += f"{top}/"


def _is_picture(file: str) -> bool:
    return PurePosixPath(file).suffix.lower() in EXTENSIONS
