"""Whether an evaluation is current: made from the same weights, data, settings and code."""

from collections.abc import Sequence
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
CODE = ("evaluation", "loading", "models", "engine/device.py", "settings/evaluation.py")


def measured_weights(run: Run) -> list[str]:
    """The weights to evaluate, ``last`` first; errors of single epochs are in history.csv."""
    named = (which for which in run.weights if not which.startswith("epoch_"))
    return list(dict.fromkeys(["last", *named]))


def is_current(output: Path, run: Run, settings: EvaluationSettings, files: Sequence[str]) -> bool:
    """Whether ``mark_current`` was called with the same arguments, and no file has changed since.

    Args:
        files: the names of all files that an evaluation may have; others in the folder are
            ignored.
    """
    try:
        return bool(
            read_json(output / MADE_FROM, LARGEST_JSON) == _made_from(output, run, settings, files)
        )
    except (UserError, OSError):  # missing, damaged, or without the weights
        return False


def mark_current(
    output: Path, run: Run, settings: EvaluationSettings, files: Sequence[str]
) -> None:
    """Write ``made_from.json`` into a finished evaluation."""
    write_json(output / MADE_FROM, _made_from(output, run, settings, files))


def _made_from(
    output: Path, run: Run, settings: EvaluationSettings, files: Sequence[str]
) -> dict[str, Any]:
    package = Path(saliencymixplus.__file__).parent
    weights = {
        which: run.path / "weights" / f"{which}.safetensors" for which in measured_weights(run)
    }
    code = {
        file.relative_to(package).as_posix(): file
        for name in CODE
        for file in sorted((package / name).rglob("*.py")) or [package / name]
    }
    written = {
        name: output / name for name in files if name != MADE_FROM and (output / name).is_file()
    }
    paths = {"weights": weights, "code": code, "files": written}
    return {
        "run": run.digest,
        "data": run.data.digest,
        "settings": settings.model_dump(mode="json"),
    } | {
        kind: {name: sha256_of(path) for name, path in found.items()}
        for kind, found in paths.items()
    }
