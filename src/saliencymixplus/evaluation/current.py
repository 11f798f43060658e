"""Whether an evaluation is current: made from the same weights, data, settings and code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import saliencymixplus
from saliencymixplus.errors import UserError
from saliencymixplus.files import read_json, sha256_of, write_json
from saliencymixplus.runs.folder import LARGEST_JSON
from saliencymixplus.runs.read import Run
from saliencymixplus.settings.evaluation import EvaluationSettings

MADE_FROM = "made_from.json"
# The code that decides an evaluation's numbers, relative to the package, as in dvc.yaml.
CODE = (
    *("evaluation", "loading", "models"),
    *("engine/device.py", "mixing/features.py", "settings/evaluation.py"),
)


def measured_weights(run: Run) -> list[str]:
    """The weights to evaluate, ``last`` first; errors of single epochs are in history.csv."""
    named = (which for which in run.weights if not which.startswith("epoch_"))
    return list(dict.fromkeys(["last", *named]))


def sources_of(run: Run, settings: EvaluationSettings) -> dict[str, Any]:
    """Digests of everything that decides an evaluation's numbers.

    Taken before the evaluation, because weights or code may be replaced while it runs.
    """
    package = Path(saliencymixplus.__file__).parent
    weights = {
        which: run.path / "weights" / f"{which}.safetensors" for which in measured_weights(run)
    }
    code = {
        file.relative_to(package).as_posix(): file
        for name in CODE
        for file in sorted((package / name).rglob("*.py")) or [package / name]
    }
    return {
        "run": run.digest,
        "data": run.data.digest,
        "settings": settings.model_dump(mode="json"),
        "weights": _digests(weights),
        "code": _digests(code),
    }


def is_current(output: Path, sources: Mapping[str, Any], files: Sequence[str]) -> bool:
    """Whether ``mark_current`` was called with the same arguments, and no file has changed since.

    Args:
        sources: see ``sources_of``.
        files: the names of all files that an evaluation may have; others in the folder are
            ignored.
    """
    try:
        return bool(
            read_json(output / MADE_FROM, LARGEST_JSON) == _made_from(output, sources, files)
        )
    except (UserError, OSError):  # missing or damaged
        return False


def mark_current(output: Path, sources: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write ``made_from.json`` into a finished evaluation."""
    write_json(output / MADE_FROM, _made_from(output, sources, files))


def _made_from(output: Path, sources: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    written = {name: output / name for name in files if name != MADE_FROM}
    return {**sources, "files": _digests(written)}


def _digests(paths: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 by name, without missing files."""
    return {name: sha256_of(path) for name, path in paths.items() if path.is_file()}
