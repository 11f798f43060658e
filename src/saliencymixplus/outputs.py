"""Check that a command may write its output, before its work, which may take hours.

One rule for all outputs: a command replaces only what the same command wrote before.
"""

import mmap
import os
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from saliencymixplus.errors import UserError, os_errors
from saliencymixplus.files import is_running, temporaries

# What DVC, git and file managers put into any folder.
_IGNORED = (".gitignore", ".DS_Store", "Thumbs.db", "desktop.ini")
Listing = dict[str, tuple[int, ...]]
checked: dict[Path, Listing] = {}  # content of folders when this command started


@dataclass(frozen=True)
class Output:
    """What a command writes into a folder.

    Args:
        marks: relative file names to a text in that file; any one of them shows that the command
            has written the folder before.
        files: patterns (``fnmatch``) of all files that the command may write.
    """

    marks: Mapping[str, str]
    files: tuple[str, ...]

    def is_in(self, folder: Path) -> bool:
        """Whether the command has written ``folder`` before."""
        return any(_contains(folder / name, text) for name, text in self.marks.items())

    def knows(self, name: str) -> bool:
        """Whether the command may write a file of this relative name."""
        return any(fnmatchcase(name, pattern) for pattern in self.files)


def writing(path: Path) -> AbstractContextManager[None]:
    """Turn an ``OSError`` in the block into a ``UserError`` that names ``path``."""
    return os_errors(f"cannot write {path}")


def check_folder(path: Path, output: Output) -> None:
    """Check that the folder ``path`` may be replaced as a whole.

    Only its current content will be replaced: see ``ReservedFolder.publish``.

    Raises:
        UserError: a file is in the way, the folder or a file in it was not written by the command,
            or the parent folder cannot be written.
    """
    check_place(path, output)
    place = followed(path)
    checked[place.absolute()] = listing(place)


def check_place(path: Path, output: Output) -> None:
    """Check like ``check_folder``, without recording the folder's content."""
    place = _writable(path)
    with writing(path):
        if os.path.ismount(place):
            raise UserError(f"{path} is a mount point, which cannot be replaced: name one below it")
        found = [
            name
            for name, state in sorted(listing(place).items())
            if (state or (place / name).is_symlink()) and Path(name).name not in _IGNORED
        ]
        if found and not output.is_in(place):
            raise UserError(f"{path} holds other files, which would be lost: name a new folder")
        for name in found:
            if not output.knows(name):
                raise UserError(
                    f"{path} holds {name}, which this command did not write and would delete: "
                    "move it away, or name another folder"
                )


def check_files(path: Path, output: Output) -> None:
    """Check that a command may write its files among others in the folder ``path``.

    Raises:
        UserError: one of the files exists and was not written by the command, or the folder cannot
            be written.
    """
    place = _writable(path)
    with writing(path):
        if not place.is_dir() or output.is_in(place):
            return
        for found in sorted(file for pattern in output.files for file in place.glob(pattern)):
            raise UserError(
                f"{path / found.relative_to(place)} exists and was not written by this command: "
                "move it away, or name another folder"
            )


def check_file(path: Path, mark: str) -> None:
    """Check that a command may write the file ``path``.

    Args:
        mark: a text in every file that the command writes.

    Raises:
        UserError: it exists and does not contain ``mark``, is a folder or device, or its folder
            cannot be written.
    """
    with writing(path):
        if path.is_dir():
            raise UserError(f"{path} is a folder: name a file in it")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a regular file: name another one")
        if os.path.lexists(path) and not _contains(path, mark):
            raise UserError(
                f"{path} exists and was not written by this command: move it away, or name "
                "another file"
            )
    _probe(path)


def followed(path: Path) -> Path:
    """Resolve a link, even to a missing target; other paths are returned unchanged."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def listing(folder: Path) -> Listing:
    """Every path below ``folder`` with an identifier of its content, empty for folders."""
    found: Listing = {}
    for root, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(root, name), folder)] = ()  # noqa: PTH118
        for name in files:
            file = os.path.join(root, name)  # noqa: PTH118
            with suppress(FileNotFoundError):
                state = os.lstat(file)
                found[os.path.relpath(file, folder)] = (
                    state.st_ino,
                    state.st_size,
                    state.st_mtime_ns,
                )
    return found


def restore(place: Path) -> None:
    """Put back a folder whose writer was killed just after moving it away."""
    if os.path.lexists(place) or not place.parent.is_dir():
        return
    for old, pid in temporaries(place, "old"):
        if pid is not None and not is_running(pid):
            old.replace(place)
            return


def _writable(path: Path) -> Path:
    """The place that ``path`` names; raises ``UserError`` if no folder can be written there."""
    with writing(path):
        place = followed(path)
        restore(place)  # before anything is compared with it
        if place.exists() and not place.is_dir():
            raise UserError(f"{path} is a file where a folder is to be written: move it away")
        _probe(path)
    return place


def _probe(path: Path) -> None:
    """Raise ``UserError`` if nothing can be written beside ``path``."""
    with writing(path):
        place = followed(path).absolute()
        above = next((folder for folder in place.parents if folder.exists()), place)
        if not above.is_dir():
            raise UserError(f"cannot write {path}: {above} is a file: move it away")
        if not os.access(above, os.W_OK | os.X_OK):
            raise UserError(f"cannot write {path}: {above} is read-only for you")
        # Some file systems, such as /proc, falsely claim to be writable.
        Path(tempfile.mkdtemp(prefix=".probe-", dir=above)).rmdir()


def _contains(path: Path, text: str) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(text.encode()) >= 0
