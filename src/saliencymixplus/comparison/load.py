"""Load finished runs with their evaluations for a comparison."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError, first_few
from saliencymixplus.evaluation.predictions import Predictions
from saliencymixplus.evaluation.read import evaluation_folder, evaluation_of
from saliencymixplus.runs.read import Run, load_run
from saliencymixplus.settings import RunSettings
from saliencymixplus.settings.raw import flat

# Settings that do not affect the weights (the data's digest covers where the data come from).
_INDIFFERENT = ("seed", "download.", "training.sample_epochs", "training.weights_epochs")


@dataclass(frozen=True)
class RunResult:
    """One run with its evaluation metrics and predictions."""

    run: Run
    metrics: Mapping[str, float]
    predictions: Predictions

    @property
    def settings(self) -> RunSettings:
        """All settings of the run."""
        return self.run.settings

    @property
    def mix(self) -> str:
        """The mixing recipe's name."""
        return self.settings.mix.name

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.settings.seed

    @property
    def recipe(self) -> str:
        """A key that is equal for runs with the same decisive settings, whatever their seed."""
        return json.dumps(self.decisive, sort_keys=True)

    @property
    def decisive(self) -> dict[str, Any]:
        """The settings that affect the weights, except the seed, by dotted key."""
        return {
            key: value
            for key, value in flat(self.settings.model_dump(mode="json"))
            if value != {} and not key.startswith(_INDIFFERENT)
        }


def load_results(run_dirs: Sequence[Path]) -> list[RunResult]:
    """Read every run and its evaluation.

    Raises:
        UserError: a run is missing, unfinished or not evaluated; the message names up to five.
    """
    results, faults = [], []
    for run_dir in run_dirs:
        try:
            results.append(load_result(run_dir))
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError(
            f"{len(faults)} of {len(run_dirs)} runs cannot be compared: {first_few(faults, 5)} "
            "(`dvc repro` trains and evaluates those of the pipeline)"
        )
    return results


def load_result(run_dir: Path) -> RunResult:
    """Read one run and its evaluation. Raises like ``load_results``."""
    run = load_run(run_dir)
    evaluation = evaluation_of(run)
    if evaluation is None:
        again = shlex.join(["python", "cli.py", "evaluate", str(run_dir)])
        raise UserError(
            f"{run_dir} is not evaluated (no {evaluation_folder(run_dir)}): run `{again}`"
        )
    return RunResult(run, evaluation.metrics, evaluation.predictions())
