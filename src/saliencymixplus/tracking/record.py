"""A record: the folder that MLflow is a projection of, and its tracking.json.

While a training is unfinished its state folder is the record; afterwards, what could not be sent
yet is a folder below ``unsent/``. Every file in it is optional except tracking.json::

    tracking.json    the card: which run this is
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
    """The folder of the records that wait for ``sync``."""
    return workspace.state_root() / "unsent"


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def read_card(folder: Path) -> TrackingFile:
    """Read tracking.json.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_record(folder / CARD, TrackingFile, "nothing is recorded from this folder")


def is_recorded(folder: Path) -> bool:
    """Whether the folder has a tracking.json: a run that MLflow knows, or will."""
    return (folder / CARD).is_file()


def write_card(folder: Path, card: TrackingFile) -> None:
    """Write tracking.json atomically."""
    write_json(folder / CARD, content_of(card))


def content_of(card: TrackingFile) -> dict[str, Any]:
    """The JSON form of a card."""
    return {"tracker": "mlflow", **card.model_dump(exclude_none=True)}


def ended(card: TrackingFile, status: str, moment: int | None = None) -> TrackingFile:
    """The card with a final status, at ``moment`` (default: now)."""
    return card.model_copy(update={"status": status, "ended": moment or now()})


def closed(card: TrackingFile, folder: Path) -> TrackingFile:
    """The card of a record without a living process: ended, if that process could not end it.

    Its run is finished if its files were published, else killed.
    """
    if card.status != "RUNNING":
        return card
    published = (folder / ARTIFACTS / "summary.json").is_file()
    return ended(card, "FINISHED" if published else "KILLED")


def comparison_card(experiment: str, created: int) -> TrackingFile:
    """The card of an experiment's comparison: the parent of its runs, which holds the report."""
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
    """Rename a damaged tracking.json, so that nothing takes the folder for a record again."""
    (folder / CARD).replace(folder / f"{CARD}.damaged")


def keep(source: Path, target: Path) -> None:
    """Put the file ``source`` into a record, as a hard link where the file system has them.

    settings.json is copied without the credentials that an address in it may hold.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name == "settings.json":
        write_json(target, redact_all(read_json(source)))
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)  # of a symbolic link, as DVC makes them, the file
    except OSError:
        shutil.copyfile(source, target)


def keep_run(run_dir: Path, record: Path) -> None:
    """Put the files of a finished run folder into ``record``."""
    for name in ("settings.json", "history.csv", "summary.json"):
        keep(run_dir / name, record / ARTIFACTS / name)
    for path in sorted((run_dir / "weights").glob("*")):
        keep(path, record / ARTIFACTS / "weights" / path.name)
    for path in sorted((run_dir / "samples").glob("*.png")):
        keep(path, record / "samples" / path.name)
