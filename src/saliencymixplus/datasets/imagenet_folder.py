"""Pack a folder with ImageNet, which cannot be downloaded without an account."""

import csv
import re
from pathlib import Path

from saliencymixplus.datasets.archives import is_clutter
from saliencymixplus.datasets.formats import EXTENSIONS
from saliencymixplus.datasets.manifest import Entry, Manifest, check_archive
from saliencymixplus.datasets.user_images import PACKED, write_tar
from saliencymixplus.errors import UserError
from saliencymixplus.progress import Report
from saliencymixplus.settings import DownloadSettings

NAMES = "LOC_synset_mapping.txt"
_SOLUTION = "LOC_val_solution.csv"
_KAGGLE = "ILSVRC/Data/CLS-LOC"
_CODE = re.compile(r"n\d{8}")
_HOW = (
    "get ILSVRC2012 from image-net.org or Kaggle (both need an account) and set download.path to "
    "its folder, with train/nNNNNNNNN/ and val/ in it"
)


def collect(settings: DownloadSettings, path: Path, destination: Path, report: Report) -> Manifest:
    """Pack the folder ``path`` as ``destination``/images.tar: train/CODE/ and val/CODE/.

    The layout must be either that of torchvision and timm (class folders in ``val``, too) or
    Kaggle's: a flat ``val`` with ``LOC_val_solution.csv``. ``LOC_synset_mapping.txt``, if present,
    gives the class names.

    Raises:
        UserError: the folder does not exist or has a different layout.
    """
    if settings.path is None:
        raise UserError(f"imagenet cannot be downloaded: {_HOW}")
    if not path.is_dir():
        raise UserError(f"download.path: {path} is not a folder: {_HOW}")
    top = path / _KAGGLE if (path / _KAGGLE).is_dir() else path
    pictures = _classes(top / "train")
    codes = {name.split("/")[1] for name in pictures}
    pictures |= _validation(top / "val", path / _SOLUTION, codes)
    names = {NAMES: path / NAMES} if (path / NAMES).is_file() else {}
    target = destination / PACKED
    write_tar({**names, **pictures}, target, "imagenet", report)
    sha256 = check_archive(settings, target, PACKED)
    entry = Entry.of(target, sha256, "the user's folder of ILSVRC2012")
    return Manifest("imagenet", "imagenet", (entry,))


def _classes(folder: Path) -> dict[str, Path]:
    """Map SPLIT/CODE/picture to the path of each picture in the class folders of ``folder``."""
    found: dict[str, Path] = {}
    folders = sorted(inner for inner in _inside(folder) if inner.is_dir())
    if not folders:
        raise UserError(f"{folder} has no class folders: {_HOW}")
    for inner in folders:
        if not _CODE.fullmatch(inner.name):
            raise UserError(f"{inner} is not a class of ImageNet (such as n01440764): remove it")
        for picture in sorted(_inside(inner)):
            if picture.suffix.lower() not in EXTENSIONS:
                raise UserError(f"{picture} is not a picture: remove it")
            found[f"{folder.name}/{inner.name}/{picture.name}"] = picture
    return found


def _validation(folder: Path, solution: Path, codes: set[str]) -> dict[str, Path]:
    """Map val/CODE/picture to the path of each validation picture."""
    if any(inner.is_dir() for inner in _inside(folder)):
        found = _classes(folder)
    elif solution.is_file():
        code_of = _solution(solution)
        found = {}
        for picture in sorted(_inside(folder)):
            if picture.stem not in code_of:
                raise UserError(f"{solution} has no class for {picture.name}")
            found[f"val/{code_of[picture.stem]}/{picture.name}"] = picture
    else:
        raise UserError(
            f"{folder} has no class folders: sort the pictures into val/nNNNNNNNN/, or put "
            f"{_SOLUTION} into {solution.parent}"
        )
    if not found:
        raise UserError(f"{folder} holds no pictures: {_HOW}")
    for name in found:
        if (code := name.split("/")[1]) not in codes:
            raise UserError(f"{folder}: class {code} has no folder in train/")
    return found


def _solution(path: Path) -> dict[str, str]:
    """Class code by picture, from Kaggle's "ImageId,PredictionString" (code and boxes)."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        found = {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (OSError, ValueError, KeyError, IndexError, AttributeError, csv.Error) as error:
        raise UserError(f"{path} is not Kaggle's table of validation classes: {error}") from error
    for image, code in found.items():
        if not _CODE.fullmatch(code):
            raise UserError(f"{path}: {image} has {code!r}, which is not a class of ImageNet")
    return found


def _inside(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not is_clutter(path.name)]
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}: {_HOW}") from error
