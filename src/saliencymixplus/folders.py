"""Output folders: reserved before the work, replaced as a whole after it, keeping foreign files."""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from saliencymixplus.errors import UserError
from saliencymixplus.files import beside, is_running, sweep, temporaries

_Listing = dict[str, tuple[int, ...]]
_reserved: set[Path] = set()  # by this process
_checked: dict[Path, _Listing] = {}  # content of folders when this command started


class ReservedFolder:
    """A new folder ``part`` that ``publish`` moves into place."""

    def __init__(self, path: Path, place: Path, part: Path) -> None:
        self.path, self.place, self.part = path, place, part
        here = place.absolute()
        self._before = _checked.pop(here) if here in _checked else _listing(place)

    def publish(self) -> None:
        """Replace the existing folder with ``part``.

        Files that were added or changed there since the start (``check_folder``, or else
        ``reserved``) are copied into the new folder and reported.

        Raises:
            UserError: such a file has the same name as one in ``part``. The folder is left
                unchanged, and the message says where the result is.
        """
        with writing(self.path):
            if not self.place.exists():
                self.part.replace(self.place)
                return
            if not self.place.is_dir():
                self._publish_beside([self.place.name])
            old = self.part.with_suffix(".old")
            self.place.replace(old)
            try:
                now = _listing(old)
                added = [name for name, state in now.items() if self._before.get(name) != state]
                if any(_collide(old / name, self.part / name) for name in added):
                    old.replace(self.place)
                    self._publish_beside(added)
                for name in added:
                    _copy(old / name, self.part / name)
                self.part.replace(self.place)
            except OSError:
                with suppress(OSError):
                    old.replace(self.place)
                raise
            shutil.rmtree(old, ignore_errors=True)
        if added:
            print(f"{self.path}: kept new files next to the result: {_named(added)}", flush=True)

    def _publish_beside(self, added: list[str]) -> None:
        numbered = (self.place.with_name(f"{self.place.name}-{n}") for n in range(2, 1000))
        target = next(path for path in numbered if not os.path.lexists(path))
        self.part.replace(target)
        raise UserError(
            f"{self.path} was changed while this command ran ({_named(added)}): it was left "
            f"unchanged, and the result is in {target}"
        )


@contextmanager
def reserved(path: Path, *marks: str) -> Iterator[ReservedFolder]:
    """Reserve the folder ``path`` for the output of the block; it changes only at ``publish``.

    An existing folder stays until then, or if the block fails. Links to folders are followed.

    Args:
        path: the folder.
        marks: see ``check_folder``; if empty, any content is replaced.

    Raises:
        UserError: ``path`` cannot be written, or another process is writing it.
    """
    if marks:
        _check(path, marks)
    place = _followed(path)
    part = beside(place)
    missing = [folder for folder in place.parents if not folder.exists()]
    folder = None
    try:
        with writing(path):
            part.mkdir(parents=True)
            _reserved.add(part)
            _refuse_second_writer(path, place, part)
            _restore(place)
            sweep(place, "part")
            sweep(place, "old")
            folder = ReservedFolder(path, place, part)
        yield folder
    finally:
        shutil.rmtree(part, ignore_errors=True)
        _reserved.discard(part)
        with suppress(OSError):  # ends at the first that is not empty
            for parent in missing:
                parent.rmdir()


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Fill a new folder that becomes ``path`` only if the block ends without an error.

    See ``reserved`` and ``ReservedFolder.publish``.
    """
    with reserved(path) as folder:
        with writing(path):
            yield folder.part
        folder.publish()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` in the block into a ``UserError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def check_folder(path: Path, *marks: str) -> None:
    """Check, before hours of work, that the folder ``path`` may be replaced afterwards.

    Only its current content will be replaced: see ``ReservedFolder.publish``.

    Args:
        path: the folder.
        marks: relative paths of files, any of which shows that an earlier command wrote the folder.

    Raises:
        UserError: a file is in the way, the folder has other content, or its parent cannot be
            written.
    """
    _check(path, marks)
    place = _followed(path)
    _checked[place.absolute()] = _listing(place)


def check_only(folder: Path, known: Collection[str]) -> None:
    """Refuse to replace ``folder`` if it has anything but ``known`` names and DVC's .gitignore.

    Raises:
        UserError: there is such a file or folder; the message names it.
    """
    for path in sorted(folder.iterdir()):
        if path.name not in known and path.name != ".gitignore":
            raise UserError(
                f"{folder} holds {path.name}, which this command did not write and would delete: "
                "move it away, or name another folder"
            )


def _check(path: Path, marks: Sequence[str]) -> None:
    with writing(path):
        place = _followed(path)
        if place.exists() and not place.is_dir():
            raise UserError(f"{path} is a file where a folder is to be written: move it away")
        others = place.is_dir() and any(place.iterdir())
        if others and not any((place / mark).is_file() for mark in marks):
            raise UserError(f"{path} holds other files, which would be lost: name a new folder")
        if os.path.ismount(place):
            raise UserError(f"{path} is a mount point, which cannot be replaced: name one below it")
        above = next(folder for folder in place.absolute().parents if folder.exists())
        if not above.is_dir():
            raise UserError(f"cannot write {path}: {above} is a file: move it away")
        if not os.access(above, os.W_OK | os.X_OK):
            raise UserError(f"cannot write {path}: {above} is read-only for you")
        # Some file systems, such as /proc, falsely claim to be writable.
        Path(tempfile.mkdtemp(prefix=".probe-", dir=above)).rmdir()


def _followed(path: Path) -> Path:
    """Resolve a link, whether or not its target exists; other paths are returned unchanged."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _listing(folder: Path) -> _Listing:
    """Every path below ``folder`` with an identifier of its content, empty for folders."""
    found: _Listing = {}
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


def _collide(source: Path, target: Path) -> bool:
    return os.path.lexists(target) and not (source.is_dir() and target.is_dir())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(sorted(names)[:3]) + more


def _refuse_second_writer(path: Path, place: Path, part: Path) -> None:
    """Raise if another process, or another thread of this one, has reserved ``place``."""
    for other, pid in temporaries(place, "part"):
        if other == part or not other.is_dir():
            continue
        ours = pid == os.getpid()  # unless reserved, it is from a killed process with our PID
        if other in _reserved or (pid is not None and not ours and is_running(pid)):
            raise UserError(
                f"another process ({pid}) is writing {path}: wait for it, or name another folder "
                f"(if it is not, delete {other})"
            )
        if ours:
            shutil.rmtree(other, ignore_errors=True)


def _restore(place: Path) -> None:
    """Restore a folder whose writer was killed just after moving it away."""
    if os.path.lexists(place):
        return
    for old, pid in temporaries(place, "old"):
        if pid is not None and not is_running(pid):
            old.replace(place)
            return
