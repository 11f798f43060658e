"""Collect the pictures at the paths a user gives: files, folders, archives."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from saliencymixplus.datasets.archives import MAX_FILE, is_clutter, iter_members
from saliencymixplus.datasets.formats import EXTENSIONS
from saliencymixplus.errors import UserError, one_line
from saliencymixplus.files import read_limited

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz")


@dataclass(frozen=True)
class EncodedPicture:
    """An encoded picture; ``name`` is its path, prefixed by the archive's if it comes from one."""

    name: str
    content: bytes


def pictures(paths: Iterable[Path]) -> Iterator[EncodedPicture]:
    """Yield the pictures at ``paths``; folders and archives are searched by file extension.

    Raises:
        UserError: a path does not exist or cannot be read, or a folder or archive has no pictures.
    """
    for path in paths:
        if path.is_dir():
            below = sorted(
                file
                for file in path.rglob("*")
                if file.is_file()
                and _is_picture(file)
                and not is_clutter(file.relative_to(path).as_posix())
            )
            if not below:
                raise UserError(f"{path} holds no pictures ({', '.join(EXTENSIONS)})")
            for file in below:
                yield EncodedPicture(str(file), _read(file))
        elif path.suffix.lower() in _ARCHIVES and path.is_file():
            count = 0
            for member in iter_members(path):
                named = PurePath(member.name)
                if not member.is_folder and _is_picture(named) and not is_clutter(member.name):
                    count += 1
                    yield EncodedPicture(f"{path}/{member.name}", member.read())
            if not count:
                raise UserError(f"{path} holds no pictures ({', '.join(EXTENSIONS)})")
        else:
            yield EncodedPicture(str(path), _read(path))


def _is_picture(path: PurePath) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _read(path: Path) -> bytes:
    try:
        return read_limited(path, MAX_FILE)
    except ValueError as error:  # a null byte
        raise UserError(f"cannot read {one_line(path)}: {error}") from error
