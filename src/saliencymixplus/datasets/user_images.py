"""Taking over the user's own pictures: one archive, whatever they came as."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from saliencymixplus.datasets.archives import is_clutter
from saliencymixplus.datasets.manifest import Entry, Manifest, check_archive
from saliencymixplus.datasets.sources.folder import SPLITS, Folder
from saliencymixplus.errors import UserError
from saliencymixplus.progress import Report, progress
from saliencymixplus.settings import DownloadSettings

PACKED = "images.tar"
_ENDINGS = (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz", ".txz", ".tbz2", ".tar", ".zip")


def collect(settings: DownloadSettings, path: Path, destination: Path, report: Report) -> Manifest:
    """Copy an archive, or pack a folder, into ``destination`` and look through its names.

    A folder becomes ``images.tar``, whose bytes depend on names and contents only.

    Raises:
        UserError: ``path`` is missing or not laid out as train/CLASS/* and test/CLASS/*, or a
            link in it leads out of it.
    """
    if path.is_dir():
        target = destination / PACKED
        _pack(path, target, report)
    elif path.is_file():
        target = destination / path.name
        report(f"copying {path.name}")
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise UserError(f"cannot copy {path}: {error.strerror or error}") from error
    else:
        raise UserError(f"download.path: {path} does not exist")
    sha256 = check_archive(settings, target, path.name)
    # Names only: a wrong layout should show before hours of training.
    Folder(target, size=32, name=path.resolve().name)
    entry = Entry(target.name, sha256, target.stat().st_size, "the user's own")
    return Manifest("imagefolder", _title(path), (entry,))


def _title(path: Path) -> str:
    name = path.resolve().name
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)] or name
    return name


def _pack(root: Path, target: Path, report: Report) -> None:
    paths = list(_walk(root))
    with (
        tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive,
        progress(f"packing {root.name}", len(paths), report) as advance,
    ):
        for path in paths:
            name = path.relative_to(root).as_posix()
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                content = _content(path, name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            advance(1)


def _content(path: Path, name: str) -> bytes:
    if not path.is_file():
        raise UserError(f"{name} is no file: remove it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror or error}") from error


def _walk(root: Path) -> Iterator[Path]:
    """What lies in the split folders, sorted; nothing outside ``root``."""
    home = root.resolve()

    def inside(folder: Path) -> list[Path]:
        try:
            found = sorted(p for p in folder.iterdir() if not is_clutter(p.name))
        except OSError as error:
            raise UserError(f"cannot read {folder}: {error.strerror or error}") from error
        for path in found:
            name = path.relative_to(root).as_posix()
            if not path.exists():
                raise UserError(f"{name} is a link to nothing: remove it")
            if not path.resolve().is_relative_to(home):
                raise UserError(f"{name} is a link out of {root}: put the file itself there")
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise UserError(f"{name!r} is a name that is no UTF-8: rename it") from error
        return found

    def below(folder: Path) -> Iterator[Path]:
        # To the bottom: a picture too deep must be seen to be refused.
        for path in inside(folder):
            yield path
            if path.is_dir():
                yield from below(path)

    tops = inside(root)
    if len(tops) == 1 and tops[0].is_dir() and tops[0].name not in SPLITS:
        tops = inside(tops[0])  # one folder around everything, as in an archive
    for split in tops:
        if split.name in SPLITS and split.is_dir():
            yield from below(split)
