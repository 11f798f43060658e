"""Output folders: reserved before the work, replaced as a whole after it, keeping foreign files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from saliencymixplus.errors import UserError, first_few
from saliencymixplus.files import beside, is_running, sweep, temporaries
from saliencymixplus.outputs import (
    Output,
    check_place,
    checked,
    followed,
    listing,
    restore,
    writing,
)

_reserved: set[Path] = set()  # by this process


class ReservedFolder:
    """A new folder ``part`` that ``publish`` moves into place."""

    def __init__(self, path: Path, place: Path, part: Path) -> None:
        self.path, self.place, self.part = path, place, part
        here = place.absolute()
        self._before = checked.pop(here) if here in checked else listing(place)

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
                now = listing(old)
                added = sorted(name for name, at in now.items() if self._before.get(name) != at)
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
            print(f"{self.path}: kept new files next to the result: {first_few(added)}", flush=True)

    def _publish_beside(self, added: list[str]) -> None:
        numbered = (self.place.with_name(f"{self.place.name}-{n}") for n in range(2, 1000))
        target = next(path for path in numbered if not os.path.lexists(path))
        self.part.replace(target)
        raise UserError(
            f"{self.path} was changed while this command ran ({first_few(added)}): it was left "
            f"unchanged, and the result is in {target}"
        )


@contextmanager
def reserved(path: Path, output: Output | None = None) -> Iterator[ReservedFolder]:
    """Reserve the folder ``path`` for the output of the block; it changes only at ``publish``.

    An existing folder stays until then, or if the block fails. Links to folders are followed.

    Args:
        output: see ``check_folder``; if None, any content is replaced.

    Raises:
        UserError: ``path`` cannot be written, or another process is writing it.
    """
    if output:
        check_place(path, output)
    place = followed(path)
    part = beside(place)
    missing = [folder for folder in place.parents if not folder.exists()]
    folder = None
    try:
        with writing(path):
            part.mkdir(parents=True)
            _reserved.add(part)
            _refuse_second_writer(path, place, part)
            restore(place)
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


def _collide(source: Path, target: Path) -> bool:
    return os.path.lexists(target) and not (source.is_dir() and target.is_dir())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


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
