"""Finished runs with their evaluations, read from disk: what a comparison is made of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.predictions import Predictions, load_predictions
from saliencymixplus.files import read_json

RUNS, EVALUATIONS = "runs", "evaluations"
# Keys of the settings that decide no weight (where the data came from is in their digest).
_INDIFFERENT = ("seed", "download.", "training.sample_epochs", "training.weights_epochs")


@dataclass(frozen=True)
class RunResult:
    """One training and what it predicted.

    Attributes:
        settings: ``RunSettings`` as JSON. summary: the training's summary.json.
        metrics: the evaluation's metrics.json.
    """

    path: Path
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    device: str
    summary: Mapping[str, Any]
    metrics: Mapping[str, float]
    predictions: Predictions

    @property
    def mix(self) -> str:
        """The mixing recipe's name."""
        return str(self.settings["mix"]["name"])

    @property
    def seed(self) -> int:
        """The training's seed."""
        return int(self.settings["seed"])

    @property
    def recipe(self) -> str:
        """Equal for runs that differ in nothing but seed and what decides no weight."""
        return json.dumps(self.decisive, sort_keys=True)

    @property
    def decisive(self) -> dict[str, Any]:
        """Dotted key to value, of the settings that decide the weights, without the seed."""
        flat = _flattened(self.settings)
        return {key: value for key, value in flat.items() if not key.startswith(_INDIFFERENT)}


def evaluation_folder(run_dir: Path) -> Path:
    """Where a run's evaluation is: ``evaluations/…`` for the pipeline's ``runs/…``, or inside."""
    inside = run_dir / "evaluation"
    parts = list(run_dir.parts)
    if inside.is_dir() or RUNS not in parts:
        return inside
    last = len(parts) - 1 - parts[::-1].index(RUNS)
    beside = Path(*parts[:last], EVALUATIONS, *parts[last + 1 :])
    return beside if beside.is_dir() else inside


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Every path that is a run, or that holds none; for the others the runs below, sorted."""
    found: list[Path] = []
    for path in paths:
        below = [path] if (path / "settings.json").is_file() else []
        # Half-written folders begin with a dot.
        below = below or sorted(
            file.parent
            for file in path.rglob("settings.json")
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        found += below or [path]
    return list(dict.fromkeys(found))


def load_results(
    run_dirs: Sequence[Path], evaluations: Mapping[Path, Path] | None = None
) -> list[RunResult]:
    """Read every run and its evaluation.

    Args:
        evaluations: run folder to evaluation folder, for those that are not where
            ``evaluation_folder`` says.

    Raises:
        UserError: any run is missing, unfinished or not evaluated; the message names them all.
    """
    results, faults = [], []
    for run_dir in run_dirs:
        folder = (evaluations or {}).get(run_dir) or evaluation_folder(run_dir)
        try:
            results.append(_load(run_dir, folder))
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError(
            f"{len(faults)} of {len(run_dirs)} runs cannot be compared (train and evaluate them, "
            "or `dvc repro`): " + "; ".join(faults)
        )
    return results


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _load(run_dir: Path, folder: Path) -> RunResult:
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} does not exist")
    if not (run_dir / "settings.json").is_file():
        raise UserError(f"{run_dir} holds no finished run (no settings.json)")
    if not (run_dir / "summary.json").is_file():
        raise UserError(f"{run_dir} is not finished (no summary.json)")
    if not (folder / "predictions.npz").is_file():
        raise UserError(f"{run_dir} is not evaluated (no {folder / 'predictions.npz'})")
    described = read_json(run_dir / "settings.json")
    provenance = read_json(folder / "evaluation.json")
    if provenance["run"]["digest"] != described["digest"]:
        raise UserError(f"{folder} is the evaluation of another training than {run_dir}")
    return RunResult(
        path=run_dir,
        settings=described["settings"],
        data=described["data"],
        device=str(described.get("device", "")),
        summary=read_json(run_dir / "summary.json"),
        metrics=read_json(folder / "metrics.json"),
        predictions=load_predictions(folder / "predictions.npz"),
    )
