"""A record: a folder whose content is sent to MLflow, and its tracking.json.

The record of an unfinished training is its state folder; afterwards, anything not sent yet is in a
folder below ``unsent/``. Every file in a record is optional except tracking.json::

    tracking.json    the card: identifies the run
    history.csv      one row per epoch
    system.jsonl     sampled system metrics
    results.json     final metrics
    samples/         epoch_0001.png, …
    artifacts/       files as they appear in the MLflow run
    models/          exported MLflow models, by the name of their weights
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from saliencymixplus import workspace
from saliencymixplus.files import read_json, write_json
from saliencymixplus.runs.folder import TrackingFile, read_record
from saliencymixplus.tracking.redact import redact_all

CARD, LOCK, ARTIFACTS, RESULTS = "tracking.json", "tracking.lock", "artifacts", "results.json"
MODELS = "models"


def unsent_root() -> Path:
    """The folder of records that are to be sent by ``sync``."""
    return workspace.state_root() / "unsent"


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def read_card(folder: Path) -> TrackingFile:
    """Read tracking.json."""
    return read_record(folder / CARD, TrackingFile, "nothing is recorded from this folder")


def is_recorded(folder: Path) -> bool:
    """Whether the folder has a tracking.json, that is, is or will be recorded in MLflow."""
    return (folder / CARD).is_file()


def write_card(folder: Path, card: TrackingFile) -> None:
    """Write tracking.json atomically."""
    write_json(folder / CARD, content_of(card))


def content_of(card: TrackingFile) -> dict[str, Any]:
    """The JSON form of a card."""
    return {"tracker": "mlflow", **card.model_dump(exclude_none=True)}


def ended(card: TrackingFile, status: str, moment: int | None = None) -> TrackingFile:
    """The card with a final status, ended at ``moment`` (default: now).

    A run does not end before its start, even if the clock has since been set back.
    """
    return card.model_copy(update={"status": status, "ended": max(moment or now(), card.created)})


def closed(card: TrackingFile, folder: Path) -> TrackingFile:
    """End the card of a record whose process is gone, if that process did not do so itself.

    The run is finished if its files were published, otherwise killed.
    """
    if card.status != "RUNNING":
        return card
    published = (folder / ARTIFACTS / "summary.json").is_file()
    return ended(card, "FINISHED" if published else "KILLED")


def comparison_card(experiment: str, created: int) -> TrackingFile:
    """The card of an experiment's comparison, the parent of its runs, which holds the report."""
    return TrackingFile(
        attempt=f"report-{experiment}"[:100],
        store="",
        experiment=experiment,
        run_name=f"{experiment}: comparison",
        created=created,
        status="FINISHED",
        ended=created,
    )


def set_aside(folder: Path) -> None:
    """Rename a damaged tracking.json, so that the folder no longer counts as a record."""
    (folder / CARD).replace(folder / f"{CARD}.damaged")


def add_file(source: Path, target: Path) -> None:
    """Add the file ``source`` to a record, as a hard link if the file system supports it.

    settings.json is copied instead, without any credentials in its URLs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name == "settings.json":
        write_json(target, redact_all(read_json(source)))
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)  # resolved, because DVC may use symbolic links
    except OSError:
        shutil.copyfile(source, target)


def add_run(run_dir: Path, record: Path) -> None:
    """Add the files of a finished run folder to ``record``."""
    for name in ("settings.json", "history.csv", "summary.json"):
        add_file(run_dir / name, record / ARTIFACTS / name)
    for path in sorted((run_dir / "weights").glob("*")):
        add_file(path, record / ARTIFACTS / "weights" / path.name)
    for path in sorted((run_dir / "samples").glob("*.png")):
        add_file(path, record / "samples" / path.name)
