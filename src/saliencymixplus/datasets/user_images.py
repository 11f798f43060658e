"""Pack or copy the user's folder or archive of pictures to one archive."""

import io
import shutil
import tarfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from saliencymixplus.datasets.archives import is_clutter, iter_members
from saliencymixplus.datasets.manifest import Entry, Manifest, check_archive
from saliencymixplus.datasets.sources.layout import read_layout
from saliencymixplus.errors import UserError, os_errors
from saliencymixplus.progress import Report, progress
from saliencymixplus.settings import DownloadSettings

PACKED = "images.tar"
_ENDINGS = (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz", ".txz", ".tbz2", ".tar", ".zip")


def collect(settings: DownloadSettings, path: Path, destination: Path, report: Report) -> Manifest:
    """Check the layout of an archive or folder, then copy or pack it to ``destination``.

    A folder becomes ``images.tar``, whose bytes depend only on names and contents.

    Raises:
        UserError: ``path`` is missing, has a layout that ``read_layout`` rejects, or contains a
            link that points outside.
    """
    # Names only, so that a wrong layout is reported before hours of copying and decoding.
    if path.is_dir():
        target = destination / PACKED
        inside, folders = _names(path)
        layout = read_layout(inside, folders, path.resolve().name)
        pictures = [p for of in layout.pictures.values() for names in of.values() for p in names]
        names = sorted([*pictures, *layout.masks])
        write_tar({name: inside[name] for name in names}, target, path.name, report)
        for note in layout.notes:
            if note not in read_layout(names, (), "").notes:  # the others come up again in prepare
                report(f"note: {note}")
    elif path.is_file():
        target = destination / path.name
        report(f"copying {path.name}")
        with os_errors(f"cannot copy {path}"):
            shutil.copyfile(path, target)
    else:
        raise UserError(f"download.path: {path} does not exist")
    sha256 = check_archive(settings, target, path.name)
    found = [*iter_members(target, path.name)]
    files = [member.name for member in found if not member.is_folder]
    folders = [member.name for member in found if member.is_folder]
    read_layout(files, folders, path.resolve().name)
    entry = Entry.of(target, sha256, "the user's own")
    return Manifest("imagefolder", _title(path), (entry,))


def _title(path: Path) -> str:
    name = path.resolve().name
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)] or name
    return name


def write_tar(files: Mapping[str, Path], target: Path, title: str, report: Report) -> None:
    """Write ``files``, keyed by archive name, to a tar whose bytes depend on nothing else."""
    with (
        tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive,
        progress(f"packing {title}", len(files), report) as advance,
    ):
        for name, path in files.items():
            content = _content(path, name)
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o644, len(content)
            archive.addfile(info, io.BytesIO(content))
            advance(1)


def _content(path: Path, name: str) -> bytes:
    if not path.is_file():
        raise UserError(f"{name} is not a regular file: remove it")
    with os_errors(f"cannot read {name}"):
        return path.read_bytes()


def _names(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The files by name, and the names of the folders, below ``root`` without clutter.

    Names are in Unicode's composed form (NFC), as in archives: macOS decomposes some.

    Raises:
        UserError: a link leads out of ``root``, to nothing or in a circle, two names differ only in
            their form, or a name is not UTF-8.
    """
    home = root.resolve()
    files: dict[str, Path] = {}
    folders: list[str] = []
    pending = [root]
    while pending:
        folder = pending.pop()
        with os_errors(f"cannot read {folder}"):
            found = [path for path in folder.iterdir() if not is_clutter(path.name)]
        for path in found:
            name = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
            if not path.exists():
                raise UserError(f"{name} is a broken link: remove it")
            if not path.resolve().is_relative_to(home):
                raise UserError(f"{name} is a link to outside {root}: put the file itself there")
            if path.is_symlink() and folder.resolve().is_relative_to(path.resolve()):
                raise UserError(f"{name} is a link to a folder that contains it: remove it")
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise UserError(f"the name {name!r} is not UTF-8: rename it") from error
            if path.is_dir():
                folders.append(name)
                pending.append(path)
            elif name in files:
                raise UserError(
                    f"{name} occurs twice, once with composed and once with decomposed letters: "
                    "rename one"
                )
            else:
                files[name] = path
    return files, folders
