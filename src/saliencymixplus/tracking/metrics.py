"""Convert a record's files to MLflow metrics: name, value, time in ms and step."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow.entities import Metric

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.files import read_json
from saliencymixplus.runs.folder import TrackingFile
from saliencymixplus.runs.history import read_history
from saliencymixplus.tracking import describe, system
from saliencymixplus.tracking.record import ARTIFACTS, RESULTS


def history(folder: Path) -> list[EpochRow]:
    """Read history.csv from a state folder or a published run."""
    paths = (folder / "history.csv", folder / ARTIFACTS / "history.csv")
    return next((read_history(path) for path in paths if path.is_file()), [])


def epochs(card: TrackingFile, rows: Sequence[EpochRow]) -> Iterator[Metric]:
    """Yield the metrics of every epoch."""
    seconds = 0.0
    for row in rows:
        seconds += row.seconds
        for column, name in describe.METRICS.items():
            if (value := getattr(row, column)) is not None:
                yield Metric(name, value, _moment(card, row, seconds), row.epoch)


def headlines(card: TrackingFile, rows: Sequence[EpochRow]) -> Iterator[Metric]:
    """Yield the final errors of a finished training: those of the last of ``rows``."""
    if card.status == "FINISHED" and rows:
        moment = _moment(card, rows[-1], sum(row.seconds for row in rows))
        for name in describe.HEADLINES:
            if (value := getattr(rows[-1], name)) is not None:
                yield Metric(name, value, moment, rows[-1].epoch)


def _moment(card: TrackingFile, row: EpochRow, seconds: float) -> int:
    """When an epoch ended, computed from the start time if the (published) history has no times."""
    return row.time_ms or int(card.created + 1000 * seconds)


def system_samples(folder: Path) -> Iterator[Metric]:
    """Yield a training's system metrics.

    MLflow lists metrics that begin with ``system/`` above all others on a run's page.
    """
    for moment, step, values in system.samples(folder / system.FILE):
        for name, value in values.items():
            yield Metric(f"system_load/{name}", value, moment, step)


def results(folder: Path) -> list[Metric]:
    """The metrics of an evaluation."""
    if not (folder / RESULTS).is_file():
        return []
    content = read_json(folder / RESULTS)
    return [Metric(name, v, content["time_ms"], 0) for name, v in content["values"].items()]
