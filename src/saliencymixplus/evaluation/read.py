"""The only reader of evaluation folders: metrics, tables, predictions."""

import csv
import io
import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

from saliencymixplus import escape
from saliencymixplus.errors import UserError, one_line
from saliencymixplus.evaluation.predictions import Predictions, load_predictions
from saliencymixplus.files import read_limited
from saliencymixplus.runs.folder import Amount, Count, Digest, Record, Text, read_record
from saliencymixplus.runs.read import Run

AGAIN = "evaluate the run again"
RUNS, EVALUATIONS = "runs", "evaluations"  # the pipeline's folders
BY_HAND = "outputs/evaluations"
INSIDE = "evaluation"
LARGEST_TABLE = 256 * 2**20  # bytes; confusion.csv has one line per test image
_WORDS = {
    "actual",
    "attack",
    "class",
    "corruption",
    "family",
    "kind",
    "most_taken_for",
    "predicted",
    "scaling",
}  # text columns; all others are numeric
Cells = Mapping[str, str]  # one line of a table, by column
MetricName = Annotated[str, Field(pattern=r"^[A-Za-z][\w.-]{0,99}$")]


class EvaluatedRun(Record):
    """The evaluated run, its data and its weights."""

    digest: Digest
    data: Digest
    weights: Digest | None = None  # SHA-256 of the last weights; version 0.1.0 wrote none


class EvaluationFile(Record):
    """evaluation.json: how the metrics were measured."""

    run: EvaluatedRun
    device: Text = ""
    torch: Text = ""
    test_images: Count
    images_of_costly_parts: Count
    skipped: dict[Text, Text] = {}
    seconds: dict[Text, Amount] = {}


class Metrics(RootModel[dict[MetricName, Annotated[float, Field(allow_inf_nan=False)]]]):
    """metrics.json: flat names to numbers."""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one run."""

    path: Path
    about: EvaluationFile
    metrics: Mapping[str, float]

    def predictions(self) -> Predictions:
        """The run's per-image predictions. Raises like ``load_predictions``."""
        return load_predictions(self.path / "predictions.npz")

    def tables(self) -> dict[str, list[Cells]]:
        """The lines of every CSV table by name; numeric cells are finite numbers or empty.

        Raises:
            UserError: a table is damaged.
        """
        return {path.stem: read_table(path) for path in sorted(self.path.glob("*.csv"))}


def load_evaluation(path: Path) -> Evaluation:
    """Read and validate the folder that ``evaluate`` wrote.

    Raises:
        UserError: it is missing or damaged; the line names the file.
    """
    if not (path / "evaluation.json").is_file():
        raise UserError(f"{path} is not an evaluation (no evaluation.json): {AGAIN}")
    about = read_record(path / "evaluation.json", EvaluationFile, AGAIN)
    metrics = read_record(path / "metrics.json", Metrics, AGAIN).root
    return Evaluation(path, about, metrics)


def evaluation_of(run: Run) -> Evaluation | None:
    """The evaluation of ``run``, wherever it is; None if the run has not been evaluated.

    Raises:
        UserError: it is damaged, or was made from another run or from weights that have since been
            replaced; the message has the command that repeats it.
    """
    folder = evaluation_folder(run.path)
    if not (folder / "evaluation.json").is_file():
        return None
    found = load_evaluation(folder)
    measured, weights = found.about.run, run.weights_digest("last")
    if measured.digest != run.digest:
        fault = f"an evaluation of a different run than {run.path}"
    elif weights and measured.weights and measured.weights != weights:
        fault = f"an evaluation of earlier weights of {run.path}"
    else:
        return found
    output = [] if folder == default_output(run.path) else ["--output", str(folder)]
    again = shlex.join(["python", "cli.py", "evaluate", str(run.path), *output])
    raise UserError(f"{folder} is {fault}: repeat it with `{again}`")


def default_output(run_dir: Path) -> Path:
    """Where a manual ``evaluate`` writes: inside the run folder, unless that belongs to DVC.

    A new file in ``runs/…`` or ``evaluations/…`` would make pipeline stages stale, so evaluations
    of such runs go to ``outputs/evaluations/…``.
    """
    return _beside(run_dir, BY_HAND) or run_dir / INSIDE


def evaluation_folder(run_dir: Path) -> Path:
    """Where a run's evaluation is: the pipeline's if it exists, else the manual one."""
    places = [_beside(run_dir, EVALUATIONS), _beside(run_dir, BY_HAND), run_dir / INSIDE]
    known = [place for place in places if place]
    return next((place for place in known if place.is_dir()), known[0])


def read_table(path: Path) -> list[Cells]:
    """The lines of one CSV table of an evaluation.

    Raises:
        UserError: the file cannot be read, a line has too few or too many cells, or a cell in a
            numeric column is neither empty nor a finite number.
    """
    try:
        text = read_limited(path, LARGEST_TABLE).decode()
        table = csv.reader(io.StringIO(text, newline=""))
        header = next(table, [])
        if len(set(header)) < len(header):
            raise ValueError("the first line names a column twice")
        lines: list[Cells] = [
            dict(zip(header, map(escape.from_csv, cells), strict=True)) for cells in table
        ]
        for line in lines:
            for name, cell in line.items():
                if name not in _WORDS and cell and not math.isfinite(float(cell)):
                    raise ValueError(f"{name} is {cell[:20]}")
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({one_line(error)}): {AGAIN}") from error
    return lines


def _beside(run_dir: Path, folder: str) -> Path | None:
    """The path in ``folder`` that matches a pipeline run in ``runs/…``; None for any other run."""
    # The last is for links to pipeline runs; unlike `resolve`, it accepts a link to itself.
    known = (run_dir, run_dir.absolute(), Path(os.path.realpath(run_dir)))
    parts = next((path.parts for path in known if RUNS in path.parts), None)
    if parts is None:
        return None
    last = len(parts) - 1 - parts[::-1].index(RUNS)
    root = Path(*parts[:last])
    if not (root / "dvc.yaml").is_file() and not (root / EVALUATIONS).is_dir():
        return None
    return root.joinpath(folder, *parts[last + 1 :])
