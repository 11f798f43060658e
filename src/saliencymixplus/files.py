"""Write files atomically, so that no later run reads a half-written one."""

import csv
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError, one_line, os_errors
from saliencymixplus.plain_values import parse_json

LARGEST = 256 * 2**20  # bytes of a JSON file; the file names of a million images are 60 MB
# Seconds after which no writer can still be at work, on any machine.
_STALE = 7 * 24 * 3600.0


def file_name(text: str) -> str:
    """Convert untrusted ``text``, such as a name in settings, to a safe file name.

    Anything but letters, digits and harmless characters becomes ``_``, so that the name cannot
    point outside its folder.
    """
    harmless = "".join(c if c.isalnum() or c in " -_+=,.()#" else "_" for c in text)
    return harmless.lstrip(". ")[:150] or "_"


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it into place.

    The bytes are on disk (fsync) before the name changes, so that after a crash ``path`` has
    either the old or the complete new content.

    Raises:
        UserError: the folder cannot be written or the disk is full; ``path`` is unchanged.
    """
    temporary = beside(path)
    with ExitStack() as cleanup, os_errors(f"cannot write {path}"):
        cleanup.callback(remove, temporary)
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path, "part")
        temporary.touch()
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # some libraries write files that only their owner can read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with LF line endings, atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically. NaN and infinity are errors."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file in UTF-8 with LF line endings, atomically."""

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(header)
            table.writerows(rows)

    write_atomically(path, fill)


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """Read a JSON file of at most ``largest`` bytes, within the limits of ``plain_values``.

    Raises:
        UserError: the file is missing, unreadable, too large, or not JSON within these limits.
    """
    try:
        return parse_json(read_limited(path, largest))
    except ValueError as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from error


def read_limited(path: Path, largest: int) -> bytes:
    """Read a regular file (or a link to one) of at most ``largest`` bytes.

    Raises:
        UserError: the file is missing, unreadable, too large, or a pipe or device (may never end).
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


def beside(path: Path) -> Path:
    """A unique temporary name next to ``path`` that identifies the writing process."""
    return path.parent / f".{path.name}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part"


def temporaries(path: Path, kind: str) -> Iterator[tuple[Path, int | None]]:
    """Yield temporary paths next to ``path``, with the writer's PID if it is on this machine.

    Args:
        path: its name may be ``*``, for anything written in its folder.
        kind: ``part`` for content being written, ``old`` for content being replaced.
    """
    name = ".+" if path.name == "*" else re.escape(path.name)
    ours = re.compile(rf"\.{name}\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}\.{kind}")
    for found in path.parent.iterdir():
        match = ours.fullmatch(found.name)
        if match:
            yield found, int(match[2]) if match[1] == _machine() else None


def sweep(path: Path, kind: str) -> None:
    """Remove leftovers of killed writers of ``path``.

    A writer counts as killed if its process was on this machine and is gone, or if nothing has
    changed for a week. Files of other machines and running processes are left alone.
    """
    for left, pid in temporaries(path, kind):
        try:
            if (pid is None or is_running(pid)) and (time.time() - left.lstat().st_mtime < _STALE):
                continue
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        except FileNotFoundError:  # another writer swept it first
            continue


def remove(path: Path) -> None:
    """Remove a file, ignoring errors: a failed clean-up must not hide the first error."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Atomically remove a folder that others may be using, and leftovers of such removals.

    It is renamed first: removed file by file, it could be seen half empty, and a new lock file
    would keep it from being removed. Best effort: on a read-only or full disk, it stays.
    """
    going = beside(folder).with_suffix(".old")
    with suppress(OSError):
        folder.replace(going)
        shutil.rmtree(going, ignore_errors=True)
        sweep(folder.parent / "*", "old")


def _machine() -> str:
    """An identifier of this machine or container, within which PIDs are unique."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (a link, not a file)
    except OSError:
        space = 0
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def is_running(pid: int) -> bool:
    """Whether a process with this PID exists on this machine."""
    if sys.platform == "win32":  # signal 0 would terminate the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
