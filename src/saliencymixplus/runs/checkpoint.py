"""Checkpoints of an unfinished run: written atomically, verified by digest, locked."""

import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from saliencymixplus.errors import UserError, os_errors
from saliencymixplus.files import remove, write_atomically
from saliencymixplus.locks import locked

_KEEP = 2
_NAME = re.compile(r"epoch(\d{5})-step(\d{7})-([0-9a-f]{64})\.pt")


class CheckpointStore:
    """The last two checkpoints of a run, in the folder ``path``, named after their digests."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, content: dict[str, Any], *, epoch: int, step: int) -> None:
        """Save ``content`` (tensors, numbers, text, lists, dicts) as the newest checkpoint.

        Raises:
            UserError: the disk is full or the folder read-only; earlier checkpoints are intact.
        """
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getbuffer()
        name = f"epoch{epoch:05d}-step{step:07d}-{hashlib.sha256(data).hexdigest()}.pt"
        write_atomically(self.path / name, lambda part: part.write_bytes(data))
        _sync_folder(self.path)
        for _, _, old in self._found()[_KEEP:]:
            remove(old)

    def load(self, say: Callable[[str], None] = print) -> bytes | None:
        """The newest intact checkpoint as bytes, or None. Damaged ones are removed and reported."""
        damaged = False
        for epoch, step, path in self._found():
            with os_errors(f"cannot read {path}"):
                data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == path.stem.rpartition("-")[2]:
                if damaged:
                    say(f"using the previous checkpoint, of epoch {epoch}")
                return data
            say(
                f"the checkpoint of epoch {epoch}{f', step {step}' if step else ''} is damaged "
                f"({path.name[:32]}… differs from its digest): removed"
            )
            remove(path)
            damaged = True
        if damaged:
            say("no intact checkpoint left: training starts over")
        return None

    def newest(self) -> int | None:
        """The number of finished epochs in the newest checkpoint, or None."""
        found = self._found()
        return found[0][0] if found else None

    def _found(self) -> list[tuple[int, int, Path]]:
        """Epoch, step and file of every checkpoint, newest first."""
        if not self.path.is_dir():
            return []
        matches = [(_NAME.fullmatch(file.name), file) for file in self.path.iterdir()]
        found = [(int(m[1]), int(m[2]), file) for m, file in matches if m]
        return sorted(found, key=lambda item: item[:2], reverse=True)


def read_checkpoint(data: bytes) -> dict[str, Any]:
    """Read tensors (to the CPU), numbers and text, and nothing else, so that no code can run."""
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(type(content).__name__)
    except MemoryError:
        raise  # not the checkpoint's fault
    except Exception as error:  # arbitrary bytes can raise almost anything
        raise UserError(
            "a checkpoint has something other than numbers and was not written by this program: "
            "start over with --no-resume"
        ) from error
    return content


@contextmanager
def locked_state(
    path: Path, *, keep: bool, before_emptying: Callable[[Path], None] = lambda _: None
) -> Iterator[Path]:
    """Lock the run's state folder for this process, emptying it first unless ``keep``.

    Raises:
        UserError: another process is training this run, or the folder cannot be written or locked.
    """
    with locked(path / "lock", "another process is training this run with the same settings"):
        if not keep:
            before_emptying(path)
        for old in path.iterdir():
            if old.name.endswith(".part") or (not keep and old.name != "lock"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        yield path


def _sync_folder(path: Path) -> None:
    """Flush new directory entries to disk, where the system supports it."""
    with suppress(OSError), ExitStack() as held:
        handle = os.open(path, os.O_RDONLY)
        held.callback(os.close, handle)
        os.fsync(handle)
