"""Digests of the source files that decide what a training computes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import saliencymixplus

# A checkpoint written by other code is not resumed. What starts, records or shows a training is
# not among these rooms: it may change while a run is unfinished.
ROOMS = ("engine", "loading", "mixing", "models")


def code_files(package: Path | None = None) -> dict[str, str]:
    """Path relative to ``package`` (default: this one) → SHA-256, of every file in ``ROOMS``."""
    root = package or Path(saliencymixplus.__file__).parent
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for room in ROOMS
        for file in sorted((root / room).rglob("*.py"))
    }


def changed_files(before: object, now: Mapping[str, str]) -> list[str]:
    """The files that were added, removed or changed; none if ``before`` is not a file list."""
    if not isinstance(before, Mapping):
        return []
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
