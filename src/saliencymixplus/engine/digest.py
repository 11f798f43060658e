"""Digests of the source files that affect the result of a training."""

import ast
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import saliencymixplus

# Checkpoints written by other code are not resumed. Code that starts, records or displays a
# training is not in these packages and may change while a run is unfinished.
ROOMS = ("engine", "loading", "models")


def code_files(*methods: str, package: Path | None = None) -> dict[str, str]:
    """SHA-256, by path in ``package``, of every file that affects a training with ``methods``.

    These are all files in ``ROOMS`` and the ``mixing_files``.
    """
    root = package or Path(saliencymixplus.__file__).parent
    rooms = [file for room in ROOMS for file in sorted((root / room).rglob("*.py"))]
    return _digests(root, rooms) | mixing_files(*methods, package=root)


def code_digest(*methods: str) -> str:
    """16 hexadecimal digits that identify the content of ``code_files``."""
    text = json.dumps(code_files(*methods), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def mixing_files(*methods: str, package: Path | None = None) -> dict[str, str]:
    """SHA-256 of the methods' files and the mixer with all that they import from ``mixing``.

    Files of other methods are left out, so that a new method does not rerun any training.
    """
    root = package or Path(saliencymixplus.__file__).parent
    found: set[Path] = set()
    pending = [root / "mixing" / "methods" / f"{method}.py" for method in methods]
    pending.append(root / "mixing" / "__init__.py")
    while pending:
        file = pending.pop()
        if file not in found:
            found.add(file)
            pending += _imported(file, root)
    return _digests(root, sorted(found))


def changed_files(before: object, now: Mapping[str, str]) -> list[str]:
    """The files that were added, removed or changed; empty if ``before`` is not a file list."""
    if not isinstance(before, Mapping):
        return []
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _imported(file: Path, root: Path) -> list[Path]:
    """The files of ``mixing`` that ``file`` imports, also within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # relative to the folder or a parent
                folder = file.parents[node.level - 1].relative_to(root)
                module = ".".join(("saliencymixplus", *folder.parts, module)).rstrip(".")
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    inside = [name.removeprefix("saliencymixplus.").split(".") for name in names]
    bases = [root.joinpath(*parts) for parts in inside if parts[0] == "mixing"]
    paths = [path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py")]
    return sorted(path for path in paths if path.is_file())


def _digests(root: Path, files: list[Path]) -> dict[str, str]:
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
