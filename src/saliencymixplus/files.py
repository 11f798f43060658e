"""Writing files so that a later run never trusts a half-written one."""

import hashlib
import json
import os
import re
import shutil
import socket
import stat
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError, one_line
from saliencymixplus.plain_values import parse_json

LARGEST = 256 * 2**20  # bytes of a JSON file; the file names of a million images are 60 MB
# After so long no writer is still at it, on whatever machine it runs.
_STALE = 7 * 24 * 3600.0


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it into place.

    The bytes are on the disk (fsync) before the name changes, so that after a crash ``path``
    holds either the old content or the whole new one.

    Raises:
        UserError: the folder cannot be written to or the disk is full; ``path`` is as before.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path, "part")
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with LF line ends, atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """Read a JSON file of at most ``largest`` bytes, within the limits of ``plain_values``.

    Raises:
        UserError: the file is missing, unreadable, too large or not such JSON.
    """
    try:
        return parse_json(read_limited(path, largest))
    except ValueError as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from error


def read_limited(path: Path, largest: int) -> bytes:
    """The bytes of a regular file (or a link to one), of which there are at most ``largest``.

    Raises:
        UserError: the file is missing, unreadable, larger, or a pipe or device, which may not end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"cannot read {path}: it is not a file")
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > largest:
        raise UserError(f"cannot read {path}: it is larger than {largest / 2**20:,.0f} MiB")
    return content


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Fill a fresh folder that takes the name ``path`` only if the block ends without an error.

    An existing folder of that name is replaced at the end; if the block fails it stays as it was.
    """
    part = _beside(path)
    old = part.with_suffix(".old")
    try:
        part.mkdir(parents=True)
        _sweep(path, "part")
        yield part
        if path.is_dir():
            path.replace(old)
        elif path.exists():
            raise UserError(f"{path} is a file where a folder is to be written: move it away")
        part.replace(path)
        # Only now: a writer killed between the two moves left the last good folder there.
        _sweep(path, "old")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_folder(path: Path, *marks: str) -> None:
    """See, before hours of work, whether the folder ``path`` may be replaced at their end.

    Args:
        path: The folder.
        marks: Files, relative to it, any of which shows that an earlier command wrote it.

    Raises:
        UserError: a file is in the way, the folder holds something else, or that above it is
            read-only.
    """
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file where a folder is to be written: move it away")
        others = path.is_dir() and any(path.iterdir())
        if others and not any((path / mark).is_file() for mark in marks):
            raise UserError(f"{path} holds other files, which would be lost: name a new folder")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    if not above.is_dir():
        raise UserError(f"cannot write {path}: {above} is a file: move it away")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {above} is read-only for you")


def check_only(folder: Path, known: Collection[str]) -> None:
    """Refuse to replace ``folder`` if it holds anything but ``known`` names and DVC's .gitignore.

    Raises:
        UserError: there is such a file or folder; the message names it.
    """
    for path in sorted(folder.iterdir()):
        if path.name not in known and path.name != ".gitignore":
            raise UserError(
                f"{folder} holds {path.name}, which this command did not write and would delete: "
                "move it away, or name another folder"
            )


def _beside(path: Path) -> Path:
    """A temporary name that no other writer has, and that says which process writes it."""
    return path.parent / f".{path.name}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part"


def _sweep(path: Path, kind: str) -> None:
    """Remove what killed writers of ``path`` left: nobody reads it, but it takes room.

    Killed means: a process of this machine that is gone, or nothing changed for a week. What
    another machine writes on a shared disk, or another process right now, is left alone.
    """
    ours = re.compile(rf"\.{re.escape(path.name)}\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}\.{kind}")
    for left in path.parent.iterdir():
        match = ours.fullmatch(left.name)
        if not match:
            continue
        gone = match[1] == _machine() and not _is_running(int(match[2]))
        try:
            if not gone and time.time() - left.lstat().st_mtime < _STALE:
                continue
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        except FileNotFoundError:  # another writer swept it first
            continue


def _machine() -> str:
    """Digits for this machine or container: where a process number has its meaning."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (a link, and no file)
    except OSError:
        space = 0
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # signal 0 would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
